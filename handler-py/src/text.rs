//! Bytes from the wire as Python text.

use pyo3::prelude::*;
use pyo3::types::PyString;

/// Text of whatever charset a client chose: UTF-8 when it is that, otherwise every byte stands for the
/// character of its number, as in HTTP's old Latin-1. Nothing is lost and nothing fails.
pub(crate) fn text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(text) => PyString::new(py, text),
        Err(_) => latin1(py, bytes),
    }
}

/// Every byte as the character of its number.
pub(crate) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => PyString::new(py, text),
        _ => PyString::new(py, &bytes.iter().map(|byte| char::from(*byte)).collect::<String>()),
    }
}
