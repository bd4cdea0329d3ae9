//! Who reads what the hub says, and who does it, where there is no event loop.
//!
//! When scripts run in the main thread, that thread does everything: it waits, reads, and runs what was ordered. When
//! they run in threads only, waking one for each request would be most of the work. So the threads read by themselves: one
//! of those that are free has the turn to read, gives it back when a job has come, and runs that job. Meanwhile
//! the main thread watches: when a handler blocks, it wakes another thread; when all of them block, it reads itself,
//! for a client that leaves, or the order to stop.

use crate::link::Link;
use crate::worker::pool::{Duty, Sight};
use crate::worker::state::{WorkerState, os_error};
use handler_core::worker::link::Wake;
use pyo3::prelude::*;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often a loop looks after its threads, and a thread that reads whether it still should.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The same after a stop, when the last thread to end is waited for.
const LOOK_AGAIN_SOON: Duration = Duration::from_millis(10);

impl WorkerState {
    /// Serves in this thread, and pushes to others what is theirs, until the hub is gone or says stop (`false`), or the
    /// package wants its event loop (`true`).
    pub(crate) fn serve_here(&self, py: Python<'_>) -> PyResult<bool> {
        loop {
            self.obey(py)?;
            if !self.pool.is_empty() {
                self.link.show_alive();
            }
            if self.wants_loop.load(Ordering::Relaxed) {
                return Ok(true);
            }
            if self.is_over() || self.is_late() {
                return Ok(false);
            }
            // A thread of the pool may want the loop, or be the last to end, while nothing comes from the hub.
            let patience = match self.stopping.load(Ordering::Relaxed) {
                true => Some(LOOK_AGAIN_SOON),
                false => self.pool.has_threads().then_some(LOOK_AGAIN),
            };
            let wake = py.detach(|| self.link.wait(patience)).map_err(|problem| os_error(&problem))?;
            py.check_signals()?;
            if wake == Wake::End {
                return Ok(false);
            }
        }
    }

    /// Lets the threads read, and watches them, until the hub is gone or says stop (`false`), or the package wants its
    /// event loop (`true`).
    pub(crate) fn watch_threads(&self, py: Python<'_>) -> PyResult<bool> {
        self.link.end_turn();
        self.link.set_watched(true);
        self.pool.set_reads(true);
        let result = self.watch(py);
        self.pool.set_reads(false);
        self.link.set_watched(false);
        py.detach(|| self.link.await_turn());
        result
    }

    fn watch(&self, py: Python<'_>) -> PyResult<bool> {
        loop {
            if let Some(problem) = self.take_problem() {
                return Err(problem);
            }
            if self.wants_loop.load(Ordering::Relaxed) {
                return Ok(true);
            }
            if self.is_over() || self.is_late() || self.link.is_ended() {
                return Ok(false);
            }
            if py.detach(|| self.pool.watch(&self.link)) == Sight::NobodyReads {
                self.read(py)?;
            }
            if !self.pool.is_empty() {
                self.link.show_alive();
            }
            py.check_signals()?;
        }
    }

    /// The life of a thread of the pool.
    pub(crate) fn run_duties(&self, py: Python<'_>) -> PyResult<()> {
        self.pool.add_thread();
        Link::flush_when_done();
        loop {
            match py.detach(|| self.pool.next(&self.link)) {
                Duty::Run(job) => {
                    let (serial, begun) = (job.serial, Instant::now());
                    Link::set_running(serial);
                    let result = self.run_job(py, job);
                    Link::set_running(0);
                    self.check_fork();
                    self.pool.ended(&self.link, serial, begun.elapsed());
                    if self.stopping.load(Ordering::Relaxed) {
                        self.pool.stir();
                        self.link.wake_loop(py);
                    }
                    result?;
                }
                Duty::Read => {
                    if let Err(problem) = self.read(py) {
                        self.set_problem(problem);
                        self.pool.set_reads(false);
                    }
                    if self.stopping.load(Ordering::Relaxed) || self.link.is_ended() {
                        self.pool.stir();
                    }
                }
            }
        }
    }

    /// Waits for orders and takes them, for whoever has the turn to read, and gives that back.
    fn read(&self, py: Python<'_>) -> PyResult<()> {
        // Whoever waited for an answer of the hub may have left others.
        let wake = match self.link.peek_kind() {
            Some(_) => Ok(Wake::Orders),
            None => py.detach(|| self.link.wait(Some(LOOK_AGAIN))),
        };
        let result = wake.map_err(|problem| os_error(&problem)).and_then(|wake| {
            if wake == Wake::End {
                self.pool.set_reads(false);
            }
            self.obey_orders(py)
        });
        self.link.end_turn();
        result
    }
}
