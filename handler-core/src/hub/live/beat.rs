//! Pings, closes and keep-alives that are due.

use crate::hub::context::Context;
use crate::hub::effect::Effect;
use crate::hub::ids::{ConnKey, LinkId};
use crate::hub::live::Live;
use crate::hub::live::carrier::{Beat, Carrier};
use crate::hub::live::heartbeat::{Due, waits};
use crate::hub::live::table::Stage;
use mongrel2_wire::{ConnId, reply};
use std::collections::VecDeque;
use std::time::Instant;

/// Pings that a client may leave unanswered.
const UNANSWERED: u8 = 2;

impl Live {
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
                Stage::Asked | Stage::CutOff | Stage::Closing | Stage::Over => {}
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
        due.sort_unstable_by_key(|id| self.key_of(*id).map(|key| key.link));
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
