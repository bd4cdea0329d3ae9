//! What an app has registered, as the worker calls it.

use handler_core::worker::protocol::Handler;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// A handler as the package gives it: function, names of the path's values, and how it is called.
pub(crate) type Given = (Py<PyAny>, Vec<Py<PyString>>, String);
/// The function for a page, and how it is called.
pub(crate) type GivenPage = Option<(Py<PyAny>, String)>;

/// A registered handler.
pub(crate) struct Entry {
    pub(crate) function: Py<PyAny>,
    /// The names of the path's values.
    pub(crate) names: Vec<Py<PyString>>,
    pub(crate) kind: Kind,
}

/// How a handler is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// At once, with a request.
    Plain,
    /// The same in a thread of the pool.
    Threaded,
    /// It gives a coroutine, whose first step runs at once.
    Coroutine,
    /// With the bare job; it answers by itself, later perhaps.
    Job,
    /// The same in a thread of the pool.
    ThreadedJob,
}

impl Kind {
    fn named(name: &str) -> PyResult<Self> {
        Ok(match name {
            "plain" => Self::Plain,
            "threaded" => Self::Threaded,
            "coroutine" => Self::Coroutine,
            "job" => Self::Job,
            "threaded job" => Self::ThreadedJob,
            other => return Err(PyValueError::new_err(format!("no kind of handler: {other}"))),
        })
    }

    /// Whether a thread of the pool runs it.
    pub(crate) fn is_threaded(self) -> bool {
        matches!(self, Self::Threaded | Self::ThreadedJob)
    }
}

/// What an app has registered, and the package's functions for what is rare.
pub(crate) struct App {
    pub(crate) handlers: Vec<Entry>,
    /// For paths without a route, for other methods, for OPTIONS.
    pub(crate) pages: [Option<Entry>; 3],
    /// `finish(request, number, value)`: what a handler returned is none of the plain values.
    pub(crate) finish: Py<PyAny>,
    /// `failed(request, number, exception)`: a handler raised.
    pub(crate) failed: Py<PyAny>,
    /// `carry(request, number, coroutine, context, yielded)`: a handler's coroutine has to wait.
    pub(crate) carry: Py<PyAny>,
    /// `raw(message)`.
    pub(crate) raw: Py<PyAny>,
    /// `open(handler, serial, number, fresh, resumed, asked, name, transport, data, rooms, values, request)`.
    pub(crate) open: Py<PyAny>,
    /// `message(number, serial, payload)`: for connections without a plain callback.
    pub(crate) message: Py<PyAny>,
    /// `message_failed(conn, exception)`.
    pub(crate) message_failed: Py<PyAny>,
    /// `close(number, serial, code, reason)`.
    pub(crate) close: Py<PyAny>,
    /// `detach(number)`.
    pub(crate) detach: Py<PyAny>,
    /// `lead()`.
    pub(crate) lead: Py<PyAny>,
    /// `stop()`: nothing new comes.
    pub(crate) stop: Py<PyAny>,
    /// `evaluate(query, code)`.
    pub(crate) evaluate: Py<PyAny>,
    pub(crate) to_json: Py<PyAny>,
    pub(crate) copy_context: Py<PyAny>,
    /// Answers may be compressed.
    pub(crate) compress: bool,
}

impl App {
    /// Takes handlers by number, the functions for pages, and the package's functions by name.
    ///
    /// # Errors
    ///
    /// `ValueError`: a kind that there is not, or a function that is missing.
    pub(crate) fn new(
        handlers: Vec<Given>,
        pages: [GivenPage; 3],
        runtime: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let get = |name: &str| match runtime.get_item(name)? {
            Some(function) => Ok(function.unbind()),
            None => Err(PyValueError::new_err(format!("the runtime has no `{name}`"))),
        };
        let entry = |(function, names, kind): Given| {
            PyResult::Ok(Entry { function, names, kind: Kind::named(&kind)? })
        };
        let page =
            |page: GivenPage| page.map(|(function, kind)| entry((function, Vec::new(), kind))).transpose();
        let [not_found, not_allowed, options] = pages;
        Ok(Self {
            handlers: handlers.into_iter().map(entry).collect::<PyResult<_>>()?,
            pages: [page(not_found)?, page(not_allowed)?, page(options)?],
            finish: get("finish")?,
            failed: get("failed")?,
            carry: get("carry")?,
            raw: get("raw")?,
            open: get("open")?,
            message: get("message")?,
            message_failed: get("message_failed")?,
            close: get("close")?,
            detach: get("detach")?,
            lead: get("lead")?,
            stop: get("stop")?,
            evaluate: get("evaluate")?,
            to_json: get("to_json")?,
            copy_context: get("copy_context")?,
            compress: get("compress")?.is_truthy(runtime.py())?,
        })
    }

    /// What answers a job; nothing for the raw level, and for a number that nothing was registered under.
    pub(crate) fn entry(&self, handler: Handler) -> Option<&Entry> {
        match handler {
            Handler::Route(number) => self.handlers.get(number as usize),
            Handler::NotFound => self.pages[0].as_ref(),
            Handler::MethodNotAllowed => self.pages[1].as_ref(),
            Handler::Options => self.pages[2].as_ref(),
            Handler::Raw => None,
        }
    }
}
