//! Views of the raw message. Each call reads just what was asked for.

use super::headers::first;
use crate::api::{State, message_of};
use handler_core::worker::body;
use handler_core::worker::protocol::Order;
use kennel_http::{charset, cookies, query};
use mlua::{Lua, LuaString, Table, Value};
use mongrel2_wire::{Envelope, Text};
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    named_view!(native, lua, "arg", |lua: &Lua, m: &Envelope<'_>, name: &[u8]| {
        let query = first(m, b"QUERY").map(Text::bytes).unwrap_or_default();
        match query::pairs(&query).find(|(found, _)| **found == *name) {
            Some((_, value)) => Ok(Value::String(lua.create_string(value)?)),
            None => Ok(Value::Nil),
        }
    });
    named_view!(native, lua, "arg_all", |lua: &Lua, m: &Envelope<'_>, name: &[u8]| {
        let query = first(m, b"QUERY").map(Text::bytes).unwrap_or_default();
        let list = lua.create_table()?;
        for (_, value) in query::pairs(&query).filter(|(found, _)| **found == *name) {
            list.raw_push(lua.create_string(value)?)?;
        }
        Ok(Value::Table(list))
    });
    view!(native, lua, "args", |lua: &Lua, m: &Envelope<'_>| {
        let query = first(m, b"QUERY").map(Text::bytes).unwrap_or_default();
        let list = lua.create_table()?;
        for (name, value) in query::pairs(&query) {
            list.raw_push(lua.create_string(name)?)?;
            list.raw_push(lua.create_string(value)?)?;
        }
        Ok(Value::Table(list))
    });
    view!(native, lua, "path", |lua: &Lua, m: &Envelope<'_>| {
        Ok(Value::String(lua.create_string(m.path)?))
    });
    view!(native, lua, "cookies", |lua: &Lua, m: &Envelope<'_>| {
        let table = lua.create_table()?;
        if let Some(values) = m.headers.get(b"cookie") {
            for header in values.iter() {
                for (name, value) in cookies::pairs(&header.bytes()) {
                    // The first of a name is the most specific one (RFC 6265, 5.4).
                    let name = lua.create_string(name)?;
                    if !table.contains_key(&name)? {
                        table.raw_set(name, lua.create_string(value)?)?;
                    }
                }
            }
        }
        Ok(Value::Table(table))
    });

    let conn = |lua: &Lua, job: LuaString| match Order::read_job(&job.as_bytes()) {
        Ok(Order::Job { conn, .. }) => Ok(Some(lua.create_string(conn)?)),
        _ => Ok(None),
    };
    native.set("conn", lua.create_function(conn)?)?;

    // The body, or nil and the problem.
    let memory = state.start.memory;
    let body = move |lua: &Lua, job: LuaString| match body::read(&job.as_bytes(), memory) {
        Ok(body) => Ok((Some(lua.create_string(body)?), None)),
        Err(problem) => Ok((None, Some(problem.to_string()))),
    };
    native.set("body", lua.create_function(body)?)?;

    // The body as UTF-8, or nil and the problem.
    let body_text = |lua: &Lua, (job, body): (LuaString, LuaString)| {
        let (job, body) = (job.as_bytes(), body.as_bytes());
        let Ok(envelope) = Envelope::parse(message_of(&job)) else { return Ok((None, None)) };
        let content_type = first(&envelope, b"content-type").map(Text::bytes).unwrap_or_default();
        match charset::decode(&body, &content_type) {
            Ok(text) => Ok((Some(lua.create_string(text.as_bytes())?), None)),
            Err(problem) => Ok((None, Some(problem.to_string()))),
        }
    };
    native.set("text", lua.create_function(body_text)?)
}
