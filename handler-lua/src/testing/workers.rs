//! The workers of a rehearsed app, which are the real ones: a Lua state each, in the test's thread.

use crate::worker::{Worker, WorkerError};
use handler_core::hub::WorkerId;
use handler_core::rehearsal::{Clock, SiteError, Turn, Workers};
use handler_core::worker::link::{Actions, Orders};
use handler_core::worker::protocol::Start;
use thiserror::Error;

/// Why a rehearsal in Lua cannot go on.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    /// The site cannot.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// A worker cannot.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// The workers of one site.
#[derive(Default)]
pub(super) struct LuaWorkers {
    seated: Vec<Seated>,
}

struct Seated {
    id: WorkerId,
    worker: Worker,
    clock: Clock,
    /// It has tried to load its script: successfully, or not.
    loaded: Option<bool>,
}

impl Workers for LuaWorkers {
    type Error = Trouble;

    fn start(
        &mut self,
        id: WorkerId,
        start: Start,
        (orders, actions): (Orders, Actions),
        clock: Clock,
    ) -> Result<(), Trouble> {
        let worker = Worker::new(start, orders, actions, clock.clone())?;
        self.seated.push(Seated { id, worker, clock, loaded: None });
        Ok(())
    }

    fn turn(&mut self, id: WorkerId) -> Result<Turn, Trouble> {
        let Some(seated) = self.seated.iter_mut().find(|seated| seated.id == id) else {
            return Ok(Turn { alive: false, next: None });
        };
        let loaded = match seated.loaded {
            Some(loaded) => loaded,
            None => *seated.loaded.insert(seated.worker.load()?),
        };
        if !loaded {
            // The hub ends it.
            return Ok(Turn { alive: true, next: None });
        }
        let alive = seated.worker.look_and_turn()?;
        let next = seated.worker.until_next().map(|time| seated.clock.now() + time);
        Ok(Turn { alive, next })
    }

    fn end(&mut self, id: WorkerId) {
        self.seated.retain(|seated| seated.id != id);
    }
}
