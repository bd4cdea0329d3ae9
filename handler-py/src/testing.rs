//! A rehearsed site, for `kennel.testing`: the hub and its clients without a server. The package runs the workers; they are
//! the real ones, in the test's own interpreter.

use crate::link::Link;
use crate::worker::Worker;
use handler_core::hub::{Limits, WorkerId};
use handler_core::rehearsal::{
    Answer, Ask, Body, ClientId, Clock, FilePart, Manner, Message, Plan, Site, SiteError, Turn, Workers,
};
use handler_core::worker::link::{Actions, Orders};
use handler_core::worker::protocol::Start;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The longest time that a test lets pass at once, seconds.
const LONGEST: f64 = 100.0 * 365.0 * 86_400.0;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
/// Status, pairs of header name and value, body, whether it is complete.
type Answered<'py> = (u16, Bound<'py, PyList>, Bound<'py, PyBytes>, bool);

/// Why a rehearsal cannot go on.
enum Trouble {
    Site(SiteError),
    Python(PyErr),
}

impl From<SiteError> for Trouble {
    fn from(problem: SiteError) -> Self {
        Self::Site(problem)
    }
}

impl From<PyErr> for Trouble {
    fn from(problem: PyErr) -> Self {
        Self::Python(problem)
    }
}

impl From<Trouble> for PyErr {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Site(SiteError::Ask(problem)) => PyValueError::new_err(problem.to_string()),
            Trouble::Site(problem) => PyRuntimeError::new_err(problem.to_string()),
            Trouble::Python(problem) => problem,
        }
    }
}

/// The package's side: `start(number, worker, time)`, `turn(number)` and `end(number)`. A turn gives the seconds until the
/// worker has something to do by itself, `None` for never, or `False`: it has ended.
struct Crew<'a, 'py>(&'a Bound<'py, PyAny>);

impl Workers for Crew<'_, '_> {
    type Error = Trouble;

    fn start(
        &mut self,
        id: WorkerId,
        start: Start,
        (orders, actions): (Orders, Actions),
        clock: Clock,
    ) -> Result<(), Trouble> {
        let py = self.0.py();
        let worker = Worker::new(Arc::new(Link::new(orders, actions)), start);
        self.0.call_method1("start", (id.0, Py::new(py, worker)?, Py::new(py, Time(clock))?))?;
        Ok(())
    }

    fn turn(&mut self, id: WorkerId) -> Result<Turn, Trouble> {
        let (next, now) = self.0.call_method1("turn", (id.0,))?.extract::<(Option<f64>, Py<Time>)>()?;
        let now = now.get().0.now();
        // A turn that ends the worker gives less than no time.
        let alive = next.is_none_or(|seconds| seconds >= 0.0);
        Ok(Turn { alive, next: next.filter(|_| alive).map(|seconds| now + time(seconds)) })
    }

    fn end(&mut self, id: WorkerId) {
        // Whatever it says at its end, the others go on.
        let _ = self.0.call_method1("end", (id.0,));
    }
}

/// The made-up time of a site.
#[pyclass(frozen, module = "kennel._native")]
pub(crate) struct Time(Clock);

#[pymethods]
impl Time {
    /// Seconds since the site began.
    fn passed(&self) -> f64 {
        self.0.passed().as_secs_f64()
    }
}

fn time(seconds: f64) -> Duration {
    Duration::from_secs_f64(if seconds.is_nan() { 0.0 } else { seconds.clamp(0.0, LONGEST) })
}

/// A site, and who runs its workers.
#[pyclass(frozen, module = "kennel._native")]
pub(crate) struct Rehearsal {
    site: Mutex<Site>,
    crew: Py<PyAny>,
}

#[pymethods]
impl Rehearsal {
    /// Loads an app: `start` and `limits` are JSON.
    #[staticmethod]
    fn open(crew: &Bound<'_, PyAny>, start: &str, limits: &str) -> PyResult<Self> {
        let wrong = |problem: serde_json::Error| PyValueError::new_err(problem.to_string());
        let start: Start = serde_json::from_str(start).map_err(wrong)?;
        let limits: Limits = serde_json::from_str(limits).map_err(wrong)?;
        let site = Site::open(Plan { start, limits, begin: Instant::now() }, &mut Crew(crew))?;
        Ok(Self { site: Mutex::new(site), crew: crew.clone().unbind() })
    }

