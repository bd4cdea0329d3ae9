//! Bytes to connections, within what Mongrel2 bears.
//!
//! Responses grow in their connection's [output](super::output) during a turn. At its end each connection that has
//! something gets one message, if its [pacer](crate::hub::outbox::pacing) lets it; the rest waits for its window or its credits.
//! A close is a message of its own, behind everything else.
//!
//! Nothing is handed to a server that has not taken what it was handed before: beyond `limits.spill` bytes,
//! connections wait in a queue of their [link](crate::hub::servers::link), those with bytes of their own before those with a room's
//! message. A room's message also waits while the server is [busy](crate::hub::servers::under_way) with others.

use super::Outbox;
use super::batches::Batches;
use super::connection::Conn;
use super::output::{Front, Merger};
use super::pacing::{Allowance, Pacer};
use crate::hub::ids::{ConnKey, LinkId, LiveId};
use crate::hub::outbox::connection::Ending;
use crate::hub::servers::Servers;
use crate::hub::servers::link::Link;
use crate::hub::workers::Workers;
use crate::worker::protocol::encode_taken;
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

    /// A connection has something to send.
    pub fn mark(&mut self, key: ConnKey) {
        self.dirty.push(key);
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
                conn.ending = Ending::Closed;
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
        let is_last =
            conn.out.is_empty() && conn.carries.is_none() && conn.stream.is_none() && !conn.is_closing();
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

/// Who has something for connections that is written only when it can leave.
pub(in crate::hub) trait Source {
    /// Writes what waits for the session that a connection carries.
    fn fill(&mut self, conn: &mut Conn, now: Instant);

    /// The live connection that answers pings on this connection.
    fn pinged(&self, conn: &Conn) -> Option<LiveId>;

    /// Counts a ping that is about to be sent. `false`: it takes none.
    fn begin_ping(&mut self, live: LiveId) -> bool;
}

/// What came of a connection while its bytes were sent, for those who have to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Outcome {
    /// It has room for its next response.
    Ready(ConnKey),
    /// Its close is on its way.
    Closed(ConnKey),
    /// The client reads again: this number of messages was dropped meanwhile.
    Dropped(ConnKey, u64),
}

/// The parts that sending needs.
pub(in crate::hub) struct Sending<'a, S> {
    pub servers: &'a mut Servers,
    pub workers: &'a mut Workers,
    pub source: S,
    pub outcomes: &'a mut Vec<Outcome>,
}

impl Outbox {
    /// Hands out the replies of this turn, each with its link, in order.
    pub fn drain_replies(&mut self, mut send: impl FnMut(LinkId, &[u8])) {
        for (link, range) in self.outgoing.replies.drain(..) {
            send(link, &self.outgoing.bytes[range]);
        }
        self.outgoing.bytes.clear();
        self.outgoing.bytes.shrink_to(1 << 20);
        self.outgoing.fresh.fill(0);
    }

    /// Marks the connections whose time has come.
    pub fn wake_paced(&mut self, now: Instant) {
        while let Some(Reverse((due, key))) = self.outgoing.paced.peek().copied() {
            if due > now {
                break;
            }
            self.outgoing.paced.pop();
            if let Some(conn) = self.conns.map.get_mut(&key) {
                conn.collects = false;
                conn.due = conn.due.filter(|at| *at != due);
            }
            self.mark_dirty(key);
        }
    }

    /// Whether connections have something to send that was not looked at.
    pub fn is_dirty(&self) -> bool {
        !self.outgoing.dirty.is_empty()
    }

    /// Sends what connections have to send, as far as it may go now.
    pub fn flush_dirty<S: Source>(&mut self, with: &mut Sending<'_, S>, now: Instant) {
        let mut dirty = std::mem::take(&mut self.outgoing.dirty);
        for key in dirty.drain(..) {
            self.flush_connection(key, false, with, now);
        }
        if self.outgoing.dirty.is_empty() {
            self.outgoing.dirty = dirty;
        }
    }

    /// Goes on with the connections that wait for a server, as far as it takes more: first those with bytes of their own.
    pub fn flush_waiting<S: Source>(&mut self, with: &mut Sending<'_, S>, now: Instant) {
        for number in 0..with.servers.links.len() {
            let link = LinkId(number as u16);
            loop {
                let fresh = self.outgoing.fresh(link);
                let state = &mut with.servers[link];
                if (state.waiting.is_empty() && state.waiting_for_room.is_empty())
                    || state.is_full(fresh, self.bounds.spill)
                {
                    break;
                }
                let next = match state.waiting.pop_front() {
                    None if state.has_room(now) => state.waiting_for_room.pop_front(),
                    next => next,
                };
                let Some(key) = next else { break };
                if let Some(conn) = self.conns.map.get_mut(&key) {
                    conn.queued = false;
                    self.flush_connection(key, true, with, now);
                }
            }
        }
    }

    /// Puts the last replies of a turn together.
    pub fn end_flush(&mut self, servers: &Servers) {
        self.outgoing.write_batches(&servers.links, self.bounds.targets);
        self.outgoing.merger.clear();
    }

