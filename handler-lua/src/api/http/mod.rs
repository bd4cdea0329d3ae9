//! What scripts do with a request and its answer.

/// Hands each raw message, parsed, to `read`. The runtime passes messages that the hub has parsed
/// already; another string is a script's meddling and reads as empty.
macro_rules! view {
    ($native:expr, $lua:expr, $name:literal, $read:expr) => {
        let read = $read;
        let function = $lua.create_function(move |lua: &Lua, raw: LuaString| {
            let raw = raw.as_bytes();
            match Envelope::parse(message_of(&raw)) {
                Ok(envelope) => read(lua, &envelope),
                Err(_) => Ok(Value::Nil),
            }
        })?;
        $native.set($name, function)?;
    };
}

/// The same with a name.
macro_rules! named_view {
    ($native:expr, $lua:expr, $name:literal, $read:expr) => {
        let read = $read;
        let function = $lua.create_function(move |lua: &Lua, (raw, name): (LuaString, LuaString)| {
            let (raw, name) = (raw.as_bytes(), name.as_bytes());
            match Envelope::parse(message_of(&raw)) {
                Ok(envelope) => read(lua, &envelope, &*name),
                Err(_) => Ok(Value::Nil),
            }
        })?;
        $native.set($name, function)?;
    };
}

mod body;
mod conversation;
mod files;
mod form;
pub(super) mod headers;
mod raw;
mod render;
mod request;
mod response;
mod session;
mod stream;

pub(super) use session::LazyJar;

use super::State;
use mlua::{Lua, Table};
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    body::register(lua, native, state)?;
    conversation::register(lua, native, state)?;
    files::register(lua, native, state)?;
    form::register(lua, native, state)?;
    headers::register(lua, native)?;
    raw::register(lua, native, state)?;
    render::register(lua, native, state)?;
    request::register(lua, native, state)?;
    response::register(lua, native, state)?;
    session::register(lua, native, state)?;
    stream::register(lua, native, state)
}