    /// Makes a request. `options`: lists of pairs of bytes as `query`, `headers`, `cookies`, `form`; `files`; bytes as `json`
    /// or `body`; `follow`, `jar`, `patience`.
    fn request<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        target: &str,
        options: &Bound<'py, PyDict>,
    ) -> PyResult<Answered<'py>> {
        let default = Manner::default();
        let manner = Manner {
            follow: option(options, "follow")?.unwrap_or(default.follow),
            cookies: option(options, "jar")?.unwrap_or(default.cookies),
            patience: option(options, "patience")?.map_or(default.patience, time),
        };
        let ask = ask(method, target, options)?;
        let answer = self.site()?.request(&ask, &manner, &mut self.crew(py))?;
        answered(py, &answer)
    }

    /// Connects: the client's number, whether it is connected, and the answer if it was a handshake.
    fn connect<'py>(
        &self,
        py: Python<'py>,
        target: &str,
        options: &Bound<'py, PyDict>,
    ) -> PyResult<(u32, bool, Option<Answered<'py>>)> {
        let (client, answer) = self.site()?.connect(&ask("GET", target, options)?, &mut self.crew(py))?;
        let connected = answer.as_ref().is_none_or(|answer| answer.status == 101);
        Ok((client.0, connected, answer.map(|answer| answered(py, &answer)).transpose()?))
    }

    /// A client says something.
    fn send(&self, py: Python<'_>, client: u32, binary: bool, payload: &[u8]) -> PyResult<()> {
        Ok(self.site()?.send(ClientId(client), binary, payload, &mut self.crew(py))?)
    }

    /// The next message to a client: whether it is binary, and its bytes.
    fn receive<'py>(&self, py: Python<'py>, client: u32) -> PyResult<Option<(bool, Bound<'py, PyBytes>)>> {
        let message = self.site()?.receive(ClientId(client));
        Ok(message.map(|Message { binary, payload }| (binary, PyBytes::new(py, &payload))))
    }

    /// Code and reason of a client's end.
    fn ended(&self, client: u32) -> PyResult<Option<(u16, String)>> {
        Ok(self.site()?.ended(ClientId(client)).map(|ended| (ended.code, ended.reason)))
    }

    /// A client closes.
    fn close(&self, py: Python<'_>, client: u32, code: u16, reason: &str) -> PyResult<()> {
        Ok(self.site()?.close(ClientId(client), code, reason, &mut self.crew(py))?)
    }

    /// A client is gone without a word.
    fn vanish(&self, py: Python<'_>, client: u32) -> PyResult<()> {
        Ok(self.site()?.vanish(ClientId(client), &mut self.crew(py))?)
    }

    /// Lets time pass.
    fn advance(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        Ok(self.site()?.advance(time(seconds), &mut self.crew(py))?)
    }

    /// Loads the code anew.
    fn reload(&self, py: Python<'_>) -> PyResult<()> {
        Ok(self.site()?.reload(&mut self.crew(py))?)
    }

    /// Runs code in the app.
    fn evaluate(&self, py: Python<'_>, code: &str) -> PyResult<String> {
        Ok(self.site()?.evaluate(code, &mut self.crew(py))?)
    }

    /// Whether clients leave pings unanswered.
    fn set_silent(&self, silent: bool) -> PyResult<()> {
        self.site()?.set_silent(silent);
        Ok(())
    }

    /// Seconds since the site began.
    fn time(&self) -> PyResult<f64> {
        Ok(self.site()?.time().as_secs_f64())
    }

    /// The client's cookies.
    fn cookies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        pairs(py, &self.site()?.cookies())
    }

    /// Empties the client's jar.
    fn forget_cookies(&self) -> PyResult<()> {
        self.site()?.forget_cookies();
        Ok(())
    }

    /// How many lines the app's log has.
    fn log_size(&self) -> PyResult<usize> {
        Ok(self.site()?.log_size())
    }

    /// The app's log from a line on: time, level, text, fields as JSON.
    fn log(&self, from: usize) -> PyResult<Vec<(f64, &'static str, String, String)>> {
        let lines = self.site()?.log(from);
        Ok(lines
            .into_iter()
            .map(|line| (line.at.as_secs_f64(), line.level, line.text, line.fields))
            .collect())
    }

    /// The live connections, of a room or all: id, client, rooms.
    #[pyo3(signature = (room = None))]
    fn connections(&self, room: Option<&str>) -> PyResult<Vec<(String, u32, Vec<String>)>> {
        let views = self.site()?.connections(room);
        Ok(views.into_iter().map(|view| (view.id, view.conn, view.rooms)).collect())
    }

    /// `conn.data` of a client's connection, JSON.
    fn data(&self, client: u32) -> PyResult<Option<String>> {
        Ok(self.site()?.data(ClientId(client)))
    }
}

impl Rehearsal {
    fn site(&self) -> PyResult<MutexGuard<'_, Site>> {
        // Waiting would be for ever: whoever has it runs the code that asks.
        self.site
            .try_lock()
            .map_err(|_| PyRuntimeError::new_err("the site is at work: what runs in it cannot drive it"))
    }

    fn crew<'a, 'py>(&'a self, py: Python<'py>) -> Crew<'a, 'py> {
        Crew(self.crew.bind(py))
    }
}

fn option<'py, T: for<'a> FromPyObject<'a, 'py>>(
    options: &Bound<'py, PyDict>,
    name: &str,
) -> PyResult<Option<T>> {
    match options.get_item(name)? {
        Some(value) if !value.is_none() => value.extract().map(Some).map_err(Into::into),
        _ => Ok(None),
    }
}

fn ask(method: &str, target: &str, options: &Bound<'_, PyDict>) -> PyResult<Ask> {
    let listed = |name: &str| -> PyResult<Option<Pairs>> { option(options, name) };
    type Files = Vec<(Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>)>;
    let body = if let Some(files) = option::<Files>(options, "files")? {
        let part =
            |(name, filename, content_type, content)| FilePart { name, filename, content_type, content };
        Body::Multipart(listed("form")?.unwrap_or_default(), files.into_iter().map(part).collect())
    } else if let Some(form) = listed("form")? {
        Body::Form(form)
    } else if let Some(text) = option(options, "json")? {
        Body::Json(text)
    } else if let Some(bytes) = option(options, "body")? {
        Body::Bytes(bytes)
    } else {
        Body::None
    };
    Ok(Ask {
        query: listed("query")?.unwrap_or_default(),
        headers: listed("headers")?.unwrap_or_default(),
        cookies: listed("cookies")?.unwrap_or_default(),
        body,
        ..Ask::new(method, target)
    })
}

fn pairs<'py>(py: Python<'py>, pairs: &[(Vec<u8>, Vec<u8>)]) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, pairs.iter().map(|(name, value)| (PyBytes::new(py, name), PyBytes::new(py, value))))
}

fn answered<'py>(py: Python<'py>, answer: &Answer) -> PyResult<Answered<'py>> {
    Ok((answer.status, pairs(py, &answer.headers)?, PyBytes::new(py, &answer.body), answer.complete))
}
