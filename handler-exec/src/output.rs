//! What a program says: each line an answer, or something to do.
//!
//! Everything is checked here, so that nothing a program writes can break HTTP or confuse the hub. A line that
//! makes no sense but names a request says which, so that its client need not wait.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use handler_core::channel::bounds::{BoundError, check_close, check_data, check_room};
use handler_core::object;
use handler_core::worker::protocol::Level;
use kennel_http::HeadLines;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// One line's meaning.
#[derive(Debug)]
pub(crate) enum Output<'a> {
    /// The answer to a request.
    Answer(Answer<'a>),
    /// A message to a connection.
    Send { conn: Cow<'a, str>, message: Message<'a> },
    /// A connection enters a room.
    Join { conn: Cow<'a, str>, room: Cow<'a, str> },
    /// A connection leaves a room.
    Leave { conn: Cow<'a, str>, room: Cow<'a, str> },
    /// A message to all in a room, but not to `except`.
    Publish { room: Cow<'a, str>, message: Message<'a>, except: Option<Cow<'a, str>> },
    /// The end of a connection.
    Close { conn: Cow<'a, str>, code: u16, reason: Cow<'a, str> },
    /// The end of all connections in a room.
    CloseRoom { room: Cow<'a, str>, code: u16, reason: Cow<'a, str> },
    /// JSON to keep for a connection; nothing: forget what is kept.
    Data { conn: Cow<'a, str>, json: &'a str },
    /// A line for the log.
    Log { level: Level, text: Cow<'a, str> },
    /// What the program answers to.
    Routes(Declared),
}

/// An answer to a request.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub id: u64,
    /// 200 to 599.
    pub status: u16,
    /// Checked header lines, Content-Type among them if there is a body.
    pub head: HeadLines,
    pub body: Cow<'a, [u8]>,
}

/// A message to clients.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub binary: bool,
    pub bytes: Cow<'a, [u8]>,
}

/// What a program says that it answers to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declared {
    /// `GET /path`, or `/path` for every method; `None`: everything.
    pub routes: Option<Vec<String>>,
    pub channels: Vec<DeclaredChannel>,
}

/// A channel: its path, or that with options.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a path, or an object with `path` and options of a channel")]
pub(crate) enum DeclaredChannel {
    Path(String),
    Options(#[serde(deserialize_with = "object::only")] ChannelOptions),
}

/// The options of a channel, as scripts have them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelOptions {
    pub path: String,
    pub origins: Option<Vec<String>>,
    pub protocols: Option<Vec<String>>,
    pub max_message: Option<usize>,
    pub ping: Option<f64>,
    pub deflate: Option<bool>,
}

/// Why a line cannot be used.
#[derive(Debug, Error)]
#[error("{problem}")]
pub(crate) struct OutputError {
    /// The request that it was to answer.
    pub id: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum Problem {
    /// It is no JSON object of known keys.
    #[error("a line that is no JSON object of ours ({reason}): {shown}")]
    NotOurs { reason: String, shown: String },
    /// A key is missing.
    #[error("{what} without `{key}`")]
    Missing { what: String, key: &'static str },
    /// A key that does not belong there.
    #[error("{what} with `{key}`, which it does not have")]
    Surplus { what: String, key: &'static str },
    /// An order that does not exist.
    #[error(
        "`\"do\": \"{name}\"` is unknown; there are routes, send, join, leave, publish, close, data and log"
    )]
    Unknown { name: String },
    /// A value outside its bounds.
    #[error("{0}")]
    Value(String),
    /// Something that no connection takes.
    #[error(transparent)]
    Bound(#[from] BoundError),
}

/// All keys that any line may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    id: Option<u64>,
    status: Option<i64>,
    headers: Option<Fields>,
    #[serde(borrow)]
    body: Option<Text<'a>>,
    #[serde(borrow)]
    body_base64: Option<Text<'a>>,
    #[serde(borrow)]
    body_json: Option<&'a RawValue>,
    #[serde(borrow, rename = "do")]
    order: Option<Text<'a>>,
    #[serde(borrow)]
    conn: Option<Text<'a>>,
    #[serde(borrow)]
    room: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<Text<'a>>,
    #[serde(borrow)]
    except: Option<Text<'a>>,
    code: Option<i64>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(borrow)]
    level: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    routes: Option<Vec<String>>,
    channels: Option<Vec<DeclaredChannel>>,
}

