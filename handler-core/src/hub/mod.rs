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
//! The parts at the bottom are fields of `Context`: `servers`, `apps`, `workers`, `outbox` and `ledger`. Beside each other
//! above it stand `exchange` (requests and responses), `bodies` (those that do not come whole in a message), `live` (the
//! connections that stay: WebSockets, sockets, sessions) and `lifecycle` (workers, code and its replacement). They do not
//! know each other: what one causes in another is an `Event`, and `settle` hands it over.
//!
//! `router` hands to the parts what comes from outside. `operator` is for people: what there is, in numbers, and what they
//! may do to it. Besides this file, methods of [`Hub`] stand in these two alone.

pub mod answers;
mod apps;
mod bodies;
mod body_files;
mod context;
mod effect;
mod event;
mod exchange;
mod ids;
mod ledger;
mod lifecycle;
mod limits;
mod live;
mod operator;
mod outbox;
mod request;
mod router;
mod servers;
#[cfg(test)]
mod tests;
mod workers;

pub use apps::app::AppSpec;
pub use apps::routes;
pub use apps::sharing::{Affinity, AffinityError, Sharing};
pub use effect::Effect;
pub use ids::{AppId, ConnKey, LinkId, RequestId, WorkerId};
pub use ledger::counters::Counters;
pub use ledger::taps::TapFilter;
pub use limits::{LimitValue, Limits};
pub use operator::execute::OperateError;
pub use operator::inspect;
pub use servers::capacity::Capacity;
pub use servers::hosts::{HostError, HostPattern, Hosts};
pub use servers::orphans::Present;

use bodies::{Bodies, complete};
use context::Context;
use event::Event;
use exchange::Exchange;
use kennel_http::proxies::TrustedProxies;
use lifecycle::{deaths, reload, stop};
use live::Live;
use outbox::flush::Outcome;
use servers::link::Link;
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
    /// A buffer, to be used again.
    outcomes: Vec<Outcome>,
    next_deadline_check: Option<Instant>,
    stopped: bool,
    /// How many events at the beginning wait for a call of [`settle`](Self::settle) that is under way.
    settled: usize,
}

impl Hub {
    /// How often deadlines of requests and the pulse of workers are looked at.
    pub const PULSE: Duration = Duration::from_millis(50);

    /// A hub for so many Mongrel2 Handlers. `boot` is any text that no other start of this hub
    /// ever had; it becomes part of connection names.
    pub fn new(limits: Limits, boot: &str, links: usize, apps: Vec<AppSpec>) -> Self {
        Self {
            live: Live::new(limits.rooms),
            exchange: Exchange::new(boot),
            bodies: Bodies::default(),
            cx: Context::new(limits, boot, links, apps),
            outcomes: Vec::new(),
            next_deadline_check: None,
            stopped: false,
            settled: 0,
        }
    }

    /// Says how the workers of an app share its requests. Called before its first code is loaded.
    pub fn set_sharing(&mut self, app: AppId, sharing: Sharing) {
        self.cx.apps[app].sharing = sharing;
    }

    /// Believes these proxies when they name a client: its address, scheme and host. From now on, limits per client
    /// address count all addresses. Without proxies, they do not count addresses of this machine and of private networks.
    pub fn set_trusted_proxies(&mut self, proxies: TrustedProxies) {
        self.cx.clients.trust(proxies);
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
        self.exchange.tell_raw_handler(&mut self.cx, now);
        self.settle(now);
        let has_requests = !self.exchange.requests.is_empty();
        self.with_live(now, |live, cx| live.beat(cx, has_requests, now));
        if let Some(due) = self.next_deadline_check.take_if(|due| *due <= now) {
            stop::excuse_pause(&mut self.cx, now - due);
            self.exchange.expire_requests(&mut self.cx, now);
            self.settle(now);
            stop::check_workers(&mut self.cx, now);
            self.settle(now);
            self.fill_all(now);
            self.bodies.spooled.measure_wanted(&mut self.cx);
        }
        self.look_at_bodies(now);
        self.go_on_searching(now);
        for (kind, held) in self.cx.ledger.complaints.take_held(now) {
            warn!(?kind, "{held} more complaints of this kind were not logged one by one");
        }
        deaths::fill_seats(&mut self.cx, now);
        self.look_at_idle(now);
        self.give_up_queues(now);
        self.grant_credits(now);
        self.with_live(now, |live, cx| live.pass_time_of_sessions(cx, now));
        self.with_live(now, |live, cx| live.flush_publishing(cx, now));
        self.with_live(now, |live, cx| live.answer_ready_polls(cx, now));
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

    /// Whether there are clients that wait for us, in whatever way.
    fn holds_clients(&self) -> bool {
        !self.live.lives.is_empty() || !self.exchange.requests.is_empty()
    }

    /// When [`finish_turn`](Self::finish_turn) has something to do though nothing happens.
    pub fn next_timeout(&self) -> Option<Instant> {
        let seats = self.cx.apps.list.iter().flat_map(|app| &app.seats).filter_map(|seat| seat.due);
        seats
            .chain(self.next_deadline_check)
            .chain(self.cx.outbox.outgoing.next_paced())
            .chain(self.cx.outbox.conns.next_sweep())
            .chain(self.bodies.next_timeout())
            .chain(self.cx.ledger.complaints.next_timeout())
            .chain(self.live.heartbeat.next_timeout())
            .chain(self.cx.servers.keep_alive.filter(|_| self.holds_clients()))
            .chain(self.cx.servers.links.iter().filter_map(Link::next_timeout))
            .chain(self.cx.servers.links.iter().filter_map(|link| link.orphans.next_timeout()))
            .chain(self.live.decisions.next_timeout())
            .chain(self.live.sessions.next_timeout())
            .min()
    }
}

impl Hub {
    /// Hands what the parts have to tell each other to those whom it concerns. What an event causes comes before the next
    /// one, as if the parts had called each other.
    #[inline]
    fn settle(&mut self, now: Instant) {
        if self.cx.events.len() > self.settled {
            self.handle_events(now);
        }
    }

