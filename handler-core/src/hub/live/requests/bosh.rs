//! Requests of BOSH clients.

use crate::channel::bosh::{Body, Condition, Refusal, Session, Settings};
use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::{AppId, LiveId};
use crate::hub::ledger::about::{About, log_about};
use crate::hub::ledger::counters::Complaint;
use crate::hub::live::Live;
use crate::hub::live::admission::refusal;
use crate::hub::live::carrier::{ByBosh, Carrier};
use crate::hub::live::opening::{Beginning, without_body};
use crate::hub::request::Called;
use mongrel2_wire::Envelope;
use std::time::Instant;

impl Live {
    fn bosh_settings(&self, cx: &Context, max_body: usize) -> Settings {
        let seconds = |time: std::time::Duration| u16::try_from(time.as_secs()).unwrap_or(u16::MAX);
        Settings {
            wait: seconds(cx.limits.poll_wait),
            inactivity: seconds(cx.limits.inactivity).max(1),
            max_messages: cx.limits.mailbox,
            max_bytes: cx.limits.connection_output,
            max_body,
            ..Settings::default()
        }
    }

    /// A request whose body is an element.
    pub(in crate::hub::live) fn answer_bosh(
        &mut self,
        cx: &mut Context,
        (called, cors): (Called, &str),
        place: (AppId, u16),
        (envelope, message): (&Envelope<'_>, &[u8]),
        body: &[u8],
        now: Instant,
    ) {
        let spec = cx.apps.channel(place.0, place.1);
        let settings = self.bosh_settings(cx, spec.map_or(0, |spec| spec.max_message));
        let body = match Body::parse(body, settings.max_body) {
            Ok(body) => body,
            Err(problem) => {
                if cx.ledger.complaints.pass(Complaint::Refused, now) {
                    let about = cx.about_opening(called.conn, envelope, place.0);
                    let request = (called.number > 0).then_some(called.number);
                    log_about!(warn, About { request, ..about }, "refused: {problem}");
                }
                cx.ledger.counters.refused += 1;
                let sid = problem.sid.as_deref().unwrap_or_default();
                match self.bosh_session(sid.as_bytes(), place) {
                    Some(id) => {
                        let number = self.hold_for(cx, id, called, cors);
                        self.bosh(id).into_iter().for_each(|bosh| bosh.session.refuse(number));
                        self.pump_bosh(cx, id, now);
                    }
                    None => self.refuse_bosh(cx, called.request, cors, Refusal::unreadable()),
                }
                return;
            }
        };
        let Some(sid) = body.sid() else {
            return self.open_bosh(cx, (called, cors), place, (envelope, message), (&body, &settings), now);
        };
        let Some(id) = self.bosh_session(sid.as_bytes(), place) else {
            return self.refuse_bosh(cx, called.request, cors, Condition::ItemNotFound.refusal(true));
        };
        let number = self.hold_for(cx, id, called, cors);
        let second = self.lives.second(now);
        if let Some(channel) = self.lives.get_mut(id) {
            channel.heard = second;
        }
        self.bosh(id).into_iter().for_each(|bosh| bosh.session.receive(&body, number, now));
        self.pump_bosh(cx, id, now);
    }

    fn open_bosh(
        &mut self,
        cx: &mut Context,
        (called, cors): (Called, &str),
        place: (AppId, u16),
        (envelope, message): (&Envelope<'_>, &[u8]),
        (body, settings): (&Body<'_>, &Settings),
        now: Instant,
    ) {
        if !cx.takes_clients(place.0) {
            return cx.events.push(Event::Fail(called.request, 503));
        }
        if !self.admits(cx, called.conn, now) {
            return cx.events.push(Event::AnswerAndClose(called.request, refusal(cors)));
        }
        let number = called.number;
        let begin = |sid: &str| Session::begin(settings, body, number, sid, now);
        let versioned = body.has_version();
        if let Err(condition) = begin("") {
            cx.ledger.counters.refused += 1;
            return self.refuse_bosh(cx, called.request, cors, condition.refusal(versioned));
        }
        let Some(tickets) = self.sessions.tickets.clone() else { return };
        let carrier = |own| {
            let session = begin(&tickets.write(own)).expect("another name changes nothing");
            Carrier::Bosh(Box::new(ByBosh { session, held: Vec::new(), unsent: Vec::new(), planned: None }))
        };
        let opening = without_body(message, envelope);
        let Some(id) = self.open_live(cx, None, place, carrier, (&opening, Beginning::Accepted), now) else {
            return cx.events.push(Event::Fail(called.request, 503));
        };
        self.hold_for(cx, id, called, cors);
        self.begin_work(cx, id, now);
        self.pump_bosh(cx, id, now);
    }

    /// Makes a request one that its session answers when it likes: its number.
    fn hold_for(&mut self, cx: &mut Context, id: LiveId, called: Called, cors: &str) -> u64 {
        let Some(channel) = self.lives.get_mut(id) else { return 0 };
        cx.events.push(Event::Hold(called.request, channel.number));
        // It may wait for long: the room of the answer before is not kept for it.
        if let Some(conn) = cx.outbox.conns.map.get_mut(&called.conn) {
            conn.out.release();
        }
        if let Carrier::Bosh(bosh) = &mut channel.carrier {
            // Most have one, so there is room for no more than needed.
            bosh.held.reserve_exact(1);
            bosh.held.push((called.number, called.request, cors.to_owned()));
        }
        called.number
    }

    fn bosh_session(&self, sid: &[u8], place: (AppId, u16)) -> Option<LiveId> {
        let id = self.lives.by_number(self.sessions.tickets.as_ref()?.read(sid)?)?;
        let channel = self.lives.get(id)?;
        let is_meant = matches!(channel.carrier, Carrier::Bosh(_)) && (channel.app, channel.route) == place;
        is_meant.then_some(id)
    }

    /// A script has run its `open` for a connection, or the worker died with it: if it is a session, its client gets
    /// the answer that it waits for.
    pub(in crate::hub) fn bosh_opened(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        if self.bosh(id).is_none() {
            return;
        }
        // What it sent to rooms that it has joined belongs to that answer too.
        self.flush_publishing(cx, now);
        self.send_elements(cx, id, now);
        self.bosh(id).into_iter().for_each(|bosh| bosh.session.opened(now));
        self.pump_bosh(cx, id, now);
    }
}
