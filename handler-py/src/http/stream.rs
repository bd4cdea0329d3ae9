//! The bare job, for code that answers by itself: ASGI, WSGI, streams.

use crate::http::body;
use crate::http::files::FoundFile;
use crate::http::response;
use crate::link::flow::Flow;
use crate::link::job::Job;
use crate::text::latin1;
use handler_core::worker::files::Asked;
use handler_core::worker::protocol::Action;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::os::fd::{IntoRawFd, OwnedFd};
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

    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.flow().is_gone()
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

    /// The body's bytes.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.job.body())
    }

    /// Answers in one piece: status, pairs of header name and value, body, whether that may be compressed, and the reason
    /// phrase, if it is not the usual one. `False`: it was answered before.
    #[pyo3(signature = (status, headers, body, compress = false, reason = None))]
    fn respond(
        &self,
        py: Python<'_>,
        status: u16,
        headers: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        body: &Bound<'_, PyAny>,
        compress: bool,
        reason: Option<&[u8]>,
    ) -> PyResult<bool> {
        let head = response::head_with_reason(status, reason.unwrap_or_default(), &headers)?;
        let body = response::bytes(body)?;
        Ok(response::respond(py, &self.job, status, head.as_bytes(), body.as_bytes(), compress))
    }

    /// Finds a file to answer with.
    #[pyo3(signature = (path, root, content_type, conditional))]
    fn find_file(
        &self,
        py: Python<'_>,
        path: &[u8],
        root: Option<&[u8]>,
        content_type: Option<&[u8]>,
        conditional: bool,
    ) -> PyResult<Option<FoundFile>> {
        FoundFile::find(py, &self.job, &Asked { path, root, content_type, conditional })
    }

    /// Answers with a file that was found, which may be compressed.
    fn send_file(
        &self,
        py: Python<'_>,
        found: &FoundFile,
        status: u16,
        headers: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        compress: bool,
    ) -> PyResult<()> {
        let head = response::head(&headers)?;
        found.send(py, &self.job, status, head.as_bytes(), compress)
    }

    /// Whether the client wants no body.
    #[getter]
    fn is_head(&self) -> bool {
        self.job.first(b"METHOD").is_some_and(|method| *method == *b"HEAD")
    }

    /// Begins an answer whose body comes in pieces; a Content-Length says how many bytes they will be. `False`: it was
    /// answered before, or the client has left.
    #[pyo3(signature = (status, headers, reason = None))]
    fn begin(
        &self,
        py: Python<'_>,
        status: u16,
        headers: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        reason: Option<&[u8]>,
    ) -> PyResult<bool> {
        let head = response::opening(status, reason.unwrap_or_default(), &headers)?;
        let serial = self.job.serial;
        let action = Action::Begin { serial, status, head: &head };
        Ok(!self.flow().is_gone() && self.job.link.push_for(py, serial, &action))
    }

    /// Sends a piece of the body. `True`: another may follow at once; otherwise wait until there is `room`, or look
    /// whether the client is `gone`.
    fn write(&self, py: Python<'_>, piece: &Bound<'_, PyAny>) -> PyResult<bool> {
        let piece = response::bytes(piece)?;
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
        py.detach(|| {
            if flow.has_room() || flow.is_gone() {
                return !flow.is_gone();
            }
            // A thread that waits for a client is not inside the script.
            self.job.link.wait_for_client(|| flow.wait())
        })
    }

    /// The body's bytes, when the message has all of them; else `None`.
    fn small_body<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.job.has_small_body().then(|| PyBytes::new(py, self.job.body()))
    }

    /// Bytes that the body has, or will have, if that is known.
    #[getter]
    fn body_size(&self) -> PyResult<Option<u64>> {
        Ok(body::progress(&self.job, self.flow())?.1)
    }

    /// Takes up to so many bytes of the body: nothing at its end, `None` when nothing is there yet.
    fn read_body<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let found = body::read_now(py, &self.job, self.flow(), most)?;
        Ok(found.map(|bytes| PyBytes::new(py, &bytes)))
    }

    /// `watcher()` is called in the loop's thread when more of the body may be there; `None` ends that.
    fn watch_body(&self, watcher: Option<Py<PyAny>>) {
        self.flow().watch_body(watcher);
    }

    /// The descriptor of the file that has the body instead of `body`, now the caller's, and the body's size; or
    /// `None`. What else may be in the file is not the body's.
    fn open_spool(&self) -> PyResult<Option<(i32, u64)>> {
        Ok(self.job.open_spool()?.map(|(file, size)| (OwnedFd::from(file).into_raw_fd(), size)))
    }
}
