//! Connections that are waiting for something.
//!
//! Mongrel2 holds the sockets. An HTTP connection between two requests needs nothing from us, so
//! it has no entry here: ten thousand open keep-alive connections cost no memory. An entry lives
//! from a request until shortly after its answer, longer while bytes wait to be sent.

use super::pacing::Pacer;
use super::request::RequestKey;
use crate::protocol::ConnId;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::time::Instant;

/// One of the Mongrel2 Handlers that the hub serves, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u16);

/// A connection that is never mistaken for another: Mongrel2 counts from 1 again after each start,
/// so its number means something only together with the link and the run of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnKey {
    /// Which server.
    pub link: LinkId,
    /// Which run of it, as seen from here.
    pub incarnation: u32,
    /// Its number there.
    pub id: ConnId,
}

/// What is left to be done for a connection.
#[derive(Debug, Default)]
pub(super) struct Conn {
    /// The request whose answer is next.
    pub current: Option<RequestKey>,
    /// Requests behind it, in order.
    pub waiting: VecDeque<RequestKey>,
    /// Bytes to send.
    pub out: Vec<u8>,
    /// Close it once `out` is sent. Nothing further is read from it.
    pub closing: bool,
    /// The close is sent; the entry remains for a moment, to recognise what was under way.
    pub closed: bool,
    /// The client is gone; nothing is sent.
    pub gone: bool,
    /// It is on the list of connections to flush at the end of the turn.
    pub dirty: bool,
    /// It is on the list of idle connections.
    pub listed: bool,
    /// What may be sent when.
    pub pacer: Pacer,
}

impl Conn {
    /// Whether everything for it is sent, and written as far as Mongrel2 tells.
    pub fn is_delivered(&self) -> bool {
        self.gone || (self.out.is_empty() && !self.closing && self.pacer.is_all_written())
    }

    /// Whether nothing is left to do.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty() && self.out.is_empty() && !self.dirty
    }
}

/// The entries, and when the idle ones may go.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub map: FxHashMap<ConnKey, Conn>,
    /// Entries to look at again, oldest first.
    idle: VecDeque<(Instant, ConnKey)>,
}

impl Connections {
    /// Marks an entry to be looked at later, if it is idle and not marked yet.
    pub fn list_if_idle(&mut self, key: ConnKey, now: Instant) {
        if let Some(conn) = self.map.get_mut(&key)
            && conn.is_idle()
            && !conn.listed
        {
            conn.listed = true;
            self.idle.push_back((now, key));
        }
    }

    /// Drops idle entries that nobody needs: open ones after their pacing window, closed ones
    /// once nothing of them can be under way any more, those that owe credits after the time in
    /// which Mongrel2 would have cut them off.
    pub fn sweep(&mut self, now: Instant) {
        while let Some((listed_at, key)) = self.idle.front().copied() {
            let age = now.saturating_duration_since(listed_at);
            if age < Pacer::WINDOW {
                return;
            }
            self.idle.pop_front();
            let Some(conn) = self.map.get_mut(&key) else { continue };
            conn.listed = false;
            if !conn.is_idle() {
                continue;
            }
            if conn.pacer.is_settled(conn.closed, now) {
                self.map.remove(&key);
            } else {
                conn.listed = true;
                self.idle.push_back((now, key));
            }
        }
    }

    /// When [`sweep`](Self::sweep) is worth a wake-up: it is no hurry.
    pub fn next_sweep(&self) -> Option<Instant> {
        self.idle.front().map(|(since, _)| *since + Pacer::SWEEP)
    }
}
