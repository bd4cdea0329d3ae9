//! Live connections: orders about them as arguments of the runtime, and what scripts do to them. Messages, which
//! are many, pass through [`crate::api::fast_path`].

use super::words;
use crate::api::State;
use handler_core::channel::bounds;
use handler_core::worker::protocol::{Action, FRAME_HEAD, Handler, Open, encode_job};
use kennel_http::percent;
use kennel_http::websocket::CloseCode;
use mlua::{IntoLua, IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};
use std::rc::Rc;

/// What a script does to a connection. The runtime has checked the arguments.
pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    let shared = Rc::clone(state);
    let close = move |_: &Lua, (conn, code, reason): (f64, u16, LuaString)| {
        shared.push(&Action::CloseConn { conn: conn as u64, code, reason: &reason.as_bytes() });
        Ok(())
    };
    native.set("close_conn", lua.create_function(close)?)?;

    let shared = Rc::clone(state);
    let join = move |_: &Lua, (conn, room): (f64, LuaString)| {
        shared.push(&Action::Join { conn: conn as u64, room: &room.as_bytes() });
        Ok(())
    };
    native.set("join", lua.create_function(join)?)?;

    let shared = Rc::clone(state);
    let leave = move |_: &Lua, (conn, room): (f64, LuaString)| {
        shared.push(&Action::Leave { conn: conn as u64, room: &room.as_bytes() });
        Ok(())
    };
    native.set("leave", lua.create_function(leave)?)?;

    let shared = Rc::clone(state);
    let set_data = move |_: &Lua, (conn, json): (f64, LuaString)| {
        shared.push(&Action::SetData { conn: conn as u64, json: &json.as_bytes() });
        Ok(())
    };
    native.set("set_data", lua.create_function(set_data)?)?;

    let close = move |_: &Lua, (code, reason): (f64, usize)| {
        words(bounds::check_close(code as i64, reason).map(|_| ()))
    };
    native.set("close_problem", lua.create_function(close)?)?;
    native.set("close_codes", CloseCode::SENDABLE)?;
    let data = move |_: &Lua, size: usize| words(bounds::check_data(size));
    native.set("data_problem", lua.create_function(data)?)
}

/// An open order as `runtime.open` takes it; the opening message comes as a job, which is what requests hold.
pub(crate) fn open_arguments(lua: &Lua, open: &Open<'_>) -> mlua::Result<MultiValue> {
    let mut job = Vec::with_capacity(open.message.len() + open.name.len() + 64);
    let name = String::from_utf8_lossy(open.name);
    encode_job(&mut job, open.serial, Handler::Route(open.handler), &name, open.params, b"", open.message);
    let rooms = lua.create_sequence_from(
        open.rooms.map(|room| lua.create_string(room)).collect::<Result<Vec<_>, _>>()?,
    )?;
    let values = open.params.map(|value| lua.create_string(percent::decode(value, false)));
    let values = lua.create_sequence_from(values.collect::<Result<Vec<_>, _>>()?)?;
    Ok(MultiValue::from_iter([
        open.handler.into_lua(lua)?,
        (open.serial as f64).into_lua(lua)?,
        (open.conn as f64).into_lua(lua)?,
        open.fresh.into_lua(lua)?,
        open.resumed.into_lua(lua)?,
        Value::String(lua.create_string(open.name)?),
        Value::String(lua.create_string(open.transport)?),
        Value::String(lua.create_string(open.data)?),
        Value::Table(rooms),
        Value::Table(values),
        Value::String(lua.create_string(&job[FRAME_HEAD..])?),
    ]))
}

/// A close order as `runtime.close` takes it.
pub(crate) fn close_arguments(
    lua: &Lua,
    serial: u64,
    conn: u64,
    code: u16,
    reason: &[u8],
) -> mlua::Result<MultiValue> {
    (serial as f64, conn as f64, code, lua.create_string(reason)?).into_lua_multi(lua)
}
