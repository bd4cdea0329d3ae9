//! The session of a request. What is signed and how is `handler_core`'s; the values are a dict of Python, whose JSON the
//! package hands over when the answer begins.

use crate::link::job::Job;
use handler_core::sessions::{self, ENTROPY, Jar, Options, SessionError, Visit, csrf};
use handler_core::worker::surroundings::{self, unix_time};
use mongrel2_wire::Text;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Mutex, MutexGuard, PoisonError};

fn entropy() -> PyResult<[u8; ENTROPY]> {
    surroundings::entropy().map_err(|problem| PyOSError::new_err(problem.to_string()))
}

/// What a session cannot do, as Python's exception.
pub(crate) fn error(problem: &SessionError) -> PyErr {
    match problem {
        SessionError::NoKey => PyRuntimeError::new_err(problem.to_string()),
        _ => PyValueError::new_err(problem.to_string()),
    }
}

/// A request's session.
pub(crate) struct Session {
    came: String,
    state: Mutex<State>,
}

struct State {
    visit: Visit,
    values: Py<PyDict>,
    /// The answer has begun.
    sealed: bool,
}

impl Session {
    /// Reads the cookie of a request.
    ///
    /// # Errors
    ///
    /// When Python is out of memory.
    pub(crate) fn open(py: Python<'_>, job: &Job) -> PyResult<Self> {
        let values = job.values(b"cookie");
        let headers: Vec<_> = values.iter().flat_map(|values| values.iter()).map(Text::bytes).collect();
        let visit = Visit::open(job.link.jar(), headers.iter().map(|header| &**header), unix_time());
        let came = visit.json().to_owned();
        let values = match came.as_str() {
            "{}" => PyDict::new(py),
            json => match py.import("json")?.call_method1("loads", (json,))?.cast_into() {
                Ok(values) => values,
                Err(_) => PyDict::new(py),
            },
        };
        let state = State { visit, values: values.unbind(), sealed: false };
        Ok(Self { came, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsealed(&self) -> PyResult<MutexGuard<'_, State>> {
        let state = self.state();
        match state.sealed {
            true => Err(PyRuntimeError::new_err(
                "the answer has begun, so the session cannot be changed any more",
            )),
            false => Ok(state),
        }
    }

    /// The JSON that came.
    pub(crate) fn came(&self) -> &str {
        &self.came
    }

    pub(crate) fn values<'py>(&self, py: Python<'py>) -> Bound<'py, PyDict> {
        self.state().values.bind(py).clone()
    }

    /// Puts another session in its place, or none.
    ///
    /// # Errors
    ///
    /// `RuntimeError`: the answer has begun.
    pub(crate) fn replace(&self, py: Python<'_>, values: Option<Bound<'_, PyDict>>) -> PyResult<()> {
        let values = values.unwrap_or_else(|| PyDict::new(py)).unbind();
        let mut state = self.unsealed()?;
        state.visit.forget();
        let old = std::mem::replace(&mut state.values, values);
        drop(state);
        // What ends with it may run code of the script's.
        drop(old);
        Ok(())
    }

    pub(crate) fn csrf_token(&self, jar: &Jar) -> PyResult<String> {
        let entropy = entropy()?;
        self.unsealed()?.visit.csrf_token(jar, entropy).map_err(|problem| error(&problem))
    }

    pub(crate) fn allows(&self, jar: &Jar, token: &str) -> bool {
        self.state().visit.allows(jar, token.as_bytes())
    }

    /// The answer begins: the value of its `Set-Cookie`, if there has to be one.
    ///
    /// # Errors
    ///
    /// `ValueError`: the values cannot be kept.
    pub(crate) fn close(&self, jar: &Jar, json: &str, same: bool, https: bool) -> PyResult<Option<Vec<u8>>> {
        let entropy = entropy()?;
        let mut state = self.state();
        state.sealed = true;
        state.visit.close(jar, json, same, unix_time(), https, entropy).map_err(|problem| error(&problem))
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Whoever holds the lock holds the values too.
        self.state.try_lock().map_or(Ok(()), |state| visit.call(&state.values))
    }
}

/// Whether a request could be a form of another site.
pub(crate) fn needs_token(job: &Job) -> bool {
    let method = job.first(b"METHOD").unwrap_or_default();
    match job.values(b"content-type") {
        None => csrf::applies(&method, None),
        Some(types) => types.iter().any(|found| csrf::applies(&method, Some(&found.bytes()))),
    }
}

/// What an app says about its sessions.
#[pyclass(frozen, module = "kennel._native")]
pub(crate) struct SessionOptions {
    name: Option<String>,
    max_age: Option<u64>,
    domain: Option<String>,
    same_site: Option<String>,
    secure: Option<bool>,
}

#[pymethods]
impl SessionOptions {
    #[new]
    #[pyo3(signature = (*, name=None, max_age=None, domain=None, same_site=None, secure=None))]
    fn new(
        name: Option<String>,
        max_age: Option<f64>,
        domain: Option<String>,
        same_site: Option<String>,
        secure: Option<bool>,
    ) -> PyResult<Self> {
        let options =
            Self { name, max_age: max_age.map(|seconds| seconds as u64), domain, same_site, secure };
        options.of_mount("/").check().map_err(|problem| PyValueError::new_err(problem.to_string()))?;
        Ok(options)
    }
}

impl SessionOptions {
    /// The options of an app under this mount.
    pub(crate) fn of_mount(&self, mount: &str) -> Options {
        let usual = Options::of_mount(mount);
        Options {
            name: self.name.clone().unwrap_or(usual.name),
            max_age: self.max_age.unwrap_or(usual.max_age),
            domain: self.domain.clone().or(usual.domain),
            same_site: self.same_site.clone().unwrap_or(usual.same_site),
            secure: self.secure.or(usual.secure),
        }
    }
}

/// What `Cache-Control` and `Vary` of an answer with a session have to be instead of what they are; `None`: they stay.
#[pyfunction]
pub(crate) fn privacy(
    control: Option<&Bound<'_, PyAny>>,
    vary: Option<&Bound<'_, PyAny>>,
    sets_cookie: bool,
) -> PyResult<(Option<&'static str>, Option<String>)> {
    let bytes = |value: Option<&Bound<'_, PyAny>>| -> PyResult<Option<Vec<u8>>> {
        let Some(value) = value else { return Ok(None) };
        if let Ok(bytes) = value.extract::<Vec<u8>>() {
            return Ok(Some(bytes));
        }
        let text: String =
            value.str()?.extract().map_err(|_| PyTypeError::new_err("a header's value is text"))?;
        Ok(Some(text.into_bytes()))
    };
    let (control, vary) = (bytes(control)?, bytes(vary)?);
    Ok((sessions::cache_control(control.as_deref(), sets_cookie), sessions::vary(vary.as_deref())))
}