/// A text that is copied only if it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The same line where only the request's number matters.
#[derive(Deserialize)]
struct Numbered {
    id: Option<u64>,
}

/// Reads one line.
///
/// # Errors
///
/// [`OutputError`].
pub(crate) fn read(line: &[u8]) -> Result<Output<'_>, OutputError> {
    let parsed: Line<'_> = object::from_json(line).map_err(|problem| {
        // Whoever waits for this answer is told at once, if it can be known who that is.
        let numbered: Option<Numbered> = object::from_json(String::from_utf8_lossy(line).as_bytes()).ok();
        let problem = Problem::NotOurs { reason: plain(&problem), shown: shown(line) };
        OutputError { id: numbered.and_then(|line| line.id), problem }
    })?;
    let id = parsed.id;
    let said = match &parsed.order {
        None => answer(parsed),
        Some(_) => order(parsed),
    };
    said.map_err(|problem| OutputError { id, problem })
}

/// What the parser says, without the line, which is always 1.
fn plain(problem: &serde_json::Error) -> String {
    let text = problem.to_string();
    text.replace(" at line 1 column ", " at byte ")
}

/// The beginning of a line as it can be shown.
pub(crate) fn shown(line: &[u8]) -> String {
    const SHOWN: usize = 100;
    let more = if line.len() > SHOWN { "..." } else { "" };
    let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
    let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    text + more
}

