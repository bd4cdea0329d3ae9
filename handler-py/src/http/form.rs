//! The body as a form, and what scripts do with its files.

use crate::http::body::body_error;
use crate::http::headers::{Pair, mapping};
use crate::http::refused::Refused;
use crate::link::job::Job;
use crate::text::text;
use handler_core::worker::form::{self, FormFailure};
use handler_core::worker::sent_file;
use pyo3::exceptions::{PyKeyError, PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// A form, read.
pub(crate) struct Loaded {
    fields: Vec<(Py<PyString>, Py<PyString>)>,
    files: Vec<(Py<PyString>, Py<File>)>,
}

impl Loaded {
    /// Reads the form of a job.
    pub(crate) fn read(py: Python<'_>, job: &Arc<Job>) -> PyResult<Self> {
        let found = py.detach(|| form::read(job.frame(), job.link.form_files().limits(), || job.link.beat()));
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

impl File {
    /// Makes a file of its own of it; `None`: the job has ended.
    fn make(&self) -> std::io::Result<Option<PathBuf>> {
        let Job { link, serial, .. } = &*self.job;
        let path = link.form_files().make(*serial, self.job.frame(), &self.place, || link.beat())?;
        // It may have ended meanwhile, in another thread.
        if link.is_unanswered(*serial) {
            return Ok(Some(path));
        }
        link.form_files().forget(*serial);
        Ok(None)
    }
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
        let made = py.detach(|| self.make()).map_err(|problem| {
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
