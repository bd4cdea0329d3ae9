//! Bytes to connections, within what Mongrel2 bears.
//!
//! Responses grow in their connection's [outbox](crate::hub::outbox::output) during a turn. At its end each connection that has
//! something gets one message, if its [pacer](crate::hub::outbox::pacing) lets it; the rest waits for its window or its credits.
//! A close is a message of its own, behind everything else.
//!
//! Nothing is handed to a server that has not taken what it was handed before: beyond `limits.spill` bytes,
//! connections wait in a queue of their [link](crate::hub::servers::link), those with bytes of their own before those with a room's
//! message. A room's message also waits while the server is [busy](crate::hub::servers::under_way) with others.

use crate::hub::Hub;
use crate::hub::ids::{ConnKey, LinkId};
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::outbox::batches::Batches;
use crate::hub::outbox::connection::Conn;
use crate::hub::outbox::output::{Bound, Front, Merger, Pushed, Shared};
use crate::hub::outbox::pacing::{Allowance, Pacer};
use crate::hub::servers::link::Link;
use crate::worker::protocol::{Slow, encode_taken};
use kennel_http::Persistence;
use kennel_http::websocket::{Opcode, frame};
use mongrel2_wire::{ConnId, Targets, reply};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// The most of a room's message in one reply, under flow control: two of them may be under way to a client, one that is
/// being written and one behind it.
const PORTION: usize = Pacer::CREDITS / 2;
/// Fewer credits are not worth a message while more bytes wait: with each notice of credits the next message would be as
/// small as the one that it reports.
const WORTH: usize = 16 << 10;

/// Without flow control, the least of a large response that leaves as one message, and the number of messages.
const PART: usize = 2 << 20;
const PARTS: usize = 4;

/// Encoded replies, and who is to be looked at.
#[derive(Debug)]
pub(in crate::hub) struct Outgoing {
    /// The replies of this turn, one after the other.
    bytes: Vec<u8>,
    replies: Vec<(LinkId, Range<usize>)>,
    /// By link: bytes of this turn's replies.
    fresh: Vec<usize>,
    /// Shared messages that leave with others.
    batches: Batches,
    merger: Merger,
    /// The ping by which a client is asked whether it has what it was sent.
    ping: Arc<[u8]>,
    /// Connections with something to send.
    dirty: Vec<ConnKey>,
    /// Connections that wait for their pacing window, or whose body is collected, the next one on top.
    paced: BinaryHeap<Reverse<(Instant, ConnKey)>>,
}

impl Default for Outgoing {
    fn default() -> Self {
        let mut ping = Vec::new();
        frame::encode(&mut ping, Opcode::Ping, Pacer::PING, false);
        Self {
            bytes: Vec::new(),
            replies: Vec::new(),
            fresh: Vec::new(),
            batches: Batches::default(),
            merger: Merger::default(),
            ping: ping.into(),
            dirty: Vec::new(),
            paced: BinaryHeap::new(),
        }
    }
}

impl Outgoing {
    /// When the next paced connection may go on.
    pub fn next_paced(&self) -> Option<Instant> {
        self.paced.peek().map(|Reverse((due, _))| *due)
    }

    /// Drops the replies to a server that is gone.
    pub fn forget(&mut self, link: LinkId) {
        self.replies.retain(|(to, _)| *to != link);
    }

    /// Adds the reply that `write` writes, if it writes one.
    pub fn reply(&mut self, link: LinkId, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let size = self.bytes.len() - start;
        if size == 0 {
            return;
        }
        self.replies.push((link, start..start + size));
        let number = usize::from(link.0);
        if self.fresh.len() <= number {
            self.fresh.resize(number + 1, 0);
        }
        self.fresh[number] += size;
    }

    /// Bytes of this turn's replies to a server.
    pub fn fresh(&self, link: LinkId) -> usize {
        self.fresh.get(usize::from(link.0)).copied().unwrap_or(0) + self.batches.bytes()
    }

