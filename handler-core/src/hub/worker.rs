//! A worker as the hub knows it.

use super::ids::AppId;
use super::live::LiveId;
use super::request::Job;
use crate::worker::page::Pulse;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a worker is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
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
pub(super) struct Worker {
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
    /// Since when it has been in the same run of a script.
    pub stuck_since: Instant,
    pub stuck: bool,
    /// It was killed because a script ran for too long: this job's.
    pub hung_job: Option<u64>,
}

impl Worker {
    /// After so long in one run of a script a worker gets no new jobs, and gives back those that
    /// it has not started.
    pub const STUCK: Duration = Duration::from_millis(100);

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
            stuck_since: now,
            stuck: false,
            hung_job: None,
        }
    }

    pub fn takes_jobs(&self) -> bool {
        matches!(self.stage, Stage::Ready { .. }) && !self.stuck
    }

    /// Whether it takes jobs, and holds less than `jobs` of them.
    pub fn has_room(&self, jobs: usize) -> bool {
        self.takes_jobs() && self.jobs.len() < jobs
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
