//! The wire of a live connection: what a script sends to it and does with it. The package's `Connection` adds what
//! is rarer.

use crate::http::response;
use crate::link::{Link, PyLink};
use handler_core::channel::bounds;
use handler_core::worker::protocol::Action;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One live connection, this worker's or another one's.
#[pyclass(frozen, subclass, module = "kennel._native")]
pub(crate) struct Wire {
    link: Arc<Link>,
    /// The number under which the hub knows it.
    pub(crate) number: u64,
    id: String,
    transport: String,
    open: AtomicBool,
    busy: AtomicBool,
}

impl Wire {
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }
}

#[pymethods]
impl Wire {
    #[new]
    fn new(link: &PyLink, number: u64, id: String, transport: String) -> Self {
        let link = Arc::clone(&link.0);
        Self { link, number, id, transport, open: AtomicBool::new(true), busy: AtomicBool::new(false) }
    }

    #[getter]
    fn _number(&self) -> u64 {
        self.number
    }

    /// A text that no other connection ever has; `kennel.connection(id)` gives the handle back.
    #[getter]
    fn id(&self) -> &str {
        &self.id
    }

    /// What carries it: `websocket`, `json` or `xml`.
    #[getter]
    fn transport(&self) -> &str {
        &self.transport
    }

    /// Whether something can still be sent, as far as this worker knows.
    #[getter(_open)]
    fn get_open(&self) -> bool {
        self.is_open()
    }

    fn _ended(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    #[getter(_busy)]
    fn get_busy(&self) -> bool {
        self.is_busy()
    }

    /// A callback of it runs, or its code does not wait for a message.
    fn _set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// Sends a message: text as text, bytes as they are, anything else as JSON text. Never blocks; in order.
    /// `False`: the connection is closed.
    fn send(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<bool> {
        if !self.is_open() {
            return Ok(false);
        }
        with_message(py, message, |binary, payload| {
            self.link.push(py, &Action::Send { conn: self.number, binary, payload });
        })?;
        Ok(true)
    }

    /// Closes it behind what was sent. `False`: it is closed already.
    #[pyo3(signature = (code=1000, reason=""))]
    fn close(&self, py: Python<'_>, code: i64, reason: &str) -> PyResult<bool> {
        let code = close_code(code, reason)?;
        if !self.open.swap(false, Ordering::Relaxed) {
            return Ok(false);
        }
        self.link.push(py, &Action::CloseConn { conn: self.number, code, reason: reason.as_bytes() });
        Ok(true)
    }

    /// Completes a handshake that was asked about, with one of the subprotocols that the client offers or an empty text,
    /// and further headers.
    fn _accept(
        &self,
        py: Python<'_>,
        protocol: &str,
        headers: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
    ) -> PyResult<()> {
        let head = response::head(&headers)?;
        self.link.push(py, &Action::Accept { conn: self.number, protocol, head: head.as_bytes() });
        Ok(())
    }

    /// Answers a handshake that was asked about as an HTTP request. Nothing comes of the connection any more.
    fn _refuse(
        &self,
        py: Python<'_>,
        status: u16,
        headers: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        body: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let head = response::head(&headers)?;
        let body = response::bytes(body)?;
        self.open.store(false, Ordering::Relaxed);
        let (conn, head, body) = (self.number, head.as_bytes(), body.as_bytes());
        self.link.push(py, &Action::Refuse { conn, status, head, body });
        Ok(())
    }

    fn _join(&self, py: Python<'_>, room: &str) -> PyResult<bool> {
        check_room(room)?;
        if self.is_open() {
            self.link.push(py, &Action::Join { conn: self.number, room: room.as_bytes() });
        }
        Ok(self.is_open())
    }

    fn _leave(&self, py: Python<'_>, room: &str) -> PyResult<bool> {
        check_room(room)?;
        if self.is_open() {
            self.link.push(py, &Action::Leave { conn: self.number, room: room.as_bytes() });
        }
        Ok(self.is_open())
    }

    fn _set_data(&self, py: Python<'_>, json: &str) -> PyResult<()> {
        bounds::check_data(json.len()).map_err(|problem| PyValueError::new_err(problem.to_string()))?;
        if self.is_open() {
            self.link.push(py, &Action::SetData { conn: self.number, json: json.as_bytes() });
        }
        Ok(())
    }
}

/// Hands a message to `send`: whether it is binary, and its bytes.
pub(crate) fn with_message<T>(
    py: Python<'_>,
    message: &Bound<'_, PyAny>,
    send: impl FnOnce(bool, &[u8]) -> T,
) -> PyResult<T> {
    if let Ok(text) = message.cast::<PyString>() {
        return Ok(send(false, text.to_cow()?.as_bytes()));
    }
    if let Ok(bytes) = message.cast::<PyBytes>() {
        return Ok(send(true, bytes.as_bytes()));
    }
    if message.is_none() {
        return Err(PyTypeError::new_err("a message is text, bytes, or a value for JSON, not None"));
    }
    let types = py.import("kennel._runtime.json")?;
    if message.is_instance(&types.getattr("BINARY")?)? {
        let bytes = response::bytes(message)?;
        return Ok(send(true, bytes.as_bytes()));
    }
    let text = types.getattr("encode")?.call1((message,))?;
    Ok(send(false, text.cast::<PyString>()?.to_cow()?.as_bytes()))
}

/// A close code that may be sent, with a reason that fits.
pub(crate) fn close_code(code: i64, reason: &str) -> PyResult<u16> {
    bounds::check_close(code, reason.len()).map_err(|problem| PyValueError::new_err(problem.to_string()))
}

/// Checks a room's name.
pub(crate) fn check_room(room: &str) -> PyResult<()> {
    bounds::check_room(room.len()).map_err(|problem| PyValueError::new_err(problem.to_string()))
}
