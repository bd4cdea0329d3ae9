//! One Mongrel2 Handler as the hub knows it: up or down, and which run of the server this is.

use crate::hub::ids::ConnKey;
use crate::hub::servers::capacity::{Capacity, Load};
use crate::hub::servers::orphans::Orphans;
use crate::hub::servers::under_way::UnderWay;
use mongrel2_wire::Sender;
use std::collections::VecDeque;
use std::time::Instant;

/// The state of a link.
#[derive(Debug, Default)]
pub(in crate::hub) struct Link {
    /// Mongrel2 listens: its subscription was seen.
    pub up: bool,
    /// Counts the runs of the server. Part of every connection's key.
    pub incarnation: u32,
    /// The ident of its messages, from the first one.
    pub sender: Option<Sender>,
    /// What it subscribed to: replies whose sender does not begin with it never arrive.
    pub subscription: Vec<u8>,
    /// The server counts undelivered bytes (`download.flow_control`).
    pub flow_control: bool,
    /// Bytes of replies that the system has not taken yet.
    pub backlog: usize,
    /// Clients whose requests a hub before this one has taken.
    pub orphans: Orphans,
    /// How many connections the server holds without harm, when known. The same for each of its runs.
    pub capacity: Option<Capacity>,
    /// How many it has.
    pub load: Load,
    /// It was said that this server may cut responses off.
    pub warned: bool,
    /// More than the limit was in the backlog, and it has not halved since.
    pub full: bool,
    /// What the server has been sent and has not reported as written.
    pub under_way: UnderWay,
    /// Connections that wait until the backlog is shorter, and whose next bytes are their own: a response, for example.
    pub waiting: VecDeque<ConnKey>,
    /// Connections whose next message is shared. They wait until the backlog is shorter and the server has written more.
    pub waiting_for_room: VecDeque<ConnKey>,
}

impl Link {
    /// Whether replies wait in the hub, since this many bytes wait before the server. Once they do, the backlog has to
    /// fall to half of `limit`.
    pub fn is_full(&mut self, fresh: usize, limit: usize) -> bool {
        self.full = self.backlog + fresh >= if self.full { limit / 2 } else { limit };
        self.full
    }

    /// Whether a shared message may go now. A server without flow control does not tell how far it is.
    pub fn has_room(&mut self, now: Instant) -> bool {
        !self.flow_control || self.under_way.has_room(now)
    }

    /// Counts a message to one client.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        if self.flow_control {
            self.under_way.sent(bytes, now);
        }
    }

    /// Whether connections wait that could be sent something now.
    pub fn has_work(&mut self, limit: usize, now: Instant) -> bool {
        let waits = !self.waiting.is_empty() || (!self.waiting_for_room.is_empty() && self.has_room(now));
        waits && !self.is_full(0, limit)
    }

    /// When connections may go on though nothing comes from the server.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.under_way.next_room().filter(|_| !self.waiting_for_room.is_empty() && self.flow_control)
    }

    /// A new run of the server begins.
    pub fn begin(&mut self, subscription: &[u8]) {
        self.up = true;
        self.subscription = subscription.to_vec();
    }

    /// The run is over: nothing of it may reach the next.
    pub fn end(&mut self) {
        let (incarnation, capacity) = (self.incarnation.wrapping_add(1), self.capacity);
        let orphans = self.orphans.of_next_run();
        *self = Self { incarnation, capacity, orphans, ..Self::default() };
    }
}
