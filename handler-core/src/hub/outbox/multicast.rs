//! The same bytes to many connections of one server.

use super::Outbox;
use super::connection::Conn;
use super::output::{Bound, Pushed, Shared};
use crate::hub::ids::ConnKey;
use crate::hub::outbox::connection::Ending;
use crate::hub::servers::Servers;
use crate::worker::protocol::Slow;
use mongrel2_wire::ConnId;
use std::sync::Arc;
use std::time::Instant;

impl Outbox {
    /// Sends the same bytes to many connections of one server: to those that are free in as few replies as possible, to
    /// the others behind what they are waiting for. `enter` is called with each entry before it is looked at. Returns those
    /// that are closed, since too many bytes wait for them, and how many.
    pub fn multicast(
        &mut self,
        servers: &mut Servers,
        keys: &[ConnKey],
        payload: &[u8],
        mut enter: impl FnMut(ConnKey, &mut Conn),
        now: Instant,
    ) -> Vec<(ConnKey, usize)> {
        let Some(link) = keys.first().map(|key| key.link) else { return Vec::new() };
        let bound = Bound { slow: Slow::Wait, bytes: self.bounds.connection };
        let mut overflowed = Vec::new();
        let mut shared: Option<Arc<[u8]>> = None;
        let mut free: Vec<ConnId> = Vec::with_capacity(keys.len());
        for key in keys {
            let has_room = self.has_room(servers, link, now);
            let state = &mut servers[link];
            let conn = self.conns.map.entry(*key).or_default();
            enter(*key, conn);
            if conn.is_ending() {
                continue;
            }
            if has_room && conn.is_free_for(payload.len(), state.flow_control, now) {
                conn.sent(payload.len(), state.flow_control, now);
                state.sent(payload.len(), now);
                free.push(key.id);
                self.conns.list_if_idle(*key, now);
                continue;
            }
            let bytes = Arc::clone(shared.get_or_insert_with(|| payload.into()));
            if let Pushed::TooMuch { waiting } = conn.out.push(Shared::message(bytes, None), bound) {
                // A client that does not read must not fill our memory; it is not left in the dark either.
                conn.out = Default::default();
                conn.ending = Ending::Closing;
                overflowed.push((*key, waiting));
            }
            self.mark_dirty(*key);
        }
        self.outgoing.multicast(link, &servers[link], &free, self.bounds.targets, payload);
        overflowed
    }
}
