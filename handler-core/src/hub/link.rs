//! One Mongrel2 Handler as the hub knows it: up or down, and which run of the server this is.

use super::capacity::{Capacity, Load};
use crate::protocol::Sender;

/// The state of a link.
#[derive(Debug, Default)]
pub(super) struct Link {
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
    /// How many connections the server holds without harm, when known. The same for each of its runs.
    pub capacity: Option<Capacity>,
    /// How many it has.
    pub load: Load,
}

impl Link {
    /// A new run of the server begins.
    pub fn begin(&mut self, subscription: &[u8]) {
        self.up = true;
        self.subscription = subscription.to_vec();
    }

    /// The run is over: nothing of it may reach the next.
    pub fn end(&mut self) {
        let (incarnation, capacity) = (self.incarnation.wrapping_add(1), self.capacity);
        *self = Self { incarnation, capacity, ..Self::default() };
    }
}
