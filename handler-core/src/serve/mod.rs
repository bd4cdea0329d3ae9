//! The poll loop: the one place where sockets, clocks and processes meet the hub.
//!
//! One thread sleeps in one epoll over the servers' connections, the workers' socket pairs and the
//! inputs of the program (signals, a file watcher). What it reads it gives to the [`Hub`]; what the
//! hub wants done it does. Everything worth a decision is decided in the hub, or by the program's
//! [`Observer`].
//!
//! * `plan`: what is served, and the sockets by which the program and others speak to the loop;
//! * `observer`: what the program learns and decides;
//! * `seats`: the worker processes;
//! * `console`, `orders`, `reloads`, `simulated`: operators, what they order, and what takes longer than a line;
//! * `scrapers`, `numbers`: metrics by HTTP, and where their numbers come from;
//! * `roll_calls`: who is still connected to a server, asked in a thread;
//! * `files`: what hub and disk have to do with each other, in a thread;
//! * `date`: the time of day.
//!
//! The loop itself is here.

mod console;
#[cfg(test)]
mod contract;
mod date;
mod files;
mod numbers;
mod observer;
mod orders;
mod plan;
mod reloads;
mod roll_calls;
mod scrapers;
mod seats;
mod simulated;

pub use observer::{Ending, Observer, ServeError};
pub use plan::{App, ConsoleSocket, Inputs, Plan};
pub use roll_calls::AskWhoIsThere;

use crate::hub::{AppId, Capacity, Effect, Hub, LinkId};
use crate::transport::{Event, Gone, Mongrel2s, system_resolver};
use crate::worker::protocol::Start;
use crate::worker::surroundings::entropy;
use console::Console;
use files::{Done, Files};
use numbers::Turns;
use orders::Desk;
use roll_calls::RollCalls;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use scrapers::Scrapers;
use seats::Seats;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{error, info};

/// How long those that have loaded wait for one that has neither loaded nor failed, if the plan is [partial](Plan::partial).
const START_PATIENCE: Duration = Duration::from_secs(3);

const STOP: u64 = 0;
const RELOAD: u64 = 1;
const COMPANION: u64 = 2;
const ROLL_CALLS: u64 = 3;
const FILES: u64 = 4;
const NAMES: u64 = 5;
const LINKS: u64 = 8;
/// Workers' tokens begin here; links stay below.
const WORKERS: u64 = 1 << 32;
/// The console's begin here; workers' stay below.
const CONSOLE: u64 = 1 << 40;
/// Those of whoever reads the metrics begin here; the console's stay below.
const METRICS: u64 = 1 << 41;

/// Serves until told to stop.
///
/// # Errors
///
/// [`ServeError`] when an address is wrong or the system runs out of descriptors.
pub fn run(plan: Plan, inputs: Inputs, observer: &mut dyn Observer) -> Result<Ending, ServeError> {
    Loop::new(plan, inputs)?.run(observer)
}

struct Loop {
    poller: OwnedFd,
    hub: Hub,
    servers: Mongrel2s,
    seats: Seats,
    roll_calls: RollCalls,
    files: Files,
    inputs: Inputs,
    console: Console,
    scrapers: Option<Scrapers>,
    turns: Turns,
    /// The link that has no server.
    own_link: LinkId,
    apps: Vec<App>,
    ready_apps: Vec<bool>,
    /// Apps whose first code is ready, or did not load.
    decided_apps: Vec<bool>,
    /// Servers are connected to.
    connects: bool,
    partial: bool,
    ready: bool,
    started: Instant,
    told_waiting: bool,
    last_pulse: Instant,
    date_second: u64,
    stops: u32,
    end: Option<Ending>,
}

