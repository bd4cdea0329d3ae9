//! What people who operate the hub may do to connections and workers.

use crate::channel::bounds::{BoundError, check_close};
use crate::hub::Hub;
use crate::hub::effect::Effect;
use crate::hub::ids::{AppId, LinkId, LiveId, WorkerId};
use crate::hub::ledger::taps::{Passing, TapFilter};
use crate::hub::lifecycle::reload;
use crate::hub::live::Pending;
use crate::worker::protocol::encode_evaluate;
use kennel_http::websocket::close::MAX_REASON;
use serde_json::Value;
use std::time::Instant;
use thiserror::Error;

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OperateError {
    /// No live connection has this id.
    #[error("no live connection is called `{id}`; `connections` lists them")]
    NoConnection {
        /// What was asked for.
        id: String,
    },
    /// No worker fits.
    #[error("there is no worker {number} of {app}; `workers` lists them")]
    NoWorker {
        /// The app's name, or `any app`.
        app: String,
        /// The number asked for.
        number: u32,
    },
    /// The same number in several apps.
    #[error("several apps have a worker {number}: say which app, one of {apps}")]
    WhichWorker {
        /// The number asked for.
        number: u32,
        /// Names of the apps.
        apps: String,
    },
    /// Nothing may be sent as a close with this code.
    #[error(transparent)]
    Code(#[from] BoundError),
}

/// As much of a text as fits into so many bytes.
fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

impl Hub {
    /// Begins to watch, under a number that is the caller's.
    ///
    /// # Errors
    ///
    /// [`OperateError::NoConnection`]: the filter names one that is not there.
    pub fn tap(&mut self, token: u64, filter: TapFilter) -> Result<(), OperateError> {
        let key = match &filter.id {
            None => None,
            Some(id) => {
                let live = self.live.live_by_name(&self.cx, id).and_then(|live| self.live.glimpse(live));
                let found = live.map(|glimpse| glimpse.key);
                Some(found.ok_or_else(|| OperateError::NoConnection { id: id.clone() })?)
            }
        };
        self.cx.ledger.taps.add(token, key, filter);
        Ok(())
    }

    /// Ends what was begun under this number.
    pub fn untap(&mut self, token: u64) {
        self.cx.ledger.taps.remove(token);
    }

    /// Hands out what was seen, each with the number of who watches.
    pub fn drain_taps(&mut self, show: impl FnMut(u64, Value)) {
        self.cx.ledger.taps.drain(show);
    }

    /// Sends a text to one live connection, by its `conn.id`.
    ///
    /// # Errors
    ///
    /// [`OperateError::NoConnection`].
    pub fn send_to(&mut self, id: &str, text: &str, now: Instant) -> Result<(), OperateError> {
        let live = self.named(id)?;
        self.with_live(now, |lives, cx| lives.send_live(cx, live, false, text.as_bytes(), now));
        Ok(())
    }

    /// Sends a text to all in a room, or to all live connections; of an app alone, if one is given. Says to how many.
    pub fn broadcast(&mut self, room: Option<&str>, only: Option<AppId>, text: &str, now: Instant) -> usize {
        let all: Vec<LiveId> = match (room.map(str::as_bytes), only) {
            (Some(room), only) => {
                let members = self.live.rooms.count(room);
                let its = only.map(|app| self.live.members_of(room, app).collect::<Vec<_>>());
                match its {
                    // Others are in it, too.
                    Some(its) if its.len() < members => its,
                    _ => {
                        self.with_live(now, |live, cx| {
                            live.publish(cx, room, None, false, text.as_bytes(), now)
                        });
                        return members;
                    }
                }
            }
            (None, Some(app)) => self.live.lives_of(app).collect(),
            (None, None) => self.live.lives.ids_from(0).collect(),
        };
        for id in &all {
            self.with_live(now, |live, cx| live.send_live(cx, *id, false, text.as_bytes(), now));
        }
        all.len()
    }

    /// Closes a live connection with a code and a reason that its client gets.
    ///
    /// # Errors
    ///
    /// [`OperateError::NoConnection`] and [`OperateError::Code`].
    pub fn close_by_name(
        &mut self,
        id: &str,
        code: u16,
        reason: &str,
        now: Instant,
    ) -> Result<(), OperateError> {
        let code = check_close(code.into(), 0)?;
        let live = self.named(id)?;
        self.with_live(now, |lives, cx| lives.close_live(cx, live, code, beginning(reason, MAX_REASON), now));
        Ok(())
    }

    /// Ends a live connection at once, without a word to its client.
    ///
    /// # Errors
    ///
    /// [`OperateError::NoConnection`].
    pub fn kick(&mut self, id: &str, now: Instant) -> Result<(), OperateError> {
        let live = self.named(id)?;
        let Some(key) = self.live.glimpse(live).map(|glimpse| glimpse.key) else { return Ok(()) };
        if let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) {
            conn.out = Default::default();
        }
        self.with_live(now, |lives, cx| lives.end_live(cx, live, 1006, "kicked", now));
        self.cx.close(key);
        self.settle(now);
        Ok(())
    }

    /// Gives the script a message as if a connection's client had sent it.
    ///
    /// # Errors
    ///
    /// [`OperateError::NoConnection`].
    pub fn simulate_message(&mut self, id: &str, text: &str, now: Instant) -> Result<(), OperateError> {
        let live = self.named(id)?;
        self.live.note(&mut self.cx, live, Passing::In { binary: false, payload: text.as_bytes() });
        self.with_live(now, |lives, cx| {
            lives.give(cx, live, Pending::Message { binary: false, payload: text.as_bytes().into() }, now)
        });
        Ok(())
    }

    /// Makes a link of the caller's own usable, which has no server: it gives the hub messages, and gets its replies.
    pub fn open_own_link(&mut self, link: LinkId) {
        self.cx.servers[link].begin(b"");
        self.cx.servers.own_link = Some(link);
    }

    /// Lets a worker finish what it has and end; another one takes its place.
    ///
    /// # Errors
    ///
    /// [`OperateError::NoWorker`] and [`OperateError::WhichWorker`].
    pub fn drain_worker(&mut self, app: Option<&str>, number: u32, now: Instant) -> Result<(), OperateError> {
        let worker = self.find_worker(app, number)?;
        reload::replace(&mut self.cx, worker, now);
        Ok(())
    }

    /// The worker in charge with this number, of this app if several have one.
    ///
    /// # Errors
    ///
    /// [`OperateError::NoWorker`] and [`OperateError::WhichWorker`].
    pub fn find_worker(&self, app: Option<&str>, number: u32) -> Result<WorkerId, OperateError> {
        let fits = |id: &WorkerId| {
            let worker = self.cx.workers.get(*id);
            worker.is_some_and(|worker| worker.number == number && !worker.is_leaving())
        };
        let mut found = Vec::new();
        for state in self.cx.apps.list.iter().filter(|state| app.is_none_or(|app| state.spec.name == app)) {
            let seated = state.seats.iter().filter_map(|seat| seat.worker);
            found.extend(seated.filter(fits).map(|id| (id, state.spec.name.as_str())));
        }
        match found[..] {
            [(id, _)] => Ok(id),
            [] => {
                let app = app.map_or_else(|| "any app".to_owned(), |app| format!("`{app}`"));
                Err(OperateError::NoWorker { app, number })
            }
            _ => {
                let apps: Vec<_> = found.iter().map(|(_, app)| format!("`{app}`")).collect();
                Err(OperateError::WhichWorker { number, apps: apps.join(", ") })
            }
        }
    }

    /// Lets a worker run code; [`Effect::Evaluated`] tells what it gave, under this number.
    ///
    /// # Errors
    ///
    /// [`OperateError::NoWorker`] and [`OperateError::WhichWorker`].
    pub fn evaluate(
        &mut self,
        app: Option<&str>,
        number: u32,
        query: u64,
        code: &str,
    ) -> Result<(), OperateError> {
        let id = self.find_worker(app, number)?;
        if let Some(worker) = self.cx.workers.get_mut(id) {
            encode_evaluate(&mut worker.orders, query, code.as_bytes());
            worker.evaluating.push(query);
        }
        Ok(())
    }

    /// A worker says what such code gave.
    pub(in crate::hub) fn handle_evaluated(&mut self, id: WorkerId, query: u64, ok: bool, text: &[u8]) {
        let Some(worker) = self.cx.workers.get_mut(id) else { return };
        let Some(at) = worker.evaluating.iter().position(|known| *known == query) else { return };
        worker.evaluating.swap_remove(at);
        let text = String::from_utf8_lossy(text).into_owned();
        let result = if ok { Ok(text) } else { Err(text) };
        self.cx.effects.push_back(Effect::Evaluated { query, result });
    }

    fn named(&self, id: &str) -> Result<u32, OperateError> {
        self.live.live_by_name(&self.cx, id).ok_or_else(|| OperateError::NoConnection { id: id.to_owned() })
    }
}
