//! The two ways to feed a handler.
//!
//! **Busy** is a closed loop: a fixed number of requests without an answer, each answer lets the next one go. **Quiet**
//! is an open loop: requests leave on a schedule, whatever the answers do, and latency counts from the scheduled time,
//! so that a handler which stalls cannot hide the requests that should have been sent meanwhile.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cpu::Usage;
use crate::feeder::{Desk, Feeder, Inbox};
use crate::ledger::Counts;
use crate::request::Feed;

/// How the handler is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// `in_flight` requests at any time, `pipeline` of them on the same connection.
    Busy { in_flight: usize, pipeline: usize },
    /// `rate` requests per second.
    Quiet { rate: u32 },
}

/// What one session found.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) turns: Vec<Turn>,
    /// Median latency.
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Length of the last response.
    pub(crate) reply_bytes: usize,
    pub(crate) counts: Counts,
}

/// What was measured in one go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    /// Answered in the measured time.
    pub(crate) requests: usize,
    /// How long the measured time really was.
    pub(crate) elapsed: Duration,
    /// CPU time in the measured time.
    pub(crate) cpu: Usage,
}

/// More than a quiet handler ever has waiting; when all wait, requests leave late, and their latency says so.
const QUIET_CONNECTIONS: usize = 256;
/// The sleep before a scheduled request ends so much early; the rest is spent awake.
const AWAKE: Duration = Duration::from_micros(15);
/// How often to look for requests that are lost.
const LOOK_FOR_LOST: Duration = Duration::from_millis(50);
/// How long to listen for duplicates when everything has been answered.
const AFTERWARDS: Duration = Duration::from_millis(50);

impl Load {
    /// What the table calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Load::Busy { .. } => "busy",
            Load::Quiet { .. } => "quiet",
        }
    }
}

/// One handler that is fed in one way, in as many turns as its caller likes. Between turns nothing waits.
pub(crate) struct Session {
    load: Load,
    desk: Mutex<Desk>,
    watch: Watch,
    turns: Vec<Turn>,
}

impl Session {
    /// For the handler behind `feeder`. `echoes`: whether its bodies are tokens; `feed`: what it is fed.
    pub(crate) fn open(
        feeder: Feeder,
        load: Load,
        lost_after: Duration,
        (echoes, feed): (bool, Feed),
    ) -> Session {
        let (connections, pipeline) = match load {
            Load::Busy { in_flight, pipeline } => (in_flight.div_ceil(pipeline), pipeline),
            Load::Quiet { .. } => (QUIET_CONNECTIONS, 1),
        };
        let (desk, inbox) = feeder.open(connections, pipeline, echoes, feed);
        let watch = Watch { inbox, lost_after, look_at: Instant::now(), reply_bytes: 0 };
        Session { load, desk: Mutex::new(desk), watch, turns: Vec::new() }
    }

    /// Feeds the handler for `lead_in`, then for `measured`, and then waits until everything is answered or lost.
    /// `read_cpu` is called at both ends of the measured time.
    ///
    /// # Errors
    ///
    /// A sentence, if the handler stops reading.
    pub(crate) fn feed(
        &mut self,
        lead_in: Duration,
        measured: Duration,
        read_cpu: impl Fn() -> Usage,
    ) -> Result<(), String> {
        let (desk, watch, stop) = (&self.desk, &mut self.watch, &AtomicBool::new(false));
        let turn = thread::scope(|scope| {
            let pacer = match self.load {
                Load::Quiet { rate } => Some(scope.spawn(move || keep_pace(desk, rate, stop))),
                Load::Busy { .. } => None,
            };
            let turn = watch.measure(desk, pacer.is_none(), lead_in, measured, read_cpu);
            stop.store(true, Ordering::Relaxed);
            pacer.map_or(Ok(()), |pacer| pacer.join().unwrap()).and(turn)
        })?;
        let patience = watch.lost_after + 2 * LOOK_FOR_LOST;
        watch.until(desk, false, Instant::now() + patience, |desk| desk.ledger.waiting() == 0)?;
        if !measured.is_zero() {
            self.turns.push(turn);
        }
        Ok(())
    }

