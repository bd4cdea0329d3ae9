//! What the hub knows, for people who operate it: connections, rooms, workers, queues.
//!
//! Nothing here changes anything. A look at a hundred thousand connections must not hold up the one that is speaking:
//! so lists come in pages, and a page looks at so many connections at most.

use crate::hub::Hub;
use crate::hub::apps::app::App;
use crate::hub::ids::{AppId, NO_LINK, WorkerId};
use crate::hub::ledger::traffic::Meter;
use crate::hub::request::{Place, Plan};
use mongrel2_wire::Envelope;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Instant;

/// Which live connections to list. All that is given has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionFilter {
    /// Members of this room.
    pub room: Option<String>,
    /// What the path begins with: `/chat`, `@name`, `<tag`.
    pub path: Option<String>,
    /// The client's address, or what it begins with.
    pub address: Option<String>,
    /// Those that have been silent for so many seconds.
    pub idle: Option<u32>,
    /// So many at most; 100 unless given, 1,000 at most.
    pub limit: Option<usize>,
    /// Goes on behind the [`next`](ConnectionList::next) of the list before.
    pub after: Option<u64>,
    /// Those of this app alone. Nobody can say so in a line: it is what the line's address is for.
    #[serde(skip)]
    pub only: Option<AppId>,
}

/// A live connection.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConnectionView {
    /// Its `conn.id`.
    pub id: String,
    /// Which server, from 0 in the order of the addresses given; none holds a session.
    pub server: Option<u16>,
    /// Its number there.
    pub conn: u32,
    /// The app's name.
    pub app: String,
    /// The path or name that it was opened with.
    pub path: String,
    /// The client's address, as far as Mongrel2 says it.
    pub address: String,
    /// `websocket`, `json` or `xml`.
    pub transport: &'static str,
    /// `asked`, `open`, `closing` or `over`.
    pub state: &'static str,
    /// Seconds since the client said something.
    pub idle: u32,
    /// The number of the worker that has it.
    pub worker: Option<u32>,
    /// Its rooms.
    pub rooms: Vec<String>,
    /// Bytes that wait to be sent to it.
    pub unsent: usize,
    /// Messages of it that the script has not done with.
    pub unread: usize,
}

/// A page of connections.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConnectionList {
    /// Those that fit.
    pub connections: Vec<ConnectionView>,
    /// How many live connections there are in all; of an app, if it is about one alone.
    pub total: usize,
    /// Where the next page begins, if there may be more.
    pub next: Option<u64>,
}

/// One connection, with all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConnectionStory {
    /// As in the list.
    #[serde(flatten)]
    pub view: ConnectionView,
    /// `conn.data`.
    pub data: Value,
    /// The headers of its opening request, by name.
    pub headers: Vec<(String, String)>,
    /// Messages that were dropped because the client does not read.
    pub dropped: u64,
    /// It comes from another worker, or from another life of the hub.
    pub resumed: bool,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoomView {
    /// Its name.
    pub room: String,
    /// How many are in it.
    pub members: usize,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerView {
    /// The app's name.
    pub app: String,
    /// Its number within the app.
    pub number: u32,
    /// Its process, filled in by whoever started it.
    pub process: Option<u32>,
    /// `loading`, `ready`, `busy` (in one run of a script for a while), `draining` or `killed`.
    pub state: &'static str,
    /// Seconds that it has served.
    pub age: u64,
    /// Unanswered jobs.
    pub jobs: usize,
    /// Live connections that are its.
    pub connections: usize,
    /// It runs the timers.
    pub leads: bool,
}

/// An app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppView {
    /// Its name.
    pub app: String,
    /// Where its routes begin.
    pub mount: String,
    /// `serving`, `loading` its first code, or `failed`: no code of it has loaded yet.
    pub state: &'static str,
    /// Workers that take jobs.
    pub workers: usize,
    /// Live connections.
    pub connections: usize,
    /// Requests that have no answer yet.
    pub unanswered: usize,
    /// Requests that were answered.
    pub answered: u64,
    /// Messages of clients.
    pub received: u64,
    /// Messages to single clients.
    pub sent: u64,
}

/// What waits where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueView {
    /// The app's name.
    pub app: String,
    /// Requests that no worker could take yet.
    pub queued: usize,
    /// Requests at workers.
    pub running: usize,
    /// Requests behind another one of their connection.
    pub pipelined: usize,
    /// Live connections for which no worker was there.
    pub orphans: usize,
}

