//! Routes as they are registered: what cannot be served is refused at the script's line.

use super::State;
use crate::convert;
use handler_core::hub::routes::{RouteError, parameter_names};
use handler_core::worker::protocol::RouteSpec;
use mlua::{Lua, LuaString, Table, Value};
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    // (methods, path, number, place): the names of its values (false for none), and the problem or nil
    let shared = Rc::clone(state);
    let add_route = move |lua: &Lua, (methods, path, handler, place): (Vec<String>, String, u32, String)| {
        let spec = RouteSpec { methods, path, handler, place, streams: false };
        if let Err(problem) = shared.routes.borrow_mut().add(&spec) {
            return Ok((Value::Nil, Some(problem.to_string())));
        }
        let names = parameter_names(&spec.path);
        let names = match names.is_empty() {
            true => Value::Boolean(false),
            false => Value::Table(lua.create_sequence_from(names)?),
        };
        Ok((names, None))
    };
    native.set("add_route", lua.create_function(add_route)?)?;

    // (path, number, place): the names of its values, and the problem or nil
    let shared = Rc::clone(state);
    let add_channel = move |_: &Lua, (path, handler, place): (String, u32, String)| {
        let spec = RouteSpec { methods: vec!["CHANNEL".to_owned()], path, handler, place, streams: false };
        if let Err(problem) = shared.channels.borrow_mut().add(&spec) {
            return Ok((Vec::new(), Some(about_channel(&problem))));
        }
        Ok((parameter_names(&spec.path).into_iter().map(str::to_owned).collect(), None))
    };
    native.set("add_channel", lua.create_function(add_channel)?)?;

    // (word, known words): the one that was probably meant, or nil
    let nearest = |_: &Lua, (word, known): (LuaString, Vec<String>)| {
        let word = word.to_string_lossy();
        let distances = known.into_iter().map(|known| (strsim::damerau_levenshtein(&word, &known), known));
        let near = distances.filter(|(distance, known)| *distance <= known.len().div_ceil(3)).min();
        Ok(near.map(|(_, known)| known))
    };
    native.set("nearest", lua.create_function(nearest)?)?;

    let shared = Rc::clone(state);
    let json_encode = move |lua: &Lua, value: Value| match convert::to_json(&value, &shared.array) {
        Ok(text) => Ok((Some(lua.create_string(text)?), None)),
        Err(problem) => Ok((None, Some(problem))),
    };
    native.set("json_encode", lua.create_function(json_encode)?)?;

    let shared = Rc::clone(state);
    let json_decode =
        move |lua: &Lua, text: LuaString| match convert::from_json(lua, &text.as_bytes(), &shared.array)? {
            Ok(value) => Ok((true, value)),
            Err(problem) => Ok((false, Value::String(lua.create_string(problem)?))),
        };
    native.set("json_decode", lua.create_function(json_decode)?)
}

/// What is wrong with a channel's path, which is checked as a route's.
fn about_channel(problem: &RouteError) -> String {
    match problem {
        RouteError::Duplicate { path, place, .. } => {
            format!("channel `{path}` is registered already ({place})")
        }
        other => {
            let text = other.to_string();
            text.strip_prefix("route ").map_or_else(|| text.clone(), |rest| format!("channel {rest}"))
        }
    }
}
