//! What a Mongrel2 says, and how it reads what it is told: anything that its grammar does not take
//! fails the test.

use crate::hub::LinkId;
use mongrel2_wire::netstring;

/// Which form the headers of a message have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Tnetstring,
}

/// Any message.
pub(super) fn message(
    form: Form,
    sender: &str,
    id: i64,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut block = Vec::new();
    match form {
        Form::Tnetstring => {
            for (name, value) in headers {
                netstring::encode(&mut block, name.as_bytes());
                netstring::encode(&mut block, value.as_bytes());
            }
        }
        Form::Json => {
            let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let pairs = headers.iter().map(|(name, value)| format!("\"{name}\":\"{}\"", escaped(value)));
            block.extend_from_slice(format!("{{{}}}", pairs.collect::<Vec<_>>().join(",")).as_bytes());
        }
    }
    let mark = if form == Form::Json { ',' } else { '}' };
    let mut out = format!("{sender} {id} {path} {}:", block.len()).into_bytes();
    out.extend_from_slice(&block);
    out.push(mark as u8);
    netstring::encode(&mut out, body);
    out
}

/// An HTTP request: `GET /path`, HTTP/1.1 with a Host unless `more` says otherwise.
pub(super) fn http(
    form: Form,
    sender: &str,
    id: i64,
    line: &str,
    more: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let (method, path) = line.split_once(' ').unwrap();
    let own = [
        ("METHOD", method),
        ("VERSION", "HTTP/1.1"),
        ("PATTERN", "/"),
        ("URI", path),
        ("host", "localhost:6767"),
    ];
    let own = own.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
    let headers: Vec<_> = more.iter().chain(own).copied().collect();
    message(form, sender, id, path, &headers, body)
}

/// A part of a body by `upload.stream`.
pub(super) fn part(
    form: Form,
    sender: &str,
    id: i64,
    path: &str,
    offset: usize,
    last: bool,
    body: &[u8],
) -> Vec<u8> {
    let offset = offset.to_string();
    let headers = [("UPLOAD_STREAM", offset.as_str()), ("UPLOAD_STREAM_DONE", "1")];
    message(form, sender, id, path, &headers[..1 + usize::from(last)], body)
}

/// A message of a JSON socket.
pub(super) fn json(form: Form, sender: &str, id: i64, body: &[u8]) -> Vec<u8> {
    message(form, sender, id, "@chat", &[("METHOD", "JSON"), ("PATTERN", "@chat")], body)
}

/// A message of a JSON or XML socket to any channel.
pub(super) fn socket(form: Form, sender: &str, id: i64, path: &str, body: &[u8]) -> Vec<u8> {
    let method = if path.starts_with('<') { "XML" } else { "JSON" };
    message(form, sender, id, path, &[("METHOD", method), ("PATTERN", path)], body)
}

