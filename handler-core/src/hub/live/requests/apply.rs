//! What a session's client asks for, done.

use crate::channel::call::Call;
use crate::channel::mailbox::Lost;
use crate::channel::{event_stream, poll};
use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::{AppId, LiveId, NO_LINK, RequestId};
use crate::hub::ledger::taps::Passing;
use crate::hub::live::Live;
use crate::hub::live::admission::refusal;
use crate::hub::live::carrier::{ByHttp, Carried, Carrier, Poll};
use crate::hub::live::opening::{Beginning, without_body};
use crate::hub::live::pending::Pending;
use crate::hub::live::session::GONE;
use crate::hub::live::table::Stage;
use crate::hub::request::{Asking, Called, Plan};
use crate::worker::protocol::Slow;
use kennel_http::response::Form;
use kennel_http::stream::Opening;
use kennel_http::{Persistence, events};
use mongrel2_wire::Envelope;
use std::time::{Duration, Instant};

impl Live {
    /// Does what a request to a channel asks for, and answers it or holds it.
    pub(in crate::hub) fn answer_call(
        &mut self,
        cx: &mut Context,
        called: Called,
        asking: Asking,
        now: Instant,
    ) {
        let request = called.request;
        let Asking { call, cors, message, body } = asking;
        let cors = cors.as_str();
        let Ok(envelope) = Envelope::parse(&message) else {
            return cx.events.push(Event::Fail(request, 400));
        };
        let Some(place) = cx.apps.channel_at(envelope.path) else {
            return cx.events.push(Event::Fail(request, 404));
        };
        let body = body.as_deref().unwrap_or(envelope.body);
        match call {
            Call::Open if body.trim_ascii_start().starts_with(b"<") => {
                self.answer_bosh(cx, (called, cors), place, (&envelope, &message), body, now);
            }
            Call::Stream | Call::Open if !cx.takes_clients(place.0) => {
                cx.events.push(Event::Fail(request, 503))
            }
            Call::Stream | Call::Open if !self.admits(cx, called.conn, now) => {
                cx.events.push(Event::AnswerAndClose(request, refusal(cors)));
            }
            Call::Stream => {
                let opening = without_body(&message, &envelope);
                let Some(id) = self.open_session(cx, place, &opening, Carried::Stream, now) else {
                    return cx.events.push(Event::Fail(request, 503));
                };
                self.begin_events(cx, id, called, cors, false, now);
                self.begin_work(cx, id, now);
            }
            Call::Open if !body.is_empty() => {
                let words = "a POST without ?session= opens a session, and has no body";
                self.answer_call_with(cx, request, (400, cors), words);
            }
            Call::Open => {
                let opening = without_body(&message, &envelope);
                let Some(id) = self.open_session(cx, place, &opening, Carried::Polls, now) else {
                    return cx.events.push(Event::Fail(request, 503));
                };
                let Some(session) = self.by_http(id) else { return };
                let (wait, inactivity) = (cx.limits.poll_wait, cx.limits.inactivity);
                let ping = self.ping_of(cx, id).map_or(0.0, |ping| ping.as_secs_f64());
                let opened = poll::opened(&session.ticket, wait.as_secs(), inactivity.as_secs(), ping);
                self.answer_call_by(cx, request, (201, cors), opened);
                self.begin_work(cx, id, now);
            }
            Call::Preflight => self.answer_preflight(cx, request, cors),
            Call::GoOn { session, after } => match self.session(&session, place) {
                Some(id) => self.go_on_with_events(cx, id, called, cors, after, now),
                None => self.answer_call_with(cx, request, (410, cors), GONE),
            },
            Call::Poll { session, after, wait } => match self.session(&session, place) {
                Some(id) => self.take_poll(cx, id, called, cors, (after, wait), now),
                None => self.answer_call_with(cx, request, (410, cors), GONE),
            },
            Call::Send { session, number, binary } => match self.session(&session, place) {
                Some(id) => {
                    let (status, words) = self.take_message(cx, id, number, binary, body, now);
                    match status {
                        204 => self.answer_call_by(cx, request, (204, cors), String::new()),
                        _ => self.answer_call_with(cx, request, (status, cors), &words),
                    }
                }
                None => self.answer_call_with(cx, request, (410, cors), GONE),
            },
            Call::Alive { session } => match self.session(&session, place) {
                Some(id) => {
                    self.say_alive(cx, id, now);
                    self.answer_call_by(cx, request, (204, cors), String::new());
                }
                None => self.answer_call_with(cx, request, (410, cors), GONE),
            },
            Call::Close { session, code, reason } => match self.session(&session, place) {
                Some(id) => {
                    self.finish_live(cx, id, code.unwrap_or(1005), &reason, now);
                    self.answer_call_by(cx, request, (204, cors), String::new());
                }
                None => self.answer_call_with(cx, request, (410, cors), GONE),
            },
        }
    }

