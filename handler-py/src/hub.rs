//! What a worker says to the hub that belongs to no request and no connection: log lines, rooms, the raw level,
//! questions.

use crate::conn::{check_room, close_code, with_message};
use crate::link::Link;
use crate::worker::Worker;
use handler_core::hub::routes::{RouteError, Routes, parameter_names};
use handler_core::worker::error_page;
use handler_core::worker::protocol::{Action, Ids, Level, LoadFailure, Question, RouteSpec, encode_ids};
use kennel_http::cookies::{self, Attributes};
use kennel_http::{events, file};
use mongrel2_wire::{ConnId, Sender};
use pyo3::exceptions::{PyConnectionError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::Mutex;

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

/// The value of a Content-Disposition that has the client store a body under a name.
#[pyfunction]
pub(crate) fn attachment(name: &str) -> String {
    file::attachment(name)
}

/// The lines of a server-sent event.
#[pyfunction]
#[pyo3(signature = (event, data, id, retry))]
pub(crate) fn event<'py>(
    py: Python<'py>,
    event: Option<&[u8]>,
    data: Option<&[u8]>,
    id: Option<&[u8]>,
    retry: Option<u64>,
) -> PyResult<Bound<'py, PyBytes>> {
    match (events::Event { event, data, id, retry }).encode() {
        Ok(lines) => Ok(PyBytes::new(py, &lines)),
        Err(problem) => Err(PyValueError::new_err(problem.to_string())),
    }
}

/// What the operator's code gave, or what went wrong.
#[pyfunction]
pub(crate) fn evaluated(py: Python<'_>, worker: &Worker, query: u64, ok: bool, text: &str) {
    worker.link.push(py, &Action::Evaluated { query, ok, text: text.as_bytes() });
}

/// Sends a message to all in a room but one connection, by its number, 0 for none.
#[pyfunction]
pub(crate) fn publish(
    py: Python<'_>,
    worker: &Worker,
    room: &str,
    message: &Bound<'_, PyAny>,
    except: u64,
) -> PyResult<()> {
    with_message(py, message, |binary, payload| {
        worker.link.push(py, &Action::Publish { except, binary, room: room.as_bytes(), payload });
    })
}

/// Closes all connections of a room.
#[pyfunction]
pub(crate) fn close_room(
    py: Python<'_>,
    worker: &Worker,
    room: &str,
    code: i64,
    reason: &str,
) -> PyResult<()> {
    let code = close_code(code, reason)?;
    worker.link.push(py, &Action::CloseRoom { code, room: room.as_bytes(), reason: reason.as_bytes() });
    Ok(())
}

/// Raises `ValueError` for what cannot be a room's name.
#[pyfunction]
pub(crate) fn room_name(room: &str) -> PyResult<()> {
    check_room(room)
}

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

/// Bytes for connections of a server, or their close.
#[pyfunction]
#[pyo3(signature = (worker, sender, ids, payload))]
pub(crate) fn deliver(
    py: Python<'_>,
    worker: &Worker,
    sender: &str,
    ids: Vec<i64>,
    payload: Option<&Bound<'_, PyBytes>>,
) -> PyResult<()> {
    let wrong = |problem: &dyn std::fmt::Display| PyValueError::new_err(problem.to_string());
    Sender::new(sender).map_err(|problem| wrong(&problem))?;
    for id in &ids {
        ConnId::try_from(*id).map_err(|problem| wrong(&problem))?;
    }
    let ids = encode_ids(ids);
    let ids = Ids::new(&ids);
    let action = match payload {
        Some(payload) => Action::Deliver { sender, ids, payload: payload.as_bytes() },
        None => Action::Disconnect { sender, ids },
    };
    worker.link.push(py, &action);
    Ok(())
}

/// What `kennel dev` shows in the browser for a failure.
#[pyfunction]
#[pyo3(signature = (title, message, file, line, traceback))]
pub(crate) fn error_html(
    title: &str,
    message: String,
    file: Option<String>,
    line: Option<u32>,
    traceback: String,
) -> String {
    error_page::render(title, &LoadFailure { message, file, line, traceback })
}

/// The reason with which a channel's connection is closed after an error.
#[pyfunction]
pub(crate) fn close_reason(dev: bool, error: &str) -> String {
    error_page::close_reason(dev, error)
}

/// The line of a cookie for a Set-Cookie header.
#[pyfunction]
#[pyo3(signature = (name, value, *, max_age=None, path=Some("/".to_owned()), domain=None, secure=false, http_only=true, same_site=Some("Lax".to_owned())))]
#[expect(clippy::too_many_arguments, reason = "each is one of a cookie's attributes, by its name")]
pub(crate) fn cookie<'py>(
    py: Python<'py>,
    name: &str,
    value: &str,
    max_age: Option<i64>,
    path: Option<String>,
    domain: Option<String>,
    secure: bool,
    http_only: bool,
    same_site: Option<String>,
) -> PyResult<Bound<'py, PyBytes>> {
    let attributes = Attributes { max_age, path, domain, secure, http_only, same_site };
    match cookies::set_cookie(name.as_bytes(), value.as_bytes(), &attributes) {
        Ok(line) => Ok(PyBytes::new(py, &line)),
        Err(problem) => Err(PyValueError::new_err(problem.to_string())),
    }
}

/// Routes as they are registered: what cannot be served is refused at the script's line.
#[pyclass(frozen, module = "kennel._native")]
#[derive(Default)]
pub(crate) struct RouteTable(Mutex<Routes>);

#[pymethods]
impl RouteTable {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Adds a route and gives the names of its values.
    fn add(&self, methods: Vec<String>, path: String, number: u32, place: String) -> PyResult<Vec<String>> {
        let spec = RouteSpec { methods, path, handler: number, place, streams: false };
        let mut routes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        routes.add(&spec).map_err(|problem| PyValueError::new_err(about(&spec, &problem)))?;
        Ok(parameter_names(&spec.path).into_iter().map(str::to_owned).collect())
    }
}

/// What is wrong with a route, or with the path of a channel, which is checked as one.
fn about(spec: &RouteSpec, problem: &RouteError) -> String {
    let text = problem.to_string();
    if spec.methods != ["CHANNEL"] {
        return text;
    }
    match problem {
        RouteError::Duplicate { path, place, .. } => {
            format!("channel `{path}` is registered already ({place})")
        }
        _ => text.strip_prefix("route ").map_or_else(|| text.clone(), |rest| format!("channel {rest}")),
    }
}

/// The known word that was probably meant, or `None`.
#[pyfunction]
pub(crate) fn nearest(word: &str, known: Vec<String>) -> Option<String> {
    let distances = known.into_iter().map(|known| (strsim::damerau_levenshtein(word, &known), known));
    distances.filter(|(distance, known)| *distance <= known.len().div_ceil(3)).min().map(|(_, known)| known)
}

/// Raises `ValueError` for what cannot be a header line.
#[pyfunction]
pub(crate) fn check_header(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    crate::answer::head(&[(name.clone(), value.clone())]).map(drop)
}
