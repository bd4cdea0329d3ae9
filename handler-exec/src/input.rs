//! What a program reads: requests and the life of connections, one JSON object a line.
//!
//! `id` is the first key, so that a shell can cut it out. Text that is not UTF-8 is given as
//! Latin-1, which loses nothing; bodies and messages that are not come in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use handler_core::worker::body::{self, BodyAt};
use handler_core::worker::protocol::{Open, Order, Params};
use kennel_http::percent;
use mongrel2_wire::{Envelope, Text};
use std::borrow::Cow;

/// Appends the line of a request, from its job's payload. `names` are those of the path's values.
/// `false`: it is no job, and nothing was appended.
pub(crate) fn request(out: &mut Vec<u8>, job: &[u8], names: &[String]) -> bool {
    let Ok(Order::Job { serial, conn, params, spool, message, .. }) = Order::read_job(job) else {
        return false;
    };
    let Ok(envelope) = Envelope::parse(message) else { return false };
    out.extend_from_slice(format!("{{\"id\":{serial},\"type\":\"request\"").as_bytes());
    key(out, "method");
    string(out, &text(&first(&envelope, b"METHOD").unwrap_or_default()));
    head(out, &envelope, names, params);
    key(out, "conn");
    string(out, &text(conn));
    match (BodyAt::read(spool), body::open_spool(job)) {
        (BodyAt::File(path), Ok(Some((_, size)))) => {
            key(out, "body_file");
            string(out, &path.to_string_lossy());
            key(out, "body_size");
            out.extend_from_slice(size.to_string().as_bytes());
        }
        // A file that is gone had a client who is.
        _ => bytes(out, "body", "body_base64", envelope.body),
    }
    out.extend_from_slice(b"}\n");
    true
}

/// Appends the line of a connection that opens, or comes from another process. `data` is what is kept for it as JSON,
/// or nothing.
pub(crate) fn open(out: &mut Vec<u8>, open: &Open<'_>, names: &[String], data: &[u8], resumed: bool) {
    out.extend_from_slice(b"{\"type\":\"open\"");
    key(out, "conn");
    string(out, &text(open.name));
    key(out, "transport");
    string(out, open.transport);
    key(out, "resumed");
    out.extend_from_slice(if resumed { b"true" } else { b"false" });
    if let Ok(envelope) = Envelope::parse(open.message) {
        head(out, &envelope, names, open.params);
    }
    key(out, "data");
    out.extend_from_slice(if data.is_empty() { b"null" } else { data });
    out.extend_from_slice(b"}\n");
}

/// Appends the line of a message.
pub(crate) fn message(out: &mut Vec<u8>, conn: &str, binary: bool, payload: &[u8]) {
    out.extend_from_slice(b"{\"type\":\"message\"");
    key(out, "conn");
    string(out, conn);
    match binary {
        true => base64(out, "data_base64", payload),
        false => bytes(out, "data", "data_base64", payload),
    }
    out.extend_from_slice(b"}\n");
}

/// Appends the line of a connection's end.
pub(crate) fn close(out: &mut Vec<u8>, conn: &str, code: u16, reason: &[u8]) {
    out.extend_from_slice(b"{\"type\":\"close\"");
    key(out, "conn");
    string(out, conn);
    key(out, "code");
    out.extend_from_slice(code.to_string().as_bytes());
    key(out, "reason");
    string(out, &text(reason));
    out.extend_from_slice(b"}\n");
}

/// What requests and openings have in common.
fn head(out: &mut Vec<u8>, envelope: &Envelope<'_>, names: &[String], params: Params<'_>) {
    key(out, "path");
    string(out, &text(envelope.path));
    key(out, "params");
    out.push(b'{');
    for (at, (name, value)) in names.iter().zip(params).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        string(out, name);
        out.push(b':');
        string(out, &text(&percent::decode(value, false)));
    }
    out.push(b'}');
    key(out, "query");
    string(out, &text(&first(envelope, b"QUERY").unwrap_or_default()));
    key(out, "headers");
    headers(out, envelope);
    key(out, "remote_addr");
    string(out, &text(&first(envelope, b"REMOTE_ADDR").unwrap_or_default()));
    key(out, "scheme");
    string(out, &text(&first(envelope, b"URL_SCHEME").unwrap_or_else(|| b"http".into())));
}

