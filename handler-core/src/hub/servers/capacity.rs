//! How many connections a Mongrel2 holds without harm, and what the hub does before there are more.
//!
//! Mongrel2 polls at most `superpoll.max_fd / superpoll.hot_dividend` descriptors. Once connections of clients fill these
//! places, its own sockets find none: every reply waits for half a second, and Mongrel2 writes `502 Bad Gateway` into open
//! WebSockets. So the hub takes no new live connection that would bring a server near that, and leaves room for plain HTTP.

use crate::hub::ids::LinkId;
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

impl Load {
    /// A stream, a poll or a session's WebSocket holds its connection from now on, as the next count finds.
    pub fn hold(&mut self, connections: usize) {
        self.waiting += connections;
    }

    /// A roll call has found this number of connections that the hub does not hold.
    pub fn note_others(&mut self, others: usize) {
        self.others = others;
    }

    /// The connections that the hub does not hold.
    pub fn others(&self) -> usize {
        self.others
    }

    /// Requests that wait and event streams, and others beyond the room for them. `count` looks at each request, and is
    /// asked when that was long ago.
    pub fn count(&mut self, room: usize, now: Instant, count: impl FnOnce() -> usize) -> usize {
        if self.counted.is_none_or(|at| now.saturating_duration_since(at) >= RECOUNT) {
            (self.waiting, self.counted) = (count(), Some(now));
        }
        self.waiting + self.others.saturating_sub(room)
    }

    /// Whether a further live connection may begin beside `count` of them, where `most` may be. The log says once that the
    /// server is nearly full, and once that it is full, until it has been less full again.
    pub fn admits(&mut self, link: LinkId, count: usize, most: usize) -> bool {
        if count < most - most / 5 {
            self.warned = false;
        }
        if count < nearly(most) {
            self.refused = false;
        } else if !self.warned {
            self.warned = true;
            warn!(
                link = link.0,
                connections = count,
                bound = most,
                "server is nearly full: beyond the bound, new live connections get 503 (see `connections` in docs/config.md)"
            );
        }
        if count < most {
            return true;
        }
        if !self.refused {
            self.refused = true;
            warn!(
                link = link.0,
                connections = count,
                bound = most,
                "server is full: new live connections get 503"
            );
        }
        false
    }
}

/// With so many connections a server is nearly full that holds at most `most`.
pub(in crate::hub) fn nearly(most: usize) -> usize {
    most - most / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_server_takes_no_more_and_others_fill_it_beyond_their_room() {
        let (mut load, now) = (Load::default(), Instant::now());
        assert!(load.admits(LinkId(0), 99, 100) && !load.refused && load.warned);
        assert!(!load.admits(LinkId(0), 100, 100) && load.refused);
        assert!(load.admits(LinkId(0), 89, 100) && !load.refused && load.warned);
        assert!(load.admits(LinkId(0), 79, 100) && !load.warned);
        load.note_others(30);
        assert_eq!(load.count(20, now, || 5), 15);
        load.hold(1);
        assert_eq!(load.count(20, now, || 50), 16, "it was counted a moment ago");
        assert_eq!(load.count(20, now + RECOUNT, || 50), 60);
    }
}
