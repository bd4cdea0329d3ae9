//! The worker's end of the socket pair, shared by all objects that scripts hold.
//!
//! One thread at a time reads orders: the one that runs the loop, unless it has given its turn away. Any thread may
//! push actions and ask the hub something.

pub(crate) mod downloads;
pub(crate) mod flow;
pub(crate) mod form_files;
pub(crate) mod job;
mod pulse;
#[cfg(test)]
pub(crate) mod test_hub;
#[cfg(test)]
mod tests;

use downloads::Downloads;
use flow::Flow;
use form_files::FormFiles;
use handler_core::sessions::{Jar, Keys, Options};
use handler_core::worker::link::{Actions, Orders, Wake};
use handler_core::worker::page::Page;
use handler_core::worker::protocol::{Action, Order, Question};
use pulse::Pulse;
use pyo3::prelude::*;
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// Answers that are ready wait at most about this long for others to leave with them.
const FLUSH: Duration = Duration::from_micros(300);

/// Both directions, and which jobs are not answered yet.
pub(crate) struct Link {
    orders: Mutex<Orders>,
    out: Mutex<Out>,
    /// Answers of the hub to questions of other threads than the loop's; `None` while one waits.
    answers: Mutex<FxHashMap<u64, Option<Vec<u8>>>>,
    answered: Condvar,
    /// Files that are on their way to clients.
    pub(crate) downloads: Downloads,
    /// The descriptors of both directions.
    descriptors: [i32; 2],
    loop_thread: ThreadId,
    /// Some thread has the turn to read orders.
    has_reader: AtomicBool,
    /// The loop's thread watches the others, and sends what they have not.
    is_watched: AtomicBool,
    /// The hub is gone.
    ended: AtomicBool,
    /// The loop is at work and will flush.
    in_turn: AtomicBool,
    /// Asks the event loop to flush soon.
    flush_soon: OnceLock<Py<PyAny>>,
    /// Wakes the event loop from another thread, after a stop.
    wake: OnceLock<Py<PyAny>>,
    /// What scripts may use, bytes; 0: any.
    memory: AtomicUsize,
    /// What the app signs with.
    jar: OnceLock<Jar>,
    /// Files of forms, from the start on.
    form_files: OnceLock<FormFiles>,
    /// This process is a child of the worker: it must not speak for it.
    forked: AtomicBool,
}

struct Out {
    actions: Actions,
    /// Jobs that were started and not answered, by their serials, with the flow of those that may be streamed.
    jobs: FxHashMap<u64, Option<Arc<Flow>>>,
    pulse: Pulse,
    unsent_since: Instant,
    flush_asked: bool,
    last_query: u64,
}

