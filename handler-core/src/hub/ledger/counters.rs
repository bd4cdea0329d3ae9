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
    /// Answers in pieces that ended too soon.
    pub cut_short: u64,
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
    /// Orders of scripts that could not be carried out.
    pub refused_orders: u64,
    /// Connections closed because too much waited for them.
    pub overflowed: u64,
    /// Live connections opened.
    pub opened: u64,
    /// Live connections that a hub before this one had opened.
    pub adopted: u64,
    /// Live connections that are over.
    pub closed: u64,
    /// Messages to rooms.
    pub published: u64,
    /// Messages to rooms, times those who got them.
    pub recipients: u64,
    /// Messages dropped because a client did not read.
    pub dropped: u64,
    /// Live connections closed because they broke their protocol.
    pub violations: u64,
    /// Live connections closed because pings were not answered.
    pub unanswered_pings: u64,
    /// Connections that were found to be gone by asking, since their server had not told.
    pub untold: u64,
    /// Connections closed because a hub before this one had taken their requests.
    pub orphaned: u64,
}

impl Counters {
    /// Those that are not zero, with their names, for a log line.
    pub fn summary(&self) -> String {
        let named = [
            ("messages", self.messages),
            ("requests", self.requests),
            ("answers", self.answers),
            ("cut_short", self.cut_short),
            ("answers_too_late", self.answers_too_late),
            ("malformed", self.malformed),
            ("refused", self.refused),
            ("spoofed_uploads", self.spoofed_uploads),
            ("worker_died", self.worker_died),
            ("overloaded", self.overloaded),
            ("timed_out", self.timed_out),
            ("rerun", self.rerun),
            ("purged", self.purged),
            ("bad_targets", self.bad_targets),
            ("refused_orders", self.refused_orders),
            ("overflowed", self.overflowed),
            ("opened", self.opened),
            ("adopted", self.adopted),
            ("closed", self.closed),
            ("published", self.published),
            ("recipients", self.recipients),
            ("dropped", self.dropped),
            ("violations", self.violations),
            ("unanswered_pings", self.unanswered_pings),
            ("untold", self.untold),
            ("orphaned", self.orphaned),
        ];
        let shown: Vec<_> =
            named.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name}={n}")).collect();
        shown.join(" ")
    }
}

/// What is complained about in the log; each kind has a brake of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Complaint {
    /// Messages that cannot be read.
    Malformed,
    /// Messages that are not acted on.
    Refused,
    /// Messages of a sender that does not belong to the link.
    Sender,
    /// Targets of raw deliveries that cannot be.
    Target,
    /// Clients that do not read what is delivered to them.
    Overflow,
    /// Replies to a server that is gone.
    Undelivered,
    /// Clients that are gone in the middle of a response.
    Cut,
    /// Requests that get 503.
    Overload,
}

/// The brakes of all kinds.
#[derive(Debug, Default)]
pub(in crate::hub) struct Complaints([Brake; 8]);

impl Complaints {
    /// Whether this complaint may be logged.
    pub fn pass(&mut self, kind: Complaint, now: Instant) -> bool {
        self.0[kind as usize].pass(now)
    }

    /// The number of complaints of each kind that were held back in a second that is over.
    pub fn take_held(&mut self, now: Instant) -> impl Iterator<Item = (Complaint, u64)> {
        use Complaint::{Cut, Malformed, Overflow, Overload, Refused, Sender, Target, Undelivered};
        let kinds = [Malformed, Refused, Sender, Target, Overflow, Undelivered, Cut, Overload];
        kinds.into_iter().filter_map(move |kind| Some((kind, self.0[kind as usize].take_held(now)?)))
    }

    /// When there is something held back to be told.
    pub fn next_timeout(&self) -> Option<Instant> {
        let due = |brake: &Brake| brake.since.filter(|_| brake.held > 0).map(|since| since + Brake::SECOND);
        self.0.iter().filter_map(due).min()
    }
}

/// Lets a few complaints pass each second and counts the others, so that a hostile client cannot fill
/// the disk with log lines.
#[derive(Debug, Default)]
struct Brake {
    since: Option<Instant>,
    passed: u32,
    held: u64,
}

impl Brake {
    const SECOND: Duration = Duration::from_secs(1);
    const PER_SECOND: u32 = 5;

    /// The number of complaints held back, once the second is over; they are told then.
    fn take_held(&mut self, now: Instant) -> Option<u64> {
        let over = self.since.is_some_and(|since| now.saturating_duration_since(since) >= Self::SECOND);
        if !over || self.held == 0 {
            return None;
        }
        Some(std::mem::take(&mut self.held))
    }

    fn pass(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= Self::SECOND) {
            self.since = Some(now);
            self.passed = 0;
        }
        self.passed += 1;
        if self.passed > Self::PER_SECOND {
            self.held += 1;
        }
        self.passed <= Self::PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_complaints_is_five_lines_a_second_and_a_count() {
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        let passed = (0..100).filter(|_| complaints.pass(Complaint::Refused, now)).count();
        assert_eq!(passed, 5);
        assert!(complaints.pass(Complaint::Malformed, now), "another kind has its own five");
        assert_eq!(complaints.take_held(now).count(), 0);
        let later = complaints.next_timeout().unwrap();
        assert_eq!(complaints.take_held(later).collect::<Vec<_>>(), [(Complaint::Refused, 95)]);
        assert!(complaints.pass(Complaint::Refused, later));
    }
}
