//! Routes as they are registered: what cannot be served is refused at the script's line.

use super::State;
use handler_core::hub::routes::{RouteError, parameter_names};
use handler_core::worker::protocol::RouteSpec;
use mlua::{Lua, Table, Value};
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
    native.set("add_channel", lua.create_function(add_channel)?)
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
