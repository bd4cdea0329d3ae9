//! Sessions, signed tokens and tokens for forms. What is signed and how is `handler_core`'s; the values are the
//! runtime's, which hands their JSON over.

use super::headers::first;
use crate::api::{State, message_of};
use handler_core::sessions::{Jar, Options, Visit, cache_control, csrf, vary};
use handler_core::worker::surroundings::{entropy, unix_time};
use mlua::{Lua, LuaString, Table, UserData, UserDataRefMut, Value};
use mongrel2_wire::{Envelope, Text};
use std::cell::OnceCell;
use std::rc::Rc;

/// What a request's session is to the runtime.
struct LuaVisit(Visit);

impl UserData for LuaVisit {}

/// The app's jar, made when it is first asked for: by then the script has said what its options are.
#[derive(Default)]
pub(in crate::api) struct LazyJar {
    options: OnceCell<Options>,
    jar: OnceCell<Jar>,
}

impl State {
    pub(super) fn jar(&self) -> &Jar {
        self.jar.jar.get_or_init(|| {
            let options = self.jar.options.get().cloned();
            let options = options.unwrap_or_else(|| Options::of_mount(&self.start.mount));
            Jar::new(&self.start.keys, options)
        })
    }
}

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    register_sessions(lua, native, state)?;
    register_forms(lua, native, state)?;

    // (JSON): the text, or nil and the problem
    let shared = Rc::clone(state);
    let sign = move |_: &Lua, json: LuaString| match shared.jar().sign(&json.to_string_lossy(), unix_time()) {
        Ok(text) => Ok((Some(text), None)),
        Err(problem) => Ok((None, Some(problem.to_string()))),
    };
    native.set("sign", lua.create_function(sign)?)?;

    // (text, seconds or nil): the JSON, or nil and the problem
    let shared = Rc::clone(state);
    let unsign = move |_: &Lua, (text, max_age): (LuaString, Option<f64>)| match shared.jar().unsign(
        &text.as_bytes(),
        max_age.map(|seconds| seconds as u64),
        unix_time(),
    ) {
        Ok(json) => Ok((Some(json), None)),
        Err(problem) => Ok((None, Some(problem.to_string()))),
    };
    native.set("unsign", lua.create_function(unsign)?)
}

fn register_sessions(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    // (options): the problem, or nil
    let shared = Rc::clone(state);
    let options = move |_: &Lua, table: Table| {
        let mut options = Options::of_mount(&shared.start.mount);
        let problem = match read_options(&table, &mut options) {
            Ok(()) => options.check().err().map(|problem| problem.to_string()),
            Err(problem) => Some(problem),
        };
        if problem.is_none() {
            // The runtime asks once, since a script has one app.
            let _ = shared.jar.options.set(options);
        }
        Ok(problem)
    };
    native.set("session_options", lua.create_function(options)?)?;

    // (job): the visit, and its values as JSON
    let shared = Rc::clone(state);
    let visit = move |lua: &Lua, job: LuaString| {
        let job = job.as_bytes();
        let envelope = Envelope::parse(message_of(&job)).ok();
        let values = envelope.as_ref().and_then(|envelope| envelope.headers.get(b"cookie"));
        let headers: Vec<_> = values.iter().flat_map(|values| values.iter()).map(Text::bytes).collect();
        let visit = Visit::open(shared.jar(), headers.iter().map(|header| &**header), unix_time());
        let json = lua.create_string(visit.json())?;
        Ok((lua.create_userdata(LuaVisit(visit))?, json))
    };
    native.set("visit", lua.create_function(visit)?)?;

    let forget = |_: &Lua, mut visit: UserDataRefMut<LuaVisit>| {
        visit.0.forget();
        Ok(())
    };
    native.set("visit_forget", lua.create_function(forget)?)?;

    // (visit, JSON, whether that is what came, whether over https): the Set-Cookie value or nil, and the problem
    let shared = Rc::clone(state);
    let close =
        move |lua: &Lua, (visit, json, same, https): (UserDataRefMut<LuaVisit>, LuaString, bool, bool)| {
            let (jar, json, entropy) = (shared.jar(), json.to_string_lossy(), entropy()?);
            match visit.0.close(jar, &json, same, unix_time(), https, entropy) {
                Ok(line) => Ok((line.map(|line| lua.create_string(line)).transpose()?, None)),
                Err(problem) => Ok((None, Some(problem.to_string()))),
            }
        };
    native.set("visit_close", lua.create_function(close)?)?;

    // (Cache-Control or nil, Vary or nil, whether there is a cookie): what each has to be instead, or nil
    let privacy = |_: &Lua, (control, varies, cookie): (Option<LuaString>, Option<LuaString>, bool)| {
        let control = cache_control(control.as_ref().map(LuaString::as_bytes).as_deref(), cookie);
        Ok((control, vary(varies.as_ref().map(LuaString::as_bytes).as_deref())))
    };
    native.set("privacy", lua.create_function(privacy)?)
}

