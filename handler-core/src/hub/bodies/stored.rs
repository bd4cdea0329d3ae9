//! How many bytes of large bodies there are, of all clients together and of each client address.
//!
//! A body counts by the bytes that have arrived, from the first one until its request is over. What a client only
//! announces does not count, since a client that announces much and sends nothing would keep others out. So bodies that
//! were let in may turn out to be too many: then those that began last are refused. All is counted once a second.

use crate::hub::ids::{ConnKey, RequestId};
use crate::hub::limits::Limits;
use crate::hub::request::Share;
use kennel_http::client_address::ClientAddress;
use rustc_hash::FxHashMap;
use std::time::Instant;

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

    /// Why one more body of this client, with as many bytes as announced, is not let in.
    pub fn bound(
        &self,
        limits: &Limits,
        announced: u64,
        client: Option<ClientAddress>,
    ) -> Option<&'static str> {
        if self.all.saturating_add(announced) > limits.upload_total as u64 {
            return Some(BEYOND_ALL);
        }
        let of_client = self.of(client).saturating_add(announced);
        let is_beyond = client.is_some() && of_client > limits.upload_total_per_address as u64;
        is_beyond.then_some(BEYOND_ONE)
    }

    /// Finds the bodies that have no place while there are too many bytes, those that began last first, each with the
    /// bound that is reached. Their bytes do not count any more.
    pub fn surplus(&mut self, limits: &Limits, mut coming: Vec<Coming>) -> Vec<(Coming, &'static str)> {
        let (all, each) = (limits.upload_total as u64, limits.upload_total_per_address as u64);
        let mut surplus = Vec::new();
        if self.all <= all && self.by_client.values().all(|bytes| *bytes <= each) {
            return surplus;
        }
        coming.sort_unstable_by_key(|body| (body.since, body.key));
        while let Some(body) = coming.pop() {
            let why = match body.share.client {
                _ if body.share.bytes == 0 => continue,
                _ if self.all > all => BEYOND_ALL,
                client if self.of(client) > each => BEYOND_ONE,
                _ => continue,
            };
            self.subtract(body.share);
            surplus.push((body, why));
        }
        surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ids::LinkId;
    use mongrel2_wire::ConnId;
    use std::time::Duration;

    #[test]
    fn of_too_many_bytes_the_bodies_that_began_last_have_no_place() {
        let start = Instant::now();
        let body = |id: i64, seconds, bytes| Coming {
            since: start + Duration::from_secs(seconds),
            key: ConnKey { link: LinkId(0), incarnation: 0, id: ConnId::try_from(id).unwrap() },
            request: None,
            share: Share { bytes, client: None },
        };
        let coming = vec![body(1, 3, 60), body(2, 1, 50), body(3, 2, 40), body(4, 4, 0)];
        let limits = Limits { upload_total: 100, ..Limits::default() };
        let mut stored = Stored::default();
        coming.iter().for_each(|body| stored.add(body.share));
        assert_eq!(stored.bound(&limits, 0, None), Some(BEYOND_ALL));
        let surplus = stored.surplus(&limits, coming);
        let ids: Vec<_> = surplus.iter().map(|(body, why)| (body.key.id.get(), *why)).collect();
        assert_eq!(ids, [(1, BEYOND_ALL)]);
        assert_eq!(stored.bound(&limits, 10, None), None);
        assert_eq!(stored.bound(&limits, 11, None), Some(BEYOND_ALL));
    }
}
