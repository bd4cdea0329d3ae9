//! Jobs for threads: handlers that block.

use crate::job::Job;
use crate::link::Link;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The jobs that wait for a thread, and those that run in one.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Job>>,
    threads: usize,
    /// Serials of jobs that run in threads, in the order of their start.
    running: Vec<u64>,
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held has been reported where it happened.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread more takes jobs.
    pub(crate) fn add_thread(&self) {
        self.state().threads += 1;
    }

    /// Whether there are threads.
    pub(crate) fn has_threads(&self) -> bool {
        self.state().threads > 0
    }

    /// Whether no job waits for a thread.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().waiting.is_empty()
    }

    /// Gives a job to the next thread that is free.
    pub(crate) fn push(&self, job: Arc<Job>) {
        self.state().waiting.push_back(job);
        self.changed.notify_one();
    }

    /// Waits for a job, in a thread. From here on it counts as started.
    pub(crate) fn next(&self, link: &Link) -> Arc<Job> {
        let mut state = self.state();
        loop {
            while let Some(job) = state.waiting.pop_front() {
                if link.begin_any(job.serial) {
                    state.running.push(job.serial);
                    state.tell(link);
                    return job;
                }
                // The hub has taken it back; when it is gone the loop's next wait says so.
                let _ = link.flush();
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A thread is done with a job.
    pub(crate) fn ended(&self, link: &Link, serial: u64) {
        let mut state = self.state();
        state.running.retain(|running| *running != serial);
        state.tell(link);
    }
}

impl State {
    /// To the hub the worker is inside a script while all threads are: then nothing else can start, and the job
    /// that has run for longest is the one that may hang.
    fn tell(&self, link: &Link) {
        let is_full = self.running.len() == self.threads;
        link.set_full_pool(self.running.first().copied().filter(|_| is_full));
    }
}
