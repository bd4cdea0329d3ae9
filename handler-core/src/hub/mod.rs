//! The state machine between Mongrel2 and the workers.
//!
//! The hub opens nothing, reads no clock and starts no process: bytes and `now` come in by its
//! `handle_*` methods, and what is to be done comes out by `poll_*` and `take_*`. So a test can
//! play hours of crashes in a second.
//!
//! One turn, as [`serve`](crate::serve) drives it:
//!
//! 1. what happened: [`handle_message`](Hub::handle_message) for each message of a Mongrel2,
//!    [`handle_batch`](Hub::handle_batch) for each batch of a worker,
//!    [`handle_worker_gone`](Hub::handle_worker_gone), [`handle_server_up`](Hub::handle_server_up)
//!    and so on;
//! 2. [`finish_turn`](Hub::finish_turn): time passes, and what is to be sent is put together;
//! 3. [`drain_replies`](Hub::drain_replies), [`take_orders`](Hub::take_orders) and
//!    [`poll_effect`](Hub::poll_effect) until they are empty;
//! 4. sleep until something happens, or until [`next_timeout`](Hub::next_timeout).
//!
//! Its parts: `intake` reads messages and finds who answers, `dispatch` gives jobs to workers and
//! takes their answers, `streaming` those that come in pieces, `output` writes to connections within what Mongrel2 bears, `capacity` keeps them from being too many, `clients` one client from taking what all need, `lifecycle` knows
//! workers, code and their replacement, `live` has the connections that stay: WebSockets and sockets,
//! `uploads` the bodies that Mongrel2 puts into files, `arriving` those that it sends in parts. `traffic` counts by route and channel. `inspect`, `metrics` and `operate` are for people: what there is, in
//! numbers, and what they may do to it; `taps` shows what passes.

mod about;
mod affinity;
pub mod answers;
mod app;
mod arriving;
mod batches;
mod capacity;
mod client_library;
mod clients;
mod connection;
mod counters;
mod dispatch;
mod effect;
mod hosts;
mod ids;
pub mod inspect;
mod intake;
mod lifecycle;
mod limits;
mod link;
mod live;
mod metrics;
mod operate;
mod orphans;
mod outbox;
mod output;
mod pace;
mod pacing;
mod raw_clients;
mod request;
pub mod routes;
mod sharing;
mod stalled;
mod stored;
mod stream;
mod streaming;
mod taps;
#[cfg(test)]
mod tests;
mod traffic;
mod under_way;
mod uploads;
mod worker;

pub use app::AppSpec;
pub use capacity::Capacity;
pub use counters::Counters;
pub use effect::Effect;
pub use hosts::{HostError, HostPattern, Hosts};
pub use ids::{AppId, ConnKey, LinkId, WorkerId};
pub use limits::{LimitValue, Limits};
pub use operate::OperateError;
pub use orphans::Present;
pub use sharing::{Affinity, AffinityError, Sharing};
pub use taps::TapFilter;

use app::App;
use arriving::Arriving;
use clients::Clients;
use connection::Connections;
use counters::Complaints;
use link::Link;
use live::Live;
use output::Outgoing;
use raw_clients::RawClients;
use request::Request;
use slab::Slab;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use stored::Stored;
use taps::Taps;
use tracing::warn;
use traffic::Traffic;
use uploads::Uploads;
use worker::Worker;

/// The hub. See the [module](self) for how it is driven.
#[derive(Debug)]
pub struct Hub {
    limits: Limits,
    /// Makes connection names unique over restarts of the hub.
    boot: String,
    /// Where those are written; always begins with `boot`.
    name: String,
    /// The Date header's value.
    date: String,
    links: Vec<Link>,
    apps: Vec<App>,
    /// Some app has channels: only then a request may be for one.
    has_channels: bool,
    /// The longest mount point first: it owns a path that fits several.
    app_order: Vec<AppId>,
    workers: Slab<Worker>,
    conns: Connections,
    requests: Slab<Request>,
    raw_clients: RawClients,
    live: Live,
    uploads: Uploads,
    arriving: Arriving,
    stored: Stored,
    clients: Clients,
    outgoing: Outgoing,
    effects: VecDeque<Effect>,
    counters: Counters,
    traffic: Traffic,
    taps: Taps,
    complaints: Complaints,
    /// The only names that clients may ask by; none: any.
    hosts: Option<Hosts>,
    /// The link of the caller's own, which has no clients.
    own_link: Option<LinkId>,
    /// Buffers of finished jobs, to be used again.
    spare: Vec<Vec<u8>>,
    next_deadline_check: Option<Instant>,
    stopping: Option<Instant>,
    stopped: bool,
}

impl Hub {
    /// How often deadlines of requests and the pulse of workers are looked at.
    pub const PULSE: Duration = Duration::from_millis(50);

