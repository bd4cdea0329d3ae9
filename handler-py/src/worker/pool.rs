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
use std::time::Duration;

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

    /// A thread is done with a job, which took so long.
    pub(crate) fn ended(&self, link: &Link, serial: u64, took: Duration) {
        let mut state = self.state();
        state.pace = (state.pace * 7 + took) / 8;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::test_hub::{TestHub, ended, pair, until, with_python};
    use handler_core::worker::protocol::Action;
    use std::thread::{self, JoinHandle};

    fn begin() -> (TestHub, Arc<Link>, Arc<Pool>) {
        let (hub, link) = pair();
        (hub, link, Arc::default())
    }

    /// Jobs come.
    fn push(pool: &Pool, link: &Arc<Link>, serials: &[u64]) {
        for serial in serials {
            pool.push(Arc::new(Job::new(Arc::clone(link), *serial, b"")), link);
        }
    }

    /// Jobs come, by another thread than the loop's.
    fn push_elsewhere(pool: &Arc<Pool>, link: &Arc<Link>, serial: u64) {
        let (pool, link) = (Arc::clone(pool), Arc::clone(link));
        ended(thread::spawn(move || push(&pool, &link, &[serial])));
    }

    /// What a thread does next: it runs this job, or reads (`None`).
    fn next(pool: &Pool, link: &Link) -> Option<u64> {
        match pool.next(link) {
            Duty::Run(job) => Some(job.serial),
            Duty::Read => None,
        }
    }

    /// A thread that has nothing to do, and what it does next.
    fn idle(pool: &Arc<Pool>, link: &Arc<Link>) -> JoinHandle<Option<u64>> {
        let (others, link) = (pool.state().idle, Arc::clone(link));
        let theirs = Arc::clone(pool);
        let thread = thread::spawn(move || next(&theirs, &link));
        until("the thread is idle", || pool.state().idle > others);
        thread
    }

    // What a thread does next.

    #[test]
    fn jobs_run_in_the_order_in_which_they_came() {
        let (hub, link, pool) = begin();
        push(&pool, &link, &[1, 2]);
        assert!(!pool.is_empty());
        assert_eq!([next(&pool, &link), next(&pool, &link)], [Some(1), Some(2)]);
        assert_eq!((hub.page.pulse().started, link.unanswered()), (2, 2));
        let running: Vec<_> = pool.running().iter().map(|job| job.serial).collect();
        assert_eq!(running, [1, 2]);
        for serial in [1, 2] {
            assert!(!pool.is_empty());
            pool.ended(&link, serial, Duration::ZERO);
        }
        assert!(pool.is_empty());
    }

    #[test]
    fn a_job_that_the_hub_has_taken_back_is_left_out() {
        let (mut hub, link, pool) = begin();
        hub.page.revoke(1);
        push(&pool, &link, &[1, 2]);
        assert_eq!(next(&pool, &link), Some(2));
        link.flush().unwrap();
        assert_eq!(hub.batches(), [["skipped 1"]]);
    }

    #[test]
    fn a_thread_that_has_nothing_to_do_sends_what_was_answered_and_then_reads() {
        let (mut hub, link, pool) = begin();
        link.set_in_turn(true);
        with_python(|py| link.push(py, &Action::Done { serial: 1 }));
        pool.set_reads(true);
        link.end_turn();
        assert!(hub.batches().is_empty());
        assert_eq!(next(&pool, &link), None);
        assert_eq!(hub.batches(), [["done 1"]]);
        assert!(link.has_reader(), "the turn is this thread's");
    }

    #[test]
    fn a_job_comes_before_reading() {
        let (_hub, link, pool) = begin();
        pool.set_reads(true);
        link.end_turn();
        push(&pool, &link, &[1]);
        assert_eq!(next(&pool, &link), Some(1));
        assert!(!link.has_reader());
    }

    // Who is woken.

    #[test]
    fn the_loop_wakes_a_thread_for_a_job() {
        let (_hub, link, pool) = begin();
        let thread = idle(&pool, &link);
        push(&pool, &link, &[1]);
        assert_eq!(ended(thread), Some(1));
    }

    #[test]
    fn an_idle_thread_begins_to_read_when_threads_are_to() {
        let (_hub, link, pool) = begin();
        let thread = idle(&pool, &link);
        link.end_turn();
        pool.set_reads(true);
        assert_eq!(ended(thread), None);
    }

    #[test]
    fn a_thread_is_invited_to_read_after_a_question_if_nobody_does() {
        let (_hub, link, pool) = begin();
        pool.set_reads(true);
        let thread = idle(&pool, &link);
        link.end_turn();
        pool.invite(&link);
        assert_eq!(ended(thread), None);
    }

    #[test]
    fn where_handlers_are_slow_another_thread_reads_while_one_runs() {
        let (_hub, link, pool) = begin();
        pool.set_reads(true);
        pool.ended(&link, 0, 16 * SLOW);
        let thread = idle(&pool, &link);
        link.end_turn();
        push_elsewhere(&pool, &link, 1);
        assert_eq!(next(&pool, &link), Some(1));
        assert_eq!(ended(thread), None);
    }

    #[test]
    fn the_pace_is_an_average_in_which_the_last_handlers_count_most() {
        let (_hub, link, pool) = begin();
        pool.ended(&link, 1, 16 * SLOW);
        assert_eq!(pool.state().pace, 2 * SLOW);
        for _ in 0..6 {
            pool.ended(&link, 1, Duration::ZERO);
        }
        assert!(pool.state().pace < SLOW);
    }

    // What the hub sees.

    #[test]
    fn a_pool_is_full_when_all_threads_run_jobs_and_its_oldest_job_may_hang() {
        let (hub, link, pool) = begin();
        pool.add_thread();
        pool.add_thread();
        assert!(pool.has_threads());
        push(&pool, &link, &[3, 4, 5]);
        let running = || hub.page.pulse().running;
        next(&pool, &link);
        assert_eq!(running(), 0, "a thread is free");
        next(&pool, &link);
        assert_eq!(running(), 3);
        pool.ended(&link, 3, Duration::ZERO);
        assert_eq!(running(), 0);
        next(&pool, &link);
        assert_eq!(running(), 4);
    }

    // The watch.

    #[test]
    fn whoever_watches_has_to_read_when_all_threads_are_inside_handlers() {
        let (_hub, link, pool) = begin();
        pool.add_thread();
        push(&pool, &link, &[1]);
        next(&pool, &link);
        link.end_turn();
        assert_eq!(pool.watch(&link), Sight::NobodyReads);
        assert!(link.has_reader(), "the turn is the watch's");
        assert_eq!(pool.watch(&link), Sight::Well, "somebody reads");
    }

    #[test]
    fn the_watch_wakes_a_thread_for_a_job_that_nobody_takes() {
        let (_hub, link, pool) = begin();
        let thread = idle(&pool, &link);
        push_elsewhere(&pool, &link, 1);
        assert_eq!(pool.watch(&link), Sight::Well);
        assert_eq!(ended(thread), Some(1));
    }

    #[test]
    fn the_watch_sends_what_was_answered_before_a_handler_that_blocks() {
        let (mut hub, link, pool) = begin();
        link.set_in_turn(true);
        with_python(|py| link.push(py, &Action::Done { serial: 1 }));
        push(&pool, &link, &[2]);
        next(&pool, &link);
        assert!(hub.batches().is_empty());
        pool.watch(&link);
        assert_eq!(hub.batches(), [["done 1"]]);
    }

    #[test]
    fn a_watch_with_nothing_to_see_sleeps_until_a_job_begins() {
        let (_hub, link, pool) = begin();
        let (watched, theirs) = (Arc::clone(&pool), Arc::clone(&link));
        let watch = thread::spawn(move || watched.watch(&theirs));
        until("the watch sleeps", || pool.state().watch_sleeps);
        push(&pool, &link, &[1]);
        next(&pool, &link);
        assert!(!pool.state().watch_sleeps, "it was woken");
        assert_eq!(ended(watch), Sight::Well);
    }
}