impl Loop {
    fn new(plan: Plan, mut inputs: Inputs) -> Result<Self, ServeError> {
        let now = Instant::now();
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        for (socket, token) in [(&inputs.stop, STOP), (&inputs.reload, RELOAD)] {
            socket.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(token);
            epoll::add(&poller, socket, data, epoll::EventFlags::IN).map_err(io::Error::from)?;
        }
        let roll_calls = RollCalls::new()?;
        let data = epoll::EventData::new_u64(ROLL_CALLS);
        epoll::add(&poller, roll_calls.descriptor(), data, epoll::EventFlags::IN).map_err(io::Error::from)?;
        let specs: Vec<_> = plan.apps.iter().map(|app| app.spec.clone()).collect();
        let boot = format!("{:x}{:x}", date::unix_nanos() / 1_000_000, std::process::id());
        // One link more, for the made-up requests of the console.
        let own_link = LinkId(plan.endpoints.len() as u16);
        let mut hub = Hub::new(plan.limits, &boot, plan.endpoints.len() + 1, specs);
        for (app, plan) in plan.apps.iter().enumerate() {
            hub.set_sharing(AppId(app as u16), plan.sharing.clone());
        }
        hub.open_own_link(own_link);
        hub.set_session_key(&entropy()?);
        for (link, endpoint) in plan.endpoints.iter().enumerate() {
            if let Some(folder) = &endpoint.upload_store {
                hub.set_upload_store(LinkId(link as u16), folder.clone());
            }
            if endpoint.is_sole {
                hub.set_sole_handler(LinkId(link as u16));
            }
            hub.set_capacity(LinkId(link as u16), endpoint.places.map(Capacity::of_places));
        }
        if let Some(folder) = plan.bodies {
            hub.set_body_folder(folder);
        }
        if let Some(proxies) = plan.proxies {
            hub.set_trusted_proxies(proxies);
        }
        if let Some(hosts) = plan.hosts {
            hub.allow_hosts_only(hosts);
        }
        let servers = Mongrel2s::new(plan.endpoints, LINKS, system_resolver(), now)?;
        let data = epoll::EventData::new_u64(NAMES);
        epoll::add(&poller, servers.names(), data, epoll::EventFlags::IN).map_err(io::Error::from)?;
        let files = Files::new()?;
        let data = epoll::EventData::new_u64(FILES);
        epoll::add(&poller, files.descriptor(), data, epoll::EventFlags::IN).map_err(io::Error::from)?;
        let console = Console::new(std::mem::take(&mut inputs.consoles), CONSOLE, &poller)?;
        let metrics = inputs.metrics.take();
        let scrapers = metrics.map(|listener| Scrapers::new(listener, METRICS, &poller)).transpose()?;
        let turns = Turns {
            began: date::unix_nanos() as f64 / 1e9,
            dropped_log_lines: Arc::clone(&inputs.dropped_log_lines),
            ..Turns::default()
        };
        Ok(Self {
            poller,
            console,
            scrapers,
            turns,
            own_link,
            hub,
            servers,
            seats: Seats::new(inputs.output.take()),
            roll_calls,
            files,
            inputs,
            ready_apps: vec![false; plan.apps.len()],
            decided_apps: vec![false; plan.apps.len()],
            connects: false,
            partial: plan.partial,
            apps: plan.apps,
            ready: false,
            started: now,
            told_waiting: false,
            last_pulse: now,
            date_second: 0,
            stops: 0,
            end: None,
        })
    }

