//! Sessions that no client has come back to: they make room when there are too many.
//!
//! Opening a session costs a client one small request. Without this, one client could take all places within seconds, and
//! keep them until they are given up.

use super::super::table::{Carrier, LiveId, Stage};
use crate::hub::Hub;
use crate::hub::counters::Complaint;
use std::collections::VecDeque;
use std::time::Instant;
use tracing::warn;

/// Sessions for polls with their numbers, in the order of their openings. Some are used or over by now.
#[derive(Debug, Default)]
pub(in crate::hub::live) struct Unused(VecDeque<(LiveId, u64)>);

impl Hub {
    /// A session was opened, and its client has not come back yet.
    pub(super) fn note_unused(&mut self, id: LiveId) {
        let Some(number) = self.live.lives.get(id).map(|channel| channel.number) else { return };
        let unused = &mut self.live.sessions.unused.0;
        if unused.len() >= self.limits.sessions.saturating_mul(2) {
            let lives = &self.live.lives;
            unused.retain(|(id, number)| {
                lives.get(*id).is_some_and(|channel| {
                    channel.number == *number && channel.stage != Stage::Over && is_unused(&channel.carrier)
                })
            });
        }
        unused.push_back((id, number));
    }

    /// Ends the oldest session that no client has come back to, if there is one.
    pub(in crate::hub::live) fn end_unused(&mut self, now: Instant) -> bool {
        while let Some((id, number)) = self.live.sessions.unused.0.pop_front() {
            let channel = self.live.lives.get(id).filter(|channel| channel.number == number);
            if channel.is_some_and(|c| c.stage != Stage::Over && is_unused(&c.carrier)) {
                if self.complaints.pass(Complaint::Overflow, now) {
                    warn!(
                        "{} sessions are open: one that was never polled is ended for a new one: limits.sessions",
                        self.limits.sessions
                    );
                }
                // Nothing is kept for a client that comes after all: it gets 410, and opens another one.
                self.end_live(id, 1013, "too many sessions", now);
                return true;
            }
        }
        false
    }
}

fn is_unused(carrier: &Carrier) -> bool {
    matches!(carrier, Carrier::Http(session) if !session.used)
}
