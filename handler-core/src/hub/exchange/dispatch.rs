//! Jobs to workers, and what they make of them back to connections.

use crate::hub::Hub;
use crate::hub::ids::Job;
use crate::hub::ids::{AppId, ConnKey, LinkId, RequestId, WorkerId};
use crate::hub::ledger::about::{About, log_about};
use crate::hub::ledger::counters::Complaint;
use crate::hub::request::{Body, Place, Plan};
use crate::hub::servers::link::Link;
use crate::hub::workers::worker::{Stage, Worker};
use crate::worker::protocol::{Action, Ids, Level, ProtocolError, encode_grown, split_frame};
use kennel_http::Persistence;
use kennel_http::response::{Form, Response};
use mongrel2_wire::ConnId;
use rustc_hash::FxHashSet;
use std::time::Instant;
use tracing::{debug, error, info, warn};

/// A connection with so many bytes unsent gets no further answer before they are gone.
const OUT_HIGH: usize = 64 << 10;
/// Where a job's frame holds the serial.
const SERIAL: std::ops::Range<usize> = 5..13;

impl Hub {
    /// Starts the next request of a connection, if the one before is answered.
    pub(in crate::hub) fn advance(&mut self, key: ConnKey, now: Instant) {
        while let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) {
            let full = conn.closing || conn.out.len() > OUT_HIGH;
            if conn.current.is_some() || conn.advancing || full {
                return;
            }
            let Some(request) = conn.waiting.pop_front() else { break };
            conn.current = Some(request);
            // An answer at once calls this again: the flag makes a loop of that, not a deep stack.
            conn.advancing = true;
            match self.exchange.requests[request].plan {
                // It goes on when its body is in its file.
                Plan::Run { .. } | Plan::Call(_)
                    if self.exchange.requests[request].body == Body::Collected => {}
                Plan::Run { app, .. } => self.submit(request, app, now),
                Plan::Answer { .. } | Plan::File { .. } => self.answer_by_plan(request, now),
                Plan::Call(_) => self.handle_call(request, now),
                Plan::Held(_) => {}
            }
            if let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) {
                conn.advancing = false;
            }
        }
        self.cx.outbox.conns.list_if_idle(key, now);
    }

    /// Gives a request to the least loaded worker or to the one that it belongs to, or lets it wait, or sends it away.
    pub(in crate::hub) fn submit(&mut self, request: RequestId, app: AppId, now: Instant) {
        if let Some(worker) = self.worker_for(request, app).filter(|id| {
            // Those that wait for this worker take their turns first.
            !self.has_waiting(app, *id) && self.cx.workers[*id].listed.is_empty()
        }) {
            self.assign(request, worker, now);
            return;
        }
        let is_full = self.cx.apps[app].queue.len() >= self.cx.limits.queue && !self.holds_back(app);
        let state = &mut self.cx.apps[app];
        if is_full || state.is_down() {
            let why = if is_full { "limits.queue requests wait" } else { "no worker is left" };
            self.refuse_overload(request, why, now);
            return;
        }
        state.queue.push_back(request);
        self.exchange.requests[request].place = Place::Queue;
    }

    /// 503 for a request that no worker will take. The log says why.
    pub(in crate::hub) fn refuse_overload(&mut self, request: RequestId, why: &str, now: Instant) {
        self.cx.ledger.counters.overloaded += 1;
        self.complain_of_overload(|hub| hub.about(request), why, now);
        self.answer_with(request, 503, now);
    }

    /// Says in the log that a request gets 503, unless that has been said too often.
    pub(in crate::hub) fn complain_of_overload(
        &mut self,
        about: impl FnOnce(&Self) -> About,
        why: &str,
        now: Instant,
    ) {
        if self.cx.ledger.complaints.pass(Complaint::Overload, now) {
            log_about!(warn, about(self), status = 503, "503 Service Unavailable: {why}");
        }
    }

    pub(in crate::hub) fn least_loaded(&self, app: AppId) -> Option<WorkerId> {
        let seats = &self.cx.apps[app].seats;
        seats
            .iter()
            .filter_map(|seat| seat.worker)
            .map(|id| (id, &self.cx.workers[id]))
            .filter(|(_, worker)| worker.has_room(self.cx.limits.worker_jobs))
            .min_by_key(|(_, worker)| worker.jobs.len())
            .map(|(id, _)| id)
    }

    /// Whether more requests wait than the queue holds only since slow workers get fewer jobs ahead than they may hold.
    fn holds_back(&self, app: AppId) -> bool {
        let state = &self.cx.apps[app];
        let seated = state.seats.iter().filter_map(|seat| seat.worker).map(|id| &self.cx.workers[id]);
        let takes = seated.filter(|worker| worker.takes_jobs());
        let room: usize =
            takes.map(|worker| self.cx.limits.worker_jobs.saturating_sub(worker.jobs.len())).sum();
        state.queue.len() < self.cx.limits.queue.saturating_add(room)
    }

    pub(in crate::hub) fn assign(&mut self, request: RequestId, id: WorkerId, now: Instant) {
        let worker = &mut self.cx.workers[id];
        let Plan::Run { job, .. } = &mut self.exchange.requests[request].plan else {
            unreachable!("only jobs are submitted");
        };
        worker.serial += 1;
        job[SERIAL].copy_from_slice(&worker.serial.to_le_bytes());
        if worker.jobs.is_empty() {
            worker.begin_watch(now);
        }
        worker.orders.extend_from_slice(job);
        worker.jobs.insert(worker.serial, Job::Request(request));
        if self.exchange.requests[request].body == Body::Grown {
            encode_grown(&mut worker.orders, worker.serial, true, 0);
        }
        self.exchange.requests[request].place = Place::Worker(id, worker.serial);
        self.note_visitor(request, id);
    }

    /// Gives waiting requests to workers that have room.
    pub(in crate::hub) fn assign_waiting(&mut self, app: AppId, now: Instant) {
        if !self.cx.apps[app].orphans.is_empty() && self.least_loaded(app).is_some() {
            self.adopt_orphans(app, now);
        }
        if self.cx.apps[app].sharing.affinity.is_some() {
            self.assign_by_affinity(app, now);
            return;
        }
        while !self.cx.apps[app].queue.is_empty() {
            let Some(worker) = self.least_loaded(app) else { return };
            let request = self.cx.apps[app].queue.pop_front();
            self.assign(request.expect("the queue is not empty"), worker, now);
        }
    }

    /// Gives a worker that has room again what waits for it. Requests and the messages of live connections take turns, and so
    /// do the connections, whatever time each takes.
    pub(in crate::hub) fn fill(&mut self, worker: WorkerId, app: AppId, now: Instant) {
        while self.cx.workers.contains(worker) {
            let requests = self.has_waiting(app, worker);
            let state = &mut self.cx.workers[worker];
            let live = !state.listed.is_empty();
            if !live || !requests || state.is_leaving() || !state.has_room(self.cx.limits.worker_jobs) {
                break;
            }
            let request_is_next = state.request_is_next;
            state.request_is_next = !request_is_next;
            if request_is_next {
                let request = self.take_waiting(app, worker);
                self.assign(request.expect("a request waits for this worker"), worker, now);
            } else {
                self.pump_next(worker, now);
            }
        }
        self.pump_listed(worker, now);
        self.assign_waiting(app, now);
    }

    /// Gives workers with room what waits, in case that nothing else has.
    pub(in crate::hub) fn fill_all(&mut self, now: Instant) {
        for app in self.app_ids() {
            for seat in 0..self.cx.apps[app].seats.len() {
                let state = &self.cx.apps[app];
                let Some(id) = state.seats.get(seat).and_then(|seat| seat.worker) else { continue };
                if !state.queue.is_empty() || !self.cx.workers[id].listed.is_empty() {
                    self.fill(id, app, now);
                }
            }
        }
    }

    /// Puts a request that a worker never started back, before those that came later.
    pub(in crate::hub) fn requeue(&mut self, request: RequestId, now: Instant) {
        let Plan::Run { app, .. } = self.exchange.requests[request].plan else { return };
        if self.exchange.requests[request].begun {
            // It says that it has not started what it has begun to answer.
            self.end_stream(request, false, now);
            return;
        }
        if self.exchange.requests[request].gone && !self.exchange.requests[request].raw {
            let (key, request) = (request, self.remove_request(request));
            if let Some(conn) =
                self.cx.outbox.conns.map.get_mut(&request.conn).filter(|c| c.current == Some(key))
            {
                conn.current = None;
                self.cx.outbox.mark_dirty(request.conn);
            }
            return;
        }
        if self.has_lost_parts(request) {
            // It says that it has not started what it has begun to read.
            self.cx.ledger.counters.worker_died += 1;
            self.answer_with(request, 502, now);
            return;
        }
        self.cx.ledger.counters.rerun += 1;
        self.exchange.requests[request].place = Place::Queue;
        self.cx.apps[app].queue.push_front(request);
    }

    /// One whole batch of a worker's actions, in order.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] when it makes no sense; the worker should be killed then. What came before
    /// the error is done.
    pub fn handle_batch(
        &mut self,
        id: WorkerId,
        mut frames: &[u8],
        now: Instant,
    ) -> Result<(), ProtocolError> {
        let mut skipped = Vec::new();
        let result = loop {
            let Some((kind, payload, rest)) = split_frame(frames) else { break Ok(()) };
            frames = rest;
            match Action::read(kind, payload) {
                Ok(Action::Skipped { serial }) => {
                    skipped.extend(self.take_job(id, serial).map(|job| (serial, job)));
                }
                Ok(action) => self.handle_action(id, action, now),
                Err(problem) => break Err(problem),
            }
        };
        self.take_back_all(id, &skipped, now);
        result?;
        if !frames.is_empty() {
            return Err(ProtocolError::Truncated { kind: frames[0] });
        }
        if let Some(worker) = self.cx.workers.get_mut(id) {
            worker.spoke = true;
            let app = worker.app;
            self.fill(id, app, now);
        }
        Ok(())
    }

    /// A worker has not started these jobs, and will not; they are in the order in which it would have. What was next keeps its
    /// turn.
    pub(in crate::hub) fn take_back_all(&mut self, worker: WorkerId, jobs: &[(u64, Job)], now: Instant) {
        let Some((_, first)) = jobs.first() else { return };
        for (serial, job) in jobs.iter().rev() {
            self.take_back(worker, *serial, *job, now);
        }
        let Some(state) = self.cx.workers.get_mut(worker) else { return };
        state.request_is_next = matches!(first, Job::Request(_));
        let lives = jobs.iter().filter_map(|(_, job)| match job {
            Job::Live(live) => Some(*live),
            Job::Request(_) => None,
        });
        let returned: FxHashSet<_> = lives.clone().collect();
        // Some have come to an end instead.
        let mut waiting = FxHashSet::default();
        state.listed.retain(|live| !(returned.contains(live) && waiting.insert(*live)));
        let first_ones: Vec<_> = lives.filter(|live| waiting.remove(live)).collect();
        first_ones.into_iter().rev().for_each(|live| state.listed.push_front(live));
    }

    /// A worker has not started this job, and will not.
    fn take_back(&mut self, worker: WorkerId, serial: u64, job: Job, now: Instant) {
        match job {
            Job::Request(request) => self.requeue(request, now),
            Job::Live(live) => self.live_returned(worker, live, serial),
        }
    }

    fn handle_action(&mut self, id: WorkerId, action: Action<'_>, now: Instant) {
        if !self.cx.workers.contains(id) {
            return;
        }
        match action {
            Action::Ready(registration) => self.handle_ready(id, registration, now),
            Action::Failed(failure) => self.handle_failed(id, failure, now),
            Action::Respond { serial, status, head, body } => {
                match self.take_job(id, serial) {
                    Some(Job::Request(request)) if self.exchange.requests[request].begun => {
                        self.end_stream(request, false, now);
                    }
                    Some(Job::Request(request)) if self.exchange.requests[request].http => {
                        self.answer(request, Response { status, head, body }, now);
                    }
                    // HTTP is not what a socket speaks.
                    Some(Job::Request(request)) => self.finish_raw(request, now),
                    Some(Job::Live(live)) => self.live_done(id, live, serial, now),
                    None => {}
                }
            }
            Action::Done { serial } => match self.take_job(id, serial) {
                Some(Job::Request(request)) if self.exchange.requests[request].raw => {
                    self.finish_raw(request, now)
                }
                Some(Job::Request(request)) => self.answer_with(request, 500, now),
                Some(Job::Live(live)) => self.live_done(id, live, serial, now),
                None => {}
            },
            Action::Begin { serial, status, head } => self.begin_stream(id, serial, status, head, now),
            Action::Piece { serial, bytes } => self.stream_piece(id, serial, bytes, now),
            Action::End { serial } => self.finish_stream(id, serial, true, now),
            Action::Abort { serial } => self.finish_stream(id, serial, false, now),
            Action::Pass { serial, worker, status, head, body } => {
                self.pass(id, serial, worker, Response { status, head, body }, now);
            }
            Action::Want { serial, bytes } => self.handle_want(id, serial, bytes),
            Action::Skipped { .. } => unreachable!("handled with the batch"),
            Action::Deliver { sender, ids, payload } => self.deliver(sender, ids, payload, now),
            Action::Disconnect { sender, ids } => {
                for key in self.raw_targets(sender, ids, now) {
                    self.close_connection(key);
                }
            }
            Action::Evaluated { query, ok, text } => self.handle_evaluated(id, query, ok, text),
            Action::Log { level, serial, text, fields } => self.log(id, level, serial, text, fields),
            Action::Send { .. }
            | Action::CloseConn { .. }
            | Action::Join { .. }
            | Action::Leave { .. }
            | Action::Publish { .. }
            | Action::CloseRoom { .. }
            | Action::SetData { .. }
            | Action::Query { .. }
            | Action::Accept { .. }
            | Action::Refuse { .. } => self.handle_live_action(id, action, now),
        }
    }

    /// Gives a job that a worker has begun to the one which it belongs to, or answers it when that is gone.
    fn pass(&mut self, from: WorkerId, serial: u64, number: u32, otherwise: Response<'_>, now: Instant) {
        let request = match self.take_job(from, serial) {
            Some(Job::Request(request)) => request,
            Some(Job::Live(live)) => return self.live_done(from, live, serial, now),
            None => return,
        };
        let state = &self.exchange.requests[request];
        if !state.http || state.raw {
            self.finish_raw(request, now);
            return;
        }
        if state.begun || state.gone {
            // Nobody is to answer it a second time, and nobody waits for it.
            self.answer_with(request, 500, now);
            return;
        }
        let app = self.cx.workers[from].app;
        let seats = self.cx.apps[app].seats.iter().filter_map(|seat| seat.worker);
        let to = seats.filter(|id| *id != from).find(|id| {
            let worker = &self.cx.workers[*id];
            worker.number == number && matches!(worker.stage, Stage::Ready { .. })
        });
        match to {
            Some(to) => self.assign(request, to, now),
            None => self.answer(request, otherwise, now),
        }
    }

    /// What is behind a worker's serial, which the worker holds no longer.
    pub(in crate::hub) fn take_job(&mut self, id: WorkerId, serial: u64) -> Option<Job> {
        let worker = self.cx.workers.get_mut(id)?;
        let job = worker.jobs.remove(&serial);
        if job.is_some() {
            worker.pace.note_begun(serial);
        }
        worker.has_answered = true;
        if job.is_none() {
            self.cx.ledger.counters.answers_too_late += 1;
        }
        job
    }

    /// Answers a request with one of the hub's own pages. An answer that has begun is cut short instead.
    pub(in crate::hub) fn answer_with(&mut self, request: RequestId, status: u16, now: Instant) {
        if !self.exchange.requests[request].http {
            self.finish_raw(request, now);
            return;
        }
        if self.exchange.requests[request].begun {
            self.end_stream(request, false, now);
            return;
        }
        let page = self.own_page(status);
        let plan = std::mem::replace(&mut self.exchange.requests[request].plan, page);
        self.recycle(plan);
        self.answer_by_plan(request, now);
    }

    pub(in crate::hub) fn answer_by_plan(&mut self, request: RequestId, now: Instant) {
        let plan = std::mem::replace(&mut self.exchange.requests[request].plan, Plan::NONE);
        let (status, head, body) = match &plan {
            Plan::Answer { status, head, body } => (*status, head, body.as_bytes()),
            Plan::File { head, body } => (200, head, *body),
            Plan::Run { .. } | Plan::Call(_) | Plan::Held(_) => return,
        };
        self.answer(request, Response { status, head: head.as_bytes(), body }, now);
    }

    /// Writes a request's answer and goes on with its connection.
    fn answer(&mut self, key: RequestId, response: Response<'_>, now: Instant) {
        self.cx.ledger.taps.note_answer(key, response.status, now);
        let with_cookie = self.head_with_cookie(key, response.head);
        let response = Response { head: with_cookie.as_deref().unwrap_or(response.head), ..response };
        let request = self.take_request(key);
        if request.gone {
            self.cx.ledger.counters.answers_too_late += 1;
            self.cx.ledger.traffic.lost(request.meter);
            self.leave(request.conn, key, now);
            return;
        }
        self.cx.ledger.counters.answers += 1;
        self.cx.ledger.traffic.answered(request.meter, request.since, response.status, now);
        let Some(conn) =
            self.cx.outbox.conns.map.get_mut(&request.conn).filter(|conn| !conn.gone && !conn.closed)
        else {
            self.leave(request.conn, key, now);
            return;
        };
        let persistence = match self.cx.stopping {
            Some(_) if request.persistence == Persistence::Open => Persistence::Close,
            _ => request.persistence,
        };
        let form = Form { head_only: request.head_only, persistence, date: &self.cx.date };
        if conn.out.append(|out| response.encode(out, form)) == Persistence::Close {
            conn.closing = true;
            for waiting in std::mem::take(&mut conn.waiting) {
                self.remove_request(waiting);
            }
        }
        self.cx.outbox.mark_dirty(request.conn);
        self.leave(request.conn, key, now);
    }

    /// Ends a raw job, which has no answer of its own.
    fn finish_raw(&mut self, key: RequestId, now: Instant) {
        self.exchange.raw_clients.end_telling(key);
        let request = self.take_request(key);
        if request.http {
            self.cx.ledger.traffic.done(request.meter, request.since, now);
        }
        self.leave(request.conn, key, now);
    }

    pub(in crate::hub) fn leave(&mut self, conn: ConnKey, request: RequestId, now: Instant) {
        if let Some(state) = self.cx.outbox.conns.map.get_mut(&conn)
            && state.current == Some(request)
        {
            state.current = None;
            self.advance(conn, now);
        }
    }

    /// 504 for requests whose time is over.
    pub(in crate::hub) fn expire_requests(&mut self, now: Instant) {
        let timeout = self.cx.limits.request_timeout;
        let due =
            self.exchange.requests.iter_mut().filter_map(|(key, r)| r.is_due(timeout, now).then_some(key));
        let due: Vec<_> = due.collect();
        let mut freed = Vec::new();
        for key in due {
            // An answer to one may have ended others of its connection.
            let Some(request) = self.exchange.requests.get(key) else { continue };
            let (raw, begun) = (request.raw, request.begun);
            if request.place == Place::Pipeline {
                continue;
            }
            let about = self.about(key);
            match self.exchange.requests[key].place {
                Place::Pipeline => {}
                Place::Queue => {
                    for app in &mut self.cx.apps.list {
                        app.queue.retain(|waiting| *waiting != key);
                    }
                }
                Place::Worker(id, serial) => {
                    let worker = &mut self.cx.workers[id];
                    worker.jobs.remove(&serial);
                    worker.note_late(serial, about.clone());
                    freed.push(id);
                }
            }
            if begun {
                log_about!(warn, about, "a worker does not end the response to a client that is gone");
            } else if raw {
                self.cx.ledger.counters.timed_out += 1;
                log_about!(warn, about, "the raw handler was not done within {timeout:?}");
            } else {
                self.cx.ledger.counters.timed_out += 1;
                log_about!(warn, about, status = 504, "504 Gateway Timeout: no response within {timeout:?}");
            }
            self.answer_with(key, 504, now);
        }
        // Their places are for others, and the workers may have nothing more to say.
        for id in freed {
            self.fill(id, self.cx.workers[id].app, now);
        }
    }

    fn raw_targets(&mut self, sender: &str, ids: Ids<'_>, now: Instant) -> Vec<ConnKey> {
        let is_meant = |l: &Link| l.up && l.sender.as_ref().is_some_and(|s| s.as_str() == sender);
        let mut links = self.cx.servers.links.iter().enumerate().filter(|(_, l)| is_meant(l)).map(|(n, _)| n);
        let (Some(link), None) = (links.next(), links.next()) else {
            self.cx.ledger.counters.bad_targets += ids.count() as u64;
            if self.cx.ledger.complaints.pass(Complaint::Target, now) {
                warn!("a script addressed `{sender}`, but no server or more than one is called so");
            }
            return Vec::new();
        };
        let incarnation = self.cx.servers.links[link].incarnation;
        let link = LinkId(link as u16);
        if self.exchange.raw_clients.is_outdated(link) {
            self.cx.ledger.counters.bad_targets += ids.count() as u64;
            if self.cx.ledger.complaints.pass(Complaint::Target, now) {
                warn!(
                    "a script addressed clients of `{sender}` before it knew that the server had restarted"
                );
            }
            return Vec::new();
        }
        let mut keys = Vec::new();
        for id in ids {
            match ConnId::try_from(id) {
                Ok(id) => keys.push(ConnKey { link, incarnation, id }),
                Err(problem) => {
                    self.cx.ledger.counters.bad_targets += 1;
                    if self.cx.ledger.complaints.pass(Complaint::Target, now) {
                        warn!("a script addressed a connection that cannot be: {problem}");
                    }
                }
            }
        }
        keys
    }

    fn deliver(&mut self, sender: &str, ids: Ids<'_>, payload: &[u8], now: Instant) {
        let keys = self.raw_targets(sender, ids, now);
        if !payload.is_empty() {
            self.multicast(&keys, payload, now);
        }
    }

    /// A line of a script, with the request or the connection that it was running for.
    fn log(&self, id: WorkerId, level: Level, serial: u64, text: &[u8], fields: &[u8]) {
        let worker = &self.cx.workers[id];
        let app = &self.cx.apps[worker.app].spec.name;
        // A line feed in what a script logs must not look like a line of the log.
        let text = String::from_utf8_lossy(text).replace('\n', "\n    ");
        let fields = String::from_utf8_lossy(fields);
        let fields = Some(&*fields).filter(|f| !f.is_empty()).map(tracing::field::display);
        let (worker, (request, key)) = (worker.number, self.subject(worker, serial));
        let (link, conn) = (key.map(|key| key.link.0), key.map(|key| key.id.get()));
        let about = match level {
            Level::Debug | Level::Info => None,
            Level::Warn | Level::Error => self.about_job(id, serial),
        };
        let (method, path) = about.map_or((None, None), |about| (about.method, about.path));
        let (method, path) = (method.as_deref(), path.as_deref());
        // What the line is about stands before a traceback, not behind it.
        let (first, details) = match text.split_once('\n') {
            Some((first, rest)) => (first, Some(tracing::field::display(rest))),
            None => (&*text, None),
        };
        match level {
            Level::Debug => debug!(target: "script", app, worker, link, conn, request, fields, "{text}"),
            Level::Info => info!(target: "script", app, worker, link, conn, request, fields, "{text}"),
            Level::Warn => {
                warn!(target: "script", app, worker, link, conn, request, method, path, fields, details, "{first}");
            }
            Level::Error => {
                error!(target: "script", app, worker, link, conn, request, method, path, fields, details, "{first}");
            }
        }
    }

    /// What a worker's job is about: the number of a request, a connection.
    fn subject(&self, worker: &Worker, serial: u64) -> (Option<u64>, Option<ConnKey>) {
        match worker.jobs.get(&serial) {
            Some(Job::Request(request)) => {
                let request = &self.exchange.requests[*request];
                (request.shown(), Some(request.conn))
            }
            Some(Job::Live(live)) => (None, self.live.glimpse(*live).map(|glimpse| glimpse.key)),
            None => (None, None),
        }
    }
}