/// Connections that one look looks at.
const LOOK: usize = 2_000;
/// Connections of a list.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;
/// Rooms of a list.
const ROOMS: usize = 1_000;

impl Hub {
    /// A page of live connections, by their place in the table.
    pub fn list_connections(&self, filter: &ConnectionFilter, now: Instant) -> ConnectionList {
        let total = match filter.only {
            None => self.live.lives.len(),
            Some(app) => self.live.lives_of(app).count(),
        };
        let limit = filter.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
        let first = filter.after.map_or(0, |after| after + 1);
        let mut candidates: Vec<u32> = match &filter.room {
            Some(room) => self.live.rooms.members(room.as_bytes()).to_vec(),
            None => self.live.lives.ids_from(first as u32).take(LOOK).collect(),
        };
        if filter.room.is_some() {
            candidates.sort_unstable();
            candidates.retain(|id| u64::from(*id) >= first);
        }
        let more_to_look_at = candidates.len() >= LOOK;
        let mut connections = Vec::new();
        let mut last = None;
        for id in candidates.into_iter().take(LOOK) {
            if connections.len() == limit {
                return ConnectionList { connections, total, next: last };
            }
            last = Some(u64::from(id));
            if let Some(view) = self.view_connection(id, filter, now) {
                connections.push(view);
            }
        }
        ConnectionList { connections, total, next: last.filter(|_| more_to_look_at) }
    }

    /// One live connection by its `conn.id`.
    pub fn connection_story(&self, name: &str, now: Instant) -> Option<ConnectionStory> {
        let id = self.live.live_by_name(&self.cx, name)?;
        let view = self.view_connection(id, &ConnectionFilter::default(), now)?;
        let glimpse = self.live.glimpse(id)?;
        let opening = self.live.opening_message(id)?;
        let headers = Envelope::parse(&opening).ok().map(|envelope| {
            let all = envelope.headers.iter().map_while(Result::ok);
            let flat = all.flat_map(|(name, values)| {
                let name = String::from_utf8_lossy(name).into_owned();
                values
                    .iter()
                    .map(move |value| (name.clone(), String::from_utf8_lossy(&value.bytes()).into_owned()))
            });
            flat.collect()
        });
        Some(ConnectionStory {
            view,
            data: glimpse.data.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default(),
            headers: headers.unwrap_or_default(),
            dropped: self.cx.outbox.conns.map.get(&glimpse.key).map_or(0, |conn| conn.out.dropped()),
            resumed: glimpse.resumed,
        })
    }

    /// Rooms by size, the largest first; the most of them that a list has. Of an app alone: those that it has
    /// somebody in, and how many.
    pub fn list_rooms(&self, only: Option<AppId>) -> Vec<RoomView> {
        let count = |room: &[u8]| match only {
            None => self.live.rooms.count(room),
            Some(app) => self.live.members_of(room, app).count(),
        };
        let rooms = self.live.rooms.names().map(|room| (count(room), room));
        let mut rooms: Vec<_> = rooms.filter(|(members, _)| *members > 0).collect();
        rooms.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        rooms.truncate(ROOMS);
        let view = |(members, room): (usize, &[u8])| RoomView {
            room: String::from_utf8_lossy(room).into_owned(),
            members,
        };
        rooms.into_iter().map(view).collect()
    }

    /// Whose a live connection is, by its `conn.id`.
    pub fn app_of(&self, id: &str) -> Option<AppId> {
        self.live.lives.app_of(self.live.live_by_name(&self.cx, id)?)
    }

    /// All apps in their order, each with what it has to do and has done.
    pub fn list_apps(&self) -> Vec<(AppId, AppView)> {
        let queues = self.list_queues(None);
        let view = |(id, queue): (AppId, QueueView)| {
            let app = &self.cx.apps[id];
            let seated = app.seats.iter().filter_map(|seat| seat.worker);
            let meters = self.cx.ledger.traffic.meters.iter().filter(|meter| meter.app == Some(id));
            let channels = self.cx.ledger.traffic.channels.iter().filter(|meter| meter.app == Some(id));
            let (received, sent) = channels.fold((0, 0), |(a, b), c| (a + c.received, b + c.sent));
            let view = AppView {
                app: queue.app,
                mount: app.spec.mount.clone(),
                state: match (app.is_loaded(), &app.incoming) {
                    (true, _) => "serving",
                    (false, Some(_)) => "loading",
                    (false, None) => "failed",
                },
                workers: seated.filter_map(|id| self.cx.workers.get(id)).filter(|w| w.takes_jobs()).count(),
                connections: self.live.lives_of(id).count(),
                unanswered: queue.queued + queue.running + queue.pipelined,
                answered: meters.map(Meter::answers).sum(),
                received,
                sent,
            };
            (id, view)
        };
        self.app_ids().zip(queues).map(view).collect()
    }

