//! Answers in pieces, as the script makes them.

use super::response::push_headers;
use crate::api::State;
use handler_core::worker::protocol::{Action, STREAM_WINDOW};
use kennel_http::HeadLines;
use kennel_http::events;
use mlua::{Lua, LuaString, Table};
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    native.set("stream_window", STREAM_WINDOW)?;

    // (serial, status, headers): nil, or the problem
    let shared = Rc::clone(state);
    let begin = move |lua: &Lua, (serial, status, headers): (f64, u16, Table)| {
        let mut lines = HeadLines::default();
        if let Some(problem) = push_headers(lua, &mut lines, Some(headers))? {
            return Ok(Some(problem));
        }
        let serial = serial as u64;
        if shared.jobs.borrow().contains_key(&serial) && shared.begun.borrow_mut().insert(serial) {
            shared.push(&Action::Begin { serial, status, head: lines.as_bytes() });
        }
        Ok(None)
    };
    native.set("begin_stream", lua.create_function(begin)?)?;

    // (serial, bytes)
    let shared = Rc::clone(state);
    let piece = move |_: &Lua, (serial, bytes): (f64, LuaString)| {
        let serial = serial as u64;
        if shared.begun.borrow().contains(&serial) {
            shared.push(&Action::Piece { serial, bytes: &bytes.as_bytes() });
        }
        Ok(())
    };
    native.set("piece", lua.create_function(piece)?)?;

    // (serial, whether the body is whole)
    let shared = Rc::clone(state);
    let end = move |_: &Lua, (serial, whole): (f64, bool)| {
        let serial = serial as u64;
        if shared.begun.borrow_mut().remove(&serial) && shared.end_job(serial).is_some() {
            shared.push(&if whole { Action::End { serial } } else { Action::Abort { serial } });
        }
        Ok(())
    };
    native.set("end_stream", lua.create_function(end)?)?;

    // (event or nil, data or nil, id or nil, retry or nil): the event's lines, or nil and the problem
    let event = |lua: &Lua,
                 (event, data, id, retry): (
        Option<LuaString>,
        Option<LuaString>,
        Option<LuaString>,
        Option<f64>,
    )| {
        let (event, data, id) = (event.map(bytes), data.map(bytes), id.map(bytes));
        let event = events::Event {
            event: event.as_deref(),
            data: data.as_deref(),
            id: id.as_deref(),
            retry: retry.map(|retry| retry as u64),
        };
        match event.encode() {
            Ok(lines) => Ok((Some(lua.create_string(lines)?), None)),
            Err(problem) => Ok((None, Some(problem.to_string()))),
        }
    };
    native.set("event", lua.create_function(event)?)
}

fn bytes(text: LuaString) -> Vec<u8> {
    text.as_bytes().to_vec()
}
