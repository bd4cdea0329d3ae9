//! What keeps live connections alive, and finds the dead ones.
//!
//! WebSockets are pinged; a client that leaves two pings unanswered is gone. Mongrel2 itself cuts off whoever
//! is silent for `limits.min_ping`, whatever is sent to him, and says nothing; so all that we hold is named
//! to it in time, in batches, which resets its clock and brings a notice for each that is gone already.

use super::by_http::Beat;
use super::table::{Carrier, Stage};
use crate::hub::context::Context;
use crate::hub::effect::Effect;
use crate::hub::ids::LiveId;
use crate::hub::ids::{ConnKey, LinkId};
use crate::hub::live::Live;
use crate::hub::outbox::connection::Conn;
use mongrel2_wire::{ConnId, reply};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is due when.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    /// Pings, by their interval in milliseconds: in each list the next one is first.
    pings: FxHashMap<u32, VecDeque<Due>>,
    /// Closes of ours that the client should have answered by then.
    closes: VecDeque<(Instant, LiveId, u64)>,
    epoch: Option<Instant>,
}

/// A planned ping, small: every WebSocket has one.
#[derive(Debug, Clone, Copy)]
struct Due {
    /// In tenths of a second since the table's first moment.
    tenth: u32,
    id: LiveId,
    /// Tells whether the connection is still the same.
    generation: u32,
}

/// The unit in which pings are planned; those of one leave together.
const TENTH: Duration = Duration::from_millis(100);
/// Pings that a client may leave unanswered.
const UNANSWERED: u8 = 2;

impl Heartbeat {
    pub(super) fn expect_close(&mut self, due: Instant, id: LiveId, number: u64) {
        self.closes.push_back((due, id, number));
    }

    pub(super) fn next_unanswered(&mut self, now: Instant) -> Option<(LiveId, u64)> {
        self.closes.front().filter(|(due, ..)| *due <= now)?;
        self.closes.pop_front().map(|(_, id, number)| (id, number))
    }

    fn tenth(&mut self, at: Instant) -> u32 {
        let epoch = *self.epoch.get_or_insert(at);
        (at.saturating_duration_since(epoch).as_millis() / TENTH.as_millis()) as u32
    }

    fn plan_ping(&mut self, interval: u32, id: LiveId, generation: u32, now: Instant) {
        let tenth = self.tenth(now) + interval / 100 + 1;
        self.pings.entry(interval).or_default().push_back(Due { tenth, id, generation });
    }

    fn next_ping(&mut self, interval: u32, tenth: u32) -> Option<Due> {
        let list = self.pings.get_mut(&interval)?;
        list.front().filter(|due| due.tenth <= tenth)?;
        list.pop_front()
    }

    /// When there is something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let pings = self.pings.values().filter_map(|list| list.front());
        let pings = pings.filter_map(|due| Some(self.epoch? + TENTH * due.tenth));
        let closes = self.closes.front().map(|(due, ..)| *due);
        pings.chain(closes).min()
    }
}

impl Live {
    /// A connection's first ping is planned, where both sides speak.
    pub(super) fn begin_heartbeat(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        cx.hold(now);
        let Some(channel) = self.lives.get(id) else { return };
        let spec = cx.apps.channel(channel.app, channel.route);
        let interval = spec.map_or(0.0, |spec| spec.ping);
        if interval > 0.0 && matches!(channel.carrier, Carrier::WebSocket(_)) {
            let interval = Duration::from_secs_f64(interval.clamp(0.05, 86_400.0));
            let generation = channel.generation();
            self.heartbeat.plan_ping(interval.as_millis() as u32, id, generation, now);
        }
    }

    /// The first sign of life for a WebSocket that carries a session is planned.
    pub(in crate::hub::live) fn begin_beats(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        cx.hold(now);
        let Some(interval) = self.ping_of(cx, id) else { return };
        let Some(channel) = self.lives.get_mut(id) else { return };
        let generation = channel.generation();
        if let Carrier::Http(session) = &mut channel.carrier
            && session.plan_beats()
        {
            self.heartbeat.plan_ping(interval.as_millis() as u32, id, generation, now);
        }
    }

    /// Pings, closes and keep-alives that are due.
    pub(in crate::hub) fn beat(&mut self, cx: &mut Context, has_requests: bool, now: Instant) {
        self.end_unanswered(cx, now);
        self.end_undecided(cx, now);
        if cx.servers.keep_alive.is_some_and(|due| due <= now) {
            let holds = has_requests || !self.lives.is_empty();
            cx.servers.keep_alive = holds.then(|| now + cx.limits.keep_alive);
            self.keep_alive(cx);
        }
        let intervals: Vec<u32> = self.heartbeat.pings.keys().copied().collect();
        for interval in intervals {
            self.ping(cx, interval, now);
        }
    }

