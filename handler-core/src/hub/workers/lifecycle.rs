//! Workers and the code that they run: started, ready, in charge, draining, gone.
//!
//! Each app has seats. A dead worker's seat is filled again, at once if it had served. A reload
//! starts a worker for every seat beside those in charge; only when all of them are ready do they
//! take the seats, and the old ones finish what they run. Code that does not load changes nothing.

use crate::hub::Hub;
use crate::hub::apps::app::{App, Incoming, Seat};
use crate::hub::apps::channels::Channels;
use crate::hub::apps::routes::{RouteError, Routes};
use crate::hub::effect::Effect;
use crate::hub::ids::Job;
use crate::hub::ids::{AppId, WorkerId};
use crate::hub::ledger::about::{About, log_about};
use crate::hub::outbox::connection::Conn;
use crate::hub::workers::worker::{Stage, Worker};
use crate::worker::page::Pulse;
use crate::worker::protocol::{LoadFailure, Registration, encode_lead, encode_stop};
use crate::worker::restart::Backoff;
use crate::worker::standing::{Standing, died_while_loading, not_loaded};
use kennel_http::percent::normal_path;
use rustc_hash::FxHashSet;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

impl Hub {
    /// Starts the newest code of an app, beside what runs: its first workers, or a reload.
    pub fn load_app(&mut self, app: AppId, now: Instant) {
        if self.cx.stopping.is_some() {
            return;
        }
        if let Some(incoming) = self.cx.apps[app].incoming.take() {
            incoming.workers.into_iter().for_each(|worker| self.kill(worker));
        }
        let count = self.cx.apps[app].first_workers();
        let workers = (1..=count).map(|number| self.start_worker(app, number, now)).collect();
        self.cx.apps[app].incoming = Some(Incoming { workers, registration: None });
    }

    /// Shows `page` (HTML) to every client of the app until newer code is in charge; none: answers again.
    pub fn set_broken(&mut self, app: AppId, page: Option<String>) {
        self.cx.apps[app].broken = page;
    }

    /// What a handshake on a path (raw as in a request) without a channel is answered: the path may be that of an app of which
    /// no code has loaded.
    pub(in crate::hub) fn status_without_channel(&self, path: &[u8]) -> u16 {
        let path = normal_path(path);
        let mut owners = self.cx.apps.order.iter().map(|app| &self.cx.apps[*app]);
        match owners.find(|app| app.routes.is_under_mount(&path)).filter(|app| !app.is_loaded()) {
            None => 404,
            Some(app) if app.broken.is_some() => 500,
            Some(_) => 503,
        }
    }

    /// Whether an app's code is, or has been, in charge.
    pub fn is_loaded(&self, app: AppId) -> bool {
        self.cx.apps[app].is_loaded()
    }

    /// Whether it stops.
    pub fn is_stopping(&self) -> bool {
        self.cx.stopping.is_some()
    }

    /// How many workers run the code of an app.
    pub fn seats(&self, app: AppId) -> usize {
        self.cx.apps[app].seats.len()
    }

    /// Begins to stop: nothing new is taken, what runs may finish.
    pub fn begin_stop(&mut self, now: Instant) {
        if self.cx.stopping.is_some() {
            return;
        }
        self.cx.stopping = Some(now);
        for app in self.app_ids() {
            if let Some(incoming) = self.cx.apps[app].incoming.take() {
                incoming.workers.into_iter().for_each(|worker| self.kill(worker));
            }
            let seats = self.cx.apps[app].seats.iter_mut();
            let successors: Vec<_> = seats
                .filter_map(|seat| {
                    seat.due = None;
                    seat.successor.take()
                })
                .collect();
            successors.into_iter().for_each(|worker| self.kill(worker));
        }
        self.close_all_live(now);
        self.give_up_bodies(now);
        self.stop_idle_workers(now);
    }

    /// Under a stop, tells workers to end when no request waits for their app any more.
    fn stop_idle_workers(&mut self, now: Instant) {
        for app in self.app_ids() {
            let state = &self.cx.apps[app];
            let app_is_busy = !state.queue.is_empty()
                || self.has_live_work(app, self.has_hope(app))
                || self
                    .exchange
                    .requests
                    .iter()
                    .any(|(_, request)| request.place == crate::hub::request::Place::Pipeline);
            if !app_is_busy {
                let seated: Vec<_> = state.seats.iter().filter_map(|seat| seat.worker).collect();
                seated.into_iter().for_each(|worker| self.drain(worker, now));
            }
        }
    }

