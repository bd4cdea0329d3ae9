//! A worker as the hub knows it.

use crate::hub::ids::{AppId, Job, LiveId};
use crate::hub::ledger::about::About;
use crate::hub::workers::pace::Pace;
use crate::worker::pulse::Pulse;
use crate::worker::standing::Standing;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a worker is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Stage {
    /// Its script is being loaded.
    Loading { since: Instant },
    /// It takes jobs.
    Ready { since: Instant },
    /// It finishes what it has and ends.
    Draining { since: Instant },
    /// It is being killed.
    Killed,
}

/// A worker as the hub knows it.
#[derive(Debug)]
pub(in crate::hub) struct Worker {
    pub app: AppId,
    /// Its number within the app, from 1.
    pub number: u32,
    pub stage: Stage,
    /// It was told to end: when the time of its work is over.
    pub work_ends: Option<Instant>,
    pub served_since: Option<Instant>,
    /// It has answered something, so it is no failure, however soon it dies.
    pub has_answered: bool,
    /// The serial of the last job given to it.
    pub serial: u64,
    /// Its unanswered jobs.
    pub jobs: FxHashMap<u64, Job>,
    /// Live connections that are its.
    pub channels: usize,
    /// Live connections that wait until it takes more.
    pub listed: VecDeque<LiveId>,
    /// Jobs up to this one were taken back, as far as it had not started them.
    pub revoked: u64,
    /// Bytes for it.
    pub orders: Vec<u8>,
    /// Code of the operator's that it has not done with, by its numbers.
    pub evaluating: Vec<u64>,
    pub pulse: Pulse,
    /// How much it may hold that it has not started.
    pub pace: Pace,
    /// A waiting request is next, not a message of a live connection: they take turns.
    pub request_is_next: bool,
    /// When its page was last looked at.
    pub seen: Instant,
    /// For how long it has been in the same run of a script, or has begun nothing of what it was given. Only time in which the
    /// hub ran counts.
    pub still: Duration,
    /// It has sent or taken bytes since the last look.
    pub spoke: bool,
    pub stuck: bool,
    /// It was killed because a script ran for too long: this job's.
    pub hung_job: Option<u64>,
    /// How its process ended, in words.
    pub ended: Option<String>,
    /// Where its script stood while it was loaded; known when its process is dead.
    pub standing: Option<Standing>,
    /// Requests whose time was over while it had them, the last ones: it may still run one.
    pub late: VecDeque<(u64, About)>,
}

impl Worker {
    /// After so long in one run of a script a worker gets no new jobs, and gives back those that
    /// it has not started.
    pub const STUCK: Duration = Duration::from_millis(100);
    /// The same for a worker that runs no script and begins nothing of what it was given: a busy machine may be the reason.
    pub const SILENT: Duration = Duration::from_secs(1);
    /// What counts at most from one look to the next: between them the hub itself may have stood still.
    pub const LOOK: Duration = Duration::from_millis(100);

    /// Requests that are remembered after their time was over.
    const LATE: usize = 16;

    pub fn new(app: AppId, number: u32, now: Instant) -> Self {
        Self {
            app,
            number,
            stage: Stage::Loading { since: now },
            work_ends: None,
            served_since: None,
            has_answered: false,
            serial: 0,
            jobs: FxHashMap::default(),
            channels: 0,
            listed: VecDeque::new(),
            revoked: 0,
            orders: Vec::new(),
            evaluating: Vec::new(),
            pulse: Pulse::default(),
            pace: Pace::default(),
            request_is_next: false,
            seen: now,
            still: Duration::ZERO,
            spoke: false,
            stuck: false,
            hung_job: None,
            ended: None,
            standing: None,
            late: VecDeque::new(),
        }
    }

    /// Remembers a request that got its response without this worker's help.
    pub fn note_late(&mut self, serial: u64, about: About) {
        self.late.truncate(Self::LATE - 1);
        self.late.push_front((serial, about));
    }

    /// A request that got its response without this worker's help.
    pub fn late(&self, serial: u64) -> Option<About> {
        self.late.iter().find(|(late, _)| *late == serial).map(|(_, about)| about.clone())
    }

    pub fn takes_jobs(&self) -> bool {
        matches!(self.stage, Stage::Ready { .. }) && !self.stuck
    }

    /// Whether it takes jobs, holds less than `jobs` of them, and keeps up with them.
    pub fn has_room(&self, jobs: usize) -> bool {
        self.takes_jobs()
            && self.jobs.len() < jobs
            && (self.pace.has_room(self.serial) || self.jobs.is_empty())
    }

    /// Begins to watch it, with the first job that it gets.
    pub fn begin_watch(&mut self, now: Instant) {
        self.seen = now;
        self.still = Duration::ZERO;
    }

    /// Looks at what its page shows. Says whether it has moved since the last look; if not, [`still`](Self::still) has grown.
    pub fn look(&mut self, pulse: Pulse, now: Instant) -> bool {
        let time = now.saturating_duration_since(self.seen).min(Self::LOOK);
        self.seen = now;
        let before = std::mem::replace(&mut self.pulse, pulse);
        self.pace.note_begun(pulse.started);
        let has_spoken = std::mem::take(&mut self.spoke);
        let moved = match pulse.turn % 2 {
            1 => pulse.turn != before.turn,
            _ => pulse != before || has_spoken || !(self.stuck || self.owes()),
        };
        self.still = if moved { Duration::ZERO } else { self.still + time };
        moved
    }

    /// Whether it has jobs that it has not started.
    fn owes(&self) -> bool {
        self.serial > self.pulse.started && self.jobs.keys().any(|serial| *serial > self.pulse.started)
    }

    /// Whether a script runs in it.
    pub fn is_inside(&self) -> bool {
        self.pulse.turn % 2 == 1
    }

    /// Whether it takes nothing new any more.
    pub fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Draining { .. } | Stage::Killed)
    }

    /// What it is up to, in a word.
    pub fn state_name(&self) -> &'static str {
        match self.stage {
            Stage::Loading { .. } => "loading",
            Stage::Ready { .. } if self.stuck => "busy",
            Stage::Ready { .. } => "ready",
            Stage::Draining { .. } => "draining",
            Stage::Killed => "killed",
        }
    }

    /// For how long it has taken jobs.
    pub fn served_for(&self, now: Instant) -> Duration {
        self.served_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Whether a deadline hangs over it.
    pub fn is_timed(&self) -> bool {
        !matches!(self.stage, Stage::Ready { .. }) || self.stuck
    }
}
