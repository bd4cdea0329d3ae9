//! What scripts can call, and the state behind it.
//!
//! The functions here are the runtime's (`runtime/**.lua`), which gives them their names and their
//! manners; none is called by a script directly. They return a problem as text instead of raising
//! it, so that the runtime can raise it at the script's line.

mod fast_path;
mod http;
mod jobs;
mod json;
mod live;
mod log;
mod questions;
mod routes;
mod suggest;
mod timers;

pub(crate) use live::{close_arguments, open_arguments};

use crate::convert;
use crate::traceback::RUNTIME_CHUNK;
use handler_core::hub::routes::Routes;
use handler_core::worker::clock::Clock;
use handler_core::worker::files::Download;
use handler_core::worker::link::{Actions, Orders};
use handler_core::worker::protocol::{Action, Order, Start};
use handler_core::worker::reader::BodyReader;
use handler_core::worker::sent_file::Scratch;
use mlua::{Lua, Table, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use timers::Timers;

/// In place of a connection's number: the job is about none.
pub(crate) const NO_CONN: u64 = 0;

/// What the functions share.
struct State {
    orders: Rc<RefCell<Orders>>,
    actions: Rc<RefCell<Actions>>,
    /// The serial of the job whose script runs, 0 for none.
    running: Cell<u64>,
    /// When the oldest answer that was not sent may have been given.
    unsent_since: Cell<Instant>,
    /// Where in the buffer of orders the jobs of the last batch begin and end.
    batch: Cell<(usize, usize)>,
    timers: RefCell<Timers>,
    /// The time by which scripts sleep.
    clock: Clock,
    /// Serials of jobs that were started and not answered, each with the live connection that it is about.
    jobs: RefCell<FxHashMap<u64, u64>>,
    /// Bodies of jobs that scripts read in pieces, by the jobs' serials.
    readers: RefCell<FxHashMap<u64, BodyReader>>,
    /// Queries that the hub has not answered, each with the job that waits for it, 0 for none.
    queries: RefCell<FxHashMap<u64, u64>>,
    last_query: Cell<u64>,
    /// Files that are on their way to clients, by the serials of their jobs.
    downloads: RefCell<FxHashMap<u64, Download>>,
    /// Serials of jobs whose answer comes in pieces and has begun.
    begun: RefCell<FxHashSet<u64>>,
    routes: RefCell<Routes>,
    channels: RefCell<Routes>,
    stopping: Cell<bool>,
    /// Files of forms of which scripts asked for a path.
    scratch: RefCell<Scratch>,
    start: Start,
    jar: http::LazyJar,
    array: Table,
}

impl State {
    /// Ends a job, with all that was kept for as long as it lasts: the live connection that it was about, or
    /// [`NO_CONN`]; `None` when it has ended already.
    fn end_job(&self, serial: u64) -> Option<u64> {
        let mut scratch = self.scratch.borrow_mut();
        if !scratch.is_empty() {
            scratch.forget(serial);
        }
        let mut readers = self.readers.borrow_mut();
        if !readers.is_empty() {
            readers.remove(&serial);
        }
        self.jobs.borrow_mut().remove(&serial)
    }

    /// Pushes an action. When the hub is gone the loop's next wait ends this process.
    fn push(&self, action: &Action<'_>) {
        let _ = self.actions.borrow_mut().push(action);
    }
}

/// The native half of the runtime.
pub(crate) struct Api {
    state: Rc<State>,
    native: Table,
}

impl Api {
    pub(crate) fn new(
        lua: &Lua,
        start: &Start,
        orders: Rc<RefCell<Orders>>,
        actions: Rc<RefCell<Actions>>,
        clock: Clock,
    ) -> mlua::Result<Self> {
        let array = lua.create_table()?;
        let state = Rc::new(State {
            orders,
            actions,
            running: Cell::new(0),
            unsent_since: Cell::new(Instant::now()),
            batch: Cell::default(),
            timers: RefCell::default(),
            clock,
            jobs: RefCell::default(),
            readers: RefCell::default(),
            queries: RefCell::default(),
            last_query: Cell::default(),
            downloads: RefCell::default(),
            begun: RefCell::default(),
            routes: RefCell::default(),
            channels: RefCell::default(),
            stopping: Cell::default(),
            scratch: RefCell::new(Scratch::new(&start.scratch)),
            start: start.clone(),
            jar: http::LazyJar::default(),
            array: array.clone(),
        });
        let native = lua.create_table()?;
        native.set("null", Value::NULL)?;
        native.set("config", convert::to_lua(lua, &start.config, &array)?)?;
        native.set("array", array)?;
        native.set("worker", start.number)?;
        native.set("conversations", start.conversations)?;
        native.set("conversations_per_address", start.conversations_per_address)?;
        fast_path::register(lua, &native, &state)?;
        http::register(lua, &native, &state)?;
        jobs::register(lua, &native, &state)?;
        json::register(lua, &native, &state)?;
        live::register(lua, &native, &state)?;
        log::register(lua, &native, &state)?;
        questions::register(lua, &native, &state)?;
        routes::register(lua, &native, &state)?;
        suggest::register(lua, &native)?;
        timers::register(lua, &native, &state)?;
        Ok(Self { state, native })
    }

    /// The serial of the job whose script runs, 0 for none.
    pub(crate) fn running(&self) -> u64 {
        self.state.running.get()
    }

    /// A script begins to run for a job (0: for nobody), or ends to.
    pub(crate) fn set_running(&self, serial: u64) {
        self.state.set_running(serial);
    }

    /// New orders were read; everything given so far is sent, or about to be.
    pub(crate) fn begin_batch(&self) {
        self.state.batch.set((0, 0));
        self.state.unsent_since.set(Instant::now());
    }

    /// Ends a job that was still unanswered: the live connection that it was about, or [`NO_CONN`].
    pub(crate) fn job_ended(&self, serial: u64) -> Option<u64> {
        self.state.end_job(serial)
    }

    /// The hub says something about the body of a job: the key by which whoever reads it is woken.
    pub(crate) fn tell_reader(&self, serial: u64, tell: impl FnOnce(&mut BodyReader)) -> Option<String> {
        self.state.tell_reader(serial, tell)
    }

    pub(crate) fn unanswered(&self) -> usize {
        self.state.jobs.borrow().len()
    }

    pub(crate) fn take_work(&self) -> bool {
        self.state.timers.borrow_mut().take_work()
    }

    /// The number of the newest timer.
    pub(crate) fn last_timer(&self) -> u64 {
        self.state.timers.borrow().last()
    }

    /// The next timer that was due by `now` and is no newer than `last`, with its job.
    pub(crate) fn take_due_timer(&self, now: Instant, last: u64) -> Option<(u64, u64)> {
        self.state.timers.borrow_mut().take_due(now, last)
    }

    pub(crate) fn until_next_timer(&self) -> Option<Duration> {
        self.state.timers.borrow().until_next(&self.state.clock)
    }

    pub(crate) fn has_pending_tasks(&self) -> bool {
        self.until_next_timer().is_some() || !self.state.queries.borrow().is_empty()
    }

    /// The hub has said stop.
    pub(crate) fn set_stopping(&self) {
        self.state.stopping.set(true);
    }

    /// Before the stop hooks: whatever sleeps, sleeps on for ever.
    pub(crate) fn forget_tasks(&self) {
        self.state.queries.borrow_mut().clear();
        self.state.timers.borrow_mut().forget_all();
    }
}

/// The runtime's own chunks, each behind those that it needs. A chunk gets the native functions and a table of what the chunks
/// before it returned, by these names.
const RUNTIME: &[(&str, &str)] = &[
    ("scheduler", include_str!("../runtime/scheduler.lua")),
    ("form", include_str!("../runtime/http/form.lua")),
    ("request", include_str!("../runtime/http/request.lua")),
    ("body", include_str!("../runtime/http/body.lua")),
    ("traceback", include_str!("../runtime/traceback.lua")),
    ("log", include_str!("../runtime/log.lua")),
    ("stream", include_str!("../runtime/http/stream.lua")),
    ("events", include_str!("../runtime/http/events.lua")),
    ("response", include_str!("../runtime/http/response.lua")),
    ("files", include_str!("../runtime/http/files.lua")),
    ("conn", include_str!("../runtime/live/conn.lua")),
    ("conn_state", include_str!("../runtime/live/conn_state.lua")),
    ("callbacks", include_str!("../runtime/live/callbacks.lua")),
    ("linear", include_str!("../runtime/live/linear.lua")),
    ("orders", include_str!("../runtime/live/orders.lua")),
    ("room", include_str!("../runtime/live/room.lua")),
    ("channel", include_str!("../runtime/app/channel.lua")),
    ("conversation", include_str!("../runtime/http/conversation.lua")),
    ("session", include_str!("../runtime/http/session.lua")),
    ("render", include_str!("../runtime/http/render.lua")),
    ("app", include_str!("../runtime/app/app.lua")),
    ("init", include_str!("../runtime/init.lua")),
];

/// Loads them and returns the functions that drive the runtime: what the last one returns.
pub(crate) fn load_runtime(lua: &Lua, api: &Api) -> mlua::Result<Table> {
    let parts = lua.create_table()?;
    for (name, source) in RUNTIME {
        let chunk = lua.load(*source).set_name(format!("={RUNTIME_CHUNK}")).into_function()?;
        let part: Value = chunk.call((&api.native, &parts))?;
        parts.set(*name, part)?;
    }
    parts.get("init")
}

/// The message inside a job's frame, which is what scripts' requests hold.
fn message_of(job: &[u8]) -> &[u8] {
    match Order::read_job(job) {
        Ok(Order::Job { message, .. }) => message,
        _ => b"",
    }
}

/// Bytes of an argument that has to be a string.
fn bytes_of(value: &Value) -> Option<mlua::BorrowedBytes> {
    match value {
        Value::String(text) => Some(text.as_bytes()),
        _ => None,
    }
}
