//! Pages from templates: a script's values as templates know them, and what they see of the request.

use crate::api::State;
use handler_core::templates::minijinja::Value as Shown;
use handler_core::templates::{Page, Templates};
use mlua::{Lua, LuaString, Table, Value};
use std::rc::Rc;

/// How deep tables may nest.
const MAX_DEPTH: usize = 100;

/// The fields of a request that are plain values.
const FIELDS: [&str; 8] = ["method", "path", "query", "version", "scheme", "remote_addr", "host", "url"];

pub(super) fn register(lua: &Lua, native: &Table, state: &Rc<State>) -> mlua::Result<()> {
    let templates = Templates::beside(&state.start.source, state.start.dev);
    let array = state.array.clone();
    // (name, values, request or nil): the page and its type; or nil, the problem, and whether that has a place
    let render = move |lua: &Lua, (name, values, request): (LuaString, Table, Option<Table>)| {
        let failed = |problem: String, placed: bool| {
            Ok((None, Some(Value::String(lua.create_string(problem)?)), Some(placed)))
        };
        let values = match (Reader { array: &array, path: Vec::new() }).table(&values) {
            Ok(values) => values,
            Err(problem) => return failed(problem, false),
        };
        let page =
            request.map(|request| -> Rc<dyn Page> { Rc::new(LuaPage { request, array: array.clone() }) });
        match templates.render(&name.to_string_lossy(), values, page) {
            Ok(made) => {
                let kind = Value::String(lua.create_string(made.content_type)?);
                Ok((Some(lua.create_string(made.body)?), Some(kind), None))
            }
            Err(problem) => failed(problem.to_string(), problem.file.is_some()),
        }
    };
    native.set("render", lua.create_function(render)?)
}

/// Makes values for templates.
struct Reader<'a> {
    array: &'a Table,
    /// The keys that lead to the value at hand, for messages.
    path: Vec<String>,
}

impl Reader<'_> {
    fn fail(&self, problem: &str) -> String {
        match self.path.is_empty() {
            true => problem.to_owned(),
            false => format!("{problem} at `{}`", self.path.join(".")),
        }
    }

    fn value(&mut self, value: &Value) -> Result<Shown, String> {
        Ok(match value {
            Value::Nil => Shown::from(()),
            Value::LightUserData(pointer) if pointer.0.is_null() => Shown::from(()),
            Value::Boolean(yes) => Shown::from(*yes),
            Value::Integer(number) => Shown::from(*number),
            // Lua's numbers are floats; whole ones are shown as people write them.
            Value::Number(number) if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 => {
                Shown::from(*number as i64)
            }
            Value::Number(number) => Shown::from(*number),
            Value::String(text) => Shown::from(text.to_string_lossy()),
            Value::Table(table) => self.table(table)?,
            other => return Err(self.fail(&format!("a template has no use for a {}", other.type_name()))),
        })
    }

    fn table(&mut self, table: &Table) -> Result<Shown, String> {
        if self.path.len() >= MAX_DEPTH {
            return Err(format!("values are nested deeper than {MAX_DEPTH}, perhaps a cycle"));
        }
        let length = table.raw_len();
        let is_list = table.metatable().is_some_and(|meta| meta == *self.array);
        let mut list = Vec::with_capacity(length);
        for at in 1..=length {
            let item: Value = table.raw_get(at).map_err(|problem| self.fail(&problem.to_string()))?;
            self.path.push(at.to_string());
            list.push(self.value(&item)?);
            self.path.pop();
        }
        let mut named: Vec<(String, Value)> = Vec::new();
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|problem| self.fail(&problem.to_string()))?;
            let name = match &key {
                Value::Integer(at) if (1..=length as i64).contains(at) => continue,
                Value::Number(at) if at.fract() == 0.0 && (1.0..=length as f64).contains(at) => continue,
                Value::String(text) => text.to_string_lossy(),
                Value::Integer(number) => number.to_string(),
                Value::Number(number) => number.to_string(),
                other => return Err(self.fail(&format!("a {} cannot be a key", other.type_name()))),
            };
            named.push((name, value));
        }
        if named.is_empty() && (is_list || !list.is_empty()) {
            return Ok(Shown::from(list));
        }
        if !list.is_empty() {
            return Err(self.fail("a table with both list items and named keys is neither"));
        }
        // The order of a Lua table is none.
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let mut map = Vec::with_capacity(named.len());
        for (name, value) in named {
            self.path.push(name.clone());
            let value = self.value(&value)?;
            self.path.pop();
            map.push((name, value));
        }
        Ok(map.into_iter().collect())
    }
}

/// The request that a page is made for.
struct LuaPage {
    request: Table,
    array: Table,
}

impl LuaPage {
    fn shown(&self, value: mlua::Result<Value>) -> Option<Shown> {
        let value = value.ok().filter(|value| !value.is_nil())?;
        Reader { array: &self.array, path: Vec::new() }.value(&value).ok()
    }
}

impl Page for LuaPage {
    fn field(&self, name: &str) -> Option<Shown> {
        FIELDS.contains(&name).then(|| self.shown(self.request.get(name)))?
    }

    fn named(&self, view: &str, name: &str) -> Option<Shown> {
        let view: Table = self.request.get(view).ok()?;
        self.shown(view.get(name))
    }

    fn session(&self) -> Result<Shown, String> {
        let values: Table = self.request.get("session").map_err(|problem| first_line(&problem))?;
        Reader { array: &self.array, path: Vec::new() }.table(&values)
    }

    fn csrf_token(&self) -> Result<String, String> {
        self.request.get("csrf_token").map_err(|problem| first_line(&problem))
    }
}

fn first_line(problem: &mlua::Error) -> String {
    problem.to_string().lines().next().unwrap_or_default().to_owned()
}
