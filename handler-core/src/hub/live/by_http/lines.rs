//! Sessions by WebSockets of `kennel.js`: a WebSocket that may end at any time, while its session does not.
//!
//! [`channel::line`](crate::channel::line) says what travels in the frames. The WebSocket takes what waits in the mailbox as
//! a stream of events does; besides, both sides acknowledge, so nothing that was written is discarded before it has
//! arrived, and messages of the client need no request each.

use super::super::table::{Carrier, Channel, Lives, Stage};
use super::asking::GONE;
use super::{ByHttp, Carried};
use crate::channel::line::{self, Said};
use crate::channel::{call, event_stream, poll};
use crate::hub::context::Context;
use crate::hub::ids::LiveId;
use crate::hub::ids::{AppId, ConnKey};
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::limits::Limits;
use crate::hub::live::Live;
use crate::hub::live::ending::PATIENCE;
use crate::hub::outbox::connection::Conn;
use crate::hub::outbox::pacing::Pacer;
use kennel_http::websocket::{CloseCode, Codec, Event, Offer, Session};
use mongrel2_wire::Envelope;
use std::time::{Duration, Instant};

/// Bytes of frames that are written to a connection before it has sent those that were.
const TOGETHER: usize = 64 << 10;
/// The least that may be handed out without an acknowledgement, bytes; `limits.resume` may allow more.
pub(super) const LEAST_WINDOW: usize = 128 << 10;
/// How long an acknowledgement waits for a message that it can travel with.
const DELAY: Duration = Duration::from_millis(200);
/// When to look at a session for which nothing is due.
pub(super) const FAR: Duration = Duration::from_secs(86_400);
/// Signs of life that a client may leave unanswered. More than those of a plain WebSocket: a client that sends a large message
/// over a slow line answers behind it, and to be cut off would make it begin again.
const UNANSWERED: u8 = 4;

/// A WebSocket that carries a session.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) socket: Session,
    /// The number of the last message of the client that this line has brought.
    said: u64,
    /// How far the client knows that its messages have come.
    told: u64,
    /// The script does not keep up, and the client knows it: nothing is taken until the message comes that was refused.
    busy: bool,
    /// The number of the last message that the client expects to have.
    pub(super) handed: u64,
}

/// What a session's sign of life came to.
pub(in crate::hub::live) enum Beat {
    /// No WebSocket carries it now, or one that is being closed.
    None,
    /// The client has left several unanswered.
    Dead(ConnKey),
    /// It is to be sent there.
    Due(ConnKey),
}

impl ByHttp {
    /// Appends a ping and a sign of life, where a WebSocket carries the session.
    pub fn beat(&mut self, out: &mut Vec<u8>, codec: &mut Codec) -> Beat {
        let (Some(key), Some(line)) = (self.stream, &mut self.line) else {
            self.beats = false;
            return Beat::None;
        };
        if line.socket.unanswered() >= UNANSWERED {
            self.beats = false;
            return Beat::Dead(key);
        }
        if !line.socket.ping(out) {
            self.beats = false;
            return Beat::None;
        }
        line::steer(line::ALIVE, codec, out);
        Beat::Due(key)
    }

    /// The WebSocket that carries the session.
    pub fn line_key(&self) -> Option<ConnKey> {
        self.stream.filter(|_| self.line.is_some())
    }

    /// Whether a sign of life has to be planned: none is yet.
    pub fn plan_beats(&mut self) -> bool {
        !std::mem::replace(&mut self.beats, true)
    }

    /// Counts a ping that asks whether messages have arrived. `false`: no WebSocket carries the session.
    pub fn asks(&mut self) -> bool {
        let Some(line) = &mut self.line else { return false };
        line.socket.asks();
        true
    }
}

impl Lives {
    /// Whether a WebSocket carries this session.
    pub(in crate::hub) fn is_on_line(&self, id: LiveId) -> bool {
        let carrier = self.get(id).map(|channel| &channel.carrier);
        matches!(carrier, Some(Carrier::Http(session)) if session.line.is_some())
    }
}

