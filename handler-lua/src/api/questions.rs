//! Questions: what a script asks the hub, and what an operator's code gave.

use super::{Api, State};
use crate::convert;
use handler_core::worker::protocol::{Action, Question};
use mlua::{IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    // (query, ok, text): what the operator's code gave
    let shared = Rc::clone(state);
    let evaluated = move |_: &Lua, (query, ok, text): (f64, bool, LuaString)| {
        shared.push(&Action::Evaluated { query: query as u64, ok, text: &text.as_bytes() });
        Ok(())
    };
    native.set("evaluated", lua.create_function(evaluated)?)?;

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

impl Api {
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
