//! Bytes to connections, within what Mongrel2 bears.
//!
//! Answers grow in their connection's buffer during a turn. At its end each connection that has
//! something gets one message, if its [pacer](super::pacing) lets it; the rest waits for its
//! window or its credits. A close is a message of its own, behind everything else.

use super::Hub;
use super::counters::Complaint;
use super::ids::{ConnKey, LinkId};
use super::pacing::{Allowance, Pacer};
use crate::http::Persistence;
use crate::protocol::{ConnId, Targets, reply};
use crate::websocket::{Opcode, frame};
use crate::worker::protocol::encode_taken;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;
use tracing::warn;

/// Encoded replies, and who is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// The replies of this turn, one after the other.
    pub(super) bytes: Vec<u8>,
    pub(super) replies: Vec<(LinkId, Range<usize>)>,
    /// Connections with something to send.
    dirty: Vec<ConnKey>,
    /// Connections that wait for their pacing window, oldest first.
    paced: VecDeque<(Instant, ConnKey)>,
}

impl Outgoing {
    /// When the next paced connection may go on.
    pub fn next_paced(&self) -> Option<Instant> {
        self.paced.front().map(|(due, _)| *due)
    }

    /// Drops the replies to a server that is gone.
    pub fn forget(&mut self, link: LinkId) {
        self.replies.retain(|(to, _)| *to != link);
    }
}

impl Hub {
    /// Hands out the replies of this turn, each with its link, in order.
    pub fn drain_replies(&mut self, mut send: impl FnMut(LinkId, &[u8])) {
        for (link, range) in self.outgoing.replies.drain(..) {
            send(link, &self.outgoing.bytes[range]);
        }
        self.outgoing.bytes.clear();
        self.outgoing.bytes.shrink_to(1 << 20);
    }

    pub(super) fn mark_dirty(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.map.get_mut(&key)
            && !conn.dirty
        {
            conn.dirty = true;
            self.outgoing.dirty.push(key);
        }
    }

    /// Closes a connection once everything that was written for it is sent. What it still sends is
    /// ignored, and requests without an answer get none.
    pub(super) fn close_connection(&mut self, key: ConnKey) {
        let conn = self.conns.map.entry(key).or_default();
        if conn.closed || conn.gone {
            return;
        }
        conn.closing = true;
        self.drop_requests(key);
        self.mark_dirty(key);
    }

    /// Closes a connection after the answers to what it has asked so far.
    pub(super) fn close_in_turn(&mut self, key: ConnKey) {
        let conn = self.conns.map.entry(key).or_default();
        match conn.waiting.back().copied().or(conn.current) {
            Some(last) if self.requests[last].http => {
                self.requests[last].persistence = Persistence::Close;
                conn.deaf = true;
            }
            _ => self.close_connection(key),
        }
    }

