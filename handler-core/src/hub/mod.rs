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
//! `router`, `uploads`, `processes` and `links` hand what comes from outside to the parts. `operator` is for people: what
//! there is, in numbers, and what they may do to it.

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
mod links;
mod live;
mod operator;
mod outbox;
mod processes;
mod request;
mod router;
mod servers;
mod shims_live;
#[cfg(test)]
mod tests;
mod uploads;
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
use exchange::raw_clients::disconnect;
use ids::LiveId;
use kennel_http::proxies::TrustedProxies;
use ledger::about::log_about;
use ledger::counters::Complaint;
use lifecycle::{deaths, reload, stop};
use live::Live;
use mongrel2_wire::{Envelope, Head};
use outbox::Outbox;
use outbox::connection::Conn;
use outbox::flush::{Outcome, Sending, Source};
use outbox::stalled::{GivenUp, Why};
use servers::link::Link;
use std::time::{Duration, Instant};
use tracing::{info, warn};
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
        self.beat(!self.exchange.requests.is_empty(), now);
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

/// Live connections as the source of what is written when it can leave.
struct FromLive<'a> {
    live: &'a mut Live,
    limits: &'a Limits,
}

impl Source for FromLive<'_> {
    fn fill(&mut self, conn: &mut Conn, now: Instant) {
        self.live.fill_stream(conn, self.limits, now);
    }

    fn pinged(&self, conn: &Conn) -> Option<LiveId> {
        conn.live.or(conn.carries.filter(|id| self.live.lives.is_on_line(*id)))
    }

    fn begin_ping(&mut self, live: LiveId) -> bool {
        self.live.lives.begin_ping(live)
    }
}

impl Hub {
    /// Hands out the replies of this turn, each with its link, in order.
    pub fn drain_replies(&mut self, send: impl FnMut(LinkId, &[u8])) {
        self.cx.outbox.drain_replies(send);
    }

    /// Whether connections wait for a server that takes more now: another turn is worth it, though nothing happened.
    pub fn has_work(&mut self, now: Instant) -> bool {
        self.cx.outbox.has_work(&mut self.cx.servers, now) || self.has_polls_to_answer()
    }

    /// Puts together what connections have to send.
    fn flush(&mut self, now: Instant) {
        self.cx.outbox.wake_paced(now);
        loop {
            // Flushing may let a connection go on, and its next answer may be the hub's own.
            while self.cx.outbox.is_dirty() {
                self.flush_with(|outbox, with, now| outbox.flush_dirty(with, now), now);
            }
            self.flush_with(|outbox, with, now| outbox.flush_waiting(with, now), now);
            if !self.cx.outbox.is_dirty() {
                break;
            }
        }
        self.cx.outbox.end_flush(&self.cx.servers);
    }

    fn flush_with(
        &mut self,
        flush: impl FnOnce(&mut Outbox, &mut Sending<'_, FromLive<'_>>, Instant),
        now: Instant,
    ) {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let mut with = Sending {
            servers: &mut self.cx.servers,
            workers: &mut self.cx.workers,
            source: FromLive { live: &mut self.live, limits: &self.cx.limits },
            outcomes: &mut outcomes,
        };
        flush(&mut self.cx.outbox, &mut with, now);
        for outcome in outcomes.drain(..) {
            self.handle_outcome(outcome, now);
        }
        self.outcomes = outcomes;
    }

    fn handle_outcome(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Ready(key) => self.cx.events.push(Event::Ready(key)),
            Outcome::Closed(key) => {
                // A live connection ends before its close is sent; but others can close it too: an answer to HTTP that
                // came by the same connection, a raw script.
                self.exchange.raw_clients.forget(key);
                self.live_disconnected(key, now);
                if let Some(id) = self.cx.outbox.conns.map.get(&key).and_then(|conn| conn.carries) {
                    self.live.stream_gone(id, key);
                }
                self.exchange.drop_requests(&mut self.cx, key);
                // Raw messages that came before the close still reach their script.
                self.cx.events.push(Event::Ready(key));
            }
            Outcome::Dropped(key, dropped) => {
                let about = self.about_connection(key);
                log_about!(warn, about, "dropped {dropped} messages in all: the client did not read");
            }
        }
        self.settle(now);
    }

    /// Gives up clients that take nothing, and forgets connections of which nothing is left to do.
    fn look_at_idle(&mut self, now: Instant) {
        for GivenUp { key, waiting, why } in self.cx.outbox.look_at_idle(&self.cx.servers, now) {
            if waiting > 0 {
                self.cx.ledger.counters.overflowed += 1;
                if self.cx.ledger.complaints.pass(Complaint::Overflow, now) {
                    let about = self.about_connection(key);
                    match why {
                        Why::ReadsNothing => log_about!(
                            warn,
                            about,
                            waiting,
                            "dropped and closed: the client has read nothing for minutes"
                        ),
                        Why::ServerIsFull => log_about!(
                            warn,
                            about,
                            waiting,
                            "dropped and closed: too much waits for this server's clients, and this one does not read"
                        ),
                    }
                }
            }
            self.live_disconnected(key, now);
            self.drop_connection(key, now);
        }
        for (id, unproven) in self.cx.outbox.conns.released.drain(..) {
            self.live.lives.stop_waiting(id, unproven);
        }
    }

    /// Sends the same bytes to many connections of one server.
    fn multicast(&mut self, keys: &[ConnKey], payload: &[u8], now: Instant) {
        let (lives, cx) = (&mut self.live.lives, &mut self.cx);
        // What it is sent as a live connection counts too.
        let enter = |key, conn: &mut Conn| lives.enter(key, conn, now);
        for (key, waiting) in cx.outbox.multicast(&mut cx.servers, keys, payload, enter, now) {
            self.cx.ledger.counters.overflowed += 1;
            if self.cx.ledger.complaints.pass(Complaint::Overflow, now) {
                let about = self.about_connection(key);
                log_about!(warn, about, waiting, "closed: too much waits for this client");
            }
        }
    }
}

