//! What keeps live connections alive, and finds the dead ones.
//!
//! WebSockets are pinged; a client that leaves two pings unanswered is gone. Mongrel2 itself cuts off whoever
//! is silent for `limits.min_ping`, whatever is sent to him, and says nothing; so all that we hold is named
//! to it in time, in batches, which resets its clock and brings a notice for each that is gone already.

use crate::hub::context::Context;
use crate::hub::ids::{ConnKey, LiveId};
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::table::Stage;
use crate::hub::outbox::connection::Conn;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is due when.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    /// Pings, by their interval in milliseconds: in each list the next one is first.
    pub(super) pings: FxHashMap<u32, VecDeque<Due>>,
    /// Closes of ours that the client should have answered by then.
    closes: VecDeque<(Instant, LiveId, u64)>,
    epoch: Option<Instant>,
}

/// A planned ping, small: every WebSocket has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// In tenths of a second since the table's first moment.
    pub(super) tenth: u32,
    pub(super) id: LiveId,
    /// Tells whether the connection is still the same.
    pub(super) generation: u32,
}

/// The unit in which pings are planned; those of one leave together.
const TENTH: Duration = Duration::from_millis(100);

impl Heartbeat {
    pub(in crate::hub::live) fn expect_close(&mut self, due: Instant, id: LiveId, number: u64) {
        self.closes.push_back((due, id, number));
    }

    pub(in crate::hub::live) fn next_unanswered(&mut self, now: Instant) -> Option<(LiveId, u64)> {
        self.closes.front().filter(|(due, ..)| *due <= now)?;
        self.closes.pop_front().map(|(_, id, number)| (id, number))
    }

    pub(in crate::hub::live) fn tenth(&mut self, at: Instant) -> u32 {
        let epoch = *self.epoch.get_or_insert(at);
        (at.saturating_duration_since(epoch).as_millis() / TENTH.as_millis()) as u32
    }

    pub(in crate::hub::live) fn plan_ping(
        &mut self,
        interval: u32,
        id: LiveId,
        generation: u32,
        now: Instant,
    ) {
        let tenth = self.tenth(now) + interval / 100 + 1;
        self.pings.entry(interval).or_default().push_back(Due { tenth, id, generation });
    }

    pub(in crate::hub::live) fn next_ping(&mut self, interval: u32, tenth: u32) -> Option<Due> {
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
    pub(in crate::hub::live) fn begin_heartbeat(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
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

    /// Whether it is among those that are named to Mongrel2.
    pub(in crate::hub) fn is_held(&self, cx: &Context, key: ConnKey) -> bool {
        let lives = |id| self.lives.get(id).is_some_and(|channel| channel.stage != Stage::Over);
        self.lives.at(key).is_some_and(lives) || cx.outbox.conns.map.get(&key).is_some_and(waits)
    }
}

/// Whether its client waits for an answer. One that was closed from here is not asked about: what is still under way of
/// it must find that it is closed.
pub(in crate::hub) fn waits(conn: &Conn) -> bool {
    (conn.current.is_some() || conn.carries.is_some()) && !conn.is_over()
}
