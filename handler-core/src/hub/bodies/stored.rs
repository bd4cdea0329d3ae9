//! How many bytes of large bodies there are, of all clients together and of each client address.
//!
//! A body counts by the bytes that have arrived, from the first one until its request is over. What a client only
//! announces does not count, since a client that announces much and sends nothing would keep others out. So bodies that
//! were let in may turn out to be too many: then those that began last are refused. All is counted once a second.

use crate::hub::Hub;
use crate::hub::answers::own_answer;
use crate::hub::bodies::streamed::LOST;
use crate::hub::ids::{ConnKey, RequestId};
use crate::hub::ledger::about::About;
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::ledger::traffic::MeterId;
use crate::hub::request::{Asked, Planned, Share};
use kennel_http::client_address::ClientAddress;
use rustc_hash::FxHashMap;
use std::time::{Duration, Instant};

/// What the log says of a body that has no place.
const BEYOND_ALL: &str = "bodies that have arrived reach limits.upload_total";
const BEYOND_ONE: &str =
    "bodies of this client address that have arrived reach limits.upload_total_per_address";

/// A body of which more is to come.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct Coming {
    /// When it began.
    pub since: Instant,
    pub key: ConnKey,
    /// The request that a worker has already, or will have.
    pub request: Option<RequestId>,
    pub share: Share,
}

/// The bytes of all bodies, as counted last.
#[derive(Debug, Default)]
pub(in crate::hub) struct Stored {
    all: u64,
    by_client: FxHashMap<ClientAddress, u64>,
}

impl Stored {
    pub fn add(&mut self, share: Share) {
        self.all += share.bytes;
        if let Some(client) = share.client.filter(|_| share.bytes > 0) {
            *self.by_client.entry(client).or_default() += share.bytes;
        }
    }

    fn subtract(&mut self, share: Share) {
        self.all = self.all.saturating_sub(share.bytes);
        if let Some(of_client) = share.client.and_then(|client| self.by_client.get_mut(&client)) {
            *of_client = of_client.saturating_sub(share.bytes);
        }
    }

    fn of(&self, client: Option<ClientAddress>) -> u64 {
        client.and_then(|client| self.by_client.get(&client)).copied().unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.all == 0
    }
}

/// How fast a body comes.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct Progress {
    /// When a period began, and how many bytes there were.
    begun: Instant,
    bytes: u64,
}

/// What its last period says about a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Pace {
    /// It is not over, or enough has come.
    Fine,
    /// Too little has come.
    Slow,
    /// Nothing has come.
    Lost,
}

impl Progress {
    pub fn new(bytes: u64, now: Instant) -> Self {
        Self { begun: now, bytes }
    }

    /// Looks at a body of this many bytes, which has to bring `rate` bytes per second on average.
    pub fn look(&mut self, bytes: u64, rate: usize, now: Instant) -> Pace {
        if now.saturating_duration_since(self.begun) < LOST {
            return Pace::Fine;
        }
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Pace::Lost;
        }
        if more < (rate as u64).saturating_mul(LOST.as_secs()) {
            return Pace::Slow;
        }
        *self = Self::new(bytes, now);
        Pace::Fine
    }

    /// Nobody has looked for this long.
    pub fn excuse(&mut self, pause: Duration) {
        self.begun += pause;
    }
}

