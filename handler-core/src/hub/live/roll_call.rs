//! The other way to find the dead: asking Mongrel2 who is there.
//!
//! A keep-alive brings a notice for each connection that is gone, unless that is lost too. So with every keep-alive
//! the server's control port is asked for `status net`, where there is one, and whoever was held when the question
//! was put and is not in the answer is gone.

use crate::hub::Hub;
use crate::hub::exchange::raw_clients::disconnect;
use crate::hub::ids::{ConnKey, LinkId};
use mongrel2_wire::ConnId;
use rustc_hash::{FxHashMap, FxHashSet};
use std::time::Instant;
use tracing::info;

/// Who was held when a server was asked: its incarnation then, and their numbers.
#[derive(Debug, Default)]
pub(crate) struct RollCall(FxHashMap<LinkId, (u32, Vec<ConnId>)>);

impl RollCall {
    pub(super) fn ask(&mut self, link: LinkId, incarnation: u32, held: Vec<ConnId>) {
        self.0.insert(link, (incarnation, held));
    }
}

impl Hub {
    /// The numbers of all connections that the server of `link` had when it was asked, after
    /// [`AskWhoIsThere`](crate::hub::Effect::AskWhoIsThere). Those that were held and are not among them end as if it had told.
    pub fn handle_roll_call(&mut self, link: LinkId, present: &[u32], now: Instant) {
        let Some((incarnation, held)) = self.live.roll_call.0.remove(&link) else { return };
        let state = &self.cx.servers[link];
        let is_the_same = state.up && state.incarnation == incarnation;
        let Some(sender) = state.sender.clone().filter(|_| is_the_same) else { return };
        let is_other = |id: &&u32| {
            ConnId::try_from(i64::from(**id)).is_ok_and(|id| !self.is_held(ConnKey { link, incarnation, id }))
        };
        let others = present.iter().filter(is_other).count();
        self.note_others(link, others);
        let present: FxHashSet<u32> = present.iter().copied().collect();
        let mut found = 0u64;
        for id in held.into_iter().filter(|id| !present.contains(&id.get())) {
            let key = ConnKey { link, incarnation, id };
            if self.is_held(key) {
                found += 1;
                self.handle_disconnect(key, &disconnect(sender.as_str(), id), now);
            }
        }
        if found > 0 {
            self.cx.ledger.counters.untold += found;
            let connections = if found == 1 { "connection is" } else { "connections are" };
            info!(link = link.0, "{found} {connections} gone, of which mongrel2 has not told");
        }
    }
}
