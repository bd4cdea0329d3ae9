//! The worker as Kennel's own Python code drives it: orders in, actions out.
//!
//! What every request and every message pass is here: taking the order, making the request, calling the handler,
//! answering with what it returned. Everything rarer is a call into the package, `runtime` below.

use crate::answer::{self, Sent};
use crate::conn::Wire;
use crate::job::Job;
use crate::link::{Link, is_work};
use crate::request::{Request, message};
use crate::stream::PyJob;
use crate::text::text;
use handler_core::http::percent;
use handler_core::worker::link::{self, Wake};
use handler_core::worker::protocol::{
    Action, FRAME_HEAD, Handler, LoadFailure, Open, Order, Start, encode_job,
};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyStopIteration, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How often a loop looks after its threads.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A registered handler.
struct Entry {
    function: Py<PyAny>,
    /// The names of the path's values.
    names: Vec<Py<PyString>>,
    kind: Kind,
}

/// How a handler is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// At once, with a request.
    Plain,
    /// The same in a thread of the pool.
    Threaded,
    /// It gives a coroutine, whose first step runs at once.
    Coroutine,
    /// With the bare job; it answers by itself, later perhaps.
    Job,
    /// The same in a thread of the pool.
    ThreadedJob,
}

impl Kind {
    fn named(name: &str) -> PyResult<Self> {
        Ok(match name {
            "plain" => Self::Plain,
            "threaded" => Self::Threaded,
            "coroutine" => Self::Coroutine,
            "job" => Self::Job,
            "threaded job" => Self::ThreadedJob,
            other => return Err(PyValueError::new_err(format!("no kind of handler: {other}"))),
        })
    }

    fn is_threaded(self) -> bool {
        matches!(self, Self::Threaded | Self::ThreadedJob)
    }
}

/// What an app has registered, and the package's functions for what is rare.
struct App {
    handlers: Vec<Entry>,
    /// For paths without a route, for other methods, for OPTIONS.
    pages: [Option<Entry>; 3],
    /// `finish(request, number, value)`: what a handler returned is none of the plain values.
    finish: Py<PyAny>,
    /// `failed(request, number, exception)`: a handler raised.
    failed: Py<PyAny>,
    /// `carry(request, number, coroutine, context, yielded)`: a handler's coroutine has to wait.
    carry: Py<PyAny>,
    /// `raw(message)`.
    raw: Py<PyAny>,
    /// `open(handler, serial, number, fresh, resumed, asked, name, transport, data, rooms, values, request)`.
    open: Py<PyAny>,
    /// `message(number, serial, payload)`: for connections without a plain callback.
    message: Py<PyAny>,
    /// `message_failed(conn, exception)`.
    message_failed: Py<PyAny>,
    /// `close(number, serial, code, reason)`.
    close: Py<PyAny>,
    /// `detach(number)`.
    detach: Py<PyAny>,
    /// `lead()`.
    lead: Py<PyAny>,
    /// `stop()`: nothing new comes.
    stop: Py<PyAny>,
    to_json: Py<PyAny>,
    copy_context: Py<PyAny>,
}

/// A connection whose messages are answered by a plain callback.
struct Slot {
    conn: Py<Wire>,
    callback: Py<PyAny>,
}

/// Jobs for the threads.
#[derive(Default)]
struct Pool {
    jobs: VecDeque<Arc<Job>>,
    idle: usize,
    threads: usize,
    /// Serials of jobs that run in threads, in the order of their start.
    running: Vec<u64>,
    ended: bool,
}

/// This process's part as a worker of Kennel.
#[pyclass(frozen, module = "kennel._native")]
pub(crate) struct Worker {
    pub(crate) link: Arc<Link>,
    start: Start,
    app: OnceLock<App>,
    slots: Mutex<FxHashMap<u64, Arc<Slot>>>,
    pool: Mutex<Pool>,
    pool_changed: Condvar,
    /// The package wants its event loop to run.
    wants_loop: AtomicBool,
    stopping: AtomicBool,
    /// Tasks of the package that a stop waits for.
    held: AtomicUsize,
}