    /// Sends the same bytes to connections of one server.
    pub fn multicast(&mut self, link: LinkId, state: &Link, ids: &[ConnId], max: usize, payload: &[u8]) {
        let Some(sender) = &state.sender else { return };
        for targets in Targets::split(ids, max) {
            self.reply(link, |out| {
                reply::encode(out, sender, targets, payload);
            });
        }
    }

    /// Writes the batches of this round.
    fn write_batches(&mut self, links: &[Link], max: usize) {
        for batch in self.batches.take() {
            let state = &links[usize::from(batch.link.0)];
            self.multicast(batch.link, state, &batch.ids, max, &batch.message[batch.part]);
        }
    }

    /// Sends what is in front of a connection's outbox, within what is allowed: all of it or a part. Behind the last of it
    /// comes the close. `max`: the targets of one reply.
    fn send_front(
        &mut self,
        key: ConnKey,
        conn: &mut Conn,
        link: &mut Link,
        allowed: usize,
        max: usize,
        now: Instant,
    ) -> Step {
        let Some(sender) = &link.sender else { return Step::Nothing };
        let targets = Targets::one(&key.id);
        let whole = conn.out.buffered();
        let (part, is_shared) = match conn.out.front(&mut self.merger) {
            Front::Nothing => {
                self.reply(key.link, |out| reply::encode_close(out, sender, targets));
                conn.pacer.sent(0, link.flow_control, now);
                conn.closing = false;
                conn.closed = true;
                return Step::Closed;
            }
            Front::Own(bytes) => {
                let wanted = match link.flow_control || conn.stream.is_some() {
                    true => bytes.len(),
                    false => part_of(bytes.len(), whole),
                };
                let part = portion(conn.is_socket, wanted, allowed);
                self.reply(key.link, |out| {
                    reply::encode(out, sender, targets, &bytes[..part]);
                });
                (part, false)
            }
            Front::Shared(message, from) => {
                let rest = message.len() - from;
                let wanted = if link.flow_control { rest.min(PORTION) } else { rest };
                let part = if portion(conn.is_socket, wanted, allowed) == wanted { wanted } else { 0 };
                if part > 0 {
                    self.batches.join(key.link, message, from..from + part, key.id, max);
                    conn.batch = self.batches.round();
                }
                (part, true)
            }
        };
        if part == 0 {
            return Step::Waits;
        }
        conn.sent(part, link.flow_control, now);
        link.sent(part, now);
        conn.out.advance(part, link.flow_control);
        if is_shared && conn.out.begins_shared() {
            // The others get their portions first: those who are equally far then get the next one together.
            conn.queued = true;
            link.waiting_for_room.push_back(key);
            return Step::Waits;
        }
        let is_last = conn.out.is_empty() && conn.carries.is_none() && conn.stream.is_none() && !conn.closing;
        if is_last { Step::Nothing } else { Step::Sent }
    }
}

/// What came of trying to send a connection's next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is on its way.
    Sent,
    /// There is none, or it was the last one.
    Nothing,
    /// It waits for something.
    Waits,
    /// The connection's close is on its way.
    Closed,
}

impl Hub {
    /// Hands out the replies of this turn, each with its link, in order.
    pub fn drain_replies(&mut self, mut send: impl FnMut(LinkId, &[u8])) {
        for (link, range) in self.cx.outbox.outgoing.replies.drain(..) {
            send(link, &self.cx.outbox.outgoing.bytes[range]);
        }
        self.cx.outbox.outgoing.bytes.clear();
        self.cx.outbox.outgoing.bytes.shrink_to(1 << 20);
        self.cx.outbox.outgoing.fresh.fill(0);
    }

    /// Whether connections wait for a server that takes more now: another turn is worth it, though nothing happened.
    pub fn has_work(&mut self, now: Instant) -> bool {
        let limit = self.cx.limits.spill;
        let links = self.cx.servers.links.iter_mut().any(|link| link.has_work(limit, now));
        links || self.has_polls_to_answer()
    }

