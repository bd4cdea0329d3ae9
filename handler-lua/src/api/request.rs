//! Views of the raw message. Each call reads just what was asked for.

use super::{State, message_of};
use handler_core::worker::body;
use handler_core::worker::protocol::Order;
use kennel_http::{charset, cookies, query};
use mlua::{Lua, LuaString, Table, Value};
use mongrel2_wire::{Envelope, Text};
use std::rc::Rc;

/// Whether a header is the client's own: Mongrel2 writes its names in upper case, and the two of
/// uploads are its business too.
pub(super) fn is_clients(name: &[u8]) -> bool {
    !name.first().is_some_and(u8::is_ascii_uppercase) && !name.starts_with(b"x-mongrel2-upload-")
}

pub(super) fn lower(name: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    match name.iter().any(u8::is_ascii_uppercase) {
        true => name.to_ascii_lowercase().into(),
        false => name.into(),
    }
}

/// The first value of a header, by its exact name.
pub(super) fn first<'a>(envelope: &Envelope<'a>, name: &[u8]) -> Option<Text<'a>> {
    envelope.headers.get(name)?.first()
}

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

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    named_view!(native, lua, "header_all", |lua: &Lua, m: &Envelope<'_>, name: &[u8]| {
        let name = lower(name);
        let list = lua.create_table()?;
        if let Some(values) = m.headers.get(&name).filter(|_| is_clients(&name)) {
            for value in values.iter() {
                list.raw_push(lua.create_string(value.bytes())?)?;
            }
        }
        Ok(Value::Table(list))
    });
    view!(native, lua, "headers", |lua: &Lua, m: &Envelope<'_>| {
        let list = lua.create_table_with_capacity(32, 0)?;
        let headers = m.headers.iter().map_while(Result::ok).filter(|(name, _)| is_clients(name));
        for (name, values) in headers {
            for value in values.iter() {
                list.raw_push(lua.create_string(name)?)?;
                list.raw_push(lua.create_string(value.bytes())?)?;
            }
        }
        Ok(Value::Table(list))
    });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_fields_are_not_client_headers() {
        assert!(is_clients(b"host") && is_clients(b"x-forwarded-for"));
        assert!(!is_clients(b"METHOD") && !is_clients(b"x-mongrel2-upload-start"));
    }
}
