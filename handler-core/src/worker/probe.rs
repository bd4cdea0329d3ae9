//! Loads a script in a worker of its own, to see what it registers, and ends that worker.

use super::process::WorkerCommand;
use super::protocol::{Action, LoadFailure, Registration, Start, encode_start, split_batch, split_frame};
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};
use thiserror::Error;

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

/// Loads the script and returns what it registers; waits at most `patience`.
///
/// # Errors
///
/// [`ProbeError`].
pub fn load(command: &WorkerCommand, start: &Start, patience: Duration) -> Result<Registration, ProbeError> {
    let failed = |cause| {
        let program = command.program.to_string_lossy().into_owned();
        ProbeError::Start { program, cause }
    };
    let mut process = command.spawn().map_err(failed)?;
    let result = converse(&mut process.socket, start, Instant::now() + patience);
    let _ = process.child.kill();
    let _ = process.child.wait();
    match result.map_err(failed)? {
        Some(outcome) => outcome.map_err(ProbeError::Load),
        None => {
            let message = format!("{}: the script did not load within {patience:?}", start.source);
            Err(ProbeError::Load(LoadFailure { message, ..LoadFailure::default() }))
        }
    }
}

type Outcome = Result<Registration, LoadFailure>;

fn converse(
    socket: &mut std::os::unix::net::UnixStream,
    start: &Start,
    deadline: Instant,
) -> io::Result<Option<Outcome>> {
    socket.set_nonblocking(false)?;
    let mut order = Vec::new();
    encode_start(&mut order, start);
    socket.write_all(&order)?;
    let mut inbox = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut chunk) {
            Ok(0) => {
                let message = "the worker died while it loaded the script".to_owned();
                return Ok(Some(Err(LoadFailure { message, ..LoadFailure::default() })));
            }
            Ok(count) => inbox.extend_from_slice(&chunk[..count]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        while let Ok(Some((_, mut frames, rest))) = split_batch(&inbox) {
            while let Some((kind, payload, after)) = split_frame(frames) {
                match Action::read(kind, payload) {
                    Ok(Action::Ready(registration)) => return Ok(Some(Ok(registration))),
                    Ok(Action::Failed(failure)) => return Ok(Some(Err(failure))),
                    _ => frames = after,
                }
            }
            inbox = rest.to_vec();
        }
    }
}
