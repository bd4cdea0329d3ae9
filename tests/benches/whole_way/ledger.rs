//! Which request got which answer. Knows no socket and reads no clock.
//!
//! The ledger owns the clients' side: a pool of keep-alive connections whose ids advance as Mongrel2's do, each with
//! at most `pipeline` requests that wait for an answer. Every request has a token of its own. An answer is good when
//! it names a waiting request, on the connection that sent it, and the oldest one there. Everything else has a name
//! in [`Counts`].

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// Mongrel2's number for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnId(pub(crate) u32);

/// The number of a request, from 1, never used twice in a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

/// A client says good-bye after so many requests, and another one comes in its place.
const REQUESTS_PER_CONNECTION: u32 = 1_000;

/// Everything that can go wrong with a reply, counted over the whole measurement with warm-up and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// No answer in time.
    pub(crate) lost: u64,
    /// An answer to a request that had one.
    pub(crate) duplicated: u64,
    /// An answer while an older request of the same connection waited.
    pub(crate) out_of_order: u64,
    /// An answer after its request was given up; it is in `lost` as well.
    pub(crate) late: u64,
    /// An answer that went to another connection than its request came from, or to one that never was.
    pub(crate) misdirected: u64,
    /// A status other than 200.
    pub(crate) failed: u64,
    /// A message that Mongrel2 would refuse, or a close, or a body that is no token.
    pub(crate) malformed: u64,
}

impl Counts {
    /// Whether nothing went wrong.
    pub(crate) fn all_is_well(&self) -> bool {
        *self == Counts::default()
    }

    /// What the table has no column of its own for.
    pub(crate) fn wrong(&self) -> u64 {
        self.late + self.misdirected + self.failed + self.malformed
    }

    /// Adds another measurement's.
    pub(crate) fn add(&mut self, other: &Counts) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.late += other.late;
        self.misdirected += other.misdirected;
        self.failed += other.failed;
        self.malformed += other.malformed;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { lost, duplicated, out_of_order, late, misdirected, failed, malformed } = self;
        write!(
            f,
            "{lost} lost, {duplicated} duplicated, {out_of_order} out of order, {late} late, \
             {misdirected} misdirected, {failed} failed, {malformed} malformed"
        )
    }
}

/// A request to send now.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Where the connection is in the pool.
    pub(crate) slot: usize,
    pub(crate) conn_id: ConnId,
    pub(crate) token: Token,
    /// The connection that ended to make room; the handler wants a notice of it.
    pub(crate) ended: Option<ConnId>,
}

/// The pool of connections and the fate of every request.
pub(crate) struct Ledger {
    connections: Vec<Connection>,
    /// Slots that may send, once for each request that they may send.
    idle: VecDeque<usize>,
    /// By connection id; [`GONE`] for those that ended.
    slots: Vec<u32>,
    /// By token, from 1.
    requests: Vec<Request>,
    waiting: usize,
    counts: Counts,
    /// Nanoseconds, while recording.
    latencies: Vec<u32>,
    recording: bool,
}

const GONE: u32 = u32::MAX;

struct Connection {
    id: ConnId,
    sent: u32,
    waiting: VecDeque<Waiting>,
}

#[derive(Clone, Copy)]
struct Waiting {
    token: Token,
    scheduled: Instant,
    sent: Instant,
}

#[derive(Clone, Copy)]
struct Request {
    conn_id: ConnId,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Answered,
    Lost,
}

impl Ledger {
    /// A pool of `connections` clients with at most `pipeline` unanswered requests each.
    pub(crate) fn new(connections: usize, pipeline: usize) -> Ledger {
        let mut ledger = Ledger {
            connections: Vec::with_capacity(connections),
            idle: (0..pipeline).flat_map(|_| 0..connections).collect(),
            slots: vec![GONE],
            requests: Vec::with_capacity(1 << 20),
            waiting: 0,
            counts: Counts::default(),
            latencies: Vec::with_capacity(1 << 20),
            recording: false,
        };
        for slot in 0..connections {
            let id = ledger.next_id(slot);
            ledger.connections.push(Connection { id, sent: 0, waiting: VecDeque::with_capacity(pipeline) });
        }
        ledger
    }

    /// Takes an idle connection and writes down a request on it; `None` when all are waiting.
    ///
    /// Latency counts from `scheduled`, loss from `now`.
    pub(crate) fn begin(&mut self, scheduled: Instant, now: Instant) -> Option<Begun> {
        let slot = self.idle.pop_front()?;
        let mut ended = None;
        if self.connections[slot].sent >= REQUESTS_PER_CONNECTION && self.connections[slot].waiting.is_empty()
        {
            ended = Some(self.replace(slot));
        }
        let connection = &mut self.connections[slot];
        self.requests.push(Request { conn_id: connection.id, fate: Fate::Waiting });
        let token = Token(self.requests.len() as u64);
        connection.sent += 1;
        connection.waiting.push_back(Waiting { token, scheduled, sent: now });
        self.waiting += 1;
        Some(Begun { slot, conn_id: connection.id, token, ended })
    }

