//! The next job or message, and the jobs that requests hold.

use super::{bytes, push_bytes, state};
use crate::api::{NO_CONN, State};
use handler_core::worker::protocol::{Action, FRAME_HEAD, Handler, Order, split_frame};
use mlua::ffi;
use std::ffi::c_int;
use std::time::Duration;

/// Answers that are ready wait at most about this long for others to leave with them.
const FLUSH: Duration = Duration::from_micros(300);

/// Bytes of jobs that are copied in one piece. A request that waits keeps all of it, so it is not large.
const BATCH: usize = 16 << 10;

/// `next()`: serial, handler's number, the batch, the job's place in it, and a list of its path values if it
/// has any; nothing when there is no job. The second upvalue becomes the batch. For a message of a live connection:
/// serial, -5, the connection's number, the payload, and whether it is binary.
///
/// A batch is a copy of many jobs in one piece: a string for each costs a tenth of a worker's time, most of it
/// to look for one that is equal and to throw it away.
pub(super) unsafe extern "C-unwind" fn next(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua as one of our closures. The job lies in the buffer of orders, which
    // nobody touches until the loop waits again.
    unsafe {
        let state = state(lua);
        let Some(next) = state.next_job() else { return 0 };
        let job: &[u8] = &*next.payload;
        if next.kind == Order::MESSAGE {
            let order = Order::read(Order::MESSAGE, job);
            let Ok(Order::Message { serial, conn, binary, payload }) = order else { return 0 };
            ffi::lua_pushnumber(lua, serial as f64);
            ffi::lua_pushinteger(lua, -5);
            ffi::lua_pushnumber(lua, conn as f64);
            push_bytes(lua, payload);
            ffi::lua_pushboolean(lua, c_int::from(binary));
            return 5;
        }
        let Ok(Order::Job { serial, handler, params, .. }) = Order::read_job(job) else { return 0 };
        let number = match handler {
            Handler::Route(number) => number as isize,
            Handler::NotFound => -1,
            Handler::MethodNotAllowed => -2,
            Handler::Options => -3,
            Handler::Raw => -4,
        };
        let (mut first, end) = state.batch.get();
        let frame = FRAME_HEAD + job.len();
        if !(first..end).contains(&next.at) || next.at + frame > end {
            let unread: &[u8] = &*next.unread;
            let size = unread.len().min(BATCH.max(frame));
            let copy = ffi::lua_newuserdata(lua, size);
            std::ptr::copy_nonoverlapping(unread.as_ptr(), copy.cast(), size);
            ffi::lua_replace(lua, ffi::lua_upvalueindex(2));
            first = next.at;
            state.batch.set((first, first + size));
        }
        // Serials stay far below 2^53, so a Lua number holds them exactly.
        ffi::lua_pushnumber(lua, serial as f64);
        ffi::lua_pushinteger(lua, number as ffi::lua_Integer);
        ffi::lua_pushvalue(lua, ffi::lua_upvalueindex(2));
        ffi::lua_pushinteger(lua, (next.at - first) as ffi::lua_Integer);
        let mut params = params.peekable();
        if params.peek().is_none() {
            return 4;
        }
        ffi::lua_createtable(lua, 2, 0);
        for (at, value) in params.enumerate() {
            if value.contains(&b'%') {
                push_decoded(lua, value);
            } else {
                push_bytes(lua, value);
            }
            ffi::lua_rawseti(lua, -2, at as ffi::lua_Integer + 1);
        }
        5
    }
}

/// The job of a request or of a view of one: `view[1]` is the batch and `view[2]` the place in it, or `view[1]` is
/// the job as a string. Leaves one value on the stack.
///
/// # Safety
///
/// There is a free slot on the stack. The bytes are valid as long as that value stays there.
pub(super) unsafe fn job_of<'a>(lua: *mut ffi::lua_State, view: c_int) -> &'a [u8] {
    // SAFETY: a userdata has as many bytes as it says, all of them written when it was made; a place that a
    // script made up leads to no job, or to nonsense that reads as none.
    unsafe {
        if ffi::lua_type(lua, view) != ffi::LUA_TTABLE {
            ffi::lua_pushnil(lua);
            return b"";
        }
        ffi::lua_rawgeti(lua, view, 2);
        let at = ffi::lua_tointeger(lua, -1) as usize;
        ffi::lua_pop(lua, 1);
        ffi::lua_rawgeti(lua, view, 1);
        if ffi::lua_type(lua, -1) != ffi::LUA_TUSERDATA {
            return bytes(lua, -1);
        }
        let batch = std::slice::from_raw_parts(ffi::lua_touserdata(lua, -1).cast(), ffi::lua_objlen(lua, -1));
        batch.get(at..).and_then(split_frame).map_or(b"", |(_, job, _)| job)
    }
}

/// `job(view)`: the job as a string.
pub(super) unsafe extern "C-unwind" fn job(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: the job stays on the stack below the string.
    unsafe {
        let job = job_of(lua, 1);
        push_bytes(lua, job);
    }
    1
}

/// # Safety
///
/// As [`push_bytes`]. A failure to allocate leaks the decoded copy, which is small.
#[cold]
unsafe fn push_decoded(lua: *mut ffi::lua_State, value: &[u8]) {
    let decoded = kennel_http::percent::decode(value, false);
    // SAFETY: as the caller promises.
    unsafe { push_bytes(lua, &decoded) }
}

/// A job or a message in the buffer of orders.
struct NextJob {
    kind: u8,
    /// Where its frame begins.
    at: usize,
    payload: *const [u8],
    /// From its frame on, all that was read.
    unread: *const [u8],
}

impl State {
    /// A script begins to run for a job (0: for nobody), or ends to.
    pub(in crate::api) fn set_running(&self, serial: u64) {
        self.running.set(serial);
        self.actions.borrow().page().turn(serial);
    }

    /// The script goes on for another job within its turn.
    pub(in crate::api) fn switch(&self, serial: u64) {
        self.running.set(serial);
        let actions = self.actions.borrow();
        actions.page().turn(0);
        actions.page().turn(serial);
    }

    /// Takes the next job or message, if that is the next order, and says in the page that it starts. Before
    /// that, the one before has ended.
    fn next_job(&self) -> Option<NextJob> {
        let mut orders = self.orders.borrow_mut();
        let mut actions = self.actions.borrow_mut();
        if self.running.replace(0) != 0 {
            actions.page().turn(0);
            if !actions.is_flushed() && self.unsent_since.get().elapsed() > FLUSH {
                // When the hub is gone the loop's next wait says so.
                let _ = actions.flush();
                self.unsent_since.set(std::time::Instant::now());
            }
        }
        while matches!(orders.peek_kind(), Some(Order::JOB | Order::MESSAGE)) {
            let unread: *const [u8] = orders.unread();
            let at = orders.position();
            let (kind, payload) = orders.next_order()?;
            let (serial, conn) = match Order::read(kind, payload) {
                Ok(Order::Job { serial, .. }) => (serial, NO_CONN),
                Ok(Order::Message { serial, conn, .. }) => (serial, conn),
                _ => continue,
            };
            if !actions.page().start(serial) {
                let _ = actions.push(&Action::Skipped { serial });
                continue;
            }
            self.jobs.borrow_mut().insert(serial, conn);
            self.running.set(serial);
            actions.page().turn(serial);
            return Some(NextJob { kind, at, payload, unread });
        }
        None
    }
}
