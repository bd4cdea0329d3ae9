//! The hub as a worker of programs sees it: the first order, answers, log lines, and the start of jobs.

use crate::rate_limit::RateLimit;
use handler_core::hub::answers;
use handler_core::worker::link::{Actions, Orders, Wake};
use handler_core::worker::protocol::{Action, Level, Order, ProtocolError, Start};
use std::io;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How often a worker shows the hub that it is alive while jobs wait for a process.
pub(crate) const ALIVE: Duration = Duration::from_millis(200);

/// Complaints about a program at once, and how often one more.
const COMPLAINTS: (u32, Duration) = (50, Duration::from_millis(100));
/// The same for lines of its own.
const CHATTER: (u32, Duration) = (1000, Duration::from_millis(5));

/// What a client reads when the program's answer cannot be passed on.
const BAD_ANSWER: &[u8] = b"502 Bad Gateway: the program gave no answer that can be passed on.\n";

/// Why a worker could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The socket pair failed, or there is none.
    #[error("no connection to the hub: {0}")]
    Link(#[from] io::Error),
    /// The hub is of another version.
    #[error("the hub is not understood: {0}")]
    Protocol(#[from] ProtocolError),
}

/// Waits for the order that says what to run; `None`: the hub is gone.
pub(crate) fn first_order(orders: &mut Orders) -> Result<Option<Start>, WorkerError> {
    loop {
        if let Some((kind, payload)) = orders.next_order() {
            if let Order::Start(start) = Order::read(kind, payload)? {
                return Ok(Some(start));
            }
        } else if orders.wait(None)? == Wake::End {
            return Ok(None);
        }
    }
}

/// What this worker says.
#[derive(Debug)]
pub(crate) struct Hub {
    actions: Actions,
    complaints: RateLimit,
    chatter: RateLimit,
}

impl Hub {
    pub(crate) fn new(actions: Actions, now: Instant) -> Self {
        let bucket = |(most, every)| RateLimit::new(most, every, now);
        Self { actions, complaints: bucket(COMPLAINTS), chatter: bucket(CHATTER) }
    }

    /// Says something.
    ///
    /// # Errors
    ///
    /// When the hub is gone; as of all that follow.
    pub(crate) fn act(&mut self, action: &Action<'_>) -> io::Result<()> {
        self.actions.push(action)
    }

    /// Sends what was said.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.actions.flush()
    }

    /// The worker's own work begins or ends; calls come in pairs.
    pub(crate) fn turn(&self) {
        self.actions.page().turn(0);
    }

    /// Says that a job begins. `false`: the hub has taken it back, and is told that it did not.
    pub(crate) fn begin(&mut self, serial: u64) -> io::Result<bool> {
        let begins = self.actions.page().start_any(serial);
        if !begins {
            self.skip(serial)?;
        }
        Ok(begins)
    }

    /// A job does not run here.
    pub(crate) fn skip(&mut self, serial: u64) -> io::Result<()> {
        self.act(&Action::Skipped { serial })
    }

    /// Answers a request with the hub's own words for a status.
    pub(crate) fn answer(&mut self, serial: u64, status: u16) -> io::Result<()> {
        let (head, body) = (answers::head(status, None), answers::text(status));
        self.act(&Action::Respond { serial, status, head: head.as_bytes(), body: body.as_bytes() })
    }

    /// Answers a request whose answer makes no sense.
    pub(crate) fn answer_bad(&mut self, serial: u64) -> io::Result<()> {
        let head = answers::head(502, None);
        self.act(&Action::Respond { serial, status: 502, head: head.as_bytes(), body: BAD_ANSWER })
    }

    /// A line about the program, for the log; `serial` is the job that it is about, or 0.
    pub(crate) fn complain(&mut self, serial: u64, text: &str, now: Instant) -> io::Result<()> {
        let Some(left_out) = self.complaints.ask(now) else { return Ok(()) };
        self.log(Level::Warn, serial, text.as_bytes(), left_out)
    }

    /// A line of the program's own, for the log.
    pub(crate) fn pass_on(&mut self, level: Level, text: &[u8], now: Instant) -> io::Result<()> {
        let Some(left_out) = self.chatter.ask(now) else { return Ok(()) };
        self.log(level, 0, text, left_out)
    }

    fn log(&mut self, level: Level, serial: u64, text: &[u8], left_out: u64) -> io::Result<()> {
        if left_out > 0 {
            let text = format!("{left_out} more lines like those before were left out");
            self.act(&Action::Log { level: Level::Warn, serial: 0, text: text.as_bytes(), fields: b"" })?;
        }
        self.act(&Action::Log { level, serial, text, fields: b"" })
    }
}