    /// Writes down an answer to `conn_id`. Without a token it is taken for the answer to the oldest waiting request.
    pub(crate) fn answer(&mut self, conn_id: ConnId, token: Option<Token>, now: Instant) {
        let Some(&slot) = self.slots.get(conn_id.0 as usize) else {
            self.counts.misdirected += 1;
            return;
        };
        let Some(token) = token.or_else(|| self.oldest(slot)) else {
            // The connection waits for nothing: too late for one that was given up, one too many for another.
            let given_up =
                slot == GONE && self.requests.iter().any(|r| r.conn_id == conn_id && r.fate == Fate::Lost);
            *(if given_up { &mut self.counts.late } else { &mut self.counts.duplicated }) += 1;
            return;
        };
        let Some(request) = token.0.checked_sub(1).and_then(|index| self.requests.get_mut(index as usize))
        else {
            self.counts.malformed += 1;
            return;
        };
        if request.conn_id != conn_id {
            self.counts.misdirected += 1;
            return;
        }
        match request.fate {
            Fate::Answered => self.counts.duplicated += 1,
            Fate::Lost => self.counts.late += 1,
            Fate::Waiting => {
                request.fate = Fate::Answered;
                self.settle(slot as usize, token, now);
            }
        }
    }

    /// Writes down an answer whose status was not 200.
    pub(crate) fn fail(&mut self, conn_id: ConnId, now: Instant) {
        self.counts.failed += 1;
        self.answer(conn_id, None, now);
    }

    /// Writes down a message that is no answer at all.
    pub(crate) fn malformed(&mut self) {
        self.counts.malformed += 1;
    }

    /// Gives up connections whose oldest request was sent at `sent_before` or earlier: all that waits there is lost,
    /// a new client takes the place. Returns the ids that ended.
    pub(crate) fn give_up(&mut self, sent_before: Instant) -> Vec<ConnId> {
        let mut ended = Vec::new();
        for slot in 0..self.connections.len() {
            let oldest = self.connections[slot].waiting.front();
            if oldest.is_none_or(|oldest| oldest.sent > sent_before) {
                continue;
            }
            for lost in std::mem::take(&mut self.connections[slot].waiting) {
                self.requests[lost.token.0 as usize - 1].fate = Fate::Lost;
                self.counts.lost += 1;
                self.waiting -= 1;
                self.idle.push_back(slot);
            }
            ended.push(self.replace(slot));
        }
        ended
    }

    /// From now on, or no longer, latencies are written down.
    pub(crate) fn record(&mut self, recording: bool) {
        self.recording = recording;
    }

    /// How many requests were answered while recording.
    pub(crate) fn answered(&self) -> usize {
        self.latencies.len()
    }

    /// How many requests have no answer yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// What went wrong, and the latencies in nanoseconds of all that were answered while recording.
    pub(crate) fn close(self) -> (Counts, Vec<u32>) {
        (self.counts, self.latencies)
    }

    fn oldest(&self, slot: u32) -> Option<Token> {
        self.connections.get(slot as usize)?.waiting.front().map(|waiting| waiting.token)
    }

    fn settle(&mut self, slot: usize, token: Token, now: Instant) {
        let waiting = &mut self.connections[slot].waiting;
        let position = waiting.iter().position(|waiting| waiting.token == token).unwrap();
        if position > 0 {
            self.counts.out_of_order += 1;
        }
        let request = waiting.remove(position).unwrap();
        self.waiting -= 1;
        self.idle.push_back(slot);
        if self.recording {
            let latency = now.saturating_duration_since(request.scheduled);
            self.latencies.push(nanoseconds(latency));
        }
    }

    fn next_id(&mut self, slot: usize) -> ConnId {
        let id = ConnId(u32::try_from(self.slots.len()).unwrap());
        self.slots.push(slot as u32);
        id
    }

    /// Ends the connection in `slot` and opens another; returns the id that ended.
    fn replace(&mut self, slot: usize) -> ConnId {
        let id = self.next_id(slot);
        let connection = &mut self.connections[slot];
        let ended = std::mem::replace(&mut connection.id, id);
        connection.sent = 0;
        self.slots[ended.0 as usize] = GONE;
        ended
    }
}

/// At most 4.29 seconds, which is far past the point where a reply counts as lost.
fn nanoseconds(latency: Duration) -> u32 {
    u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX)
}
