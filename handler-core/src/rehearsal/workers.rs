//! The workers of a rehearsal, which are the language's affair, and what can go wrong with them.

use super::ask::AskError;
use crate::hub::WorkerId;
use crate::worker::clock::Clock;
use crate::worker::link::{Actions, Orders};
use crate::worker::protocol::{LoadFailure, Start};
use std::io;
use std::time::Instant;
use thiserror::Error;

/// What a worker did in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// It goes on; otherwise it has ended.
    pub alive: bool,
    /// When it has something to do though nobody orders anything.
    pub next: Option<Instant>,
}

/// The workers, which are the language's affair.
pub trait Workers {
    /// What can go wrong with them.
    type Error: From<SiteError>;

    /// Begins a worker, which loads in its first turn.
    ///
    /// # Errors
    ///
    /// When it cannot be begun.
    fn start(
        &mut self,
        worker: WorkerId,
        start: Start,
        link: (Orders, Actions),
        clock: Clock,
    ) -> Result<(), Self::Error>;

    /// Lets a worker do what it was ordered, and what is due.
    ///
    /// # Errors
    ///
    /// When that cannot go on.
    fn turn(&mut self, worker: WorkerId) -> Result<Turn, Self::Error>;

    /// Ends a worker, if it is there.
    fn end(&mut self, worker: WorkerId);
}

/// Why a rehearsal cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SiteError {
    /// The app did not load.
    #[error("the app did not load: {0}")]
    Load(LoadFailure),
    /// A request that no client can make.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The app goes on and on at one moment.
    #[error(
        "the app does not come to rest: something in it goes on without end, such as a loop of sleeps of 0 seconds"
    )]
    Restless,
    /// The connection was closed without an answer.
    #[error("the connection was closed without an answer")]
    NoAnswer,
    /// A connection that takes nothing any more.
    #[error("the connection is closed ({code} {reason})")]
    Closed {
        /// As in a close frame.
        code: u16,
        /// Perhaps empty.
        reason: String,
    },
    /// A close code that may not be sent.
    #[error("{0} is no close code that a client may send: 1000, 1001, 1003, 1007 to 1011 or 3000 to 4999")]
    CloseCode(u16),
    /// The operator's code could not be run.
    #[error("{0}")]
    Evaluate(String),
    /// There is no memory for a worker's page.
    #[error("cannot begin a worker: {0}")]
    Page(#[from] io::Error),
}
