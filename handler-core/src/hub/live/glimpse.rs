//! A live connection as seen from outside.

use super::Live;
use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::{AppId, ConnKey, LiveId, WorkerId};
use crate::hub::ledger::traffic::ChannelMeterId;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::table::{Lives, Stage};
use std::time::Instant;

/// What those may see of a connection who do not serve it.
pub(in crate::hub) struct Glimpse<'a> {
    pub key: ConnKey,
    pub app: AppId,
    pub transport: &'static str,
    pub state: &'static str,
    /// The second in which its client last said something.
    pub heard: u32,
    pub worker: Option<WorkerId>,
    /// Messages that the script has not done with.
    pub unread: usize,
    /// Bytes that wait for the client of a session.
    pub unsent: usize,
    /// `conn.data`, JSON.
    pub data: Option<&'a [u8]>,
    pub resumed: bool,
}

impl Live {
    /// A look at a connection; `None`: there is none.
    pub(in crate::hub) fn glimpse(&self, id: LiveId) -> Option<Glimpse<'_>> {
        let channel = self.lives.get(id)?;
        let unread = channel.work.as_ref().map_or(0, |work| work.flight.len() + work.waiting.len());
        Some(Glimpse {
            key: channel.key,
            app: channel.app,
            transport: channel.carrier.name(),
            state: match channel.stage {
                Stage::Asked => "asked",
                Stage::Open => "open",
                Stage::CutOff | Stage::Closing => "closing",
                Stage::Over => "over",
            },
            heard: channel.heard,
            worker: channel.worker.worker(),
            unread,
            unsent: match &channel.carrier {
                Carrier::Http(session) => session.unsent(),
                Carrier::Bosh(session) => session.unsent(),
                Carrier::WebSocket(_) | Carrier::Json | Carrier::Xml => 0,
            },
            data: self.data.get(&id).map(|data| &**data),
            resumed: channel.resumed,
        })
    }

    /// Where the connection's channel is counted.
    pub(in crate::hub) fn meter_of(&self, id: LiveId) -> Option<ChannelMeterId> {
        self.lives.get(id).map(|channel| channel.meter)
    }

    /// The message that a connection was opened with.
    pub(in crate::hub) fn opening_message(&self, id: LiveId) -> Option<Vec<u8>> {
        Some(self.keeper.read(&self.lives.get(id)?.opening))
    }
}

impl Lives {
    /// Whose the connection is.
    pub(in crate::hub) fn app_of(&self, id: LiveId) -> Option<AppId> {
        self.get(id).map(|channel| channel.app)
    }

    /// Those from this place on, in order.
    pub(in crate::hub) fn ids_from(&self, first: LiveId) -> impl Iterator<Item = LiveId> {
        self.iter().map(|(id, _)| id).filter(move |id| *id >= first)
    }

    /// Seconds since the first look at the clock.
    pub(in crate::hub) fn second_at(&self, now: Instant) -> u32 {
        self.epoch().map_or(0, |epoch| now.saturating_duration_since(epoch).as_secs() as u32)
    }
}

impl Live {
    /// The live connection of this `conn.id`.
    pub(in crate::hub) fn live_by_name(&self, cx: &Context, name: &str) -> Option<LiveId> {
        cx.key_by_name(name.as_bytes()).and_then(|key| self.lives.at(key))
    }
}

impl Live {
    /// Whether its handshake waits for a decision.
    pub(in crate::hub::live) fn is_undecided(&self, id: LiveId) -> bool {
        self.lives.get(id).is_some_and(|channel| channel.stage == Stage::Asked)
    }
}

impl Live {
    /// The connection that it is.
    pub(in crate::hub::live) fn key_of(&self, id: LiveId) -> Option<ConnKey> {
        self.lives.get(id).map(|channel| channel.key)
    }
}

impl Live {
    /// The connection is to be closed from our side.
    pub(in crate::hub::live) fn to_close(
        &self,
        cx: &mut Context,
        id: LiveId,
        code: u16,
        reason: &'static str,
    ) {
        cx.events.extend(self.lives.get(id).map(|live| Event::CloseLive(live.number, code, reason)));
    }

    /// The connection is to end: the conversation cannot go on.
    pub(in crate::hub::live) fn to_end(&self, cx: &mut Context, id: LiveId, code: u16, reason: &'static str) {
        cx.events.extend(self.lives.get(id).map(|live| Event::EndLive(live.number, code, reason)));
    }

    /// Something was dropped that was meant for a client, and its connection is to be closed: what follows in the same turn
    /// is not for it any more.
    pub(in crate::hub::live) fn queue_no_more(&mut self, id: LiveId) {
        if let Some(channel) = self.lives.get_mut(id).filter(|channel| channel.stage == Stage::Open) {
            channel.stage = Stage::CutOff;
            self.rooms.leave_all(id);
        }
    }

    /// The script has run its `open` for it, or died with it.
    pub(in crate::hub::live) fn opened(&self, cx: &mut Context, id: LiveId) {
        cx.events.extend(self.lives.get(id).map(|live| Event::Opened(live.number)));
    }

    /// The connection of this number, if it is not over.
    pub(in crate::hub) fn by_number(&self, number: u64) -> Option<LiveId> {
        self.lives.by_number(number)
    }
}
