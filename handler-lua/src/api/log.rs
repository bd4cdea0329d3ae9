//! Lines for the log, and the words for a script's failure.

use super::{State, message_of};
use crate::traceback;
use handler_core::worker::error_page;
use handler_core::worker::protocol::{Action, Level};
use mlua::{Lua, LuaString, Table};
use mongrel2_wire::{Envelope, Text};
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    let shared = Rc::clone(state);
    let log = move |_: &Lua, (level, text, fields): (String, LuaString, Option<LuaString>)| {
        let level = match &*level {
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warn" => Level::Warn,
            _ => Level::Error,
        };
        let fields = fields.as_ref().map(|fields| fields.as_bytes());
        let fields = fields.as_deref().unwrap_or_default();
        let serial = shared.running.get();
        shared.push(&Action::Log { level, serial, text: &text.as_bytes(), fields });
        Ok(())
    };
    native.set("log", lua.create_function(log)?)?;

    // (raw, message, traceback): one log line for a request that failed
    let shared = Rc::clone(state);
    let log_failure = move |_: &Lua, (raw, message, trace): (LuaString, LuaString, LuaString)| {
        let (message, trace) = (message.to_string_lossy(), traceback::clean(&trace.to_string_lossy()));
        let mut text = format!("{} failed: {message}", title(&raw.as_bytes()));
        for line in trace.lines() {
            text.push_str("\n    ");
            text.push_str(line);
        }
        let serial = shared.running.get();
        shared.push(&Action::Log { level: Level::Error, serial, text: text.as_bytes(), fields: b"" });
        Ok(())
    };
    native.set("log_failure", lua.create_function(log_failure)?)?;

    // (message): the reason with which the connection of a failed callback is closed
    let shared = Rc::clone(state);
    let close_reason = move |_: &Lua, message: LuaString| {
        Ok(error_page::close_reason(shared.start.dev, &message.to_string_lossy()))
    };
    native.set("close_reason", lua.create_function(close_reason)?)?;

    let clean = |_: &Lua, trace: LuaString| {
        let lines = traceback::clean(&trace.to_string_lossy());
        Ok(lines.lines().map(|line| format!("\n    {line}")).collect::<String>())
    };
    native.set("clean_traceback", lua.create_function(clean)?)?;

    // (raw, message, traceback): the body and the content type of a 500
    let shared = Rc::clone(state);
    let page = move |_: &Lua, (raw, message, trace): (LuaString, LuaString, LuaString)| {
        if !shared.start.dev {
            return Ok(("500 Internal Server Error\n".to_owned(), "text/plain; charset=utf-8"));
        }
        let failure = traceback::failure(&message.to_string_lossy(), &trace.to_string_lossy());
        Ok((error_page::render(&title(&raw.as_bytes()), &failure), "text/html; charset=utf-8"))
    };
    native.set("error_page", lua.create_function(page)?)
}

/// `GET /path?query` of a message.
fn title(raw: &[u8]) -> String {
    let Ok(envelope) = Envelope::parse(message_of(raw)) else { return "a message".to_owned() };
    let field = |name: &[u8]| envelope.headers.get(name).and_then(|values| values.first()).map(Text::bytes);
    let method = field(b"METHOD").unwrap_or_default();
    let uri = field(b"URI").unwrap_or(envelope.path.into());
    format!("{} {}", method.escape_ascii(), uri.escape_ascii())
}