impl Hub {
    /// Hands what the parts have to tell each other to those whom it concerns. What an event causes comes before the next
    /// one, as if the parts had called each other.
    fn settle(&mut self, now: Instant) {
        // The events are a stack: the next one is the last. Those below `base` wait for a call of this that is under way.
        let base = self.settled;
        loop {
            self.cx.events[self.settled..].reverse();
            if self.cx.events.len() <= base {
                break;
            }
            let Some(event) = self.cx.events.pop() else { break };
            self.settled = self.cx.events.len();
            self.handle_event(event, now);
        }
        self.settled = base;
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
                self.live_lost((worker, number), live, serial, hung, now);
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
            Event::TakenOver(app) => self.live_taken_over(app, now),
            Event::RequestLost { number, request, hung, is_cut_off } => {
                self.request_lost(number, request, (hung, is_cut_off), now);
            }
            Event::WorkerGone(worker) => self.live_worker_gone(worker, now),
            Event::AppIsDown(app) => self.refuse_queue(app, now),
            Event::Hung { worker, running } => self.report_hung(worker, running),
            Event::TakenBack(worker, jobs) => self.take_back_all(worker, &jobs, now),
            Event::Stopping => {
                self.close_all_live(now);
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

/// What comes to live connections from outside.
impl Hub {
    /// Takes sessions of event streams and long polls from now on. `key`: bytes that nobody else knows, new for each start.
    pub fn set_session_key(&mut self, key: &[u8; 32]) {
        self.live.set_session_key(key);
        self.cx.has_sessions = true;
    }

    /// How many entries there are of what is due for sessions.
    #[cfg(test)]
    fn planned_for_sessions(&self) -> usize {
        self.live.planned_for_sessions()
    }

    /// The numbers of all connections that the server of `link` had when it was asked, after
    /// [`AskWhoIsThere`](Effect::AskWhoIsThere). Those that were held and are not among them end as if it had told.
    pub fn handle_roll_call(&mut self, link: LinkId, present: &[u32], now: Instant) {
        let Some(sender) = self.cx.servers[link].sender.clone() else { return };
        let Some((gone, others)) = self.live.take_roll_call(&self.cx, link, present) else { return };
        self.cx.servers[link].load.note_others(others);
        let mut found = 0u64;
        for key in gone {
            // Others may have ended with one before.
            if self.live.is_held(&self.cx, key) {
                found += 1;
                self.handle_disconnect(key, &disconnect(sender.as_str(), key.id), now);
            }
        }
        if found > 0 {
            self.cx.ledger.counters.untold += found;
            let connections = if found == 1 { "connection is" } else { "connections are" };
            info!(link = link.0, "{found} {connections} gone, of which mongrel2 has not told");
        }
    }

    /// A WebSocket handshake. `false`: no channel takes it.
    fn handle_handshake(
        &mut self,
        key: ConnKey,
        (envelope, head): (&Envelope<'_>, &Head<'_>),
        message: &[u8],
        now: Instant,
    ) -> bool {
        if self.cx.apps.channel_for(envelope, head).is_none() {
            return false;
        }
        let carries = |conn: &Conn| conn.carries.is_some();
        if self.live_disconnected(key, now) || self.cx.outbox.conns.map.get(&key).is_some_and(carries) {
            // Mongrel2 gave the number to somebody else, so its last owner is gone.
            self.drop_connection(key, now);
        }
        let taken = self.live.handle_handshake(&mut self.cx, key, envelope, head, message, now);
        self.settle(now);
        taken
    }
}
