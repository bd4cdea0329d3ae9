//! The life of the worker and of its processes: which run, which start again and when, and how all of them end.
//!
//! ```text
//! Loading ──▶ Serving ──▶ Stopping ──▶ Ending
//!    │
//!    └──▶ Failed
//! ```
//!
//! An order to stop leads to `Stopping` from anywhere.

use crate::hub::Hub;
use crate::instance::{Instance, Running, Unanswered};
use crate::program::{Program, ProgramError};
use handler_core::worker::protocol::{Action, LoadFailure};
use handler_core::worker::restart::Backoff;
use rustix::process::Signal;
use std::io;
use std::time::{Duration, Instant};

/// How long requests wait for a program to say what it answers to. What it says later counts, too, within
/// `limits.load_time` and before its first answer.
const FIRST_WORD: Duration = Duration::from_millis(500);
/// How long a process may take to end when its standard input does, and then once more when it is told to.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What the worker is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The program may say what it answers to.
    Loading { until: Instant },
    /// It did not run: the hub ends this worker.
    Failed,
    /// Requests are answered.
    Serving,
    /// What was given is finished, as far as it is by then; nothing new comes.
    Stopping { until: Instant },
    /// The processes were asked to end.
    Ending { since: Instant, told: bool },
}

/// A process that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    pub running: Running,
    /// How it ended, in words.
    pub status: String,
    pub unanswered: Unanswered,
}

/// The worker's life, and the program's instances.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    stage: Stage,
    program: Program,
    pub instances: Vec<Instance>,
}

impl Lifecycle {
    /// Of a worker that begins to load. At least one instance.
    pub(crate) fn new(program: Program, instances: usize, now: Instant) -> Self {
        let instances = (0..instances.max(1)).map(|_| Instance::default()).collect();
        Self { stage: Stage::Loading { until: now + FIRST_WORD }, program, instances }
    }

    pub(crate) fn is_loading(&self) -> bool {
        matches!(self.stage, Stage::Loading { .. })
    }

    /// Whether the program has said nothing for as long as requests wait for that.
    pub(crate) fn has_loaded_long_enough(&self, now: Instant) -> bool {
        matches!(self.stage, Stage::Loading { until } if now >= until)
    }

    /// Whether processes are left where they end.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ending { .. } | Stage::Failed)
    }

    /// When there is something to do next, apart from requests.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let stage = match self.stage {
            Stage::Loading { until } | Stage::Stopping { until } => Some(until),
            Stage::Ending { since, told } => Some(since + LAST_WORD * (1 + u32::from(told))),
            Stage::Failed | Stage::Serving => None,
        };
        let starts = self.instances.iter().filter_map(|instance| instance.due).min();
        [stage, starts].into_iter().flatten().min()
    }

    /// Starts an instance's process.
    ///
    /// # Errors
    ///
    /// [`ProgramError`].
    pub(crate) fn start(&mut self, number: usize, now: Instant) -> Result<(), ProgramError> {
        self.instances[number].running = Some(Running::new(self.program.start()?, now));
        Ok(())
    }

    /// The first process runs: the others start, too.
    pub(crate) fn begin_serving(&mut self, now: Instant) {
        self.stage = Stage::Serving;
        for instance in &mut self.instances[1..] {
            instance.due = Some(now);
        }
    }

    /// The program does not run, and the hub is told.
    pub(crate) fn fail(&mut self, failure: LoadFailure, hub: &mut Hub) -> io::Result<()> {
        self.stage = Stage::Failed;
        self.instances.iter_mut().for_each(|instance| instance.running = None);
        hub.act(&Action::Failed(failure))
    }

    /// Starts an instance whose time has come. `true`: its process is new.
    pub(crate) fn start_if_due(&mut self, number: usize, hub: &mut Hub, now: Instant) -> io::Result<bool> {
        let is_due = self.instances[number].due.is_some_and(|due| due <= now);
        if !is_due || self.is_over() {
            return Ok(false);
        }
        self.instances[number].due = None;
        let Err(problem) = self.start(number, now) else { return Ok(true) };
        let instance = &mut self.instances[number];
        let pause = instance.backoff.after_death(None);
        instance.due = Some(now + pause);
        let text = format!("the program cannot be started, tried again in {pause:?}: {problem}");
        hub.complain(0, &text, now)?;
        Ok(false)
    }

    /// Ends an instance's process. `None`: there is none.
    pub(crate) fn end(&mut self, number: usize) -> Option<Ended> {
        let instance = &mut self.instances[number];
        let unanswered = instance.take_given();
        let mut running = instance.running.take()?;
        let status = running.process.end().map_or("lost".to_owned(), |status| status.to_string());
        Some(Ended { running, status, unanswered })
    }

    /// Says when an instance's next process starts, after one that ended: the pause.
    pub(crate) fn start_after(&mut self, number: usize, ended: &Running, now: Instant) -> Duration {
        let served = match ended.has_answered {
            true => Backoff::GRACE,
            false => now.saturating_duration_since(ended.since),
        };
        let instance = &mut self.instances[number];
        let pause = instance.backoff.after_death(Some(served));
        instance.due = Some(now + pause);
        pause
    }

    /// Whether no process will be there soon.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.instances.iter().all(|instance| instance.running.is_none() && instance.backoff.is_hopeless())
    }

    /// The hub stops this worker: what was given may be finished until then.
    pub(crate) fn stop(&mut self, until: Instant) {
        self.stage = Stage::Stopping { until };
    }

    /// Under a stop, when nothing is left to do (`is_idle`) or its time is over: ends the processes. `true`: they have
    /// ended.
    pub(crate) fn end_if_done(&mut self, is_idle: bool, hub: &mut Hub, now: Instant) -> io::Result<bool> {
        // The hub answers what is cut off, and names it.
        if matches!(self.stage, Stage::Stopping { until } if now >= until || is_idle) {
            // End of file is how a program learns that it is to end.
            for running in self.instances.iter_mut().filter_map(|instance| instance.running.as_mut()) {
                running.process.stdin = None;
            }
            self.stage = Stage::Ending { since: now, told: false };
        }
        let Stage::Ending { since, told } = self.stage else { return Ok(false) };
        let mut left = self.instances.iter().filter_map(|instance| instance.running.as_ref()).peekable();
        if left.peek().is_none() {
            return Ok(true);
        }
        if !told && now >= since + LAST_WORD {
            left.for_each(|running| running.process.signal(Signal::TERM));
            self.stage = Stage::Ending { since, told: true };
        } else if now >= since + 2 * LAST_WORD {
            for running in self.instances.iter_mut().filter_map(|instance| instance.running.take()) {
                let number = running.process.id();
                hub.complain(0, &format!("process {number} of the program did not end: killed"), now)?;
            }
            return Ok(true);
        }
        Ok(false)
    }
}
