//! How soon a dead worker is replaced.
//!
//! A worker that served is replaced at once: a crash must cost one request, not a pause. One that
//! dies as soon as it starts is tried again ever more slowly, up to [`Backoff::MAX`].

use std::time::Duration;

/// The patience with the worker of one seat.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A worker that lived this long after it was ready was no failure.
    pub const GRACE: Duration = Duration::from_millis(200);
    /// The longest pause.
    pub const MAX: Duration = Duration::from_secs(5);

    /// Whether the last few workers all died at once, so that nobody should wait for the next.
    pub fn is_hopeless(&self) -> bool {
        self.failures >= 3
    }

    /// Says how long to wait after a death. `served` is the time since the worker was ready,
    /// `None` when it never was.
    pub fn after_death(&mut self, served: Option<Duration>) -> Duration {
        if served.is_some_and(|time| time >= Self::GRACE) {
            self.failures = 0;
            return Duration::ZERO;
        }
        self.failures += 1;
        match self.failures {
            1 => Duration::ZERO,
            n => (Duration::from_millis(50) * (1 << (n - 2).min(10))).min(Self::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_served_is_replaced_at_once_however_often() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert_eq!(backoff.after_death(Some(Duration::from_millis(500))), Duration::ZERO);
        }
    }

    #[test]
    fn one_that_never_serves_is_tried_ever_more_slowly() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..12).map(|_| backoff.after_death(None).as_millis()).collect();
        assert!(backoff.is_hopeless());
        assert_eq!(pauses, [0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000]);
        assert_eq!(backoff.after_death(Some(Backoff::GRACE)), Duration::ZERO);
        assert_eq!(backoff.after_death(None), Duration::ZERO);
    }
}
