//! The loop between hub and script.
//!
//! Read what the hub ordered, run it, write what came of it, sleep until there is more or a timer
//! is due. Everything a script does happens in here, one coroutine at a time.

use crate::api::{self, Api, NO_CONN};
use crate::load::{self, progress};
use handler_core::worker::clock::Clock;
use handler_core::worker::link::{self, Actions, Orders, Wake};
use handler_core::worker::protocol::{Action, Level, Order, ProtocolError, Start};
use handler_core::worker::reader::BodyReader;
use mlua::state::{GcIncParams, GcMode};
use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table};
use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Why a worker could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The socket pair failed, or there is none.
    #[error("no connection to the hub: {0}")]
    Link(#[from] io::Error),
    /// The hub is of another version.
    #[error("the hub is not understood: {0}")]
    Protocol(#[from] ProtocolError),
    /// Lua could not be set up.
    #[error("cannot start Lua: {0}")]
    Lua(#[from] mlua::Error),
}

/// Lives a worker's life: from the first order to the end of the hub, or the order to stop.
///
/// # Errors
///
/// [`WorkerError`] when hub or Lua cannot be worked with. A script that does not load is no such
/// error; the hub is told.
pub fn run() -> Result<(), WorkerError> {
    // A hub that is killed takes its workers along, even those inside an endless loop.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(io::Error::from)?;
    let (orders, actions) = link::from_environment()?;
    serve(orders, actions)
}

/// The same for a worker whose hub is at hand: a test, a benchmark.
///
/// # Errors
///
/// As [`run`].
pub fn serve(mut orders: Orders, actions: Actions) -> Result<(), WorkerError> {
    let Some(start) = first_order(&mut orders)? else { return Ok(()) };
    Worker::new(start, orders, actions, Clock::System)?.serve()
}

/// Waits for the order that says what to load; `None`: the hub is gone.
fn first_order(orders: &mut Orders) -> Result<Option<Start>, WorkerError> {
    loop {
        if let Some((kind, payload)) = orders.next_order() {
            if let Order::Start(start) = Order::read(kind, payload)? {
                return Ok(Some(start));
            }
        } else if orders.wait(None)? == Wake::End {
            return Ok(None);
        }
    }
}

/// The functions by which the runtime is driven.
struct Runtime {
    load: Function,
    start: Function,
    stopping: Function,
    work: Function,
    stop: Function,
    lead: Function,
    run_jobs: Function,
    wake: Function,
    run_waiting: Function,
    open: Function,
    close: Function,
    detach: Function,
    broken: Function,
    evaluate: Function,
    taken: Function,
    gone: Function,
}

/// How a worker ends.
#[derive(Debug, Clone, Copy)]
struct Ending {
    /// What still runs is cut off.
    work_ends: Instant,
    /// What stop hooks still do is cut off, somewhat before the hub kills the worker.
    hooks_end: Instant,
    /// The stop hooks have begun.
    hooks_run: bool,
}

/// A worker.
pub(crate) struct Worker {
    lua: Lua,
    api: Api,
    runtime: Runtime,
    orders: Rc<RefCell<Orders>>,
    actions: Rc<RefCell<Actions>>,
    start: Start,
    clock: Clock,
    /// The hub has said stop.
    ending: Option<Ending>,
    /// Little memory is used, so garbage may grow.
    roomy: bool,
}

impl Worker {
    /// Requests leave much garbage and little that lives. While less than this part of the memory limit
    /// is used, it is collected when memory has grown eightfold; beyond, when it has grown by half.
    const ROOMY: usize = 16;

    #[allow(unsafe_code, reason = "scripts may use FFI and C modules: a crash costs this process alone")]
    pub(crate) fn new(
        start: Start,
        orders: Orders,
        actions: Actions,
        clock: Clock,
    ) -> Result<Self, WorkerError> {
        // SAFETY: nothing outside this process depends on its memory; what a script breaks with FFI or
        // a C module ends this worker, and the hub replaces it.
        let lua = unsafe { Lua::unsafe_new() };
        if start.memory > 0 {
            lua.set_memory_limit(start.memory)?;
        }
        load::set_search_path(&lua, Path::new(&start.source))?;
        let (orders, actions) = (Rc::new(RefCell::new(orders)), Rc::new(RefCell::new(actions)));
        let api = Api::new(&lua, &start, Rc::clone(&orders), Rc::clone(&actions), clock.clone())?;
        let runtime: Table = api::load_runtime(&lua, &api)?;
        let runtime = Runtime {
            load: runtime.get("load")?,
            start: runtime.get("start")?,
            stopping: runtime.get("stopping")?,
            work: runtime.get("work")?,
            stop: runtime.get("stop")?,
            lead: runtime.get("lead")?,
            run_jobs: runtime.get("run_jobs")?,
            wake: runtime.get("wake")?,
            run_waiting: runtime.get("run_waiting")?,
            open: runtime.get("open")?,
            close: runtime.get("close")?,
            detach: runtime.get("detach")?,
            broken: runtime.get("broken")?,
            evaluate: runtime.get("evaluate")?,
            taken: runtime.get("taken")?,
            gone: runtime.get("gone")?,
        };
        Ok(Self { lua, api, runtime, orders, actions, start, clock, ending: None, roomy: false })
    }

    fn serve(mut self) -> Result<(), WorkerError> {
        if !self.load()? {
            return self.await_end();
        }
        while self.turn()? {
            if self.orders.borrow_mut().wait(self.until_next())? == Wake::End {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Loads the script and tells the hub what came of it. `false`: it did not load.
    pub(crate) fn load(&mut self) -> Result<bool, WorkerError> {
        progress::watch(&self.lua, &self.actions)?;
        let loaded = load::run(&self.lua, &self.runtime.load, &self.start);
        progress::end(&self.lua, &self.actions);
        let is_loaded = loaded.is_ok();
        let action = match loaded {
            Ok(registration) => Action::Ready(registration),
            Err(failure) => Action::Failed(failure),
        };
        self.actions.borrow_mut().push(&action)?;
        match is_loaded {
            true => self.call(0, &self.runtime.start, ()),
            false => self.actions.borrow_mut().flush()?,
        }
        Ok(is_loaded)
    }

    /// Looks for orders without waiting, and does them and what is due. `false`: the worker has come to its end.
    pub(crate) fn look_and_turn(&mut self) -> Result<bool, WorkerError> {
        self.orders.borrow_mut().wait(Some(Duration::ZERO))?;
        self.turn()
    }

    /// Does what was ordered, and what is due, and sends what came of it. `false`: the worker has come to its end.
    fn turn(&mut self) -> Result<bool, WorkerError> {
        self.tune_collector();
        self.obey_orders()?;
        let (now, last) = (self.clock.now(), self.api.last_timer());
        while let Some((timer, serial)) = self.api.take_due_timer(now, last) {
            self.call(serial, &self.runtime.wake, timer as f64);
        }
        if self.api.take_work() {
            self.call(0, &self.runtime.run_waiting, ());
        }
        let is_over = self.end_if_done();
        self.actions.borrow_mut().flush()?;
        Ok(!is_over)
    }

    /// After a stop: waits for what runs, then runs the stop hooks. `true`: nothing is left to do.
    fn end_if_done(&mut self) -> bool {
        let Some(ending) = self.ending else { return false };
        let now = self.clock.now();
        if !ending.hooks_run {
            let names: Option<Vec<String>> = self.runtime.work.call(()).unwrap_or_default();
            let is_done = names.is_none() && self.api.unanswered() == 0;
            let is_late = now >= ending.work_ends;
            if !is_done && !is_late {
                return false;
            }
            if is_late {
                for name in names.unwrap_or_default() {
                    self.warn(&format!("cut off: {name} did not end within limits.stop_time"));
                }
            }
            self.api.forget_tasks();
            self.ending = Some(Ending { hooks_run: true, ..ending });
            self.call(0, &self.runtime.stop, ());
        }
        if self.api.has_pending_tasks() && now < ending.hooks_end {
            return false;
        }
        if self.api.has_pending_tasks() {
            self.warn("cut off: a stop hook did not end within limits.hook_time");
        }
        true
    }

    fn warn(&self, text: &str) {
        let action = Action::Log { level: Level::Warn, serial: 0, text: text.as_bytes(), fields: b"" };
        // When the hub is gone the next wait says so.
        let _ = self.actions.borrow_mut().push(&action);
    }

    /// How long there is nothing to do unless the hub has something; `None`: for ever.
    pub(crate) fn until_next(&self) -> Option<Duration> {
        let ending = self.ending.map(|ending| {
            let due = if ending.hooks_run { ending.hooks_end } else { ending.work_ends };
            due.saturating_duration_since(self.clock.now())
        });
        [self.api.until_next_timer(), ending].into_iter().flatten().min()
    }

    /// The script did not load: the hub ends this process.
    fn await_end(&self) -> Result<(), WorkerError> {
        let mut orders = self.orders.borrow_mut();
        while orders.wait(None)? != Wake::End {
            while orders.next_order().is_some() {}
        }
        Ok(())
    }

    /// Chooses how much garbage may grow, by how much memory is used.
    fn tune_collector(&mut self) {
        let roomy = self.start.memory == 0 || self.lua.used_memory() < self.start.memory / Self::ROOMY;
        if roomy != self.roomy {
            self.roomy = roomy;
            let pause = if roomy { 800 } else { 150 };
            self.lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(pause)));
        }
    }

    /// Does all that was ordered, in order.
    fn obey_orders(&mut self) -> Result<(), WorkerError> {
        self.api.begin_batch();
        loop {
            let kind = self.orders.borrow().peek_kind();
            match kind {
                None => return Ok(()),
                Some(Order::JOB | Order::MESSAGE) => self.run_jobs(),
                Some(_) => {
                    if let Some((serial, function, arguments)) = self.next_call()? {
                        self.call(serial, &function, arguments);
                    }
                }
            }
        }
    }

    /// Takes the next order, which is no job: what is to be called for it, if anything, and for which job.
    fn next_call(&mut self) -> Result<Option<(u64, Function, MultiValue)>, WorkerError> {
        let orders = Rc::clone(&self.orders);
        let mut orders = orders.borrow_mut();
        let Some((kind, payload)) = orders.next_order() else { return Ok(None) };
        let runtime = &self.runtime;
        let (serial, function, arguments) = match Order::read(kind, payload)? {
            Order::Lead => (0, &runtime.lead, Ok(MultiValue::new())),
            Order::Stop { work, hooks } => {
                let work_ends = self.clock.now() + work;
                self.ending =
                    Some(Ending { work_ends, hooks_end: work_ends + hooks * 4 / 5, hooks_run: false });
                self.api.set_stopping();
                (0, &runtime.stopping, Ok(MultiValue::new()))
            }
            Order::Open(open) => {
                if !self.api.begin(open.serial, open.conn)? {
                    return Ok(None);
                }
                (open.serial, &runtime.open, api::open_arguments(&self.lua, &open))
            }
            Order::Close { serial, conn, code, reason } => {
                if !self.api.begin(serial, conn)? {
                    return Ok(None);
                }
                (serial, &runtime.close, api::close_arguments(&self.lua, serial, conn, code, reason))
            }
            Order::Detach { conn } => (0, &runtime.detach, (conn as f64).into_lua_multi(&self.lua)),
            Order::Answer { query, json } => {
                let Some(serial) = self.api.query_answered(query) else { return Ok(None) };
                (serial, &runtime.wake, self.api.answer_arguments(&self.lua, query, json))
            }
            Order::Evaluate { query, code } => {
                let code = self.lua.create_string(code)?;
                (0, &runtime.evaluate, (query as f64, code).into_lua_multi(&self.lua))
            }
            Order::Part { serial, last, bytes } => {
                let key = self.api.tell_reader(serial, |reader| reader.handle_part(bytes, last));
                let Some(key) = key else { return Ok(None) };
                (serial, &runtime.wake, key.into_lua_multi(&self.lua))
            }
            Order::Grown { serial, whole, size } => {
                let key = self.api.tell_reader(serial, |reader| reader.handle_grown(size, whole));
                let Some(key) = key else { return Ok(None) };
                (serial, &runtime.wake, key.into_lua_multi(&self.lua))
            }
            Order::Taken { serial, bytes } => {
                if self.api.file_taken(serial, bytes) || !self.api.is_begun(serial) {
                    return Ok(None);
                }
                (serial, &runtime.taken, (serial as f64, bytes).into_lua_multi(&self.lua))
            }
            Order::Gone { serial } => {
                if let Some(key) = self.api.tell_reader(serial, BodyReader::handle_gone) {
                    (serial, &runtime.wake, key.into_lua_multi(&self.lua))
                } else if self.api.file_gone(serial) || !self.api.is_begun(serial) {
                    return Ok(None);
                } else {
                    (serial, &runtime.gone, (serial as f64).into_lua_multi(&self.lua))
                }
            }
            Order::Start(_) | Order::Job { .. } | Order::Message { .. } => return Ok(None),
        };
        match arguments {
            Ok(arguments) => Ok(Some((serial, function.clone(), arguments))),
            Err(problem) => {
                self.fail(serial, &problem);
                Ok(None)
            }
        }
    }

    /// Lets the runtime take jobs and messages until the next order is neither.
    fn run_jobs(&self) {
        if let Err(problem) = self.runtime.run_jobs.call::<()>(()) {
            let serial = self.api.running();
            self.api.set_running(0);
            self.fail(serial, &problem);
        }
    }

    /// Calls into the runtime, which catches the script's errors itself: what arrives here is out of
    /// memory, or worse.
    fn call(&self, serial: u64, function: &Function, arguments: impl IntoLuaMulti) {
        self.api.set_running(serial);
        let result = function.call::<()>(arguments);
        let serial = self.api.running();
        self.api.set_running(0);
        if let Err(problem) = result {
            self.fail(serial, &problem);
        }
    }

    fn fail(&self, serial: u64, problem: &mlua::Error) {
        let text = match problem {
            mlua::Error::MemoryError(_) => {
                "the worker is out of memory; limits.worker_memory says how much it may use".to_owned()
            }
            other => other.to_string(),
        };
        let _ = self.lua.gc_collect();
        let mut actions = self.actions.borrow_mut();
        let log = Action::Log { level: Level::Error, serial, text: text.as_bytes(), fields: b"" };
        let answer = Action::Respond {
            serial,
            status: 500,
            head: b"Content-Type: text/plain; charset=utf-8\r\n",
            body: b"500 Internal Server Error\n",
        };
        // When the hub is gone the next wait says so.
        let _ = actions.push(&log);
        match self.api.job_ended(serial) {
            None => {}
            Some(NO_CONN) if self.api.is_begun(serial) => {
                let _ = actions.push(&Action::Abort { serial });
            }
            Some(NO_CONN) => {
                let _ = actions.push(&answer);
            }
            Some(conn) => {
                let _ = actions.push(&Action::CloseConn { conn, code: 1011, reason: b"internal error" });
                let _ = actions.push(&Action::Done { serial });
                drop(actions);
                // It may fail in the same way; the log has why.
                let _ = self.runtime.broken.call::<()>(conn as f64);
            }
        }
    }
}
