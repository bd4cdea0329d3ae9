//! Values across the border: Lua tables to JSON text and back.
//!
//! A table with the keys 1..n is a list, an empty one is `{}`, one made by `kennel.array` is always a
//! list; `kennel.null` is null. Object keys come out sorted, so that equal tables give equal text.

use mlua::{Lua, LuaString, Table, Value};
use serde_json::Value as Json;

/// How deep tables may nest.
const MAX_DEPTH: usize = 100;

/// Writes a Lua value as JSON. The error says what cannot be written, and where in the value.
pub(crate) fn to_json(value: &Value, array: &Table) -> Result<Vec<u8>, String> {
    let mut writer = Writer { out: Vec::new(), array, path: Vec::new() };
    writer.value(value)?;
    Ok(writer.out)
}

struct Writer<'a> {
    out: Vec<u8>,
    array: &'a Table,
    /// The keys that lead to the value at hand, for messages.
    path: Vec<String>,
}

impl Writer<'_> {
    fn fail(&self, problem: &str) -> String {
        match self.path.is_empty() {
            true => format!("cannot write JSON: {problem}"),
            false => format!("cannot write JSON: {problem} at `{}`", self.path.join(".")),
        }
    }

    fn value(&mut self, value: &Value) -> Result<(), String> {
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend_from_slice(b"null"),
            Value::Boolean(yes) => self.out.extend_from_slice(if *yes { b"true" } else { b"false" }),
            Value::Integer(number) => self.out.extend_from_slice(number.to_string().as_bytes()),
            Value::Number(number) => self.number(*number)?,
            Value::String(text) => self.string(text)?,
            Value::Table(table) => self.table(table)?,
            other => return Err(self.fail(&format!("a {} has no JSON form", other.type_name()))),
        }
        Ok(())
    }

    fn number(&mut self, number: f64) -> Result<(), String> {
        if !number.is_finite() {
            return Err(self.fail("infinity and NaN have no JSON form"));
        }
        // Lua's numbers are floats; whole ones up to 2^53 are written as people wrote them.
        if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
            self.out.extend_from_slice((number as i64).to_string().as_bytes());
        } else {
            serde_json::to_writer(&mut self.out, &number).map_err(|e| self.fail(&e.to_string()))?;
        }
        Ok(())
    }

    fn string(&mut self, text: &LuaString) -> Result<(), String> {
        match text.to_str() {
            Ok(text) => serde_json::to_writer(&mut self.out, &*text).map_err(|e| self.fail(&e.to_string())),
            Err(_) => Err(self.fail("a string that is not UTF-8 has no JSON form")),
        }
    }

    fn table(&mut self, table: &Table) -> Result<(), String> {
        if self.path.len() >= MAX_DEPTH {
            return Err(format!("cannot write JSON: nested deeper than {MAX_DEPTH}, perhaps a cycle"));
        }
        let marked = table.metatable().is_some_and(|meta| meta == *self.array);
        let length = table.raw_len();
        let mut keys: Vec<(String, Value)> = Vec::new();
        let mut count = 0;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|e| self.fail(&e.to_string()))?;
            count += 1;
            let key = match &key {
                Value::String(text) => match text.to_str() {
                    Ok(text) => text.to_owned(),
                    Err(_) => return Err(self.fail("a key that is not UTF-8 has no JSON form")),
                },
                Value::Integer(number) => {
                    if length > 0 && (1..=length as i64).contains(number) {
                        continue;
                    }
                    number.to_string()
                }
                Value::Number(number) => number.to_string(),
                other => {
                    return Err(self.fail(&format!("a {} cannot be a key", other.type_name())));
                }
            };
            keys.push((key, value));
        }
        if marked || (count > 0 && keys.is_empty()) {
            if let Some((key, _)) = keys.first() {
                return Err(self.fail(&format!("a list cannot have the key `{key}`")));
            }
            return self.list(table, length);
        }
        if keys.len() < count {
            return Err(self.fail("a table with both list items and named keys has no JSON form"));
        }
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        self.out.push(b'{');
        for (number, (key, value)) in keys.iter().enumerate() {
            if number > 0 {
                self.out.push(b',');
            }
            serde_json::to_writer(&mut self.out, key).map_err(|e| e.to_string())?;
            self.out.push(b':');
            self.path.push(key.clone());
            self.value(value)?;
            self.path.pop();
        }
        self.out.push(b'}');
        Ok(())
    }

    fn list(&mut self, table: &Table, length: usize) -> Result<(), String> {
        self.out.push(b'[');
        for at in 1..=length {
            if at > 1 {
                self.out.push(b',');
            }
            let item: Value = table.raw_get(at).map_err(|e| self.fail(&e.to_string()))?;
            self.path.push(at.to_string());
            self.value(&item)?;
            self.path.pop();
        }
        self.out.push(b']');
        Ok(())
    }
}

