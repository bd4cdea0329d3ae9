//! The time that scripts live in: the system's, or one that a [rehearsal](crate::rehearsal) makes up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A source of time. Copies of one go together.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's.
    #[default]
    System,
    /// One that stands still until somebody sets it.
    Made(Arc<Made>),
}

/// A moment, and the nanoseconds that have passed since.
#[derive(Debug)]
pub struct Made {
    begin: Instant,
    passed: AtomicU64,
}

impl Clock {
    /// A clock that begins at this moment and stands still.
    pub fn made(begin: Instant) -> Self {
        Self::Made(Arc::new(Made { begin, passed: AtomicU64::new(0) }))
    }

    /// The time.
    #[inline]
    pub fn now(&self) -> Instant {
        match self {
            Self::System => Instant::now(),
            Self::Made(made) => made.begin + Duration::from_nanos(made.passed.load(Ordering::Relaxed)),
        }
    }

    /// How much time has passed on a made-up clock; none on the system's.
    pub fn passed(&self) -> Duration {
        match self {
            Self::System => Duration::ZERO,
            Self::Made(made) => Duration::from_nanos(made.passed.load(Ordering::Relaxed)),
        }
    }

    /// Sets a made-up clock forward; it never goes back, and the system's is not set.
    pub fn advance_to(&self, time: Instant) {
        if let Self::Made(made) = self {
            let passed = time.saturating_duration_since(made.begin).as_nanos();
            made.passed.fetch_max(u64::try_from(passed).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_time_stands_still_until_it_is_set_and_never_goes_back() {
        let begin = Instant::now();
        let clock = Clock::made(begin);
        let other = clock.clone();
        assert_eq!(other.now(), begin);
        clock.advance_to(begin + Duration::from_secs(5));
        clock.advance_to(begin + Duration::from_secs(3));
        assert_eq!(other.now(), begin + Duration::from_secs(5));
        assert_eq!(other.passed(), Duration::from_secs(5));
    }
}