    fn ping(&mut self, cx: &mut Context, interval: u32, now: Instant) {
        let mut due = Vec::new();
        let mut dead = Vec::new();
        let (mut ping, mut beat, mut next) = (Vec::new(), Vec::new(), Vec::new());
        let (mut lines, mut dead_lines) = (Vec::new(), Vec::new());
        let tenth = self.heartbeat.tenth(now);
        while let Some(Due { id, generation, .. }) = self.heartbeat.next_ping(interval, tenth) {
            let channel = self.lives.get_mut(id).filter(|channel| channel.generation() == generation);
            let Some(channel) = channel else { continue };
            if let Carrier::Http(session) = &mut channel.carrier {
                let key = session.line_key();
                let conn = key.and_then(|key| cx.outbox.conns.map.get(&key));
                let is_written = conn.is_none_or(|conn| conn.pacer.is_all_written());
                if is_written {
                    next.clear();
                    match session.beat(&mut next, &mut self.codec) {
                        Beat::None => continue,
                        Beat::Dead(key) => {
                            dead_lines.push((id, key));
                            continue;
                        }
                        Beat::Due(key) => {
                            lines.push(key);
                            std::mem::swap(&mut beat, &mut next);
                        }
                    }
                }
                self.heartbeat.plan_ping(interval, id, generation, now);
                continue;
            }
            let Carrier::WebSocket(session) = &mut channel.carrier else { continue };
            // A ping waits behind what we have sent before. As long as Mongrel2 has not written that, a client that
            // reads slowly cannot answer, and one that is gone is found by its missing credits.
            let is_written =
                cx.outbox.conns.map.get(&channel.key).is_none_or(|conn| conn.pacer.is_all_written());
            match channel.stage {
                Stage::Open if !is_written => self.heartbeat.plan_ping(interval, id, generation, now),
                Stage::Open if session.unanswered() >= UNANSWERED => dead.push(id),
                Stage::Open => {
                    ping.clear();
                    session.ping(&mut ping);
                    due.push(id);
                    self.heartbeat.plan_ping(interval, id, generation, now);
                }
                Stage::Asked | Stage::Closing | Stage::Over => {}
            }
        }
        let idle = |list: &VecDeque<Due>| list.is_empty();
        if self.heartbeat.pings.get(&interval).is_some_and(idle) {
            self.heartbeat.pings.remove(&interval);
        }
        self.beat_lines(cx, lines, &beat, now);
        for (id, key) in dead_lines {
            cx.ledger.counters.unanswered_pings += 1;
            self.drop_line(cx, id, key);
        }
        if due.is_empty() && dead.is_empty() {
            return;
        }
        due.sort_unstable_by_key(|id| super::intake::key_of(self, *id).map(|key| key.link));
        self.send_same(cx, &due, &ping, now);
        for id in dead {
            cx.ledger.counters.unanswered_pings += 1;
            self.finish_live(cx, id, 1006, "pings were not answered", now);
        }
    }

    /// The same sign of life to many WebSockets that carry sessions, in as few replies as possible.
    fn beat_lines(&mut self, cx: &mut Context, mut keys: Vec<ConnKey>, beat: &[u8], now: Instant) {
        keys.sort_unstable_by_key(|key| key.link);
        let mut free: Vec<ConnKey> = Vec::with_capacity(keys.len());
        for key in keys {
            let has_room = cx.outbox.has_room(&mut cx.servers, key.link, now);
            let state = &mut cx.servers[key.link];
            let flow_control = state.flow_control;
            let Some(conn) = cx.outbox.conns.map.get_mut(&key).filter(|conn| !conn.is_ending()) else {
                continue;
            };
            let asks_nothing = flow_control || !conn.pacer.wants_ping(beat.len(), now);
            if has_room && asks_nothing && conn.is_free_for(beat.len(), flow_control, now) {
                conn.sent(beat.len(), flow_control, now);
                state.sent(beat.len(), now);
                free.push(key);
            } else {
                conn.out.extend(beat);
                cx.outbox.mark_dirty(key);
            }
        }
        let max = cx.limits.handler_targets;
        for group in free.chunk_by(|a, b| a.link == b.link) {
            let ids: Vec<ConnId> = group.iter().map(|key| key.id).collect();
            let state = &cx.servers.links[usize::from(group[0].link.0)];
            cx.outbox.outgoing.multicast(group[0].link, state, &ids, max, beat);
        }
    }

    /// Whether it is among those that are named to Mongrel2.
    pub(in crate::hub) fn is_held(&self, cx: &Context, key: ConnKey) -> bool {
        let lives = |id| self.lives.get(id).is_some_and(|channel| channel.stage != Stage::Over);
        self.lives.at(key).is_some_and(lives) || cx.outbox.conns.map.get(&key).is_some_and(waits)
    }

    /// Names to each Mongrel2 all that is held there: live connections, and requests that run.
    fn keep_alive(&mut self, cx: &mut Context) {
        for number in 0..cx.servers.links.len() {
            let link = LinkId(number as u16);
            let state = &cx.servers.links[number];
            if !state.up || state.sender.is_none() {
                continue;
            }
            let incarnation = state.incarnation;
            let lives = self.lives.iter().filter(|(_, channel)| channel.stage != Stage::Over);
            let lives = lives.map(|(_, channel)| channel.key);
            let running = cx.outbox.conns.map.iter().filter(|(_, conn)| waits(conn));
            let held: Vec<ConnId> = lives
                .chain(running.map(|(key, _)| *key))
                .filter(|key| key.link == link && key.incarnation == incarnation)
                .map(|key| key.id)
                .collect();
            if held.is_empty() {
                continue;
            }
            cx.outbox.control(&cx.servers, link, &held, reply::Control::KeepAlive);
            self.roll_call.ask(link, incarnation, held);
            cx.effects.push_back(Effect::AskWhoIsThere(link));
        }
    }
}

/// Whether its client waits for an answer. One that was closed from here is not asked about: what is still under way of
/// it must find that it is closed.
pub(in crate::hub) fn waits(conn: &Conn) -> bool {
    (conn.current.is_some() || conn.carries.is_some()) && !conn.gone && !conn.closed
}
