//! What the program learns from the loop and decides for it, and how the loop ends.

use super::AskWhoIsThere;
use crate::console::LogLevel;
use crate::hub::{AppId, Hub};
use crate::transport::Endpoint;
use crate::worker::protocol::LoadFailure;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::time::Instant;
use thiserror::Error;

/// What the program learns while the loop runs, and decides.
pub trait Observer {
    /// Every server listens and every app's workers are ready, or as many as there will be (see [`Plan::partial`](super::Plan::partial)).
    /// Called once.
    fn ready(&mut self, hub: &Hub);
    /// This server listens, as the start needs; its process, if that is known. Called once, before
    /// [`ready`](Self::ready).
    fn connected(&mut self, endpoint: &Endpoint, process: Option<u32>);
    /// The newest code is asked for, by the signal or at the console, and begins to load.
    fn reload_asked(&mut self);
    /// Newer code of an app is in charge, or after all was ready its first.
    fn reloaded(&mut self, hub: &Hub, app: AppId);
    /// An app's code did not load. `first`: there is no older code that serves. `Break` ends the loop.
    fn load_failed(
        &mut self,
        hub: &mut Hub,
        app: AppId,
        failure: &LoadFailure,
        first: bool,
    ) -> ControlFlow<()>;
    /// A process of the program's own to watch: a Mongrel2, by its pidfd.
    fn companion(&self) -> Option<BorrowedFd<'_>>;
    /// That process has ended. `Break` ends the loop; else [`companion_due`](Self::companion_due) says when to start the
    /// next one.
    fn companion_ended(&mut self, now: Instant) -> ControlFlow<()>;
    /// When the next process is to be started, if one is.
    fn companion_due(&self) -> Option<Instant>;
    /// Starts it. Then [`companion`](Self::companion) is asked for it.
    fn start_companion(&mut self, now: Instant);
    /// How this server can be asked who is connected to it, if it can.
    fn roll_call(&self, endpoint: &Endpoint) -> Option<AskWhoIsThere>;
    /// The operator wants this much to be logged from now on.
    fn set_log_level(&mut self, level: LogLevel);
    /// A server has not been reached for a second since the start.
    fn waiting(&mut self, endpoint: &Endpoint);
}

/// Why the loop could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The system refused something that the loop cannot do without.
    #[error("the poll loop failed: {0}")]
    System(#[from] io::Error),
}

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As asked.
    Stopped,
    /// The observer broke it off.
    Broken,
}
