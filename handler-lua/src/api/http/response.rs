//! Answers: header lines checked, cookies written, the action pushed.

use crate::api::{State, bytes_of};
use handler_core::worker::protocol::Action;
use kennel_http::HeadLines;
use kennel_http::compression;
use kennel_http::cookies::{self, Attributes};
use mlua::{Lua, LuaString, Table, Value};
use std::cell::RefCell;
use std::rc::Rc;

/// A header value as bytes: strings, and numbers as Lua writes them.
fn value_bytes(lua: &Lua, value: Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(_) | Value::Number(_) => {
            lua.coerce_string(value).ok().flatten().map(|text| text.as_bytes().to_vec())
        }
        _ => None,
    }
}

/// Appends the lines of one header: its value, or each of a list.
fn push_header(lua: &Lua, lines: &mut HeadLines, name: &Value, value: Value) -> Result<(), String> {
    let Some(name) = bytes_of(name) else {
        return Err(format!("a header name must be a string, not a {}", name.type_name()));
    };
    let wrong = |value: &Value| {
        let name = String::from_utf8_lossy(&name);
        format!(
            "the value of header `{name}` must be a string, a number or a list, not a {}",
            value.type_name()
        )
    };
    let values = match value {
        Value::Table(list) => {
            list.sequence_values::<Value>().collect::<mlua::Result<Vec<_>>>().unwrap_or_default()
        }
        one => vec![one],
    };
    for value in values {
        let type_error = wrong(&value);
        let bytes = value_bytes(lua, value).ok_or(type_error)?;
        lines.push(&name, &bytes).map_err(|problem| problem.to_string())?;
    }
    Ok(())
}

/// Appends the lines of a table of headers; gives the problem, if there is one.
pub(super) fn push_headers(
    lua: &Lua,
    lines: &mut HeadLines,
    headers: Option<Table>,
) -> mlua::Result<Option<String>> {
    // raw pairs: the table's metatable is the runtime's
    for pair in headers.iter().flat_map(Table::pairs::<Value, Value>) {
        let (name, value) = pair?;
        if let Err(problem) = push_header(lua, lines, &name, value) {
            return Ok(Some(problem));
        }
    }
    Ok(None)
}

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    let check_header = |lua: &Lua, (name, value): (Value, Value)| {
        Ok(push_header(lua, &mut HeadLines::default(), &name, value).err())
    };
    native.set("check_header", lua.create_function(check_header)?)?;

    // (serial, status, content type or nil, headers or nil, body, Accept-Encoding if it may be compressed or nil): nil,
    // or the problem
    let shared = Rc::clone(state);
    let scratch = RefCell::new(HeadLines::default());
    let respond = move |lua: &Lua,
                        (serial, status, content_type, headers, body, accept): (
        f64,
        u16,
        Option<LuaString>,
        Option<Table>,
        LuaString,
        Option<LuaString>,
    )| {
        let mut lines = scratch.borrow_mut();
        lines.clear();
        if let Some(content_type) = content_type {
            let pushed = lines.push(b"Content-Type", &content_type.as_bytes());
            if let Err(problem) = pushed {
                return Ok(Some(problem.to_string()));
            }
        }
        if let Some(problem) = push_headers(lua, &mut lines, headers)? {
            return Ok(Some(problem));
        }
        let serial = serial as u64;
        if shared.end_job(serial).is_some() {
            let (head, body) = (lines.as_bytes(), &*body.as_bytes());
            let smaller =
                accept.and_then(|accept| compression::apply(status, head, body, &accept.as_bytes()));
            let (head, body) = match &smaller {
                Some((head, compressed)) => (&head[..], compressed.as_deref().unwrap_or(body)),
                None => (head, body),
            };
            shared.push(&Action::Respond { serial, status, head, body });
        }
        Ok(None)
    };
    native.set("respond", lua.create_function(respond)?)?;

    // (name, value or table of value and attributes): the line, or nil and the problem
    let cookie = |lua: &Lua, (name, value): (LuaString, Value)| {
        let mut attributes = Attributes {
            path: Some("/".into()),
            same_site: Some("Lax".into()),
            http_only: true,
            ..Default::default()
        };
        let value = match value {
            Value::Table(options) => match read_attributes(&options, &mut attributes) {
                Ok(value) => value_bytes(lua, value),
                Err(problem) => return Ok((None, Some(format!("cookie `{}`: {problem}", name.display())))),
            },
            other => value_bytes(lua, other),
        };
        let Some(value) = value else {
            return Ok((None, Some(format!("the value of cookie `{}` must be a string", name.display()))));
        };
        match cookies::set_cookie(&name.as_bytes(), &value, &attributes) {
            Ok(line) => Ok((Some(lua.create_string(line)?), None)),
            Err(problem) => Ok((None, Some(problem.to_string()))),
        }
    };
    native.set("cookie", lua.create_function(cookie)?)
}

/// Reads `{ value =, max_age =, path =, domain =, secure =, http_only =, same_site = }`.
fn read_attributes(options: &Table, attributes: &mut Attributes) -> Result<Value, String> {
    let mut found = Value::Nil;
    for pair in options.pairs::<String, Value>() {
        let (key, value) = pair.map_err(|_| "its options must have names".to_owned())?;
        let text = |value: &Value| value.as_string().map(|text| text.to_string_lossy());
        let wrong = || format!("`{key}` cannot be a {}", value.type_name());
        match key.as_str() {
            "value" => found = value,
            "max_age" => {
                let seconds = value.as_i64().or(value.as_f64().map(|x| x as i64));
                attributes.max_age = Some(seconds.ok_or_else(wrong)?);
            }
            "path" => attributes.path = Some(text(&value).ok_or_else(wrong)?),
            "domain" => attributes.domain = Some(text(&value).ok_or_else(wrong)?),
            "same_site" => attributes.same_site = Some(text(&value).ok_or_else(wrong)?),
            "secure" => attributes.secure = value.as_boolean().ok_or_else(wrong)?,
            "http_only" => attributes.http_only = value.as_boolean().ok_or_else(wrong)?,
            other => return Err(format!("there is no option `{other}`")),
        }
    }
    Ok(found)
}
