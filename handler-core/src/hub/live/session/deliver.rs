//! Messages to the clients of sessions.

use crate::channel::mailbox::{Letter, Posted};
use crate::channel::{event_stream, poll};
use crate::hub::context::Context;
use crate::hub::ids::{ConnKey, LiveId, RequestId};
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::limits::Limits;
use crate::hub::live::Live;
use crate::hub::live::carrier::{ByHttp, Carrier};
use crate::hub::live::table::{PATIENCE, Stage};
use crate::hub::outbox::connection::{Conn, Ending};
use std::time::Instant;

/// Bytes of events that are written to a connection before it has sent those that were.
const TOGETHER: usize = 64 << 10;
/// Bytes of messages in polls that are answered before the answers are handed to the server.
const POLLS_TOGETHER: usize = 1 << 20;

impl Live {
    /// Writes what waits for a session to the connection that has its events, if that has sent all before.
    pub(in crate::hub) fn fill_stream(&mut self, conn: &mut Conn, limits: &Limits, now: Instant) {
        let Some(id) = conn.carries.filter(|_| conn.out.is_empty() && !conn.is_ending()) else { return };
        if self.lives.is_on_line(id) {
            self.fill_line(id, conn, limits, now);
            return;
        }
        let Some(channel) = self.lives.get_mut(id) else { return };
        let (number, is_closing) = (channel.number, channel.stage == Stage::Closing);
        let Carrier::Http(session) = &mut channel.carrier else { return };
        while conn.out.len() < TOGETHER
            && let Some((number, letter)) = session.mailbox.hand_out()
        {
            conn.out.append(|out| event_stream::message(&session.ticket, number, letter, out));
        }
        session.mailbox.forget_sent(limits.mailbox, limits.resume);
        if is_closing && session.mailbox.is_all_sent() {
            let (code, reason) = self.our_closes.get(&id).map_or((1000, ""), |(code, why)| (*code, why));
            conn.out.extend(&event_stream::close(code, reason));
            conn.ending = Ending::Closing;
            conn.carries = None;
            session.stream = None;
            session.due = *session.told.get_or_insert(now + PATIENCE);
            let due = session.due;
            self.sessions.agenda.plan(due, id, number, &mut session.planned);
        }
    }
}

impl Live {
    /// Puts a message into a session's mailbox.
    pub(in crate::hub::live) fn post(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        letter: Letter,
        room: Option<&[u8]>,
        now: Instant,
    ) {
        let bounds = self.bounds_of(cx, id);
        let Some(channel) = self.lives.get_mut(id).filter(|channel| channel.stage == Stage::Open) else {
            return;
        };
        let key = channel.key;
        let Carrier::Http(session) = &mut channel.carrier else { return };
        let posted = session.mailbox.post(letter, bounds);
        let (ready, stream, waiting) = (session.poll.is_some(), session.stream, session.mailbox.size().1);
        match posted {
            Posted::Kept => {}
            Posted::Dropped(count) => {
                cx.ledger.counters.dropped += count as u64;
                if cx.ledger.complaints.pass(Complaint::Overflow, now) {
                    let room = room.map(|room| String::from_utf8_lossy(room).into_owned());
                    let about = self.about_by(cx, id, key);
                    log_about!(
                        warn,
                        about,
                        room,
                        "dropped a message: the client does not come for it, and more than the channel's buffer waits"
                    );
                }
            }
            Posted::Full => {
                cx.ledger.counters.overflowed += 1;
                if cx.ledger.complaints.pass(Complaint::Overflow, now) {
                    let about = self.about_by(cx, id, key);
                    log_about!(
                        warn,
                        about,
                        waiting,
                        "dropped and closed: the client does not come for what is sent to it"
                    );
                }
                self.queue_no_more(id);
                self.to_end(cx, id, 1008, "too slow");
                return;
            }
        }
        if ready {
            self.sessions.ready.push(id);
        }
        if let Some(stream) = stream {
            cx.outbox.mark_dirty(stream);
        }
    }

    /// Answers the polls for which something has come in this turn.
    pub(in crate::hub) fn answer_ready_polls(&mut self, cx: &mut Context, now: Instant) {
        let mut written = 0;
        let mut later = Vec::new();
        for id in std::mem::take(&mut self.sessions.ready) {
            if written > POLLS_TOGETHER || self.poll_waits_for_server(cx, id) {
                later.push(id);
                continue;
            }
            written += self.by_http(id).map_or(0, ByHttp::unsent);
            self.answer_poll(cx, id, now);
            self.send_elements(cx, id, now);
        }
        self.sessions.ready.append(&mut later);
    }

    /// Whether there are polls to answer whose server takes more now.
    pub(in crate::hub) fn has_polls_to_answer(&mut self, cx: &mut Context) -> bool {
        (0..self.sessions.ready.len()).any(|at| !self.poll_waits_for_server(cx, self.sessions.ready[at]))
    }

    /// Whether the server of a session's poll has not taken what it was handed before. The messages are safer in the
    /// mailbox, where they are shared with other sessions.
    fn poll_waits_for_server(&mut self, cx: &mut Context, id: LiveId) -> bool {
        let Some(poll) = self.by_http(id).and_then(|session| session.poll.as_ref()) else {
            return false;
        };
        let link = poll.conn.link;
        let fresh = cx.outbox.outgoing.fresh(link);
        cx.servers[link].is_full(fresh, cx.limits.spill)
    }

