//! Pages from templates, and what they see of the request.

mod values;

use crate::http::request::Request;
use crate::render::values::shown;
use crate::worker::Worker;
use handler_core::templates::Page;
use handler_core::templates::minijinja::Value;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::rc::Rc;

/// The fields of a request that are plain values.
const FIELDS: [&str; 8] = ["method", "path", "query", "version", "scheme", "remote_addr", "host", "url"];

/// A page: `(text, type, None)`; or, when there is none, `(None, problem, (file, line))`.
type Made = (Option<String>, String, Option<(Option<String>, Option<u32>)>);

/// Makes a page from a template of the app's.
///
/// # Errors
///
/// What the values raise.
#[pyfunction]
pub(crate) fn render(
    worker: &Bound<'_, Worker>,
    name: &str,
    values: &Bound<'_, PyDict>,
    request: Option<Bound<'_, Request>>,
) -> PyResult<Made> {
    let values = shown(values.as_any(), 0)?;
    let page = request.map(|request| -> Rc<dyn Page> { Rc::new(PyPage(request.unbind())) });
    Ok(match worker.get().templates.render(name, values, page) {
        Ok(made) => (Some(made.body), made.content_type.to_owned(), None),
        Err(problem) => (None, problem.message, Some((problem.file, problem.line))),
    })
}

/// The request that a page is made for.
struct PyPage(Py<Request>);

impl PyPage {
    fn attribute(&self, name: &str) -> Result<Value, String> {
        Python::attach(|py| {
            let found = self.0.bind(py).getattr(name).and_then(|value| shown(&value, 0));
            found.map_err(|problem| problem.value(py).to_string())
        })
    }
}

impl Page for PyPage {
    fn field(&self, name: &str) -> Option<Value> {
        FIELDS.contains(&name).then(|| self.attribute(name).ok())?
    }

    fn named(&self, view: &str, name: &str) -> Option<Value> {
        Python::attach(|py| {
            let value =
                self.0.bind(py).getattr(view).and_then(|view| view.call_method1("get", (name,))).ok()?;
            (!value.is_none()).then(|| shown(&value, 0).ok())?
        })
    }

    fn session(&self) -> Result<Value, String> {
        self.attribute("session")
    }

    fn csrf_token(&self) -> Result<String, String> {
        Ok(self.attribute("csrf_token")?.to_string())
    }
}
