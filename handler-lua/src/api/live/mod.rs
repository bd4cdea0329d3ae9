//! What scripts do with live connections and rooms.

mod conn;
mod room;

pub(crate) use conn::{close_arguments, open_arguments};

use super::State;
use handler_core::channel::bounds::BoundError;
use mlua::{Lua, Table};
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    conn::register(lua, native, state)?;
    room::register(lua, native, state)
}

/// What is wrong with a value, in words; nil: nothing.
fn words(checked: Result<(), BoundError>) -> mlua::Result<Option<String>> {
    Ok(checked.err().map(|problem| problem.to_string()))
}