    /// The events are a stack: the next one is the last. Those below `settled` wait for a call of this that is under way.
    fn handle_events(&mut self, now: Instant) {
        let base = self.settled;
        loop {
            if let Some(caused) = self.cx.events.get_mut(self.settled..)
                && caused.len() > 1
            {
                caused.reverse();
            }
            if self.cx.events.len() <= base {
                break;
            }
            let Some(event) = self.cx.events.pop() else { break };
            self.settled = self.cx.events.len();
            self.handle_event(event, now);
        }
        self.settled = base;
    }

    /// Lets the live connections do something, and hands on what that causes.
    fn with_live<R>(&mut self, now: Instant, act: impl FnOnce(&mut Live, &mut Context) -> R) -> R {
        let result = act(&mut self.live, &mut self.cx);
        self.settle(now);
        result
    }

    fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Closing(key) => self.exchange.drop_requests(&mut self.cx, key),
            Event::Gone(key) => self.drop_connection(key, now),
            Event::Ready(key) => self.exchange.advance(&mut self.cx, key, now),
            Event::Fail(request, status) => self.exchange.answer_with(&mut self.cx, request, status, now),
            Event::Answer(request, plan) => self.exchange.answer_plan(&mut self.cx, request, plan, now),
            Event::Call(called, asking) => self.live.answer_call(&mut self.cx, called, *asking, now),
            Event::Carried(called) => self.exchange.carry(&mut self.cx, called, now),
            Event::Hold(request, session) => self.exchange.hold(request, session),
            Event::AnswerAndClose(request, plan) => {
                self.exchange.answer_and_close(&mut self.cx, request, plan, now);
            }
            Event::Refuse(key, status) => self.exchange.answer_at_once(&mut self.cx, key, status, now),
            Event::RefuseWith(key, plan) => self.exchange.refuse_with(&mut self.cx, key, plan, now),
            Event::HeldGone(session, request) => self.live.poll_gone(session, request),
            Event::BodyUnwanted(request, key) => self.bodies.forget_by(request, key),
            Event::Requeue(request) => self.exchange.requeue(&mut self.cx, request, now),
            Event::LiveLost { worker, number, live, serial, hung } => {
                self.live.live_lost(&mut self.cx, (worker, number), live, serial, hung, now);
            }
            Event::WorkerHasRoom(worker) => {
                if let Some(app) = self.cx.workers.get(worker).map(|worker| worker.app) {
                    self.fill(worker, app, now);
                }
            }
            Event::AppHasRoom(app) => self.assign_waiting(app, now),
            Event::FailInTurn(request, status) => self.exchange.fail_in_turn(&self.cx, request, status),
            Event::BodyIsThere(request) => self.exchange.go_on_with_body(&mut self.cx, request, now),
            Event::BodyWhole(id, persistence, share) => {
                if let Some(request) = self.exchange.requests.get_mut(id) {
                    request.stored = share.unwrap_or(request.stored);
                    complete(&mut self.cx, id, request, persistence, now);
                }
            }
            Event::TakeOver(app) => self.take_over(app, now),
            Event::RegisterLate(app, registration) => self.register_late(app, *registration, now),
            Event::Seated(app, worker) => reload::seat(&mut self.cx, app, worker, now),
            Event::TakenOver(app) => self.live.live_taken_over(&mut self.cx, app, now),
            Event::RequestLost { number, request, hung, is_cut_off } => {
                self.request_lost(number, request, (hung, is_cut_off), now);
            }
            Event::WorkerGone(worker) => self.live.live_worker_gone(&mut self.cx, worker, now),
            Event::AppIsDown(app) => self.refuse_queue(app, now),
            Event::Hung { worker, running } => self.report_hung(worker, running),
            Event::TakenBack(worker, jobs) => self.take_back_all(worker, &jobs, now),
            Event::Stopping => {
                self.live.close_all_live(&mut self.cx, now);
                self.give_up_bodies(now);
            }
            Event::StopIdle => self.stop_idle_workers(now),
            Event::BodyEnds(key, request, why) => self.end_body(key, request, why, now),
            Event::RefuseBody(request, status) => self.refuse_body(request, status, now),
            Event::Opened(number) => {
                if let Some(id) = self.live.by_number(number) {
                    self.live.bosh_opened(&mut self.cx, id, now);
                }
            }
            Event::CloseLive(number, code, reason) => {
                if let Some(id) = self.live.by_number(number) {
                    self.live.close_live(&mut self.cx, id, code, reason, now);
                }
            }
            Event::EndLive(number, code, reason) => {
                if let Some(id) = self.live.by_number(number) {
                    self.live.finish_live(&mut self.cx, id, code, reason, now);
                }
            }
        }
    }
}
