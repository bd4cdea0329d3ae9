//! How fast a body comes, and when that is too slowly.

use std::time::{Duration, Instant};

/// How often bodies that nobody hears of are looked at.
pub(in crate::hub) const LOOK: Duration = Duration::from_secs(1);
/// After this time without a byte Mongrel2 has cut the client off (`limits.min_ping` and a tick), of which it tells
/// nobody. A body has to bring `limits.upload_rate` on average over this time.
pub(in crate::hub) const LOST: Duration = Duration::from_secs(150);

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
