//! What Python's own standards want to know of a request: the scope of ASGI and the environ of WSGI.
//!
//! Both name everything anew, and both are made for every request, so they are made here, in one walk over the headers.

use crate::http::stream::PyJob;
use crate::link::job::is_clients;
use crate::text::latin1;
use kennel_http::{host, percent};
use mongrel2_wire::{Text, Values};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use std::borrow::Cow;

/// What Mongrel2 says of a request.
#[derive(Default)]
struct Server<'a> {
    method: Cow<'a, [u8]>,
    version: Cow<'a, [u8]>,
    uri: Cow<'a, [u8]>,
    query: Cow<'a, [u8]>,
    scheme: Option<Cow<'a, [u8]>>,
    remote_addr: Option<Cow<'a, [u8]>>,
}

impl<'a> Server<'a> {
    fn note(&mut self, name: &[u8], values: &Values<'a>) {
        let Some(value) = values.first().map(Text::bytes) else { return };
        match name {
            b"METHOD" => self.method = value,
            b"VERSION" => self.version = value,
            b"URI" => self.uri = value,
            b"QUERY" => self.query = value,
            b"URL_SCHEME" => self.scheme = Some(value),
            b"REMOTE_ADDR" => self.remote_addr = Some(value),
            _ => {}
        }
    }

    fn scheme(&self) -> &[u8] {
        self.scheme.as_deref().unwrap_or(b"http")
    }

    /// `1.1` or `1.0`.
    fn version_number(&self) -> &[u8] {
        self.version.strip_prefix(b"HTTP/").unwrap_or(b"1.1")
    }

    /// The name and port by which the client called this server.
    fn called<'h>(&self, header: &'h [u8]) -> Option<(&'h [u8], u16)> {
        let (name, port) = host::split(header)?;
        Some((name, port.or_else(|| host::default_port(self.scheme())).unwrap_or(80)))
    }
}

/// The scope of a request, or of a WebSocket (`socket`): a copy of `base` with what this request is.
#[pyfunction]
pub(crate) fn scope<'py>(
    py: Python<'py>,
    job: &PyJob,
    base: &Bound<'py, PyDict>,
    socket: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let scope = base.copy()?;
    for own in [intern!(py, "asgi"), intern!(py, "state"), intern!(py, "extensions")] {
        // What one request writes into them is none of the next one's.
        if let Some(shared) = scope.get_item(own)? {
            let shared = shared.cast_into::<PyDict>()?;
            let copy = if shared.is_empty() { PyDict::new(py) } else { shared.copy()? };
            scope.set_item(own, copy)?;
        }
    }
    let Some(envelope) = job.job().envelope() else { return Ok(scope) };
    let headers = PyList::empty(py);
    let mut server = Server::default();
    let mut host = None;
    let mut protocols = Vec::new();
    for (name, values) in envelope.headers.iter().map_while(Result::ok) {
        if !is_clients(name) {
            server.note(name, &values);
            continue;
        }
        let called = PyBytes::new(py, name);
        for value in values.iter().map(Text::bytes) {
            headers.append((&called, PyBytes::new(py, &value)))?;
            if socket && name == b"sec-websocket-protocol" {
                let offered =
                    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|one| !one.is_empty());
                protocols.extend(offered.map(|one| latin1(py, one)));
            }
            if name == b"host" && host.is_none() {
                host = Some(value);
            }
        }
    }
    let path = percent::decode(envelope.path, false);
    let version = match server.version_number() {
        b"1.1" => intern!(py, "1.1").clone(),
        other => latin1(py, other),
    };
    scope.set_item(intern!(py, "http_version"), version)?;
    scope.set_item(intern!(py, "path"), String::from_utf8_lossy(&path))?;
    scope.set_item(intern!(py, "raw_path"), PyBytes::new(py, envelope.path))?;
    scope.set_item(intern!(py, "query_string"), PyBytes::new(py, &server.query))?;
    scope.set_item(intern!(py, "headers"), headers)?;
    let scheme = match (socket, server.scheme()) {
        (false, b"https") => intern!(py, "https"),
        (false, _) => intern!(py, "http"),
        (true, b"https") => intern!(py, "wss"),
        (true, _) => intern!(py, "ws"),
    };
    scope.set_item(intern!(py, "scheme"), scheme)?;
    if socket {
        scope.set_item(intern!(py, "subprotocols"), protocols)?;
    } else {
        let method = match &*server.method {
            b"GET" => intern!(py, "GET").clone(),
            b"POST" => intern!(py, "POST").clone(),
            other => latin1(py, other),
        };
        scope.set_item(intern!(py, "method"), method)?;
    }
    // Mongrel2 does not tell the client's port.
    let client = server.remote_addr.as_deref().map(|address| (latin1(py, address), 0));
    scope.set_item(intern!(py, "client"), client)?;
    let called = host.as_deref().and_then(|host| server.called(host));
    scope.set_item(intern!(py, "server"), called.map(|(name, port)| (latin1(py, name), port)))?;
    Ok(scope)
}

