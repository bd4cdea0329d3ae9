//! Questions: what a script asks the hub, and what the operator's code gave.

use super::Worker;
use handler_core::worker::protocol::{Action, Question};
use pyo3::exceptions::{PyConnectionError, PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Asks the hub and waits for its answer, JSON. `question`: `count`, `members`, `connection`, `data`, `rooms`.
#[pyfunction]
pub(crate) fn ask<'py>(
    py: Python<'py>,
    worker: &Worker,
    question: &str,
    subject: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    if !worker.is_ready() {
        return Err(PyRuntimeError::new_err(
            "this asks the hub, which answers in handlers and tasks, not while the script is loaded",
        ));
    }
    let question = match question {
        "count" => Question::Count,
        "members" => Question::Members,
        "connection" => Question::Connection,
        "data" => Question::Data,
        _ => Question::Rooms,
    };
    let answer = worker.link.ask(py, question, subject.as_bytes());
    worker.pool.invite(&worker.link);
    match answer {
        Ok(Some(json)) => Ok(PyBytes::new(py, &json)),
        Ok(None) => Err(PyConnectionError::new_err("the hub is gone")),
        Err(problem) => Err(PyOSError::new_err(format!("no connection to the hub: {problem}"))),
    }
}

/// What the operator's code gave, or what went wrong.
#[pyfunction]
pub(crate) fn evaluated(py: Python<'_>, worker: &Worker, query: u64, ok: bool, text: &str) {
    worker.link.push(py, &Action::Evaluated { query, ok, text: text.as_bytes() });
}
