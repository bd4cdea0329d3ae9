//! Sessions of BOSH clients: the protocol's own [state](crate::channel::bosh), whose requests, messages and end are the
//! hub's.

use super::super::table::{Carrier, Stage};
use crate::channel::bosh::{Body, Condition, End, Output, Refusal, Session, Settings, element};
use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::LiveId;
use crate::hub::ids::{AppId, RequestId};
use crate::hub::ledger::about::{About, log_about};
use crate::hub::ledger::counters::Complaint;
use crate::hub::ledger::taps::Passing;
use crate::hub::live::Live;
use crate::hub::live::admission::refusal;
use crate::hub::live::opening::{Beginning, without_body};
use crate::hub::live::work::Pending;
use crate::hub::request::{Called, Plan};
use crate::worker::protocol::Slow;
use mongrel2_wire::Envelope;
use std::sync::Arc;
use std::time::Instant;

/// A session, and the requests that it has not answered.
#[derive(Debug)]
pub(in crate::hub) struct ByBosh {
    session: Session,
    /// Each with its number, its place in the hub's table, and header lines for pages of other hosts.
    held: Vec<(u64, RequestId, String)>,
    /// What scripts sent in this turn: it leaves as one.
    unsent: Vec<Arc<[u8]>>,
    /// When the agenda looks at it next.
    pub(super) planned: Option<Instant>,
}

impl ByBosh {
    /// Bytes that wait for the client.
    pub fn unsent(&self) -> usize {
        self.session.waiting().1 + self.unsent.iter().map(|element| element.len()).sum::<usize>()
    }

    /// When there is something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.session.next_timeout()
    }

    /// A request is gone, its answer is not wanted any more: its number.
    pub(super) fn forget(&mut self, request: RequestId) -> Option<u64> {
        let at = self.held.iter().position(|(_, held, _)| *held == request)?;
        Some(self.held.swap_remove(at).0)
    }
}

/// The element that a message of a script is sent as.
pub(in crate::hub::live) fn element_of(binary: bool, payload: &[u8]) -> Arc<[u8]> {
    element::of_message(binary, payload).into()
}

/// What a client is told that is closed with this code.
fn condition_of(code: u16) -> Option<Condition> {
    match code {
        1001 | 1012 => Some(Condition::SystemShutdown),
        1008 | 1009 => Some(Condition::PolicyViolation),
        1011 => Some(Condition::InternalServerError),
        _ => None,
    }
}

