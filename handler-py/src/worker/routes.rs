//! Routes as scripts register them.

use handler_core::hub::routes::{RouteError, Routes, parameter_names};
use handler_core::worker::protocol::RouteSpec;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::Mutex;

/// Routes as they are registered: what cannot be served is refused at the script's line.
#[pyclass(frozen, module = "kennel._native")]
#[derive(Default)]
pub(crate) struct RouteTable(Mutex<Routes>);

#[pymethods]
impl RouteTable {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Adds a route and gives the names of its values.
    fn add(&self, methods: Vec<String>, path: String, number: u32, place: String) -> PyResult<Vec<String>> {
        let spec = RouteSpec { methods, path, handler: number, place, streams: false };
        let mut routes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        routes.add(&spec).map_err(|problem| PyValueError::new_err(about(&spec, &problem)))?;
        Ok(parameter_names(&spec.path).into_iter().map(str::to_owned).collect())
    }
}

/// What is wrong with a route, or with the path of a channel, which is checked as one.
fn about(spec: &RouteSpec, problem: &RouteError) -> String {
    let text = problem.to_string();
    if spec.methods != ["CHANNEL"] {
        return text;
    }
    match problem {
        RouteError::Duplicate { path, place, .. } => {
            format!("channel `{path}` is registered already ({place})")
        }
        _ => text.strip_prefix("route ").map_or_else(|| text.clone(), |rest| format!("channel {rest}")),
    }
}
