//! The request as scripts see it: a view of the raw message. What nobody asks for is never decoded.

use crate::fields::Fields;
use crate::http::body::{self, body_error};
use crate::http::form::{Files, Form, Loaded};
use crate::http::headers::{Args, Headers};
use crate::http::raw::message;
use crate::http::refused::Refused;
use crate::http::session::{self, Session};
use crate::link::flow::Flow;
use crate::link::job::Job;
use crate::text::text;
use kennel_http::{charset, cookies, json};
use mongrel2_wire::Text;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::borrow::Cow;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// An HTTP request, or the one that opened a live connection. Attributes of a script's own may be set.
#[pyclass(frozen, dict, weakref, module = "kennel")]
pub(crate) struct Request(Fields<Parts>);

/// What a [`Request`] consists of.
pub(crate) struct Parts {
    pub(crate) job: Arc<Job>,
    params: OnceLock<Py<PyDict>>,
    conn: OnceLock<Py<PyAny>>,
    /// Its session, once somebody asked for that.
    session: OnceLock<Session>,
    form: OnceLock<Arc<Loaded>>,
}

impl Deref for Request {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Request {
    pub(crate) fn new(job: Arc<Job>, params: Option<Py<PyDict>>) -> Self {
        Self(Fields::new(Parts {
            job,
            params: params.map_or_else(OnceLock::new, OnceLock::from),
            conn: OnceLock::new(),
            session: OnceLock::new(),
            form: OnceLock::new(),
        }))
    }

    fn flow(&self) -> Arc<Flow> {
        self.job.link.flow(self.job.serial)
    }

    fn whole_body(&self) -> PyResult<Cow<'_, [u8]>> {
        self.job.whole_body(self.job.link.memory()).map_err(|problem| body_error(&problem))
    }

    /// The form, read when it is asked for first.
    fn loaded(&self, py: Python<'_>) -> PyResult<Arc<Loaded>> {
        if let Some(form) = self.form.get() {
            return Ok(Arc::clone(form));
        }
        let form = Loaded::read(py, &self.job)?;
        Ok(Arc::clone(self.form.get_or_init(|| Arc::new(form))))
    }

    /// Whether somebody asked for the session, so that the answer has to say something about it.
    pub(crate) fn has_session(&self) -> bool {
        self.session.get().is_some()
    }

    fn opened(&self, py: Python<'_>) -> PyResult<&Session> {
        if let Some(session) = self.session.get() {
            return Ok(session);
        }
        let session = Session::open(py, &self.job)?;
        Ok(self.session.get_or_init(|| session))
    }

    fn server_field<'py>(&self, py: Python<'py>, name: &[u8]) -> Option<Bound<'py, PyString>> {
        self.job.first(name).map(|value| text(py, &value))
    }
}

