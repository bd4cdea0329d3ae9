//! The body as a form, and what scripts do with its files.

use crate::headers::{Pair, mapping};
use crate::job::Job;
use crate::request::{Refused, body_error};
use crate::text::text;
use handler_core::worker::form::{self, FormFailure};
use handler_core::worker::sent_file::{self, Scratch};
use kennel_http::forms::FormLimits;
use pyo3::exceptions::{PyKeyError, PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What a worker knows of forms: their limits, and the files of which scripts asked for a path.
pub(crate) struct Forms {
    limits: FormLimits,
    scratch: Mutex<Scratch>,
    /// There is something to forget.
    is_used: AtomicBool,
}

impl Default for Forms {
    fn default() -> Self {
        Self::new(&FormLimits::default(), "")
    }
}

impl Forms {
    pub(crate) fn new(limits: &FormLimits, folder: &str) -> Self {
        let scratch = Mutex::new(Scratch::new(folder));
        Self { limits: limits.clone(), scratch, is_used: AtomicBool::new(false) }
    }

    fn scratch(&self) -> MutexGuard<'_, Scratch> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes the files of a job that has ended.
    pub(crate) fn forget(&self, serial: u64) {
        if self.is_used.load(Ordering::Relaxed) {
            let mut scratch = self.scratch();
            scratch.forget(serial);
            self.is_used.store(!scratch.is_empty(), Ordering::Relaxed);
        }
    }

    /// Makes a file of what is at a place in a job's body; `None`: the job has ended.
    fn make(&self, job: &Job, place: &Range<u64>) -> std::io::Result<Option<PathBuf>> {
        let path = {
            let mut scratch = self.scratch();
            let made = scratch.make(job.serial, job.frame(), place, || job.link.beat());
            self.is_used.store(true, Ordering::Relaxed);
            made?
        };
        // It may have ended meanwhile, in another thread.
        if job.link.is_unanswered(job.serial) {
            return Ok(Some(path));
        }
        self.forget(job.serial);
        Ok(None)
    }
}

/// A form, read.
pub(crate) struct Loaded {
    fields: Vec<(Py<PyString>, Py<PyString>)>,
    files: Vec<(Py<PyString>, Py<File>)>,
}

impl Loaded {
    /// Reads the form of a job.
    pub(crate) fn read(py: Python<'_>, job: &Arc<Job>) -> PyResult<Self> {
        let found = py.detach(|| form::read(job.frame(), &job.link.forms().limits, || job.link.beat()));
        let found = found.map_err(|failure| match failure {
            FormFailure::Refused(problem) => Refused::new_err((problem.status(), problem.to_string())),
            FormFailure::Body(problem) => body_error(&problem),
            other => PyOSError::new_err(other.to_string()),
        })?;
        let unbound = |bytes: &[u8]| text(py, bytes).unbind();
        let fields = found.fields.iter().map(|(name, value)| (unbound(name), unbound(value))).collect();
        let mut files = Vec::with_capacity(found.files.len());
        for sent in found.files {
            let file = File {
                job: Arc::clone(job),
                name: unbound(&sent.name),
                filename: unbound(&sent.filename),
                content_type: unbound(&sent.content_type),
                place: sent.place,
                path: OnceLock::new(),
            };
            files.push((file.name.clone_ref(py), Py::new(py, file)?));
        }
        Ok(Self { fields, files })
    }
}

/// Those of a list that have this name.
fn of_name<'a, 'py, T>(
    py: Python<'py>,
    all: &'a [(Py<PyString>, Py<T>)],
    name: &'a str,
) -> impl Iterator<Item = Bound<'py, T>> + use<'a, 'py, T> {
    let is_it = move |known: &Py<PyString>| known.bind(py).to_cow().is_ok_and(|known| known == name);
    all.iter().filter(move |(known, _)| is_it(known)).map(move |(_, value)| value.bind(py).clone())
}

fn all_of<'py, T>(py: Python<'py>, all: &[(Py<PyString>, Py<T>)]) -> Vec<Pair<'py, T>> {
    all.iter().map(|(name, value)| (name.bind(py).clone(), value.bind(py).clone())).collect()
}

/// The fields of a form.
#[pyclass(frozen, mapping, module = "kennel")]
pub(crate) struct Form(pub(crate) Arc<Loaded>);

impl Form {
    fn first<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyString>> {
        of_name(py, &self.0.fields, name).next()
    }

    fn pairs<'py>(&self, py: Python<'py>) -> Vec<Pair<'py>> {
        all_of(py, &self.0.fields)
    }
}

/// The files of a form.
#[pyclass(frozen, mapping, module = "kennel")]
pub(crate) struct Files(pub(crate) Arc<Loaded>);

impl Files {
    fn first<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, File>> {
        of_name(py, &self.0.files, name).next()
    }

    fn pairs<'py>(&self, py: Python<'py>) -> Vec<Pair<'py, File>> {
        all_of(py, &self.0.files)
    }
}

mapping!(Form, PyString, |this, py, name| of_name(py, &this.0.fields, name).collect());
mapping!(Files, File, |this, py, name| of_name(py, &this.0.files, name).collect());

/// A file that came with a form: a place in the body of its request, and it lasts as long as that.
#[pyclass(frozen, module = "kennel")]
pub(crate) struct File {
    job: Arc<Job>,
    /// The name of its field.
    #[pyo3(get)]
    name: Py<PyString>,
    /// What it was called, without folders and control characters; may be empty.
    #[pyo3(get)]
    filename: Py<PyString>,
    /// What its sender says that it is; may be empty.
    #[pyo3(get)]
    content_type: Py<PyString>,
    place: Range<u64>,
    path: OnceLock<PathBuf>,
}

#[pymethods]
impl File {
    /// Bytes.
    #[getter]
    fn size(&self) -> u64 {
        self.place.end - self.place.start
    }

    /// The path of a file that has it, made when it is asked for first and deleted when the request ends.
    #[getter]
    fn path(&self, py: Python<'_>) -> PyResult<OsString> {
        if let Some(path) = self.path.get() {
            return Ok(path.clone().into_os_string());
        }
        let made = py.detach(|| self.job.link.forms().make(&self.job, &self.place)).map_err(|problem| {
            PyOSError::new_err(format!("cannot make a file of what was sent: {problem}"))
        })?;
        let path = made.ok_or_else(|| {
            PyRuntimeError::new_err("a file has a path as long as its request lasts, which has ended")
        })?;
        Ok(self.path.get_or_init(|| path).clone().into_os_string())
    }

    /// Its bytes.
    fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let memory = self.job.link.memory();
        let bytes = py.detach(|| sent_file::read(self.job.frame(), &self.place, memory));
        Ok(PyBytes::new(py, &bytes.map_err(|problem| body_error(&problem))?))
    }

    /// Saves it there, in place of what was there before; a link is replaced, not followed.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let beat = || self.job.link.beat();
        let saved = py.detach(|| sent_file::save(self.job.frame(), &self.place, &path, beat));
        saved.map_err(|problem| PyOSError::new_err(problem.to_string()))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<file {} ({} bytes)>", self.filename.bind(py), self.size())
    }
}
