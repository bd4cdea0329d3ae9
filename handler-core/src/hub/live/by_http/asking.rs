//! What a session's client asks for, done.

use super::{ByHttp, Carried, Poll};
use crate::channel::call::Call;
use crate::channel::mailbox::Lost;
use crate::channel::{event_stream, poll};
use crate::hub::Hub;
use crate::hub::ids::LiveId;
use crate::hub::ids::NO_LINK;
use crate::hub::ids::{AppId, RequestId};
use crate::hub::ledger::taps::Passing;
use crate::hub::live::opening::{Beginning, without_body};
use crate::hub::live::table::{Carrier, Stage};
use crate::hub::live::work::Pending;
use crate::hub::request::Asking;
use crate::hub::request::Plan;
use crate::worker::protocol::Slow;
use kennel_http::Persistence;
use kennel_http::events;
use kennel_http::response::Form;
use kennel_http::stream::Opening;
use mongrel2_wire::Envelope;
use std::time::{Duration, Instant};

/// What the client of a session that is over reads.
pub(super) const GONE: &str = "this session has ended, or never was; open a new one";

impl Hub {
    /// Does what a request to a channel asks for, and answers it or holds it.
    pub(in crate::hub) fn answer_call(&mut self, request: RequestId, asking: Asking, now: Instant) {
        let Asking { call, cors, message, body } = asking;
        let cors = cors.as_str();
        let Ok(envelope) = Envelope::parse(&message) else { return self.answer_with(request, 400, now) };
        let Some(place) = self.cx.apps.channel_at(envelope.path) else {
            return self.answer_with(request, 404, now);
        };
        let body = body.as_deref().unwrap_or(envelope.body);
        match call {
            Call::Open if body.trim_ascii_start().starts_with(b"<") => {
                self.answer_bosh(request, cors, place, (&envelope, &message), body, now);
            }
            Call::Stream | Call::Open if !self.cx.takes_clients(place.0) => {
                self.answer_with(request, 503, now)
            }
            Call::Stream | Call::Open if !self.admits(self.exchange.requests[request].conn, now) => {
                self.answer_full_call(request, cors, now);
            }
            Call::Stream => {
                let opening = without_body(&message, &envelope);
                let Some(id) = self.open_session(place, &opening, Carried::Stream, now) else {
                    return self.answer_with(request, 503, now);
                };
                self.begin_events(id, request, cors, false, now);
                self.begin_work(id, now);
            }
            Call::Open if !body.is_empty() => {
                let words = "a POST without ?session= opens a session, and has no body";
                self.answer_call_with(request, (400, cors), words, now);
            }
            Call::Open => {
                let opening = without_body(&message, &envelope);
                let Some(id) = self.open_session(place, &opening, Carried::Polls, now) else {
                    return self.answer_with(request, 503, now);
                };
                let Some(session) = self.live.by_http(id) else { return };
                let (wait, inactivity) = (self.cx.limits.poll_wait, self.cx.limits.inactivity);
                let ping = self.ping_of(id).map_or(0.0, |ping| ping.as_secs_f64());
                let opened = poll::opened(&session.ticket, wait.as_secs(), inactivity.as_secs(), ping);
                self.answer_call_by(request, (201, cors), opened, now);
                self.begin_work(id, now);
            }
            Call::Preflight => self.answer_preflight(request, cors, now),
            Call::GoOn { session, after } => match self.session(&session, place) {
                Some(id) => self.go_on_with_events(id, request, cors, after, now),
                None => self.answer_call_with(request, (410, cors), GONE, now),
            },
            Call::Poll { session, after, wait } => match self.session(&session, place) {
                Some(id) => self.take_poll(id, request, cors, (after, wait), now),
                None => self.answer_call_with(request, (410, cors), GONE, now),
            },
            Call::Send { session, number, binary } => match self.session(&session, place) {
                Some(id) => {
                    let (status, words) = self.take_message(id, number, binary, body, now);
                    match status {
                        204 => self.answer_call_by(request, (204, cors), String::new(), now),
                        _ => self.answer_call_with(request, (status, cors), &words, now),
                    }
                }
                None => self.answer_call_with(request, (410, cors), GONE, now),
            },
            Call::Alive { session } => match self.session(&session, place) {
                Some(id) => {
                    self.say_alive(id, now);
                    self.answer_call_by(request, (204, cors), String::new(), now);
                }
                None => self.answer_call_with(request, (410, cors), GONE, now),
            },
            Call::Close { session, code, reason } => match self.session(&session, place) {
                Some(id) => {
                    self.finish_live(id, code.unwrap_or(1005), &reason, now);
                    self.answer_call_by(request, (204, cors), String::new(), now);
                }
                None => self.answer_call_with(request, (410, cors), GONE, now),
            },
        }
    }