    /// Whether a Mongrel2 counts what its clients have not read: then what was sent to them has arrived
    /// only when its notices say so, and a stop has to go on listening.
    pub fn expects_credits(&self) -> bool {
        self.cx.servers.links.iter().any(|link| link.up && link.flow_control)
    }

    /// Whether a worker of this app takes jobs, or may do so yet.
    fn has_hope(&self, app: AppId) -> bool {
        let stages = self.cx.apps[app].seats.iter().filter_map(|seat| seat.worker);
        let mut stages = stages.map(|id| self.cx.workers[id].stage);
        stages.any(|stage| matches!(stage, Stage::Loading { .. } | Stage::Ready { .. }))
    }

    /// Under a stop, answers requests that no worker will ever take.
    pub(in crate::hub) fn give_up_queues(&mut self, now: Instant) {
        if self.cx.stopping.is_none() {
            return;
        }
        for app in self.app_ids() {
            if !self.has_hope(app) {
                while let Some(request) = self.cx.apps[app].queue.pop_front() {
                    self.refuse_overload(request, "kennel stops, and no worker is left", now);
                }
            }
        }
    }

    pub(in crate::hub) fn check_stopped(&mut self, now: Instant) {
        let Some(since) = self.cx.stopping.filter(|_| self.cx.workers.is_empty() && !self.stopped) else {
            return;
        };
        let out_of_time = now >= since + self.cx.limits.stop_time + self.cx.limits.hook_time;
        let delivered =
            self.exchange.requests.is_empty() && self.cx.outbox.conns.map.values().all(Conn::is_delivered);
        if out_of_time || delivered {
            self.stopped = true;
            match self.cx.ledger.counters.summary() {
                nothing if nothing.is_empty() => info!("stopped: nothing was asked"),
                counts => info!("stopped: {counts}"),
            }
            self.cx.effects.push_back(Effect::Stopped);
        }
    }

    fn start_worker(&mut self, app: AppId, number: u32, now: Instant) -> WorkerId {
        let worker = self.cx.workers.insert(Worker::new(app, number, now));
        self.cx.effects.push_back(Effect::StartWorker { worker, app, number });
        worker
    }

    /// The bytes to write to a worker, to be emptied by whoever writes them, and the serial of the last
    /// job among them or before.
    pub fn take_orders(&mut self, worker: WorkerId) -> Option<(&mut Vec<u8>, u64)> {
        self.cx.workers.get_mut(worker).map(|worker| (&mut worker.orders, worker.serial))
    }

    pub(in crate::hub) fn handle_ready(&mut self, id: WorkerId, registration: Registration, now: Instant) {
        let worker = &mut self.cx.workers[id];
        let is_new = matches!(worker.stage, Stage::Loading { .. });
        match worker.stage {
            Stage::Loading { .. } => {
                worker.stage = Stage::Ready { since: now };
                worker.served_since = Some(now);
            }
            Stage::Ready { .. } if !registration.provisional => {}
            _ => return,
        }
        let app_id = worker.app;
        let app = &mut self.cx.apps[app_id];
        if let Some(incoming) = app.incoming.as_mut().filter(|incoming| incoming.workers.contains(&id)) {
            let known = incoming.registration.get_or_insert_with(|| registration.clone());
            if known.provisional {
                *known = registration;
            } else if !registration.provisional && *known != registration {
                let message = "its workers registered different routes; every worker must register the same \
                               ones in the same order (a walk with pairs() has none)";
                let failure = LoadFailure { message: message.to_owned(), ..LoadFailure::default() };
                self.handle_failed(id, failure, now);
                return;
            }
            self.adjust_incoming(app_id, now);
            let ready = |id: &WorkerId| matches!(self.cx.workers[*id].stage, Stage::Ready { .. });
            let incoming = self.cx.apps[app_id].incoming.as_ref();
            if incoming.is_some_and(|incoming| incoming.workers.iter().all(ready)) {
                self.take_over(app_id, now);
            }
            return;
        }
        if app.registration.provisional && !registration.provisional {
            self.register_late(app_id, registration, now);
        } else if registration != app.registration && !registration.provisional {
            warn!(app = app.spec.name, "the script has changed since it was loaded: loading it anew");
            if is_new {
                self.kill(id);
            }
            self.load_app(app_id, now);
            return;
        }
        self.succeed(app_id, id, now);
        self.choose_lead(app_id);
        self.assign_waiting(app_id, now);
    }

