//! Conversations: keys that nobody guesses, and jobs that belong to another worker.

use crate::api::State;
use handler_core::worker::protocol::Action;
use handler_core::worker::surroundings::entropy;
use kennel_http::HeadLines;
use kennel_http::client_address::ClientAddress;
use mlua::{ExternalError, Lua, LuaString, Table};
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    // 32 hexadecimal digits by chance
    let digits = |_: &Lua, ()| {
        let bytes = entropy::<16>();
        let bytes =
            bytes.map_err(|problem| format!("there is no chance to be had: {problem}").into_lua_err())?;
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    native.set("entropy", lua.create_function(digits)?)?;

    // (text of an address): what limits per client address count it as; nil: they do not count it
    let counts_local = state.start.counts_local;
    let client_address = move |_: &Lua, text: Option<LuaString>| {
        let client = text.and_then(|text| ClientAddress::parse(&text.as_bytes()));
        Ok(client.filter(|client| counts_local || !client.is_local()).map(|client| client.to_string()))
    };
    native.set("client_address", lua.create_function(client_address)?)?;

    // (serial, number of a worker, status, content type, body): the answer is for the case that this worker is gone
    let shared = Rc::clone(state);
    let pass =
        move |_: &Lua,
              (serial, worker, status, content_type, body): (f64, f64, u16, LuaString, LuaString)| {
            let mut head = HeadLines::default();
            head.push(b"Content-Type", &content_type.as_bytes()).map_err(mlua::Error::external)?;
            let serial = serial as u64;
            if shared.end_job(serial).is_some() {
                let (worker, head, body) = (worker as u32, head.as_bytes(), body.as_bytes());
                shared.push(&Action::Pass { serial, worker, status, head, body: &body });
            }
            Ok(())
        };
    native.set("pass", lua.create_function(pass)?)
}