impl Live {
    fn bosh(&mut self, id: LiveId) -> Option<&mut ByBosh> {
        match &mut self.lives.get_mut(id)?.carrier {
            Carrier::Bosh(bosh) => Some(bosh),
            _ => None,
        }
    }

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
    pub(super) fn answer_bosh(
        &mut self,
        cx: &mut Context,
        called: Called,
        cors: &str,
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
            return self.open_bosh(cx, called, cors, place, (envelope, message), (&body, &settings), now);
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
        called: Called,
        cors: &str,
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
        let Some(id) = self.open_live(cx, None, place, carrier, &opening, Beginning::Accepted, now) else {
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

    fn refuse_bosh(&mut self, cx: &mut Context, key: RequestId, cors: &str, refusal: Refusal) {
        let body = String::from_utf8(refusal.body).unwrap_or_default();
        self.answer_bosh_with(cx, key, cors, (refusal.status, crate::channel::bosh::CONTENT_TYPE), body);
    }

    fn answer_bosh_with(
        &mut self,
        cx: &mut Context,
        key: RequestId,
        cors: &str,
        (status, content_type): (u16, &str),
        body: String,
    ) {
        let head = format!("Content-Type: {content_type}\r\nCache-Control: no-store\r\n{cors}");
        cx.events.push(Event::Answer(key, Plan::Answer { status, head, body }));
    }

    fn bosh_session(&self, sid: &[u8], place: (AppId, u16)) -> Option<LiveId> {
        let id = self.lives.by_number(self.sessions.tickets.as_ref()?.read(sid)?)?;
        let channel = self.lives.get(id)?;
        let is_meant = matches!(channel.carrier, Carrier::Bosh(_)) && (channel.app, channel.route) == place;
        is_meant.then_some(id)
    }

    /// Puts a message of a script behind the others for a client.
    pub(in crate::hub::live) fn post_element(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        element: Arc<[u8]>,
        now: Instant,
    ) {
        let bounds = self.bounds_of(cx, id);
        let is_open = self.lives.get(id).is_some_and(|channel| channel.stage == Stage::Open);
        let Some(bosh) = self.bosh(id).filter(|_| is_open) else { return };
        let is_first = bosh.unsent.is_empty();
        bosh.unsent.push(element);
        let (letters, bytes) = bosh.session.waiting();
        let (letters, bytes) =
            (letters + bosh.unsent.len(), bytes + bosh.unsent.last().map_or(0, |e| e.len()));
        // What was sent may have to be sent again, so nothing can be dropped here.
        let most = if bounds.slow == Slow::DropOldest { cx.limits.connection_output } else { bounds.bytes };
        if letters > 1 && (letters > bounds.letters || bytes > most) {
            cx.ledger.counters.overflowed += 1;
            if cx.ledger.complaints.pass(Complaint::Overflow, now)
                && let Some(about) = self.about(cx, id)
            {
                let text = "dropped and closed: the client does not come for what is sent to it";
                log_about!(warn, about, waiting = bytes, "{text}");
            }
            self.finish_live(cx, id, 1008, "too slow", now);
        } else if is_first {
            self.sessions.ready.push(id);
        }
    }

    /// A script has run its `open` for a connection, or the worker died with it: if it is a session, its client gets
    /// the answer that it waits for.
    pub(in crate::hub::live) fn bosh_opened(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        if self.bosh(id).is_none() {
            return;
        }
        // What it sent to rooms that it has joined belongs to that answer too.
        self.flush_publishing(cx, now);
        self.send_elements(cx, id, now);
        self.bosh(id).into_iter().for_each(|bosh| bosh.session.opened(now));
        self.pump_bosh(cx, id, now);
    }

    /// Hands over what scripts sent in this turn.
    pub(super) fn send_elements(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        let Some(bosh) = self.bosh(id) else { return };
        let elements = std::mem::take(&mut bosh.unsent);
        bosh.session.send_all(elements, now);
        self.pump_bosh(cx, id, now);
    }

    /// Time has passed for a session.
    pub(super) fn bosh_is_due(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        self.bosh(id).into_iter().for_each(|bosh| bosh.session.handle_timeout(now));
        self.pump_bosh(cx, id, now);
    }

    /// A request of a session is gone.
    pub(super) fn bosh_request_gone(&mut self, cx: &mut Context, id: LiveId, number: u64, now: Instant) {
        self.bosh(id).into_iter().for_each(|bosh| bosh.session.request_gone(number, now));
        self.pump_bosh(cx, id, now);
    }

    /// We close a session: its client hears that with the next answer.
    pub(super) fn close_bosh(&mut self, cx: &mut Context, id: LiveId, code: u16, now: Instant) {
        self.send_elements(cx, id, now);
        self.bosh(id).into_iter().for_each(|bosh| bosh.session.close(condition_of(code), now));
        self.pump_bosh(cx, id, now);
    }

    /// The last words to a client, if it listens: what waits, and the close.
    pub(super) fn dismiss_bosh(&mut self, cx: &mut Context, id: LiveId, code: u16, now: Instant) {
        let Some(bosh) = self.bosh(id) else { return };
        let elements = std::mem::take(&mut bosh.unsent);
        bosh.session.send_all(elements, now);
        bosh.session.close(condition_of(code), now);
        while let Some(output) = self.bosh(id).and_then(|bosh| bosh.session.poll_output()) {
            self.give_answer(cx, id, output);
        }
        // Whoever came early, or holds more than takes the news.
        for (_, key, cors) in self.bosh(id).map(|bosh| std::mem::take(&mut bosh.held)).unwrap_or_default() {
            self.refuse_bosh(cx, key, &cors, Condition::ItemNotFound.refusal(true));
        }
    }

    fn give_answer(&mut self, cx: &mut Context, id: LiveId, output: Output) {
        let Output::Answer { request, status, content_type, body } = output else { return };
        let Some(bosh) = self.bosh(id) else { return };
        let Some(at) = bosh.held.iter().position(|(number, ..)| *number == request) else { return };
        let (_, key, cors) = bosh.held.swap_remove(at);
        if bosh.held.is_empty() {
            bosh.held = Vec::new();
        }
        let body = String::from_utf8(body).unwrap_or_default();
        self.answer_bosh_with(cx, key, &cors, (status, &content_type), body);
    }

    /// Does what a session wants done, and plans when to come again.
    fn pump_bosh(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        while let Some(output) = self.bosh(id).and_then(|bosh| bosh.session.poll_output()) {
            match output {
                Output::Answer { .. } => self.give_answer(cx, id, output),
                Output::Message { binary, payload } => self.take_element(cx, id, binary, &payload, now),
                Output::Ended { how } => {
                    let (code, reason) = match how {
                        End::Client | End::Closed => (1000, ""),
                        End::Inactive => (1006, ""),
                        End::Error(condition) => (1002, condition.name()),
                    };
                    self.finish_live(cx, id, code, reason, now);
                }
            }
        }
        let Some(channel) = self.lives.get_mut(id).filter(|channel| channel.stage != Stage::Over) else {
            return;
        };
        let number = channel.number;
        if let Carrier::Bosh(bosh) = &mut channel.carrier
            && let Some(due) = bosh.session.next_timeout()
        {
            self.sessions.agenda.plan(due, id, number, &mut bosh.planned);
        }
    }

    fn take_element(&mut self, cx: &mut Context, id: LiveId, binary: bool, payload: &[u8], now: Instant) {
        if self.lives.get(id).is_none_or(|channel| channel.stage != Stage::Open) {
            return;
        }
        self.note(cx, id, Passing::In { binary, payload });
        self.count_received(cx, id);
        self.give(cx, id, Pending::Message { binary, payload: payload.into() }, now);
    }
}