    /// Sends what a connection may be sent now. `in_turn`: it has waited for its server, and its turn has come.
    fn flush_connection<S: Source>(
        &mut self,
        key: ConnKey,
        in_turn: bool,
        with: &mut Sending<'_, S>,
        now: Instant,
    ) {
        let link = &with.servers[key.link];
        let Some(conn) = self.conns.map.get_mut(&key) else { return };
        conn.dirty = false;
        if conn.queued {
            return;
        }
        if link.sender.is_some() && link.incarnation == key.incarnation && conn.ending != Ending::Gone {
            let mut in_turn = in_turn;
            loop {
                match self.send_next(key, in_turn, with, now) {
                    Step::Sent => in_turn = false,
                    Step::Waits => return,
                    Step::Nothing => break,
                    Step::Closed => {
                        with.outcomes.push(Outcome::Closed(key));
                        return;
                    }
                }
            }
        }
        if self.conns.map.get(&key).is_some_and(|conn| conn.current.is_none() && !conn.waiting.is_empty()) {
            with.outcomes.push(Outcome::Ready(key));
        } else {
            self.conns.list_if_idle(key, now);
        }
    }

    /// Sends a connection's next message, if it has one that may go.
    fn send_next<S: Source>(
        &mut self,
        key: ConnKey,
        in_turn: bool,
        with: &mut Sending<'_, S>,
        now: Instant,
    ) -> Step {
        let Self { conns, outgoing, bounds } = self;
        let Some(conn) = conns.map.get_mut(&key) else { return Step::Nothing };
        if conn.batch == outgoing.batches.round() || outgoing.batches.is_full() {
            outgoing.write_batches(&with.servers.links, bounds.targets);
        }
        let link = &mut with.servers[key.link];
        let may_have_some = !conn.out.is_empty() || conn.carries.is_some() || conn.has_pieces();
        let is_full = link.is_full(outgoing.fresh(key.link), bounds.spill);
        if may_have_some && queues(link, conn, key, is_full, in_turn, now) {
            return Step::Waits;
        }
        let dropped = conn.out.take_dropped();
        if dropped > 1 {
            with.outcomes.push(Outcome::Dropped(key, dropped));
        }
        with.source.fill(conn, now);
        let mut allowance = conn.pacer.allowance(link.flow_control, now);
        if let Some(stream) = conn.stream.as_mut().filter(|_| conn.ending != Ending::Closing) {
            if let Allowance::Send(room) = allowance
                && conn.out.is_empty()
            {
                if let Some(left) = stream.collects_for(conn.pacer.silence(now)) {
                    if !std::mem::replace(&mut conn.collects, true) {
                        outgoing.paced.push(Reverse((now + left, key)));
                    }
                    allowance = Allowance::WaitForCredits;
                } else if !conn.out.append(|out| stream.fill(out, room)) {
                    allowance = Allowance::WaitForCredits;
                }
            }
            if let Some(worker) = with.workers.get_mut(stream.worker)
                && let Some(bytes) = stream.take_report()
            {
                encode_taken(&mut worker.orders, stream.serial, bytes);
            }
        }
        if conn.out.is_empty() && !conn.has_pieces() && !conn.is_closing() {
            return Step::Nothing;
        }
        let allowed = match allowance {
            // A close takes no credits, but a place among the sixteen.
            Allowance::WaitForCredits if conn.out.is_empty() && conn.is_closing() => 0,
            Allowance::Send(bytes) => bytes,
            Allowance::Wait(due) => {
                if conn.due.is_none_or(|at| at > due) {
                    conn.due = Some(due);
                    outgoing.paced.push(Reverse((due, key)));
                }
                return Step::Waits;
            }
            Allowance::WaitForCredits => {
                conns.list_if_idle(key, now);
                return Step::Waits;
            }
        };
        if !link.flow_control
            && !conn.out.is_empty()
            && let Some(live) = with.source.pinged(conn)
            && conn.pacer.wants_ping(conn.out.len(), now)
        {
            if with.source.begin_ping(live) {
                let is_appended = conn.out.follow_front(&outgoing.ping);
                conn.pacer.pings(if is_appended { 1 } else { 2 }, now);
            } else {
                conn.pacer.takes_no_ping();
            }
        }
        let step = outgoing.send_front(key, conn, link, allowed, bounds.targets, now);
        if step == Step::Waits {
            conns.list_if_idle(key, now);
        }
        step
    }
}

/// Lets a connection wait, if the server has not taken what it was handed before, or if others wait already. `in_turn`: it
/// has waited.
fn queues(
    link: &mut Link,
    conn: &mut Conn,
    key: ConnKey,
    is_full: bool,
    in_turn: bool,
    now: Instant,
) -> bool {
    let is_shared = conn.out.begins_shared();
    let has_no_room = is_shared && !link.has_room(now);
    let queue = if is_shared { &mut link.waiting_for_room } else { &mut link.waiting };
    let waits = is_full || has_no_room || (!in_turn && !queue.is_empty());
    if waits {
        conn.queued = true;
        queue.push_back(key);
    }
    waits
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