fn os_error(problem: &std::io::Error) -> PyErr {
    PyOSError::new_err(format!("no connection to the hub: {problem}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymethods]
impl Worker {
    /// Takes this process's place as a worker: finds the hub and waits for the order that says what to load.
    /// `None`: the hub is gone.
    #[staticmethod]
    fn connect(py: Python<'_>) -> PyResult<Option<Self>> {
        // A hub that is killed takes its workers along, even those inside an endless loop.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(|problem| os_error(&problem.into()))?;
        let (orders, actions) = link::from_environment().map_err(|problem| os_error(&problem))?;
        let link = Arc::new(Link::new(orders, actions));
        loop {
            let order = link.next_order(|kind, payload| match Order::read(kind, payload) {
                Ok(Order::Start(start)) => Ok(Some(start)),
                Ok(_) => Ok(None),
                Err(problem) => Err(PyRuntimeError::new_err(format!("the hub is not understood: {problem}"))),
            });
            match order.transpose()?.flatten() {
                Some(start) => return Ok(Some(Self::new(link, start))),
                None => {
                    let wake = py.detach(|| link.wait(None)).map_err(|problem| os_error(&problem))?;
                    if wake == Wake::End {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The worker's number within its app, from 1.
    #[getter]
    fn number(&self) -> u32 {
        self.start.number
    }

    /// The script's path, or a module's name.
    #[getter]
    fn source(&self) -> &str {
        &self.start.source
    }

    /// The name of the app in it, or an empty text.
    #[getter]
    fn object(&self) -> &str {
        &self.start.object
    }

    /// `kennel`, `asgi`, `wsgi`, or an empty text.
    #[getter]
    fn interface(&self) -> &str {
        &self.start.interface
    }

    /// Threads that were asked for on the command line; 0: none were.
    #[getter]
    fn threads(&self) -> u32 {
        self.start.threads
    }

    /// The prefix of the app's routes.
    #[getter]
    fn mount(&self) -> &str {
        &self.start.mount
    }

    /// Whether errors may be shown to the client.
    #[getter]
    fn dev(&self) -> bool {
        self.start.dev
    }

    /// The memory that scripts may use, bytes; 0: any.
    #[getter]
    fn memory(&self) -> usize {
        self.start.memory
    }

    /// The version of the program that started this worker.
    #[getter]
    fn version(&self) -> &str {
        &self.start.version
    }

    /// The app's own settings, JSON.
    #[getter]
    fn config(&self) -> String {
        self.start.config.to_string()
    }

    /// Tells the hub what the script registered (JSON), and takes its handlers: pairs of function, names of the
    /// path's values and kind, by number; the functions for pages; and the package's functions by name.
    fn ready(
        &self,
        py: Python<'_>,
        registration: &str,
        handlers: Vec<(Py<PyAny>, Vec<Py<PyString>>, String)>,
        pages: [Option<(Py<PyAny>, String)>; 3],
        runtime: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let get = |name: &str| match runtime.get_item(name)? {
            Some(function) => Ok(function.unbind()),
            None => Err(PyValueError::new_err(format!("the runtime has no `{name}`"))),
        };
        let entry = |(function, names, kind): (Py<PyAny>, Vec<Py<PyString>>, String)| {
            PyResult::Ok(Entry { function, names, kind: Kind::named(&kind)? })
        };
        let page = |page: Option<(Py<PyAny>, String)>| {
            page.map(|(function, kind)| entry((function, Vec::new(), kind))).transpose()
        };
        let [not_found, not_allowed, options] = pages;
        let app = App {
            handlers: handlers.into_iter().map(entry).collect::<PyResult<_>>()?,
            pages: [page(not_found)?, page(not_allowed)?, page(options)?],
            finish: get("finish")?,
            failed: get("failed")?,
            carry: get("carry")?,
            raw: get("raw")?,
            open: get("open")?,
            message: get("message")?,
            message_failed: get("message_failed")?,
            close: get("close")?,
            detach: get("detach")?,
            lead: get("lead")?,
            stop: get("stop")?,
            to_json: get("to_json")?,
            copy_context: get("copy_context")?,
        };
        let registration = serde_json::from_str(registration)
            .map_err(|problem| PyValueError::new_err(format!("no registration: {problem}")))?;
        if self.app.set(app).is_err() {
            return Err(PyRuntimeError::new_err("a worker is ready once"));
        }
        self.link.push(py, &Action::Ready(registration));
        self.flush()
    }

    /// Tells the hub why the script did not load, and waits to be ended.
    #[pyo3(signature = (message, file, line, traceback))]
    fn fail(
        &self,
        py: Python<'_>,
        message: String,
        file: Option<String>,
        line: Option<u32>,
        traceback: String,
    ) -> PyResult<()> {
        self.link.push(py, &Action::Failed(LoadFailure { message, file, line, traceback }));
        self.flush()?;
        py.detach(|| {
            while self.link.wait(None).is_ok_and(|wake| wake != Wake::End) {
                while self.link.next_order(|_, _| ()).is_some() {}
            }
        });
        Ok(())
    }

    /// Serves without an event loop, until the hub is gone or says stop (`False`), or the package wants its event
    /// loop (`True`).
    fn run(&self, py: Python<'_>) -> PyResult<bool> {
        // A thread of the pool may want the loop, or be the last to end, while nothing comes from the hub.
        let patience = (lock(&self.pool).threads > 0).then_some(LOOK_AGAIN);
        loop {
            self.obey(py)?;
            if self.wants_loop.load(Ordering::Relaxed) {
                return Ok(true);
            }
            if self.is_over() {
                return Ok(false);
            }
            let wake = py.detach(|| self.link.wait(patience)).map_err(|problem| os_error(&problem))?;
            py.check_signals()?;
            if wake == Wake::End {
                return Ok(false);
            }
        }
    }

    /// One turn within an event loop: reads what is there and does it. `False`: the hub is gone.
    fn turn(&self, py: Python<'_>) -> PyResult<bool> {
        let wake = self.link.wait(Some(Duration::ZERO)).map_err(|problem| os_error(&problem))?;
        self.obey(py)?;
        Ok(wake != Wake::End)
    }

    /// Says that the event loop has to run.
    fn want_loop(&self) {
        self.wants_loop.store(true, Ordering::Relaxed);
    }

    /// `ask()` is called when something was pushed outside of a turn: it sees to it that `flush` is called soon.
    fn set_flush_soon(&self, ask: Py<PyAny>) {
        self.link.set_flush_soon(ask);
    }

    /// Sends what was pushed.
    fn flush(&self) -> PyResult<()> {
        self.link.flush().map_err(|problem| os_error(&problem))
    }

    /// The descriptor that becomes readable when the hub says something.
    fn fileno(&self) -> i32 {
        self.link.descriptor()
    }

    /// This process was forked off a worker: it does not speak for it any more. Gives the descriptors that are not
    /// its own.
    fn forget(&self) -> [i32; 2] {
        self.link.forget();
        self.link.descriptors()
    }

    /// Ends a child that a script forked and that came back from it: it is no worker.
    #[pyo3(name = "check_fork")]
    fn end_if_forked(&self) {
        self.check_fork();
    }

    /// A stop waits for one thing more.
    fn hold(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    /// And for one less.
    fn release(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether nothing is left to be done after a stop.
    fn is_over(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
            && self.link.unanswered() == 0
            && self.held.load(Ordering::Relaxed) == 0
            && lock(&self.pool).jobs.is_empty()
    }

    /// Whether the hub has said stop.
    #[getter]
    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A script begins to run for a job, or for nobody (0), in the loop's thread.
    fn step(&self, serial: u64) {
        self.link.script_begins(serial);
    }

    /// It ends to.
    fn step_end(&self) {
        self.link.script_ends();
        self.check_fork();
    }

    /// An event loop wakes up: until it sleeps again scripts may run in it that nobody announces.
    fn wakes(&self) {
        self.link.set_loop_awake(true);
    }

    /// It goes to sleep.
    fn sleeps(&self) {
        self.check_fork();
        self.link.set_loop_awake(false);
    }

    /// Answers with what a handler returned, when it is one of the plain values: `True`.
    fn send(&self, py: Python<'_>, serial: u64, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(answer::send(py, &self.link, serial, value, &self.app()?.to_json)? == Sent::Yes)
    }

    /// Answers a job: status, pairs of header name and value, body. `False`: it was answered before.
    fn respond(
        &self,
        py: Python<'_>,
        serial: u64,
        status: u16,
        headers: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        body: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let head = answer::head(&headers)?;
        let body = answer::bytes(body)?;
        let body = body.as_bytes();
        Ok(self.link.end(py, serial, &Action::Respond { serial, status, head: head.as_bytes(), body }))
    }

    /// Ends a job that wants no answer.
    fn done(&self, py: Python<'_>, serial: u64) {
        self.link.end(py, serial, &Action::Done { serial });
    }

    /// Gives a job back that does not run here.
    fn skip(&self, py: Python<'_>, serial: u64) {
        self.link.end(py, serial, &Action::Skipped { serial });
    }

    /// From now on messages of this connection are `callback(conn, message)`.
    fn adopt(&self, conn: Py<Wire>, callback: Py<PyAny>) {
        let number = conn.get().number;
        lock(&self.slots).insert(number, Arc::new(Slot { conn, callback }));
    }

    /// The connection has ended, or is another worker's.
    fn forget_conn(&self, number: u64) {
        lock(&self.slots).remove(&number);
    }

    /// The life of a thread of the pool: runs jobs until the worker ends.
    fn serve_thread(&self, py: Python<'_>) -> PyResult<()> {
        lock(&self.pool).threads += 1;
        while let Some(job) = py.detach(|| self.next_threaded()) {
            let serial = job.serial;
            let result = self.run_job(py, job);
            self.check_fork();
            self.threaded_ended(serial);
            result?;
        }
        Ok(())
    }

    /// Ends the threads of the pool once they have nothing to do.
    fn end_threads(&self) {
        lock(&self.pool).ended = true;
        self.pool_changed.notify_all();
    }
}

impl Worker {
    fn new(link: Arc<Link>, start: Start) -> Self {
        link.set_memory(start.memory);
        Self {
            link,
            start,
            app: OnceLock::new(),
            slots: Mutex::default(),
            pool: Mutex::default(),
            pool_changed: Condvar::new(),
            wants_loop: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            held: AtomicUsize::new(0),
        }
    }

    /// Whether the app is loaded.
    pub(crate) fn is_ready(&self) -> bool {
        self.app.get().is_some()
    }

    fn app(&self) -> PyResult<&App> {
        self.app.get().ok_or_else(|| PyRuntimeError::new_err("the app is not loaded yet"))
    }

    /// Does all that was ordered and sends what came of it.
    fn obey(&self, py: Python<'_>) -> PyResult<()> {
        self.link.set_in_turn(true);
        let result = self.obey_orders(py);
        self.link.set_in_turn(false);
        result?;
        self.flush()
    }

    fn obey_orders(&self, py: Python<'_>) -> PyResult<()> {
        loop {
            match self.link.peek_kind() {
                None => return Ok(()),
                Some(kind) if is_work(kind) => self.work(py)?,
                Some(_) => self.obey_rare(py)?,
            }
        }
    }

    /// Takes the next order, a job or a message.
    fn work(&self, py: Python<'_>) -> PyResult<()> {
        enum Work {
            Job(Arc<Job>, Handler),
            Message { serial: u64, conn: u64, payload: Py<PyAny> },
        }
        let taken = self.link.next_order(|kind, payload| match Order::read(kind, payload) {
            Ok(Order::Job { serial, handler, .. }) => {
                Ok(Some(Work::Job(Arc::new(Job::new(Arc::clone(&self.link), serial, payload)), handler)))
            }
            Ok(Order::Message { serial, conn, binary, payload }) => {
                let payload = match binary {
                    true => PyBytes::new(py, payload).into_any().unbind(),
                    false => text(py, payload).into_any().unbind(),
                };
                Ok(Some(Work::Message { serial, conn, payload }))
            }
            Ok(_) => Ok(None),
            Err(problem) => Err(PyRuntimeError::new_err(format!("the hub is not understood: {problem}"))),
        });
        match taken.transpose()?.flatten() {
            None => Ok(()),
            Some(Work::Job(job, handler)) => {
                if self.entry(handler)?.is_some_and(|entry| entry.kind.is_threaded()) {
                    lock(&self.pool).jobs.push_back(job);
                    self.pool_changed.notify_one();
                    return Ok(());
                }
                if !self.link.begin(job.serial) {
                    return Ok(());
                }
                let serial = job.serial;
                self.link.script_begins(serial);
                let result = self.run_job_as(py, job, handler);
                self.link.script_ends();
                self.check_fork();
                result
            }
            Some(Work::Message { serial, conn, payload }) => {
                if !self.link.begin(serial) {
                    return Ok(());
                }
                self.link.script_begins(serial);
                let result = self.run_message(py, serial, conn, payload);
                self.link.script_ends();
                self.check_fork();
                result
            }
        }
    }

    /// A child that a handler forked and that came back here is no worker: it ends without a word.
    fn check_fork(&self) {
        if self.link.is_forked() {
            std::process::exit(0);
        }
    }

    fn entry(&self, handler: Handler) -> PyResult<Option<&Entry>> {
        let app = self.app()?;
        Ok(match handler {
            Handler::Route(number) => app.handlers.get(number as usize),
            Handler::NotFound => app.pages[0].as_ref(),
            Handler::MethodNotAllowed => app.pages[1].as_ref(),
            Handler::Options => app.pages[2].as_ref(),
            Handler::Raw => None,
        })
    }

    fn run_job(&self, py: Python<'_>, job: Arc<Job>) -> PyResult<()> {
        let handler = job.handler();
        self.run_job_as(py, job, handler)
    }

    fn run_job_as(&self, py: Python<'_>, job: Arc<Job>, handler: Handler) -> PyResult<()> {
        let app = self.app()?;
        let serial = job.serial;
        let Some(entry) = self.entry(handler)? else {
            if handler == Handler::Raw {
                app.raw.call1(py, (message(py, &job)?,))?;
            }
            // Nothing registered has this number: the hub made it up.
            self.link.end(py, serial, &Action::Done { serial });
            return Ok(());
        };
        let number = match handler {
            Handler::Route(number) => i64::from(number),
            _ => -1,
        };
        if matches!(entry.kind, Kind::Job | Kind::ThreadedJob) {
            let job = Bound::new(py, PyJob::watched(job))?;
            return match entry.function.call1(py, (&job,)) {
                Ok(_) => Ok(()),
                Err(problem) => self.failed(py, job.into_any(), number, problem),
            };
        }
        let mut params = job.params().peekable();
        let (request, called) = if params.peek().is_none() {
            drop(params);
            let request = Bound::new(py, Request::new(job, None))?;
            let called = entry.function.bind(py).call1((&request,));
            (request, called)
        } else if !matches!(handler, Handler::Route(_)) {
            // The methods that the path knows.
            let allow = params.next().map(|value| text(py, value));
            drop(params);
            let request = Bound::new(py, Request::new(job, None))?;
            let called = entry.function.bind(py).call1((&request, allow));
            (request, called)
        } else {
            let values = PyDict::new(py);
            for (name, value) in entry.names.iter().zip(params) {
                values.set_item(name, text(py, &percent::decode(value, false)))?;
            }
            let keywords = values.copy()?;
            let request = Bound::new(py, Request::new(job, Some(values.unbind())))?;
            let called = entry.function.bind(py).call((&request,), Some(&keywords));
            (request, called)
        };
        let value = match called {
            Ok(coroutine) if entry.kind == Kind::Coroutine => {
                let context = app.copy_context.bind(py).call0()?;
                let send = coroutine.getattr(intern!(py, "send"))?;
                match context.call_method1(intern!(py, "run"), (send, py.None())) {
                    Ok(yielded) => {
                        app.carry.call1(py, (&request, number, coroutine, context, yielded))?;
                        return Ok(());
                    }
                    Err(stop) if stop.is_instance_of::<PyStopIteration>(py) => {
                        stop.value(py).getattr(intern!(py, "value"))?
                    }
                    Err(problem) => return self.failed(py, request.into_any(), number, problem),
                }
            }
            Ok(value) => value,
            Err(problem) => return self.failed(py, request.into_any(), number, problem),
        };
        match answer::send(py, &self.link, serial, &value, &app.to_json) {
            Ok(Sent::Yes) => Ok(()),
            Ok(Sent::NotPlain) => {
                app.finish.call1(py, (request, number, value))?;
                Ok(())
            }
            Err(problem) => self.failed(py, request.into_any(), number, problem),
        }
    }

    fn failed(&self, py: Python<'_>, request: Bound<'_, PyAny>, number: i64, problem: PyErr) -> PyResult<()> {
        self.app()?.failed.call1(py, (request, number, problem.into_value(py)))?;
        Ok(())
    }

    fn run_message(&self, py: Python<'_>, serial: u64, number: u64, payload: Py<PyAny>) -> PyResult<()> {
        let slot = lock(&self.slots).get(&number).map(Arc::clone);
        let app = self.app()?;
        let Some(slot) = slot.filter(|slot| !slot.conn.get().is_busy()) else {
            app.message.call1(py, (number, serial, payload))?;
            return Ok(());
        };
        if slot.conn.get().is_open()
            && let Err(problem) = slot.callback.call1(py, (&slot.conn, payload))
        {
            app.message_failed.call1(py, (&slot.conn, problem.into_value(py)))?;
        }
        self.link.end(py, serial, &Action::Done { serial });
        Ok(())
    }

    /// Takes the next order, which is neither job nor message.
    fn obey_rare(&self, py: Python<'_>) -> PyResult<()> {
        let Some((kind, payload)) = self.link.next_order(|kind, payload| (kind, payload.to_vec())) else {
            return Ok(());
        };
        let order = Order::read(kind, &payload)
            .map_err(|problem| PyRuntimeError::new_err(format!("the hub is not understood: {problem}")))?;
        let app = self.app()?;
        match order {
            Order::Lead => drop(app.lead.call0(py)?),
            Order::Stop => {
                self.stopping.store(true, Ordering::Relaxed);
                app.stop.call0(py)?;
            }
            Order::Open(open) => {
                if self.link.begin(open.serial) {
                    self.link.script_begins(open.serial);
                    let result = self.open(py, &open);
                    self.link.script_ends();
                    self.check_fork();
                    result?;
                }
            }
            Order::Close { serial, conn, code, reason } => {
                if self.link.begin(serial) {
                    self.link.script_begins(serial);
                    let result = app.close.call1(py, (conn, serial, code, text(py, reason)));
                    self.link.script_ends();
                    self.check_fork();
                    result?;
                }
            }
            Order::Detach { conn } => drop(app.detach.call1(py, (conn,))?),
            Order::Taken { serial, bytes } => {
                if let Some(flow) = self.link.known_flow(serial)
                    && let Some(watcher) = flow.taken(py, bytes as usize)
                {
                    watcher.call0(py)?;
                }
            }
            Order::Gone { serial } => {
                if let Some(watcher) = self.link.known_flow(serial).and_then(|flow| flow.gone(py)) {
                    watcher.call0(py)?;
                }
            }
            Order::Answer { query, json } => self.link.give_answer(query, json),
            Order::Start(_) | Order::Job { .. } | Order::Message { .. } => {}
        }
        Ok(())
    }

    fn open(&self, py: Python<'_>, open: &Open<'_>) -> PyResult<()> {
        // The opening message as a job, which is what requests hold.
        let mut frame = Vec::with_capacity(open.message.len() + open.name.len() + 64);
        let name = String::from_utf8_lossy(open.name);
        encode_job(
            &mut frame,
            open.serial,
            Handler::Route(open.handler),
            &name,
            open.params,
            b"",
            open.message,
        );
        let job = Job::new(Arc::clone(&self.link), open.serial, &frame[FRAME_HEAD..]);
        let request = Bound::new(py, Request::new(Arc::new(job), None))?;
        let rooms = PyList::new(py, open.rooms.map(|room| text(py, room)).collect::<Vec<_>>())?;
        let values: Vec<_> = open.params.map(|value| text(py, &percent::decode(value, false))).collect();
        let arguments = PyTuple::new(
            py,
            [
                open.handler.into_pyobject(py)?.into_any(),
                open.serial.into_pyobject(py)?.into_any(),
                open.conn.into_pyobject(py)?.into_any(),
                open.fresh.into_pyobject(py)?.to_owned().into_any(),
                open.resumed.into_pyobject(py)?.to_owned().into_any(),
                text(py, open.name).into_any(),
                PyString::new(py, open.transport).into_any(),
                text(py, open.data).into_any(),
                rooms.into_any(),
                PyList::new(py, values)?.into_any(),
                request.into_any(),
            ],
        )?;
        self.app()?.open.call1(py, arguments)?;
        Ok(())
    }

    /// The next job for a thread; `None`: no more will come.
    fn next_threaded(&self) -> Option<Arc<Job>> {
        let mut pool = lock(&self.pool);
        loop {
            while let Some(job) = pool.jobs.pop_front() {
                if self.link.begin_any(job.serial) {
                    pool.running.push(job.serial);
                    self.tell_pool(&pool);
                    return Some(job);
                }
                let _ = self.link.flush();
            }
            if pool.ended {
                return None;
            }
            pool.idle += 1;
            pool = self.pool_changed.wait(pool).unwrap_or_else(PoisonError::into_inner);
            pool.idle -= 1;
        }
    }

    fn threaded_ended(&self, serial: u64) {
        let mut pool = lock(&self.pool);
        pool.running.retain(|running| *running != serial);
        self.tell_pool(&pool);
    }

    /// To the hub the worker is inside a script while all threads are: then nothing else can start, and the job
    /// that has run for longest is the one that may hang.
    fn tell_pool(&self, pool: &Pool) {
        let is_full = pool.running.len() == pool.threads;
        self.link.set_full_pool(pool.running.first().copied().filter(|_| is_full));
    }
}
