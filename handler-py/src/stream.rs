//! The bare job, for code that answers by itself: ASGI, WSGI, streams.

use crate::answer;
use crate::flow::Flow;
use crate::job::{Job, is_clients};
use crate::text::{latin1, text};
use handler_core::worker::protocol::Action;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::sync::{Arc, OnceLock};

/// A job whose answer is not a value.
#[pyclass(frozen, weakref, name = "Job", module = "kennel._native")]
pub(crate) struct PyJob {
    job: Arc<Job>,
    flow: OnceLock<Arc<Flow>>,
}

impl PyJob {
    pub(crate) fn new(job: Arc<Job>) -> Self {
        Self { job, flow: OnceLock::new() }
    }

    /// One that learns of a client's end from now on.
    pub(crate) fn watched(job: Arc<Job>) -> Self {
        let made = Self::new(job);
        made.flow();
        made
    }

    fn flow(&self) -> &Flow {
        self.flow.get_or_init(|| self.job.link.flow(self.job.serial))
    }
}

#[pymethods]
impl PyJob {
    /// The job's number in this worker.
    #[getter]
    fn serial(&self) -> u64 {
        self.job.serial
    }

    /// `GET /path?query`, for messages.
    #[getter]
    fn title(&self) -> String {
        self.job.title()
    }

    /// A field that Mongrel2 wrote, as text of Latin-1; `None` when it is not there.
    fn server_field<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyString>> {
        self.job.first(name.as_bytes()).map(|value| latin1(py, &value))
    }

    /// The same as bytes.
    fn server_bytes<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyBytes>> {
        self.job.first(name.as_bytes()).map(|value| PyBytes::new(py, &value))
    }

    /// The path, percent-decoded, as text.
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        text(py, self.job.envelope().map_or(b"", |envelope| envelope.path))
    }

    /// The client's headers as pairs of bytes, names in lower case.
    fn headers<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let mut pairs = Vec::with_capacity(24);
        let Some(envelope) = self.job.envelope() else { return pairs };
        for (name, values) in
            envelope.headers.iter().map_while(Result::ok).filter(|(name, _)| is_clients(name))
        {
            let name = PyBytes::new(py, name);
            pairs.extend(values.iter().map(|value| (name.clone(), PyBytes::new(py, &value.bytes()))));
        }
        pairs
    }

    /// The body's bytes.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.job.body())
    }

    /// Answers in one piece: status, pairs of header name and value, body. `False`: it was answered before.
    fn respond(
        &self,
        py: Python<'_>,
        status: u16,
        headers: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        body: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let head = answer::head(&headers)?;
        let body = answer::bytes(body)?;
        let (serial, body) = (self.job.serial, body.as_bytes());
        Ok(self.job.link.end(py, serial, &Action::Respond { serial, status, head: head.as_bytes(), body }))
    }

    /// Begins an answer whose body comes in pieces. `False`: it was answered before, or the client has left.
    fn begin(
        &self,
        py: Python<'_>,
        status: u16,
        headers: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
    ) -> PyResult<bool> {
        let head = answer::head(&headers)?;
        let serial = self.job.serial;
        let action = Action::Begin { serial, status, head: head.as_bytes() };
        Ok(!self.flow().is_gone() && self.job.link.push_for(py, serial, &action))
    }

    /// Sends a piece of the body. `True`: another may follow at once; otherwise wait until there is `room`, or look
    /// whether the client is `gone`.
    fn write(&self, py: Python<'_>, piece: &Bound<'_, PyAny>) -> PyResult<bool> {
        let piece = answer::bytes(piece)?;
        let (serial, bytes) = (self.job.serial, piece.as_bytes());
        if self.flow().is_gone() || !self.job.link.push_for(py, serial, &Action::Piece { serial, bytes }) {
            return Ok(false);
        }
        Ok(self.flow().sent(bytes.len()))
    }

    /// The body is whole.
    fn end(&self, py: Python<'_>) {
        let serial = self.job.serial;
        self.job.link.end(py, serial, &Action::End { serial });
    }

    /// The body ends in the middle, and the client shall see that.
    fn abort(&self, py: Python<'_>) {
        let serial = self.job.serial;
        self.job.link.end(py, serial, &Action::Abort { serial });
    }

    /// Whether a piece may be sent now.
    #[getter]
    fn room(&self) -> bool {
        self.flow().has_room()
    }

    /// Whether the client has left.
    #[getter]
    fn gone(&self) -> bool {
        self.flow().is_gone()
    }

    /// `watcher()` is called in the loop's thread when room has come or the client has left; `None` ends that.
    fn watch(&self, watcher: Option<Py<PyAny>>) {
        self.flow().watch(watcher);
    }

    /// Blocks this thread, which is not the loop's, until a piece may be sent. `False`: the client has left.
    fn wait(&self, py: Python<'_>) -> bool {
        let flow = self.flow();
        py.detach(|| flow.wait())
    }

    /// The file that holds the body instead of `body`, or `None`. It is the hub's, and goes when the job has ended.
    #[getter]
    fn spool(&self) -> Option<String> {
        let path = self.job.spool();
        (!path.is_empty()).then(|| String::from_utf8_lossy(path).into_owned())
    }
}
