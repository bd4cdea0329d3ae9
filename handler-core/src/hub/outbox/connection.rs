//! Connections that are waiting for something.
//!
//! Mongrel2 holds the sockets. An HTTP connection between two requests needs nothing from us, so
//! it has no entry here: ten thousand open keep-alive connections cost no memory. An entry lives
//! from a request until shortly after its answer, longer while bytes wait to be sent.

use crate::hub::ids::{ConnKey, LiveId, RequestId};
use crate::hub::outbox::output::Output;
use crate::hub::outbox::pacing::{Allowance, Pacer};
use crate::hub::outbox::stream::Stream;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::time::Instant;

/// How far the end of a connection is.
///
/// | from | what happens | to |
/// | --- | --- | --- |
/// | `Open` | a request comes whose response closes, or a session's events begin | `LastRequest` |
/// | `Open`, `LastRequest` | a part closes it, or its response does | `Closing` |
/// | `Closing` | all is sent, and the close behind it | `Closed` |
/// | `Open`, `LastRequest`, `Closing` | its client is gone, and its script has to hear of that | `Gone` |
/// | any | its server is told to drop it | `Closed` |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::hub) enum Ending {
    /// Both sides go on.
    #[default]
    Open,
    /// Its last request is in: an answer that closes is on its way, and what comes behind is ignored.
    LastRequest,
    /// It is closed once what waits for it is sent. Nothing further is read from it.
    Closing,
    /// The close is sent; the entry remains for a moment, to recognise what was under way.
    Closed,
    /// The client is gone; nothing is sent.
    Gone,
}

/// What is left to be done for a connection.
#[derive(Debug, Default)]
pub(in crate::hub) struct Conn {
    /// The request whose answer is next.
    pub current: Option<RequestId>,
    /// Requests behind it, in order.
    pub waiting: VecDeque<RequestId>,
    /// What is to be sent.
    pub out: Output,
    /// How far its end is.
    pub ending: Ending,
    /// Its client has sent a request while another one was under way: a further request does not prove that the client has
    /// read the responses.
    pub pipelines: bool,
    /// It is on the list of connections to flush at the end of the turn.
    pub dirty: bool,
    /// It is on the list of idle connections.
    pub listed: bool,
    /// What may be sent when.
    pub pacer: Pacer,
    /// It is a live connection.
    pub live: Option<LiveId>,
    /// The session whose events it gets; what waits for that is behind `out`.
    pub carries: Option<LiveId>,
    /// The body of the answer that has begun; what of it has not left yet is behind `out`.
    pub stream: Option<Box<Stream>>,
    /// It is on a list of those that wait for their server.
    pub queued: bool,
    /// It is on the list of those whose body is collected.
    pub collects: bool,
    /// When its place on the list of those that wait for a time is due.
    pub due: Option<Instant>,
    /// The round in which it last joined a batch.
    pub batch: u32,
    /// A JSON or XML socket: what it gets may be written in base64, and is counted so then.
    pub is_socket: bool,
    /// What messages to a socket count for, until a notice says that they are written.
    pub billed: VecDeque<usize>,
}

/// Memory for so many entries is kept, however few there are.
const SHRINK: usize = 4096;

impl Conn {
    /// What so many bytes count for under flow control, at most: whether Mongrel2 writes base64 to sockets is the
    /// Handler's setting, which nothing tells us.
    pub fn bill(&self, bytes: usize) -> usize {
        if self.is_socket { bytes.div_ceil(3) * 4 } else { bytes }
    }

    /// Counts a message of so many bytes; 0 is a close.
    pub fn sent(&mut self, bytes: usize, flow_control: bool, now: Instant) {
        let bill = self.bill(bytes);
        if self.is_socket && flow_control && bytes > 0 {
            self.billed.push_back(bill);
        }
        self.pacer.sent(bill, flow_control, now);
    }

    /// A notice said that so many bytes were written.
    pub fn credited(&mut self, bytes: u64, now: Instant) {
        // There is one for each message, so a socket's tells which one, whatever it counted.
        let bill = self.billed.pop_front().map_or(bytes, |bill| bill as u64);
        self.pacer.credited(bill, now);
    }

    /// Whether a message of this size can be sent at once, before anything else.
    pub fn is_free_for(&self, bytes: usize, flow_control: bool, now: Instant) -> bool {
        let allowance = self.pacer.allowance(flow_control, now);
        self.out.is_empty()
            && !self.is_closing()
            && !self.queued
            && matches!(allowance, Allowance::Send(allowed) if allowed >= self.bill(bytes))
    }

    /// Whether everything for it is sent, and written as far as Mongrel2 tells.
    pub fn is_delivered(&self) -> bool {
        self.ending == Ending::Gone
            || (self.out.is_empty() && !self.is_closing() && self.pacer.is_all_written())
    }

    /// Whether nothing is left to do.
    pub fn is_idle(&self) -> bool {
        self.current.is_none()
            && self.waiting.is_empty()
            && self.out.is_empty()
            && self.carries.is_none()
            && !self.dirty
            && !self.queued
            && !self.is_closing()
    }