impl Live {
    /// Writes what waits for a session to its WebSocket.
    pub(super) fn fill_line(&mut self, id: LiveId, conn: &mut Conn, limits: &Limits, now: Instant) {
        let Some(channel) = self.lives.get_mut(id) else { return };
        let Channel { number, stage, carrier: Carrier::Http(session), .. } = channel else { return };
        let Some(line) = &mut session.line else { return };
        let window = limits.resume.max(LEAST_WINDOW);
        let is_closing = *stage == Stage::Closing;
        let has_room = |session: &crate::channel::mailbox::Mailbox| {
            let (letters, bytes) = session.unacknowledged();
            // The close goes behind all that waits, whether the client acknowledges or not.
            is_closing || (bytes < window && letters < (limits.mailbox as u64 / 2).max(1))
        };
        if has_room(&session.mailbox) && session.mailbox.peek().is_some() {
            line.acknowledge(session.received, conn, &mut self.codec);
        }
        let deflate = line.socket.deflate();
        while conn.out.len() < TOGETHER
            && line.socket.is_open()
            && has_room(&session.mailbox)
            && let Some((number, letter)) = session.mailbox.hand_out()
        {
            let codec = &mut self.codec;
            if number != line.handed + 1 {
                conn.out.append(|out| line::steer(line::number(number).as_bytes(), codec, out));
            }
            line.handed = number;
            conn.out.append(|out| line::message(letter, deflate, codec, out));
        }
        if is_closing && session.mailbox.is_all_sent() {
            let (code, reason) = self.our_closes.get(&id).map_or((1000, ""), |(code, why)| (*code, why));
            if conn.out.append(|out| line.socket.close(CloseCode(code), reason, out)) {
                session.due = *session.told.get_or_insert(now + PATIENCE);
                self.sessions.agenda.plan(session.due, id, *number, &mut session.planned);
            }
        }
    }
}

impl Line {
    /// Tells the client how far its messages have come, if it does not know.
    fn acknowledge(&mut self, received: u64, conn: &mut Conn, codec: &mut Codec) {
        if self.told < received && self.socket.is_open() {
            self.told = received;
            conn.out.append(|out| line::steer(line::received(received, false).as_bytes(), codec, out));
        }
    }

    /// The last frames: what waits, and the close.
    pub(super) fn dismiss(
        &mut self,
        session: (&mut crate::channel::mailbox::Mailbox, u64),
        close: (u16, &str),
        conn: &mut Conn,
        codec: &mut Codec,
    ) {
        let (mailbox, received) = session;
        self.acknowledge(received, conn, codec);
        let deflate = self.socket.deflate();
        while self.socket.is_open()
            && let Some((_, letter)) = mailbox.hand_out()
        {
            conn.out.append(|out| line::message(letter, deflate, codec, out));
        }
        conn.out.append(|out| self.socket.close(CloseCode(close.0), close.1, out));
    }
}

impl Live {
    /// Whether a handshake that keeps the rules is one of `kennel.js` for a session.
    pub(in crate::hub::live) fn is_for_session(
        &self,
        cx: &Context,
        (app, route): (AppId, u16),
        offer: &Offer,
    ) -> bool {
        let spec = cx.apps.channel(app, route);
        self.sessions.tickets.is_some()
            && spec.is_some_and(|spec| !spec.asks)
            && offer.protocols.iter().any(|protocol| protocol == line::PROTOCOL)
    }

    /// Whether a handshake names a session, so that nothing new begins.
    pub(in crate::hub::live) fn resumes(
        &self,
        cx: &Context,
        place: (AppId, u16),
        offer: &Offer,
        envelope: &Envelope<'_>,
    ) -> bool {
        self.is_for_session(cx, place, offer) && matches!(call::resumed(envelope), Ok(Some(_)))
    }

