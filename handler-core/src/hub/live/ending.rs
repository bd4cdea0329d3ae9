//! Every way in which a live connection ends, and `close` exactly once.
//!
//! A client closes, or is gone without a word; a script closes, fails, or the app no longer has the channel;
//! Mongrel2 goes away, or we do. Each way leads to [`Live::finish_live`] or [`Live::end_live`] once: from then
//! on the connection is over, its rooms know it no more, and behind all its messages the script's
//! `close` runs.

use crate::hub::apps::channels::Channels;
use crate::hub::context::Context;
use crate::hub::ids::{AppId, ConnKey, LinkId, LiveId, NO_LINK};
use crate::hub::ledger::taps::Passing;
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::pending::Pending;
use crate::hub::live::table::{Channel, Stage};
use crate::hub::outbox::connection::Conn;
use std::time::Instant;

impl Live {
    /// The conversation is over on both sides, or cannot go on: what was sent goes out, then Mongrel2 closes.
    pub(in crate::hub) fn finish_live(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        code: u16,
        reason: &str,
        now: Instant,
    ) {
        self.flush_publishing(cx, now);
        let Some(channel) = self.lives.get(id).filter(|channel| channel.stage != Stage::Over) else {
            return;
        };
        let key = channel.key;
        if matches!(channel.carrier, Carrier::Http(_) | Carrier::Bosh(_)) {
            self.dismiss(cx, id, code, reason, now);
            self.end_live(cx, id, code, reason, now);
            return;
        }
        // The close is one of the messages that Mongrel2 bears: what was sent before it counts.
        let _ = self.live_conn(cx, id, now);
        self.end_live(cx, id, code, reason, now);
        cx.close(key);
    }

    /// The client is gone, or about to be: the script hears of it, and the key is free. What was published and
    /// not handed out yet does not reach it any more.
    pub(in crate::hub) fn end_live(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        code: u16,
        reason: &str,
        now: Instant,
    ) {
        if !self.take_off(cx, id) {
            return;
        }
        let Some(channel) = self.lives.get_mut(id) else { return };
        if channel.asked && !channel.is_known() {
            // It never began, and no script has seen it.
            self.forget_live(cx, id);
            return;
        }
        let ours = self.our_closes.remove(&id);
        let (code, reason) = ours.unwrap_or_else(|| (code, reason.into()));
        self.note(cx, id, Passing::Closed { code, reason: &reason });
        self.give(cx, id, Pending::Close { code, reason }, now);
    }

    /// From now on it is over. `false`: it was so already.
    pub(in crate::hub::live) fn take_off(&mut self, cx: &mut Context, id: LiveId) -> bool {
        let Some(channel) = self.lives.get_mut(id).filter(|channel| channel.stage != Stage::Over) else {
            return false;
        };
        if channel.stage == Stage::Asked {
            self.decisions.settle(channel.number);
        }
        channel.stage = Stage::Over;
        let key = channel.key;
        if key.link == NO_LINK {
            self.sessions.end(id);
        }
        cx.ledger.counters.closed += 1;
        if let Some(meter) = self.meter_of(id).and_then(|meter| cx.ledger.traffic.channel(meter)) {
            meter.closed += 1;
        }
        self.rooms.leave_all(id);
        self.lives.forget_key(key, id);
        if let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
            conn.live = None;
        }
        true
    }

    /// Mongrel2 says that a client is gone. Nobody it knows: `false`.
    pub(in crate::hub) fn live_disconnected(&mut self, cx: &mut Context, key: ConnKey, now: Instant) -> bool {
        let Some(id) = self.lives.at(key) else { return false };
        self.end_live(cx, id, 1006, "", now);
        true
    }

    /// A Mongrel2 is gone, and all its clients with it.
    pub(in crate::hub) fn live_server_down(&mut self, cx: &mut Context, link: LinkId, now: Instant) -> usize {
        let of_link = |channel: &Channel| channel.key.link == link && channel.stage != Stage::Over;
        let lives = self.lives.iter().filter(|(_, channel)| of_link(channel));
        let ids: Vec<_> = lives.map(|(id, _)| id).collect();
        for id in &ids {
            self.end_live(cx, *id, 1006, "", now);
        }
        self.rooms.forget_plans();
        ids.len()
    }

    /// The channels of an app have changed places.
    pub(in crate::hub) fn remap_live(&mut self, cx: &mut Context, app: AppId, old: &Channels) {
        let routes = old.positions_in(&cx.apps[app].channels);
        for (_, channel) in self.lives.iter_mut().filter(|(_, channel)| channel.app == app) {
            channel.route = routes.get(usize::from(channel.route)).copied().flatten().unwrap_or(u16::MAX);
        }
    }

    /// An answer that ends a connection before it has begun.
    pub(in crate::hub::live) fn send_last_words(&mut self, cx: &mut Context, key: ConnKey, response: &[u8]) {
        let conn: &mut Conn = cx.outbox.conns.map.entry(key).or_default();
        if conn.is_ending() {
            return;
        }
        conn.out.extend(response);
        cx.close(key);
    }

    /// Connections whose client did not answer our close in time.
    pub(in crate::hub::live) fn end_unanswered(&mut self, cx: &mut Context, now: Instant) {
        while let Some((id, number)) = self.heartbeat.next_unanswered(now) {
            let is_meant = |c: &Channel| c.number == number && c.stage == Stage::Closing;
            if self.lives.get(id).is_some_and(is_meant) {
                self.finish_live(cx, id, 1006, "", now);
            }
        }
    }
}
