//! `send` of ASGI's HTTP, for what most answers are: a head, and a body in one piece.
//!
//! Each request calls it twice. As a coroutine of Python that would cost more than everything else that Kennel does for
//! the request; so the class of the package extends this one, and sees only what is rarer.

use crate::http::response;
use crate::http::stream::PyJob;
use handler_core::worker::protocol::Action;
use kennel_http::HeadLines;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyList};
use std::ops::RangeInclusive;

const STATUS: RangeInclusive<u16> = 200..=999;

/// A request and its answer, as far as it is not the package's.
#[pyclass(subclass, module = "kennel._native")]
pub(crate) struct Exchange {
    #[pyo3(get)]
    job: Py<PyJob>,
    /// Status and headers, from `http.response.start` until they are sent.
    #[pyo3(get, set)]
    head: Option<(u16, Py<PyList>)>,
    /// The answer goes out in pieces.
    #[pyo3(get, set)]
    begun: bool,
    /// The answer is complete.
    #[pyo3(get, set)]
    ended: bool,
    /// `finish()` has something to do when the answer is complete.
    #[pyo3(get, set)]
    held: bool,
}

#[pymethods]
impl Exchange {
    /// The server is the package's own.
    #[new]
    fn new(_server: &Bound<'_, PyAny>, job: Py<PyJob>) -> Self {
        Self { job, head: None, begun: false, ended: false, held: false }
    }

    /// Takes the head of the answer, or a piece of its body. What comes is awaited.
    fn send<'py>(slf: &Bound<'py, Self>, event: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if let Ok(event) = event.cast_exact::<PyDict>()
            && Self::take(slf, event)?
        {
            return Done::get(py);
        }
        slf.call_method1(intern!(py, "send_rest"), (event,))
    }
}

impl Exchange {
    /// Does what is plain; `false`: it is not.
    fn take(slf: &Bound<'_, Self>, event: &Bound<'_, PyDict>) -> PyResult<bool> {
        let py = slf.py();
        let Some(kind) = event.get_item(intern!(py, "type"))? else { return Ok(false) };
        let mut exchange = slf.borrow_mut();
        if exchange.begun || exchange.ended || exchange.job.get().is_gone() {
            return Ok(false);
        }
        if exchange.head.is_none() {
            let starts = kind.eq(intern!(py, "http.response.start"))?;
            exchange.head = if starts { plain_head(event)? } else { None };
            return Ok(exchange.head.is_some());
        }
        if kind.ne(intern!(py, "http.response.body"))? {
            return Ok(false);
        }
        if let Some(more) = event.get_item(intern!(py, "more_body"))?
            && !more.is(PyBool::new(py, false))
        {
            return Ok(false);
        }
        let Some(body) = event.get_item(intern!(py, "body"))? else { return Ok(false) };
        // An empty one may be the answer to HEAD.
        let Some(body) = body.cast_exact::<PyBytes>().ok().filter(|body| !body.as_bytes().is_empty()) else {
            return Ok(false);
        };
        let Some((status, headers)) = &exchange.head else { return Ok(false) };
        let mut lines = HeadLines::default();
        for pair in headers.bind(py) {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            if announces_other_length(&name, &value, body.as_bytes().len()) {
                return Ok(false);
            }
            response::push_line(&mut lines, &name, &value)?;
        }
        let job = exchange.job.get().job();
        let (serial, status, head, body) = (job.serial, *status, lines.as_bytes(), body.as_bytes());
        job.link.end(py, serial, &Action::Respond { serial, status, head, body });
        exchange.ended = true;
        let held = exchange.held;
        drop(exchange);
        if held {
            slf.call_method0(intern!(py, "finish"))?;
        }
        Ok(true)
    }
}

/// Whether this is a Content-Length, and not that of a body of this length.
fn announces_other_length(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, length: usize) -> bool {
    let (Ok(name), Ok(value)) = (name.cast_exact::<PyBytes>(), value.cast_exact::<PyBytes>()) else {
        return false;
    };
    name.as_bytes().eq_ignore_ascii_case(b"content-length")
        && std::str::from_utf8(value.as_bytes()).ok().and_then(|digits| digits.parse().ok()) != Some(length)
}

/// Status and headers of `http.response.start`, unless something about them is unusual.
fn plain_head(event: &Bound<'_, PyDict>) -> PyResult<Option<(u16, Py<PyList>)>> {
    let py = event.py();
    let Some(status) = event.get_item(intern!(py, "status"))? else { return Ok(None) };
    let Some(status) = status.cast_exact::<PyInt>().ok().and_then(|status| status.extract().ok()) else {
        return Ok(None);
    };
    let Some(headers) = event.get_item(intern!(py, "headers"))? else { return Ok(None) };
    let Ok(headers) = headers.cast_exact::<PyList>() else { return Ok(None) };
    let are_pairs = headers.iter().all(|pair| pair.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().is_ok());
    // The application may change its list later.
    let copy = headers.get_slice(0, headers.len()).unbind();
    Ok((STATUS.contains(&status) && are_pairs).then_some((status, copy)))
}

/// What is done already, for whoever awaits it.
#[pyclass(frozen, module = "kennel._native")]
pub(crate) struct Done;

impl Done {
    /// There is one for all.
    fn get(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        static ONE: PyOnceLock<Py<Done>> = PyOnceLock::new();
        Ok(ONE.get_or_try_init(py, || Py::new(py, Done))?.bind(py).clone().into_any())
    }
}

/// All that a coroutine has, so that it can be made a task like one.
#[pymethods]
impl Done {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self) -> Option<()> {
        None
    }

    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(pyo3::exceptions::PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (problem, value = None, _traceback = None))]
    fn throw(
        &self,
        problem: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Err(PyErr::from_value(value.unwrap_or(problem)))
    }

    fn close(&self) {}
}