#[pymethods]
impl Request {
    /// The method, in upper case.
    #[getter]
    fn method<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.server_field(py, b"METHOD")
    }

    /// The path as Mongrel2 gives it: percent-decoded, without the query.
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        text(py, self.job.envelope().map_or(b"", |envelope| envelope.path))
    }

    /// The raw query string, without its question mark.
    #[getter]
    fn query<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        text(py, &self.job.first(b"QUERY").unwrap_or_default())
    }

    /// `HTTP/1.1` or `HTTP/1.0`.
    #[getter]
    fn version<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.server_field(py, b"VERSION")
    }

    /// `http` or `https`.
    #[getter]
    fn scheme<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        self.server_field(py, b"URL_SCHEME").unwrap_or_else(|| PyString::intern(py, "http"))
    }

    /// The client's address, as Mongrel2 saw it.
    #[getter]
    fn remote_addr<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.server_field(py, b"REMOTE_ADDR")
    }

    /// The Host header, empty when there is none.
    #[getter]
    fn host<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        text(py, &self.job.first(b"host").unwrap_or_default())
    }

    /// The whole address.
    #[getter]
    fn url(&self, py: Python<'_>) -> String {
        let uri = match self.job.first(b"URI") {
            Some(uri) => text(py, &uri),
            None => self.path(py),
        };
        format!("{}://{}{}", self.scheme(py), self.host(py), uri)
    }

    /// The path's values by name.
    #[getter]
    fn params<'py>(&self, py: Python<'py>) -> Bound<'py, PyDict> {
        self.params.get_or_init(|| PyDict::new(py).unbind()).bind(py).clone()
    }

    /// The client's headers: `headers["name"]`, `.get(name)`, `.getall(name)`, `.items()`; names in any case.
    #[getter]
    fn headers(&self) -> Headers {
        Headers(Arc::clone(&self.job))
    }

    /// The query's values: `args["name"]`, `.get(name)`, `.getall(name)`, `.items()`.
    #[getter]
    fn args(&self) -> Args {
        Args(Arc::clone(&self.job))
    }

    /// Cookies by name. The first of a name is the most specific one (RFC 6265, 5.4).
    #[getter]
    fn cookies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = PyDict::new(py);
        if let Some(values) = self.job.values(b"cookie") {
            for header in values.iter().map(Text::bytes) {
                for (name, value) in cookies::pairs(&header) {
                    let name = text(py, name);
                    if !found.contains(&name)? {
                        found.set_item(name, text(py, value))?;
                    }
                }
            }
        }
        Ok(found)
    }

    /// The body's bytes.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.whole_body()?))
    }

    /// The body as text, by the charset that the client declared, UTF-8 unless told otherwise.
    ///
    /// Raises `Refused`, a 400, when the bytes are no such text.
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let content_type = self.job.first(b"content-type").unwrap_or_default();
        match charset::decode(&self.whole_body()?, &content_type) {
            Ok(found) => Ok(PyString::new(py, &found)),
            Err(problem) => Err(Refused::new_err((400, problem.to_string()))),
        }
    }

    /// The body's JSON as a value.
    ///
    /// Raises `Refused`, a 400, when the body is no JSON.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let refuse = |problem: &dyn std::fmt::Display| {
            Refused::new_err((400, format!("the body is not JSON: {problem}")))
        };
        let body = self.whole_body()?;
        // Python's own reader takes more than JSON, and says something else in each version.
        json::check(&body).map_err(|problem| refuse(&problem))?;
        let loads = py.import("json")?.getattr("loads")?;
        loads.call1((PyBytes::new(py, &body),)).map_err(|problem| refuse(problem.value(py)))
    }

    /// The visitor's session: a dict that is kept in a signed cookie when it was changed.
    #[getter]
    fn session<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        Ok(self.opened(py)?.values(py))
    }

    /// Another one in its place; `None` ends it.
    #[setter]
    fn set_session(&self, py: Python<'_>, values: Option<Bound<'_, PyDict>>) -> PyResult<()> {
        self.opened(py)?.replace(py, values)
    }

    #[deleter]
    fn delete_session(&self, py: Python<'_>) -> PyResult<()> {
        self.opened(py)?.replace(py, None)
    }

    /// A token for a form of this visitor's, which goes into its field `csrf_token`.
    #[getter]
    fn csrf_token(&self, py: Python<'_>) -> PyResult<String> {
        self.opened(py)?.csrf_token(self.job.link.jar())
    }

    /// Whether somebody asked for the session.
    #[getter]
    fn _has_session(&self) -> bool {
        self.has_session()
    }

    /// The JSON that the session came as.
    #[getter]
    fn _session_came(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.opened(py)?.came().to_owned())
    }

    /// The answer begins with this session: the value of its `Set-Cookie`, if there has to be one.
    fn _close_session<'py>(
        &self,
        py: Python<'py>,
        json: &str,
        same: bool,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let https = self.job.first(b"URL_SCHEME").is_some_and(|scheme| *scheme == *b"https");
        let line = self.opened(py)?.close(self.job.link.jar(), json, same, https)?;
        Ok(line.map(|line| PyBytes::new(py, &line)))
    }

    /// Whether it could be a form of another site.
    fn _needs_token(&self) -> bool {
        session::needs_token(&self.job)
    }

    /// Whether a form's token is of this visitor.
    fn _allows(&self, py: Python<'_>, token: &str) -> PyResult<bool> {
        Ok(self.opened(py)?.allows(self.job.link.jar(), token))
    }

    /// The fields of the form that the body is: `form["name"]`, `.get(name)`, `.getall(name)`, `.items()`. Empty when the
    /// body is none.
    ///
    /// Raises `Refused`, a 400 when the form is malformed, a 413 when it has more than is allowed.
    #[getter]
    fn form(&self, py: Python<'_>) -> PyResult<Form> {
        Ok(Form(self.loaded(py)?))
    }

    /// The files of the form, as `form` has its fields.
    #[getter]
    fn files(&self, py: Python<'_>) -> PyResult<Files> {
        Ok(Files(self.loaded(py)?))
    }

    /// The next piece of the body, at most `most` bytes, nothing at its end; without `most` all the rest. Waits for it, in a
    /// thread.
    ///
    /// Raises `Aborted` when the client has left before its end.
    #[pyo3(signature = (most = None))]
    fn read<'py>(&self, py: Python<'py>, most: Option<usize>) -> PyResult<Bound<'py, PyBytes>> {
        body::read(py, &self.job, &self.flow(), most)
    }

    /// The same to be awaited, in an `async def`.
    #[pyo3(signature = (most = None))]
    fn receive<'py>(slf: &Bound<'py, Self>, most: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
        let job = slf.get()._job();
        slf.py().import("kennel._http.body")?.getattr("receive")?.call1((job, most))
    }

    /// Bytes of the body that have arrived.
    #[getter]
    fn received(&self) -> PyResult<u64> {
        Ok(body::progress(&self.job, &self.flow())?.0)
    }

    /// Bytes that the body has, or will have; `None` while the client sends chunks.
    #[getter]
    fn body_size(&self) -> PyResult<Option<u64>> {
        Ok(body::progress(&self.job, &self.flow())?.1)
    }

    /// The connection that it came on.
    #[getter]
    fn conn<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        if let Some(conn) = this.conn.get() {
            return Ok(conn.bind(py).clone());
        }
        let class = py.import("kennel._live.conn")?.getattr("HttpConnection")?;
        let conn = class.call1((text(py, this.job.conn()), slf))?;
        Ok(this.conn.get_or_init(|| conn.unbind()).bind(py).clone())
    }

    /// The raw message: `sender`, `conn_id`, `path`, `headers`, `body`.
    #[getter]
    fn mongrel2<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        message(py, &self.job)
    }

    /// The job behind it, for Kennel's own code.
    #[getter]
    fn _job(&self) -> crate::http::stream::PyJob {
        crate::http::stream::PyJob::new(Arc::clone(&self.job))
    }

    /// It names its connection, which names it: only the collector sees that nobody else names either. That it clears the
    /// connection is enough.
    #[allow(clippy::needless_pass_by_value, reason = "the shape that the macro asks for")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(parts) = self.0.written() else { return Ok(()) };
        visit.call(parts.params.get())?;
        visit.call(parts.conn.get())?;
        parts.session.get().map_or(Ok(()), |session| session.traverse(&visit))
    }

    /// Says which live connection it opened, for Kennel's own code.
    fn _opened(&self, conn: Py<PyAny>, params: Py<PyDict>) {
        let _ = self.conn.set(conn);
        let _ = self.params.set(params);
    }

    fn __repr__(&self) -> String {
        format!("<request {}>", self.job.title())
    }
}