    /// Whether it is closed once what waits for it is sent.
    pub fn is_closing(&self) -> bool {
        self.ending == Ending::Closing
    }

    /// Whether its close is sent, or its client is gone.
    pub fn is_over(&self) -> bool {
        matches!(self.ending, Ending::Closed | Ending::Gone)
    }

    /// Nothing that comes behind what has come is answered.
    pub fn take_no_more(&mut self) {
        if self.ending == Ending::Open {
            self.ending = Ending::LastRequest;
        }
    }

    /// Whether nothing more may be written for it.
    pub fn is_ending(&self) -> bool {
        matches!(self.ending, Ending::Closing | Ending::Closed | Ending::Gone)
    }

    /// Whether nothing that comes from it is of interest any more.
    pub fn is_finished(&self) -> bool {
        self.ending != Ending::Open
    }

    /// Whether an answer in pieces has some that are to be sent.
    pub fn has_pieces(&self) -> bool {
        !self.is_closing() && self.stream.as_ref().is_some_and(|stream| stream.waiting() > 0)
    }

    /// Bytes of memory that what waits for it takes, without messages that others wait for, too.
    pub fn memory(&self) -> usize {
        self.out.own_memory() + self.stream.as_ref().map_or(0, |stream| stream.waiting())
    }

    /// Whether only credits can help it.
    pub fn is_stalled(&self) -> bool {
        (!self.out.is_empty() || self.has_pieces()) && !self.dirty && !self.queued
    }
}

/// Connections that wait for credits.
#[derive(Debug, Default)]
pub(in crate::hub) struct Swept {
    /// Their credits are overdue for so long that the client is given up.
    pub lost: Vec<ConnKey>,
    /// Their credits are late.
    pub stalled: Vec<ConnKey>,
}

/// The entries, and when the idle ones may go.
#[derive(Debug, Default)]
pub(in crate::hub) struct Connections {
    pub map: FxHashMap<ConnKey, Conn>,
    /// Entries to look at after their pacing window, oldest first.
    idle: VecDeque<(Instant, ConnKey)>,
    /// Entries that were looked at and stayed: they are in no hurry.
    kept: VecDeque<(Instant, ConnKey)>,
    /// Live connections whose entry was dropped, and bytes that may not have arrived.
    pub released: Vec<(LiveId, u32)>,
}

impl Connections {
    /// Marks an entry to be looked at later, if it is idle and not marked yet.
    pub fn list_if_idle(&mut self, key: ConnKey, now: Instant) {
        if let Some(conn) = self.map.get_mut(&key)
            && (conn.is_idle() || conn.is_stalled())
            && !conn.listed
        {
            conn.listed = true;
            self.idle.push_back((now, key));
        }
    }

    /// Ends a connection at once. What is under way from it says nothing any more.
    pub fn end(&mut self, key: ConnKey, now: Instant) {
        let conn = self.map.entry(key).or_default();
        conn.ending = Ending::Closed;
        conn.pacer.sent(0, false, now);
        self.list_if_idle(key, now);
    }

    /// Drops idle entries that are not needed: open ones after their pacing window, closed ones
    /// once nothing of them can be under way any more. Returns those that wait for credits.
    pub fn sweep(&mut self, now: Instant) -> Swept {
        let mut swept = Swept::default();
        for (fresh, age) in [(true, Pacer::SHORT), (false, Pacer::SWEEP)] {
            let due = |list: &VecDeque<(Instant, ConnKey)>| {
                list.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= age)
            };
            while due(if fresh { &self.idle } else { &self.kept }) {
                let list = if fresh { &mut self.idle } else { &mut self.kept };
                let Some((_, key)) = list.pop_front() else { break };
                let Some(conn) = self.map.get_mut(&key) else { continue };
                conn.listed = false;
                if conn.pacer.is_lost(now) {
                    swept.lost.push(key);
                } else if conn.is_idle() && conn.pacer.is_settled(conn.ending == Ending::Closed, now) {
                    self.released.extend(conn.live.map(|id| (id, conn.pacer.unproven())));
                    self.map.remove(&key);
                } else if conn.is_idle() || conn.is_stalled() {
                    conn.listed = true;
                    self.kept.push_back((now, key));
                    if conn.is_stalled() && conn.pacer.silence(now) >= Pacer::SILENCE {
                        swept.stalled.push(key);
                    }
                }
            }
        }
        if self.map.capacity() > SHRINK && self.map.len() < self.map.capacity() / 8 {
            self.map.shrink_to(self.map.len() * 2);
            self.idle.shrink_to(self.map.len() * 2);
            self.kept.shrink_to(self.map.len() * 2);
        }
        swept
    }

    /// When [`sweep`](Self::sweep) is worth a wake-up: it is no hurry.
    pub fn next_sweep(&self) -> Option<Instant> {
        let first = [self.idle.front(), self.kept.front()].into_iter().flatten().map(|(at, _)| *at).min();
        first.map(|at| at + Pacer::SWEEP)
    }
}