    /// Sends the same bytes to many connections: to those that are free in as few replies as
    /// possible, to the others behind what they are waiting for.
    pub(super) fn multicast(&mut self, keys: &[ConnKey], payload: &[u8], now: Instant) {
        let Some(link) = keys.first().map(|key| key.link) else { return };
        let flow_control = self.links[usize::from(link.0)].flow_control;
        let mut free: Vec<ConnId> = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(live) = self.live.lives.at(*key) {
                // What it is sent as a live connection counts too.
                let _ = self.live_conn(live, now);
            }
            let conn = self.conns.map.entry(*key).or_default();
            if conn.is_ending() {
                continue;
            }
            let room = match conn.pacer.allowance(flow_control, now) {
                Allowance::Send(bytes) => bytes >= payload.len(),
                Allowance::Wait(_) | Allowance::WaitForCredits => false,
            };
            if room && conn.out.is_empty() {
                conn.pacer.sent(payload.len(), flow_control, now);
                free.push(key.id);
                self.conns.list_if_idle(*key, now);
            } else if conn.out.len() + payload.len() <= self.limits.connection_output {
                conn.out.extend_from_slice(payload);
                self.mark_dirty(*key);
            } else {
                // A client that does not read must not fill our memory; it is not left in the dark either.
                let waiting = conn.out.len();
                conn.out = Vec::new();
                conn.closing = true;
                self.counters.overflowed += 1;
                self.mark_dirty(*key);
                if self.complaints.pass(Complaint::Overflow, now) {
                    warn!(link = link.0, conn = %key.id, waiting, "closed: too much waits for this client");
                }
            }
        }
        let Some(sender) = &self.links[usize::from(link.0)].sender else { return };
        for targets in Targets::split(&free, self.limits.handler_targets) {
            let start = self.outgoing.bytes.len();
            reply::encode(&mut self.outgoing.bytes, sender, targets, payload);
            self.outgoing.replies.push((link, start..self.outgoing.bytes.len()));
        }
    }

    /// Puts together what connections have to send.
    pub(super) fn flush(&mut self, now: Instant) {
        while let Some((due, key)) = self.outgoing.paced.front().copied() {
            if due > now {
                break;
            }
            self.outgoing.paced.pop_front();
            self.mark_dirty(key);
        }
        // Flushing may let a connection go on, and its next answer may be the hub's own.
        while !self.outgoing.dirty.is_empty() {
            let mut dirty = std::mem::take(&mut self.outgoing.dirty);
            for key in dirty.drain(..) {
                self.flush_connection(key, now);
            }
            if self.outgoing.dirty.is_empty() {
                self.outgoing.dirty = dirty;
            }
        }
    }

    fn flush_connection(&mut self, key: ConnKey, now: Instant) {
        let link = &self.links[usize::from(key.link.0)];
        let Some(conn) = self.conns.map.get_mut(&key) else { return };
        conn.dirty = false;
        let Some(sender) = link.sender.as_ref().filter(|_| link.incarnation == key.incarnation && !conn.gone)
        else {
            self.advance(key, now);
            return;
        };
        let targets = Targets::one(&key.id);
        loop {
            if conn.out.is_empty() {
                self.live.fill_stream(conn, &self.limits, now);
                let dropped = conn.refill();
                if dropped > 1 {
                    warn!(link = key.link.0, conn = %key.id, "dropped {dropped} messages in all: the client did not read");
                }
            }
            let mut allowance = conn.pacer.allowance(link.flow_control, now);
            if let Some(stream) = conn.stream.as_mut().filter(|_| !conn.closing) {
                if let Allowance::Send(room) = allowance
                    && conn.out.is_empty()
                {
                    // What waits here goes on at its pace; what waits before the server is lost when it is too much.
                    if stream.waiting() > 0
                        && link.backlog + self.outgoing.bytes.len() > self.limits.spill / 4
                    {
                        allowance = Allowance::Wait(now + Pacer::WINDOW);
                    } else if !stream.fill(&mut conn.out, room) {
                        allowance = Allowance::WaitForCredits;
                    }
                }
                if let Some(worker) = self.workers.get_mut(stream.worker.0)
                    && let Some(bytes) = stream.take_report()
                {
                    encode_taken(&mut worker.orders, stream.serial, bytes);
                }
            }
            let allowed = match allowance {
                _ if conn.out.is_empty() && !conn.has_pieces() && !conn.closing => break,
                // A close takes no credits, but a place among the sixteen.
                Allowance::WaitForCredits if conn.out.is_empty() && conn.closing => 0,
                Allowance::Send(bytes) => bytes,
                Allowance::Wait(due) => {
                    self.outgoing.paced.push_back((due, key));
                    conn.dirty = false;
                    return;
                }
                Allowance::WaitForCredits => {
                    self.conns.list_if_idle(key, now);
                    return;
                }
            };
            if !link.flow_control
                && !conn.out.is_empty()
                && conn.pacer.wants_ping(now)
                && conn.live.is_some_and(|id| self.live.lives.begin_ping(id))
            {
                frame::encode(&mut conn.out, Opcode::Ping, Pacer::PING, false);
                conn.pacer.pings();
            }
            let start = self.outgoing.bytes.len();
            if conn.out.is_empty() {
                reply::encode_close(&mut self.outgoing.bytes, sender, targets);
                conn.pacer.sent(0, link.flow_control, now);
                conn.closing = false;
                conn.closed = true;
                self.raw_clients.forget(key);
            } else if conn.bill(conn.out.len()) <= allowed {
                reply::encode(&mut self.outgoing.bytes, sender, targets, &conn.out);
                conn.sent(conn.out.len(), link.flow_control, now);
                conn.out.clear();
                conn.out.shrink_to(4096);
            } else {
                let part = if conn.is_socket { allowed / 4 * 3 } else { allowed };
                if part == 0 {
                    self.conns.list_if_idle(key, now);
                    return;
                }
                reply::encode(&mut self.outgoing.bytes, sender, targets, &conn.out[..part]);
                conn.sent(part, link.flow_control, now);
                conn.out.drain(..part);
            }
            self.outgoing.replies.push((key.link, start..self.outgoing.bytes.len()));
            if conn.closed {
                // A live connection ends before its close is sent; but others can close it too: an answer to
                // HTTP that came by the same connection, a raw script.
                self.live_disconnected(key, now);
                if let Some(id) = self.conns.map.get(&key).and_then(|conn| conn.carries) {
                    self.stream_gone(id, key);
                }
                self.drop_requests(key);
                break;
            }
        }
        // After the close, raw messages that came before it still reach their script.
        self.advance(key, now);
        self.conns.list_if_idle(key, now);
    }
}

const _: () = assert!(Pacer::MESSAGES as usize * 2 <= 16, "two windows must fit Mongrel2's queue");
