//! Requests to workers: which one gets which, what waits, and what comes back unbegun.

use super::Exchange;
use crate::hub::apps::affinity::Near;
use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::{AppId, Job, RequestId, WorkerId};
use crate::hub::ledger::about::log_about;
use crate::hub::request::{Body, Place, Plan};
use crate::hub::workers::worker::Stage;
use crate::worker::protocol::encode_grown;
use kennel_http::response::Response;
use std::collections::VecDeque;
use std::time::Instant;

/// Where a job's frame holds the serial.
const SERIAL: std::ops::Range<usize> = 5..13;

impl Exchange {
    /// Gives a request to the least loaded worker or to the one that it belongs to, or lets it wait, or sends it away.
    pub(in crate::hub) fn submit(&mut self, cx: &mut Context, request: RequestId, app: AppId, now: Instant) {
        let (state, limits) = (&cx.apps[app], &cx.limits);
        if let Some(worker) =
            state.worker_for(self.near_of(request), &cx.workers, limits.worker_jobs).filter(|id| {
                // Those that wait for this worker take their turns first.
                state.first_waiting(*id, |request| self.near_of(request)).is_none()
                    && cx.workers.get(*id).is_some_and(|worker| worker.listed.is_empty())
            })
        {
            self.assign(cx, request, worker, now);
            return;
        }
        let is_full = state.queue.len() >= limits.queue
            && !state.holds_back(&cx.workers, limits.worker_jobs, limits.queue);
        if is_full || state.is_down() {
            let why = if is_full { "limits.queue requests wait" } else { "no worker is left" };
            self.refuse_overload(cx, request, why, now);
            return;
        }
        let Some(known) = self.requests.get_mut(request) else { return };
        known.place = Place::Queue;
        cx.apps[app].queue.push_back(request);
    }

    fn near_of(&self, request: RequestId) -> Near {
        self.requests.get(request).map_or(Near::Any, |request| request.near())
    }

