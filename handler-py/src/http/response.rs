//! From what a handler returned to the action that answers, and the head of that.

use crate::link::job::Job;
use handler_core::worker::protocol::Action;
use kennel_http::cookies::{self, Attributes};
use kennel_http::{HeadLines, compression};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyString};

const PLAIN: &[u8] = b"Content-Type: text/plain; charset=utf-8\r\n";
const BINARY: &[u8] = b"Content-Type: application/octet-stream\r\n";
const JSON: &[u8] = b"Content-Type: application/json\r\n";

/// What became of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It was sent, or the job was answered before.
    Yes,
    /// It is a response, a stream, or no answer at all.
    NotPlain,
}

/// Answers with text, bytes, or a value for JSON, which may be compressed if `compress` says so.
pub(crate) fn send(
    py: Python<'_>,
    job: &Job,
    value: &Bound<'_, PyAny>,
    to_json: &Py<PyAny>,
    compress: bool,
) -> PyResult<Sent> {
    let respond = |head: &[u8], body: &[u8]| {
        respond(py, job, 200, head, body, compress);
    };
    if let Ok(text) = value.cast_exact::<PyString>() {
        respond(PLAIN, text.to_cow()?.as_bytes());
    } else if value.is_exact_instance_of::<PyDict>() || value.is_exact_instance_of::<PyList>() {
        let text = to_json.bind(py).call1((value,))?;
        respond(JSON, text.cast::<PyString>()?.to_cow()?.as_bytes());
    } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        respond(BINARY, bytes.as_bytes());
    } else {
        return Ok(Sent::NotPlain);
    }
    Ok(Sent::Yes)
}

/// Answers a job whole, compressed if that may be and is worth it. `false`: it was answered before.
pub(crate) fn respond(
    py: Python<'_>,
    job: &Job,
    status: u16,
    head: &[u8],
    body: &[u8],
    compress: bool,
) -> bool {
    let serial = job.serial;
    let smaller = match compress && body.len() >= compression::THRESHOLD {
        true => {
            let accept = job.first(b"accept-encoding").unwrap_or_default();
            compression::apply(status, head, body, &accept)
        }
        false => None,
    };
    let (head, body) = match &smaller {
        Some((head, compressed)) => (&head[..], compressed.as_deref().unwrap_or(body)),
        None => (head, body),
    };
    job.link.end(py, serial, &Action::Respond { serial, status, head, body })
}

/// A body or a piece of one: bytes, or anything that Python makes bytes of without a copy of meaning.
pub(crate) fn bytes<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    let py = value.py();
    if let Ok(array) = value.cast::<PyByteArray>() {
        return Ok(PyBytes::new(py, &array.to_vec()));
    }
    let view = py.import("builtins")?.getattr("memoryview")?;
    match view.call1((value,)) {
        Ok(view) => Ok(view.call_method0("tobytes")?.cast_into()?),
        Err(_) => {
            let kind = value.get_type().name()?;
            Err(PyTypeError::new_err(format!("a body is bytes, not {kind}")))
        }
    }
}

/// A header's name or value as bytes: text as UTF-8, except that values of HTTP's old Latin-1 stay what they were.
fn header_bytes(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_cow()?.as_bytes().to_vec());
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    let kind = value.get_type().name()?;
    Err(PyTypeError::new_err(format!("a header is text or bytes, not {kind}")))
}

/// Header lines of pairs.
///
/// # Errors
///
/// `TypeError` and `ValueError`: a line that is none.
pub(crate) fn head(headers: &[(Bound<'_, PyAny>, Bound<'_, PyAny>)]) -> PyResult<HeadLines> {
    head_with_reason(200, b"", headers)
}

/// The same with a reason phrase for the status line; empty: the usual one.
///
/// # Errors
///
/// As [`head`], and `ValueError`: a phrase with control characters.
pub(crate) fn head_with_reason(
    status: u16,
    reason: &[u8],
    headers: &[(Bound<'_, PyAny>, Bound<'_, PyAny>)],
) -> PyResult<HeadLines> {
    let lines = HeadLines::with_reason(status, reason);
    let mut lines = lines.map_err(|problem| PyValueError::new_err(problem.to_string()))?;
    for (name, value) in headers {
        push_line(&mut lines, name, value)?;
    }
    Ok(lines)
}

/// One header line more.
///
/// # Errors
///
/// As [`head`].
pub(crate) fn push_line(
    lines: &mut HeadLines,
    name: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let pushed = match (name.cast_exact::<PyBytes>(), value.cast_exact::<PyBytes>()) {
        (Ok(name), Ok(value)) => lines.push(name.as_bytes(), value.as_bytes()),
        _ => lines.push(&header_bytes(name)?, &header_bytes(value)?),
    };
    pushed.map_err(|problem| PyValueError::new_err(problem.to_string()))
}

/// The same for an answer whose body is to come: a Content-Length stays.
///
/// # Errors
///
/// As [`head_with_reason`], and `ValueError`: a Content-Length that is no number.
pub(crate) fn opening(
    status: u16,
    reason: &[u8],
    headers: &[(Bound<'_, PyAny>, Bound<'_, PyAny>)],
) -> PyResult<Vec<u8>> {
    let mut lines = head_with_reason(status, reason, headers)?.as_bytes().to_vec();
    for (name, value) in headers {
        if !header_bytes(name)?.eq_ignore_ascii_case(b"content-length") {
            continue;
        }
        let value = header_bytes(value)?;
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            let value = value.escape_ascii();
            return Err(PyValueError::new_err(format!(
                "a Content-Length is a number of bytes, not `{value}`"
            )));
        }
        lines.extend_from_slice(b"Content-Length: ");
        lines.extend_from_slice(&value);
        lines.extend_from_slice(b"\r\n");
    }
    Ok(lines)
}

/// The line of a cookie for a Set-Cookie header.
#[pyfunction]
#[pyo3(signature = (name, value, *, max_age=None, path=Some("/".to_owned()), domain=None, secure=false, http_only=true, same_site=Some("Lax".to_owned())))]
#[expect(clippy::too_many_arguments, reason = "each is one of a cookie's attributes, by its name")]
pub(crate) fn cookie<'py>(
    py: Python<'py>,
    name: &str,
    value: &str,
    max_age: Option<i64>,
    path: Option<String>,
    domain: Option<String>,
    secure: bool,
    http_only: bool,
    same_site: Option<String>,
) -> PyResult<Bound<'py, PyBytes>> {
    let attributes = Attributes { max_age, path, domain, secure, http_only, same_site };
    match cookies::set_cookie(name.as_bytes(), value.as_bytes(), &attributes) {
        Ok(line) => Ok(PyBytes::new(py, &line)),
        Err(problem) => Err(PyValueError::new_err(problem.to_string())),
    }
}

/// Raises `ValueError` for what cannot be a header line.
#[pyfunction]
pub(crate) fn check_header(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    head(&[(name.clone(), value.clone())]).map(drop)
}
