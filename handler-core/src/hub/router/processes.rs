//! Worker processes: what the loop tells the hub of them, and what their coming and going means for the other parts.

use crate::hub::Hub;
use crate::hub::effect::Effect;
use crate::hub::ids::{AppId, RequestId, WorkerId};
use crate::hub::ledger::about::{About, log_about};
use crate::hub::lifecycle::reload::{self, Prepared};
use crate::hub::lifecycle::{deaths, has_hope, pulse, stop};
use crate::hub::request::Place;
use crate::worker::protocol::{LoadFailure, Registration};
use crate::worker::pulse::Pulse;
use crate::worker::standing::Standing;
use std::time::Instant;
use tracing::{error, info};

/// What the loop says and asks.
impl Hub {
    /// Starts the newest code of an app, beside what runs: its first workers, or a reload.
    pub fn load_app(&mut self, app: AppId, now: Instant) {
        reload::load(&mut self.cx, app, now);
    }

    /// Shows `page` (HTML) to every client of the app until newer code is in charge; none: answers again.
    pub fn set_broken(&mut self, app: AppId, page: Option<String>) {
        self.cx.apps[app].broken = page;
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
        stop::begin(&mut self.cx, now);
        self.settle(now);
    }

    /// Whether a Mongrel2 counts what its clients have not read: then what was sent to them has arrived
    /// only when its notices say so, and a stop has to go on listening.
    pub fn expects_credits(&self) -> bool {
        self.cx.servers.links.iter().any(|link| link.up && link.flow_control)
    }

    /// The bytes to write to a worker, to be emptied by whoever writes them, and the serial of the last
    /// job among them or before.
    pub fn take_orders(&mut self, worker: WorkerId) -> Option<(&mut Vec<u8>, u64)> {
        self.cx.workers.get_mut(worker).map(|worker| (&mut worker.orders, worker.serial))
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

    /// A worker's process could not be started.
    pub fn handle_start_failed(&mut self, id: WorkerId, problem: &str, now: Instant) {
        let failure = LoadFailure { message: problem.to_owned(), ..LoadFailure::default() };
        self.handle_failed(id, failure, now);
        self.handle_worker_gone(id, 0, now);
    }

    /// A worker is dead, and all its batches have been handled, the unsent one too. `started` is the
    /// serial of the last job that it began.
    pub fn handle_worker_gone(&mut self, id: WorkerId, started: u64, now: Instant) {
        deaths::gone(&mut self.cx, id, started, now);
        self.settle(now);
    }

    /// The workers whose pulse is worth looking at now.
    pub fn busy_workers(&self) -> impl Iterator<Item = WorkerId> {
        pulse::busy_workers(&self.cx)
    }

    /// What a worker's page shows; asked about every [`Hub::PULSE`] while it has jobs.
    pub fn handle_pulse(&mut self, id: WorkerId, pulse: Pulse, now: Instant) {
        pulse::look(&mut self.cx, id, pulse, now);
        self.settle(now);
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
        pulse::revoked(&mut self.cx, id, started);
        self.settle(now);
    }

    /// Says in the log who serves an app now.
    pub fn describe(&self, app: AppId) -> String {
        self.cx.apps[app].describe()
    }

    /// Kills every worker now.
    pub fn stop_at_once(&mut self) {
        stop::at_once(&mut self.cx);
    }
}

/// What workers say, and time.
impl Hub {
    pub(in crate::hub) fn handle_ready(&mut self, id: WorkerId, registration: Registration, now: Instant) {
        reload::ready(&mut self.cx, id, registration, now);
        self.settle(now);
    }

    pub(in crate::hub) fn handle_failed(&mut self, id: WorkerId, failure: LoadFailure, now: Instant) {
        reload::failed(&mut self.cx, id, failure);
        self.settle(now);
    }

    /// What a handshake on a path (raw as in a request) without a channel is answered.
    pub(in crate::hub) fn status_without_channel(&self, path: &[u8]) -> u16 {
        self.cx.apps.status_without_channel(path)
    }

    /// Under a stop, answers requests that no worker will ever take.
    pub(in crate::hub) fn give_up_queues(&mut self, now: Instant) {
        while let Some(request) = stop::next_hopeless(&mut self.cx) {
            self.exchange.refuse_overload(&mut self.cx, request, "kennel stops, and no worker is left", now);
            self.settle(now);
        }
    }

