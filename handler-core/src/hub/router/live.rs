//! What comes to live connections.

use crate::hub::Hub;
use crate::hub::exchange::raw_clients::disconnect;
use crate::hub::ids::{ConnKey, LinkId};
use crate::hub::outbox::connection::Conn;
use mongrel2_wire::{Envelope, Head};
use std::time::Instant;
use tracing::info;

impl Hub {
    /// Takes sessions of event streams and long polls from now on. `key`: bytes that nobody else knows, new for each start.
    pub fn set_session_key(&mut self, key: &[u8; 32]) {
        self.live.set_session_key(key);
        self.cx.has_sessions = true;
    }

    /// How many entries there are of what is due for sessions.
    #[cfg(test)]
    pub(in crate::hub) fn planned_for_sessions(&self) -> usize {
        self.live.planned_for_sessions()
    }

    /// The numbers of all connections that the server of `link` had when it was asked, after
    /// [`AskWhoIsThere`](crate::hub::Effect::AskWhoIsThere). Those that were held and are not among them end as if it had told.
    pub fn handle_roll_call(&mut self, link: LinkId, present: &[u32], now: Instant) {
        let Some(sender) = self.cx.servers[link].sender.clone() else { return };
        let Some((gone, others)) = self.live.take_roll_call(&self.cx, link, present) else { return };
        self.cx.servers[link].load.note_others(others);
        let mut found = 0u64;
        for key in gone {
            // Others may have ended with one before.
            if self.live.is_held(&self.cx, key) {
                found += 1;
                self.handle_disconnect(key, &disconnect(sender.as_str(), key.id), now);
            }
        }
        if found > 0 {
            self.cx.ledger.counters.untold += found;
            let connections = if found == 1 { "connection is" } else { "connections are" };
            info!(link = link.0, "{found} {connections} gone, of which the server has not told");
        }
    }

    /// A WebSocket handshake. `false`: no channel takes it.
    pub(in crate::hub) fn handle_handshake(
        &mut self,
        key: ConnKey,
        (envelope, head): (&Envelope<'_>, &Head<'_>),
        message: &[u8],
        now: Instant,
    ) -> bool {
        if self.cx.apps.channel_for(envelope, head).is_none() {
            return false;
        }
        let carries = |conn: &Conn| conn.carries.is_some();
        if self.with_live(now, |live, cx| live.live_disconnected(cx, key, now))
            || self.cx.outbox.conns.map.get(&key).is_some_and(carries)
        {
            // Mongrel2 gave the number to somebody else, so its last owner is gone.
            self.drop_connection(key, now);
        }
        let taken = self.live.handle_handshake(&mut self.cx, key, envelope, head, message, now);
        self.settle(now);
        taken
    }
}
