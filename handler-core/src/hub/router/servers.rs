//! The connections of each Mongrel2: how many there may be, and those that nothing is known of.

use crate::hub::effect::Effect;
use crate::hub::ids::{ConnKey, LinkId};
use crate::hub::ledger::counters::Complaint;
use crate::hub::{Capacity, Hub, Present};
use mongrel2_wire::{ConnId, Sender, Targets, reply};
use std::time::Instant;
use tracing::{info, warn};

/// How many there may be.
impl Hub {
    /// Sets what the server of a link holds without harm. Without it, `limits.connections` alone counts.
    pub fn set_capacity(&mut self, link: LinkId, capacity: Option<Capacity>) {
        self.cx.servers[link].capacity = capacity;
    }

    /// The most live connections that the hub opens on a link.
    pub fn most_live(&self, link: LinkId) -> usize {
        self.cx.most_live(link)
    }

    /// The live connections that the server of a link holds; sessions are not among them.
    pub fn live_on(&self, link: LinkId) -> usize {
        self.live.lives.held_by(link)
    }
}

/// Those that nothing is known of.
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
            self.cx.outbox.conns.end(key, now);
        }
        self.cx.ledger.counters.orphaned += ids.len() as u64;
        warn!(
            link = link.0,
            connections = ids.len(),
            "closed connections whose requests an earlier hub has taken and not answered"
        );
    }
}

impl Hub {
    /// Mongrel2 listens on this link: its subscription arrived, and from now on replies do too.
    pub fn handle_server_up(&mut self, link: LinkId, subscription: &[u8]) {
        let state = &mut self.cx.servers[link];
        state.begin(subscription);
        info!(link = link.0, recv_ident = %subscription.escape_ascii(), "server listens");
        self.begin_search(link);
    }

    /// A reply could not be handed to a server, since that is gone. Its connections end when the hub hears of it.
    pub fn handle_undelivered(&mut self, link: LinkId, now: Instant) {
        if self.cx.ledger.complaints.pass(Complaint::Undelivered, now) {
            warn!(link = link.0, "dropped a reply: the server is gone");
        }
    }

    /// This number of bytes waits for a server because the system does not take them yet. While there are more than
    /// `limits.spill`, everything else waits with its connection.
    pub fn handle_backlog(&mut self, link: LinkId, bytes: usize) {
        self.cx.servers[link].backlog = bytes;
    }

    /// Mongrel2 is gone. All its connections are, and whatever was on its way to them.
    pub fn handle_server_down(&mut self, link: LinkId, now: Instant) {
        let state = &mut self.cx.servers[link];
        if !state.up {
            return;
        }
        let incarnation = state.incarnation;
        if let Some(sender) = &state.sender {
            self.exchange.raw_clients.lose(link, sender.as_str());
        }
        let lives = self.with_live(now, |live, cx| live.live_server_down(cx, link, now));
        self.cx.effects.extend(self.bodies.spooled.lose(link).map(Effect::DeleteFile));
        self.cx.servers[link].end();
        self.cx.outbox.outgoing.forget(link);
        let keys: Vec<_> = self
            .cx
            .outbox
            .conns
            .map
            .keys()
            .filter(|key| key.link == link && key.incarnation == incarnation)
            .copied()
            .collect();
        for key in &keys {
            self.drop_connection(*key, now);
        }
        self.cx.ledger.counters.purged += keys.len() as u64;
        let connections = keys.len().max(lives);
        warn!(link = link.0, connections, "server is gone; its connections are closed");
    }
}