    pub(in crate::hub::live) fn open_session(
        &mut self,
        cx: &mut Context,
        place: (AppId, u16),
        opening: &[u8],
        by: Carried,
        now: Instant,
    ) -> Option<LiveId> {
        let due = now + cx.limits.inactivity;
        let tickets = self.sessions.tickets.clone()?;
        let carrier = |number| Carrier::Http(Box::new(ByHttp::new(tickets.write(number), by, due)));
        let id = self.open_live(cx, None, place, carrier, (opening, Beginning::Accepted), now)?;
        self.look_at(id, due);
        if by == Carried::Polls {
            self.note_unused(cx, id);
        }
        Some(id)
    }

    /// Makes the answer to a request a session's stream of events.
    fn begin_events(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        called: Called,
        cors: &str,
        resumed: bool,
        now: Instant,
    ) {
        self.make_way(cx, id);
        let ping = self.ping_of(cx, id);
        let inactivity = cx.limits.inactivity;
        if let Some(conn) = cx.outbox.conns.map.get_mut(&called.conn).filter(|conn| !conn.is_ending())
            && let Some(channel) = self.lives.get_mut(id)
            && let Carrier::Http(session) = &mut channel.carrier
        {
            let head = format!("Content-Type: {}\r\nCache-Control: no-store\r\n{cors}", events::CONTENT_TYPE);
            let form = Form { head_only: false, persistence: Persistence::Close, date: &cx.date };
            let opening = Opening { status: 200, head: head.as_bytes() };
            conn.out
                .append(|out| opening.encode(out, form, false))
                .expect("there is no Content-Length in it");
            let seconds = ping.map_or(0.0, |ping| ping.as_secs_f64());
            conn.out.extend(&event_stream::open(&session.ticket, resumed, inactivity.as_secs(), seconds));
            // Nothing further is answered on this connection.
            conn.take_no_more();
            conn.carries = Some(id);
            session.stream = Some(called.conn);
            session.due = now + ping.unwrap_or(Duration::from_secs(86_400));
            let due = session.due;
            self.look_at(id, due);
            cx.outbox.mark_dirty(called.conn);
        }
        cx.events.push(Event::Carried(called));
    }

    fn go_on_with_events(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        called: Called,
        cors: &str,
        after: Option<u64>,
        now: Instant,
    ) {
        if let Err((status, words)) = self.go_on(cx, id, after, now) {
            return self.answer_call_with(cx, called.request, (status, cors), words);
        }
        self.begin_events(cx, id, called, cors, true, now);
    }

    /// The client has all messages up to a number.
    pub(in crate::hub::live) fn go_on(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        after: Option<u64>,
        now: Instant,
    ) -> Result<(), (u16, &'static str)> {
        let drops = self.bounds_of(cx, id).slow == Slow::DropOldest;
        let second = self.lives.second(now);
        let Some(channel) = self.lives.get_mut(id) else { return Err((410, GONE)) };
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
        cx: &mut Context,
        id: LiveId,
        called: Called,
        cors: &str,
        (after, wait): (Option<u64>, Option<u64>),
        now: Instant,
    ) {
        if let Err((status, words)) = self.go_on(cx, id, after, now) {
            return self.answer_call_with(cx, called.request, (status, cors), words);
        }
        self.make_way(cx, id);
        let wait =
            wait.map_or(cx.limits.poll_wait, |wait| Duration::from_secs(wait).min(cx.limits.poll_wait));
        let Some(channel) = self.lives.get_mut(id) else { return };
        let (number, is_open) = (channel.number, channel.stage == Stage::Open);
        let Carrier::Http(session) = &mut channel.carrier else { return };
        session.poll = Some(Poll { request: called.request, conn: called.conn, cors: cors.to_owned() });
        session.due = now + wait;
        let (due, is_empty) = (session.due, session.mailbox.is_all_sent());
        // The client's time is not the script's.
        cx.events.push(Event::Hold(called.request, number));
        if is_empty && is_open && !wait.is_zero() {
            self.look_at(id, due);
        } else {
            self.answer_poll(cx, id, now);
        }
    }

    /// Takes a client's message: 204, or another status and why.
    pub(in crate::hub::live) fn take_message(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        number: Option<u64>,
        binary: bool,
        payload: &[u8],
        now: Instant,
    ) -> (u16, String) {
        let second = self.lives.second(now);
        let limit = cx.limits.channel_queue;
        let inactivity = cx.limits.inactivity;
        let Some(channel) = self.lives.get_mut(id) else { return (410, GONE.into()) };
        channel.heard = second;
        let spec = cx.apps.channel(channel.app, channel.route);
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
            cx.ledger.counters.overloaded += 1;
            return (503, "the script has not read what came before; try again in a second".into());
        }
        if number.is_some() {
            session.received = next;
        }
        self.note(cx, id, Passing::In { binary, payload });
        self.count_received(cx, id);
        self.give(cx, id, Pending::Message { binary, payload: payload.into() }, now);
        (204, String::new())
    }

    fn answer_preflight(&mut self, cx: &mut Context, request: RequestId, cors: &str) {
        let head = format!(
            "{cors}Access-Control-Allow-Methods: GET, POST, DELETE\r\nAccess-Control-Allow-Headers: Content-Type\r\n\
             Access-Control-Max-Age: 600\r\n"
        );
        cx.events.push(Event::Answer(request, Plan::Answer { status: 204, head, body: String::new() }));
    }
}

const _: () = assert!(NO_LINK.0 == u16::MAX);
