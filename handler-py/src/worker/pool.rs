//! Jobs for threads: handlers that block.
//!
//! What a thread is woken for costs more than a short handler does, so the fewest are woken that do the work: a thread that
//! is done takes the next job itself; and where every handler runs in threads, it is also the one that reads what
//! the hub says next, since it is awake (see [`threads`](crate::worker::threads)). Another thread is woken when handlers prove
//! to be slow, or by the watch when things stand still.

use crate::link::Link;
use crate::link::job::Job;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Handlers that take longer than this, on average, are not waited for: the next job wakes another thread.
const SLOW: Duration = Duration::from_micros(200);

/// How often the watch looks at threads that are at work.
const TICK: Duration = Duration::from_millis(1);

/// How often it looks when nothing is at work.
const IDLE: Duration = Duration::from_millis(200);

/// The jobs that wait for a thread, and those that run in one.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
    /// There is something to do for a thread.
    changed: Condvar,
    /// There is something to watch.
    begun: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Job>>,
    threads: usize,
    /// Threads that wait to be woken.
    idle: usize,
    /// Jobs that run in threads, in the order of their start.
    running: Vec<Arc<Job>>,
    /// Threads read what the hub says.
    reads: bool,
    /// How often a thread has taken something to do.
    taken: u64,
    /// How long a handler takes, on average of the last ones.
    pace: Duration,
    /// The watch has nothing to watch and waits to be woken.
    watch_sleeps: bool,
}

/// What a thread does next.
pub(crate) enum Duty {
    /// It runs a job, which counts as started from here on.
    Run(Arc<Job>),
    /// It reads what the hub says; the turn to read is its own until it gives it back.
    Read,
}

/// What the watch has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// All is well, or a thread was woken that makes it so.
    Well,
    /// All threads are inside handlers: whoever watches has to read.
    NobodyReads,
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

    /// Whether no job waits for a thread or runs in one.
    pub(crate) fn is_empty(&self) -> bool {
        let state = self.state();
        state.waiting.is_empty() && state.running.is_empty()
    }

    /// The jobs that run in threads.
    pub(crate) fn running(&self) -> Vec<Arc<Job>> {
        self.state().running.clone()
    }

    /// From now on threads read what the hub says, or not any more.
    pub(crate) fn set_reads(&self, reads: bool) {
        self.state().reads = reads;
        if reads {
            self.changed.notify_all();
        }
    }

    /// Gives a job to the next thread that is free, which may be the one that pushes it.
    pub(crate) fn push(&self, job: Arc<Job>, link: &Link) {
        let mut state = self.state();
        state.waiting.push_back(job);
        if state.idle > 0 && link.is_loop_thread() {
            self.changed.notify_one();
        }
    }

    /// Wakes a thread if none reads: whoever waited for an answer of the hub has just had the turn.
    pub(crate) fn invite(&self, link: &Link) {
        if !link.has_reader() && self.state().idle > 0 {
            self.changed.notify_one();
        }
    }

    /// Waits for something to do, in a thread.
    pub(crate) fn next(&self, link: &Link) -> Duty {
        let mut flushed = false;
        let mut state = self.state();
        loop {
            while let Some(job) = state.waiting.pop_front() {
                if !link.begin_any(job.serial) {
                    // The hub has taken it back and is told so.
                    flushed = false;
                    continue;
                }
                state.taken += 1;
                state.running.push(Arc::clone(&job));
                state.tell(link);
                // Somebody else then reads, or runs the next.
                if state.reads && state.idle > 0 && state.pace > SLOW {
                    self.changed.notify_one();
                }
                if std::mem::take(&mut state.watch_sleeps) {
                    self.begun.notify_one();
                }
                return Duty::Run(job);
            }
            if !flushed {
                // Answers wait for no one else now. When the hub is gone the next who reads finds that.
                drop(state);
                let _ = link.flush();
                flushed = true;
                state = self.state();
                continue;
            }
            if state.reads && link.take_turn() {
                state.taken += 1;
                return Duty::Read;
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// A thread is done with a job that it began at this time.
    pub(crate) fn ended(&self, link: &Link, serial: u64, begun: Instant) {
        let mut state = self.state();
        state.pace = (state.pace * 7 + begun.elapsed()) / 8;
        state.running.retain(|running| running.serial != serial);
        state.tell(link);
    }

    /// Watches for a moment, so that no handler that blocks holds up anything but its own answer.
    pub(crate) fn watch(&self, link: &Link) -> Sight {
        let mut state = self.state();
        let taken = state.taken;
        state.watch_sleeps = state.running.is_empty() && state.waiting.is_empty() && link.has_reader();
        let patience = if state.watch_sleeps { IDLE } else { TICK };
        (state, _) = self.begun.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
        state.watch_sleeps = false;
        let stands = state.taken == taken && !(state.waiting.is_empty() && link.has_reader());
        if stands && state.idle > 0 {
            self.changed.notify_one();
        }
        let nobody_reads = stands && state.idle == 0;
        drop(state);
        // What was answered before a handler that blocks.
        let _ = link.flush();
        if nobody_reads && link.take_turn() { Sight::NobodyReads } else { Sight::Well }
    }

    /// Wakes whoever watches, to look at something new.
    pub(crate) fn stir(&self) {
        let mut state = self.state();
        state.watch_sleeps = false;
        self.begun.notify_one();
    }
}

impl State {
    /// To the hub the worker is inside a script while all threads are: then nothing else can start, and the job
    /// that has run for longest is the one that may hang.
    fn tell(&self, link: &Link) {
        let is_full = self.running.len() == self.threads;
        link.set_full_pool(self.running.first().map(|job| job.serial).filter(|_| is_full));
    }
}
