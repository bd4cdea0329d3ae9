//! What tests call: functions that take a site and plain values. `runtime/testing/site.lua` gives them names and manners.

use super::workers::{LuaWorkers, Trouble};
use crate::convert;
use handler_core::hub::Limits;
use handler_core::rehearsal::{Answer, Ask, Body, ClientId, FilePart, Manner, Message, Plan, Site};
use handler_core::worker::protocol::Start;
use mlua::{IntoLuaMulti, Lua, LuaString, MultiValue, Table, UserData, UserDataMethods, Value};
use std::time::{Duration, Instant};

/// The longest time that a test lets pass at once, seconds.
const LONGEST: f64 = 100.0 * 365.0 * 86_400.0;

/// A site and the workers of its app.
pub(super) struct LuaSite {
    site: Site,
    workers: LuaWorkers,
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The problem as a second value behind nil; the runtime raises it at the test's line.
fn told<T: IntoLuaMulti>(lua: &Lua, result: Result<T, Trouble>) -> mlua::Result<MultiValue> {
    match result {
        Ok(value) => value.into_lua_multi(lua),
        Err(problem) => (Value::Nil, problem.to_string()).into_lua_multi(lua),
    }
}

/// Registers `open`, and what goes with it.
pub(super) fn register(
    lua: &Lua,
    native: &Table,
    array: &Table,
    app: Option<Start>,
    limits: Limits,
) -> mlua::Result<()> {
    // (source or nil, config JSON or nil, request_timeout or nil): the site, or nil and why there is none
    let open =
        move |lua: &Lua, (source, config, timeout): (Option<String>, Option<LuaString>, Option<f64>)| {
            let mut start = match (source, &app) {
                (Some(source), Some(app)) if source == app.source => app.clone(),
                (Some(source), _) => {
                    Start { source, mount: "/".into(), memory: limits.worker_memory, ..Start::default() }
                }
                (None, Some(app)) => app.clone(),
                (None, None) => {
                    let problem =
                        "which app? name it, as in testing.site(\"app.lua\"), or list it in kennel.toml";
                    return (Value::Nil, problem).into_lua_multi(lua);
                }
            };
            if let Some(config) = config {
                start.config = serde_json::from_slice(&config.as_bytes()).unwrap_or_default();
            }
            let mut limits = limits.clone();
            if let Some(seconds) = timeout {
                limits.request_timeout = time(seconds);
            }
            let mut workers = LuaWorkers::default();
            match Site::open(Plan { start, limits, begin: Instant::now() }, &mut workers) {
                Ok(site) => lua.create_userdata(LuaSite { site, workers })?.into_lua_multi(lua),
                Err(problem) => (Value::Nil, problem.to_string()).into_lua_multi(lua),
            }
        };
    native.set("open", lua.create_function(open)?)?;

    let marked = array.clone();
    let decode = move |lua: &Lua, text: LuaString| match convert::from_json(lua, &text.as_bytes(), &marked)? {
        Ok(value) => Ok((true, value)),
        Err(problem) => Ok((false, Value::String(lua.create_string(problem)?))),
    };
    native.set("json_decode", lua.create_function(decode)?)?;
    let marked = array.clone();
    let encode = move |lua: &Lua, value: Value| match convert::to_json(&value, &marked) {
        Ok(text) => Ok((Some(lua.create_string(text)?), None)),
        Err(problem) => Ok((None, Some(problem))),
    };
    native.set("json_encode", lua.create_function(encode)?)
}

fn time(seconds: f64) -> Duration {
    Duration::from_secs_f64(if seconds.is_nan() { 0.0 } else { seconds.clamp(0.0, LONGEST) })
}

/// A list of pairs, as the runtime writes tables of a test's.
fn pairs(table: &Table, key: &str) -> mlua::Result<Pairs> {
    let Some(list) = table.get::<Option<Table>>(key)? else { return Ok(Pairs::new()) };
    let pair = |pair: mlua::Result<Table>| {
        let pair = pair?;
        let (name, value): (LuaString, LuaString) = (pair.get(1)?, pair.get(2)?);
        Ok((name.as_bytes().to_vec(), value.as_bytes().to_vec()))
    };
    list.sequence_values().map(pair).collect()
}

/// `{ query, headers, cookies, form, files, json, body }`, all of them lists of pairs or strings.
fn ask(method: &str, target: &str, options: &Table) -> mlua::Result<Ask> {
    let bytes = |key: &str| -> mlua::Result<Option<Vec<u8>>> {
        Ok(options.get::<Option<LuaString>>(key)?.map(|text| text.as_bytes().to_vec()))
    };
    let body = if options.get::<Option<Table>>("files")?.is_some() {
        Body::Multipart(pairs(options, "form")?, files(options)?)
    } else if options.get::<Option<Table>>("form")?.is_some() {
        Body::Form(pairs(options, "form")?)
    } else if let Some(text) = bytes("json")? {
        Body::Json(text)
    } else if let Some(body) = bytes("body")? {
        Body::Bytes(body)
    } else {
        Body::None
    };
    Ok(Ask {
        query: pairs(options, "query")?,
        headers: pairs(options, "headers")?,
        cookies: pairs(options, "cookies")?,
        body,
        ..Ask::new(method, target)
    })
}

fn files(options: &Table) -> mlua::Result<Vec<FilePart>> {
    let mut files = Vec::new();
    for file in options.get::<Table>("files")?.sequence_values::<Table>() {
        let file = file?;
        let text = |key: &str| -> mlua::Result<Vec<u8>> {
            Ok(file.get::<Option<LuaString>>(key)?.map(|text| text.as_bytes().to_vec()).unwrap_or_default())
        };
        files.push(FilePart {
            name: text("name")?,
            filename: text("filename")?,
            content_type: text("content_type")?,
            content: text("content")?,
        });
    }
    Ok(files)
}

/// Status, header pairs, body, whether it is complete.
fn answer_values(lua: &Lua, answer: &Answer) -> mlua::Result<(u16, Table, LuaString, bool)> {
    Ok((answer.status, pairs_table(lua, &answer.headers)?, lua.create_string(&answer.body)?, answer.complete))
}

fn pairs_table(lua: &Lua, pairs: &[(Vec<u8>, Vec<u8>)]) -> mlua::Result<Table> {
    let list = lua.create_table_with_capacity(pairs.len(), 0)?;
    for (name, value) in pairs {
        list.push(lua.create_sequence_from([lua.create_string(name)?, lua.create_string(value)?])?)?;
    }
    Ok(list)
}

impl UserData for LuaSite {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method_mut("request", |lua, this, (method, target, options): (String, String, Table)| {
            let default = Manner::default();
            let manner = Manner {
                follow: options.get::<Option<bool>>("follow")?.unwrap_or(default.follow),
                cookies: options.get::<Option<bool>>("jar")?.unwrap_or(default.cookies),
                patience: options.get::<Option<f64>>("patience")?.map_or(default.patience, time),
            };
            let ask = ask(&method, &target, &options)?;
            match this.site.request(&ask, &manner, &mut this.workers) {
                Ok(answer) => answer_values(lua, &answer)?.into_lua_multi(lua),
                Err(problem) => (Value::Nil, problem.to_string()).into_lua_multi(lua),
            }
        });
        // The client's number, or false; then the answer, if it was a handshake.
        methods.add_method_mut("connect", |lua, this, (target, options): (String, Table)| {
            let ask = ask("GET", &target, &options)?;
            match this.site.connect(&ask, &mut this.workers) {
                Ok((client, None)) => client.0.into_lua_multi(lua),
                Ok((client, Some(answer))) => {
                    let number = if answer.status == 101 {
                        Value::Integer(client.0.into())
                    } else {
                        Value::Boolean(false)
                    };
                    let (status, headers, body, complete) = answer_values(lua, &answer)?;
                    (number, status, headers, body, complete).into_lua_multi(lua)
                }
                Err(problem) => (Value::Nil, problem.to_string()).into_lua_multi(lua),
            }
        });
        methods.add_method_mut("send", |lua, this, (client, binary, payload): (u32, bool, LuaString)| {
            let sent = this.site.send(ClientId(client), binary, &payload.as_bytes(), &mut this.workers);
            told(lua, sent.map(|()| true))
        });
        methods.add_method_mut("receive", |lua, this, client: u32| {
            match this.site.receive(ClientId(client)) {
                Some(Message { binary, payload }) => {
                    (lua.create_string(payload)?, binary).into_lua_multi(lua)
                }
                None => Value::Nil.into_lua_multi(lua),
            }
        });
        methods.add_method("ended", |_, this, client: u32| -> mlua::Result<(Option<u16>, Option<String>)> {
            Ok(this.site.ended(ClientId(client)).map(|ended| (ended.code, ended.reason)).unzip())
        });
        methods.add_method_mut("close", |lua, this, (client, code, reason): (u32, u16, String)| {
            told(lua, this.site.close(ClientId(client), code, &reason, &mut this.workers).map(|()| true))
        });
        methods.add_method_mut("vanish", |lua, this, client: u32| {
            told(lua, this.site.vanish(ClientId(client), &mut this.workers).map(|()| true))
        });
        methods.add_method_mut("advance", |lua, this, seconds: f64| {
            told(lua, this.site.advance(time(seconds), &mut this.workers).map(|()| true))
        });
        methods.add_method_mut("reload", |lua, this, ()| {
            told(lua, this.site.reload(&mut this.workers).map(|()| true))
        });
        methods.add_method_mut("evaluate", |lua, this, code: String| {
            told(lua, this.site.evaluate(&code, &mut this.workers))
        });
        methods.add_method_mut("set_silent", |_, this, silent: bool| {
            this.site.set_silent(silent);
            Ok(())
        });
        methods.add_method("time", |_, this, ()| Ok(this.site.time().as_secs_f64()));
        methods.add_method_mut("cookies", |lua, this, ()| pairs_table(lua, &this.site.cookies()));
        methods.add_method_mut("forget_cookies", |_, this, ()| {
            this.site.forget_cookies();
            Ok(())
        });
        methods.add_method("log_size", |_, this, ()| Ok(this.site.log_size()));
        // From this line on: a list of { at, level, text, fields as JSON }.
        methods.add_method("log", |lua, this, from: usize| {
            let list = lua.create_table()?;
            for line in this.site.log(from) {
                let entry = lua.create_table()?;
                entry.set("at", line.at.as_secs_f64())?;
                entry.set("level", line.level)?;
                entry.set("text", line.text)?;
                entry.set("fields", (!line.fields.is_empty()).then_some(line.fields))?;
                list.push(entry)?;
            }
            Ok(list)
        });
        // The ids of the live connections, of a room or all, and the server's numbers of their clients.
        methods.add_method("connections", |lua, this, room: Option<String>| {
            let list = lua.create_table()?;
            for view in this.site.connections(room.as_deref()) {
                let entry = lua.create_table()?;
                entry.set("id", view.id)?;
                entry.set("client", view.conn)?;
                entry.set("rooms", view.rooms)?;
                list.push(entry)?;
            }
            Ok(list)
        });
        methods.add_method("data", |_, this, client: u32| Ok(this.site.data(ClientId(client))));
    }
}