    /// A hub for so many Mongrel2 Handlers. `boot` is any text that no other start of this hub
    /// ever had; it becomes part of connection names.
    pub fn new(limits: Limits, boot: &str, links: usize, apps: Vec<AppSpec>) -> Self {
        let mut app_order: Vec<_> = (0..apps.len() as u16).map(AppId).collect();
        app_order
            .sort_by_key(|app| std::cmp::Reverse(apps[usize::from(app.0)].mount.trim_end_matches('/').len()));
        Self {
            live: Live::new(limits.rooms),
            app_order,
            limits,
            boot: boot.to_owned(),
            name: boot.to_owned(),
            date: String::from("Thu, 01 Jan 1970 00:00:00 GMT"),
            links: (0..links).map(|_| Link::default()).collect(),
            traffic: Traffic::new(apps.len() as u16),
            apps: apps.into_iter().map(App::new).collect(),
            has_channels: false,
            workers: Slab::new(),
            conns: Connections::default(),
            requests: Slab::new(),
            raw_clients: RawClients::default(),
            uploads: Uploads::default(),
            arriving: Arriving::default(),
            stored: Stored::default(),
            clients: Clients::default(),
            outgoing: Outgoing::default(),
            effects: VecDeque::new(),
            counters: Counters::default(),
            taps: Taps::default(),
            complaints: Complaints::default(),
            hosts: None,
            own_link: None,
            spare: Vec::new(),
            next_deadline_check: None,
            stopping: None,
            stopped: false,
        }
    }

    /// Says how the workers of an app share its requests. Called before its first code is loaded.
    pub fn set_sharing(&mut self, app: AppId, sharing: Sharing) {
        self.apps[usize::from(app.0)].sharing = sharing;
    }

    /// Answers to these hosts alone.
    pub fn allow_hosts_only(&mut self, hosts: Hosts) {
        self.hosts = Some(hosts);
    }

    /// What was seen so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The number of connections that wait for something, and of requests without an answer.
    pub fn load(&self) -> (usize, usize) {
        (self.conns.map.len(), self.requests.len())
    }

    /// The number of live connections: WebSockets and sockets.
    pub fn live(&self) -> usize {
        self.live.lives.len()
    }

    /// Sets the value of the Date header, an HTTP date; once a second is enough.
    pub fn set_date(&mut self, date: String) {
        self.date = date;
    }

    /// The ids of all apps.
    pub fn app_ids(&self) -> impl Iterator<Item = AppId> + use<> {
        (0..self.apps.len() as u16).map(AppId)
    }

    /// The next thing to do, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Lets time pass: deadlines, pauses that are over, connections to forget. Then puts together
    /// what this turn has to send.
    pub fn finish_turn(&mut self, now: Instant) {
        self.tell_raw_handler(now);
        self.beat(now);
        if let Some(due) = self.next_deadline_check.take_if(|due| *due <= now) {
            self.excuse_pause(now - due);
            self.expire_requests(now);
            self.check_workers(now);
            self.fill_all(now);
            self.measure_wanted();
        }
        self.look_at_bodies(now);
        self.go_on_searching(now);
        for (kind, held) in self.complaints.take_held(now) {
            warn!(?kind, "{held} more complaints of this kind were not logged one by one");
        }
        self.fill_seats(now);
        self.look_at_idle(now);
        self.give_up_queues(now);
        self.grant_credits(now);
        self.pass_time_of_sessions(now);
        self.flush_publishing(now);
        self.answer_ready_polls(now);
        self.flush(now);
        if self.next_deadline_check.is_none() && self.is_waiting_for_something() {
            self.next_deadline_check = Some(now + Self::PULSE);
        }
        self.check_stopped(now);
    }

    fn is_waiting_for_something(&self) -> bool {
        let is_watched =
            |worker: &Worker| worker.is_timed() || !worker.jobs.is_empty() || !worker.listed.is_empty();
        !self.requests.is_empty()
            || self.stopping.is_some()
            || self.workers.iter().any(|(_, worker)| is_watched(worker))
    }

    /// When [`finish_turn`](Self::finish_turn) has something to do though nothing happens.
    pub fn next_timeout(&self) -> Option<Instant> {
        let seats = self.apps.iter().flat_map(|app| &app.seats).filter_map(|seat| seat.due);
        seats
            .chain(self.next_deadline_check)
            .chain(self.outgoing.next_paced())
            .chain(self.conns.next_sweep())
            .chain(self.arriving.next_look)
            .chain(self.complaints.next_timeout())
            .chain(self.live.heartbeat.next_timeout(self.holds_anybody()))
            .chain(self.links.iter().filter_map(Link::next_timeout))
            .chain(self.links.iter().filter_map(|link| link.orphans.next_timeout()))
            .chain(self.live.decisions.next_timeout())
            .chain(self.live.sessions.next_timeout())
            .min()
    }
}