    /// Gives a worker a request.
    fn assign(&mut self, cx: &mut Context, key: RequestId, id: WorkerId, now: Instant) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let Some(worker) = cx.workers.get_mut(id) else { return };
        let Plan::Run { app, job, near } = &mut request.plan else { return };
        worker.serial += 1;
        job[SERIAL].copy_from_slice(&worker.serial.to_le_bytes());
        if worker.jobs.is_empty() {
            worker.begin_watch(now);
        }
        worker.orders.extend_from_slice(job);
        worker.jobs.insert(worker.serial, Job::Request(key));
        if request.body == Body::Grown {
            encode_grown(&mut worker.orders, worker.serial, true, 0);
        }
        request.place = Place::Worker(id, worker.serial);
        cx.apps[*app].note_visitor(*near, id);
    }

    /// Gives waiting requests to workers that have room.
    pub(in crate::hub) fn assign_waiting(&mut self, cx: &mut Context, app: AppId, now: Instant) {
        if cx.apps[app].sharing.affinity.is_some() {
            self.assign_by_affinity(cx, app, now);
            return;
        }
        while !cx.apps[app].queue.is_empty() {
            let Some(worker) = cx.least_loaded(app) else { return };
            let Some(request) = cx.apps[app].queue.pop_front() else { return };
            self.assign(cx, request, worker, now);
        }
    }

    /// Gives the waiting requests of an app with affinity to their workers, as far as these have room.
    fn assign_by_affinity(&mut self, cx: &mut Context, app: AppId, now: Instant) {
        let waiting = std::mem::take(&mut cx.apps[app].queue);
        let mut rest = VecDeque::new();
        for request in waiting {
            match cx.apps[app].worker_for(self.near_of(request), &cx.workers, cx.limits.worker_jobs) {
                Some(worker) => self.assign(cx, request, worker, now),
                None => rest.push_back(request),
            }
        }
        cx.apps[app].queue = rest;
    }

    /// Whether a request waits that this worker may have.
    pub(in crate::hub) fn has_waiting(&self, cx: &Context, app: AppId, worker: WorkerId) -> bool {
        cx.apps[app].first_waiting(worker, |request| self.near_of(request)).is_some()
    }

    /// Gives a worker the first request of the queue that it may have.
    pub(in crate::hub) fn assign_next(
        &mut self,
        cx: &mut Context,
        app: AppId,
        worker: WorkerId,
        now: Instant,
    ) {
        let at = cx.apps[app].first_waiting(worker, |request| self.near_of(request));
        if let Some(request) = at.and_then(|at| cx.apps[app].queue.remove(at)) {
            self.assign(cx, request, worker, now);
        }
    }

    /// Puts a request that a worker never started back, before those that came later.
    pub(in crate::hub) fn requeue(&mut self, cx: &mut Context, key: RequestId, now: Instant) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let Plan::Run { app, .. } = request.plan else { return };
        if request.begun {
            // It says that it has not started what it has begun to answer.
            self.end_stream(cx, key, false);
        } else if request.gone && !request.raw {
            let conn_key = request.conn;
            self.remove_request(cx, key);
            let conn = cx.outbox.conns.map.get_mut(&conn_key).filter(|conn| conn.current == Some(key));
            if let Some(conn) = conn {
                conn.current = None;
                cx.outbox.mark_dirty(conn_key);
            }
        } else if request.has_lost_parts() {
            // It says that it has not started what it has begun to read.
            cx.ledger.counters.worker_died += 1;
            self.answer_with(cx, key, 502, now);
        } else {
            cx.ledger.counters.rerun += 1;
            request.place = Place::Queue;
            cx.apps[app].queue.push_front(key);
        }
    }

    /// Gives a job that a worker has begun to the one which it belongs to, or answers it when that is gone.
    pub(in crate::hub) fn pass(
        &mut self,
        cx: &mut Context,
        (key, from): (RequestId, WorkerId),
        number: u32,
        otherwise: Response<'_>,
        now: Instant,
    ) {
        let Some(request) = self.requests.get(key) else { return };
        if !request.http || request.raw {
            self.finish_raw(cx, key, now);
            return;
        }
        if request.begun || request.gone {
            // Nobody is to answer it a second time, and nobody waits for it.
            self.answer_with(cx, key, 500, now);
            return;
        }
        let Some(app) = cx.workers.get(from).map(|worker| worker.app) else { return };
        let seats = cx.apps[app].seats.iter().filter_map(|seat| seat.worker);
        let to = seats.filter(|id| *id != from).find(|id| {
            let worker = cx.workers.get(*id);
            worker.is_some_and(|to| to.number == number && matches!(to.stage, Stage::Ready { .. }))
        });
        match to {
            Some(to) => self.assign(cx, key, to, now),
            None => self.answer(cx, key, otherwise, now),
        }
    }

    /// 504 for requests whose time is over.
    pub(in crate::hub) fn expire_requests(&mut self, cx: &mut Context, now: Instant) {
        let timeout = cx.limits.request_timeout;
        let due = self.requests.iter_mut().filter_map(|(key, r)| r.is_due(timeout, now).then_some(key));
        let due: Vec<_> = due.collect();
        let mut freed = Vec::new();
        for key in due {
            // An answer to one may have ended others of its connection.
            let Some(request) = self.requests.get(key) else { continue };
            let about = match request.place {
                Place::Pipeline => continue,
                Place::Queue => {
                    for app in &mut cx.apps.list {
                        app.queue.retain(|waiting| *waiting != key);
                    }
                    cx.about_request(request)
                }
                Place::Worker(id, serial) => {
                    let about = cx.about_request(request);
                    if let Some(worker) = cx.workers.get_mut(id) {
                        worker.jobs.remove(&serial);
                        worker.note_late(serial, about.clone());
                        freed.push(id);
                    }
                    about
                }
            };
            if request.begun {
                log_about!(warn, about, "a worker does not end the response to a client that is gone");
            } else if request.raw {
                cx.ledger.counters.timed_out += 1;
                log_about!(warn, about, "the raw handler was not done within {timeout:?}");
            } else {
                cx.ledger.counters.timed_out += 1;
                log_about!(warn, about, status = 504, "504 Gateway Timeout: no response within {timeout:?}");
            }
            self.answer_with(cx, key, 504, now);
        }
        // Their places are for others, and the workers may have nothing more to say.
        cx.events.extend(freed.into_iter().map(Event::WorkerHasRoom));
    }
}
