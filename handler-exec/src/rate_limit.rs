//! How many lines for the log a program may cause, so that a flood of them drowns nobody else's.

use std::time::{Duration, Instant};

/// A bucket of lines that fills again with time.
#[derive(Debug)]
pub(crate) struct RateLimit {
    left: u32,
    most: u32,
    /// One more every so often.
    every: Duration,
    since: Instant,
    left_out: u64,
}

impl RateLimit {
    /// So many lines at once, and one more every so often.
    pub(crate) fn new(most: u32, every: Duration, now: Instant) -> Self {
        Self { left: most, most, every, since: now, left_out: 0 }
    }

    /// Asks for one line. Given, it comes with the number of those that were left out before it.
    pub(crate) fn ask(&mut self, now: Instant) -> Option<u64> {
        let gained = now.saturating_duration_since(self.since).as_nanos() / self.every.as_nanos().max(1);
        if gained > 0 {
            self.left = self.most.min(self.left.saturating_add(u32::try_from(gained).unwrap_or(u32::MAX)));
            self.since = now;
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_the_next_line_says_how_many_are_missing() {
        let now = Instant::now();
        let mut lines = RateLimit::new(3, Duration::from_millis(100), now);
        let given: Vec<_> = (0..10).map(|_| lines.ask(now)).collect();
        assert_eq!(given[..4], [Some(0), Some(0), Some(0), None]);
        assert_eq!(lines.ask(now + Duration::from_millis(100)), Some(7));
        assert_eq!(lines.ask(now + Duration::from_millis(150)), None);
        let later: Vec<_> = (0..4).map(|_| lines.ask(now + Duration::from_secs(9))).collect();
        assert_eq!(later, [Some(1), Some(0), Some(0), None]);
    }
}
