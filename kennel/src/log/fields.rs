//! What a script logs beside its text, in lines for people: `logger=django.request` rather than a JSON object in quotes.

use serde_json::{Map, Value};
use std::fmt::{self, Debug, Write};
use tracing::field::{Field, Visit};
use tracing_subscriber::field::{RecordFields, VisitFmt, VisitOutput};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};

/// The field in which the hub logs them, a JSON object.
const FIELDS: &str = "fields";

/// Writes fields as the formatter itself does, but those of a script one by one.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextFields;

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = OneByOne { usual: DefaultVisitor::new(writer, true), result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result.and(visitor.usual.finish())
    }
}

struct OneByOne<'w> {
    usual: DefaultVisitor<'w>,
    result: fmt::Result,
}

impl Visit for OneByOne<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == FIELDS
            && let Ok(fields) = serde_json::from_str::<Map<String, Value>>(value)
        {
            let written = write_all(self.usual.writer(), &fields);
            self.result = self.result.and(written);
        } else {
            self.usual.record_str(field, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.usual.record_debug(field, value);
    }
}

/// Each behind a blank: the line's text comes before them.
fn write_all(out: &mut dyn Write, fields: &Map<String, Value>) -> fmt::Result {
    for (name, value) in fields {
        let name = if is_plain(name) { name.clone() } else { Value::from(name.as_str()).to_string() };
        match value {
            Value::String(text) if is_plain(text) => write!(out, " {name}={text}")?,
            other => write!(out, " {name}={other}")?,
        }
    }
    Ok(())
}

/// Whether a text can stand without quotes.
fn is_plain(text: &str) -> bool {
    let is_quoted =
        |char: char| char.is_whitespace() || char.is_control() || matches!(char, '"' | '=' | '\\');
    !text.is_empty() && !text.contains(is_quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_one_by_one() {
        let shown = |fields: &str| {
            let mut out = String::new();
            write_all(&mut out, &serde_json::from_str(fields).unwrap()).unwrap();
            out
        };
        assert_eq!(shown(r#"{"logger":"django.request"}"#), " logger=django.request");
        assert_eq!(
            shown(r#"{"a b":"c d","e":1.5,"f":null,"g":[1,"x"],"h":"","i":"x\ny=\"z\""}"#),
            r#" "a b"="c d" e=1.5 f=null g=[1,"x"] h="" i="x\ny=\"z\"""#
        );
    }
}
