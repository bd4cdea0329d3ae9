//! Python's values as templates know them: plain ones copied, objects asked when the template asks.

use handler_core::templates::minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, Value, ValueKind};
use handler_core::templates::minijinja::{Error, ErrorKind, State};
use pyo3::exceptions::{PyAttributeError, PyIndexError, PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMapping, PySet, PyString, PyTuple,
};
use std::fmt;
use std::sync::Arc;

/// How deep values may nest.
const MAX_DEPTH: usize = 100;

/// A value for a template.
///
/// # Errors
///
/// `ValueError`: nested too deep. What the value itself raises.
pub(crate) fn shown(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    if depth > MAX_DEPTH {
        let problem = format!("values are nested deeper than {MAX_DEPTH}, perhaps a cycle");
        return Err(pyo3::exceptions::PyValueError::new_err(problem));
    }
    if value.is_none() {
        return Ok(Value::from(()));
    }
    if let Ok(text) = value.cast_exact::<PyString>() {
        return Ok(Value::from(text.to_string_lossy().into_owned()));
    }
    if let Ok(yes) = value.cast::<PyBool>() {
        return Ok(Value::from(yes.is_true()));
    }
    if let Ok(number) = value.cast_exact::<PyInt>() {
        return Ok(match number.extract::<i128>() {
            Ok(number) => i64::try_from(number).map_or_else(|_| Value::from(number), Value::from),
            Err(_) => Value::from(number.str()?.to_string_lossy().into_owned()),
        });
    }
    if let Ok(number) = value.cast_exact::<PyFloat>() {
        return Ok(Value::from(number.value()));
    }
    if let Ok(dict) = value.cast_exact::<PyDict>() {
        let mut map = Vec::with_capacity(dict.len());
        for (key, value) in dict {
            map.push((shown(&key, depth + 1)?, shown(&value, depth + 1)?));
        }
        return Ok(map.into_iter().collect());
    }
    if value.is_instance_of::<PyList>()
        || value.is_instance_of::<PyTuple>() && !value.hasattr("_fields")?
        || value.is_instance_of::<PySet>()
        || value.is_instance_of::<PyFrozenSet>()
    {
        let items = value.try_iter()?.map(|item| shown(&item?, depth + 1));
        return Ok(Value::from(items.collect::<PyResult<Vec<_>>>()?));
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Value::from(String::from_utf8_lossy(bytes.as_bytes()).into_owned()));
    }
    if !value.is_instance_of::<pyo3::types::PyType>() && value.hasattr("__html__")? {
        let html = value.call_method0("__html__")?.str()?;
        return Ok(Value::from_safe_string(html.to_string_lossy().into_owned()));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Value::from(text.to_string_lossy().into_owned()));
    }
    Ok(Value::from_object(PyObject(value.clone().unbind())))
}

/// Anything else: attributes, items, iteration and calls go to the object, and it prints as `str()` of it.
struct PyObject(Py<PyAny>);

impl fmt::Debug for PyObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Python::attach(|py| write!(f, "{}", self.0.bind(py)))
    }
}

fn error(py: Python<'_>, problem: &PyErr) -> Error {
    let name = problem.get_type(py).name().map(|name| name.to_string()).unwrap_or_default();
    Error::new(ErrorKind::InvalidOperation, format!("{name}: {}", problem.value(py)))
}

