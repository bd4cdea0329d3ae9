//! Which worker a request belongs to, for apps that keep in memory what a visitor's next request needs.
//!
//! A request belongs to a *seat*, the place of a worker, and so to whichever worker has the seat: after a crash or a
//! reload that is the new one. While a seat is filled again, its requests wait. By cookie, the hub tells a visitor the
//! number of the worker that answered first. By a parameter of the query string, the seat is the one for which a hash of
//! the value and the seat's number is highest (rendezvous hashing), so it does not depend on which workers run.

use crate::hub::Hub;
use crate::hub::apps::app::App;
use crate::hub::apps::sharing::Affinity;
use crate::hub::ids::{AppId, RequestId, WorkerId};
use crate::hub::request::{Place, Plan};
use kennel_http::{cookies, query};
use mongrel2_wire::Envelope;
use std::collections::VecDeque;
use std::time::Instant;

/// The cookie that names a visitor's worker.
const COOKIE: &str = "kennel-worker";

/// Where a request belongs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::hub) enum Near {
    /// To any worker.
    #[default]
    Any,
    /// To any worker, and the response tells the client to which.
    Tell,
    /// To the worker in this seat, counted from 0.
    Seat(usize),
}

impl App {
    /// Where a request of this app belongs.
    pub(in crate::hub) fn near(&self, envelope: &Envelope<'_>) -> Near {
        let Some(affinity) = self.sharing.affinity.as_ref().filter(|_| self.seats.len() > 1) else {
            return Near::Any;
        };
        match affinity {
            Affinity::Cookie => match named_by_cookie(envelope).filter(|seat| *seat < self.seats.len()) {
                Some(seat) => Near::Seat(seat),
                None => Near::Tell,
            },
            Affinity::Query(name) => {
                let query = envelope.headers.get(b"QUERY").and_then(|values| values.first());
                let query = query.map(|query| query.bytes()).unwrap_or_default();
                let key = query::pairs(&query).find(|(found, _)| **found == *name.as_bytes());
                key.map_or(Near::Any, |(_, value)| Near::Seat(seat_of(&value, self.seats.len())))
            }
        }
    }

    /// The seat to which a request belongs: none if it belongs to any, or its own is not filled again soon, or at all.
    pub(in crate::hub) fn bound_seat(&self, near: Near) -> Option<usize> {
        let Near::Seat(at) = near else { return None };
        let seat = self.seats.get(at)?;
        (seat.worker.is_some() || (seat.due.is_some() && !seat.backoff.is_hopeless())).then_some(at)
    }
}

/// The seat that the visitor's cookie names.
fn named_by_cookie(envelope: &Envelope<'_>) -> Option<usize> {
    let values = envelope.headers.get(b"cookie")?;
    let mut numbers = values.iter().filter_map(|header| {
        let header = header.bytes();
        let (_, value) = cookies::pairs(&header).find(|(name, _)| *name == COOKIE.as_bytes())?;
        std::str::from_utf8(value).ok()?.parse::<usize>().ok()?.checked_sub(1)
    });
    numbers.next()
}

