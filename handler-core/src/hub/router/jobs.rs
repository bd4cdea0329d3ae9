//! Jobs for workers that have room, and jobs that come back.

use crate::hub::Hub;
use crate::hub::ids::{AppId, Job, WorkerId};
use rustc_hash::FxHashSet;
use std::time::Instant;

impl Hub {
    /// Gives a worker that has room again what waits for it. Requests and the messages of live connections take turns, and so
    /// do the connections, whatever time each takes.
    pub(in crate::hub) fn fill(&mut self, id: WorkerId, app: AppId, now: Instant) {
        while let Some(worker) = self.cx.workers.get_mut(id) {
            let has_both = !worker.listed.is_empty() && {
                let has_room = worker.has_room(self.cx.limits.worker_jobs) && !worker.is_leaving();
                has_room && self.exchange.has_waiting(&self.cx, app, id)
            };
            let Some(worker) = self.cx.workers.get_mut(id).filter(|_| has_both) else { break };
            let request_is_next = worker.request_is_next;
            worker.request_is_next = !request_is_next;
            if request_is_next {
                self.exchange.assign_next(&mut self.cx, app, id, now);
            } else {
                self.live.pump_next(&mut self.cx, id, now);
                self.settle(now);
            }
        }
        self.live.pump_listed(&mut self.cx, id, now);
        self.settle(now);
        self.assign_waiting(app, now);
    }

    /// Gives workers with room what waits, in case that nothing else has.
    pub(in crate::hub) fn fill_all(&mut self, now: Instant) {
        for app in self.app_ids() {
            for seat in 0..self.cx.apps[app].seats.len() {
                let state = &self.cx.apps[app];
                let Some(id) = state.seats.get(seat).and_then(|seat| seat.worker) else { continue };
                let has_listed = self.cx.workers.get(id).is_some_and(|worker| !worker.listed.is_empty());
                if !state.queue.is_empty() || has_listed {
                    self.fill(id, app, now);
                }
            }
        }
    }

    /// Gives waiting requests and live connections of an app to workers that have room.
    pub(in crate::hub) fn assign_waiting(&mut self, app: AppId, now: Instant) {
        if !self.cx.apps[app].orphans.is_empty() && self.cx.least_loaded(app).is_some() {
            self.live.adopt_orphans(&mut self.cx, app, now);
            self.settle(now);
        }
        self.exchange.assign_waiting(&mut self.cx, app, now);
        self.settle(now);
    }

    /// A worker has not started these jobs, and will not; they are in the order in which it would have. What was next keeps its
    /// turn.
    pub(in crate::hub) fn take_back_all(&mut self, worker: WorkerId, jobs: &[(u64, Job)], now: Instant) {
        let Some((_, first)) = jobs.first() else { return };
        for (serial, job) in jobs.iter().rev() {
            match job {
                Job::Request(request) => {
                    self.exchange.requeue(&mut self.cx, *request, now);
                    self.settle(now);
                }
                Job::Live(live) => self.live.live_returned(&mut self.cx, worker, *live, *serial),
            }
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
}
