//! How much a worker may hold that it has not started: about as much as it starts in one look at its page.
//!
//! A quick worker is given jobs ahead, so that it never waits for the hub. A slow one would make requests and connections
//! wait behind what it was given first; so it gets more only as it starts what it has.

/// What a worker was given and has started, by serials.
#[derive(Debug)]
pub(in crate::hub) struct Pace {
    /// The last job that is known to have started, or not to be the worker's any more.
    begun: u64,
    /// The last job that it had been given at the last look.
    given_before: u64,
    /// The last job that had started at the last look.
    begun_before: u64,
    /// Jobs that it may hold without having started them.
    window: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { begun: 0, given_before: 0, begun_before: 0, window: u64::MAX }
    }
}

impl Pace {
    /// Backlogs of more windows than this are taken back when others wait behind them.
    const BACKLOG: u64 = 4;

    /// A job has started, or was taken back, and with it all before it.
    #[inline]
    pub fn note_begun(&mut self, serial: u64) {
        self.begun = self.begun.max(serial);
    }

    /// Whether it may get another job; `given` is the last one that it got.
    #[inline]
    pub fn has_room(&self, given: u64) -> bool {
        given.saturating_sub(self.begun) < self.window
    }

    /// Looks at a worker, every [`PULSE`](crate::hub::Hub::PULSE). Returns whether it holds far more than it starts in that time.
    pub fn look(&mut self, given: u64) -> bool {
        let progress = self.begun.saturating_sub(self.begun_before);
        let more = progress.saturating_add(progress / 2);
        let is_late = self.begun < self.given_before;
        self.window = match is_late {
            true => more.max(1),
            false => self.window.max(more),
        };
        self.given_before = given;
        self.begun_before = self.begun;
        is_late && given.saturating_sub(self.begun) > self.window.saturating_mul(Self::BACKLOG)
    }

    /// A script has run for long: from now on one job at a time, until the worker proves to be quick again.
    pub fn slow_down(&mut self) {
        self.window = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_starts_all_at_once_is_never_held_back() {
        let mut pace = Pace::default();
        for given in (0..100_000).step_by(1000) {
            assert!(pace.has_room(given + 1000));
            pace.note_begun(given + 900);
            assert!(!pace.look(given + 1000));
        }
    }

    #[test]
    fn a_slow_worker_gets_one_job_at_a_time_and_much_again_when_it_is_quick() {
        let mut pace = Pace::default();
        pace.note_begun(1);
        assert!(!pace.look(32), "what was given a moment ago need not have started");
        pace.note_begun(2);
        assert!(pace.look(32), "30 jobs that take 50 ms each");
        pace.note_begun(32);
        assert!(pace.has_room(32) && !pace.has_room(33));
        for serial in 33..=500 {
            assert!(pace.has_room(serial - 1));
            pace.note_begun(serial);
        }
        assert!(!pace.look(500));
        assert!(pace.has_room(500 + 700));
    }
}
