//! The fields of a log line for people: `key=value`, and those that a script gives among them.

use serde_json::{Map, Value};
use std::fmt::{self, Debug};
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// The field in which the hub hands on what a script adds to its line: a JSON object.
const OF_SCRIPT: &str = "fields";

/// The lines behind the first one of what a script logs, as a traceback is, and indented.
const DETAILS: &str = "details";

/// Writes the text of a line and its fields.
pub(super) fn readable() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    debug_fn(write_field).delimited(" ")
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(writer, "{value:?}"),
        DETAILS => write!(writer, "\n{value:?}"),
        OF_SCRIPT => write_object(writer, &format!("{value:?}")),
        name => write_pair(writer, name, format_args!("{value:?}")),
    }
}

/// The members of a script's object; as it is when it is none.
fn write_object(writer: &mut Writer<'_>, json: &str) -> fmt::Result {
    let Ok(members) = serde_json::from_str::<Map<String, Value>>(json) else {
        return write_pair(writer, OF_SCRIPT, format_args!("{json:?}"));
    };
    for (number, (name, value)) in members.iter().enumerate() {
        if number > 0 {
            writer.write_char(' ')?;
        }
        let name = match is_word(name) {
            true => name.clone(),
            false => format!("{name:?}"),
        };
        match value {
            Value::String(text) if is_word(text) => write_pair(writer, &name, format_args!("{text}"))?,
            Value::String(text) => write_pair(writer, &name, format_args!("{text:?}"))?,
            other => write_pair(writer, &name, format_args!("{other}"))?,
        }
    }
    Ok(())
}

/// Whether it can stand without quotes.
fn is_word(text: &str) -> bool {
    let is_plain = |char: char| char.is_alphanumeric() || "_-.:/@+".contains(char);
    !text.is_empty() && text.chars().all(is_plain)
}

fn write_pair(writer: &mut Writer<'_>, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
    match writer.has_ansi_escapes() {
        true => write!(writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m{value}"),
        false => write!(writer, "{name}={value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_adds_is_shown_without_json() {
        let shown = |json: &str| {
            let mut text = String::new();
            write_object(&mut Writer::new(&mut text), json).unwrap();
            text
        };
        assert_eq!(shown(r#"{"logger":"shop.main","n":3}"#), "logger=shop.main n=3");
        assert_eq!(shown(r#"{"who":"a b","x":["y"],"z":null}"#), r#"who="a b" x=["y"] z=null"#);
        assert_eq!(shown(r#"{"a b\n":"c\nd"}"#), r#""a b\n"="c\nd""#, "no line feed gets through");
        assert_eq!(shown("odd"), r#"fields="odd""#);
    }
}