    /// Starts the further workers of newer code, or ends those that it does not want, now that its kind is known.
    fn adjust_incoming(&mut self, app_id: AppId, now: Instant) {
        let app = &mut self.cx.apps[app_id];
        let Some(incoming) = app.incoming.as_mut() else { return };
        let Some(registration) = &incoming.registration else { return };
        let count = app.sharing.workers(app.spec.workers.max(1), registration.interface);
        let workers = &self.cx.workers;
        let (kept, surplus): (Vec<_>, Vec<_>) =
            incoming.workers.iter().partition(|id| workers[**id].number <= count);
        let started = kept.len() as u32;
        incoming.workers = kept;
        surplus.into_iter().for_each(|id| self.kill(id));
        let further: Vec<_> =
            (started + 1..=count).map(|number| self.start_worker(app_id, number, now)).collect();
        if let Some(incoming) = &mut self.cx.apps[app_id].incoming {
            incoming.workers.extend(further);
        }
    }

    /// A worker that serves has said late what its program answers to, before that answered anything.
    fn register_late(&mut self, app_id: AppId, registration: Registration, now: Instant) {
        match self.register(app_id, registration, now) {
            Ok(older) => self.remap_live(app_id, &older),
            Err(problem) => {
                let app = &self.cx.apps[app_id].spec.name;
                error!(app, "the program goes on to get every request: {problem}");
            }
        }
    }

    /// What an app answers to from now on. Returns the channels that it had.
    fn register(
        &mut self,
        app_id: AppId,
        registration: Registration,
        now: Instant,
    ) -> Result<Channels, RouteError> {
        let mount = &self.cx.apps[app_id].spec.mount;
        let routes = Routes::new(mount, &registration.routes)?;
        let channels = Channels::new(mount, &registration.channels)?;
        self.end_lost_channels(app_id, &channels, now);
        let mount = &self.cx.apps[app_id].spec.mount;
        let meters = self.cx.ledger.traffic.learn_routes(app_id, mount, &registration);
        let channel_meters = self.cx.ledger.traffic.learn_channels(app_id, mount, &registration);
        let app = &mut self.cx.apps[app_id];
        let older = std::mem::replace(&mut app.channels, channels);
        app.meters = meters;
        app.channel_meters = channel_meters;
        app.routes = routes;
        app.streaming = registration.routes.iter().filter(|r| r.streams).map(|r| r.handler).collect();
        app.registration = registration;
        app.broken = None;
        self.cx.apps.has_channels = self.cx.apps.list.iter().any(App::has_channels);
        Ok(older)
    }

    /// The incoming workers take the seats; those who had them finish what they run.
    fn take_over(&mut self, app_id: AppId, now: Instant) {
        let Some(mut incoming) = self.cx.apps[app_id].incoming.take() else { return };
        let registration = incoming.registration.take().unwrap_or_default();
        let older = match self.register(app_id, registration, now) {
            Ok(older) => older,
            Err(problem) => {
                let failure = LoadFailure { message: problem.to_string(), ..LoadFailure::default() };
                incoming.workers.into_iter().for_each(|worker| self.kill(worker));
                self.cx.effects.push_back(Effect::AppFailed(app_id, failure));
                return;
            }
        };
        let app = &mut self.cx.apps[app_id];
        app.lead = None;
        let seats = incoming.workers.iter().map(|id| Seat { worker: Some(*id), ..Seat::default() }).collect();
        let old = std::mem::replace(&mut app.seats, seats);
        app.restarts.reloaded += old.iter().filter(|seat| seat.worker.is_some()).count() as u64;
        for id in old.into_iter().flat_map(|seat| [seat.worker, seat.successor]).flatten() {
            self.drain(id, now);
        }
        self.choose_lead(app_id);
        self.remap_live(app_id, &older);
        self.live_taken_over(app_id, now);
        self.assign_waiting(app_id, now);
        self.cx.effects.push_back(Effect::AppReady(app_id));
    }

