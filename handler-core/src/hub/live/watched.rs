//! Live connections and rooms, for those who watch.

use super::Live;
use crate::hub::context::Context;
use crate::hub::ids::{AppId, ConnKey, LiveId};
use crate::hub::ledger::taps::{Passing, Watched};
use mongrel2_wire::Envelope;

/// A live connection that something has happened to.
struct One<'a> {
    live: &'a Live,
    id: LiveId,
    key: ConnKey,
    app: AppId,
}

impl Watched for One<'_> {
    fn key(&self) -> ConnKey {
        self.key
    }

    fn app(&self) -> AppId {
        self.app
    }

    fn is_in(&self, room: &[u8]) -> bool {
        self.live.rooms.contains(room, self.id)
    }

    fn path(&self) -> String {
        let opening = self.live.opening_message(self.id).unwrap_or_default();
        let path = Envelope::parse(&opening).map(|e| String::from_utf8_lossy(e.path).into_owned());
        path.unwrap_or_default()
    }
}

impl Live {
    /// Shows something about a live connection to those who watch.
    pub(in crate::hub) fn note(&self, cx: &mut Context, id: LiveId, passing: Passing<'_>) {
        if cx.ledger.taps.is_idle() {
            return;
        }
        let Some((key, app)) = self.glimpse(id).map(|glimpse| (glimpse.key, glimpse.app)) else { return };
        let name = cx.conn_name(key);
        cx.ledger.taps.note_live(&One { live: self, id, key, app }, || name, passing);
    }

    /// Shows a message to a room to those who watch.
    pub(in crate::hub) fn note_publish(&self, cx: &mut Context, room: &[u8], binary: bool, payload: &[u8]) {
        if cx.ledger.taps.is_idle() {
            return;
        }
        let members = self.rooms.count(room);
        let has_members_of = |app| self.members_of(room, app).next().is_some();
        cx.ledger.taps.note_publish((room, members), (binary, payload), has_members_of);
    }

    /// The live connections of an app, by their place in the table.
    pub(in crate::hub) fn lives_of(&self, app: AppId) -> impl Iterator<Item = LiveId> {
        self.lives.ids_from(0).filter(move |id| self.lives.app_of(*id) == Some(app))
    }

    /// The members of a room that are an app's connections.
    pub(in crate::hub) fn members_of(&self, room: &[u8], app: AppId) -> impl Iterator<Item = LiveId> {
        let members = self.rooms.members(room).iter().copied();
        members.filter(move |id| self.lives.app_of(*id) == Some(app))
    }
}

impl Live {
    pub(in crate::hub::live) fn count_received(&mut self, cx: &mut Context, id: LiveId) {
        if let Some(meter) = self.meter_of(id).and_then(|meter| cx.ledger.traffic.channel(meter)) {
            meter.received += 1;
        }
    }
}
