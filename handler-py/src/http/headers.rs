//! Views of what the client sent by name: headers, and the values of the query.

use crate::link::job::{Job, is_clients};
use crate::text::text;
use kennel_http::query;
use mongrel2_wire::Text;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use std::sync::Arc;

/// The client's headers, decoded when asked for.
#[pyclass(frozen, mapping, module = "kennel")]
pub(crate) struct Headers(pub(crate) Arc<Job>);

/// The query's values, decoded when asked for.
#[pyclass(frozen, mapping, module = "kennel")]
pub(crate) struct Args(pub(crate) Arc<Job>);

/// A name and a value.
pub(crate) type Pair<'py, T = PyString> = (Bound<'py, PyString>, Bound<'py, T>);

impl Headers {
    fn first<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyString>> {
        let value = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => self.clients(name.to_ascii_lowercase().as_bytes()),
            false => self.clients(name.as_bytes()),
        };
        value.map(|value| text(py, &value))
    }

    fn clients(&self, name: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
        if is_clients(name) { self.0.first(name) } else { None }
    }

    fn pairs<'py>(&self, py: Python<'py>) -> Vec<Pair<'py>> {
        let mut pairs = Vec::with_capacity(24);
        let Some(envelope) = self.0.envelope() else { return pairs };
        for (name, values) in
            envelope.headers.iter().map_while(Result::ok).filter(|(name, _)| is_clients(name))
        {
            let name = text(py, name);
            pairs.extend(values.iter().map(|value| (name.clone(), text(py, &value.bytes()))));
        }
        pairs
    }
}

impl Args {
    fn first<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyString>> {
        let query = self.0.first(b"QUERY").unwrap_or_default();
        let found = query::pairs(&query).find(|(found, _)| **found == *name.as_bytes());
        found.map(|(_, value)| text(py, &value))
    }

    fn pairs<'py>(&self, py: Python<'py>) -> Vec<Pair<'py>> {
        let query = self.0.first(b"QUERY").unwrap_or_default();
        query::pairs(&query).map(|(name, value)| (text(py, &name), text(py, &value))).collect()
    }
}

/// The methods that all views have, of texts or of something else.
macro_rules! mapping {
    ($view:ident, $value:ty, $all:expr) => {
        #[pymethods]
        impl $view {
            /// The first value of this name.
            fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, $value>> {
                self.first(py, name).ok_or_else(|| PyKeyError::new_err(name.to_owned()))
            }

            /// The first value of this name, or `default`.
            #[pyo3(signature = (name, default=None))]
            fn get<'py>(
                &self,
                py: Python<'py>,
                name: &str,
                default: Option<Bound<'py, PyAny>>,
            ) -> Option<Bound<'py, PyAny>> {
                self.first(py, name).map(Bound::into_any).or(default)
            }

            /// All values of this name, in the order in which they came.
            fn getall<'py>(&self, py: Python<'py>, name: &str) -> Vec<Bound<'py, $value>> {
                let all: fn(&Self, Python<'py>, &str) -> Vec<Bound<'py, $value>> = $all;
                all(self, py, name)
            }

            fn __contains__(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> bool {
                name.extract::<String>().is_ok_and(|name| self.first(py, &name).is_some())
            }

            /// Pairs of name and value in the order in which they came, repeated names repeatedly.
            fn items<'py>(&self, py: Python<'py>) -> Vec<Pair<'py, $value>> {
                self.pairs(py)
            }

            /// Names in the order in which they came, each once.
            fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
                let names = PyDict::new(py);
                for (name, _) in self.pairs(py) {
                    names.set_item(name, py.None())?;
                }
                Ok(names.keys())
            }

            /// All values, in the order in which they came.
            fn values<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, $value>> {
                self.pairs(py).into_iter().map(|(_, value)| value).collect()
            }

            fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                self.keys(py)?.call_method0("__iter__")
            }

            fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
                Ok(self.keys(py)?.len())
            }

            fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
                let pairs = PyList::new(py, self.pairs(py))?;
                Ok(format!("<{} {}>", stringify!($view).to_lowercase(), pairs.repr()?))
            }
        }
    };
}

pub(crate) use mapping;

mapping!(Headers, PyString, |this, py, name| {
    let name = name.to_ascii_lowercase();
    let Some(values) = this.0.values(name.as_bytes()).filter(|_| is_clients(name.as_bytes())) else {
        return Vec::new();
    };
    values.iter().map(Text::bytes).map(|value| text(py, &value)).collect()
});

mapping!(Args, PyString, |this, py, name| {
    let query = this.0.first(b"QUERY").unwrap_or_default();
    let found = query::pairs(&query).filter(|(found, _)| **found == *name.as_bytes());
    found.map(|(_, value)| text(py, &value)).collect()
});
