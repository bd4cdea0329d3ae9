//! Live connections: orders about them as arguments of the runtime, and what scripts do to them. Messages, which
//! are many, pass through [`super::hot`].

use super::{Api, State};
use crate::convert;
use handler_core::channel::bounds::{self, BoundError};
use handler_core::worker::protocol::{Action, FRAME_HEAD, Handler, Open, Question, encode_job};
use kennel_http::percent;
use kennel_http::websocket::CloseCode;
use mlua::{IntoLua, IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};
use std::io;
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    register_actions(lua, native, state)?;
    register_jobs(lua, native, state)
}

/// What a script does to connections and rooms. The runtime has checked the arguments.
fn register_actions(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
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

    // What is wrong with a value, in words; nil: nothing.
    let words = |checked: Result<(), BoundError>| Ok(checked.err().map(|problem| problem.to_string()));
    let room = move |_: &Lua, size: usize| words(bounds::check_room(size));
    native.set("room_problem", lua.create_function(room)?)?;
    native.set("max_room", bounds::MAX_ROOM)?;
    let close = move |_: &Lua, (code, reason): (f64, usize)| {
        words(bounds::check_close(code as i64, reason).map(|_| ()))
    };
    native.set("close_problem", lua.create_function(close)?)?;
    native.set("close_codes", CloseCode::SENDABLE)?;
    let data = move |_: &Lua, size: usize| words(bounds::check_data(size));
    native.set("data_problem", lua.create_function(data)?)?;

    let shared = Rc::clone(state);
    let close_room = move |_: &Lua, (room, code, reason): (LuaString, u16, LuaString)| {
        shared.push(&Action::CloseRoom { code, room: &room.as_bytes(), reason: &reason.as_bytes() });
        Ok(())
    };
    native.set("close_room", lua.create_function(close_room)?)?;

    // (question, subject, serial of the job that waits): the query's number
    let shared = Rc::clone(state);
    let query = move |_: &Lua, (question, subject, serial): (String, LuaString, f64)| {
        let question = match &*question {
            "count" => Question::Count,
            "members" => Question::Members,
            "connection" => Question::Connection,
            "data" => Question::Data,
            _ => Question::Rooms,
        };
        let query = shared.last_query.get() + 1;
        shared.last_query.set(query);
        shared.queries.borrow_mut().insert(query, serial as u64);
        shared.push(&Action::Query { query, question, subject: &subject.as_bytes() });
        Ok(query as f64)
    };
    native.set("query", lua.create_function(query)?)
}

/// What the runtime tells of its jobs.
fn register_jobs(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    // A script goes on for another job.
    let shared = Rc::clone(state);
    let switch = move |_: &Lua, serial: f64| {
        shared.switch(serial as u64);
        Ok(())
    };
    native.set("switch", lua.create_function(switch)?)?;

    // A job does not run here.
    let shared = Rc::clone(state);
    let skip = move |_: &Lua, serial: f64| {
        let serial = serial as u64;
        if shared.end_job(serial).is_some() {
            shared.push(&Action::Skipped { serial });
        }
        Ok(())
    };
    native.set("skip", lua.create_function(skip)?)?;

    // The connection that an unanswered job is about, or nil.
    let shared = Rc::clone(state);
    let conn_of = move |_: &Lua, serial: f64| {
        let conn = shared.jobs.borrow().get(&(serial as u64)).copied();
        Ok(conn.filter(|conn| *conn != super::NO_CONN).map(|conn| conn as f64))
    };
    native.set("conn_of", lua.create_function(conn_of)?)?;

    // (key of a coroutine that sleeps, serial): it belongs to that job from now on
    let shared = Rc::clone(state);
    let charge = move |_: &Lua, (key, serial): (f64, f64)| {
        if key > 0.0 {
            shared.timers.borrow_mut().charge(key as u64, serial as u64);
        } else if let Some(waiting) = shared.queries.borrow_mut().get_mut(&(-key as u64)) {
            *waiting = serial as u64;
        }
        Ok(())
    };
    native.set("charge", lua.create_function(charge)?)
}

impl Api {
    /// Says in the page that a job about a connection starts. `false`: the hub has taken it back, and is told
    /// that it did not.
    pub(crate) fn begin(&self, serial: u64, conn: u64) -> io::Result<bool> {
        let mut actions = self.state.actions.borrow_mut();
        if !actions.page().start(serial) {
            actions.push(&Action::Skipped { serial })?;
            return Ok(false);
        }
        self.state.jobs.borrow_mut().insert(serial, conn);
        Ok(true)
    }

    /// The job that waits for the answer of a query, 0 for none; `None`: nobody waits.
    pub(crate) fn query_answered(&self, query: u64) -> Option<u64> {
        self.state.queries.borrow_mut().remove(&query)
    }

    /// What wakes the coroutine that asked: the key on which it sleeps, and the answer.
    pub(crate) fn answer_arguments(&self, lua: &Lua, query: u64, json: &[u8]) -> mlua::Result<MultiValue> {
        let value = convert::from_json(lua, json, &self.state.array)?.unwrap_or(Value::Nil);
        (-(query as f64), value).into_lua_multi(lua)
    }
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
