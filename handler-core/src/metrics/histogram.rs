//! How long things take: a count for each range of times.

use std::time::Duration;

/// Times, counted by range. The ranges are the same everywhere, so that series can be added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many were in each range; behind the last bound is one more.
    counts: [u64; BOUNDS.len() + 1],
    /// All times together, nanoseconds: enough for five centuries.
    sum: u64,
}

/// The longest time of each range, nanoseconds, and the same in seconds as it is written.
const BOUNDS: [(u64, &str); 16] = [
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
];

impl Histogram {
    /// Counts a time.
    #[inline]
    pub fn observe(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // Most times are short: the first few bounds decide, faster than halving would.
        let range = BOUNDS.iter().position(|(bound, _)| nanos <= *bound).unwrap_or(BOUNDS.len());
        self.counts[range] += 1;
        self.sum = self.sum.saturating_add(nanos);
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together, seconds.
    pub fn sum(&self) -> f64 {
        self.sum as f64 / 1e9
    }

    /// For each bound, in seconds as it is written, how many times were not longer. The last one is `+Inf`.
    pub fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = BOUNDS.iter().map(|(_, written)| *written).chain(["+Inf"]);
        let mut sum = 0;
        bounds.zip(self.counts).map(move |(bound, count)| {
            sum += count;
            (bound, sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_the_first_range_that_holds_it() {
        let mut times = Histogram::default();
        let counted =
            |times: &Histogram, bound: &str| times.cumulative().find(|(le, _)| *le == bound).unwrap().1;
        times.observe(Duration::ZERO);
        times.observe(Duration::from_micros(100));
        times.observe(Duration::from_nanos(100_001));
        times.observe(Duration::from_secs(10));
        times.observe(Duration::MAX);
        assert_eq!(counted(&times, "0.0001"), 2);
        assert_eq!(counted(&times, "0.00025"), 3);
        assert_eq!((counted(&times, "5"), counted(&times, "10"), counted(&times, "+Inf")), (3, 4, 5));
        assert_eq!(times.count(), 5);
    }

    #[test]
    fn bounds_grow_and_are_written_as_they_are() {
        assert!(BOUNDS.is_sorted());
        for (nanos, written) in BOUNDS {
            assert_eq!((written.parse::<f64>().unwrap() * 1e9).round() as u64, nanos);
        }
    }
}