impl Hub {
    /// Why one more body of this client, with as many bytes as announced, is not let in.
    pub(in crate::hub) fn bound_of_bodies(
        &self,
        announced: u64,
        client: Option<ClientAddress>,
    ) -> Option<&'static str> {
        let (stored, limits) = (&self.bodies.stored, &self.cx.limits);
        if stored.all.saturating_add(announced) > limits.upload_total as u64 {
            return Some(BEYOND_ALL);
        }
        let of_client = stored.of(client).saturating_add(announced);
        let is_beyond = client.is_some() && of_client > limits.upload_total_per_address as u64;
        is_beyond.then_some(BEYOND_ONE)
    }

    /// Refuses a body that is too large, one that would be too much beside the others, or one too many for its client's
    /// address.
    pub(in crate::hub) fn refuse_at_start(&mut self, asked: &Asked<'_>, now: Instant) -> Option<Planned> {
        let link = asked.key.link;
        let announced = asked.head.spool_size.map_or(0, u64::from);
        if self.is_too_large(announced) {
            self.refuse(link, asked.envelope, "a body beyond limits.upload", now);
            return Some(Planned::own(own_answer(413, None), MeterId::NOBODY));
        }
        let client = self.cx.clients.address(&asked.envelope.headers);
        if let Some(bound) = self.bound_of_bodies(announced, client) {
            self.cx.ledger.counters.overloaded += 1;
            self.complain_of_overload(|_| About::message(asked.key, asked.envelope), bound, now);
            return Some(Planned::own(self.own_page(503), MeterId::NOBODY));
        }
        let client = client?;
        let most = self.cx.limits.bodies_per_address;
        if self.bodies.streamed.of_client(client) + self.bodies.spooled.of_client(client, asked.key) < most {
            return None;
        }
        self.cx.ledger.counters.overloaded += 1;
        if self.cx.ledger.complaints.pass(Complaint::Overflow, now) {
            let about = About::message(asked.key, asked.envelope);
            log_about!(
                warn,
                about,
                %client,
                status = 503,
                "{most} bodies of this address are arriving, one more gets 503: limits.bodies_per_address"
            );
        }
        Some(Planned::own(self.own_page(503), MeterId::NOBODY))
    }

    /// Counts the bytes of all bodies. While there are too many, the bodies that began last get 503.
    pub(in crate::hub) fn count_bodies(&mut self, now: Instant) {
        self.bodies.stored = Stored::default();
        let mut coming = Vec::new();
        self.bodies.spooled.count(&mut self.bodies.stored, &mut coming);
        self.bodies.streamed.count(&mut self.bodies.stored, &mut coming);
        self.exchange.requests.iter().for_each(|(_, request)| self.bodies.stored.add(request.stored));
        let (all, each) =
            (self.cx.limits.upload_total as u64, self.cx.limits.upload_total_per_address as u64);
        if self.bodies.stored.all <= all && self.bodies.stored.by_client.values().all(|bytes| *bytes <= each)
        {
            return;
        }
        coming.sort_unstable_by_key(|body| (body.since, body.key));
        while let Some(Coming { key, request, share, .. }) = coming.pop() {
            let why = match share.client {
                _ if share.bytes == 0 => continue,
                _ if self.bodies.stored.all > all => BEYOND_ALL,
                client if self.bodies.stored.of(client) > each => BEYOND_ONE,
                _ => continue,
            };
            self.bodies.stored.subtract(share);
            self.cx.ledger.counters.overloaded += 1;
            self.complain_of_overload(|hub| hub.about_body(key), why, now);
            self.refuse_coming(key, request, 503, now);
        }
    }

    /// A body comes too slowly: its client gets 408.
    pub(in crate::hub) fn refuse_slow_body(
        &mut self,
        key: ConnKey,
        request: Option<RequestId>,
        now: Instant,
    ) {
        self.cx.ledger.counters.refused += 1;
        if self.cx.ledger.complaints.pass(Complaint::Cut, now) {
            let about = self.about_body(key);
            log_about!(
                warn,
                about,
                status = 408,
                "408 Request Timeout: a body brought less than limits.upload_rate for {LOST:?}"
            );
        }
        self.refuse_coming(key, request, 408, now);
    }

    /// Ends a body of which more would come, with an answer.
    pub(in crate::hub) fn refuse_coming(
        &mut self,
        key: ConnKey,
        request: Option<RequestId>,
        status: u16,
        now: Instant,
    ) {
        self.bodies.spooled.give_up(key);
        match request {
            Some(request) => self.refuse_body(request, status, now),
            None => self.answer_at_once(key, status, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_to_bring_enough_in_each_period() {
        let start = Instant::now();
        let mut progress = Progress::new(10, start);
        assert_eq!(progress.look(10, 100, start + LOST - Duration::from_secs(1)), Pace::Fine);
        assert_eq!(progress.look(10, 100, start + LOST), Pace::Lost);
        assert_eq!(progress.look(11, 100, start + LOST), Pace::Slow);
        assert_eq!(progress.look(15_009, 100, start + LOST), Pace::Slow);
        assert_eq!(progress.look(15_010, 100, start + LOST), Pace::Fine);
        assert_eq!(progress.look(15_010, 100, start + LOST + LOST), Pace::Lost, "the next period");
        progress.excuse(Duration::from_secs(1));
        assert_eq!(progress.look(15_010, 100, start + LOST + LOST), Pace::Fine);
    }
}