/// The environ of a request: a copy of `base`, which has what is the same for all, with what this request is. `mount`
/// is the prefix that is SCRIPT_NAME.
#[pyfunction]
pub(crate) fn environ<'py>(
    py: Python<'py>,
    job: &PyJob,
    base: &Bound<'py, PyDict>,
    mount: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let environ = base.copy()?;
    let Some(envelope) = job.job().envelope() else { return Ok(environ) };
    let mut server = Server::default();
    let mut host = None;
    for (name, values) in envelope.headers.iter().map_while(Result::ok) {
        if !is_clients(name) {
            server.note(name, &values);
            continue;
        }
        match name {
            b"content-type" => {
                if let Some(value) = values.first() {
                    environ.set_item(intern!(py, "CONTENT_TYPE"), latin1(py, &value.bytes()))?;
                }
                continue;
            }
            // The body is here whole: its size is told by itself, and it is in chunks no more. And what is called
            // Proxy would be taken for a variable of the environment.
            b"content-length" | b"transfer-encoding" | b"proxy" => continue,
            b"host" => host = values.first().map(Text::bytes),
            _ => {}
        }
        // An underscore would pass for a dash.
        if !name.contains(&b'_') {
            environ.set_item(variable(py, name), joined(py, name, &values))?;
        }
    }
    let path = percent::decode(envelope.path, false);
    let below = path.strip_prefix(&*percent::decode(mount.as_bytes(), false)).unwrap_or(&path);
    environ.set_item(intern!(py, "PATH_INFO"), latin1(py, below))?;
    environ.set_item(intern!(py, "REQUEST_METHOD"), latin1(py, &server.method))?;
    environ.set_item(intern!(py, "REQUEST_URI"), latin1(py, &server.uri))?;
    environ.set_item(intern!(py, "QUERY_STRING"), latin1(py, &server.query))?;
    environ.set_item(intern!(py, "SERVER_PROTOCOL"), latin1(py, &server.version))?;
    environ.set_item(intern!(py, "wsgi.url_scheme"), latin1(py, server.scheme()))?;
    if let Some(address) = &server.remote_addr {
        environ.set_item(intern!(py, "REMOTE_ADDR"), latin1(py, address))?;
    }
    let fallback = (&b"localhost"[..], host::default_port(server.scheme()).unwrap_or(80));
    let (name, port) = host.as_deref().and_then(|host| server.called(host)).unwrap_or(fallback);
    environ.set_item(intern!(py, "SERVER_NAME"), latin1(py, name))?;
    environ.set_item(intern!(py, "SERVER_PORT"), port.to_string())?;
    if !envelope.body.is_empty() {
        environ.set_item(intern!(py, "CONTENT_LENGTH"), envelope.body.len().to_string())?;
    }
    Ok(environ)
}

/// `HTTP_ACCEPT_LANGUAGE` of `accept-language`.
fn variable<'py>(py: Python<'py>, name: &[u8]) -> Bound<'py, PyString> {
    // What most requests have is not made anew for each.
    let known = match name {
        b"host" => intern!(py, "HTTP_HOST"),
        b"user-agent" => intern!(py, "HTTP_USER_AGENT"),
        b"accept" => intern!(py, "HTTP_ACCEPT"),
        b"accept-language" => intern!(py, "HTTP_ACCEPT_LANGUAGE"),
        b"accept-encoding" => intern!(py, "HTTP_ACCEPT_ENCODING"),
        b"connection" => intern!(py, "HTTP_CONNECTION"),
        b"cookie" => intern!(py, "HTTP_COOKIE"),
        b"referer" => intern!(py, "HTTP_REFERER"),
        b"x-forwarded-for" => intern!(py, "HTTP_X_FORWARDED_FOR"),
        _ => {
            let mut text = String::with_capacity(5 + name.len());
            text.push_str("HTTP_");
            text.extend(name.iter().map(|byte| match byte {
                b'-' => '_',
                byte => char::from(byte.to_ascii_uppercase()),
            }));
            return PyString::new(py, &text);
        }
    };
    known.clone()
}

/// All values of a header as one.
fn joined<'py>(py: Python<'py>, name: &[u8], values: &Values<'_>) -> Bound<'py, PyString> {
    if let Some(value) = values.single() {
        return latin1(py, &value.bytes());
    }
    let between: &[u8] = if name == b"cookie" { b"; " } else { b"," };
    let all: Vec<_> = values.iter().map(Text::bytes).collect();
    latin1(py, &all.join(between))
}