    fn choose_lead(&mut self, app: AppId) {
        let app = &mut self.cx.apps[app];
        if app.lead.is_some() {
            return;
        }
        let ready = |id: &WorkerId| matches!(self.cx.workers[*id].stage, Stage::Ready { .. });
        if let Some(id) = app.seats.iter().filter_map(|seat| seat.worker).find(ready) {
            app.lead = Some(id);
            encode_lead(&mut self.cx.workers[id].orders);
        }
    }

    pub(in crate::hub) fn handle_failed(&mut self, id: WorkerId, failure: LoadFailure, now: Instant) {
        if self.cx.workers[id].stage == Stage::Killed {
            // Its fellow has said so already.
            return;
        }
        let app_id = self.cx.workers[id].app;
        let app = &mut self.cx.apps[app_id];
        let name = &app.spec.name;
        match app.incoming.take() {
            Some(incoming) if incoming.workers.contains(&id) => {
                incoming.workers.into_iter().for_each(|worker| self.kill(worker));
                self.cx.effects.push_back(Effect::AppFailed(app_id, failure));
            }
            other => {
                // A replacement: the script on disk is broken by now. Its seat is tried again.
                app.incoming = other;
                error!(app = name, "a replacement worker did not load: {failure}");
                self.kill(id);
            }
        }
        self.assign_waiting(app_id, now);
    }

    /// How a worker's process has ended, in words; told before [`Hub::handle_worker_gone`].
    pub fn handle_exit_status(&mut self, id: WorkerId, status: String) {
        if let Some(worker) = self.cx.workers.get_mut(id) {
            worker.ended = Some(status);
        }
    }

    /// Where a worker's script stood while it was loaded; told before [`Hub::handle_worker_gone`].
    pub fn handle_standing(&mut self, id: WorkerId, standing: Standing) {
        if let Some(worker) = self.cx.workers.get_mut(id) {
            worker.standing = Some(standing);
        }
    }

    fn kill(&mut self, id: WorkerId) {
        let worker = &mut self.cx.workers[id];
        if worker.stage != Stage::Killed {
            worker.stage = Stage::Killed;
            self.cx.effects.push_back(Effect::KillWorker(id));
        }
    }

    /// Starts another worker beside this one, which takes its seat when it is ready; then this one finishes what
    /// it has and ends. When the other one does not load, all stays as it is.
    pub(in crate::hub) fn replace_worker(&mut self, id: WorkerId, now: Instant) {
        let worker = &self.cx.workers[id];
        let (app, number) = (worker.app, worker.number);
        let Some(at) = self.cx.apps[app].seats.iter().position(|seat| seat.worker == Some(id)) else {
            return;
        };
        // One that loads is as new as any.
        let is_ready = matches!(worker.stage, Stage::Ready { .. });
        if is_ready && self.cx.apps[app].seats[at].successor.is_none() && self.cx.stopping.is_none() {
            let successor = self.start_worker(app, number, now);
            self.cx.apps[app].seats[at].successor = Some(successor);
        }
    }

    /// A worker that was started beside another one takes its seat.
    fn succeed(&mut self, app_id: AppId, successor: WorkerId, now: Instant) {
        let app = &mut self.cx.apps[app_id];
        let Some(seat) = app.seats.iter_mut().find(|seat| seat.successor == Some(successor)) else { return };
        seat.successor = None;
        let Some(old) = seat.worker.replace(successor) else { return };
        app.restarts.drained += 1;
        app.lead.take_if(|lead| *lead == old);
        self.drain(old, now);
        self.choose_lead(app_id);
        self.live_taken_over(app_id, now);
    }

    fn drain(&mut self, id: WorkerId, now: Instant) {
        let worker = &mut self.cx.workers[id];
        if let Stage::Ready { .. } = worker.stage {
            worker.stage = Stage::Draining { since: now };
            let end = self.cx.stopping.unwrap_or(now) + self.cx.limits.stop_time;
            worker.work_ends = Some(end);
            let work = end.saturating_duration_since(now);
            encode_stop(&mut worker.orders, work, self.cx.limits.hook_time);
        } else if let Stage::Loading { .. } = worker.stage {
            self.kill(id);
        }
    }

    /// A worker's process could not be started.
    pub fn handle_start_failed(&mut self, id: WorkerId, problem: &str, now: Instant) {
        let failure = LoadFailure { message: problem.to_owned(), ..LoadFailure::default() };
        self.handle_failed(id, failure, now);
        self.handle_worker_gone(id, 0, now);
    }

