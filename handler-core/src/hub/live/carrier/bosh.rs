//! A session by the rules of BOSH.

use crate::channel::bosh::{Session, element};
use crate::hub::ids::RequestId;
use std::sync::Arc;
use std::time::Instant;

/// A session, and the requests that it has not answered.
#[derive(Debug)]
pub(in crate::hub) struct ByBosh {
    pub session: Session,
    /// Each with its number, its place in the hub's table, and header lines for pages of other hosts.
    pub held: Vec<(u64, RequestId, String)>,
    /// What scripts sent in this turn: it leaves as one.
    pub unsent: Vec<Arc<[u8]>>,
    /// When the agenda looks at it next.
    pub planned: Option<Instant>,
}

impl ByBosh {
    /// Bytes that wait for the client.
    pub fn unsent(&self) -> usize {
        self.session.waiting().1 + self.unsent.iter().map(|element| element.len()).sum::<usize>()
    }

    /// When there is something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.session.next_timeout()
    }

    /// A request is gone, its answer is not wanted any more: its number.
    pub fn forget(&mut self, request: RequestId) -> Option<u64> {
        let at = self.held.iter().position(|(_, held, _)| *held == request)?;
        Some(self.held.swap_remove(at).0)
    }
}

/// The element that a message of a script is sent as.
pub(in crate::hub::live) fn element_of(binary: bool, payload: &[u8]) -> Arc<[u8]> {
    element::of_message(binary, payload).into()
}
