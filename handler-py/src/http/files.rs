//! Files as answers, which go on by themselves once they have begun.

use crate::link::Link;
use crate::link::job::Job;
use handler_core::worker::files::{self, Asked, FileAnswer, FileError};
use handler_core::worker::protocol::Action;
use kennel_http::file;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io;
use std::sync::{Mutex, PoisonError};

fn os_error(problem: &impl std::fmt::Display) -> PyErr {
    PyOSError::new_err(problem.to_string())
}

/// A file between opening and sending it.
#[pyclass(frozen, module = "kennel._native")]
pub(crate) struct FoundFile {
    answer: Mutex<Option<FileAnswer>>,
    /// 200, 206, 304, 412 or 416.
    #[pyo3(get)]
    status: u16,
    head: Vec<(&'static str, Vec<u8>)>,
}

#[pymethods]
impl FoundFile {
    /// Pairs of header name and value.
    #[getter]
    fn head<'py>(&self, py: Python<'py>) -> Vec<(&'static str, Bound<'py, PyBytes>)> {
        self.head.iter().map(|(name, value)| (*name, PyBytes::new(py, value))).collect()
    }
}

impl FoundFile {
    /// Opens what a script asks for; `None`: there is no such file.
    pub(crate) fn find(py: Python<'_>, job: &Job, asked: &Asked<'_>) -> PyResult<Option<Self>> {
        let Some(envelope) = job.envelope() else { return Ok(None) };
        match py.detach(|| files::find(asked, &envelope)) {
            Ok(answer) => {
                let (status, head) = (answer.status(), answer.head().to_vec());
                Ok(Some(Self { answer: Mutex::new(Some(answer)), status, head }))
            }
            Err(FileError::NotThere) => Ok(None),
            Err(problem) => Err(os_error(&problem)),
        }
    }

    pub(crate) fn send(
        &self,
        py: Python<'_>,
        job: &Job,
        status: u16,
        head: &[u8],
        compress: bool,
    ) -> PyResult<()> {
        let Some(answer) = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Err(PyRuntimeError::new_err("a file that kennel.file gave is sent once"));
        };
        job.link
            .send_file(py, job.serial, answer, status, head, compress)
            .map_err(|problem| os_error(&format!("the file cannot be read: {problem}")))
    }
}

impl Link {
    /// Answers a job with a file: all of it, or its beginning, and the rest as the client reads.
    fn send_file(
        &self,
        py: Python<'_>,
        serial: u64,
        answer: FileAnswer,
        status: u16,
        head: &[u8],
        compress: bool,
    ) -> io::Result<()> {
        if !self.is_unanswered(serial) {
            return Ok(());
        }
        let send = |push: &mut dyn FnMut(&Action<'_>)| answer.send(serial, status, head, compress, push);
        self.downloads.begin(serial, send, &mut |action| self.push_answer(py, serial, action))
    }

    /// The hub has passed on so many bytes of a job's answer. `false`: that is no file.
    pub(crate) fn file_taken(&self, py: Python<'_>, serial: u64, bytes: u32) -> bool {
        self.downloads.taken(serial, bytes, &mut |action| self.push_answer(py, serial, action))
    }

    /// The client of a job has left. `false`: its answer is no file.
    pub(crate) fn file_gone(&self, py: Python<'_>, serial: u64) -> bool {
        self.downloads.gone(serial, &mut |action| self.push_answer(py, serial, action))
    }

    fn push_answer(&self, py: Python<'_>, serial: u64, action: &Action<'_>) {
        match action {
            Action::Begin { .. } | Action::Piece { .. } => drop(self.push_for(py, serial, action)),
            _ => drop(self.end(py, serial, action)),
        }
    }
}

/// The value of a Content-Disposition that has the client store a body under a name.
#[pyfunction]
pub(crate) fn attachment(name: &str) -> String {
    file::attachment(name)
}
