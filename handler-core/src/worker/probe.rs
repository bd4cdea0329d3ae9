//! Loads a script in a worker of its own, to see what it registers, and ends that worker.

use super::process::WorkerCommand;
use super::protocol::{Action, Level, LoadFailure, Registration, Start};
use super::protocol::{encode_start, split_batch, split_frame};
use super::standing::{Standing, died_while_loading, not_loaded};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How this program ends the workers that it has looked at.
const SIGKILL: i32 = 9;

/// Why a script's registration is not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The script did not load.
    #[error("{0}")]
    Load(LoadFailure),
    /// The worker could not be started or talked to.
    #[error("cannot start a worker (`{program}`): {cause}")]
    Start {
        /// The worker's program.
        program: String,
        /// What the system said.
        cause: io::Error,
    },
}

/// Loads the script and returns what it registers; waits at most `patience`. What the script prints or logs meanwhile
/// is given to `said`.
///
/// # Errors
///
/// [`ProbeError`].
pub fn load(
    command: &WorkerCommand,
    start: &Start,
    patience: Duration,
    said: &mut dyn FnMut(Level, &str),
) -> Result<Registration, ProbeError> {
    let failed = |cause| {
        let program = command.program.to_string_lossy().into_owned();
        ProbeError::Start { program, cause }
    };
    let mut process = command.spawn().map_err(failed)?;
    let result = converse(&mut process.socket, start, Instant::now() + patience, said);
    let _ = process.child.kill();
    let status = process.child.wait();
    let here = std::env::current_dir().ok();
    let standing = Standing::read(&process.page.standing(), here.as_deref());
    match result.map_err(failed)? {
        Seen::Outcome(outcome) => outcome.map_err(ProbeError::Load),
        Seen::TooSlow => Err(ProbeError::Load(not_loaded(&start.source, patience, standing))),
        Seen::Ended => {
            let status = status.ok().filter(|status| status.signal() != Some(SIGKILL));
            let status = status.map(|status| status.to_string());
            Err(ProbeError::Load(died_while_loading(&start.source, status.as_deref(), standing)))
        }
    }
}

/// What came of loading a script.
enum Seen {
    /// The worker said so.
    Outcome(Result<Registration, LoadFailure>),
    /// Nothing, within the time.
    TooSlow,
    /// Nothing, and the worker is gone.
    Ended,
}

fn converse(
    socket: &mut std::os::unix::net::UnixStream,
    start: &Start,
    deadline: Instant,
    said: &mut dyn FnMut(Level, &str),
) -> io::Result<Seen> {
    socket.set_nonblocking(false)?;
    let mut order = Vec::new();
    encode_start(&mut order, start);
    socket.write_all(&order)?;
    let mut inbox = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Seen::TooSlow);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut chunk) {
            Ok(0) => return Ok(Seen::Ended),
            Ok(count) => inbox.extend_from_slice(&chunk[..count]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(Seen::TooSlow);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        while let Ok(Some((_, mut frames, rest))) = split_batch(&inbox) {
            while let Some((kind, payload, after)) = split_frame(frames) {
                match Action::read(kind, payload) {
                    Ok(Action::Ready(registration)) => return Ok(Seen::Outcome(Ok(registration))),
                    Ok(Action::Failed(failure)) => return Ok(Seen::Outcome(Err(failure))),
                    Ok(Action::Log { level, text, .. }) => {
                        said(level, &String::from_utf8_lossy(text));
                        frames = after;
                    }
                    _ => frames = after,
                }
            }
            inbox = rest.to_vec();
        }
    }
}