    pub(in crate::hub) fn check_stopped(&mut self, now: Instant) {
        if self.stopped || !stop::is_over(&self.cx, self.exchange.requests.is_empty(), now) {
            return;
        }
        self.stopped = true;
        match self.cx.ledger.counters.summary() {
            nothing if nothing.is_empty() => info!("stopped: nothing was asked"),
            counts => info!("stopped: {counts}"),
        }
        self.cx.effects.push_back(Effect::Stopped);
    }
}

/// What their coming and going means for requests and live connections.
impl Hub {
    /// The workers of newer code are all ready: they take the seats.
    pub(in crate::hub) fn take_over(&mut self, app: AppId, now: Instant) {
        let Some(incoming) = reload::prepare(&mut self.cx, app) else { return };
        self.with_live(now, |live, cx| live.end_lost_channels(cx, app, &incoming.1.channels, now));
        let older = reload::take_over(&mut self.cx, app, incoming, now);
        self.live.remap_live(&mut self.cx, app, &older);
        self.with_live(now, |live, cx| live.live_taken_over(cx, app, now));
        self.assign_waiting(app, now);
        self.cx.effects.push_back(Effect::AppReady(app));
    }

    /// A worker that serves has said late what its program answers to, before that answered anything.
    pub(in crate::hub) fn register_late(&mut self, app: AppId, registration: Registration, now: Instant) {
        match Prepared::new(&self.cx, app, registration) {
            Ok(prepared) => {
                self.with_live(now, |live, cx| live.end_lost_channels(cx, app, &prepared.channels, now));
                let older = prepared.register(&mut self.cx, app);
                self.live.remap_live(&mut self.cx, app, &older);
            }
            Err(problem) => {
                let app = &self.cx.apps[app].spec.name;
                error!(app, "the program goes on to get every request: {problem}");
            }
        }
    }

    /// A worker died while it ran this request, or was killed since it hung.
    pub(in crate::hub) fn request_lost(
        &mut self,
        number: u32,
        id: RequestId,
        (hung, is_cut_off): (bool, bool),
        now: Instant,
    ) {
        let Some(request) = self.exchange.requests.get(id) else { return };
        let status = if hung { 504 } else { 502 };
        match status {
            504 => self.cx.ledger.counters.timed_out += 1,
            _ => self.cx.ledger.counters.worker_died += 1,
        }
        let about = About { worker: Some(number), ..self.cx.about_request(request) };
        let text = match status {
            502 if is_cut_off => "cut off: the response did not end within limits.stop_time",
            _ if request.begun => "the response is cut short: its worker died",
            504 => "504 Gateway Timeout: its worker was killed",
            _ => "502 Bad Gateway: the worker that ran it died",
        };
        let route = self.cx.ledger.traffic.route_of(request.meter);
        log_about!(warn, about, status, route, "{text}");
        self.exchange.answer_with(&mut self.cx, id, status, now);
        self.settle(now);
    }

    /// The log says what a worker runs that is killed since it does not end.
    pub(in crate::hub) fn report_hung(&self, id: WorkerId, running: u64) {
        let Some(worker) = self.cx.workers.get(id) else { return };
        let (name, number) = (&self.cx.apps[worker.app].spec.name, worker.number);
        let script_time = self.cx.limits.script_time;
        let text = format!("a script ran for {script_time:?} without pause: its worker is killed");
        match self.about_job(id, running).or_else(|| worker.late(running)) {
            Some(about) => log_about!(error, about, "{text}"),
            None => error!(app = name, worker = number, "{text}"),
        }
    }

    /// Every worker of an app keeps dying at once: what waits for one is refused, unless there is one after all.
    pub(in crate::hub) fn refuse_queue(&mut self, app: AppId, now: Instant) {
        if self.cx.apps[app].is_down() && self.cx.least_loaded(app).is_none() {
            for request in std::mem::take(&mut self.cx.apps[app].queue) {
                self.exchange.refuse_overload(&mut self.cx, request, "no worker is left", now);
                self.settle(now);
            }
        }
    }

    /// Under a stop, tells workers to end when no request waits for their app any more.
    pub(in crate::hub) fn stop_idle_workers(&mut self, now: Instant) {
        for app in self.app_ids() {
            let mut requests = self.exchange.requests.values();
            let app_is_busy = !self.cx.apps[app].queue.is_empty()
                || self.live.has_live_work(app, has_hope(&self.cx, app))
                || requests.any(|request| request.place == Place::Pipeline);
            if !app_is_busy {
                stop::drain_seated(&mut self.cx, app, now);
            }
        }
    }
}
