//! The bare job, for code that answers by itself: ASGI, WSGI, streams.

use crate::answer;
use crate::job::{Job, is_clients};
use crate::text::{latin1, text};
use handler_core::worker::protocol::Action;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::sync::Arc;

/// A job whose answer is not a value.
#[pyclass(frozen, weakref, name = "Job", module = "kennel._native")]
pub(crate) struct PyJob {
    job: Arc<Job>,
}

impl PyJob {
    pub(crate) fn new(job: Arc<Job>) -> Self {
        Self { job }
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
        for (name, values) in envelope.headers.iter().map_while(Result::ok).filter(|(name, _)| is_clients(name)) {
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
}
