//! What every answer and every message to a client passes: sending, and saying that a job is done.

use super::{bytes, state};
use handler_core::worker::protocol::Action;
use mlua::ffi;
use std::ffi::{CStr, c_int};

/// Header lines of answers without headers of their own, by the kind that the runtime passes.
const HEADS: [&[u8]; 2] =
    [b"Content-Type: text/plain; charset=utf-8\r\n", b"Content-Type: application/json\r\n"];

/// `answer(serial, kind, body)`: 200 with a body of the kind in [`HEADS`].
pub(super) unsafe extern "C-unwind" fn answer(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: the body stays on the stack until this returns; nothing here raises an error.
    unsafe {
        let serial = ffi::lua_tonumber(lua, 1) as u64;
        let kind = ffi::lua_tonumber(lua, 2) as usize;
        let body = bytes(lua, 3);
        let state = state(lua);
        if state.end_job(serial).is_some() {
            let head = HEADS[kind.min(HEADS.len() - 1)];
            state.push(&Action::Respond { serial, status: 200, head, body });
        }
    }
    0
}

/// `done(serial)`: a job without an answer has ended.
pub(super) unsafe extern "C-unwind" fn done(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua as one of our closures; nothing here raises an error.
    unsafe {
        let serial = ffi::lua_tonumber(lua, 1) as u64;
        let state = state(lua);
        if state.end_job(serial).is_some() {
            state.push(&Action::Done { serial });
        }
    }
    0
}

/// `is_text(string)`: whether it is UTF-8.
pub(super) unsafe extern "C-unwind" fn is_text(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua as one of our closures; the string stays on the stack.
    unsafe {
        let valid = std::str::from_utf8(bytes(lua, 1)).is_ok();
        ffi::lua_pushboolean(lua, c_int::from(valid));
    }
    1
}

/// `publish(room, except, binary, message)`: a message to a room, but not to the connection of that number.
pub(super) unsafe extern "C-unwind" fn publish(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua as one of our closures; the strings stay on the stack, and nothing here raises an error.
    unsafe {
        let except = ffi::lua_tonumber(lua, 2) as u64;
        let binary = ffi::lua_toboolean(lua, 3) != 0;
        let (room, payload) = (bytes(lua, 1), bytes(lua, 4));
        state(lua).push(&Action::Publish { except, binary, room, payload });
    }
    0
}

/// `send(conn, message)`: whether the connection still takes messages.
pub(super) unsafe extern "C-unwind" fn send(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua as one of our closures.
    unsafe { send_as(lua, c"send", false) }
}

/// `send_binary(conn, bytes)`: whether the connection still takes messages.
pub(super) unsafe extern "C-unwind" fn send_binary(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua as one of our closures.
    unsafe { send_as(lua, c"send_binary", true) }
}

/// Sends what a script gave to a handle's method `name`. The second upvalue is the key under which the handle holds
/// its state, whose first item is the connection's number; and its own first item is the function that makes a text
/// of what is no string.
///
/// # Safety
///
/// `lua` runs one of the closures made by [`register`], and nothing that needs dropping is alive.
unsafe fn send_as(lua: *mut ffi::lua_State, name: &CStr, binary: bool) -> c_int {
    // SAFETY: arguments and state stay on the stack; Lua's own functions may raise errors, and nothing here
    // needs dropping.
    unsafe {
        ffi::lua_settop(lua, 2);
        if ffi::lua_type(lua, 1) == ffi::LUA_TTABLE {
            ffi::lua_pushvalue(lua, ffi::lua_upvalueindex(2));
            ffi::lua_rawget(lua, 1);
        }
        if ffi::lua_gettop(lua) < 3 || ffi::lua_type(lua, 3) != ffi::LUA_TTABLE {
            return fail(lua, name, c"write it with a colon, as in conn:send(message)");
        }
        if ffi::lua_type(lua, 2) == ffi::LUA_TSTRING {
            if !binary && std::str::from_utf8(bytes(lua, 2)).is_err() {
                return fail(lua, name, c"this string is not UTF-8; send_binary sends any bytes");
            }
        } else if binary {
            return fail(lua, name, c"bytes are a string");
        } else {
            ffi::lua_rawgeti(lua, ffi::lua_upvalueindex(2), 1);
            ffi::lua_pushvalue(lua, 2);
            ffi::lua_call(lua, 1, 2);
            if ffi::lua_type(lua, 4) != ffi::LUA_TSTRING {
                let problem = ffi::lua_tolstring(lua, 5, std::ptr::null_mut());
                let problem = if problem.is_null() { c"no message" } else { CStr::from_ptr(problem) };
                return fail(lua, name, problem);
            }
            ffi::lua_pushvalue(lua, 4);
            ffi::lua_replace(lua, 2);
        }
        ffi::lua_rawgeti(lua, 3, 1);
        let number = ffi::lua_tonumber(lua, -1) as u64;
        if number > 0 {
            state(lua).push(&Action::Send { conn: number, binary, payload: bytes(lua, 2) });
        }
        ffi::lua_pushboolean(lua, c_int::from(number > 0));
    }
    1
}

/// Raises an error at the line that called method `name`.
///
/// # Safety
///
/// `lua` runs a closure that a script called; nothing that needs dropping is alive; the texts are constants or on
/// the stack.
#[cold]
unsafe fn fail(lua: *mut ffi::lua_State, name: &CStr, problem: &CStr) -> c_int {
    // SAFETY: as the caller promises; Lua copies the texts.
    unsafe {
        ffi::luaL_checkstack(lua, 6, std::ptr::null());
        ffi::luaL_where(lua, 1);
        ffi::lua_pushstring(lua, c"conn:".as_ptr());
        ffi::lua_pushstring(lua, name.as_ptr());
        ffi::lua_pushstring(lua, c": ".as_ptr());
        ffi::lua_pushstring(lua, problem.as_ptr());
        ffi::lua_concat(lua, 5);
        ffi::lua_error(lua)
    }
}