/// The client's headers, names in lower case: a string, or a list where there are several.
fn headers(out: &mut Vec<u8>, envelope: &Envelope<'_>) {
    out.push(b'{');
    let mut first = true;
    for (name, values) in envelope.headers.iter().map_while(Result::ok) {
        if !is_clients(name) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        string(out, &text(name));
        out.push(b':');
        if let Some(value) = values.single() {
            string(out, &text(&value.bytes()));
            continue;
        }
        out.push(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            string(out, &text(&value.bytes()));
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// Whether a header is the client's own: Mongrel2 writes its names in upper case, and the two of uploads are its
/// business too.
pub(crate) fn is_clients(name: &[u8]) -> bool {
    !name.first().is_some_and(u8::is_ascii_uppercase) && !name.starts_with(b"x-mongrel2-upload-")
}

/// The first value of a header, by its exact name.
pub(crate) fn first<'a>(envelope: &Envelope<'a>, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    envelope.headers.get(name)?.first().map(Text::bytes)
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text is always JSON");
}

/// Bytes as text under one name, or in base64 under another.
fn bytes(out: &mut Vec<u8>, as_text: &str, as_base64: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            key(out, as_text);
            string(out, text);
        }
        Err(_) => base64(out, as_base64, bytes),
    }
}

fn base64(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    key(out, name);
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

/// UTF-8, or else Latin-1.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().copied().map(char::from).collect::<String>().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handler_core::worker::protocol::{FRAME_HEAD, Handler, encode_job};
    use serde_json::{Value, json};

    fn message_of(headers: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("m2 3 /a%20b/c {}:{headers},{}:", headers.len(), body.len());
        [head.as_bytes(), body, b","].concat()
    }

    fn line(headers: &str, body: &[u8], names: &[&str], params: &[&[u8]]) -> Value {
        let mut job = Vec::new();
        let params = params.iter().copied();
        encode_job(&mut job, 7, Handler::Route(0), "x-0.1.3", params, b"", &message_of(headers, body));
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        assert!(request(&mut out, &job[FRAME_HEAD..], &names));
        assert!(out.starts_with(b"{\"id\":7,") && out.ends_with(b"}\n"));
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_request_is_one_line_with_all_that_the_client_sent() {
        let headers = r#"{"METHOD":"POST","QUERY":"a=1","REMOTE_ADDR":"1.2.3.4","URL_SCHEME":"https","accept":["a","b"],"host":"x","x-mongrel2-upload-start":"f"}"#;
        let found = line(headers, b"one\ntwo\"", &["name", "rest"], &[b"a%20b", b"c"]);
        assert_eq!(
            found,
            json!({
                "id": 7, "type": "request", "method": "POST", "path": "/a%20b/c",
                "params": {"name": "a b", "rest": "c"}, "query": "a=1",
                "headers": {"accept": ["a", "b"], "host": "x"}, "remote_addr": "1.2.3.4", "scheme": "https",
                "conn": "x-0.1.3", "body": "one\ntwo\"",
            })
        );
    }

    #[test]
    fn what_is_not_utf_8_loses_nothing() {
        let found = line("{}", b"\xff\x00", &[], &[]);
        assert_eq!((found["body_base64"].as_str(), found.get("body")), (Some("/wA="), None));
        assert_eq!(text(b"caf\xe9"), "caf\u{e9}");
    }

    #[test]
    fn the_life_of_a_connection_is_told_in_lines() {
        let headers = r#"{"METHOD":"GET","host":"x"}"#;
        let opening = message_of(headers, b"");
        let connection = Open {
            serial: 1,
            conn: 9,
            handler: 0,
            fresh: true,
            resumed: false,
            asked: false,
            transport: "websocket",
            name: b"x-0.1.3",
            data: b"",
            rooms: Params::EMPTY,
            params: Params::EMPTY,
            message: &opening,
        };
        let mut out = Vec::new();
        open(&mut out, &connection, &[], b"{\"n\":1}", true);
        message(&mut out, "x-0.1.3", false, "h\u{fc}".as_bytes());
        message(&mut out, "x-0.1.3", true, b"a");
        close(&mut out, "x-0.1.3", 1001, b"bye");
        let lines: Vec<Value> =
            out.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!((&lines[0]["resumed"], &lines[0]["data"]), (&json!(true), &json!({"n": 1})));
        assert_eq!(lines[0]["headers"], json!({"host": "x"}));
        assert_eq!(lines[1], json!({"type": "message", "conn": "x-0.1.3", "data": "h\u{fc}"}));
        assert_eq!(lines[2], json!({"type": "message", "conn": "x-0.1.3", "data_base64": "YQ=="}));
        assert_eq!(lines[3], json!({"type": "close", "conn": "x-0.1.3", "code": 1001, "reason": "bye"}));
    }
}