    /// A worker is dead, and all its batches have been handled, the unsent one too. `started` is the
    /// serial of the last job that it began.
    pub fn handle_worker_gone(&mut self, id: WorkerId, started: u64, now: Instant) {
        let Some(worker) = self.cx.workers.remove(id) else { return };
        let app_id = worker.app;
        self.give_up_evaluating(&worker.evaluating);
        let mut jobs: Vec<_> = worker.jobs.into_iter().collect();
        jobs.sort_unstable_by_key(|(serial, _)| *serial);
        let (begun, fresh) = jobs.split_at(jobs.partition_point(|(serial, _)| *serial <= started));
        for (_, job) in fresh.iter().rev() {
            // Those of live connections go with their connection, below.
            if let Job::Request(request) = job {
                self.requeue(*request, now);
            }
        }

        let app = &mut self.cx.apps[app_id];
        let name = app.spec.name.clone();
        if app.lead == Some(id) {
            app.lead = None;
        }
        let mut failure = None;
        if let Some(incoming) = app.incoming.take_if(|incoming| incoming.workers.contains(&id)) {
            // It died while loading, without a word of its own.
            let others: Vec<_> = incoming.workers.into_iter().filter(|other| *other != id).collect();
            others.into_iter().for_each(|other| self.kill(other));
            let standing = worker.standing.clone();
            failure = Some(match worker.stage {
                Stage::Killed => not_loaded(&name, self.cx.limits.load_time, standing),
                _ => died_while_loading(&name, worker.ended.as_deref(), standing),
            });
        }
        let stopping = self.cx.stopping.is_some();
        let app = &mut self.cx.apps[app_id];
        for seat in &mut app.seats {
            seat.successor.take_if(|successor| *successor == id);
        }
        if let Some(seat) = app.seats.iter_mut().find(|seat| seat.worker == Some(id)) {
            // One that was to take its seat anyway has it now.
            seat.worker = seat.successor.take();
            let served = match worker.has_answered {
                true => Some(Backoff::GRACE),
                false => worker.served_since.map(|since| now.saturating_duration_since(since)),
            };
            if !stopping {
                let reason = match worker.stage {
                    _ if worker.hung_job.is_some() => &mut app.restarts.hung,
                    Stage::Killed => &mut app.restarts.not_loaded,
                    _ => &mut app.restarts.died,
                };
                *reason += 1;
            }
            if seat.worker.is_some() {
                warn!(
                    app = name,
                    worker = worker.number,
                    "a worker died; the one that was to replace it has its seat"
                );
            } else if !stopping {
                let pause = seat.backoff.after_death(served);
                seat.due = Some(now + pause);
                let stood = worker
                    .standing
                    .filter(|_| worker.served_since.is_none() && worker.stage == Stage::Killed);
                warn!(
                    app = name,
                    worker = worker.number,
                    running = begun.len(),
                    given_to_others = fresh.len(),
                    status = worker.ended,
                    loading = stood.map(|at| format!("{}:{}", at.file, at.line)),
                    "a worker died; {}",
                    match pause.is_zero() {
                        true => "a replacement starts now".to_owned(),
                        false => format!("a replacement starts in {pause:?}"),
                    }
                );
            }
        }
        let mut lives = FxHashSet::default();
        for (serial, job) in begun {
            let request = match job {
                Job::Request(request) => request,
                // A connection's jobs run one after the other: behind the first there is none that ran.
                Job::Live(live) => {
                    if lives.insert(*live) {
                        let hung = worker.hung_job == Some(*serial);
                        self.live_lost((id, worker.number), *live, *serial, hung, now);
                    }
                    continue;
                }
            };
            let status = if worker.hung_job == Some(*serial) { 504 } else { 502 };
            match status {
                504 => self.cx.ledger.counters.timed_out += 1,
                _ => self.cx.ledger.counters.worker_died += 1,
            }
            let about = About { worker: Some(worker.number), ..self.about(*request) };
            let begun = self.exchange.requests[*request].begun;
            let text = match worker.work_ends {
                Some(end) if status == 502 && now >= end => {
                    "cut off: the response did not end within limits.stop_time"
                }
                _ if begun => "the response is cut short: its worker died",
                _ if status == 504 => "504 Gateway Timeout: its worker was killed",
                _ => "502 Bad Gateway: the worker that ran it died",
            };
            let route = self.cx.ledger.traffic.route_of(self.exchange.requests[*request].meter);
            log_about!(warn, about, status, route, "{text}");
            self.answer_with(*request, status, now);
        }
        if worker.channels > 0 {
            self.live_worker_gone(id, now);
        }
        if let Some(failure) = failure {
            self.cx.effects.push_back(Effect::AppFailed(app_id, failure));
        }
        self.choose_lead(app_id);
        self.assign_waiting(app_id, now);
        if self.cx.apps[app_id].is_down() && self.least_loaded(app_id).is_none() {
            for request in std::mem::take(&mut self.cx.apps[app_id].queue) {
                self.refuse_overload(request, "no worker is left", now);
            }
        }
        if stopping {
            self.stop_idle_workers(now);
        }
    }

