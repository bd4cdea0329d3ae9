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

mod apps;
mod bodies;
mod context;
mod effect;
mod event;
mod exchange;
mod ids;
mod ledger;
mod limits;
mod live;
mod operator;
mod outbox;
mod servers;
#[cfg(test)]
mod tests;
mod workers;

pub use apps::app::AppSpec;
pub use apps::routes;
pub use apps::sharing::{Affinity, AffinityError, Sharing};
pub use effect::Effect;
pub use exchange::answers;
pub use ids::{AppId, ConnKey, LinkId, RequestId, WorkerId};
pub use ledger::counters::Counters;
pub use ledger::taps::TapFilter;
pub use limits::{LimitValue, Limits};
pub use operator::execute::OperateError;
pub use operator::inspect;
pub use servers::capacity::Capacity;
pub use servers::hosts::{HostError, HostPattern, Hosts};
pub use servers::orphans::Present;

use apps::Apps;
use bodies::Bodies;
use context::Context;
use exchange::Exchange;
use exchange::clients::Clients;
use ledger::Ledger;
use live::Live;
use outbox::Outbox;
use servers::Servers;
use servers::link::Link;
use slab::Slab;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tracing::warn;
use workers::worker::Worker;

/// The hub. See the [module](self) for how it is driven.
#[derive(Debug)]
pub struct Hub {
    cx: Context,
    exchange: Exchange,
    bodies: Bodies,
    live: Live,
    next_deadline_check: Option<Instant>,
    stopped: bool,
}

impl Hub {
    /// How often deadlines of requests and the pulse of workers are looked at.
    pub const PULSE: Duration = Duration::from_millis(50);

    /// A hub for so many Mongrel2 Handlers. `boot` is any text that no other start of this hub
    /// ever had; it becomes part of connection names.
    pub fn new(limits: Limits, boot: &str, links: usize, apps: Vec<AppSpec>) -> Self {
        Self {
            live: Live::new(limits.rooms),
            exchange: Exchange { name: boot.to_owned(), ..Exchange::default() },
            bodies: Bodies::default(),
            cx: Context {
                limits,
                boot: boot.to_owned(),
                date: String::from("Thu, 01 Jan 1970 00:00:00 GMT"),
                servers: Servers::new(links),
                ledger: Ledger::new(apps.len() as u16),
                apps: Apps::new(apps),
                workers: Slab::new(),
                outbox: Outbox::default(),
                clients: Clients::default(),
                stopping: None,
                effects: VecDeque::new(),
                events: Vec::new(),
            },
            next_deadline_check: None,
            stopped: false,
        }
    }

    /// Says how the workers of an app share its requests. Called before its first code is loaded.
    pub fn set_sharing(&mut self, app: AppId, sharing: Sharing) {
        self.cx.apps[app].sharing = sharing;
    }

    /// Answers to these hosts alone.
    pub fn allow_hosts_only(&mut self, hosts: Hosts) {
        self.cx.servers.hosts = Some(hosts);
    }

    /// What was seen so far.
    pub fn counters(&self) -> Counters {
        self.cx.ledger.counters
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.cx.limits
    }

    /// The number of connections that wait for something, and of requests without an answer.
    pub fn load(&self) -> (usize, usize) {
        (self.cx.outbox.conns.map.len(), self.exchange.requests.len())
    }

    /// The number of live connections: WebSockets and sockets.
    pub fn live(&self) -> usize {
        self.live.lives.len()
    }

    /// Sets the value of the Date header, an HTTP date; once a second is enough.
    pub fn set_date(&mut self, date: String) {
        self.cx.date = date;
    }

    /// The ids of all apps.
    pub fn app_ids(&self) -> impl Iterator<Item = AppId> + use<> {
        (0..self.cx.apps.list.len() as u16).map(AppId)
    }

    /// The next thing to do, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.cx.effects.pop_front()
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
        for (kind, held) in self.cx.ledger.complaints.take_held(now) {
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
        !self.exchange.requests.is_empty()
            || self.cx.stopping.is_some()
            || self.cx.workers.iter().any(|(_, worker)| is_watched(worker))
    }

    /// When [`finish_turn`](Self::finish_turn) has something to do though nothing happens.
    pub fn next_timeout(&self) -> Option<Instant> {
        let seats = self.cx.apps.list.iter().flat_map(|app| &app.seats).filter_map(|seat| seat.due);
        seats
            .chain(self.next_deadline_check)
            .chain(self.cx.outbox.outgoing.next_paced())
            .chain(self.cx.outbox.conns.next_sweep())
            .chain(self.bodies.streamed.next_look)
            .chain(self.cx.ledger.complaints.next_timeout())
            .chain(self.live.heartbeat.next_timeout(self.holds_anybody()))
            .chain(self.cx.servers.links.iter().filter_map(Link::next_timeout))
            .chain(self.cx.servers.links.iter().filter_map(|link| link.orphans.next_timeout()))
            .chain(self.live.decisions.next_timeout())
            .chain(self.live.sessions.next_timeout())
            .min()
    }
}
