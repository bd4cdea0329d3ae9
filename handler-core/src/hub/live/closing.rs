//! Closing from our side.

use crate::hub::apps::channels::Channels;
use crate::hub::context::Context;
use crate::hub::ids::{AppId, LiveId};
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::table::{Channel, PATIENCE, Stage};
use kennel_http::websocket::CloseCode;
use std::time::Instant;

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
        let can_close = |channel: &&mut Channel| matches!(channel.stage, Stage::Open | Stage::CutOff);
        let Some(channel) = self.lives.get_mut(id).filter(can_close) else { return };
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
}