fn answer(line: Line<'_>) -> Result<Output<'_>, Problem> {
    let Some(id) = line.id else {
        return Err(Problem::Missing { what: "an answer".to_owned(), key: "id" });
    };
    let what = || format!("the answer to {id}");
    let surplus = [
        ("conn", line.conn.is_some()),
        ("room", line.room.is_some()),
        ("data", line.data.is_some() || line.data_base64.is_some()),
        ("text", line.text.is_some()),
        ("code", line.code.is_some()),
    ];
    if let Some((key, _)) = surplus.iter().find(|(_, is_there)| *is_there) {
        return Err(Problem::Surplus { what: what(), key });
    }
    let status = line.status.unwrap_or(200);
    let Some(status) = u16::try_from(status).ok().filter(|status| (200..=599).contains(status)) else {
        return Err(Problem::Value(format!(
            "the answer to {id} has the status {status}, which must be from 200 to 599"
        )));
    };
    let (body, kind): (Cow<'_, [u8]>, _) = match (line.body, line.body_base64, line.body_json) {
        (None, None, None) => (Cow::Borrowed(b""), None),
        (Some(Text(text)), None, None) => (text_bytes(text), Some("text/plain; charset=utf-8")),
        (None, Some(Text(text)), None) => {
            (decode(&text, "body_base64")?.into(), Some("application/octet-stream"))
        }
        (None, None, Some(json)) => (json.get().as_bytes().into(), Some("application/json")),
        _ => {
            return Err(Problem::Value(format!(
                "the answer to {id} has more than one of `body`, `body_base64` and `body_json`"
            )));
        }
    };
    let mut head = HeadLines::default();
    for (name, value) in line.headers.map(|fields| fields.0).unwrap_or_default() {
        head.push(name.as_bytes(), value.as_bytes())
            .map_err(|problem| Problem::Value(format!("the answer to {id}: {problem}")))?;
    }
    if let Some(kind) = kind.filter(|_| !head.has(b"content-type")) {
        head.push(b"Content-Type", kind.as_bytes()).expect("our own header line is one");
    }
    Ok(Output::Answer(Answer { id, status, head, body }))
}

fn order(line: Line<'_>) -> Result<Output<'_>, Problem> {
    let name = line.order.map(|Text(name)| name).unwrap_or_default();
    let needs = |key: &'static str| {
        let what = format!("`\"do\": \"{name}\"`");
        move || Problem::Missing { what: what.clone(), key }
    };
    let conn = |conn: Option<Text<'_>>| match conn {
        Some(Text(conn)) => Ok(conn.into_owned().into()),
        None => Err(needs("conn")()),
    };
    let room = |room: Option<Text<'_>>| match room {
        Some(Text(room)) => {
            check_room(room.len())?;
            Ok(room.into_owned().into())
        }
        None => Err(needs("room")()),
    };
    match &*name {
        "send" => Ok(Output::Send {
            conn: conn(line.conn)?,
            message: message(line.data, line.data_base64)?.ok_or_else(needs("data"))?,
        }),
        "publish" => Ok(Output::Publish {
            room: room(line.room)?,
            message: message(line.data, line.data_base64)?.ok_or_else(needs("data"))?,
            except: line.except.map(|Text(except)| except),
        }),
        "join" => Ok(Output::Join { conn: conn(line.conn)?, room: room(line.room)? }),
        "leave" => Ok(Output::Leave { conn: conn(line.conn)?, room: room(line.room)? }),
        "close" => {
            let code = line.code.unwrap_or(1000);
            let reason = line.reason.map(|Text(reason)| reason).unwrap_or_default();
            let code = check_close(code, reason.len())?;
            match line.room {
                Some(name) => Ok(Output::CloseRoom { room: room(Some(name))?, code, reason }),
                None => Ok(Output::Close { conn: conn(line.conn)?, code, reason }),
            }
        }
        "data" => {
            let json = line.data.map_or("", RawValue::get);
            check_data(json.len())?;
            Ok(Output::Data { conn: conn(line.conn)?, json })
        }
        "log" => {
            let level = match line.level.as_ref().map_or("info", |Text(level)| level) {
                "debug" => Level::Debug,
                "info" => Level::Info,
                "warn" => Level::Warn,
                "error" => Level::Error,
                other => {
                    return Err(Problem::Value(format!(
                        "`{}` is no level; there are debug, info, warn and error",
                        shown(other.as_bytes())
                    )));
                }
            };
            let Text(text) = line.text.ok_or_else(needs("text"))?;
            Ok(Output::Log { level, text })
        }
        "routes" => {
            Ok(Output::Routes(Declared { routes: line.routes, channels: line.channels.unwrap_or_default() }))
        }
        other => Err(Problem::Unknown { name: shown(other.as_bytes()) }),
    }
}

/// A text as it is, any other value as its JSON, bytes from base64; `None`: there is none.
fn message<'a>(data: Option<&'a RawValue>, base64: Option<Text<'a>>) -> Result<Option<Message<'a>>, Problem> {
    match (data.map(RawValue::get), base64) {
        (None, None) => Ok(None),
        (Some(json), None) if json.starts_with('"') => {
            let Text(text) = serde_json::from_str(json).map_err(|problem| Problem::Value(plain(&problem)))?;
            Ok(Some(Message { binary: false, bytes: text_bytes(text) }))
        }
        (Some(json), None) => Ok(Some(Message { binary: false, bytes: json.as_bytes().into() })),
        (None, Some(Text(text))) => {
            Ok(Some(Message { binary: true, bytes: decode(&text, "data_base64")?.into() }))
        }
        (Some(_), Some(_)) => Err(Problem::Value("a message with both `data` and `data_base64`".to_owned())),
    }
}

fn text_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

fn decode(text: &str, key: &str) -> Result<Vec<u8>, Problem> {
    STANDARD.decode(text).map_err(|problem| Problem::Value(format!("`{key}` is no base64: {problem}")))
}

/// Header lines in their order: each value of a list is a line.
struct Fields(Vec<(String, String)>);

/// A header's value.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, a number or a list of those as a header's value")]
enum Value {
    Text(String),
    Number(serde_json::Number),
    List(Vec<Value>),
}

