//! Who has a turn when: hub, clients and workers, in rounds at one moment, and from one moment to the next that matters.

use super::stage::{Chore, Seat, Shared, Stage, lock};
use super::workers::{SiteError, Workers};
use crate::hub::WorkerId;
use crate::worker::clock::Clock;
use crate::worker::link;
use crate::worker::page::Page;
use crate::worker::protocol::Start;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// Rounds of turns at one moment. An app takes a few.
const ROUNDS: usize = 20_000;

/// A worker that takes part.
#[derive(Debug)]
struct Player {
    worker: WorkerId,
    page: Page,
    next: Option<Instant>,
}

/// Everybody, and the time.
#[derive(Debug)]
pub(super) struct Scheduler {
    stage: Shared,
    pub clock: Clock,
    start: Start,
    players: Vec<Player>,
}

impl Scheduler {
    /// Without workers, which the hub asks for. `start` is what they are told; the number is filled in.
    pub(super) fn new(stage: Stage, clock: Clock, start: Start) -> Self {
        Self { stage: Arc::new(Mutex::new(stage)), clock, start, players: Vec::new() }
    }

    /// Hub and clients.
    pub(super) fn stage(&self) -> MutexGuard<'_, Stage> {
        lock(&self.stage)
    }

    /// Lets everybody do what there is to do at this moment.
    ///
    /// # Errors
    ///
    /// [`SiteError::Restless`], and what workers say.
    pub(super) fn settle<W: Workers>(&mut self, workers: &mut W) -> Result<(), W::Error> {
        let mut rounds = 0;
        loop {
            lock(&self.stage).exchange();
            self.do_chores(workers)?;
            let before = lock(&self.stage).activity;
            let now = self.clock.now();
            let mut at = 0;
            while let Some(player) = self.players.get_mut(at) {
                // Each gets one turn; then those that have something to do.
                let is_due = player.next.is_some_and(|next| next <= now);
                if rounds > 0 && !is_due && !lock(&self.stage).has_orders(player.worker) {
                    at += 1;
                    continue;
                }
                let turn = workers.turn(player.worker)?;
                player.next = turn.next;
                match turn.alive {
                    true => at += 1,
                    false => {
                        let gone = self.players.remove(at);
                        self.bury(&gone, workers);
                    }
                }
            }
            let is_due = |player: &Player| player.next.is_some_and(|next| next <= now);
            let stage = lock(&self.stage);
            if stage.activity == before && stage.chores.is_empty() && !self.players.iter().any(is_due) {
                return Ok(());
            }
            drop(stage);
            rounds += 1;
            if rounds > ROUNDS {
                return Err(SiteError::Restless.into());
            }
        }
    }

    /// Lets time pass until something is so (`true`), at most until `end`.
    pub(super) fn run_until<W: Workers>(
        &mut self,
        end: Instant,
        workers: &mut W,
        is_so: impl Fn(&mut Stage) -> bool,
    ) -> Result<bool, W::Error> {
        loop {
            self.settle(workers)?;
            if is_so(&mut lock(&self.stage)) {
                return Ok(true);
            }
            let timers = self.players.iter().filter_map(|player| player.next);
            let due = timers.chain(lock(&self.stage).hub.next_timeout()).min();
            match due.filter(|due| *due <= end) {
                Some(due) => self.clock.advance_to(due),
                None => {
                    self.clock.advance_to(end);
                    self.settle(workers)?;
                    return Ok(is_so(&mut lock(&self.stage)));
                }
            }
        }
    }

    fn do_chores<W: Workers>(&mut self, workers: &mut W) -> Result<(), W::Error> {
        let chores = std::mem::take(&mut lock(&self.stage).chores);
        for chore in chores {
            match chore {
                Chore::Start { worker, number } => {
                    let (page, descriptor) = Page::create().map_err(SiteError::from)?;
                    let theirs = Page::map(&descriptor).map_err(SiteError::from)?;
                    let seat = Seat { stage: Arc::clone(&self.stage), worker };
                    let link = link::near(Arc::new(Mutex::new(seat)), theirs);
                    let start = Start { number, ..self.start.clone() };
                    workers.start(worker, start, link, self.clock.clone())?;
                    self.players.push(Player { worker, page, next: Some(self.clock.now()) });
                }
                Chore::Kill(worker) => {
                    if let Some(at) = self.players.iter().position(|player| player.worker == worker) {
                        let gone = self.players.remove(at);
                        self.bury(&gone, workers);
                    }
                }
                Chore::Revoke { worker, serial } => {
                    if let Some(player) = self.players.iter().find(|player| player.worker == worker) {
                        let started = player.page.revoke(serial);
                        lock(&self.stage).hub.handle_revoked(worker, started, self.clock.now());
                    }
                }
            }
        }
        Ok(())
    }

    fn bury<W: Workers>(&self, player: &Player, workers: &mut W) {
        workers.end(player.worker);
        let started = player.page.pulse().started;
        lock(&self.stage).hub.handle_worker_gone(player.worker, started, self.clock.now());
    }
}
