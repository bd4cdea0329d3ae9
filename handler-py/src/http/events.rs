//! Server-sent events.

use kennel_http::events;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The lines of a server-sent event.
#[pyfunction]
#[pyo3(signature = (event, data, id, retry))]
pub(crate) fn event<'py>(
    py: Python<'py>,
    event: Option<&[u8]>,
    data: Option<&[u8]>,
    id: Option<&[u8]>,
    retry: Option<u64>,
) -> PyResult<Bound<'py, PyBytes>> {
    match (events::Event { event, data, id, retry }).encode() {
        Ok(lines) => Ok(PyBytes::new(py, &lines)),
        Err(problem) => Err(PyValueError::new_err(problem.to_string())),
    }
}