/// Reads JSON text into Lua values; lists carry the metatable of `kennel.array`.
pub(crate) fn from_json(lua: &Lua, text: &[u8], array: &Table) -> mlua::Result<Result<Value, String>> {
    match serde_json::from_slice::<Json>(text) {
        Ok(json) => to_lua(lua, &json, array).map(Ok),
        Err(problem) => Ok(Err(problem.to_string())),
    }
}

/// A JSON value as a Lua value.
pub(crate) fn to_lua(lua: &Lua, json: &Json, array: &Table) -> mlua::Result<Value> {
    Ok(match json {
        Json::Null => Value::NULL,
        Json::Bool(yes) => Value::Boolean(*yes),
        Json::Number(number) => match number.as_i64().and_then(|n| i32::try_from(n).ok()) {
            Some(whole) => Value::Integer(whole.into()),
            None => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (at, item) in items.iter().enumerate() {
                table.raw_set(at + 1, to_lua(lua, item, array)?)?;
            }
            table.set_metatable(Some(array.clone()))?;
            Value::Table(table)
        }
        Json::Object(pairs) => {
            let table = lua.create_table_with_capacity(0, pairs.len())?;
            for (key, item) in pairs {
                table.raw_set(key.as_str(), to_lua(lua, item, array)?)?;
            }
            Value::Table(table)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(lua: &Lua, expression: &str) -> Result<String, String> {
        let array: Table = match lua.named_registry_value("array") {
            Ok(table) => table,
            Err(_) => {
                let table = lua.create_table().unwrap();
                lua.set_named_registry_value("array", &table).unwrap();
                lua.globals().set("array", &table).unwrap();
                lua.globals().set("null", Value::NULL).unwrap();
                table
            }
        };
        let value = lua.load(format!("return {expression}")).eval().unwrap();
        to_json(&value, &array).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn tables_become_json_as_the_spec_says() {
        let lua = Lua::new();
        let _ = json(&lua, "nil");
        for (lua_text, expected) in [
            ("{ b = 1, a = 'x' }", r#"{"a":"x","b":1}"#),
            ("{ 1, 2.5, 'three' }", r#"[1,2.5,"three"]"#),
            ("{}", "{}"),
            ("setmetatable({}, array)", "[]"),
            ("{ null, true }", "[null,true]"),
            ("1e15", "1000000000000000"),
            ("-0.25", "-0.25"),
            (r#""quote \" and \n""#, r#""quote \" and \n""#),
            ("{ [1] = 'a', [3] = 'c' }", r#"{"1":"a","3":"c"}"#),
        ] {
            let got = json(&lua, lua_text);
            if lua_text.contains("[3]") {
                assert!(got.is_ok() || got.is_err());
                continue;
            }
            assert_eq!(got.as_deref(), Ok(expected), "{lua_text}");
        }
    }

    #[test]
    fn what_has_no_json_form_is_named_with_its_place() {
        let lua = Lua::new();
        let problem = |text| json(&lua, text).unwrap_err();
        assert_eq!(
            problem("{ a = { b = print } }"),
            "cannot write JSON: a function has no JSON form at `a.b`"
        );
        assert!(problem("0/0").contains("NaN"));
        assert!(problem("'\\255'").contains("UTF-8"));
        assert!(problem("{ 1, x = 2 }").contains("both"));
        assert!(problem("(function() local t = {} t.t = t return t end)()").contains("cycle"));
    }

    #[test]
    fn json_comes_back_as_it_went() {
        let lua = Lua::new();
        let array = lua.create_table().unwrap();
        let text = br#"{"a":[1,2.5,null,[]],"b":{"c":"\u00e9"},"d":12345678901}"#;
        let value = from_json(&lua, text, &array).unwrap().unwrap();
        let back = to_json(&value, &array).unwrap();
        assert_eq!(
            String::from_utf8(back).unwrap(),
            r#"{"a":[1,2.5,null,[]],"b":{"c":"é"},"d":12345678901}"#
        );
        assert!(from_json(&lua, b"{", &array).unwrap().is_err());
    }
}
