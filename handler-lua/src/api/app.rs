//! Routes as they are registered: what cannot be served is refused at the script's line.

use super::State;
use crate::convert;
use handler_core::hub::routes::parameter_names;
use handler_core::worker::protocol::RouteSpec;
use mlua::{Lua, LuaString, Table, Value};
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    // (methods, path, number, place): the names of its values (false for none), and the problem or nil
    let shared = Rc::clone(state);
    let add_route = move |lua: &Lua, (methods, path, handler, place): (Vec<String>, String, u32, String)| {
        let spec = RouteSpec { methods, path, handler, place };
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
