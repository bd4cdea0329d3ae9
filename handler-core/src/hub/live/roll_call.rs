//! The other way to find the dead: asking Mongrel2 who is there.
//!
//! A keep-alive brings a notice for each connection that is gone, unless that is lost too. So with every keep-alive
//! the server's control port is asked for `status net`, where there is one, and whoever was held when the question
//! was put and is not in the answer is gone.

use crate::hub::context::Context;
use crate::hub::ids::{ConnKey, LinkId};
use crate::hub::live::Live;
use mongrel2_wire::ConnId;
use rustc_hash::{FxHashMap, FxHashSet};

/// Who was held when a server was asked: its incarnation then, and their numbers.
#[derive(Debug, Default)]
pub(crate) struct RollCall(FxHashMap<LinkId, (u32, Vec<ConnId>)>);

impl RollCall {
    pub(in crate::hub::live) fn ask(&mut self, link: LinkId, incarnation: u32, held: Vec<ConnId>) {
        self.0.insert(link, (incarnation, held));
    }
}

impl Live {
    /// Compares the numbers of all connections that the server of `link` had when it was asked with those that were held
    /// then. Returns those that are gone, and how many there are of which the hub knows nothing; `None`: nobody asked this
    /// run of the server.
    pub(in crate::hub) fn take_roll_call(
        &mut self,
        cx: &Context,
        link: LinkId,
        present: &[u32],
    ) -> Option<(Vec<ConnKey>, usize)> {
        let (incarnation, held) = self.roll_call.0.remove(&link)?;
        let state = &cx.servers[link];
        if !state.up || state.incarnation != incarnation {
            return None;
        }
        let is_other = |id: &&u32| {
            let id = ConnId::try_from(i64::from(**id));
            id.is_ok_and(|id| !self.is_held(cx, ConnKey { link, incarnation, id }))
        };
        let others = present.iter().filter(is_other).count();
        let present: FxHashSet<u32> = present.iter().copied().collect();
        let gone = held.into_iter().filter(|id| !present.contains(&id.get()));
        let gone = gone.map(|id| ConnKey { link, incarnation, id });
        Some((gone.collect(), others))
    }
}