    /// All workers, or those of an app, that load or drain too. Each with the number by which the loop knows it.
    pub fn list_workers(&self, only: Option<AppId>, now: Instant) -> Vec<(WorkerId, WorkerView)> {
        let view = |(id, worker): (WorkerId, &crate::hub::workers::worker::Worker)| {
            let app = &self.cx.apps[worker.app];
            let view = WorkerView {
                app: app.spec.name.clone(),
                number: worker.number,
                process: None,
                state: worker.state_name(),
                age: worker.served_for(now).as_secs(),
                jobs: worker.jobs.len(),
                connections: worker.channels,
                leads: app.lead == Some(id),
            };
            (id, view)
        };
        let chosen = self.cx.workers.iter().filter(|(_, worker)| only.is_none_or(|app| worker.app == app));
        let mut workers: Vec<_> = chosen.map(view).collect();
        workers.sort_by(|(_, a), (_, b)| a.app.cmp(&b.app).then(a.number.cmp(&b.number)));
        workers
    }

    /// What waits, by app, or for one alone.
    pub fn list_queues(&self, only: Option<AppId>) -> Vec<QueueView> {
        let empty = |state: &App| QueueView {
            app: state.spec.name.clone(),
            queued: state.queue.len(),
            running: 0,
            pipelined: 0,
            orphans: state.orphans.len(),
        };
        let mut views: Vec<_> = self.cx.apps.list.iter().map(empty).collect();
        for (_, request) in &self.exchange.requests {
            let Plan::Run { app, .. } = request.plan else { continue };
            let view = &mut views[usize::from(app.0)];
            match request.place {
                Place::Worker(..) => view.running += 1,
                Place::Pipeline => view.pipelined += 1,
                Place::Queue => {}
            }
        }
        if let Some(app) = only {
            return views.into_iter().skip(usize::from(app.0)).take(1).collect();
        }
        views
    }

    fn view_connection(&self, id: u32, filter: &ConnectionFilter, now: Instant) -> Option<ConnectionView> {
        let glimpse = self.live.glimpse(id)?;
        if filter.only.is_some_and(|app| glimpse.app != app) {
            return None;
        }
        let idle = self.live.lives.second_at(now).saturating_sub(glimpse.heard);
        if filter.idle.is_some_and(|least| idle < least) {
            return None;
        }
        let opening = self.live.opening_message(id).unwrap_or_default();
        let envelope = Envelope::parse(&opening).ok();
        let path = envelope.as_ref().map(|envelope| String::from_utf8_lossy(envelope.path).into_owned());
        let path = path.unwrap_or_default();
        if filter.path.as_ref().is_some_and(|begin| !path.starts_with(begin.as_str())) {
            return None;
        }
        let header = |name: &[u8]| {
            let value = envelope.as_ref()?.headers.get(name)?.first()?;
            Some(String::from_utf8_lossy(&value.bytes()).into_owned())
        };
        let address = header(b"REMOTE_ADDR").or_else(|| header(b"x-forwarded-for")).unwrap_or_default();
        if filter.address.as_ref().is_some_and(|begin| !address.starts_with(begin.as_str())) {
            return None;
        }
        let rooms = self.live.rooms.rooms_of(id).map(|room| String::from_utf8_lossy(room).into_owned());
        let conn = self.cx.outbox.conns.map.get(&glimpse.key);
        let worker = glimpse.worker.and_then(|worker| self.cx.workers.get(worker));
        Some(ConnectionView {
            id: self.cx.conn_name(glimpse.key),
            server: (glimpse.key.link != NO_LINK).then_some(glimpse.key.link.0),
            conn: glimpse.key.id.get(),
            app: self.cx.apps[glimpse.app].spec.name.clone(),
            path,
            address,
            transport: glimpse.transport,
            state: glimpse.state,
            idle,
            worker: worker.map(|worker| worker.number),
            rooms: rooms.collect(),
            unsent: conn.map_or(0, |conn| conn.out.len()) + glimpse.unsent,
            unread: glimpse.unread,
        })
    }
}