    pub(super) fn open_session(
        &mut self,
        place: (AppId, u16),
        opening: &[u8],
        by: Carried,
        now: Instant,
    ) -> Option<LiveId> {
        let due = now + self.cx.limits.inactivity;
        let tickets = self.live.sessions.tickets.clone()?;
        let carrier = |number| Carrier::Http(Box::new(ByHttp::new(tickets.write(number), by, due)));
        let id = self.open_live(None, place, carrier, opening, Beginning::Accepted, now)?;
        self.look_at(id, due);
        if by == Carried::Polls {
            self.note_unused(id);
        }
        Some(id)
    }

    /// Makes the answer to a request a session's stream of events.
    fn begin_events(&mut self, id: LiveId, key: RequestId, cors: &str, resumed: bool, now: Instant) {
        self.make_way(id, now);
        self.cx.ledger.taps.note_answer(key, 200, now);
        let request = self.take_request(key);
        self.cx.ledger.counters.answers += 1;
        self.cx.ledger.traffic.answered(request.meter, request.since, 200, now);
        let ping = self.ping_of(id);
        let inactivity = self.cx.limits.inactivity;
        if let Some(conn) = self.cx.outbox.conns.map.get_mut(&request.conn).filter(|conn| !conn.is_ending())
            && let Some(channel) = self.live.lives.get_mut(id)
            && let Carrier::Http(session) = &mut channel.carrier
        {
            let head = format!("Content-Type: {}\r\nCache-Control: no-store\r\n{cors}", events::CONTENT_TYPE);
            let form = Form { head_only: false, persistence: Persistence::Close, date: &self.cx.date };
            let opening = Opening { status: 200, head: head.as_bytes() };
            conn.out
                .append(|out| opening.encode(out, form, false))
                .expect("there is no Content-Length in it");
            let seconds = ping.map_or(0.0, |ping| ping.as_secs_f64());
            conn.out.extend(&event_stream::open(&session.ticket, resumed, inactivity.as_secs(), seconds));
            // Nothing further is answered on this connection.
            conn.deaf = true;
            conn.carries = Some(id);
            let behind = std::mem::take(&mut conn.waiting);
            session.stream = Some(request.conn);
            session.due = now + ping.unwrap_or(Duration::from_secs(86_400));
            let due = session.due;
            for waiting in behind {
                self.remove_request(waiting);
            }
            self.look_at(id, due);
            self.cx.outbox.mark_dirty(request.conn);
        }
        self.leave(request.conn, key, now);
    }

    fn go_on_with_events(
        &mut self,
        id: LiveId,
        request: RequestId,
        cors: &str,
        after: Option<u64>,
        now: Instant,
    ) {
        if let Err((status, words)) = self.go_on(id, after, now) {
            return self.answer_call_with(request, (status, cors), words, now);
        }
        self.begin_events(id, request, cors, true, now);
    }

    /// The client has all messages up to a number.
    pub(super) fn go_on(
        &mut self,
        id: LiveId,
        after: Option<u64>,
        now: Instant,
    ) -> Result<(), (u16, &'static str)> {
        let drops = self.bounds_of(id).slow == Slow::DropOldest;
        let second = self.live.lives.second(now);
        let Some(channel) = self.live.lives.get_mut(id) else { return Err((410, GONE)) };
        channel.heard = second;
        let Carrier::Http(session) = &mut channel.carrier else { return Err((410, GONE)) };
        session.used = true;
        match session.mailbox.go_on(after) {
            Ok(()) => {}
            Err(Lost::Past) if drops => {
                let first = session.mailbox.before();
                let _ = session.mailbox.go_on(Some(first));
            }
            Err(Lost::Past) => return Err((409, "messages behind that number are not kept any more")),
            Err(Lost::Future) => return Err((400, "that many messages were never sent")),
        }
        Ok(())
    }