    pub(in crate::hub) fn mark_dirty(&mut self, key: ConnKey) {
        if let Some(conn) = self.cx.outbox.conns.map.get_mut(&key)
            && !conn.dirty
        {
            conn.dirty = true;
            self.cx.outbox.outgoing.dirty.push(key);
        }
    }

    /// Closes a connection once everything that was written for it is sent. What it still sends is
    /// ignored, and requests without an answer get none.
    pub(in crate::hub) fn close_connection(&mut self, key: ConnKey) {
        let conn = self.cx.outbox.conns.map.entry(key).or_default();
        if conn.closed || conn.gone {
            return;
        }
        conn.closing = true;
        self.drop_requests(key);
        self.mark_dirty(key);
    }

    /// Closes a connection after the answers to what it has asked so far.
    pub(in crate::hub) fn close_in_turn(&mut self, key: ConnKey) {
        let conn = self.cx.outbox.conns.map.entry(key).or_default();
        match conn.waiting.back().copied().or(conn.current) {
            Some(last) if self.exchange.requests[last].http => {
                self.exchange.requests[last].persistence = Persistence::Close;
                conn.deaf = true;
            }
            _ => self.close_connection(key),
        }
    }

    /// Sends the same bytes to many connections of one server: to those that are free in as few replies as possible, to
    /// the others behind what they are waiting for.
    pub(in crate::hub) fn multicast(&mut self, keys: &[ConnKey], payload: &[u8], now: Instant) {
        let Some(link) = keys.first().map(|key| key.link) else { return };
        let bound = Bound { slow: Slow::Wait, bytes: self.cx.limits.connection_output };
        let mut shared: Option<Arc<[u8]>> = None;
        let mut free: Vec<ConnId> = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(live) = self.live.lives.at(*key) {
                // What it is sent as a live connection counts too.
                let _ = self.live_conn(live, now);
            }
            let has_room = self.has_room(link, now);
            let state = &mut self.cx.servers[link];
            let conn = self.cx.outbox.conns.map.entry(*key).or_default();
            if conn.is_ending() {
                continue;
            }
            if has_room && conn.is_free_for(payload.len(), state.flow_control, now) {
                conn.sent(payload.len(), state.flow_control, now);
                state.sent(payload.len(), now);
                free.push(key.id);
                self.cx.outbox.conns.list_if_idle(*key, now);
                continue;
            }
            let bytes = Arc::clone(shared.get_or_insert_with(|| payload.into()));
            if let Pushed::TooMuch { waiting } = conn.out.push(Shared::message(bytes, None), bound) {
                // A client that does not read must not fill our memory; it is not left in the dark either.
                conn.out = Default::default();
                conn.closing = true;
                self.cx.ledger.counters.overflowed += 1;
                if self.cx.ledger.complaints.pass(Complaint::Overflow, now) {
                    let about = self.about_connection(*key);
                    log_about!(warn, about, waiting, "closed: too much waits for this client");
                }
            }
            self.mark_dirty(*key);
        }
        let state = &self.cx.servers[link];
        self.cx.outbox.outgoing.multicast(link, state, &free, self.cx.limits.handler_targets, payload);
    }

    /// Whether a message to many may be handed to this server now.
    pub(in crate::hub) fn has_room(&mut self, link: LinkId, now: Instant) -> bool {
        let fresh = self.cx.outbox.outgoing.fresh(link);
        let state = &mut self.cx.servers[link];
        state.waiting_for_room.is_empty()
            && !state.is_full(fresh, self.cx.limits.spill)
            && state.has_room(now)
    }

    /// Puts together what connections have to send.
    pub(in crate::hub) fn flush(&mut self, now: Instant) {
        while let Some(Reverse((due, key))) = self.cx.outbox.outgoing.paced.peek().copied() {
            if due > now {
                break;
            }
            self.cx.outbox.outgoing.paced.pop();
            if let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) {
                conn.collects = false;
                conn.due = conn.due.filter(|at| *at != due);
            }
            self.mark_dirty(key);
        }
        loop {
            // Flushing may let a connection go on, and its next answer may be the hub's own.
            while !self.cx.outbox.outgoing.dirty.is_empty() {
                let mut dirty = std::mem::take(&mut self.cx.outbox.outgoing.dirty);
                for key in dirty.drain(..) {
                    self.flush_connection(key, false, now);
                }
                if self.cx.outbox.outgoing.dirty.is_empty() {
                    self.cx.outbox.outgoing.dirty = dirty;
                }
            }
            for link in 0..self.cx.servers.links.len() {
                self.flush_waiting(LinkId(link as u16), now);
            }
            if self.cx.outbox.outgoing.dirty.is_empty() {
                break;
            }
        }
        self.cx.outbox.outgoing.write_batches(&self.cx.servers.links, self.cx.limits.handler_targets);
        self.cx.outbox.outgoing.merger.clear();
    }

    /// Goes on with the connections that wait for a server, as far as it takes more: first those with bytes of their own.
    fn flush_waiting(&mut self, link: LinkId, now: Instant) {
        loop {
            let fresh = self.cx.outbox.outgoing.fresh(link);
            let state = &mut self.cx.servers[link];
            if (state.waiting.is_empty() && state.waiting_for_room.is_empty())
                || state.is_full(fresh, self.cx.limits.spill)
            {
                return;
            }
            let next = match state.waiting.pop_front() {
                None if state.has_room(now) => state.waiting_for_room.pop_front(),
                next => next,
            };
            let Some(key) = next else { return };
            if let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) {
                conn.queued = false;
                self.flush_connection(key, true, now);
            }
        }
    }

    /// Sends what a connection may be sent now. `in_turn`: it has waited for its server, and its turn has come.
    fn flush_connection(&mut self, key: ConnKey, in_turn: bool, now: Instant) {
        let link = &self.cx.servers[key.link];
        let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) else { return };
        conn.dirty = false;
        if conn.queued {
            return;
        }
        if link.sender.is_some() && link.incarnation == key.incarnation && !conn.gone {
            let mut in_turn = in_turn;
            loop {
                match self.send_next(key, in_turn, now) {
                    Step::Sent => in_turn = false,
                    Step::Waits => return,
                    Step::Nothing => break,
                    Step::Closed => {
                        // A live connection ends before its close is sent; but others can close it too: an answer to
                        // HTTP that came by the same connection, a raw script.
                        self.live_disconnected(key, now);
                        if let Some(id) = self.cx.outbox.conns.map.get(&key).and_then(|conn| conn.carries) {
                            self.stream_gone(id, key);
                        }
                        self.drop_requests(key);
                        break;
                    }
                }
            }
        }
        // After the close, raw messages that came before it still reach their script.
        self.advance(key, now);
        self.cx.outbox.conns.list_if_idle(key, now);
    }

    /// Sends a connection's next message, if it has one that may go.
    fn send_next(&mut self, key: ConnKey, in_turn: bool, now: Instant) -> Step {
        let Some(mut conn) = self.cx.outbox.conns.map.get_mut(&key) else { return Step::Nothing };
        if conn.batch == self.cx.outbox.outgoing.batches.round() || self.cx.outbox.outgoing.batches.is_full()
        {
            self.cx.outbox.outgoing.write_batches(&self.cx.servers.links, self.cx.limits.handler_targets);
        }
        let mut link = &mut self.cx.servers[key.link];
        let may_have_some = !conn.out.is_empty() || conn.carries.is_some() || conn.has_pieces();
        let is_full = link.is_full(self.cx.outbox.outgoing.fresh(key.link), self.cx.limits.spill);
        if may_have_some && link.queues(conn, key, is_full, in_turn, now) {
            return Step::Waits;
        }
        let dropped = conn.out.take_dropped();
        if dropped > 1 {
            let about = self.about_connection(key);
            log_about!(warn, about, "dropped {dropped} messages in all: the client did not read");
            let Some(again) = self.cx.outbox.conns.map.get_mut(&key) else { return Step::Nothing };
            conn = again;
            link = &mut self.cx.servers[key.link];
        }
        self.live.fill_stream(conn, &self.cx.limits, now);
        let mut allowance = conn.pacer.allowance(link.flow_control, now);
        if let Some(stream) = conn.stream.as_mut().filter(|_| !conn.closing) {
            if let Allowance::Send(room) = allowance
                && conn.out.is_empty()
            {
                if let Some(left) = stream.collects_for(conn.pacer.silence(now)) {
                    if !std::mem::replace(&mut conn.collects, true) {
                        self.cx.outbox.outgoing.paced.push(Reverse((now + left, key)));
                    }
                    allowance = Allowance::WaitForCredits;
                } else if !conn.out.append(|out| stream.fill(out, room)) {
                    allowance = Allowance::WaitForCredits;
                }
            }
            if let Some(worker) = self.cx.workers.get_mut(stream.worker.0)
                && let Some(bytes) = stream.take_report()
            {
                encode_taken(&mut worker.orders, stream.serial, bytes);
            }
        }
        if conn.out.is_empty() && !conn.has_pieces() && !conn.closing {
            return Step::Nothing;
        }
        let allowed = match allowance {
            // A close takes no credits, but a place among the sixteen.
            Allowance::WaitForCredits if conn.out.is_empty() && conn.closing => 0,
            Allowance::Send(bytes) => bytes,
            Allowance::Wait(due) => {
                if conn.due.is_none_or(|at| at > due) {
                    conn.due = Some(due);
                    self.cx.outbox.outgoing.paced.push(Reverse((due, key)));
                }
                return Step::Waits;
            }
            Allowance::WaitForCredits => {
                self.cx.outbox.conns.list_if_idle(key, now);
                return Step::Waits;
            }
        };
        if !link.flow_control
            && !conn.out.is_empty()
            && let Some(live) = conn.live.or(conn.carries.filter(|id| self.live.lives.is_on_line(*id)))
            && conn.pacer.wants_ping(conn.out.len(), now)
        {
            if self.live.lives.begin_ping(live) {
                let is_appended = conn.out.follow_front(&self.cx.outbox.outgoing.ping);
                conn.pacer.pings(if is_appended { 1 } else { 2 }, now);
            } else {
                conn.pacer.takes_no_ping();
            }
        }
        let step =
            self.cx.outbox.outgoing.send_front(key, conn, link, allowed, self.cx.limits.handler_targets, now);
        match step {
            Step::Waits => self.cx.outbox.conns.list_if_idle(key, now),
            Step::Closed => self.exchange.raw_clients.forget(key),
            Step::Sent | Step::Nothing => {}
        }
        step
    }
}

/// The size of a response's next message without flow control, when `left` of its `whole` bytes have not left yet.
/// Mongrel2 counts a message as written when all of it is, and drops clients for which it has written nothing for minutes.
fn part_of(left: usize, whole: usize) -> usize {
    left.min((whole / PARTS + 1).max(PART))
}

/// The size of the next message, when `bytes` wait and `allowed` may leave; 0: it is better to wait until more may.
fn portion(is_socket: bool, bytes: usize, allowed: usize) -> usize {
    // Whether Mongrel2 writes base64 to sockets is the Handler's setting, which nothing tells us.
    let allowed = if is_socket { allowed / 4 * 3 } else { allowed };
    match bytes {
        all if all <= allowed => all,
        _ if allowed < WORTH => 0,
        _ => allowed,
    }
}

const _: () = assert!(Pacer::MESSAGES as usize * 2 <= 16, "two windows must fit Mongrel2's queue");
