//! Where hub, server and clock meet, behind one lock: workers speak to the hub in the middle of a script.

use super::message::SENDER;
use super::server::Server;
use crate::hub::{AppId, AppSpec, Effect, Hub, Limits, LinkId, WorkerId};
use crate::worker::clock::Clock;
use crate::worker::link::Near;
use crate::worker::protocol::{Action, Level, LoadFailure, split_frame};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The one server.
const LINK: LinkId = LinkId(0);
/// The one app.
pub(super) const APP: AppId = AppId(0);
/// Turns of hub and server without a worker's: answers to answers. It takes few, and never this many.
const EXCHANGES: usize = 10_000;

/// A line of the app's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, since the site began.
    pub at: Duration,
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// What it says; a failure's traceback is in further lines.
    pub text: String,
    /// A JSON object of fields, or nothing.
    pub fields: String,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) hub: Hub,
    pub(super) server: Server,
    pub(super) clock: Clock,
    pub(super) log: Vec<LogLine>,
    pub(super) evaluated: Option<(u64, Result<String, String>)>,
    pub(super) ready: bool,
    pub(super) failure: Option<LoadFailure>,
    /// Workers to start, to kill, and to take jobs back from.
    pub(super) chores: Vec<Chore>,
    /// Grows whenever anybody says something.
    pub(super) activity: u64,
}

/// What the hub wants done about a worker.
#[derive(Debug)]
pub(super) enum Chore {
    Start { worker: WorkerId, number: u32 },
    Kill(WorkerId),
    Revoke { worker: WorkerId, serial: u64 },
}

impl Stage {
    pub(super) fn new(limits: Limits, app: AppSpec, clock: Clock) -> Self {
        let mut hub = Hub::new(limits, "rehearsal", 1, vec![app]);
        hub.handle_server_up(LINK, SENDER.as_bytes());
        hub.load_app(APP, clock.now());
        Self {
            hub,
            server: Server::default(),
            clock,
            log: Vec::new(),
            evaluated: None,
            ready: false,
            failure: None,
            chores: Vec::new(),
            activity: 0,
        }
    }

    /// Lets the hub do what it can without a worker, at the present time.
    pub(super) fn exchange(&mut self) {
        let now = self.clock.now();
        for _ in 0..EXCHANGES {
            let mut quiet = true;
            while let Some(message) = self.server.next_message() {
                self.hub.handle_message(LINK, &message, now);
                quiet = false;
            }
            self.hub.finish_turn(now);
            let server = &mut self.server;
            self.hub.drain_replies(|_, reply| {
                server.take_reply(reply);
                quiet = false;
            });
            while let Some(effect) = self.hub.poll_effect() {
                quiet = false;
                self.note(effect);
            }
            if quiet {
                return;
            }
            self.activity += 1;
        }
    }

    /// Whether there are orders for a worker.
    pub(super) fn has_orders(&mut self, worker: WorkerId) -> bool {
        self.hub.take_orders(worker).is_some_and(|(orders, _)| !orders.is_empty())
    }

    fn note(&mut self, effect: Effect) {
        match effect {
            Effect::StartWorker { worker, number, .. } => self.chores.push(Chore::Start { worker, number }),
            Effect::KillWorker(worker) => self.chores.push(Chore::Kill(worker)),
            Effect::Revoke { worker, serial } => self.chores.push(Chore::Revoke { worker, serial }),
            Effect::AppReady(_) => self.ready = true,
            Effect::AppFailed(_, failure) => self.failure = Some(failure),
            Effect::Evaluated { query, result } => self.evaluated = Some((query, result)),
            // This server has no control port, nothing here puts a body into a file, and nobody stops this hub.
            Effect::AskWhoIsThere(_) | Effect::DeleteFile(_) | Effect::Stopped => {}
            // Bodies arrive whole here.
            Effect::WriteFile { .. } | Effect::ReadFile { .. } | Effect::Measure { .. } => {}
        }
    }

    fn keep_log(&mut self, mut frames: &[u8]) {
        let at = self.clock.passed();
        while let Some((kind, payload, rest)) = split_frame(frames) {
            frames = rest;
            if let Ok(Action::Log { level, text, fields, .. }) = Action::read(kind, payload) {
                let level = match level {
                    Level::Debug => "debug",
                    Level::Info => "info",
                    Level::Warn => "warn",
                    Level::Error => "error",
                };
                let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                self.log.push(LogLine { at, level, text: shown(text), fields: shown(fields) });
            }
        }
    }
}

/// The stage, as everybody holds it.
pub(super) type Shared = Arc<Mutex<Stage>>;

/// What is behind the lock. A panic while it was held has been reported where it happened.
pub(super) fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker's place: its end of the talk with the hub.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) stage: Shared,
    pub(super) worker: WorkerId,
}

impl Near for Seat {
    fn hear(&mut self, frames: &[u8]) -> io::Result<()> {
        let stage = &mut *lock(&self.stage);
        stage.activity += 1;
        stage.keep_log(frames);
        let now = stage.clock.now();
        stage
            .hub
            .handle_batch(self.worker, frames, now)
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem))
    }

    fn speak(&mut self, orders: &mut Vec<u8>) {
        let stage = &mut *lock(&self.stage);
        stage.exchange();
        if let Some((found, _)) = stage.hub.take_orders(self.worker)
            && !found.is_empty()
        {
            orders.append(found);
            stage.activity += 1;
        }
    }
}