/// The seat for a key, of this number of seats.
fn seat_of(key: &[u8], seats: usize) -> usize {
    // FNV-1a, and the last steps of SplitMix64 to mix the seat in.
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let weight = |seat: &usize| {
        let mut mixed = hash ^ (*seat as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..seats).max_by_key(weight).unwrap_or(0)
}

impl Hub {
    fn near_of(&self, request: RequestId) -> Near {
        match self.exchange.requests[request].plan {
            Plan::Run { near, .. } => near,
            _ => Near::Any,
        }
    }

    /// The worker that may have a request now.
    pub(in crate::hub) fn worker_for(&self, request: RequestId, app: AppId) -> Option<WorkerId> {
        let state = &self.cx.apps[app];
        let near = self.near_of(request);
        match state.bound_seat(near) {
            Some(seat) => state.seats[seat]
                .worker
                .filter(|id| self.cx.workers[*id].has_room(self.cx.limits.worker_jobs)),
            None if near == Near::Tell => self.least_visited(app),
            None => self.least_loaded(app),
        }
    }

    /// A worker for a visitor who will stay: of those with the fewest unanswered requests, the one that was given the
    /// fewest visitors. On a quiet site the first worker would get all of them otherwise.
    fn least_visited(&self, app: AppId) -> Option<WorkerId> {
        let seats = self.cx.apps[app].seats.iter();
        let seated = seats.filter_map(|seat| seat.worker.map(|id| (id, &self.cx.workers[id], seat.visitors)));
        seated
            .filter(|(_, worker, _)| worker.has_room(self.cx.limits.worker_jobs))
            .min_by_key(|(_, worker, visitors)| (worker.jobs.len(), *visitors))
            .map(|(id, ..)| id)
    }

    /// A worker was given a request.
    pub(in crate::hub) fn note_visitor(&mut self, request: RequestId, worker: WorkerId) {
        if let Plan::Run { app, near: Near::Tell, .. } = self.exchange.requests[request].plan {
            let seats = &mut self.cx.apps[app].seats;
            if let Some(seat) = seats.iter_mut().find(|seat| seat.worker == Some(worker)) {
                seat.visitors += 1;
            }
        }
    }

    /// The place in the app's queue of the first request that this worker may have.
    fn first_waiting(&self, app: AppId, worker: WorkerId) -> Option<usize> {
        let state = &self.cx.apps[app];
        if state.sharing.affinity.is_none() {
            return (!state.queue.is_empty()).then_some(0);
        }
        let seat = state.seats.iter().position(|seat| seat.worker == Some(worker));
        state.queue.iter().position(|request| {
            let bound = state.bound_seat(self.near_of(*request));
            bound.is_none() || bound == seat
        })
    }

    /// Whether a request waits that this worker may have.
    pub(in crate::hub) fn has_waiting(&self, app: AppId, worker: WorkerId) -> bool {
        self.first_waiting(app, worker).is_some()
    }

    /// Takes the first request from the queue that this worker may have.
    pub(in crate::hub) fn take_waiting(&mut self, app: AppId, worker: WorkerId) -> Option<RequestId> {
        let at = self.first_waiting(app, worker)?;
        self.cx.apps[app].queue.remove(at)
    }

    /// Gives the waiting requests of an app with affinity to their workers, as far as these have room.
    pub(in crate::hub) fn assign_by_affinity(&mut self, app: AppId, now: Instant) {
        let waiting = std::mem::take(&mut self.cx.apps[app].queue);
        let mut rest = VecDeque::new();
        for request in waiting {
            match self.worker_for(request, app) {
                Some(worker) => self.assign(request, worker, now),
                None => rest.push_back(request),
            }
        }
        self.cx.apps[app].queue = rest;
    }

    /// The head of a response, with the cookie that names its worker if the client is to learn that.
    pub(in crate::hub) fn head_with_cookie(&self, request: RequestId, head: &[u8]) -> Option<Vec<u8>> {
        let state = &self.exchange.requests[request];
        let (Plan::Run { app, near: Near::Tell, .. }, Place::Worker(worker, _)) = (&state.plan, state.place)
        else {
            return None;
        };
        let number = self.cx.workers.get(worker)?.number;
        let mount = self.cx.apps[*app].spec.mount.as_str();
        let is_plain = mount.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b',');
        let path = if is_plain { mount } else { "/" };
        let line = format!("Set-Cookie: {COOKIE}={number}; Path={path}; SameSite=Lax; HttpOnly\r\n");
        Some([head, line.as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spread_and_few_move_when_seats_are_added() {
        let keys: Vec<_> = (0..1000).map(|number| format!("visitor-{number}")).collect();
        let mut counts = [0; 4];
        keys.iter().for_each(|key| counts[seat_of(key.as_bytes(), 4)] += 1);
        assert!(counts.iter().all(|count| (200..300).contains(count)), "{counts:?}");
        let moved = |key: &&String| {
            let (before, after) = (seat_of(key.as_bytes(), 4), seat_of(key.as_bytes(), 5));
            assert!(after == before || after == 4, "a key moves to the new seat only");
            before != after
        };
        let moved = keys.iter().filter(moved).count();
        assert!((150..250).contains(&moved), "{moved}");
        assert_eq!(seat_of(b"", 1), 0);
    }
}