fn register_forms(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    // (visit): the token, or nil and the problem
    let shared = Rc::clone(state);
    let token = move |_: &Lua, mut visit: UserDataRefMut<LuaVisit>| match visit
        .0
        .csrf_token(shared.jar(), entropy()?)
    {
        Ok(token) => Ok((Some(token), None)),
        Err(problem) => Ok((None, Some(problem.to_string()))),
    };
    native.set("csrf_token", lua.create_function(token)?)?;

    let shared = Rc::clone(state);
    let allows = move |_: &Lua, (visit, token): (UserDataRefMut<LuaVisit>, LuaString)| {
        Ok(visit.0.allows(shared.jar(), &token.as_bytes()))
    };
    native.set("visit_allows", lua.create_function(allows)?)?;

    // (job): whether its request needs a token
    let applies = |_: &Lua, job: LuaString| {
        let job = job.as_bytes();
        let Ok(envelope) = Envelope::parse(message_of(&job)) else { return Ok(true) };
        let method = first(&envelope, b"METHOD").map(Text::bytes).unwrap_or_default();
        let types = envelope.headers.get(b"content-type");
        let types: Vec<_> = types.iter().flat_map(|values| values.iter()).map(Text::bytes).collect();
        let applies = |content_type: &[u8]| csrf::applies(&method, Some(content_type));
        Ok(match types.is_empty() {
            true => csrf::applies(&method, None),
            false => types.iter().any(|content_type| applies(content_type)),
        })
    };
    native.set("csrf_applies", lua.create_function(applies)?)?;
    native.set("csrf_header", csrf::HEADER)?;
    native.set("csrf_field", csrf::FIELD)?;
    native.set("csrf_refusal", csrf::REFUSAL)
}

/// Reads `{ name =, max_age =, domain =, same_site =, secure = }`.
fn read_options(table: &Table, options: &mut Options) -> Result<(), String> {
    for pair in table.pairs::<String, Value>() {
        let (key, value) = pair.map_err(|_| "the options of a session have names".to_owned())?;
        let text = || value.as_string().map(|text| text.to_string_lossy());
        let wrong = || format!("`{key}` of a session cannot be a {}", value.type_name());
        match key.as_str() {
            "name" => options.name = text().ok_or_else(wrong)?,
            "max_age" => {
                let seconds = value.as_f64().or(value.as_i64().map(|whole| whole as f64));
                options.max_age = seconds.ok_or_else(wrong)? as u64;
            }
            "domain" => options.domain = Some(text().ok_or_else(wrong)?),
            "same_site" => options.same_site = text().ok_or_else(wrong)?,
            "secure" => options.secure = Some(value.as_boolean().ok_or_else(wrong)?),
            other => return Err(format!("a session has no option `{other}`")),
        }
    }
    Ok(())
}
