//! The worker as Kennel's own Python code drives it: what it was told to load, its loop, its end.

mod app;
mod orders;
mod pool;
pub(crate) mod questions;
pub(crate) mod routes;
mod state;
mod threads;

use crate::http::response::{self, Sent};
use crate::http::session::{self, SessionOptions};
use crate::http::stream::PyJob;
use crate::link::{Link, PyLink};
use crate::live::conn::Wire;
use crate::worker::app::{App, Given, GivenPage};
use crate::worker::orders::not_understood;
use crate::worker::state::{WorkerState, os_error};
use handler_core::sessions::Jar;
use handler_core::templates::Templates;
use handler_core::worker::link::{self, Wake};
use handler_core::worker::page::STANDING;
use handler_core::worker::protocol::{Action, LoadFailure, Order, Start};
use handler_core::worker::surroundings::unix_time;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// This process's part as a worker of Kennel.
#[pyclass(frozen, module = "kennel._native")]
pub(crate) struct Worker {
    state: WorkerState,
    pub(crate) templates: Templates,
    /// Stop hooks that have not ended.
    held: AtomicUsize,
}

impl Worker {
    pub(crate) fn new(link: Arc<Link>, start: Start) -> Self {
        let templates = Templates::beside(&start.source, start.dev);
        Self { state: WorkerState::new(link, start), templates, held: AtomicUsize::new(0) }
    }
}

impl Deref for Worker {
    type Target = WorkerState;

    fn deref(&self) -> &WorkerState {
        &self.state
    }
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
                Err(problem) => Err(not_understood(&problem)),
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

    /// The way to the hub, for what needs no more of a worker.
    #[getter]
    fn link(&self) -> PyLink {
        PyLink(Arc::clone(&self.link))
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

    /// Seconds that the script may take to load; 0: any.
    #[getter]
    fn load_time(&self) -> f64 {
        self.start.load_time
    }

    /// Where in its page, the second descriptor of `KENNEL_WORKER`, a worker writes where its script stands.
    #[classattr]
    const STANDING: usize = STANDING;

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
        handlers: Vec<Given>,
        pages: [GivenPage; 3],
        runtime: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let app = App::new(handlers, pages, runtime)?;
        let registration = serde_json::from_str(registration)
            .map_err(|problem| PyValueError::new_err(format!("no registration: {problem}")))?;
        self.set_app(app)?;
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
    /// loop (`True`). `all_in_threads`: nothing that the hub orders runs in this thread.
    fn run(&self, py: Python<'_>, all_in_threads: bool) -> PyResult<bool> {
        match all_in_threads {
            true => self.watch_threads(py),
            false => self.serve_here(py),
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
        self.pool.stir();
    }

    /// `ask()` is called when something was pushed outside of a turn: it sees to it that `flush` is called soon.
    /// `wake()` is called in any thread when, after a stop, one has ended what it did.
    fn set_flush_soon(&self, ask: Py<PyAny>, wake: Py<PyAny>) {
        self.link.set_flush_soon(ask, wake);
    }

    /// Sends what was pushed.
    fn flush(&self) -> PyResult<()> {
        self.state.flush()
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

    /// A stop waits for one hook more.
    fn hold(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    /// And for one less.
    fn release(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether stop hooks have not ended.
    #[getter]
    fn held(&self) -> bool {
        self.held.load(Ordering::Relaxed) > 0
    }

    /// Whether after a stop no job is left, neither unanswered nor in a thread.
    fn is_over(&self) -> bool {
        self.state.is_over()
    }

    /// Whether the time of what ran at the stop is over.
    fn is_late(&self) -> bool {
        self.state.is_late()
    }

    /// After a stop: how many seconds are left for what runs, and how many stop hooks have after that.
    fn times_left(&self) -> (f64, f64) {
        let (work, hooks) = self.state.times_left();
        (work.as_secs_f64(), hooks.as_secs_f64())
    }

    /// Jobs that are answered and that a thread still works on, as `GET /path`.
    fn busy_threads(&self) -> Vec<String> {
        let running = self.pool.running().into_iter();
        running.filter(|job| !self.link.is_unanswered(job.serial)).map(|job| job.title()).collect()
    }

    /// Whether the hub has said stop.
    #[getter]
    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A script begins to run for a job, or for nobody (0), in the loop's thread.
    pub(crate) fn step(&self, serial: u64) {
        self.link.script_begins(serial);
    }

    /// It ends to.
    pub(crate) fn step_end(&self) {
        self.link.script_ends();
        self.check_fork();
    }

    /// An event loop wakes up: until it sleeps again scripts may run in it that nobody announces.
    fn wakes(&self) {
        self.link.set_loop_awake(true);
    }

    /// It goes to sleep. Says whether jobs wait for a thread: then it is to wake up soon and show that it is alive.
    fn sleeps(&self) -> bool {
        self.check_fork();
        self.link.set_loop_awake(false);
        let jobs_wait = !self.pool.is_empty();
        if jobs_wait {
            self.link.show_alive();
        }
        jobs_wait
    }

    /// Says how the app keeps its sessions, before it is ready.
    fn set_session_options(&self, options: &Bound<'_, SessionOptions>) {
        self.link.set_jar(Jar::new(&self.start.keys, options.get().of_mount(&self.start.mount)));
    }

    /// Signs JSON.
    fn sign(&self, json: &str) -> PyResult<String> {
        self.link.jar().sign(json, unix_time()).map_err(|problem| session::error(&problem))
    }

    /// The JSON that was signed, at most so many seconds ago; `None`: it was not, or too long ago.
    #[pyo3(signature = (text, max_age))]
    fn unsign(&self, text: &str, max_age: Option<u64>) -> Option<String> {
        self.link.jar().unsign(text.as_bytes(), max_age, unix_time()).ok()
    }

    /// Answers with what a handler returned, when it is one of the plain values: `True`.
    fn send(&self, py: Python<'_>, job: &PyJob, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let app = self.app()?;
        Ok(response::send(py, job.job(), value, &app.to_json, app.compress)? == Sent::Yes)
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
        self.state.adopt(conn, callback);
    }

    /// The connection has ended, or is another worker's.
    fn forget_conn(&self, number: u64) {
        self.state.forget_conn(number);
    }

    /// The life of a thread of the pool: runs jobs until the process ends.
    fn serve_thread(&self, py: Python<'_>) -> PyResult<()> {
        self.run_duties(py)
    }
}