    /// Fills seats whose pause is over.
    pub(in crate::hub) fn fill_seats(&mut self, now: Instant) {
        for app in self.app_ids() {
            for number in 0..self.cx.apps[app].seats.len() {
                let seat = &mut self.cx.apps[app].seats[number];
                if seat.due.is_some_and(|due| due <= now) {
                    seat.due = None;
                    let worker = self.start_worker(app, number as u32 + 1, now);
                    self.cx.apps[app].seats[number].worker = Some(worker);
                }
            }
        }
    }

    /// The workers whose pulse is worth looking at now.
    pub fn busy_workers(&self) -> impl Iterator<Item = WorkerId> {
        self.cx.workers.iter().filter(|(_, w)| !w.jobs.is_empty() || w.stuck).map(|(id, _)| id)
    }

    /// What a worker's page shows; asked about every [`Hub::PULSE`] while it has jobs.
    pub fn handle_pulse(&mut self, id: WorkerId, pulse: Pulse, now: Instant) {
        let Some(worker) = self.cx.workers.get_mut(id) else { return };
        let moved = worker.look(pulse, now);
        let is_behind = worker.pace.look(worker.serial);
        let script_time = self.cx.limits.script_time;
        if moved {
            worker.stuck = false;
            let app = worker.app;
            let others_wait = !worker.listed.is_empty() || !self.cx.apps[app].queue.is_empty();
            if is_behind && (others_wait || worker.jobs.values().any(|job| matches!(job, Job::Live(_)))) {
                // What it was given ahead goes back to take its turn with what waits.
                self.revoke(id);
            }
            self.fill(id, app, now);
            return;
        }
        let patience = if worker.is_inside() { Worker::STUCK } else { Worker::SILENT.min(script_time / 2) };
        if worker.still >= patience && !worker.stuck {
            worker.stuck = true;
            worker.pace.slow_down();
            if worker.jobs.keys().any(|serial| *serial > pulse.started) {
                self.revoke(id);
            }
        }
        let worker = &mut self.cx.workers[id];
        if worker.still >= script_time && !matches!(worker.stage, Stage::Killed | Stage::Loading { .. }) {
            let name = &self.cx.apps[worker.app].spec.name;
            let (number, running) = (worker.number, pulse.running);
            if worker.is_inside() {
                worker.hung_job = Some(running);
                let text = format!("a script ran for {script_time:?} without pause: its worker is killed");
                match self.about_job(id, running).or_else(|| self.cx.workers[id].late(running)) {
                    Some(about) => log_about!(error, about, "{text}"),
                    None => error!(app = name, worker = number, "{text}"),
                }
            } else {
                worker.hung_job = Some(0);
                error!(
                    app = name,
                    worker = number,
                    "a worker began nothing of what it was given for {script_time:?}: it is killed"
                );
            }
            self.kill(id);
        }
    }

    /// Takes back what a worker has not started.
    fn revoke(&mut self, id: WorkerId) {
        let worker = &mut self.cx.workers[id];
        worker.revoked = worker.serial;
        self.cx.effects.push_back(Effect::Revoke { worker: id, serial: worker.serial });
    }

    /// A worker has sent or taken bytes: it does not stand still.
    pub fn handle_transfer(&mut self, id: WorkerId) {
        if let Some(worker) = self.cx.workers.get_mut(id) {
            worker.spoke = true;
        }
    }

    /// What a worker's page shows as the last job started, told before each of its batches.
    pub fn handle_started(&mut self, id: WorkerId, started: u64) {
        if let Some(worker) = self.cx.workers.get_mut(id) {
            worker.pace.note_begun(started);
        }
    }

