//! Lines for the log.

use crate::link::Link;
use crate::worker::Worker;
use handler_core::worker::protocol::{Action, Level};
use pyo3::prelude::*;

/// A line for the log: `debug`, `info`, `warn` or `error`, the text, and fields as a JSON object or an empty text.
#[pyfunction]
pub(crate) fn log(py: Python<'_>, worker: &Worker, level: &str, text: &str, fields: &str) {
    let level = match level {
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        _ => Level::Error,
    };
    let serial = Link::running();
    worker.link.push(py, &Action::Log { level, serial, text: text.as_bytes(), fields: fields.as_bytes() });
}
