//! How many connections a Mongrel2 holds without harm, and what the hub does before there are more.
//!
//! Mongrel2 polls at most `superpoll.max_fd / superpoll.hot_dividend` descriptors. Once connections of clients fill these
//! places, its own sockets find none: every reply waits for half a second, and Mongrel2 writes `502 Bad Gateway` into open
//! WebSockets. So the hub takes no new live connection that would bring a server near that, and leaves room for plain HTTP.

use crate::hub::Hub;
use crate::hub::ids::LinkId;
use std::time::Instant;

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
    pub others: usize,
    /// Requests that waited for a response, and event streams, when they were counted last.
    pub waiting: usize,
    pub counted: Option<Instant>,
    /// The log says that the server is nearly full.
    pub warned: bool,
    /// The log says that the server is full.
    pub refused: bool,
}

impl Hub {
    /// Sets what the server of a link holds without harm. Without it, `limits.connections` alone counts.
    pub fn set_capacity(&mut self, link: LinkId, capacity: Option<Capacity>) {
        self.cx.servers[link].capacity = capacity;
    }

    /// The most live connections that the hub opens on a link.
    pub fn most_live(&self, link: LinkId) -> usize {
        self.cx.most_live(link)
    }

    /// The live connections that the server of a link holds; sessions are not among them.
    pub fn live_on(&self, link: LinkId) -> usize {
        self.live.lives.held_by(link)
    }
}
