//! Which worker a request belongs to, for apps that keep in memory what a visitor's next request needs.
//!
//! A request belongs to a *seat*, the place of a worker, and so to whichever worker has the seat: after a crash or a
//! reload that is the new one. While a seat is filled again, its requests wait. By cookie, the hub tells a visitor the
//! number of the worker that answered first. By a parameter of the query string, the seat is the one for which a hash of
//! the value and the seat's number is highest (rendezvous hashing), so it does not depend on which workers run.

use crate::hub::apps::app::{App, Seat};
use crate::hub::apps::sharing::Affinity;
use crate::hub::ids::{RequestId, WorkerId};
use crate::hub::workers::Workers;
use crate::hub::workers::worker::Worker;
use kennel_http::{cookies, query};
use mongrel2_wire::Envelope;

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

impl App {
    fn seated<'a>(&'a self, workers: &'a Workers) -> impl Iterator<Item = (&'a Seat, WorkerId, &'a Worker)> {
        self.seats.iter().filter_map(|seat| {
            let id = seat.worker?;
            Some((seat, id, workers.get(id)?))
        })
    }

    /// The worker with the fewest unanswered jobs, if one has room: each may hold so many.
    pub(in crate::hub) fn least_loaded(&self, workers: &Workers, jobs: usize) -> Option<WorkerId> {
        self.seated(workers)
            .filter(|(_, _, worker)| worker.has_room(jobs))
            .min_by_key(|(_, _, worker)| worker.jobs.len())
            .map(|(_, id, _)| id)
    }

    /// A worker for a visitor who will stay: of those with the fewest unanswered requests, the one that was given the
    /// fewest visitors. On a quiet site the first worker would get all of them otherwise.
    fn least_visited(&self, workers: &Workers, jobs: usize) -> Option<WorkerId> {
        self.seated(workers)
            .filter(|(_, _, worker)| worker.has_room(jobs))
            .min_by_key(|(seat, _, worker)| (worker.jobs.len(), seat.visitors))
            .map(|(_, id, _)| id)
    }

    /// The worker that may have a request now which belongs there.
    pub(in crate::hub) fn worker_for(&self, near: Near, workers: &Workers, jobs: usize) -> Option<WorkerId> {
        match self.bound_seat(near).map(|seat| self.seats[seat].worker) {
            Some(worker) => worker.filter(|id| workers.get(*id).is_some_and(|worker| worker.has_room(jobs))),
            None if near == Near::Tell => self.least_visited(workers, jobs),
            None => self.least_loaded(workers, jobs),
        }
    }

    /// Whether more requests wait than a queue of this length holds only since slow workers get fewer jobs ahead than they
    /// may hold.
    pub(in crate::hub) fn holds_back(&self, workers: &Workers, jobs: usize, queue: usize) -> bool {
        let takes = self.seated(workers).filter(|(_, _, worker)| worker.takes_jobs());
        let room: usize = takes.map(|(_, _, worker)| jobs.saturating_sub(worker.jobs.len())).sum();
        self.queue.len() < queue.saturating_add(room)
    }

    /// A worker was given a request that belongs there.
    pub(in crate::hub) fn note_visitor(&mut self, near: Near, worker: WorkerId) {
        if near == Near::Tell
            && let Some(seat) = self.seats.iter_mut().find(|seat| seat.worker == Some(worker))
        {
            seat.visitors += 1;
        }
    }

    /// The place in the queue of the first request that this worker may have; `near` says where one belongs.
    pub(in crate::hub) fn first_waiting(
        &self,
        worker: WorkerId,
        near: impl Fn(RequestId) -> Near,
    ) -> Option<usize> {
        if self.sharing.affinity.is_none() {
            return (!self.queue.is_empty()).then_some(0);
        }
        let seat = self.seats.iter().position(|seat| seat.worker == Some(worker));
        self.queue.iter().position(|request| {
            let bound = self.bound_seat(near(*request));
            bound.is_none() || bound == seat
        })
    }
}

/// The header line that tells a client the number of its worker, for an app mounted there.
pub(in crate::hub) fn cookie_line(number: u32, mount: &str) -> String {
    let is_plain = mount.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b',');
    let path = if is_plain { mount } else { "/" };
    format!("Set-Cookie: {COOKIE}={number}; Path={path}; SameSite=Lax; HttpOnly\r\n")
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