impl PyObject {
    /// `object.key`, or `object[key]`; nothing, when there is neither. What begins with an underscore is nobody's
    /// business.
    fn get(&self, py: Python<'_>, key: &Value) -> PyResult<Option<Value>> {
        let object = self.0.bind(py);
        let missing = |problem: &PyErr| {
            problem.is_instance_of::<PyAttributeError>(py)
                || problem.is_instance_of::<PyKeyError>(py)
                || problem.is_instance_of::<PyIndexError>(py)
                || problem.is_instance_of::<PyTypeError>(py)
        };
        if let Some(name) = key.as_str() {
            if name.starts_with('_') {
                return Ok(None);
            }
            match object.getattr(name) {
                Ok(value) => return shown(&value, 0).map(Some),
                Err(problem) if problem.is_instance_of::<PyAttributeError>(py) => {}
                Err(problem) => return Err(problem),
            }
        }
        match object.get_item(given(py, key)?) {
            Ok(value) => shown(&value, 0).map(Some),
            Err(problem) if missing(&problem) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    fn call_it(py: Python<'_>, function: &Bound<'_, PyAny>, args: &[Value]) -> PyResult<Value> {
        let (mut positional, mut keywords) = (Vec::new(), None);
        for value in args {
            match Kwargs::try_from(value.clone()) {
                Ok(kwargs) if value.is_kwargs() => {
                    let dict = PyDict::new(py);
                    for name in kwargs.args() {
                        let value: Value = kwargs.get(name).unwrap_or_default();
                        dict.set_item(name, given(py, &value)?)?;
                    }
                    keywords = Some(dict);
                }
                _ => positional.push(given(py, value)?),
            }
        }
        shown(&function.call(PyTuple::new(py, positional)?, keywords.as_ref())?, 0)
    }
}

/// A template's value as Python's.
fn given<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    if let Some(object) = value.downcast_object_ref::<PyObject>() {
        return Ok(object.0.bind(py).clone());
    }
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => py.None().into_bound(py),
        ValueKind::Bool => PyBool::new(py, value.is_true()).to_owned().into_any(),
        ValueKind::Number => match i64::try_from(value.clone()) {
            Ok(number) => number.into_pyobject(py)?.into_any(),
            Err(_) => f64::try_from(value.clone()).unwrap_or(f64::NAN).into_pyobject(py)?.into_any(),
        },
        ValueKind::Map => {
            let dict = PyDict::new(py);
            for key in value.try_iter().into_iter().flatten() {
                let item = value.get_item(&key).unwrap_or_default();
                dict.set_item(given(py, &key)?, given(py, &item)?)?;
            }
            dict.into_any()
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().into_iter().flatten().map(|item| given(py, &item));
            PyList::new(py, items.collect::<PyResult<Vec<_>>>()?)?.into_any()
        }
        _ => PyString::new(py, &value.to_string()).into_any(),
    })
}

impl Object for PyObject {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        Python::attach(|py| {
            let object = self.0.bind(py);
            if object.cast::<PyMapping>().is_ok() {
                ObjectRepr::Map
            } else if object.hasattr("__iter__").unwrap_or(false) {
                ObjectRepr::Iterable
            } else {
                ObjectRepr::Plain
            }
        })
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Python::attach(|py| match self.get(py, key) {
            Ok(value) => value,
            Err(problem) => Some(error(py, &problem).into()),
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Python::attach(|py| {
            let Ok(items) = self.0.bind(py).try_iter() else { return Enumerator::NonEnumerable };
            let item = |item: PyResult<Bound<'_, PyAny>>| match item.and_then(|item| shown(&item, 0)) {
                Ok(value) => value,
                Err(problem) => error(py, &problem).into(),
            };
            Enumerator::Values(items.map(item).collect())
        })
    }

    fn is_true(self: &Arc<Self>) -> bool {
        Python::attach(|py| self.0.bind(py).is_truthy().unwrap_or(true))
    }

    fn call(self: &Arc<Self>, _: &State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        Python::attach(|py| Self::call_it(py, self.0.bind(py), args).map_err(|problem| error(py, &problem)))
    }

    fn call_method(self: &Arc<Self>, _: &State<'_, '_>, name: &str, args: &[Value]) -> Result<Value, Error> {
        Python::attach(|py| {
            if name.starts_with('_') {
                return Err(Error::from(ErrorKind::UnknownMethod));
            }
            let called = self.0.bind(py).getattr(name).and_then(|method| Self::call_it(py, &method, args));
            called.map_err(|problem| error(py, &problem))
        })
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Python::attach(|py| {
            let text = self.0.bind(py).str().map_err(|_| fmt::Error)?;
            f.write_str(&text.to_string_lossy())
        })
    }
}
