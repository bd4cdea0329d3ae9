//! What the hub has seen, in numbers, and the brake on repeated complaints.

use serde::Serialize;
use std::time::{Duration, Instant};

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Messages received.
    pub messages: u64,
    /// HTTP requests among them.
    pub requests: u64,
    /// Messages that could not be parsed.
    pub malformed: u64,
    /// Messages that were parsed and not acted on.
    pub refused: u64,
    /// Requests with upload headers that only a client can have written.
    pub spoofed_uploads: u64,
    /// Answers given.
    pub answers: u64,
    /// Answers whose client had left.
    pub answers_too_late: u64,
    /// 502: the worker died.
    pub worker_died: u64,
    /// 503: too much waiting.
    pub overloaded: u64,
    /// 504: too slow.
    pub timed_out: u64,
    /// Requests that were given to another worker.
    pub rerun: u64,
    /// Connections purged because their Mongrel2 went away.
    pub purged: u64,
    /// Targets of raw deliveries that could not be addressed.
    pub bad_targets: u64,
}

/// Lets a few complaints of a kind pass each second and counts the others, so that a hostile client
/// cannot fill the disk with log lines.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    since: Option<Instant>,
    passed: u32,
    held: u64,
}

impl Complaints {
    const PER_SECOND: u32 = 5;

    /// Whether this complaint may be logged; with the number of those held back before it.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        let fresh =
            self.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1));
        if fresh {
            self.since = Some(now);
            self.passed = 0;
        }
        if self.passed == Self::PER_SECOND {
            self.held += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_complaints_is_five_lines_a_second_and_a_count() {
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        let passed = (0..100).filter(|_| complaints.pass(now).is_some()).count();
        assert_eq!(passed, 5);
        assert_eq!(complaints.pass(now + Duration::from_secs(1)), Some(95));
    }
}
