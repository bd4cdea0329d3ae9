//! Bytes to connections, within what Mongrel2 and the client bear.
//!
//! `connection` has what is left to be done for a connection, `output` the bytes that wait for it, `stream` the body of a
//! response that comes in pieces; `pacing` says how much may leave when. `flush` sends at the end of a turn, `batches`
//! collects what many get, `multicast` writes the same to many at once, `stalled` finds clients that take nothing.

pub(in crate::hub) mod batches;
pub(in crate::hub) mod connection;
pub(in crate::hub) mod flush;
pub(in crate::hub) mod multicast;
pub(in crate::hub) mod output;
pub(in crate::hub) mod pacing;
pub(in crate::hub) mod stalled;
pub(in crate::hub) mod stream;

use crate::hub::ids::{ConnKey, LinkId};
use crate::hub::limits::Limits;
use crate::hub::outbox::connection::Ending;
use crate::hub::servers::Servers;
use connection::{Conn, Connections};
use flush::Outgoing;
use mongrel2_wire::reply::{self, Control};
use mongrel2_wire::{ConnId, Targets};
use std::time::Instant;

/// The only part that sends bytes to connections.
#[derive(Debug)]
pub(in crate::hub) struct Outbox {
    pub conns: Connections,
    pub outgoing: Outgoing,
    bounds: Bounds,
}

/// The limits of what is sent.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Bytes that may wait for a server before everything else waits with its connection: `limits.spill`.
    spill: usize,
    /// Connections that one reply reaches: `limits.handler_targets`.
    targets: usize,
    /// Bytes that may wait for a connection: `limits.connection_output`.
    connection: usize,
    /// Bytes that may wait for all connections of a server: `limits.server_output`.
    server: usize,
}

impl Outbox {
    pub fn new(limits: &Limits) -> Self {
        let bounds = Bounds {
            spill: limits.spill,
            targets: limits.handler_targets,
            connection: limits.connection_output,
            server: limits.server_output,
        };
        Self { conns: Connections::default(), outgoing: Outgoing::default(), bounds }
    }

    /// The connection has something to send, or may have.
    pub fn mark_dirty(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.map.get_mut(&key)
            && !conn.dirty
        {
            conn.dirty = true;
            self.outgoing.mark(key);
        }
    }

    /// Closes a connection once everything that was written for it is sent. What it still sends is ignored. `false`: it is
    /// closed, or gone.
    pub fn close(&mut self, key: ConnKey) -> bool {
        let conn = self.conns.map.entry(key).or_default();
        if conn.is_over() {
            return false;
        }
        conn.ending = Ending::Closing;
        self.mark_dirty(key);
        true
    }

    /// Whether the connection is closed or being closed: what still arrives from it is ignored.
    pub fn is_finished(&self, key: ConnKey) -> bool {
        self.conns.map.get(&key).is_some_and(Conn::is_finished)
    }

    /// The last words to a client may wait for its answer to a ping of the hub, which came.
    pub fn note_late_pong(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.map.get_mut(&key) {
            conn.pacer.arrived();
            self.mark_dirty(key);
        }
    }

    /// Whether a message to many may be handed to this server now.
    pub fn has_room(&self, servers: &mut Servers, link: LinkId, now: Instant) -> bool {
        let is_full = self.is_full(servers, link);
        let state = &mut servers[link];
        state.waiting_for_room.is_empty() && !is_full && state.has_room(now)
    }

    /// Whether replies wait in the hub, since a server has not taken those before them.
    pub fn is_full(&self, servers: &mut Servers, link: LinkId) -> bool {
        servers[link].is_full(self.outgoing.fresh(link), self.bounds.spill)
    }

    /// Whether connections wait for a server that takes more now.
    pub fn has_work(&self, servers: &mut Servers, now: Instant) -> bool {
        servers.links.iter_mut().any(|link| link.has_work(self.bounds.spill, now))
    }

    /// Sends an extended reply to connections of one server.
    pub fn control(&mut self, servers: &Servers, link: LinkId, ids: &[ConnId], control: Control) {
        let state = &servers[link];
        let Some(sender) = state.sender.as_ref().filter(|_| state.up) else { return };
        for targets in Targets::split(ids, self.bounds.targets) {
            self.outgoing.reply(link, |out| reply::encode_control(out, sender, targets, control));
        }
    }

    /// The same for one connection, unless an earlier run of its server had it.
    pub fn control_one(&mut self, servers: &Servers, key: ConnKey, control: Control) {
        if servers[key.link].incarnation == key.incarnation {
            self.control(servers, key.link, &[key.id], control);
        }
    }
}
