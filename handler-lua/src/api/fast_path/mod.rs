//! The functions that every request and every message pass: the next of them, a header, a plain answer, a
//! message to send.
//!
//! They are C functions, written against Lua's own API: a call through mlua takes ten times as many
//! instructions (references for each argument, a heap for results), and with three calls a request that
//! was half of a worker's time. Everything else goes through mlua.
//!
//! What holds for all of them: the first upvalue is the [`State`], which lives as long as the Lua
//! state; arguments come from the runtime, but a script that gets at these functions may pass
//! anything, so types are checked; nothing that needs dropping is alive when Lua may raise an error.

#![allow(unsafe_code, reason = "Lua's C API works on raw stacks; measured above")]

mod headers;
mod jobs;
mod send;

use super::State;
use mlua::ffi;
use mlua::{Lua, Table, Value};
use std::ffi::c_int;
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    let header_methods = lua.create_table()?;
    let state_key = lua.create_table()?;
    let functions: [(&str, ffi::lua_CFunction, &Table); 10] = [
        ("next", jobs::next, &header_methods),
        ("job", jobs::job, &header_methods),
        ("header", headers::header, &header_methods),
        ("server_field", headers::server_field, &header_methods),
        ("answer", send::answer, &header_methods),
        ("done", send::done, &header_methods),
        ("is_text", send::is_text, &header_methods),
        ("publish", send::publish, &header_methods),
        ("send", send::send, &state_key),
        ("send_binary", send::send_binary, &state_key),
    ];
    for (name, function, table) in functions {
        let state: *const State = Rc::as_ptr(state);
        // SAFETY: the argument is on the stack; pushes one pointer below it and makes a closure with both as
        // upvalues, which becomes the one result. `Api` holds the `Rc` for as long as the Lua state lives.
        let function: Value = unsafe {
            lua.exec_raw(table, |lua| {
                ffi::lua_pushlightuserdata(lua, state.cast_mut().cast());
                ffi::lua_insert(lua, 1);
                ffi::lua_pushcclosure(lua, function, 2);
            })?
        };
        native.set(name, function)?;
    }
    native.set("state_key", state_key)?;
    native.set("header_methods", header_methods)
}

/// # Safety
///
/// `lua` runs one of the closures made by [`register`].
unsafe fn state<'a>(lua: *mut ffi::lua_State) -> &'a State {
    // SAFETY: the first upvalue is the pointer that `register` put there; see the module's text.
    unsafe { &*ffi::lua_touserdata(lua, ffi::lua_upvalueindex(1)).cast() }
}

/// The bytes of a string argument; none for anything else.
///
/// # Safety
///
/// They are valid as long as the argument stays on the stack.
unsafe fn bytes<'a>(lua: *mut ffi::lua_State, at: c_int) -> &'a [u8] {
    // SAFETY: for a string, lua_tolstring gives its address and size and changes nothing.
    unsafe {
        if ffi::lua_type(lua, at) != ffi::LUA_TSTRING {
            return b"";
        }
        let mut size = 0;
        let start = ffi::lua_tolstring(lua, at, &raw mut size);
        std::slice::from_raw_parts(start.cast(), size)
    }
}

/// # Safety
///
/// There is a free slot on the stack, and nothing that needs dropping is alive: this may raise an error.
unsafe fn push_bytes(lua: *mut ffi::lua_State, bytes: &[u8]) {
    // SAFETY: Lua copies the bytes.
    unsafe {
        ffi::lua_pushlstring(lua, bytes.as_ptr().cast(), bytes.len());
    }
}
