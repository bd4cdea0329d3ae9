//! What the hub answers, for people to read.

use crate::table::{table, visible};
use serde_json::{Map, Value};
use std::fmt::Write;

/// The columns of each list, in the order in which they are read.
const COLUMNS: [(&str, &[&str]); 8] = [
    ("help", &["command", "arguments", "does"]),
    (
        "connections",
        &["id", "path", "transport", "address", "state", "idle", "worker", "unsent", "unread", "rooms"],
    ),
    (
        "stats",
        &["app", "mount", "state", "workers", "connections", "unanswered", "answered", "received", "sent"],
    ),
    ("rooms", &["members", "room"]),
    ("workers", &["app", "number", "process", "state", "age", "jobs", "connections", "leads"]),
    ("queues", &["app", "queued", "running", "pipelined", "orphans"]),
    ("limits", &["limit", "value", "means"]),
    ("metrics", &["metric", "labels", "value", "mean"]),
];

/// An answer to this command as text, with its end.
pub(super) fn render(command: &str, answer: &Value) -> String {
    let columns = COLUMNS.iter().find(|(name, _)| *name == command).map(|(_, columns)| *columns);
    let list = answer.get("connections").or(Some(answer)).and_then(Value::as_array);
    match (columns, list) {
        (Some(columns), Some(rows)) if rows.len() == 1 && command == "help" => explain(columns, &rows[0]),
        (Some(columns), Some(rows)) => {
            let cells = |row: &Value| columns.iter().map(|column| cell(row.get(*column))).collect::<Vec<_>>();
            let mut text = table(columns, &rows.iter().map(cells).collect::<Vec<_>>());
            if let Some(total) = answer.get("total") {
                let _ = writeln!(text, "{} of {total}", rows.len());
            }
            text
        }
        _ if command == "request" => response(answer),
        (_, Some(apps)) if command == "reload" => apps.iter().filter_map(loaded).collect(),
        _ => plain(answer),
    }
}

/// An app whose newest code serves. What did not load is an error, which is said elsewhere.
fn loaded(app: &Value) -> Option<String> {
    let workers = app.get("workers")?.as_u64()?;
    let end = if workers == 1 { "" } else { "s" };
    Some(format!("{}: loaded, {workers} worker{end}\n", cell(app.get("app"))))
}

/// An HTTP answer as it would be seen.
fn response(answer: &Value) -> String {
    let mut text = format!("{}\n", cell(answer.get("status")));
    for (name, value) in answer.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let _ = writeln!(text, "{name}: {}", cell(Some(value)));
    }
    let body = answer.get("body").and_then(Value::as_str).unwrap_or_default();
    let shown: String =
        body.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect();
    let _ = writeln!(text, "\n{}", shown.trim_end_matches('\n'));
    text
}

/// What has passed, in a line.
pub(super) fn event(event: &Value) -> String {
    let field = |name: &str| cell(event.get(name));
    let text = || {
        let shown = event.get("text").or_else(|| event.get("base64"));
        let more = event.get("size").map(|size| format!(" ... ({size} bytes)")).unwrap_or_default();
        format!("{}{more}", cell(shown))
    };
    let line = match event.get("event").and_then(Value::as_str) {
        Some("request") => format!("#{} {} {}", field("request"), field("method"), field("path")),
        Some("answer") => {
            let milliseconds = event.get("microseconds").and_then(Value::as_f64).unwrap_or(0.0) / 1000.0;
            format!("#{} {} after {milliseconds:.1} ms", field("request"), field("status"))
        }
        Some("in") => format!("{} > {}", field("id"), text()),
        Some("out") => format!("{} < {}", field("id"), text()),
        Some("published") => format!("{} ({}) < {}", field("room"), field("members"), text()),
        Some("opened") => format!("{} opened", field("id")),
        Some("closed") => format!("{} closed: {} {}", field("id"), field("code"), field("reason")),
        Some("missed") => format!("... {} more, not shown: they came too fast", field("count")),
        _ => event.to_string(),
    };
    format!("{}\n", line.trim_end())
}

