//! JSON, to and fro.

use super::State;
use crate::convert;
use mlua::{Lua, LuaString, Table, Value};
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
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
