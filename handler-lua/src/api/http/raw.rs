//! The raw level: whole messages to scripts, bytes to any connection.

use crate::api::{State, bytes_of, message_of};
use handler_core::worker::protocol::{Action, Ids, encode_ids};
use mlua::{Lua, LuaString, Table, Value};
use mongrel2_wire::{ConnId, Envelope, Sender};
use std::rc::Rc;

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    let message = |lua: &Lua, raw: LuaString| {
        let raw = raw.as_bytes();
        let message = lua.create_table()?;
        let Ok(envelope) = Envelope::parse(message_of(&raw)) else { return Ok(message) };
        message.set("sender", envelope.sender)?;
        message.set("conn_id", envelope.conn_id)?;
        message.set("path", lua.create_string(envelope.path)?)?;
        message.set("body", lua.create_string(envelope.body)?)?;
        let headers = lua.create_table()?;
        for (name, values) in envelope.headers.iter().map_while(Result::ok) {
            let name = lua.create_string(name)?;
            match values.single() {
                Some(value) => headers.raw_set(name, lua.create_string(value.bytes())?)?,
                None => {
                    let list = lua.create_table()?;
                    for value in values.iter() {
                        list.raw_push(lua.create_string(value.bytes())?)?;
                    }
                    headers.raw_set(name, list)?;
                }
            }
        }
        message.set("headers", headers)?;
        Ok(message)
    };
    native.set("message", lua.create_function(message)?)?;

    // (sender, ids, bytes or nil for a close): nil, or the problem
    let shared = Rc::clone(state);
    let deliver = move |_: &Lua, (sender, ids, payload): (Value, Value, Option<LuaString>)| {
        let sender = bytes_of(&sender).and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
        let Some(sender) = sender else {
            return Ok(Some("the sender must be a string, as in `msg.sender`".to_owned()));
        };
        if let Err(problem) = Sender::new(&sender) {
            return Ok(Some(problem.to_string()));
        }
        let Value::Table(list) = ids else {
            return Ok(Some("conn ids must be a list, as in `{ msg.conn_id }`".to_owned()));
        };
        let mut ids = Vec::with_capacity(list.raw_len());
        for id in list.sequence_values::<Value>() {
            let id = match id? {
                Value::Integer(id) => Some(id),
                Value::Number(id) if id.fract() == 0.0 => Some(id as i64),
                _ => None,
            };
            match id.map(ConnId::try_from) {
                Some(Ok(_)) => ids.extend(id),
                Some(Err(problem)) => return Ok(Some(problem.to_string())),
                None => return Ok(Some("a conn id is a whole number".to_owned())),
            }
        }
        let ids = encode_ids(ids);
        let ids = Ids::new(&ids);
        match payload {
            Some(payload) => {
                shared.push(&Action::Deliver { sender: &sender, ids, payload: &payload.as_bytes() })
            }
            None => shared.push(&Action::Disconnect { sender: &sender, ids }),
        }
        Ok(None)
    };
    native.set("deliver", lua.create_function(deliver)?)
}
