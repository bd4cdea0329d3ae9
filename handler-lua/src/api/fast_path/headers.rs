//! A header of the client's, and a field that Mongrel2 wrote.

use super::jobs::job_of;
use super::{bytes, push_bytes};
use crate::api::http::headers::{first, is_clients, lower};
use crate::api::message_of;
use mlua::ffi;
use mongrel2_wire::{Envelope, Text};
use std::ffi::c_int;

/// # Safety
///
/// As [`push_bytes`].
unsafe fn push_text(lua: *mut ffi::lua_State, value: Option<Text<'_>>) -> c_int {
    let Some(value) = value else { return 0 };
    // SAFETY: as the caller promises; a value with escapes is copied, and leaks if memory is out.
    unsafe { push_bytes(lua, &value.bytes()) }
    1
}

/// `header(view, name)`, the `__index` of a request's headers: the first value of a client's header, or
/// nothing; or the method of that name (the second upvalue holds them).
pub(super) unsafe extern "C-unwind" fn header(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: the view and the name stay on the stack, and so does the job once it is pushed.
    unsafe {
        let name = bytes(lua, 2);
        if matches!(name, b"all" | b"pairs") {
            ffi::lua_pushvalue(lua, 2);
            ffi::lua_rawget(lua, ffi::lua_upvalueindex(2));
            return 1;
        }
        let Ok(envelope) = Envelope::parse(message_of(job_of(lua, 1))) else { return 0 };
        let value = {
            let name = lower(name);
            if is_clients(&name) { first(&envelope, &name) } else { None }
        };
        push_text(lua, value)
    }
}

/// `server_field(view, name)`: a field that Mongrel2 wrote, or nothing.
pub(super) unsafe extern "C-unwind" fn server_field(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: as in `header`.
    unsafe {
        let name = bytes(lua, 2);
        let Ok(envelope) = Envelope::parse(message_of(job_of(lua, 1))) else { return 0 };
        push_text(lua, first(&envelope, name))
    }
}