thread_local! {
    /// The serial of the job whose script runs in this thread: what it prints belongs to that.
    static RUNNING: Cell<u64> = const { Cell::new(0) };
    /// This thread flushes when it has nothing else to do.
    static FLUSHES: Cell<bool> = const { Cell::new(false) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held has been reported where it happened.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(crate) fn new(orders: Orders, actions: Actions) -> Self {
        let descriptors = [orders.descriptor(), actions.descriptor()];
        let out = Out {
            actions,
            jobs: FxHashMap::default(),
            pulse: Pulse::default(),
            unsent_since: Instant::now(),
            flush_asked: false,
            last_query: 0,
        };
        Self {
            orders: Mutex::new(orders),
            out: Mutex::new(out),
            answers: Mutex::default(),
            answered: Condvar::new(),
            downloads: Downloads::default(),
            descriptors,
            loop_thread: std::thread::current().id(),
            has_reader: AtomicBool::new(true),
            is_watched: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            in_turn: AtomicBool::new(false),
            flush_soon: OnceLock::new(),
            wake: OnceLock::new(),
            memory: AtomicUsize::new(0),
            jar: OnceLock::new(),
            form_files: OnceLock::new(),
            forked: AtomicBool::new(false),
        }
    }

    /// Says how the loop is asked to flush when an action comes outside of its turns, and how another thread wakes it.
    pub(crate) fn set_flush_soon(&self, function: Py<PyAny>, wake: Py<PyAny>) {
        let _ = self.flush_soon.set(function);
        let _ = self.wake.set(wake);
    }

    /// Lets the event loop look whether all is done, from whatever thread.
    pub(crate) fn wake_loop(&self, py: Python<'_>) {
        if let Some(wake) = self.wake.get() {
            // A loop that is closed already needs no more.
            let _ = wake.call0(py);
        }
    }

    /// What scripts may use, bytes; 0: any.
    pub(crate) fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    pub(crate) fn set_memory(&self, bytes: usize) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    /// What the app signs with; nothing, when its interface has no sessions.
    pub(crate) fn jar(&self) -> &Jar {
        self.jar.get_or_init(|| Jar::new(&Keys::default(), Options::of_mount("/")))
    }

    /// Before the first job.
    pub(crate) fn set_jar(&self, jar: Jar) {
        let _ = self.jar.set(jar);
    }

    /// Files of forms, and the limits of forms.
    pub(crate) fn form_files(&self) -> &FormFiles {
        self.form_files.get_or_init(FormFiles::default)
    }

    pub(crate) fn set_form_files(&self, files: FormFiles) {
        let _ = self.form_files.set(files);
    }

    /// This process was forked off a worker and is none.
    pub(crate) fn forget(&self) {
        self.forked.store(true, Ordering::Relaxed);
    }

    pub(crate) fn descriptors(&self) -> [i32; 2] {
        self.descriptors
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.forked.load(Ordering::Relaxed)
    }

    /// Whether this thread runs the loop.
    pub(crate) fn is_loop_thread(&self) -> bool {
        std::thread::current().id() == self.loop_thread
    }

    /// The loop begins or ends a turn: what is pushed in one leaves at its end.
    pub(crate) fn set_in_turn(&self, yes: bool) {
        self.in_turn.store(yes, Ordering::Relaxed);
    }

    /// Takes the turn to read orders, if nobody has it.
    pub(crate) fn take_turn(&self) -> bool {
        !self.has_reader.swap(true, Ordering::Acquire)
    }

    /// Gives the turn back.
    pub(crate) fn end_turn(&self) {
        self.has_reader.store(false, Ordering::Release);
    }

    /// Whether some thread has the turn to read.
    pub(crate) fn has_reader(&self) -> bool {
        self.has_reader.load(Ordering::Relaxed)
    }

    /// Takes the turn as soon as nobody has it. For the end of a mode: it looks from time to time.
    pub(crate) fn await_turn(&self) {
        while !self.take_turn() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether the hub is known to be gone.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Waits for orders. Called by whoever has the turn.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Wake> {
        let wake = lock(&self.orders).wait(timeout)?;
        if wake == Wake::End {
            self.ended.store(true, Ordering::Relaxed);
        }
        Ok(wake)
    }

    /// The loop's thread begins to watch the others, or ends.
    pub(crate) fn set_watched(&self, yes: bool) {
        self.is_watched.store(yes, Ordering::Relaxed);
    }

    /// This thread flushes when it has nothing else to do: answers of jobs that it ends wait for that, or for the watch.
    pub(crate) fn flush_when_done() {
        FLUSHES.set(true);
    }

    /// Hands the next whole order to `read`, which must not call scripts.
    pub(crate) fn next_order<T>(&self, read: impl FnOnce(u8, &[u8]) -> T) -> Option<T> {
        let mut orders = lock(&self.orders);
        let (kind, payload) = orders.next_order()?;
        Some(read(kind, payload))
    }

    /// Pushes an action, which leaves at the end of the loop's turn. When the hub is gone the loop's next wait
    /// says so.
    pub(crate) fn push(&self, py: Python<'_>, action: &Action<'_>) {
        if self.is_forked() {
            return;
        }
        let mut out = lock(&self.out);
        let _ = out.actions.push(action);
        self.leave(py, out);
    }

    /// Sees to it that what was pushed leaves in time.
    fn leave(&self, py: Python<'_>, mut out: MutexGuard<'_, Out>) {
        if !self.is_loop_thread() {
            let _ = out.actions.flush();
        } else if !self.in_turn.load(Ordering::Relaxed) && !out.flush_asked {
            let Some(ask) = self.flush_soon.get() else { return };
            out.flush_asked = true;
            drop(out);
            // A loop that is closed already was flushed for the last time.
            let _ = ask.call0(py);
        }
    }

    /// Writes what was pushed.
    pub(crate) fn flush(&self) -> io::Result<()> {
        if self.is_forked() {
            return Ok(());
        }
        let mut out = lock(&self.out);
        out.flush_asked = false;
        out.unsent_since = Instant::now();
        out.actions.flush()
    }

    /// Says in the page that a job starts, and that a script runs for it. `false`: the hub has taken it back, and
    /// is told that it did not start.
    pub(crate) fn begin(&self, serial: u64) -> bool {
        let mut out = lock(&self.out);
        if !out.actions.is_flushed() && out.unsent_since.elapsed() > FLUSH {
            let _ = out.actions.flush();
            out.unsent_since = Instant::now();
        }
        if !out.actions.page().start(serial) {
            let _ = out.actions.push(&Action::Skipped { serial });
            return false;
        }
        out.jobs.insert(serial, None);
        true
    }

    /// The same for a job that a thread takes, perhaps out of order.
    pub(crate) fn begin_any(&self, serial: u64) -> bool {
        let mut out = lock(&self.out);
        if !out.actions.page().start_any(serial) {
            let _ = out.actions.push(&Action::Skipped { serial });
            return false;
        }
        out.jobs.insert(serial, None);
        true
    }

    /// A script begins to run in the loop's thread for a job (0: for nobody).
    pub(crate) fn script_begins(&self, serial: u64) {
        RUNNING.set(serial);
        self.pulse(|pulse, page| pulse.set_script(page, Some(serial)));
    }

    /// It ends to.
    pub(crate) fn script_ends(&self) {
        RUNNING.set(0);
        self.pulse(|pulse, page| pulse.set_script(page, None));
    }

    /// This thread of the pool begins a job, or has ended it (0).
    pub(crate) fn set_running(serial: u64) {
        RUNNING.set(serial);
    }

    /// The job whose script runs in this thread, 0 for nobody's.
    pub(crate) fn running() -> u64 {
        RUNNING.get()
    }

    /// An event loop wakes up, or goes to sleep.
    pub(crate) fn set_loop_awake(&self, awake: bool) {
        self.pulse(|pulse, page| pulse.set_loop_awake(page, awake));
    }

    /// All threads of the pool are busy, with this job for longest; or some are free.
    pub(crate) fn set_full_pool(&self, oldest: Option<u64>) {
        self.pulse(|pulse, page| pulse.set_full_pool(page, oldest));
    }

    /// What is at work does not hang, though no script ends or begins meanwhile.
    pub(crate) fn beat(&self) {
        self.pulse(Pulse::beat);
    }

    /// Shows that the worker is alive while jobs wait for a thread.
    pub(crate) fn show_alive(&self) {
        self.pulse(Pulse::show_alive);
    }

    /// Waits in a thread of the pool for a client, which may take its time.
    pub(crate) fn wait_for_client<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.pulse(|pulse, page| pulse.begin_waiting(page));
        let waited = wait();
        self.pulse(|pulse, page| pulse.end_waiting(page));
        waited
    }

    fn pulse(&self, change: impl FnOnce(&mut Pulse, &Page)) {
        if !self.is_forked() {
            let out = &mut *lock(&self.out);
            change(&mut out.pulse, out.actions.page());
        }
    }

    /// Ends a job with the action that answers it; `false` when it has ended already.
    pub(crate) fn end(&self, py: Python<'_>, serial: u64, action: &Action<'_>) -> bool {
        if self.is_forked() {
            return false;
        }
        let mut out = lock(&self.out);
        if out.jobs.remove(&serial).is_none() {
            return false;
        }
        if let Some(files) = self.form_files.get() {
            files.forget(serial);
        }
        let _ = out.actions.push(action);
        if !(FLUSHES.get() && self.is_watched.load(Ordering::Relaxed)) {
            self.leave(py, out);
        }
        true
    }

    /// Pushes an action for a job that goes on; `false` when it has ended already.
    pub(crate) fn push_for(&self, py: Python<'_>, serial: u64, action: &Action<'_>) -> bool {
        if self.is_forked() {
            return false;
        }
        let mut out = lock(&self.out);
        if !out.jobs.contains_key(&serial) {
            return false;
        }
        let _ = out.actions.push(action);
        self.leave(py, out);
        true
    }

    /// The flow of a job's answer, which begins with the first call. Of a job that has ended it leads nowhere.
    pub(crate) fn flow(&self, serial: u64) -> Arc<Flow> {
        match lock(&self.out).jobs.get_mut(&serial) {
            Some(flow) => Arc::clone(flow.get_or_insert_default()),
            None => Arc::default(),
        }
    }

    /// The flow of a job's answer, if there is one already.
    pub(crate) fn known_flow(&self, serial: u64) -> Option<Arc<Flow>> {
        lock(&self.out).jobs.get(&serial).cloned().flatten()
    }

    /// Whether a job was started and not answered.
    pub(crate) fn is_unanswered(&self, serial: u64) -> bool {
        lock(&self.out).jobs.contains_key(&serial)
    }

    /// How many jobs were started and not answered.
    pub(crate) fn unanswered(&self) -> usize {
        lock(&self.out).jobs.len()
    }

    /// Asks the hub and waits for its answer, JSON; `None`: the hub is gone. The hub runs no scripts, so it
    /// answers within one turn of its loop.
    pub(crate) fn ask(
        &self,
        py: Python<'_>,
        question: Question,
        subject: &[u8],
    ) -> io::Result<Option<Vec<u8>>> {
        if self.is_forked() {
            return Ok(None);
        }
        let query = {
            let mut out = lock(&self.out);
            out.last_query += 1;
            let query = out.last_query;
            lock(&self.answers).insert(query, None);
            out.actions.push(&Action::Query { query, question, subject })?;
            out.actions.flush()?;
            query
        };
        py.detach(|| {
            if self.is_loop_thread() {
                return self.read_answer(query);
            }
            if self.take_turn() {
                let answer = self.read_answer(query);
                self.end_turn();
                return answer;
            }
            Ok(self.await_answer(query))
        })
    }

    /// Reads on until the answer is there; other orders wait for whoever reads next.
    fn read_answer(&self, query: u64) -> io::Result<Option<Vec<u8>>> {
        let mut orders = lock(&self.orders);
        loop {
            let end = orders.wait(None)? == Wake::End;
            while let Some((found, json)) = orders.take_answer() {
                if found == query {
                    lock(&self.answers).remove(&query);
                    return Ok(Some(json));
                }
                self.give_answer(found, &json);
            }
            if end {
                return Ok(None);
            }
        }
    }

    fn await_answer(&self, query: u64) -> Option<Vec<u8>> {
        let mut answers = lock(&self.answers);
        loop {
            if let Some(Some(_)) = answers.get(&query) {
                return answers.remove(&query).flatten();
            }
            answers = self.answered.wait(answers).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// An answer came in between other orders.
    pub(crate) fn give_answer(&self, query: u64, json: &[u8]) {
        if let Some(place) = lock(&self.answers).get_mut(&query) {
            *place = Some(json.to_vec());
            self.answered.notify_all();
        }
    }

    /// The kind of the next whole order.
    pub(crate) fn peek_kind(&self) -> Option<u8> {
        lock(&self.orders).peek_kind()
    }

    /// The descriptor that becomes readable when the hub has something.
    pub(crate) fn descriptor(&self) -> i32 {
        self.descriptors[0]
    }
}

/// A worker's link, as the package hands it to what needs no more of the worker.
#[pyclass(frozen, name = "Link", module = "kennel._native")]
pub(crate) struct PyLink(pub(crate) Arc<Link>);

/// Whether an order is one of the many: a job, or a message of a live connection.
pub(crate) fn is_work(kind: u8) -> bool {
    matches!(kind, Order::JOB | Order::MESSAGE)
}
