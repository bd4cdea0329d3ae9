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
