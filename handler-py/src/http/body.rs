//! A request's body in pieces: as it arrives, in routes that stream; otherwise as it lies in the message or in its file.

use crate::link::flow::Flow;
use crate::link::job::Job;
use handler_core::worker::body::BodyError;
use handler_core::worker::protocol::Action;
use handler_core::worker::reader::Piece;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyMemoryError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io;

create_exception!(
    kennel,
    Aborted,
    PyException,
    "The client has left before the end of its body, or the body was larger than `limits.upload`: nobody waits for an \
     answer."
);

/// How much is read at once when the script wants all.
const PIECE: usize = 64 << 10;

fn unreadable(problem: io::Error) -> PyErr {
    PyOSError::new_err(format!("the body cannot be read: {problem}"))
}

/// Why a body cannot be had, as an exception.
pub(crate) fn body_error(problem: &BodyError) -> PyErr {
    match problem {
        BodyError::Arriving => PyRuntimeError::new_err(problem.to_string()),
        BodyError::TooLarge { .. } => PyMemoryError::new_err(problem.to_string()),
        other => PyOSError::new_err(other.to_string()),
    }
}

/// Takes up to `most` bytes of what is there: nothing at the end, `None` where nothing is there yet.
///
/// # Errors
///
/// `Aborted`, or `OSError` when the file cannot be read.
pub(crate) fn read_now(py: Python<'_>, job: &Job, flow: &Flow, most: usize) -> PyResult<Option<Vec<u8>>> {
    let read = || {
        flow.with_reader(job.frame(), |reader| {
            let piece = reader.read(job.frame(), most)?;
            Ok((piece, reader.take_want()))
        })
    };
    // A disk may take its time.
    let (piece, want) = py.detach(read).map_err(unreadable)?;
    if let Some(bytes) = want {
        let serial = job.serial;
        if !job.link.push_for(py, serial, &Action::Want { serial, bytes }) && piece == Piece::NotYet {
            return Err(PyRuntimeError::new_err("the request has been answered: its body is gone"));
        }
    }
    match piece {
        Piece::Bytes(bytes) => Ok(Some(bytes)),
        Piece::NotYet => Ok(None),
        Piece::End => Ok(Some(Vec::new())),
        Piece::Aborted => Err(Aborted::new_err("the client has left before the end of its body")),
    }
}

/// Takes up to `most` bytes, or all the rest, and waits for them.
///
/// # Errors
///
/// As [`read_now`]; `RuntimeError` in the loop's thread when it would have to wait.
pub(crate) fn read<'py>(
    py: Python<'py>,
    job: &Job,
    flow: &Flow,
    most: Option<usize>,
) -> PyResult<Bound<'py, PyBytes>> {
    if most == Some(0) {
        return Err(PyValueError::new_err("a number of bytes from 1, or none for all the rest"));
    }
    let mut all = Vec::new();
    loop {
        let known = flow.said();
        match read_now(py, job, flow, most.unwrap_or(PIECE))? {
            Some(bytes) if most.is_some() => return Ok(PyBytes::new(py, &bytes)),
            Some(bytes) if bytes.is_empty() => return Ok(PyBytes::new(py, &all)),
            Some(bytes) => all.extend_from_slice(&bytes),
            None if job.link.is_loop_thread() => {
                return Err(PyRuntimeError::new_err(
                    "the rest of the body is still arriving, and this thread cannot wait for it: in an `async def`, \
                     `await req.receive(n)`",
                ));
            }
            // A thread that waits for a client is not inside the script.
            None => py.detach(|| job.link.wait_for_client(|| flow.wait_for_word(known))),
        }
    }
}

/// Bytes that have arrived, and that there will be, if that is known.
///
/// # Errors
///
/// `OSError` when the body is in a file that cannot be opened.
pub(crate) fn progress(job: &Job, flow: &Flow) -> PyResult<(u64, Option<u64>)> {
    flow.with_reader(job.frame(), |reader| Ok((reader.received(), reader.size()))).map_err(unreadable)
}