    /// The answer to [`Effect::Revoke`]: `started` is the serial of the last job that the worker
    /// keeps. The others run elsewhere.
    pub fn handle_revoked(&mut self, id: WorkerId, started: u64, now: Instant) {
        let Some(worker) = self.cx.workers.get_mut(id) else { return };
        // It may have got more since, which it keeps.
        let revoked = worker.revoked;
        let mut fresh: Vec<_> = worker
            .jobs
            .iter()
            .filter(|(serial, _)| **serial > started && **serial <= revoked)
            .map(|(serial, job)| (*serial, *job))
            .collect();
        fresh.sort_unstable_by_key(|(serial, _)| *serial);
        for (serial, _) in &fresh {
            worker.jobs.remove(serial);
        }
        worker.pace.note_begun(revoked);
        let app = worker.app;
        self.take_back_all(id, &fresh, now);
        self.fill(id, app, now);
    }

    /// Time in which the hub itself stood still counts for no deadline of a worker: workers may have stood still with it.
    pub(in crate::hub) fn excuse_pause(&mut self, late: Duration) {
        if late <= Worker::LOOK {
            return;
        }
        for (_, worker) in self.cx.workers.iter_mut() {
            if let Stage::Loading { since } | Stage::Draining { since } = &mut worker.stage {
                *since += late;
            }
        }
        if let Some(since) = &mut self.cx.stopping {
            *since += late;
        }
    }

    /// Deadlines of workers: loading, draining, stopping.
    pub(in crate::hub) fn check_workers(&mut self, now: Instant) {
        let over: Vec<_> = self
            .cx
            .workers
            .iter()
            .filter(|(_, worker)| match worker.stage {
                Stage::Loading { since } => now >= since + self.cx.limits.load_time,
                Stage::Draining { since } => {
                    now >= since + self.cx.limits.stop_time + self.cx.limits.hook_time
                }
                Stage::Ready { .. } | Stage::Killed => false,
            })
            .map(|(id, worker)| (id, worker.app, worker.number))
            .collect();
        for (id, app, number) in over {
            let app = &self.cx.apps[app].spec.name;
            match self.cx.workers[id].stage {
                Stage::Loading { .. } => {
                    let patience = self.cx.limits.load_time;
                    warn!(
                        app,
                        worker = number,
                        "a worker did not load within {patience:?} (limits.load_time): killed"
                    );
                }
                _ => warn!(app, worker = number, "a worker did not end within limits.stop_time: killed"),
            }
            self.kill(id);
        }
        match self.cx.stopping {
            Some(since) if now >= since + self.cx.limits.stop_time => {
                let is_over = now >= since + self.cx.limits.stop_time + self.cx.limits.hook_time;
                let all: Vec<_> = self.cx.workers.iter().map(|(id, _)| id).collect();
                for worker in all {
                    // What still waits for a worker comes too late; its stop hooks run all the same.
                    if is_over { self.kill(worker) } else { self.drain(worker, now) }
                }
            }
            Some(_) => self.stop_idle_workers(now),
            None => {}
        }
    }

    /// Says in the log who serves an app now.
    pub fn describe(&self, app: AppId) -> String {
        let app = &self.cx.apps[app];
        let count = |number: usize, thing| format!("{number} {thing}{}", if number == 1 { "" } else { "s" });
        let workers = count(app.seats.len(), "worker");
        let affinity = app.sharing.affinity.as_ref().filter(|_| app.seats.len() > 1);
        let affinity = affinity.map(|affinity| format!(", affinity {affinity}")).unwrap_or_default();
        if let Some(standard) = app.registration.interface.name() {
            return format!("{} ({workers}, {standard}{affinity})", app.spec.name);
        }
        let routes = count(app.registration.routes.len(), "route");
        let channels = match app.registration.channels.len() {
            0 => String::new(),
            number => format!(", {}", count(number, "channel")),
        };
        format!("{} ({workers}, {routes}{channels}{affinity})", app.spec.name)
    }

    /// Kills every worker now.
    pub fn stop_at_once(&mut self) {
        info!("stopping at once");
        let all: Vec<_> = self.cx.workers.iter().map(|(id, _)| id).collect();
        all.into_iter().for_each(|worker| self.kill(worker));
    }
}