fn explain(columns: &[&str], row: &Value) -> String {
    let words: Vec<_> = columns[..2].iter().map(|column| cell(row.get(*column))).collect();
    let (does, example) = (cell(row.get("does")), cell(row.get("example")));
    format!("{}\n  {does}\n  as JSON: {example}\n", words.join(" ").trim_end())
}

/// A name and a value in each line.
fn plain(answer: &Value) -> String {
    match answer {
        Value::Null => "done\n".to_owned(),
        Value::Object(fields) => lines(fields, ""),
        other => format!("{}\n", cell(Some(other))),
    }
}

fn lines(fields: &Map<String, Value>, indent: &str) -> String {
    let width = fields.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in fields {
        let _ = match value {
            Value::Object(inner) if !inner.is_empty() => {
                write!(text, "{indent}{name}\n{}", lines(inner, &format!("{indent}  ")))
            }
            Value::Array(pairs) if pairs.iter().any(Value::is_array) => {
                let each = |pair: &Value| {
                    let name = cell(pair.get(0));
                    format!("{indent}  {name}: {}\n", cell(pair.get(1)))
                };
                write!(text, "{indent}{name}\n{}", pairs.iter().map(each).collect::<String>())
            }
            value => writeln!(text, "{indent}{name:width$}  {}", cell(Some(value))),
        };
    }
    text
}

/// A value in one line. What clients have sent is in it, so nothing in it may move a terminal's cursor.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(fields)) => {
            let pairs = fields.iter().map(|(name, value)| format!("{name}={}", cell(Some(value))));
            pairs.collect::<Vec<_>>().join(" ")
        }
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(" "),
        Some(other) => other.to_string(),
    };
    visible(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_a_table_with_its_columns_in_order() {
        let rooms = json!([{"room": "lobby", "members": 120}, {"room": "x", "members": 1}]);
        assert_eq!(render("rooms", &rooms), "MEMBERS  ROOM\n    120  lobby\n      1  x\n");
        let page = json!({"connections": [{"id": "a-0.0.1", "path": "/chat", "rooms": ["x", "y"], "idle": 3}], "total": 9, "next": 1});
        let text = render("connections", &page);
        assert!(text.contains("a-0.0.1  /chat") && text.ends_with("x y\n1 of 9\n"), "{text}");
    }

    #[test]
    fn a_metric_is_a_line_with_its_labels() {
        let rows = json!([
            {"metric": "kennel_rooms", "labels": {}, "value": 3},
            {"metric": "t_seconds", "labels": {"app": "a.lua", "route": "/"}, "value": 2, "mean": 0.5, "buckets": []},
        ]);
        let text = "METRIC        LABELS             VALUE  MEAN\n\
                    kennel_rooms  -                      3     -\n\
                    t_seconds     app=a.lua route=/      2   0.5\n";
        assert_eq!(render("metrics", &rows), text);
    }

    #[test]
    fn anything_else_is_names_and_values() {
        assert_eq!(render("send", &Value::Null), "done\n");
        let status = json!({"uptime": 7, "counters": {"answers": 1}});
        assert_eq!(render("status", &status), "uptime    7\ncounters\n  answers  1\n");
    }

    #[test]
    fn an_app_that_was_loaded_is_a_line() {
        let apps = json!([
            {"app": "a.lua", "loaded": true, "workers": 2},
            {"app": "b.py", "loaded": false, "error": "b.py:1: no"},
            {"app": "c.sh", "loaded": true, "workers": 1},
        ]);
        assert_eq!(render("reload", &apps), "a.lua: loaded, 2 workers\nc.sh: loaded, 1 worker\n");
    }

    #[test]
    fn nothing_that_a_client_sent_moves_the_cursor() {
        let rooms = json!([{"room": "a\u{1b}[2Jb\n", "members": 1}]);
        assert_eq!(render("rooms", &rooms), "MEMBERS  ROOM\n      1  a\\u{1b}[2Jb\\n\n");
    }
}
