//! The loop between hub and script.
//!
//! Read what the hub ordered, run it, write what came of it, sleep until there is more or a timer
//! is due. Everything a script does happens in here, one coroutine at a time.

use crate::api::{self, Api};
use crate::load;
use handler_core::worker::link::{self, Actions, Orders, Wake};
use handler_core::worker::protocol::{Action, Handler, Level, Order, ProtocolError, Start};
use mlua::{Function, Lua, MultiValue, Table, Value};
use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Answers that are ready wait at most about this long for others to leave with them.
const FLUSH: Duration = Duration::from_micros(300);

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
    let (mut orders, actions) = link::from_environment()?;
    let actions = Rc::new(RefCell::new(actions));
    let Some(start) = first_order(&mut orders)? else { return Ok(()) };
    Worker::new(start, actions)?.serve(&mut orders)
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
    stop: Function,
    lead: Function,
    job: Function,
    wake: Function,
    run_waiting: Function,
}

struct Worker {
    lua: Lua,
    api: Api,
    runtime: Runtime,
    actions: Rc<RefCell<Actions>>,
    start: Start,
    stopping: bool,
    stop_tasks_started: bool,
}

impl Worker {
    #[allow(unsafe_code, reason = "scripts may use FFI and C modules: a crash costs this process alone")]
    fn new(start: Start, actions: Rc<RefCell<Actions>>) -> Result<Self, WorkerError> {
        // SAFETY: nothing outside this process depends on its memory; what a script breaks with FFI or
        // a C module ends this worker, and the hub replaces it.
        let lua = unsafe { Lua::unsafe_new() };
        if start.memory > 0 {
            lua.set_memory_limit(start.memory)?;
        }
        load::set_search_path(&lua, Path::new(&start.source))?;
        let api = Api::new(&lua, &start, Rc::clone(&actions))?;
        let runtime: Table = api::load_runtime(&lua, &api)?;
        let runtime = Runtime {
            load: runtime.get("load")?,
            start: runtime.get("start")?,
            stop: runtime.get("stop")?,
            lead: runtime.get("lead")?,
            job: runtime.get("job")?,
            wake: runtime.get("wake")?,
            run_waiting: runtime.get("run_waiting")?,
        };
        Ok(Self { lua, api, runtime, actions, start, stopping: false, stop_tasks_started: false })
    }

    fn serve(mut self, orders: &mut Orders) -> Result<(), WorkerError> {
        match load::run(&self.lua, &self.runtime.load, &self.start) {
            Ok(registration) => self.actions.borrow_mut().push(&Action::Ready(registration))?,
            Err(failure) => {
                let mut actions = self.actions.borrow_mut();
                actions.push(&Action::Failed(failure))?;
                actions.flush()?;
                // The hub ends this process when it has read that.
                drop(actions);
                while orders.wait(None)? != Wake::End {
                    while orders.next_order().is_some() {}
                }
                return Ok(());
            }
        }
        self.call(0, &self.runtime.start.clone(), ());
        let mut oldest_unsent = Instant::now();
        loop {
            while let Some((kind, payload)) = orders.next_order() {
                let order = Order::read(kind, payload)?;
                self.obey(order)?;
                if !self.actions.borrow().is_flushed() && oldest_unsent.elapsed() > FLUSH {
                    self.actions.borrow_mut().flush()?;
                    oldest_unsent = Instant::now();
                }
            }
            self.run_timers();
            while self.api.take_work() {
                self.call(0, &self.runtime.run_waiting.clone(), ());
            }
            if self.stopping && self.api.unanswered() == 0 {
                if !self.stop_tasks_started {
                    self.stop_tasks_started = true;
                    self.call(0, &self.runtime.stop.clone(), ());
                }
                if !self.api.has_pending_tasks() {
                    self.actions.borrow_mut().flush()?;
                    return Ok(());
                }
            }
            self.actions.borrow_mut().flush()?;
            if orders.wait(self.api.until_next_timer())? == Wake::End {
                return Ok(());
            }
            oldest_unsent = Instant::now();
        }
    }

    fn obey(&mut self, order: Order<'_>) -> Result<(), WorkerError> {
        match order {
            Order::Start(_) => {}
            Order::Lead => self.call(0, &self.runtime.lead.clone(), ()),
            Order::Stop => {
                self.stopping = true;
                self.api.forget_idle_timers();
            }
            Order::Job { serial, handler, conn, params, message } => {
                if !self.actions.borrow().page().start(serial) {
                    self.actions.borrow_mut().push(&Action::Skipped { serial })?;
                    return Ok(());
                }
                self.api.job_started(serial);
                match self.arguments(serial, handler, conn, params, message) {
                    Ok(arguments) => self.call(serial, &self.runtime.job.clone(), arguments),
                    Err(problem) => self.fail(serial, &problem),
                }
            }
        }
        Ok(())
    }

    fn arguments<'p>(
        &self,
        serial: u64,
        handler: Handler,
        conn: &str,
        params: impl Iterator<Item = &'p [u8]>,
        message: &[u8],
    ) -> mlua::Result<MultiValue> {
        let number = match handler {
            Handler::Route(number) => i64::from(number),
            Handler::NotFound => -1,
            Handler::MethodNotAllowed => -2,
            Handler::Options => -3,
            Handler::Raw => -4,
        };
        let mut arguments = MultiValue::with_capacity(5);
        // Serials stay far below 2^53, so a Lua number holds them exactly.
        arguments.push_back(Value::Number(serial as f64));
        arguments.push_back(Value::Integer(number));
        arguments.push_back(Value::String(self.lua.create_string(message)?));
        arguments.push_back(Value::String(self.lua.create_string(conn)?));
        for value in params {
            let value = handler_core::http::percent::decode(value, false);
            arguments.push_back(Value::String(self.lua.create_string(value)?));
        }
        Ok(arguments)
    }

    fn run_timers(&mut self) {
        while let Some((timer, serial)) = self.api.take_due_timer() {
            self.call(serial, &self.runtime.wake.clone(), timer as f64);
        }
    }

    /// Calls into the runtime, which catches the script's errors itself: what arrives here is out of
    /// memory, or worse.
    fn call(&self, serial: u64, function: &Function, arguments: impl mlua::IntoLuaMulti) {
        self.actions.borrow().page().turn(serial);
        let result = function.call::<()>(arguments);
        self.actions.borrow().page().turn(0);
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
        let log = Action::Log { level: Level::Error, text: text.as_bytes(), fields: b"" };
        let answer = Action::Respond {
            serial,
            status: 500,
            head: b"content-type: text/plain; charset=utf-8\r\n",
            body: b"500 Internal Server Error\n",
        };
        // When the hub is gone the next wait says so.
        let _ = actions.push(&log);
        if self.api.job_ended(serial) {
            let _ = actions.push(&answer);
        }
    }
}
