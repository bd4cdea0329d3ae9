//! What a worker consists of: its link, its app, its threads, and how far its end has come.

use crate::link::Link;
use crate::link::form_files::FormFiles;
use crate::live::conn::Wire;
use crate::worker::app::App;
use crate::worker::pool::Pool;
use handler_core::worker::protocol::Start;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A connection whose messages are answered by a plain callback.
pub(crate) struct Slot {
    pub(crate) conn: Py<Wire>,
    pub(crate) callback: Py<PyAny>,
}

/// What the threads of a worker share.
pub(crate) struct WorkerState {
    pub(crate) link: Arc<Link>,
    /// What the hub said first.
    pub(crate) start: Start,
    app: OnceLock<App>,
    slots: Mutex<FxHashMap<u64, Arc<Slot>>>,
    pub(crate) pool: Pool,
    /// The package wants its event loop to run.
    pub(crate) wants_loop: AtomicBool,
    pub(crate) stopping: AtomicBool,
    /// When the time of its work is over, and how long stop hooks may take after that.
    ending: OnceLock<(Instant, Duration)>,
    /// What ended a thread's reading.
    problem: Mutex<Option<PyErr>>,
}

/// The hub cannot be reached.
pub(crate) fn os_error(problem: &std::io::Error) -> PyErr {
    PyOSError::new_err(format!("no connection to the hub: {problem}"))
}

impl WorkerState {
    pub(crate) fn new(link: Arc<Link>, start: Start) -> Self {
        link.set_memory(start.memory);
        link.set_form_files(FormFiles::new(&start.form, &start.scratch));
        Self {
            link,
            start,
            app: OnceLock::new(),
            slots: Mutex::default(),
            pool: Pool::default(),
            wants_loop: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            ending: OnceLock::new(),
            problem: Mutex::default(),
        }
    }

    /// What the script registered.
    pub(crate) fn app(&self) -> PyResult<&App> {
        self.app.get().ok_or_else(|| PyRuntimeError::new_err("the app is not loaded yet"))
    }

    /// The app is loaded.
    pub(crate) fn set_app(&self, app: App) -> PyResult<()> {
        self.app.set(app).map_err(|_| PyRuntimeError::new_err("a worker is ready once"))
    }

    /// Whether the app is loaded.
    pub(crate) fn is_ready(&self) -> bool {
        self.app.get().is_some()
    }

    /// Sends what was pushed.
    pub(crate) fn flush(&self) -> PyResult<()> {
        self.link.flush().map_err(|problem| os_error(&problem))
    }

    /// A child that a handler forked and that came back here is no worker: it ends without a word.
    pub(crate) fn check_fork(&self) {
        if self.link.is_forked() {
            std::process::exit(0);
        }
    }

    // Its end.

    /// The hub has said stop.
    pub(crate) fn set_stopping(&self, work: Duration, hooks: Duration) {
        let _ = self.ending.set((Instant::now() + work, hooks));
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether after a stop no job is left, neither unanswered nor in a thread.
    pub(crate) fn is_over(&self) -> bool {
        self.stopping.load(Ordering::Relaxed) && self.link.unanswered() == 0 && self.pool.is_empty()
    }

    /// Whether the time of what ran at the stop is over.
    pub(crate) fn is_late(&self) -> bool {
        self.ending.get().is_some_and(|(work_ends, _)| Instant::now() >= *work_ends)
    }

    /// After a stop: how much time is left for what runs, and how much stop hooks have after that.
    pub(crate) fn times_left(&self) -> (Duration, Duration) {
        let (work_ends, hooks) = self.ending.get().copied().unwrap_or((Instant::now(), Duration::ZERO));
        (work_ends.saturating_duration_since(Instant::now()), hooks)
    }

    /// What a thread found when it read, which the main thread has to know.
    pub(crate) fn set_problem(&self, problem: PyErr) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
        self.pool.stir();
    }

    pub(crate) fn take_problem(&self) -> Option<PyErr> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    // Connections.

    fn slots(&self) -> MutexGuard<'_, FxHashMap<u64, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on messages of this connection are `callback(conn, message)`.
    pub(crate) fn adopt(&self, conn: Py<Wire>, callback: Py<PyAny>) {
        let number = conn.get().number;
        self.slots().insert(number, Arc::new(Slot { conn, callback }));
    }

    /// The connection has ended, or is another worker's.
    pub(crate) fn forget_conn(&self, number: u64) {
        self.slots().remove(&number);
    }

    /// The plain callback for a connection's messages, if it has one.
    pub(crate) fn slot(&self, number: u64) -> Option<Arc<Slot>> {
        self.slots().get(&number).map(Arc::clone)
    }
}
