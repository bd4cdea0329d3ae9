//! What people say to a running hub, and what it answers: one JSON object a line, both ways.
//!
//! ```text
//! {"do": "send", "id": "18f3-0.0.7", "text": "hello"}      {"ok": true, "result": null}
//! {"do": "connections", "room": "lobby", "ref": 1}         {"ref": 1, "ok": true, "result": {"connections": [...], ...}}
//! {"do": "sned"}                                           {"ok": false, "error": "there is no command `sned`; did you mean `send`?"}
//! ```
//!
//! `data` may stand for `text`, which may be any JSON then, and `conn` for `id`. `ref` may be anything; it comes back with the answer. Behind `tail` come lines with `event`, in between answers. Here is the language alone; [`serve`](crate::serve) has the socket, and
//! [`hub::inspect`](crate::hub::inspect) what there is to see.

mod command;

pub use command::{COMMANDS, Command, Described, LogLevel, SimulatedRequest, WorkerName};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use thiserror::Error;

/// The largest line that is read, bytes.
pub const MAX_LINE: usize = 1 << 20;

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It is no JSON object.
    #[error("a line is one JSON object, as in {{\"do\": \"help\"}}: {problem}")]
    NotAnObject {
        /// What the parser says.
        problem: String,
    },
    /// It does not say what to do.
    #[error("what is to be done? `do` names a command; {{\"do\": \"help\"}} lists them")]
    NothingToDo,
    /// No command has this name.
    #[error("there is no command `{name}`{suggestion}")]
    Unknown {
        /// The name.
        name: String,
        /// What it may be, or where to look.
        suggestion: String,
    },
    /// Something about what it is given.
    #[error("{name}: {problem}")]
    Arguments {
        /// The command's name.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// More than [`MAX_LINE`].
    #[error("a line has at most {MAX_LINE} bytes")]
    TooLong,
}

/// A line as it was understood: its `ref`, and what is to be done.
#[derive(Debug)]
pub struct Line {
    /// Comes back with the answer.
    pub reference: Option<Value>,
    /// What is to be done, or why not.
    pub command: Result<Command, CommandError>,
}

/// Reads a line.
pub fn read_line(line: &[u8]) -> Line {
    let mut object = match serde_json::from_slice::<Map<String, Value>>(line) {
        Ok(object) => object,
        Err(problem) => {
            let problem = problem.to_string();
            return Line { reference: None, command: Err(CommandError::NotAnObject { problem }) };
        }
    };
    let reference = object.remove("ref");
    Line { reference, command: read_command(object) }
}

fn read_command(mut object: Map<String, Value>) -> Result<Command, CommandError> {
    let Some(Value::String(name)) = object.remove("do") else { return Err(CommandError::NothingToDo) };
    let Some(described) = COMMANDS.iter().find(|command| command.name == name) else {
        let distances = COMMANDS.iter().map(|one| (strsim::damerau_levenshtein(&name, one.name), one.name));
        let suggestion = match distances.min().filter(|(distance, _)| *distance <= 2) {
            Some((_, near)) => format!("; did you mean `{near}`?"),
            None => "; `help` lists them".to_owned(),
        };
        return Err(CommandError::Unknown { name, suggestion });
    };
    (described.read)(object).map_err(|problem| CommandError::Arguments { name: described.name, problem })
}

/// The arguments of a command.
fn arguments<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(object)).map_err(|problem| problem.to_string())
}

/// The line that answers; with its end.
pub fn answer(reference: Option<&Value>, result: Result<Value, String>) -> String {
    let mut line = Map::new();
    if let Some(reference) = reference {
        line.insert("ref".into(), reference.clone());
    }
    line.insert("ok".into(), result.is_ok().into());
    match result {
        Ok(result) => line.insert("result".into(), result),
        Err(error) => line.insert("error".into(), error.into()),
    };
    let mut text = Value::Object(line).to_string();
    text.push('\n');
    text
}

/// What became of the newest code of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its name.
    pub app: String,
    /// How many workers run it; or why it did not load.
    pub outcome: Result<usize, String>,
}

/// The line that answers a reload; with its end. It is `ok` when all code has loaded, and has a `result` in any case.
pub fn reload_answer(reference: Option<&Value>, loaded: &[Loaded]) -> String {
    let mut line = Map::new();
    if let Some(reference) = reference {
        line.insert("ref".into(), reference.clone());
    }
    let errors: Vec<_> = loaded
        .iter()
        .filter_map(|one| {
            one.outcome.as_ref().err().map(|error| format!("{} did not load: {error}", one.app))
        })
        .collect();
    line.insert("ok".into(), errors.is_empty().into());
    if !errors.is_empty() {
        line.insert("error".into(), errors.join("\n").into());
    }
    let each = |one: &Loaded| match &one.outcome {
        Ok(workers) => json!({ "app": one.app, "loaded": true, "workers": workers }),
        Err(error) => json!({ "app": one.app, "loaded": false, "error": error }),
    };
    line.insert("result".into(), loaded.iter().map(each).collect());
    let mut text = Value::Object(line).to_string();
    text.push('\n');
    text
}

