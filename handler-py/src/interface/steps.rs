//! What a task runs for a conversation of ASGI: the application, step by step, as the hub sees it.
//!
//! It is a coroutine to asyncio. A coroutine of Python around the application's would do the same, and take as long as
//! a short application.

use crate::fields::Fields;
use crate::link::Link;
use crate::worker::Worker;
use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyStopIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyString};
use std::ops::{Deref, DerefMut};

/// The call `application(scope, conversation.receive, conversation.send)` as a coroutine. Behind its end,
/// `conversation.over(problem)` is called, with `None` when there was none.
///
/// While a step runs, the hub is told for which job: so code that blocks for ever is found.
#[pyclass(module = "kennel._native")]
pub(crate) struct Steps(Fields<Parts>);

/// What [`Steps`] consist of.
pub(crate) struct Parts {
    worker: Py<Worker>,
    application: Option<Py<PyAny>>,
    scope: Option<Py<PyAny>>,
    conversation: Py<PyAny>,
    /// What the application's call has given, once it was called, and that as the iterator that it awaits by.
    awaited: Option<Py<PyAny>>,
    iterator: Option<Py<PyIterator>>,
    /// Of the job that the conversation began with.
    serial: u64,
    /// The next step runs in a turn that the hub knows already.
    inside: bool,
    is_running: bool,
    is_over: bool,
}

impl Deref for Steps {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Steps {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

/// How a coroutine goes on.
enum Resume<'py> {
    Send(Bound<'py, PyAny>),
    Throw(Bound<'py, PyAny>),
}

#[pymethods]
impl Steps {
    /// `inside`: the first step runs in a turn that the hub knows already.
    #[new]
    fn new(
        worker: Py<Worker>,
        application: Py<PyAny>,
        scope: Py<PyAny>,
        conversation: Py<PyAny>,
        serial: u64,
        inside: bool,
    ) -> Self {
        Self(Fields::new(Parts {
            worker,
            application: Some(application),
            scope: Some(scope),
            conversation,
            awaited: None,
            iterator: None,
            serial,
            inside,
            is_running: false,
            is_over: false,
        }))
    }

    /// The job that the hub is told from the next step on, and that log lines are about from now on.
    #[setter]
    fn set_serial(&mut self, serial: u64) {
        self.serial = serial;
        if self.is_running {
            Link::set_running(serial);
        }
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Self::step(slf, Resume::Send(slf.py().None().into_bound(slf.py())))
    }

    fn send<'py>(slf: &Bound<'py, Self>, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Self::step(slf, Resume::Send(value))?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (problem, value = None, _traceback = None))]
    fn throw<'py>(
        slf: &Bound<'py, Self>,
        problem: Bound<'py, PyAny>,
        value: Option<Bound<'py, PyAny>>,
        _traceback: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let problem = value.filter(|value| !value.is_none()).unwrap_or(problem);
        Self::step(slf, Resume::Throw(problem))?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        slf.borrow_mut().is_over = true;
        let iterator = slf.borrow().iterator.as_ref().map(|iterator| iterator.clone_ref(py));
        match iterator {
            Some(iterator) => iterator.call_method0(py, intern!(py, "close")).map(drop),
            None => Ok(()),
        }
    }

    #[getter]
    fn cr_running(&self) -> bool {
        self.is_running
    }

    #[getter]
    fn cr_suspended(&self) -> bool {
        self.iterator.is_some() && !self.is_running && !self.is_over
    }

    /// Whatever else one asks a coroutine: frame, code, what it awaits.
    fn __getattr__<'py>(&self, py: Python<'py>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        match &self.awaited {
            Some(awaited) => awaited.bind(py).getattr(name),
            None if name.to_cow()?.starts_with("cr_") => Ok(py.None().into_bound(py)),
            None => Err(PyAttributeError::new_err(name.clone().unbind())),
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "the shape that the macro asks for")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(parts) = self.0.written() else { return Ok(()) };
        visit.call(&parts.conversation)?;
        visit.call(&parts.application)?;
        visit.call(&parts.scope)?;
        visit.call(&parts.awaited)?;
        visit.call(&parts.iterator)
    }

    fn __clear__(&mut self) {
        let Some(parts) = self.0.written_mut() else { return };
        parts.application = None;
        parts.scope = None;
        parts.awaited = None;
        parts.iterator = None;
    }
}

impl Steps {
    /// One step. `None`: that was the last.
    fn step<'py>(slf: &Bound<'py, Self>, resume: Resume<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let (worker, inside, serial) = {
            let mut this = slf.borrow_mut();
            if this.is_running || this.is_over {
                return Err(PyRuntimeError::new_err(
                    "a conversation goes on in its own task only, and ends once",
                ));
            }
            this.is_running = true;
            (this.worker.clone_ref(py), std::mem::take(&mut this.inside), this.serial)
        };
        let worker = worker.get();
        if !inside {
            worker.step(serial);
        }
        let result = Self::resume(slf, resume);
        if !inside {
            worker.step_end();
        }
        slf.borrow_mut().is_running = false;
        let problem = match result {
            Ok(Some(waits_for)) => return Ok(Some(waits_for)),
            Ok(None) => py.None(),
            Err(problem) => problem.into_value(py).into_any(),
        };
        let (conversation, serial) = {
            let mut this = slf.borrow_mut();
            this.is_over = true;
            this.awaited = None;
            this.iterator = None;
            (this.conversation.clone_ref(py), this.serial)
        };
        // What is logged about its end is about its job.
        let outer = Link::running();
        Link::set_running(serial);
        let told = conversation.call_method1(py, intern!(py, "over"), (problem,));
        Link::set_running(outer);
        told?;
        Ok(None)
    }

    fn resume<'py>(slf: &Bound<'py, Self>, resume: Resume<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let known = slf.borrow().iterator.as_ref().map(|iterator| iterator.bind(py).clone());
        let mut iterator = match (known, &resume) {
            (Some(iterator), _) => iterator,
            // It is to end before it began.
            (None, Resume::Throw(problem)) => return Err(PyErr::from_value(problem.clone())),
            (None, Resume::Send(_)) => Self::call(slf)?,
        };
        let next = match resume {
            Resume::Send(value) if value.is_none() => return iterator.next().transpose(),
            Resume::Send(value) => iterator.call_method1(intern!(py, "send"), (value,)),
            Resume::Throw(problem) => iterator.call_method1(intern!(py, "throw"), (problem,)),
        };
        match next {
            Ok(waits_for) => Ok(Some(waits_for)),
            Err(stop) if stop.is_instance_of::<PyStopIteration>(py) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// Calls the application.
    fn call<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyIterator>> {
        let py = slf.py();
        let (application, scope, conversation) = {
            let mut this = slf.borrow_mut();
            let conversation = this.conversation.bind(py).clone();
            (this.application.take(), this.scope.take(), conversation)
        };
        let Some(application) = application else {
            return Err(PyRuntimeError::new_err("the application is called once"));
        };
        let receive = conversation.getattr(intern!(py, "receive"))?;
        let send = conversation.getattr(intern!(py, "send"))?;
        let awaited = application.into_bound(py).call1((scope, receive, send))?;
        let iterator = awaited.call_method0(intern!(py, "__await__"))?.cast_into::<PyIterator>()?;
        let mut this = slf.borrow_mut();
        this.awaited = Some(awaited.unbind());
        this.iterator = Some(iterator.clone().unbind());
        Ok(iterator)
    }
}