    /// Answers a session's poll, if one is held, with all that waits.
    pub(in crate::hub::live) fn answer_poll(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        let inactivity = cx.limits.inactivity;
        let Some(channel) = self.lives.get_mut(id) else { return };
        let closing = channel.stage == Stage::Closing;
        let close = self.our_closes.get(&id).filter(|_| closing).map(|(code, why)| (*code, &**why));
        let Carrier::Http(session) = &mut channel.carrier else { return };
        let Some(poll) = session.poll.take() else { return };
        let (answer, told) = poll::answer(&mut session.mailbox, close);
        session.due = match told {
            true => *session.told.get_or_insert(now + PATIENCE),
            false => now + inactivity,
        };
        let due = session.due;
        self.look_at(id, due);
        self.answer_call_by(cx, poll.request, (200, &poll.cors), answer);
    }

    /// Whatever carries a session now makes way for what comes.
    pub(in crate::hub::live) fn make_way(&mut self, cx: &mut Context, id: LiveId) {
        let Some(session) = self.by_http_mut(id) else { return };
        let (poll, stream) = (session.poll.take(), session.stream.take());
        session.line = None;
        let nothing = poll::nothing(&session.mailbox);
        // If nothing takes its place, its time runs.
        self.sessions.alone.push(id);
        if let Some(poll) = poll {
            self.answer_call_by(cx, poll.request, (200, &poll.cors), nothing);
        }
        if let Some(conn) = stream.and_then(|key| cx.outbox.conns.map.get_mut(&key)) {
            conn.carries = None;
        }
        if let Some(key) = stream {
            cx.close(key);
        }
    }

    /// We close a session: its client hears that behind what waits, now or when it comes.
    pub(in crate::hub::live) fn close_session(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        code: u16,
        reason: &str,
        now: Instant,
    ) {
        let Some(channel) = self.lives.get_mut(id) else { return };
        channel.stage = Stage::Closing;
        self.our_closes.insert(id, (code, reason.into()));
        let stream = match &channel.carrier {
            Carrier::Http(session) => session.stream,
            _ => None,
        };
        self.rooms.leave_all(id);
        self.close_bosh(cx, id, code, now);
        match stream {
            Some(key) => cx.outbox.mark_dirty(key),
            None => self.answer_poll(cx, id, now),
        }
    }

    /// The last words to a session's client, if it listens: what waits, and the close.
    pub(in crate::hub::live) fn dismiss(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        code: u16,
        reason: &str,
        now: Instant,
    ) {
        let Some(channel) = self.lives.get_mut(id) else { return };
        let ours = self.our_closes.get(&id).map(|(code, reason)| (*code, reason.to_string()));
        let (code, reason) = ours.unwrap_or_else(|| (code, reason.to_owned()));
        let Carrier::Http(session) = &mut channel.carrier else {
            self.dismiss_bosh(cx, id, code, now);
            return;
        };
        let (poll, stream) = (session.poll.take(), session.stream.take());
        if let Some(conn) = stream.and_then(|key| cx.outbox.conns.map.get_mut(&key)) {
            if let Some(mut line) = session.line.take() {
                let mailbox = (&mut session.mailbox, session.received);
                line.dismiss(mailbox, (code, &reason), conn, &mut self.codec);
            } else {
                while let Some((number, letter)) = session.mailbox.hand_out() {
                    conn.out.append(|out| event_stream::message(&session.ticket, number, letter, out));
                }
                conn.out.extend(&event_stream::close(code, &reason));
            }
            conn.carries = None;
        }
        let answer = poll.map(|poll| (poll, poll::answer(&mut session.mailbox, Some((code, &reason))).0));
        if let Some(key) = stream {
            cx.close(key);
        }
        if let Some((poll, answer)) = answer {
            self.answer_call_by(cx, poll.request, (200, &poll.cors), answer);
        }
    }

    /// A request that was held for a session is gone.
    pub(in crate::hub) fn poll_gone(&mut self, number: u64, request: RequestId) {
        let Some(id) = self.lives.by_number(number) else { return };
        let Some(channel) = self.lives.get_mut(id) else { return };
        match &mut channel.carrier {
            Carrier::Http(session) => {
                if session.poll.take_if(|poll| poll.request == request).is_some() {
                    self.sessions.alone.push(id);
                }
            }
            Carrier::Bosh(session) => {
                self.sessions.gone.extend(session.forget(request).map(|number| (id, number)));
            }
            Carrier::WebSocket(_) | Carrier::Json | Carrier::Xml => {}
        }
    }

    /// The connection that had a session's events, or was its WebSocket, is gone.
    pub(in crate::hub) fn stream_gone(&mut self, id: LiveId, key: ConnKey) {
        let Some(session) = self.by_http_mut(id) else { return };
        if session.stream.take_if(|stream| *stream == key).is_some() {
            session.line = None;
            self.sessions.alone.push(id);
        }
    }
}

impl Live {
    /// A sign of life by whatever carries a session.
    pub(in crate::hub::live) fn say_alive(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
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
                    true => conn
                        .out
                        .append(|out| crate::channel::line::steer(crate::channel::line::ALIVE, codec, out)),
                    false => conn.out.extend(event_stream::ALIVE),
                }
                cx.outbox.mark_dirty(key);
            }
        } else if session.told.is_none() {
            session.due = now + inactivity;
        }
    }
}