/// The line that shows what has passed; with its end.
pub fn event(event: &Value) -> String {
    format!("{event}\n")
}

/// What `help` answers: all commands, or one; those that the address of one handler takes, or all there are.
///
/// # Errors
///
/// [`CommandError::Unknown`].
pub fn help(name: Option<&str>, for_handlers: bool) -> Result<Value, CommandError> {
    let is_there = |command: &&Described| !for_handlers || command.is_for_handlers();
    let describe = |command: &Described| json!({ "command": command.name, "arguments": command.arguments, "does": command.does, "example": command.example });
    let mut commands = COMMANDS.iter().filter(is_there);
    let Some(name) = name else { return Ok(commands.map(describe).collect()) };
    match commands.find(|command| command.name == name) {
        Some(command) => Ok(json!([describe(command)])),
        None => {
            Err(CommandError::Unknown { name: name.to_owned(), suggestion: "; `help` lists them".into() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> String {
        read_line(line.as_bytes()).command.expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_line_is_a_command_with_its_arguments() {
        let line = read_line(br#"{"do":"close","id":"a-0.0.1","code":4000,"ref":[1]}"#);
        assert_eq!(line.reference, Some(json!([1])));
        let close = Command::Close { id: "a-0.0.1".into(), code: 4000, reason: String::new() };
        assert_eq!(line.command, Ok(close));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_next_step() {
        assert_eq!(problem(r#"{"do":"sned"}"#), "there is no command `sned`; did you mean `send`?");
        assert_eq!(problem(r#"{"do":"xyzzy"}"#), "there is no command `xyzzy`; `help` lists them");
        assert!(problem(r#"{"do":"send","id":"x"}"#).starts_with("send: missing field `text`"));
        assert!(problem(r#"{"do":"rooms","of":1}"#).starts_with("rooms: unknown field `of`"));
        assert!(problem("hello").starts_with("a line is one JSON object"));
        assert!(problem("[]").starts_with("a line is one JSON object"));
        assert!(problem("{}").starts_with("what is to be done?"));
    }

    #[test]
    fn programs_may_say_conn_and_data_and_data_may_be_any_json() {
        let said = |line: &str| read_line(line.as_bytes()).command;
        let send = Command::Send { id: "a-0.0.1".into(), text: r#"{"n":1}"#.into() };
        assert_eq!(said(r#"{"do":"send","conn":"a-0.0.1","data":{"n":1}}"#), Ok(send));
        let publish = Command::Broadcast { room: Some("r".into()), text: "hi".into() };
        assert_eq!(said(r#"{"do":"publish","room":"r","data":"hi"}"#), Ok(publish));
        assert!(problem(r#"{"do":"publish","data":"hi"}"#).starts_with("publish: missing field `room`"));
    }

    #[test]
    fn help_at_the_address_of_a_handler_lists_what_that_takes() {
        let names = |help: Value| {
            let names = help.as_array().expect("a list").iter().map(|row| row["command"].clone());
            names.collect::<Vec<_>>()
        };
        let some = names(help(None, true).expect("it is fine"));
        let all = names(help(None, false).expect("it is fine"));
        assert!(some.contains(&json!("publish")) && !some.contains(&json!("eval")), "{some:?}");
        assert!(all.contains(&json!("eval")) && all.len() == COMMANDS.len(), "{all:?}");
        assert!(help(Some("eval"), true).is_err());
    }

    #[test]
    fn every_command_is_described_and_its_example_is_one() {
        for command in COMMANDS {
            let line = read_line(command.example.as_bytes());
            assert!(line.command.is_ok(), "{}: {:?}", command.name, line.command);
            assert!(command.example.contains(&format!("\"do\": \"{}\"", command.name)), "{}", command.name);
        }
    }

    #[test]
    fn an_answer_is_one_line() {
        // The order of an object's fields is not promised.
        let read = |line: String| {
            let line = line.strip_suffix('\n').expect("a line has an end").to_owned();
            assert!(!line.contains('\n'), "{line}");
            serde_json::from_str::<Value>(&line).expect("it is JSON")
        };
        assert_eq!(read(answer(None, Ok(Value::Null))), json!({ "ok": true, "result": null }));
        let failed = json!({ "ok": false, "ref": "x", "error": "two\nlines" });
        assert_eq!(read(answer(Some(&json!("x")), Err("two\nlines".into()))), failed);
    }
}