    /// Accepts a handshake of `kennel.js`, for a new session or for one that is there. `opening`: Mongrel2's message without
    /// its body.
    pub(in crate::hub::live) fn begin_line(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        place: (AppId, u16),
        offer: Offer,
        (envelope, opening): (&Envelope<'_>, &[u8]),
        now: Instant,
    ) {
        let spec = cx.apps.channel(place.0, place.1);
        let protocol = spec.and_then(|spec| offer.preferred(&spec.protocols)).unwrap_or_default();
        let accepted = offer.accept(Some(line::PROTOCOL), b"");
        let (found, is_new) = match call::resumed(envelope) {
            Err(problem) => (Err(problem.to_string()), false),
            Ok(None) => {
                let Some(id) = self.open_session(cx, place, opening, Carried::WebSocket, now) else {
                    return cx.events.push(crate::hub::event::Event::Refuse(key, 503));
                };
                (Ok(id), true)
            }
            Ok(Some((ticket, after))) => {
                let found = self.session(&ticket, place).ok_or((410, GONE));
                let found = found.and_then(|id| self.go_on(cx, id, after, now).map(|()| id));
                (found.map_err(|(_, words)| words.to_owned()), false)
            }
        };
        let id = match found {
            Ok(id) => id,
            Err(words) => {
                let mut bytes = accepted.response;
                Session::new(None).close(CloseCode(line::GONE), &words, &mut bytes);
                self.send_last_words(cx, key, &bytes);
                return;
            }
        };
        self.count_line(cx, key.link);
        self.make_way(cx, id);
        let ping = self.ping_of(cx, id).map_or(0.0, |ping| ping.as_secs_f64());
        let (inactivity, mailbox) = (cx.limits.inactivity.as_secs(), cx.limits.mailbox);
        let Some(channel) = self.lives.get_mut(id) else { return };
        let Carrier::Http(session) = &mut channel.carrier else { return };
        let (received, before) = (session.received, session.mailbox.sent());
        let opened = line::Opened {
            ticket: &session.ticket,
            resumed: !is_new,
            received,
            ping,
            inactivity,
            mailbox,
            protocol: &protocol,
        };
        let codec = &mut self.codec;
        let conn: &mut Conn = cx.outbox.conns.map.entry(key).or_default();
        conn.out.extend(&accepted.response);
        conn.out.append(|out| line::steer(opened.encode().as_bytes(), codec, out));
        // A mailbox that drops may have dropped what the client asks for.
        let handed =
            before.min(call::resumed(envelope).ok().flatten().and_then(|(_, after)| after).unwrap_or(before));
        conn.carries = Some(id);
        let socket = Session::new(accepted.deflate);
        session.stream = Some(key);
        session.line = Some(Line { socket, said: received, told: received, busy: false, handed });
        session.due = now + FAR;
        cx.outbox.mark_dirty(key);
        self.begin_beats(cx, id, now);
        if is_new {
            self.begin_work(cx, id, now);
        }
    }

    /// A frame of a WebSocket that another hub has opened for a session, which ended with it. The client learns which of its
    /// messages were not taken.
    pub(in crate::hub::live) fn end_strange_line(&mut self, cx: &mut Context, key: ConnKey, payload: &[u8]) {
        let mut bytes = Vec::new();
        match std::str::from_utf8(payload).ok().and_then(line::read) {
            // What comes behind it tells more.
            Some(Said::After(_)) => return,
            Some(Said::Message(number, _) | Said::From(number)) => {
                line::steer(line::refused(number).as_bytes(), &mut self.codec, &mut bytes);
            }
            _ => {}
        }
        Session::new(None).close(CloseCode(line::GONE), GONE, &mut bytes);
        self.send_last_words(cx, key, &bytes);
    }

    /// A frame of a WebSocket that carries a session.
    pub(in crate::hub::live) fn receive_on_line(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        key: ConnKey,
        flags: u8,
        payload: &[u8],
        now: Instant,
    ) {
        let second = self.lives.second(now);
        let Some(channel) = self.lives.get_mut(id) else { return };
        channel.heard = second;
        let max = cx.apps.channel(channel.app, channel.route);
        // A text has its number before it.
        let max = max.map_or(0, |spec| spec.max_message) + line::NUMBER;
        let Carrier::Http(session) = &mut channel.carrier else { return };
        let Some(line) = session.line.as_mut().filter(|_| session.stream == Some(key)) else { return };
        let mut replies = Vec::new();
        let event = line.socket.receive(flags, payload, max, &mut self.codec, second, &mut replies);
        if !replies.is_empty() {
            self.flush_publishing(cx, now);
            if let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
                conn.out.extend(&replies);
                cx.outbox.mark_dirty(key);
            }
        }
        match event {
            Event::Text(text) => match line::read(&text) {
                Some(Said::Message(number, text)) => {
                    self.take_from_line(cx, id, key, number, (false, text.as_bytes()), now);
                }
                Some(Said::After(after)) => {
                    if let Some(session) = self.by_http_mut(id) {
                        session.mailbox.acknowledge(after);
                        cx.outbox.mark_dirty(key);
                    }
                }
                Some(Said::From(number)) => {
                    if let Some(line) = self.line_of(id) {
                        line.said = number - 1;
                    }
                }
                Some(Said::Ask) => self.say_alive(cx, id, now),
                Some(Said::Leave) => self.drop_line(cx, id, key),
                Some(Said::Close(code)) => {
                    let code = CloseCode(code);
                    let code = if code.may_be_received() { code } else { CloseCode::NO_STATUS };
                    self.finish_live(cx, id, code.0, "", now);
                }
                Some(Said::Unknown) => {}
                None => self.break_line(cx, id, key, 1002, "neither a message nor an object", now),
            },
            Event::Binary(bytes) => {
                let (bytes, number) = (bytes.into_owned(), self.line_of(id).map_or(1, |line| line.said + 1));
                self.take_from_line(cx, id, key, number, (true, &bytes), now);
            }
            Event::Pong if payload == Pacer::PING => {
                if let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
                    conn.pacer.arrived();
                    cx.outbox.mark_dirty(key);
                }
            }
            Event::Ping | Event::Pong | Event::Ignored => {}
            Event::Closed { code, reason } => self.finish_live(cx, id, code.0, &reason, now),
            Event::Violation { code, reason } => self.break_line(cx, id, key, code.0, reason, now),
        }
        let most = cx.limits.connection_output;
        if cx.outbox.conns.map.get(&key).is_some_and(|conn| conn.carries == Some(id) && conn.out.len() > most)
        {
            // It makes the hub answer, and does not read the answers.
            cx.ledger.counters.overflowed += 1;
            self.drop_line(cx, id, key);
        }
    }

    /// The client broke a rule.
    fn break_line(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        key: ConnKey,
        code: u16,
        reason: &str,
        now: Instant,
    ) {
        cx.ledger.counters.violations += 1;
        if cx.ledger.complaints.pass(Complaint::Refused, now) {
            log_about!(warn, self.about_by(cx, id, key), code, "closed: {reason}");
        }
        self.finish_live(cx, id, code, reason, now);
    }

    fn line_of(&mut self, id: LiveId) -> Option<&mut Line> {
        self.by_http_mut(id)?.line.as_mut()
    }

    /// A message of the client.
    fn take_from_line(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        key: ConnKey,
        number: u64,
        (binary, payload): (bool, &[u8]),
        now: Instant,
    ) {
        let (status, words) = self.take_message(cx, id, Some(number), binary, payload, now);
        match status {
            204 => {
                let Some(session) = self.by_http_mut(id) else { return };
                let Some(line) = &mut session.line else { return };
                (line.said, line.busy) = (number, false);
                if session.told.is_none() && session.due > now + DELAY {
                    session.due = now + DELAY;
                    let due = session.due;
                    self.look_at(id, due);
                }
            }
            // It is closing: nothing that comes is of interest.
            410 => {}
            413 => self.break_line(cx, id, key, 1009, "message too big", now),
            409 | 503 => {
                let Some(session) = self.by_http_mut(id) else { return };
                let received = session.received;
                // The client is told each time that the refused message comes, and not of those behind it.
                let Some(line) = session.line.as_mut().filter(|line| status == 503 || !line.busy) else {
                    return;
                };
                (line.busy, line.told) = (true, received);
                let text = line::received(received, true);
                let codec = &mut self.codec;
                if let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
                    conn.out.append(|out| line::steer(text.as_bytes(), codec, out));
                    cx.outbox.mark_dirty(key);
                }
            }
            _ => self.break_line(cx, id, key, 1008, &words, now),
        }
    }

    /// Something is due for a session that a WebSocket carries: an acknowledgement, or its end.
    pub(super) fn line_is_due(&mut self, cx: &mut Context, id: LiveId, key: ConnKey, now: Instant) {
        let Some(session) = self.by_http_mut(id) else { return };
        if session.told.is_some() {
            // The client has not answered our close.
            self.finish_live(cx, id, 1006, "", now);
            return;
        }
        session.due = now + FAR;
        let received = session.received;
        let Some(Carrier::Http(session)) = self.lives.get_mut(id).map(|channel| &mut channel.carrier) else {
            return;
        };
        if let Some(line) = &mut session.line
            && let Some(conn) = cx.outbox.conns.map.get_mut(&key).filter(|conn| !conn.is_ending())
        {
            line.acknowledge(received, conn, &mut self.codec);
            cx.outbox.mark_dirty(key);
        }
    }

    /// A sign of life by whatever carries a session.
    pub(super) fn say_alive(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        let inactivity = cx.limits.inactivity;
        let Some(session) = self.by_http_mut(id) else { return };
        let (stream, is_line) = (session.stream, session.line.is_some());
        if let Some(held) = session.poll.take() {
            session.due = now + inactivity;
            let (due, nothing) = (session.due, poll::nothing(&session.mailbox));
            self.look_at(id, due);
            self.answer_call_by(cx, held.request, (200, &held.cors), nothing);
        } else if let Some(key) = stream {
            let codec = &mut self.codec;
            // What waits to be sent is a sign of life by itself.
            let is_free = |conn: &&mut Conn| !conn.is_ending() && conn.out.is_empty();
            if let Some(conn) = cx.outbox.conns.map.get_mut(&key).filter(is_free) {
                match is_line {
                    true => conn.out.append(|out| line::steer(line::ALIVE, codec, out)),
                    false => conn.out.extend(event_stream::ALIVE),
                }
                cx.outbox.mark_dirty(key);
            }
        } else if session.told.is_none() {
            session.due = now + inactivity;
        }
    }

    /// A session's WebSocket is taken for dead: the session waits for its client.
    pub(in crate::hub::live) fn drop_line(&mut self, cx: &mut Context, id: LiveId, key: ConnKey) {
        self.stream_gone(id, key);
        if let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
            conn.carries = None;
        }
        cx.close(key);
    }
}
