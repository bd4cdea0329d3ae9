//! The raw level: whole messages to scripts, bytes to any connection.

use crate::link::PyLink;
use crate::link::job::Job;
use crate::text::text;
use handler_core::worker::protocol::{Action, Ids, encode_ids};
use mongrel2_wire::{ConnId, Sender};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// A whole message for the raw level.
pub(crate) fn message<'py>(py: Python<'py>, job: &Job) -> PyResult<Bound<'py, PyAny>> {
    let class = py.import("kennel._http.raw")?.getattr("Message")?;
    let headers = PyDict::new(py);
    let Some(envelope) = job.envelope() else {
        return class.call1(("", -1, "", headers, PyBytes::new(py, b"")));
    };
    for (name, values) in envelope.headers.iter().map_while(Result::ok) {
        match values.single() {
            Some(value) => headers.set_item(text(py, name), text(py, &value.bytes()))?,
            None => {
                let all: Vec<_> = values.iter().map(|value| text(py, &value.bytes())).collect();
                headers.set_item(text(py, name), all)?;
            }
        }
    }
    let body = PyBytes::new(py, envelope.body);
    class.call1((envelope.sender, envelope.conn_id, text(py, envelope.path), headers, body))
}

/// Bytes for connections of a server, or their close.
#[pyfunction]
#[pyo3(signature = (link, sender, ids, payload))]
pub(crate) fn deliver(
    py: Python<'_>,
    link: &PyLink,
    sender: &str,
    ids: Vec<i64>,
    payload: Option<&Bound<'_, PyBytes>>,
) -> PyResult<()> {
    let wrong = |problem: &dyn std::fmt::Display| PyValueError::new_err(problem.to_string());
    Sender::new(sender).map_err(|problem| wrong(&problem))?;
    for id in &ids {
        ConnId::try_from(*id).map_err(|problem| wrong(&problem))?;
    }
    let ids = encode_ids(ids);
    let ids = Ids::new(&ids);
    let action = match payload {
        Some(payload) => Action::Deliver { sender, ids, payload: payload.as_bytes() },
        None => Action::Disconnect { sender, ids },
    };
    link.0.push(py, &action);
    Ok(())
}