impl Value {
    fn each(self, name: &str, depth: u32, fields: &mut Vec<(String, String)>) {
        match self {
            Self::Text(text) => fields.push((name.to_owned(), text)),
            Self::Number(number) => fields.push((name.to_owned(), number.to_string())),
            Self::List(values) if depth == 0 => {
                values.into_iter().for_each(|value| value.each(name, 1, fields));
            }
            Self::List(_) => {}
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    value.each(&name, 0, &mut fields);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(line: &str) -> (u64, u16, String, String) {
        match read(line.as_bytes()) {
            Ok(Output::Answer(answer)) => (
                answer.id,
                answer.status,
                String::from_utf8_lossy(answer.head.as_bytes()).into_owned(),
                String::from_utf8_lossy(&answer.body).into_owned(),
            ),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refused(line: &[u8]) -> (Option<u64>, String) {
        match read(line) {
            Err(problem) => (problem.id, problem.to_string()),
            Ok(said) => panic!("{}: {said:?}", line.escape_ascii()),
        }
    }

    #[test]
    fn an_answer_has_a_status_headers_and_a_body_of_three_kinds() {
        let text = "Content-Type: text/plain; charset=utf-8\r\n";
        assert_eq!(answered(r#"{"id":7}"#), (7, 200, String::new(), String::new()));
        assert_eq!(answered(r#"{"id":7,"body":"a\nb"}"#), (7, 200, text.into(), "a\nb".into()));
        let lines = "X: 1\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-type: x/y\r\n";
        let headers = r#"{"X":1,"set-cookie":["a","b"],"content-type":"x/y","Content-Length":"9"}"#;
        let line = format!(r#"{{"id":7,"status":404,"headers":{headers},"body_base64":"YWI="}}"#);
        assert_eq!(answered(&line), (7, 404, lines.into(), "ab".into()));
        let (_, _, head, body) = answered(r#"{"id":7,"body_json":{"a": [1, null]}}"#);
        assert_eq!((&*head, &*body), ("Content-Type: application/json\r\n", r#"{"a": [1, null]}"#));
    }

    #[test]
    fn a_line_that_makes_no_sense_still_says_whose_answer_it_was_to_be() {
        for (line, id, part) in [
            (&b"garbage"[..], None, "no JSON object of ours"),
            (b"", None, "no JSON object of ours"),
            (b"[]", None, "no JSON object of ours"),
            // A list of numbers that a program prints is not an answer, however many it has.
            (b"[7]", None, "no JSON object of ours"),
            (
                b"[7,200,{},\"x\",null,null,null,null,null,null,null,null,null,null,null,null,null,null]",
                None,
                "no JSON object",
            ),
            (
                b"{\"do\":\"routes\",\"channels\":[[\"/a\",null,null,null,null,null]]}",
                None,
                "expected a path, or an object",
            ),
            (b"{\"id\":7", None, "EOF"),
            (b"{\"id\":\"7\"}", None, "no JSON object of ours"),
            (b"{\"id\":-1}", None, "no JSON object of ours"),
            (b"{\"body\":\"x\"}", None, "without `id`"),
            (b"{\"id\":7,\"status\":99}", Some(7), "from 200 to 599"),
            (b"{\"id\":7,\"status\":101}", Some(7), "from 200 to 599"),
            (b"{\"id\":7,\"status\":600}", Some(7), "from 200 to 599"),
            (b"{\"id\":7,\"status\":\"200\"}", Some(7), "no JSON object of ours"),
            (b"{\"id\":7,\"satus\":200}", Some(7), "unknown field `satus`"),
            (b"{\"id\":7,\"body\":\"\xff\"}", Some(7), "invalid unicode"),
            (b"{\"id\":7,\"headers\":{\"a\":\"x\\r\\ny\"}}", Some(7), "carriage return at position 2"),
            (b"{\"id\":7,\"headers\":{\"a\":\"x\\u0000\"}}", Some(7), "NUL"),
            (b"{\"id\":7,\"headers\":{\"a b\":\"x\"}}", Some(7), "no header name"),
            (b"{\"id\":7,\"headers\":{\"a\":{}}}", Some(7), "a header's value"),
            (b"{\"id\":7,\"body\":\"a\",\"body_base64\":\"\"}", Some(7), "more than one"),
            (b"{\"id\":7,\"body_base64\":\"?\"}", Some(7), "no base64"),
            (b"{\"id\":7,\"room\":\"a\"}", Some(7), "`room`, which it does not have"),
            (b"{\"do\":\"dance\"}", None, "`\"do\": \"dance\"` is unknown"),
            (b"{\"do\":\"send\",\"conn\":\"a\"}", None, "without `data`"),
            (b"{\"do\":\"send\",\"data\":\"a\"}", None, "without `conn`"),
            (b"{\"do\":\"join\",\"conn\":\"a\",\"room\":\"\"}", None, "1 to 255 bytes"),
            (b"{\"do\":\"close\",\"conn\":\"a\",\"code\":1006}", None, "a close code is 1000 to"),
            (b"{\"do\":\"close\",\"conn\":\"a\",\"code\":1010}", None, "but not 1010"),
            (b"{\"do\":\"log\",\"text\":\"a\",\"level\":\"loud\"}", None, "no level"),
        ] {
            let (found, text) = refused(line);
            assert_eq!(found, id, "{}: {text}", line.escape_ascii());
            assert!(text.contains(part), "{}: {text}", line.escape_ascii());
        }
        let long = format!(r#"{{"do":"data","conn":"a","data":"{}"}}"#, "x".repeat(4096));
        assert!(refused(long.as_bytes()).1.contains("at most 4096 bytes of JSON, and this is 4098"));
    }

    #[test]
    fn messages_are_text_json_or_bytes() {
        let sent = |line: &str| match read(line.as_bytes()) {
            Ok(Output::Send { message, .. }) => (message.binary, message.bytes.to_vec()),
            other => panic!("{other:?}"),
        };
        assert_eq!(sent(r#"{"do":"send","conn":"a","data":"\u00fc"}"#), (false, "ü".into()));
        assert_eq!(sent(r#"{"do":"send","conn":"a","data":{"b": 1}}"#), (false, br#"{"b": 1}"#.to_vec()));
        assert_eq!(sent(r#"{"do":"send","conn":"a","data_base64":"/w=="}"#), (true, vec![255]));
    }

    #[test]
    fn orders_name_a_connection_or_a_room() {
        let shown = |line: &str| format!("{:?}", read(line.as_bytes()).unwrap());
        assert!(
            shown(r#"{"do":"publish","room":"r","data":1,"except":"a"}"#).contains("except: Some(\"a\")")
        );
        assert!(shown(r#"{"do":"close","room":"r"}"#).starts_with("CloseRoom"));
        assert!(shown(r#"{"do":"close","conn":"a","reason":"b"}"#).contains("code: 1000, reason: \"b\""));
        assert!(shown(r#"{"do":"data","conn":"a","data":null}"#).contains("json: \"\""));
        assert!(shown(r#"{"do":"log","text":"a"}"#).contains("Info"));
        let routes = r#"{"do":"routes","channels":["/a",{"path":"/b","ping":2}]}"#;
        match read(routes.as_bytes()) {
            Ok(Output::Routes(Declared { routes: None, channels })) => assert_eq!(channels.len(), 2),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_prefix_of_a_line_and_no_changed_byte_panics() {
        let line = br#"{"id":7,"status":200,"headers":{"a":["b",2]},"body_json":{"c":[1,"d"]},"do":"send"}"#;
        for end in 0..line.len() {
            let _ = read(&line[..end]);
            for byte in [0, b'"', b'\\', b'{', 0xff] {
                let mut changed = line.to_vec();
                changed[end] = byte;
                let _ = read(&changed);
            }
        }
    }
}
