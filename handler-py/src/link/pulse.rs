//! What the hub can see of this worker's work, through the shared page: since when which job's script runs.
//!
//! Several things can be at work at once. The hub is shown one of them: a pool whose threads are all inside handlers, since
//! nothing else can start then; or else the script that runs in the loop's thread; or else an event loop that is awake, in
//! which scripts may run that nobody announced.

use handler_core::worker::page::Page;

/// What is at work, and what the hub was told of it. Numbers are serials of jobs, 0 for nobody's.
#[derive(Default)]
pub(crate) struct Pulse {
    full_pool: Option<u64>,
    /// Threads of the pool that wait for their clients.
    waiting: usize,
    script: Option<u64>,
    loop_awake: bool,
    shown: Option<u64>,
}

impl Pulse {
    /// A script begins in the loop's thread, or ends.
    pub(crate) fn set_script(&mut self, page: &Page, serial: Option<u64>) {
        self.script = serial;
        self.show(page);
    }

    /// The event loop wakes up, or goes to sleep.
    pub(crate) fn set_loop_awake(&mut self, page: &Page, awake: bool) {
        self.loop_awake = awake;
        self.show(page);
    }

    /// All threads are busy, with this job for longest; or some are free.
    pub(crate) fn set_full_pool(&mut self, page: &Page, oldest: Option<u64>) {
        self.full_pool = oldest;
        self.show(page);
    }

    /// A thread of the pool begins to wait for its client, which is no fault of the script's.
    pub(crate) fn begin_waiting(&mut self, page: &Page) {
        self.waiting += 1;
        self.show(page);
    }

    /// It goes on.
    pub(crate) fn end_waiting(&mut self, page: &Page) {
        self.waiting -= 1;
        self.show(page);
    }

    /// What is shown is still at work.
    pub(crate) fn beat(&mut self, page: &Page) {
        if let Some(serial) = self.shown {
            page.turn(0);
            page.turn(serial);
        }
    }

    /// Nothing is at work, and what waits waits for a thread of the pool: the worker is alive all the same.
    pub(crate) fn show_alive(&mut self, page: &Page) {
        if self.shown.is_none() {
            page.turn(0);
            page.turn(0);
        }
    }

    fn show(&mut self, page: &Page) {
        let full_pool = self.full_pool.filter(|_| self.waiting == 0);
        let now = full_pool.or(self.script).or(self.loop_awake.then_some(0));
        if now == self.shown {
            return;
        }
        if self.shown.is_some() {
            page.turn(0);
        }
        if let Some(serial) = now {
            page.turn(serial);
        }
        self.shown = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page::create().unwrap().0
    }

    /// What the hub sees: whether something is at work, for which job, and how often that has changed.
    fn seen(page: &Page) -> (bool, u64, u64) {
        let pulse = page.pulse();
        (pulse.turn % 2 == 1, pulse.running, pulse.turn)
    }

    #[test]
    fn a_script_is_at_work_from_its_beginning_to_its_end() {
        let (page, mut pulse) = (page(), Pulse::default());
        pulse.set_script(&page, Some(7));
        assert_eq!(seen(&page), (true, 7, 1));
        pulse.set_script(&page, None);
        assert_eq!(seen(&page), (false, 0, 2));
    }

    #[test]
    fn another_job_s_script_is_another_turn() {
        let (page, mut pulse) = (page(), Pulse::default());
        pulse.set_script(&page, Some(7));
        pulse.set_script(&page, Some(8));
        assert_eq!(seen(&page), (true, 8, 3));
    }

    #[test]
    fn what_is_shown_already_is_no_turn() {
        let (page, mut pulse) = (page(), Pulse::default());
        pulse.set_loop_awake(&page, true);
        pulse.set_script(&page, Some(0));
        pulse.set_loop_awake(&page, true);
        assert_eq!(seen(&page), (true, 0, 1));
    }

    #[test]
    fn of_several_a_full_pool_is_shown_then_a_script_then_a_loop_that_is_awake() {
        let (page, mut pulse) = (page(), Pulse::default());
        pulse.set_loop_awake(&page, true);
        assert_eq!(seen(&page), (true, 0, 1));
        pulse.set_script(&page, Some(5));
        assert_eq!(seen(&page), (true, 5, 3));
        pulse.set_full_pool(&page, Some(3));
        assert_eq!(seen(&page), (true, 3, 5));
        pulse.set_script(&page, None);
        assert_eq!(seen(&page), (true, 3, 5), "the pool is still full");
        pulse.set_full_pool(&page, None);
        assert_eq!(seen(&page), (true, 0, 7), "the loop is still awake");
        pulse.set_loop_awake(&page, false);
        assert_eq!(seen(&page), (false, 0, 8));
    }

    #[test]
    fn a_full_pool_of_which_a_thread_waits_for_its_client_is_not_at_work() {
        let (page, mut pulse) = (page(), Pulse::default());
        pulse.set_full_pool(&page, Some(3));
        pulse.begin_waiting(&page);
        pulse.begin_waiting(&page);
        assert_eq!(seen(&page), (false, 0, 2));
        pulse.end_waiting(&page);
        assert_eq!(seen(&page), (false, 0, 2), "another one still waits");
        pulse.end_waiting(&page);
        assert_eq!(seen(&page), (true, 3, 3));
    }

    #[test]
    fn a_thread_that_waits_for_its_client_does_not_hide_a_script() {
        let (page, mut pulse) = (page(), Pulse::default());
        pulse.set_full_pool(&page, Some(3));
        pulse.set_script(&page, Some(5));
        pulse.begin_waiting(&page);
        assert_eq!(seen(&page), (true, 5, 3));
    }

    #[test]
    fn a_beat_is_a_new_turn_of_the_same_work() {
        let (page, mut pulse) = (page(), Pulse::default());
        pulse.beat(&page);
        assert_eq!(seen(&page), (false, 0, 0), "nothing is at work");
        pulse.set_script(&page, Some(7));
        pulse.beat(&page);
        assert_eq!(seen(&page), (true, 7, 3));
    }

    #[test]
    fn a_worker_at_rest_can_show_that_it_is_alive() {
        let (page, mut pulse) = (page(), Pulse::default());
        pulse.show_alive(&page);
        assert_eq!(seen(&page), (false, 0, 2));
        pulse.set_script(&page, Some(7));
        pulse.show_alive(&page);
        assert_eq!(seen(&page), (true, 7, 3), "a script that hangs stays one");
    }
}