    fn run(mut self, observer: &mut dyn Observer) -> Result<Ending, ServeError> {
        self.watch_companion(observer)?;
        for app in self.hub.app_ids() {
            self.hub.load_app(app, self.started);
        }
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        let mut now = self.started;
        loop {
            if self.connects {
                let hub = &mut self.hub;
                self.servers
                    .connect(&self.poller, now, |link| hub.handle_server_down(LinkId(link as u16), now));
            }
            if self.stops == 0 && observer.companion_due().is_some_and(|due| due <= now) {
                observer.start_companion(now);
                self.watch_companion(observer)?;
            }
            self.turn(observer, now)?;
            if let Some(ending) = self.end {
                self.servers.close(&self.poller, Duration::from_secs(1));
                return Ok(ending);
            }
            // Until the first code is there (or is known to be broken), requests wait in Mongrel2.
            if !self.connects && self.may_connect(now) {
                self.connects = true;
                continue;
            }

            let done = Instant::now();
            self.turns.observe(done.saturating_duration_since(now));
            let awake = if self.seats.wait_for_held(now) { Instant::now() } else { done };
            let timeout = self
                .timeout(awake, &*observer)
                .map(|time| Timespec::try_from(time).unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 }));
            events.clear();
            match epoll::wait(&self.poller, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            now = Instant::now();
            self.update_date();
            for event in &events {
                self.handle_token(event.data.u64(), observer, now)?;
            }
            for token in self.console.take_unfinished() {
                self.service_console(token, observer, now);
            }
        }
    }

    /// Lets the hub finish its turn and does what it wants done.
    fn turn(&mut self, observer: &mut dyn Observer, now: Instant) -> Result<(), ServeError> {
        if now.duration_since(self.last_pulse) >= Hub::PULSE {
            self.last_pulse = now;
            self.seats.look(&mut self.hub, &mut self.files, now);
            let busy: Vec<_> = self.hub.busy_workers().collect();
            for worker in busy {
                if let Some(pulse) = self.seats.pulse(worker) {
                    self.hub.handle_pulse(worker, pulse, now);
                }
            }
        }
        let mut undelivered = Vec::new();
        loop {
            self.hub.finish_turn(now);
            let servers = &mut self.servers;
            let (console, own_link) = (&mut self.console, self.own_link);
            self.hub.drain_replies(|link, reply| {
                if link == own_link {
                    console.take_reply(reply);
                    return;
                }
                if let Err(Gone) = servers.send(usize::from(link.0), reply) {
                    undelivered.push(link);
                }
            });
            for link in undelivered.drain(..) {
                self.hub.handle_undelivered(link, now);
            }
            let hub = &mut self.hub;
            self.servers.flush(&self.poller, now, |link| hub.handle_server_down(LinkId(link as u16), now));
            for link in 0..self.servers.endpoints().count() {
                self.hub.handle_backlog(LinkId(link as u16), self.servers.unsent(link));
            }
            self.seats.write_orders(&mut self.hub, &self.poller, WORKERS, now);
            let mut acted = false;
            while let Some(effect) = self.hub.poll_effect() {
                acted = true;
                self.perform(effect, observer, now)?;
            }
            if !acted {
                break;
            }
        }
        self.console.finish_turn(&mut self.hub, &self.poller, now);
        if let Some(scrapers) = &mut self.scrapers {
            scrapers.finish_turn(&self.poller, now);
        }
        self.check_ready(observer, now);
        Ok(())
    }

    fn perform(
        &mut self,
        effect: Effect,
        observer: &mut dyn Observer,
        now: Instant,
    ) -> Result<(), ServeError> {
        match effect {
            Effect::StartWorker { worker, app, number } => {
                let app = &self.apps[usize::from(app.0)];
                let start = Start { number, ..app.start.clone() };
                match self.seats.start(worker, &app.command, &start, &self.poller, WORKERS) {
                    Ok(()) => {}
                    Err(problem) => {
                        let program = app.command.program.to_string_lossy().into_owned();
                        let text = format!("cannot start a worker (`{program}`): {problem}");
                        self.hub.handle_start_failed(worker, &text, now);
                    }
                }
            }
            Effect::KillWorker(worker) => self.seats.kill(worker),
            Effect::Revoke { worker, serial } => {
                if let Some(started) = self.seats.revoke(worker, serial) {
                    self.hub.handle_revoked(worker, started, now);
                }
            }
            Effect::AppReady(app) => {
                self.decided_apps[usize::from(app.0)] = true;
                self.console.take_loaded(app, &Ok(self.hub.seats(app)));
                if std::mem::replace(&mut self.ready_apps[usize::from(app.0)], true) || self.ready {
                    observer.reloaded(&self.hub, app);
                }
            }
            Effect::AppFailed(app, failure) => {
                self.decided_apps[usize::from(app.0)] = true;
                self.console.take_loaded(app, &Err(failure.to_string()));
                let first = !self.ready_apps[usize::from(app.0)];
                if observer.load_failed(&mut self.hub, app, &failure, first).is_break() {
                    self.seats.kill_all();
                    self.end = Some(Ending::Broken);
                }
            }
            Effect::Evaluated { query, result } => {
                self.console.take_evaluated(query, result);
            }
            Effect::AskWhoIsThere(link) => {
                let endpoint = self.servers.endpoints().nth(usize::from(link.0));
                if let Some(question) = endpoint.and_then(|endpoint| observer.roll_call(endpoint)) {
                    self.roll_calls.ask(link, question);
                }
            }
            Effect::DeleteFile(path) => self.files.delete(path),
            Effect::WriteFile { key, path, bytes, last } => self.files.write(key, path, bytes, last),
            Effect::ReadFile { request, path, max } => self.files.read(request, path, max),
            // Before the next request of the connection, which may be at hand: so this one look is not left to the thread.
            Effect::Measure { key, path, whole: true } => {
                let size = files::measured(&path);
                self.hub.handle_measured(key, &path, true, size, now);
            }
            Effect::Measure { key, path, whole } => self.files.measure(key, path, whole),
            Effect::Stopped => self.end = Some(Ending::Stopped),
        }
        Ok(())
    }

    /// Whether it is known of each app that it serves or does not, or of enough.
    fn may_connect(&self, now: Instant) -> bool {
        let waited = self.partial && now.saturating_duration_since(self.started) >= START_PATIENCE;
        self.decided_apps.iter().all(|decided| *decided) || (waited && self.ready_apps.contains(&true))
    }

    fn check_ready(&mut self, observer: &mut dyn Observer, now: Instant) {
        if self.ready {
            return;
        }
        let apps = if self.partial { &self.decided_apps } else { &self.ready_apps };
        if self.servers.all_up() && apps.iter().all(|ready| *ready) {
            self.ready = true;
            for (link, endpoint) in self.servers.endpoints().enumerate() {
                observer.connected(endpoint, self.servers.process(link));
            }
            observer.ready(&self.hub);
        } else if !self.told_waiting && now.duration_since(self.started) >= Duration::from_secs(1) {
            self.told_waiting = true;
            for (link, endpoint) in self.servers.endpoints().enumerate() {
                if !self.servers.is_up(link) {
                    observer.waiting(endpoint);
                }
            }
        }
    }

    fn handle_token(
        &mut self,
        token: u64,
        observer: &mut dyn Observer,
        now: Instant,
    ) -> Result<(), ServeError> {
        match token {
            STOP => {
                for _ in 0..words(&mut self.inputs.stop) {
                    self.stop(now);
                }
            }
            RELOAD => {
                if words(&mut self.inputs.reload) > 0 {
                    info!("loading the newest code");
                    observer.reload_asked();
                    for app in self.hub.app_ids() {
                        self.hub.load_app(app, now);
                    }
                }
            }
            COMPANION => {
                if self.stops == 0 && observer.companion_ended(now).is_break() {
                    self.seats.kill_all();
                    self.end = Some(Ending::Broken);
                }
            }
            ROLL_CALLS => {
                for (link, present) in self.roll_calls.answers() {
                    let ids: Vec<u32> = present.iter().map(|present| present.id).collect();
                    self.hub.handle_roll_call(link, &ids, now);
                    self.hub.handle_present(link, &present, now);
                }
            }
            NAMES => self.servers.take_names(now),
            FILES => {
                for done in self.files.take_done() {
                    match done {
                        Done::Written { key, path, result } => {
                            self.hub.handle_written(key, &path, result, now);
                        }
                        Done::Read { request, path, result } => {
                            self.hub.handle_read(request, &path, result, now);
                        }
                        Done::Measured { key, path, whole, size } => {
                            self.hub.handle_measured(key, &path, whole, size, now);
                        }
                    }
                }
            }
            METRICS.. => {
                if let Some(scrapers) = &mut self.scrapers {
                    let (hub, servers, turns) = (&self.hub, &self.servers, &self.turns);
                    let page = || crate::metrics::text(&numbers::gather(hub, servers, turns));
                    scrapers.service(token, &self.poller, now, page);
                }
            }
            CONSOLE.. => self.service_console(token, observer, now),
            WORKERS.. => self.seats.read(token - WORKERS, &mut self.hub, &mut self.files, now),
            token => self.service_link(token, now),
        }
        Ok(())
    }

    fn service_console(&mut self, token: u64, observer: &mut dyn Observer, now: Instant) {
        let (hub, seats, apps) = (&mut self.hub, &self.seats, &self.apps);
        let (servers, turns) = (&self.servers, &self.turns);
        let (started, link, only) = (self.started, self.own_link, None);
        let mut desk = Desk { hub, seats, apps, servers, turns, observer, link, token, started, now, only };
        self.console.service(token, &self.poller, &mut desk);
    }

    fn service_link(&mut self, token: u64, now: Instant) {
        let hub = &mut self.hub;
        self.servers.service(&self.poller, token, now, |link, event| {
            let link = LinkId(link as u16);
            match event {
                Event::Up(subscription) => hub.handle_server_up(link, subscription),
                Event::Down => hub.handle_server_down(link, now),
                Event::Message(message) => hub.handle_message(link, message, now),
            }
        });
    }

    fn stop(&mut self, now: Instant) {
        self.stops += 1;
        if self.stops == 1 {
            info!("stopping: what runs may finish");
            if !self.hub.expects_credits() {
                // What has arrived is served: to lose it would be to lose it in silence. What has not
                // stays in Mongrel2 for whoever comes next.
                let hub = &mut self.hub;
                self.servers
                    .stop_receiving(|link, message| hub.handle_message(LinkId(link as u16), message, now));
            }
            self.hub.begin_stop(now);
            self.console.give_up_reloads();
        } else {
            self.hub.stop_at_once();
        }
    }

    fn watch_companion(&self, observer: &dyn Observer) -> io::Result<()> {
        if let Some(descriptor) = observer.companion() {
            let data = epoll::EventData::new_u64(COMPANION);
            epoll::add(&self.poller, descriptor, data, epoll::EventFlags::IN | epoll::EventFlags::ONESHOT)?;
        }
        Ok(())
    }

    fn timeout(&mut self, now: Instant, observer: &dyn Observer) -> Option<Duration> {
        if self.hub.has_work(now) {
            return Some(Duration::ZERO);
        }
        let waiting = (!self.ready && !self.told_waiting).then(|| self.started + Duration::from_secs(1));
        let servers = self.servers.next_timeout().filter(|_| self.connects);
        let console = self.console.next_timeout(now);
        let companion = observer.companion_due().filter(|_| self.stops == 0);
        let scrapers = self.scrapers.as_ref().and_then(Scrapers::next_timeout);
        let begins = (self.partial && !self.connects && self.ready_apps.contains(&true))
            .then(|| self.started + START_PATIENCE);
        [
            self.hub.next_timeout(),
            servers,
            self.seats.next_timeout(),
            waiting,
            begins,
            scrapers,
            console,
            companion,
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|due| due.saturating_duration_since(now))
    }

    fn update_date(&mut self) {
        let second = date::unix_nanos() as u64 / 1_000_000_000;
        if second != self.date_second {
            self.date_second = second;
            self.hub.set_date(kennel_http::dates::format(second));
        }
    }
}

/// How many bytes there are to read.
fn words(socket: &mut UnixStream) -> usize {
    let mut bytes = [0; 64];
    match socket.read(&mut bytes) {
        Ok(0) => {
            error!("the program closed its side of an input");
            0
        }
        Ok(count) => count,
        Err(_) => 0,
    }
}
