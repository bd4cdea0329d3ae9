//! Every way in which a live connection ends, and `close` exactly once.
//!
//! A client closes, or is gone without a word; a script closes, fails, or the app no longer has the channel;
//! Mongrel2 goes away, or we do. Each way leads to [`Hub::finish_live`] or [`Hub::end_live`] once: from then
//! on the connection is over, its rooms know it no more, and behind all its messages the script's
//! `close` runs.

use super::table::{Carrier, Channel, Stage};
use super::work::Pending;
use crate::hub::apps::channels::Channels;
use crate::hub::context::Context;
use crate::hub::ids::LiveId;
use crate::hub::ids::NO_LINK;
use crate::hub::ids::{AppId, ConnKey, LinkId};
use crate::hub::ledger::taps::Passing;
use crate::hub::live::Live;
use crate::hub::outbox::connection::Conn;
use kennel_http::websocket::CloseCode;
use std::time::{Duration, Instant};

/// How long a client has to answer our close.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

impl Live {
    /// Closes from our side: the client is told why, and has a moment to say goodbye.
    pub(in crate::hub) fn close_live(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        code: u16,
        reason: &str,
        now: Instant,
    ) {
        self.flush_publishing(cx, now);
        if self.is_undecided(id) {
            self.close_undecided(cx, id, code, reason, now);
            return;
        }
        let Some(channel) = self.lives.get_mut(id).filter(|channel| channel.stage == Stage::Open) else {
            return;
        };
        let key = channel.key;
        let session = match &mut channel.carrier {
            Carrier::WebSocket(session) => session,
            Carrier::Http(_) | Carrier::Bosh(_) => {
                self.close_session(cx, id, code, reason, now);
                return;
            }
            Carrier::Json | Carrier::Xml => {
                // Sockets have no close of their own.
                self.finish_live(cx, id, code, reason, now);
                return;
            }
        };
        let mut frame = Vec::new();
        session.close(CloseCode(code), reason, &mut frame);
        channel.stage = Stage::Closing;
        self.our_closes.insert(id, (code, reason.into()));
        self.rooms.leave_all(id);
        self.heartbeat.expect_close(now + PATIENCE, id, channel.number);
        // It goes behind whatever waits, and within no bound.
        if let Some(conn) = self.live_conn(cx, id, now).filter(|conn| !conn.is_ending()) {
            conn.out.extend(&frame);
            cx.outbox.mark_dirty(key);
        }
    }

    /// The conversation is over on both sides, or cannot go on: what was sent goes out, then Mongrel2 closes.
    pub(super) fn finish_live(
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
    pub(super) fn take_off(&mut self, cx: &mut Context, id: LiveId) -> bool {
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

    /// The script's `close` has run, or need not.
    pub(super) fn forget_live(&mut self, cx: &mut Context, id: LiveId) {
        if let Some(channel) = self.lives.get(id)
            && let Some(worker) = channel.worker.worker().and_then(|worker| cx.workers.get_mut(worker))
        {
            worker.channels -= 1;
            // A bad worker says that the close is done before what came first. That stands for nobody from now
            // on, least of all for the connection that gets this place next.
            for (serial, _) in channel.work.iter().flat_map(|work| &work.flight) {
                worker.jobs.remove(serial);
            }
        }
        self.data.remove(&id);
        self.our_closes.remove(&id);
        self.lives.remove(id);
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

    /// We stop: every client is told, and nobody waits for an answer.
    pub(in crate::hub) fn close_all_live(&mut self, cx: &mut Context, now: Instant) {
        let ids: Vec<_> = self.lives.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.close_live(cx, id, 1001, "server going away", now);
            self.finish_live(cx, id, 1001, "server going away", now);
        }
    }

    /// Newer code of an app, about to be in charge, has other channels: connections whose channel is gone
    /// end, at the workers that still know it.
    pub(in crate::hub) fn end_lost_channels(
        &mut self,
        cx: &mut Context,
        app: AppId,
        new: &Channels,
        now: Instant,
    ) {
        let routes = cx.apps[app].channels.positions_in(new);
        let lost = |c: &Channel| c.app == app && routes.get(usize::from(c.route)).is_none_or(Option::is_none);
        let lives = self.lives.iter().filter(|(_, channel)| lost(channel));
        let ids: Vec<_> = lives.map(|(id, _)| id).collect();
        for id in ids {
            self.close_live(cx, id, 1001, "this channel is gone", now);
            self.finish_live(cx, id, 1001, "this channel is gone", now);
        }
    }

    /// The channels of an app have changed places.
    pub(in crate::hub) fn remap_live(&mut self, cx: &mut Context, app: AppId, old: &Channels) {
        let routes = old.positions_in(&cx.apps[app].channels);
        for (_, channel) in self.lives.iter_mut().filter(|(_, channel)| channel.app == app) {
            channel.route = routes.get(usize::from(channel.route)).copied().flatten().unwrap_or(u16::MAX);
        }
    }

    /// An answer that ends a connection before it has begun.
    pub(super) fn send_last_words(&mut self, cx: &mut Context, key: ConnKey, response: &[u8]) {
        let conn: &mut Conn = cx.outbox.conns.map.entry(key).or_default();
        if conn.closing || conn.closed || conn.gone {
            return;
        }
        conn.out.extend(response);
        cx.close(key);
    }

    /// Connections whose client did not answer our close in time.
    pub(super) fn end_unanswered(&mut self, cx: &mut Context, now: Instant) {
        while let Some((id, number)) = self.heartbeat.next_unanswered(now) {
            let is_meant = |c: &Channel| c.number == number && c.stage == Stage::Closing;
            if self.lives.get(id).is_some_and(is_meant) {
                self.finish_live(cx, id, 1006, "", now);
            }
        }
    }
}
