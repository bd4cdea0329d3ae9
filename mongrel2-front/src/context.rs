//! What all connections share: the site, ids, and what is to be done.

use crate::effect::Effect;
use crate::ids::{ClientKey, HandlerId};
use crate::message::To;
use crate::site::Site;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// What connections use.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) site: Arc<Site>,
    pub(crate) effects: VecDeque<Effect>,
    /// Connections that handlers know.
    pub(crate) ids: FxHashMap<u32, ClientKey>,
    last_id: u32,
    /// Handlers that take no more messages for now, by their id.
    congested: Vec<bool>,
    /// No new requests.
    pub(crate) is_stopping: bool,
    pub(crate) counters: Counters,
}

/// What was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Messages to handlers.
    pub(crate) messages: u64,
    /// Replies of handlers.
    pub(crate) replies: u64,
    /// Replies that could not be read.
    pub(crate) malformed: u64,
    /// Requests that were refused.
    pub(crate) refused: u64,
    /// Connections that were closed because their client read too slowly.
    pub(crate) overflowed: u64,
    /// Connections that were closed because nothing came from them for too long.
    pub(crate) timed_out: u64,
}

impl Context {
    pub(crate) fn new(site: Arc<Site>) -> Self {
        Self {
            site,
            effects: VecDeque::new(),
            ids: FxHashMap::default(),
            last_id: 0,
            congested: Vec::new(),
            is_stopping: false,
            counters: Counters::default(),
        }
    }

    /// A new id for a connection: never one that this run has used, unless it has used all.
    pub(crate) fn new_id(&mut self, client: ClientKey) -> u32 {
        loop {
            // Ids above 31 bits cannot be answered.
            self.last_id = if self.last_id >= i32::MAX as u32 { 1 } else { self.last_id + 1 };
            if let std::collections::hash_map::Entry::Vacant(entry) = self.ids.entry(self.last_id) {
                entry.insert(client);
                return self.last_id;
            }
        }
    }

    /// Sends a handler a message about a connection. The id is written as C would: ids beyond 31 bits are negative.
    pub(crate) fn send(
        &mut self,
        handler: HandlerId,
        id: u32,
        write: impl FnOnce(&To<'_>, &Site) -> Vec<u8>,
    ) {
        let site = Arc::clone(&self.site);
        let Some(to) = site.handlers().get(handler.0) else { return };
        self.counters.messages += 1;
        let message = write(&To { handler: to, id: i64::from(id.cast_signed()) }, &site);
        self.effects.push_back(Effect::Message(handler, message));
    }

    pub(crate) fn is_congested(&self, handler: HandlerId) -> bool {
        self.congested.get(handler.0).copied().unwrap_or(false)
    }

    pub(crate) fn set_congested(&mut self, handler: HandlerId, is: bool) {
        if self.congested.len() <= handler.0 {
            self.congested.resize(handler.0 + 1, false);
        }
        self.congested[handler.0] = is;
    }
}
