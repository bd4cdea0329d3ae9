//! Rooms: their names, and their end.

use super::words;
use crate::api::State;
use handler_core::channel::bounds;
use handler_core::worker::protocol::Action;
use mlua::{Lua, LuaString, Table};
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    let room = move |_: &Lua, size: usize| words(bounds::check_room(size));
    native.set("room_problem", lua.create_function(room)?)?;
    native.set("max_room", bounds::MAX_ROOM)?;

    let shared = Rc::clone(state);
    let close_room = move |_: &Lua, (room, code, reason): (LuaString, u16, LuaString)| {
        shared.push(&Action::CloseRoom { code, room: &room.as_bytes(), reason: &reason.as_bytes() });
        Ok(())
    };
    native.set("close_room", lua.create_function(close_room)?)
}