    /// Listens for stragglers and closes the books.
    ///
    /// # Errors
    ///
    /// As in [`Session::feed`].
    pub(crate) fn finish(mut self) -> Result<Outcome, String> {
        self.watch.until(&self.desk, false, Instant::now() + AFTERWARDS, |_| false)?;
        let (counts, mut latencies) = self.desk.into_inner().unwrap().ledger.close();
        latencies.sort_unstable();
        Ok(Outcome {
            turns: self.turns,
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
            reply_bytes: self.watch.reply_bytes,
            counts,
        })
    }
}

/// Sends `rate` requests a second until told to stop. An error reaches the caller when the receiving side is done.
fn keep_pace(desk: &Mutex<Desk>, rate: u32, stop: &AtomicBool) -> Result<(), String> {
    sleep_precisely();
    let period = Duration::from_secs(1) / rate;
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now < due {
            match due - now {
                far if far > AWAKE => thread::sleep(far - AWAKE),
                _ => std::hint::spin_loop(),
            }
            continue;
        }
        if desk.lock().unwrap().send(due, now)? {
            due += period;
        } else {
            thread::sleep(period);
        }
    }
    Ok(())
}

/// Lets sleeps of this thread end within a few microseconds instead of 50. Not of the whole process: handlers would
/// inherit it. Where the system refuses, requests leave a little later, and latencies say so.
fn sleep_precisely() {
    // PID/task/TID
    let thread = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    if let Some(tid) = thread.file_name() {
        let _ = std::fs::write(Path::new("/proc").join(tid).join("timerslack_ns"), "1");
    }
}

/// The receiving side, which also looks at the clock.
struct Watch {
    inbox: Inbox,
    /// A reply that takes longer is lost.
    lost_after: Duration,
    /// When to look for those the next time.
    look_at: Instant,
    /// Length of the last response.
    reply_bytes: usize,
}

impl Watch {
    /// Receives for both times and takes the figures of the second one.
    fn measure(
        &mut self,
        desk: &Mutex<Desk>,
        closed_loop: bool,
        lead_in: Duration,
        measured: Duration,
        read_cpu: impl Fn() -> Usage,
    ) -> Result<Turn, String> {
        self.until(desk, closed_loop, Instant::now() + lead_in, |_| false)?;
        let answered = |recording| {
            let ledger = &mut desk.lock().unwrap().ledger;
            ledger.record(recording);
            ledger.answered()
        };
        let earlier = answered(true);
        let (before, begin) = (read_cpu(), Instant::now());
        self.until(desk, closed_loop, begin + measured, |_| false)?;
        let (after, end) = (read_cpu(), Instant::now());
        Ok(Turn { requests: answered(false) - earlier, elapsed: end - begin, cpu: after - before })
    }

    /// Receives until the time has come or `done` says so. In a closed loop it sends on every idle connection too.
    fn until(
        &mut self,
        desk: &Mutex<Desk>,
        closed_loop: bool,
        end: Instant,
        done: impl Fn(&Desk) -> bool,
    ) -> Result<(), String> {
        loop {
            let now = Instant::now();
            let mut at_desk = desk.lock().unwrap();
            if now >= self.look_at {
                self.look_at = now + LOOK_FOR_LOST;
                if let Some(sent_before) = now.checked_sub(self.lost_after) {
                    at_desk.give_up(sent_before)?;
                }
            }
            if now >= end || done(&at_desk) {
                return Ok(());
            }
            while closed_loop && at_desk.send(now, now)? {}
            drop(at_desk);

            if let Some(message) = self.inbox.next()? {
                // Again, because waiting took time.
                let now = Instant::now();
                self.reply_bytes = desk.lock().unwrap().receive(message, now);
            }
        }
    }
}

/// The latency that `percent` of all stay within.
fn percentile(sorted: &[u32], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    Duration::from_nanos(sorted.get(index).copied().unwrap_or(0).into())
}
