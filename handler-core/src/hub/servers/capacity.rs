//! How many connections a Mongrel2 holds without harm, and what the hub does before there are more.
//!
//! Mongrel2 polls at most `superpoll.max_fd / superpoll.hot_dividend` descriptors. Once connections of clients fill these
//! places, its own sockets find none: every reply waits for half a second, and Mongrel2 writes `502 Bad Gateway` into open
//! WebSockets. So the hub takes no new live connection that would bring a server near that, and leaves room for plain HTTP.

use crate::hub::Hub;
use crate::hub::ids::{ConnKey, LinkId, RequestId};
use crate::hub::live::waits;
use crate::hub::request::{Plan, Request};
use kennel_http::Persistence;
use std::time::{Duration, Instant};
use tracing::warn;

/// The connections that a server holds without harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity(usize);

impl Capacity {
    /// The most connections of a Mongrel2, whatever its settings: it registers descriptors below 65,536 only.
    pub const MAX: usize = 65_536;

    /// The capacity of a server with this number of places, which is `superpoll.max_fd / superpoll.hot_dividend`.
    pub fn of_places(places: usize) -> Self {
        Self(places.min(Self::MAX))
    }

    /// How many places there are.
    pub fn places(self) -> usize {
        self.0
    }

    /// Places for plain HTTP, for Mongrel2's own sockets, and for clients that read slowly and take two.
    pub fn room(self) -> usize {
        (self.0 / 16).max(16).min(self.0 / 2)
    }

    /// Places for live connections.
    pub fn live(self) -> usize {
        self.0 - self.room()
    }
}

/// What the hub knows of a server's connections.
#[derive(Debug, Default)]
pub(in crate::hub) struct Load {
    /// Connections that the server had at the last roll call and the hub does not hold.
    others: usize,
    /// Requests that waited for a response, and event streams, when they were counted last.
    waiting: usize,
    counted: Option<Instant>,
    /// The log says that the server is nearly full.
    warned: bool,
    /// The log says that the server is full.
    refused: bool,
}

/// How old a count of waiting requests may be. It looks at each of them.
const RECOUNT: Duration = Duration::from_millis(100);
/// What a client that is refused should wait, in seconds.
const RETRY_AFTER: u32 = 10;

impl Hub {
    /// Sets what the server of a link holds without harm. Without it, `limits.connections` alone counts.
    pub fn set_capacity(&mut self, link: LinkId, capacity: Option<Capacity>) {
        self.cx.servers[link].capacity = capacity;
    }

    /// The most live connections that the hub opens on a link.
    pub fn most_live(&self, link: LinkId) -> usize {
        let capacity = self.cx.servers[link].capacity;
        capacity
            .map_or(self.cx.limits.connections, |capacity| capacity.live().min(self.cx.limits.connections))
    }

    /// The live connections that the server of a link holds; sessions are not among them.
    pub fn live_on(&self, link: LinkId) -> usize {
        self.live.lives.held_by(link)
    }

    /// The connections of a link as far as the hub knows, without `asking`: live ones, requests that wait, and others
    /// beyond the room for them.
    fn count_connections(&mut self, asking: ConnKey, now: Instant) -> usize {
        let link = asking.link;
        let (live, state) = (self.live.lives.held_by(link), &mut self.cx.servers[link]);
        let load = &mut state.load;
        if load.counted.is_none_or(|at| now.saturating_duration_since(at) >= RECOUNT) {
            let incarnation = state.incarnation;
            let waiting = self.cx.outbox.conns.map.iter().filter(|(key, conn)| {
                key.link == link
                    && key.incarnation == incarnation
                    && **key != asking
                    && conn.live.is_none()
                    && waits(conn)
            });
            (load.waiting, load.counted) = (waiting.count(), Some(now));
        }
        let room = state.capacity.map_or(0, Capacity::room);
        live + load.waiting + load.others.saturating_sub(room)
    }

    /// Whether a new live connection may begin that `asking` asks for. The log says once that the server is nearly full,
    /// and once that it is full, until it has been less full again.
    pub(in crate::hub) fn admits(&mut self, asking: ConnKey, now: Instant) -> bool {
        let link = asking.link;
        let Some(state) = self.cx.servers.links.get(usize::from(link.0)) else { return true };
        let most = self.most_live(link);
        let many = most - most / 10;
        // Counting costs a look at each request, so it is done only where the sum may matter.
        let at_most = self.live.lives.held_by(link) + self.cx.outbox.conns.map.len() + state.load.others;
        let count = if at_most < many { at_most } else { self.count_connections(asking, now) };
        let load = &mut self.cx.servers[link].load;
        if count < most - most / 5 {
            load.warned = false;
        }
        if count < many {
            load.refused = false;
        } else if !load.warned {
            load.warned = true;
            warn!(
                link = link.0,
                connections = count,
                bound = most,
                "mongrel2 is nearly full: beyond the bound, new live connections get 503 (see `connections` in docs/config.md)"
            );
        }
        if count < most {
            // A stream or a poll holds its connection from now on, as the next count finds.
            load.waiting += usize::from(self.cx.outbox.conns.map.get(&asking).is_some_and(waits));
            return true;
        }
        if !load.refused {
            load.refused = true;
            warn!(
                link = link.0,
                connections = count,
                bound = most,
                "mongrel2 is full: new live connections get 503"
            );
        }
        self.cx.ledger.counters.overloaded += 1;
        false
    }

    /// A session's WebSocket holds its connection from now on, as the next count finds.
    pub(in crate::hub) fn count_line(&mut self, link: LinkId) {
        self.cx.servers[link].load.waiting += 1;
    }

    /// Refuses a handshake because its server is full.
    pub(in crate::hub) fn answer_full(&mut self, key: ConnKey, now: Instant) {
        if !self.cx.outbox.is_finished(key) {
            let request = Request::new(key, refusal(""), now, self.cx.limits.request_timeout);
            self.enqueue(key, request, now);
        }
    }

    /// Refuses a new session because the server of its first request is full; `cors` are header lines. The connection is
    /// closed, which makes room.
    pub(in crate::hub) fn answer_full_call(&mut self, request: RequestId, cors: &str, now: Instant) {
        let state = &mut self.exchange.requests[request];
        state.plan = refusal(cors);
        state.persistence = Persistence::Close;
        self.answer_by_plan(request, now);
    }

    /// A roll call has found this number of connections on a link that the hub does not hold.
    pub(in crate::hub) fn note_others(&mut self, link: LinkId, others: usize) {
        self.cx.servers[link].load.others = others;
    }
}

/// The answer to a client whose live connection does not begin; `head` has further header lines.
fn refusal(head: &str) -> Plan {
    let head = format!("Content-Type: text/plain; charset=utf-8\r\nRetry-After: {RETRY_AFTER}\r\n{head}");
    let body = "503 Service Unavailable: too many clients are connected. Try again later.\n".to_owned();
    Plan::Answer { status: 503, head, body }
}