    fn take_poll(
        &mut self,
        id: LiveId,
        request: RequestId,
        cors: &str,
        (after, wait): (Option<u64>, Option<u64>),
        now: Instant,
    ) {
        if let Err((status, words)) = self.go_on(id, after, now) {
            return self.answer_call_with(request, (status, cors), words, now);
        }
        self.make_way(id, now);
        let wait = wait
            .map_or(self.cx.limits.poll_wait, |wait| Duration::from_secs(wait).min(self.cx.limits.poll_wait));
        let Some(channel) = self.live.lives.get_mut(id) else { return };
        let (number, is_open) = (channel.number, channel.stage == Stage::Open);
        let Carrier::Http(session) = &mut channel.carrier else { return };
        session.poll = Some(Poll { request, cors: cors.to_owned() });
        session.due = now + wait;
        let (due, is_empty) = (session.due, session.mailbox.is_all_sent());
        // The client's time is not the script's.
        self.exchange.requests[request].deadline = None;
        self.exchange.requests[request].plan = Plan::Held(number);
        if is_empty && is_open && !wait.is_zero() {
            self.look_at(id, due);
        } else {
            self.answer_poll(id, now);
        }
    }

    /// Takes a client's message: 204, or another status and why.
    pub(super) fn take_message(
        &mut self,
        id: LiveId,
        number: Option<u64>,
        binary: bool,
        payload: &[u8],
        now: Instant,
    ) -> (u16, String) {
        let second = self.live.lives.second(now);
        let limit = self.cx.limits.channel_queue;
        let inactivity = self.cx.limits.inactivity;
        let Some(channel) = self.live.lives.get_mut(id) else { return (410, GONE.into()) };
        channel.heard = second;
        let spec = self.cx.apps.channel(channel.app, channel.route);
        let max = spec.map_or(0, |spec| spec.max_message);
        let queued = channel.work.as_ref().map_or(0, |work| work.bytes);
        let is_open = channel.stage == Stage::Open;
        let Carrier::Http(session) = &mut channel.carrier else { return (410, GONE.into()) };
        session.used = true;
        if session.poll.is_none() && session.stream.is_none() && session.told.is_none() {
            session.due = now + inactivity;
        }
        if number.is_some_and(|number| number <= session.received) {
            // It came before, and the answer to it did not arrive.
            return (204, String::new());
        }
        let next = session.received + 1;
        if number.is_some_and(|number| number > next) {
            return (409, format!("message {next} has not arrived yet"));
        }
        if !is_open {
            return (410, GONE.into());
        }
        if payload.len() > max {
            return (413, format!("a message to this channel has at most {max} bytes"));
        }
        if !binary && std::str::from_utf8(payload).is_err() {
            return (400, "not UTF-8; bytes need `Content-Type: application/octet-stream`".into());
        }
        if queued > 0 && queued + payload.len() > limit {
            self.cx.ledger.counters.overloaded += 1;
            return (503, "the script has not read what came before; try again in a second".into());
        }
        if number.is_some() {
            session.received = next;
        }
        self.live.note(&mut self.cx, id, Passing::In { binary, payload });
        self.count_received(id);
        self.give(id, Pending::Message { binary, payload: payload.into() }, now);
        (204, String::new())
    }

    fn answer_preflight(&mut self, request: RequestId, cors: &str, now: Instant) {
        let head = format!(
            "{cors}Access-Control-Allow-Methods: GET, POST, DELETE\r\nAccess-Control-Allow-Headers: Content-Type\r\n\
             Access-Control-Max-Age: 600\r\n"
        );
        self.exchange.requests[request].plan = Plan::Answer { status: 204, head, body: String::new() };
        self.answer_by_plan(request, now);
    }
}

const _: () = assert!(NO_LINK.0 == u16::MAX);
