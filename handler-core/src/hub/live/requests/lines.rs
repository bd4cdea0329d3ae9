//! Sessions by WebSockets of `kennel.js`: a WebSocket that may end at any time, while its session does not.
//!
//! [`channel::line`](crate::channel::line) says what travels in the frames. The WebSocket takes what waits in the mailbox as
//! a stream of events does; besides, both sides acknowledge, so nothing that was written is discarded before it has
//! arrived, and messages of the client need no request each.

use crate::channel::call;
use crate::channel::line::{self, Said};
use crate::hub::context::Context;
use crate::hub::ids::{AppId, ConnKey, LiveId};
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::live::Live;
use crate::hub::live::carrier::{Carried, Carrier, Line};
use crate::hub::live::session::{FAR, GONE};
use crate::hub::outbox::connection::Conn;
use crate::hub::outbox::pacing::Pacer;
use kennel_http::websocket::{CloseCode, Event, Offer, Session};
use mongrel2_wire::Envelope;
use std::time::{Duration, Instant};

/// How long an acknowledgement waits for a message that it can travel with.
const DELAY: Duration = Duration::from_millis(200);

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
    pub(in crate::hub::live) fn line_is_due(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        key: ConnKey,
        now: Instant,
    ) {
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

    /// A session's WebSocket is taken for dead: the session waits for its client.
    pub(in crate::hub::live) fn drop_line(&mut self, cx: &mut Context, id: LiveId, key: ConnKey) {
        self.stream_gone(id, key);
        if let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
            conn.carries = None;
        }
        cx.close(key);
    }
}
