//! Requests that a hub before this one took and did not answer: it was killed, or its link to the server broke.
//!
//! Their clients would wait until Mongrel2 gives them up, minutes later. Where this hub gets all requests of a server, it
//! asks the control port who is there. A client that has sent something since it was last written to waits for a response;
//! when the hub knows nothing of such a client, a little later too, no response will come, and the connection is closed.
//! Requests that waited in Mongrel2 for a hub arrive meanwhile. Connections that wait for their next request stay open, and
//! so do WebSockets and sockets, which are adopted when they speak.

use crate::hub::Hub;
use crate::hub::effect::Effect;
use crate::hub::ids::{ConnKey, LinkId};
use mongrel2_wire::{ConnId, Sender, Targets, reply};
use rustc_hash::FxHashMap;
use std::time::{Duration, Instant};
use tracing::warn;

/// A connection that a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// Its number.
    pub id: u32,
    /// It speaks HTTP, and something came from its client after the last byte went to it.
    pub waits: bool,
    /// Bytes that came from its client.
    pub received: u64,
    /// Bytes that went to its client.
    pub sent: u64,
}

/// The search for them at one server.
#[derive(Debug, Default)]
pub(in crate::hub) struct Orphans {
    /// This hub gets all requests of the server. Else others may have those that it knows nothing of.
    pub is_sole: bool,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Done,
    /// The server listens, and has not said who is there.
    Begun,
    /// These wait, and the hub knew nothing of them: received and sent bytes by number. When to ask again; none: it is asked.
    Suspected { suspects: FxHashMap<u32, (u64, u64)>, again: Option<Instant> },
}

impl Orphans {
    /// How long requests that waited in Mongrel2 may take to arrive.
    const PATIENCE: Duration = Duration::from_millis(250);

    /// The server listens.
    pub fn begin(&mut self) {
        self.stage = Stage::Begun;
    }

    /// Those of the server's next run, which has none yet.
    pub fn of_next_run(&self) -> Self {
        Self { is_sole: self.is_sole, stage: Stage::Done }
    }

    /// When the server is to be asked again.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Suspected { again, .. } => again,
            Stage::Done | Stage::Begun => None,
        }
    }

    /// Whether the server is to be asked now.
    fn is_due(&mut self, now: Instant) -> bool {
        match &mut self.stage {
            Stage::Suspected { again, .. } => again.take_if(|due| *due <= now).is_some(),
            Stage::Done | Stage::Begun => false,
        }
    }

    /// Takes an answer of the server about those that the hub knows nothing of. Returns those that will hear nothing.
    fn take(&mut self, unknown: impl Iterator<Item = Present>, now: Instant) -> Vec<u32> {
        let waiting = unknown.filter(|present| present.waits);
        match std::mem::take(&mut self.stage) {
            Stage::Done => Vec::new(),
            Stage::Begun => {
                let suspects: FxHashMap<_, _> =
                    waiting.map(|present| (present.id, (present.received, present.sent))).collect();
                if !suspects.is_empty() {
                    self.stage = Stage::Suspected { suspects, again: Some(now + Self::PATIENCE) };
                }
                Vec::new()
            }
            // An answer to another question, which came too soon.
            early @ Stage::Suspected { again: Some(_), .. } => {
                self.stage = early;
                Vec::new()
            }
            Stage::Suspected { suspects, again: None } => {
                let is_same = |present: &Present| {
                    suspects.get(&present.id).is_some_and(|bytes| *bytes == (present.received, present.sent))
                };
                waiting.filter(is_same).map(|present| present.id).collect()
            }
        }
    }
}

impl Hub {
    /// Says that all requests of this server come to this hub, so that the hub may close connections whose requests it
    /// has never seen.
    pub fn set_sole_handler(&mut self, link: LinkId) {
        self.cx.servers[link].orphans.is_sole = true;
    }

    /// The server listens: it may have clients whose requests a hub before this one has taken.
    pub(in crate::hub) fn begin_search(&mut self, link: LinkId) {
        let orphans = &mut self.cx.servers[link].orphans;
        if orphans.is_sole {
            orphans.begin();
            self.cx.effects.push_back(Effect::AskWhoIsThere(link));
        }
    }

    /// Asks servers again when that is due.
    pub(in crate::hub) fn go_on_searching(&mut self, now: Instant) {
        for number in 0..self.cx.servers.links.len() {
            if self.cx.servers.links[number].orphans.is_due(now) {
                self.cx.effects.push_back(Effect::AskWhoIsThere(LinkId(number as u16)));
            }
        }
    }

    /// All connections that the server of `link` has, after [`AskWhoIsThere`](Effect::AskWhoIsThere). Closes those that
    /// wait for a response that will never come.
    pub fn handle_present(&mut self, link: LinkId, present: &[Present], now: Instant) {
        let state = &self.cx.servers[link];
        if !state.up || self.cx.stopping.is_some() {
            return;
        }
        let incarnation = state.incarnation;
        let key = |id: u32| ConnId::try_from(i64::from(id)).ok().map(|id| ConnKey { link, incarnation, id });
        let is_known = |key: ConnKey| {
            self.cx.outbox.conns.map.contains_key(&key)
                || self.live.lives.at(key).is_some()
                || self.exchange.raw_clients.knows(key)
                || self.bodies.spooled.is_announced(key)
        };
        let is_unknown = |present: &&Present| key(present.id).is_some_and(|key| !is_known(key));
        let unknown: Vec<_> = present.iter().filter(is_unknown).copied().collect();
        let lost = self.cx.servers[link].orphans.take(unknown.into_iter(), now);
        if lost.is_empty() {
            return;
        }
        let state = &self.cx.servers[link];
        // Before the first message the sender is not known. Mongrel2 takes any that begins with what it subscribed to.
        let subscription = std::str::from_utf8(&state.subscription).unwrap_or_default();
        let made_up = Sender::new(subscription).or_else(|_| Sender::new("kennel"));
        let Some(sender) = state.sender.clone().or(made_up.ok()) else { return };
        let keys: Vec<_> = lost.into_iter().filter_map(key).collect();
        let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
        for targets in Targets::split(&ids, self.cx.limits.handler_targets) {
            self.cx.outbox.outgoing.reply(link, |out| reply::encode_close(out, &sender, targets));
        }
        for key in keys {
            // What is under way from it says nothing any more.
            let conn = self.cx.outbox.conns.map.entry(key).or_default();
            conn.closed = true;
            conn.pacer.sent(0, false, now);
            self.cx.outbox.conns.list_if_idle(key, now);
        }
        self.cx.ledger.counters.orphaned += ids.len() as u64;
        warn!(
            link = link.0,
            connections = ids.len(),
            "closed connections whose requests an earlier hub has taken and not answered"
        );
    }
}
