//! The connections of each Mongrel2: how many there may be, and those that nothing is known of.

use super::effect::Effect;
use super::ids::{ConnKey, LinkId, RequestId};
use super::live::waits;
use super::request::{Plan, Request};
use super::servers::capacity::nearly;
use super::{Capacity, Hub, Present};
use kennel_http::Persistence;
use mongrel2_wire::{ConnId, Sender, Targets, reply};
use std::time::Instant;
use tracing::warn;

/// What a client that is refused should wait, in seconds.
const RETRY_AFTER: u32 = 10;

/// How many there may be.
impl Hub {
    /// Sets what the server of a link holds without harm. Without it, `limits.connections` alone counts.
    pub fn set_capacity(&mut self, link: LinkId, capacity: Option<Capacity>) {
        self.cx.servers[link].capacity = capacity;
    }

    /// The most live connections that the hub opens on a link.
    pub fn most_live(&self, link: LinkId) -> usize {
        let capacity = self.cx.servers[link].capacity;
        capacity
            .map_or(self.cx.limits.connections, |capacity| capacity.live().min(self.cx.limits.connections))
    }

    /// The live connections that the server of a link holds; sessions are not among them.
    pub fn live_on(&self, link: LinkId) -> usize {
        self.live.lives.held_by(link)
    }

    /// Whether a new live connection may begin that `asking` asks for. The log says once that the server is nearly full,
    /// and once that it is full, until it has been less full again.
    pub(super) fn admits(&mut self, asking: ConnKey, now: Instant) -> bool {
        let link = asking.link;
        if self.cx.servers.links.get(usize::from(link.0)).is_none() {
            return true;
        }
        let (most, held) = (self.most_live(link), self.live.lives.held_by(link));
        let (state, conns) = (&mut self.cx.servers[link], &self.cx.outbox.conns.map);
        // Counting costs a look at each request, so it is done only where the sum may matter.
        let at_most = held + conns.len() + state.load.others();
        let count = if at_most < nearly(most) {
            at_most
        } else {
            let (room, incarnation) = (state.capacity.map_or(0, Capacity::room), state.incarnation);
            let is_other =
                |key: &ConnKey| key.link == link && key.incarnation == incarnation && *key != asking;
            let waiting = || {
                let waiting =
                    conns.iter().filter(|(key, conn)| is_other(key) && conn.live.is_none() && waits(conn));
                waiting.count()
            };
            held + state.load.count(room, now, waiting)
        };
        if !state.load.admits(link, count, most) {
            self.cx.ledger.counters.overloaded += 1;
            return false;
        }
        // A stream or a poll holds its connection from now on, as the next count finds.
        state.load.hold(usize::from(conns.get(&asking).is_some_and(waits)));
        true
    }

    /// A session's WebSocket holds its connection from now on, as the next count finds.
    pub(super) fn count_line(&mut self, link: LinkId) {
        self.cx.servers[link].load.hold(1);
    }

    /// Refuses a handshake because its server is full.
    pub(super) fn answer_full(&mut self, key: ConnKey, now: Instant) {
        if !self.cx.outbox.is_finished(key) {
            let request = Request::new(key, refusal(""), now, self.cx.limits.request_timeout);
            self.enqueue(key, request, now);
        }
    }

    /// Refuses a new session because the server of its first request is full; `cors` are header lines. The connection is
    /// closed, which makes room.
    pub(super) fn answer_full_call(&mut self, request: RequestId, cors: &str, now: Instant) {
        let Some(state) = self.exchange.requests.get_mut(request) else { return };
        state.plan = refusal(cors);
        state.persistence = Persistence::Close;
        self.answer_by_plan(request, now);
    }

    /// A roll call has found this number of connections on a link that the hub does not hold.
    pub(super) fn note_others(&mut self, link: LinkId, others: usize) {
        self.cx.servers[link].load.note_others(others);
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
    pub(super) fn begin_search(&mut self, link: LinkId) {
        let orphans = &mut self.cx.servers[link].orphans;
        if orphans.is_sole {
            orphans.begin();
            self.cx.effects.push_back(Effect::AskWhoIsThere(link));
        }
    }

    /// Asks servers again when that is due.
    pub(super) fn go_on_searching(&mut self, now: Instant) {
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

/// The answer to a client whose live connection does not begin; `head` has further header lines.
fn refusal(head: &str) -> Plan {
    let head = format!("Content-Type: text/plain; charset=utf-8\r\nRetry-After: {RETRY_AFTER}\r\n{head}");
    let body = "503 Service Unavailable: too many clients are connected. Try again later.\n".to_owned();
    Plan::Answer { status: 503, head, body }
}