/// Bytes on a WebSocket that belongs to path `/ws`: a handshake without `flags`, else a frame.
pub(super) fn websocket(
    form: Form,
    sender: &str,
    id: i64,
    path: &str,
    flags: Option<u8>,
    more: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let flags = flags.map(|flags| format!("0x{flags:X}"));
    let method = if flags.is_some() { "WEBSOCKET" } else { "WEBSOCKET_HANDSHAKE" };
    let own = [
        ("METHOD", method),
        ("VERSION", "HTTP/1.1"),
        ("PATTERN", "/"),
        ("URI", path),
        ("host", "localhost:6767"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let own = own.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
    let mut headers: Vec<_> =
        more.iter().chain(own).copied().filter(|(_, value)| !value.is_empty()).collect();
    if let Some(flags) = &flags {
        headers.push(("FLAGS", flags));
    }
    let body = if flags.is_none() { b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" } else { body };
    message(form, sender, id, path, &headers, body)
}

/// The notice that a connection is gone.
pub(super) fn disconnect(form: Form, sender: &str, id: i64) -> Vec<u8> {
    message(form, sender, id, "@*", &[("METHOD", "JSON")], br#"{"type":"disconnect"}"#)
}

/// The notice that so many bytes were written, under flow control.
pub(super) fn credits(form: Form, sender: &str, id: i64, bytes: usize) -> Vec<u8> {
    let headers = [("METHOD", "JSON"), ("DOWNLOAD_CREDITS", &bytes.to_string())];
    message(form, sender, id, "@*", &headers, br#"{"type":"credits"}"#)
}

/// A reply as Mongrel2 understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub link: LinkId,
    pub sender: String,
    pub ids: Vec<u32>,
    /// For Mongrel2 itself (`X`), not for the client.
    pub extended: bool,
    pub payload: Vec<u8>,
}

impl Reply {
    /// Reads `SENDER SIZE:IDS, PAYLOAD`, with every rule of the server's grammar and no leniency.
    pub fn parse(link: LinkId, bytes: &[u8]) -> Result<Self, String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| "not ASCII".to_owned());
        let cut = |bytes: &[u8], byte: u8| bytes.iter().position(|b| *b == byte);
        let blank = cut(bytes, b' ').ok_or("no blank after the sender")?;
        let sender = text(&bytes[..blank])?;
        if sender.is_empty() || !sender.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(format!("sender `{sender}`"));
        }
        let rest = &bytes[blank + 1..];
        let colon = cut(rest, b':').ok_or("no colon after the size")?;
        let size = number(&text(&rest[..colon])?)? as usize;
        let rest = &rest[colon + 1..];
        let ids = text(rest.get(..size).ok_or("the size is too large")?)?;
        let payload = rest[size..].strip_prefix(b", ").ok_or("no `, ` after the ids")?.to_vec();
        let (extended, ids) = match ids.strip_prefix("X ") {
            Some(ids) => (true, ids),
            None => (false, &*ids),
        };
        let ids = ids.split(' ').map(number).collect::<Result<Vec<_>, _>>()?;
        if ids.is_empty() || ids.len() > 128 {
            return Err(format!("{} targets", ids.len()));
        }
        Ok(Self { link, sender, ids, extended, payload })
    }
}

fn number(digits: &str) -> Result<u32, String> {
    let plain = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    let number = digits.parse::<i32>().ok().filter(|_| plain);
    number.map(|n| n as u32).ok_or(format!("`{digits}` is no number of 31 bits"))
}

/// One HTTP response off the front of what a client received: `(status, head, body, rest)`.
/// `None`: more is to come, or the close that ends it.
pub(super) fn split_response(bytes: &[u8], head_only: bool) -> Option<(u16, String, Vec<u8>, &[u8])> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let status: u16 = head.strip_prefix("HTTP/1.1 ").expect("a status line")[..3].parse().unwrap();
    let lengths: Vec<_> = head.lines().filter_map(|l| l.strip_prefix("Content-Length: ")).collect();
    assert!(lengths.len() <= 1, "one length at most: {head}");
    let bodiless = head_only || matches!(status, 101 | 204 | 304);
    if !bodiless && lengths.is_empty() {
        if !head.contains("\r\nTransfer-Encoding: chunked\r\n") {
            return None;
        }
        let (body, rest) = unchunk(&bytes[end..]);
        return rest.map(|rest| (status, head.to_owned(), body, rest));
    }
    let length: usize = lengths.first().map_or(0, |l| l.parse().unwrap());
    let length = if bodiless { 0 } else { length };
    let (body, rest) = bytes[end..].split_at_checked(length)?;
    Some((status, head.to_owned(), body.to_vec(), rest))
}

/// What is in the whole chunks of a body, and what follows it if it has ended.
pub(super) fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut body = Vec::new();
    while let Some(line) = bytes.windows(2).position(|w| w == b"\r\n") {
        let digits = std::str::from_utf8(&bytes[..line]).unwrap();
        let size = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("`{digits}` is no size"));
        let Some((chunk, rest)) = bytes[line + 2..].split_at_checked(size + 2) else { break };
        assert!(chunk.ends_with(b"\r\n"), "a chunk has another size than it says");
        body.extend_from_slice(&chunk[..size]);
        bytes = rest;
        if size == 0 {
            return (body, Some(bytes));
        }
    }
    (body, None)
}

#[test]
fn the_strict_reader_takes_what_the_server_takes_and_no_more() {
    let parse = |text: &str| Reply::parse(LinkId(0), text.as_bytes());
    assert_eq!(parse("m2 3:7 9, hi").unwrap().ids, [7, 9]);
    assert!(parse("m2 1:7, ").unwrap().payload.is_empty());
    for bad in [
        "m2 4:7 9, hi",
        "m2 2:7 , hi",
        "m2 3: 79, hi",
        "m2 2:-1, x",
        "m_2 1:7, x",
        "m2 0:, x",
        "m2 1:7,x",
        " 1:7, x",
        "m2 10:2147483648, x",
        "m2 4:7  9, x",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    let many = (0..129).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    assert!(parse(&format!("m2 {}:{many}, x", many.len())).is_err());
}
