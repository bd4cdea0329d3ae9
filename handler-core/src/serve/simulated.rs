//! Requests that come from the console, as if from a Mongrel2 of its own.
//!
//! To the hub they are messages of one server more, which has no socket: what it replies comes back here. So a made-up
//! request goes the whole way of a real one, through routes, queues and workers.

use crate::console::SimulatedRequest;
use mongrel2_wire::netstring;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The sender's name of this server.
const SENDER: &str = "kennel-console";
/// The largest answer that is shown, bytes.
const MAX_ANSWER: usize = 8 << 20;

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Simulated {
    last: u32,
    waiting: FxHashMap<u32, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    token: u64,
    reference: Option<Value>,
    bytes: Vec<u8>,
}

/// An answer that is there: for whom, under which `ref`, and what.
pub(super) type Answered = (u64, Option<Value>, Result<Value, String>);

impl Simulated {
    /// The message that Mongrel2 would send for such a request; its answer is for `token`.
    pub(super) fn begin(
        &mut self,
        request: &SimulatedRequest,
        token: u64,
        reference: Option<Value>,
    ) -> Result<Vec<u8>, String> {
        let path = &request.path;
        if !path.starts_with('/') || path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(format!("a path begins with `/` and has no blanks, not `{path}`"));
        }
        if request.method.is_empty() || !request.method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("a method is a word like GET, not `{}`", request.method));
        }
        self.last = self.last % 0x7fff_fffe + 1;
        self.waiting.insert(self.last, Waiting { token, reference, bytes: Vec::new() });
        Ok(message(self.last, request))
    }

    /// A reply of the hub. Gives the answer once that is whole.
    pub(super) fn take_reply(&mut self, reply: &[u8]) -> Option<Answered> {
        let (_, rest) = split(reply, b' ')?;
        let (ids, rest) = netstring::parse(rest).ok()?;
        let payload = rest.strip_prefix(b" ")?;
        let id: u32 = std::str::from_utf8(ids).ok()?.parse().ok()?;
        let waiting = self.waiting.get_mut(&id)?;
        waiting.bytes.extend_from_slice(payload);
        if !payload.is_empty() && waiting.bytes.len() <= MAX_ANSWER {
            return None;
        }
        let Waiting { token, reference, bytes } = self.waiting.remove(&id)?;
        let answer = if bytes.len() > MAX_ANSWER {
            Err(format!("the answer is larger than {MAX_ANSWER} bytes"))
        } else {
            read_answer(&bytes).ok_or_else(|| "the connection was closed without an answer".to_owned())
        };
        Some((token, reference, answer))
    }

    /// Nobody is there any more who waits under this number.
    pub(super) fn forget(&mut self, token: u64) {
        self.waiting.retain(|_, waiting| waiting.token != token);
    }
}

fn message(id: u32, request: &SimulatedRequest) -> Vec<u8> {
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.path.as_str(), None),
    };
    let length = request.body.len().to_string();
    let own = [
        ("PATH", path),
        ("METHOD", &request.method),
        ("VERSION", "HTTP/1.0"),
        ("URI", &request.path),
        ("PATTERN", "/"),
        ("URL_SCHEME", "http"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("x-forwarded-for", "127.0.0.1"),
    ];
    let query = query.map(|query| ("QUERY", query));
    let length = (!request.body.is_empty()).then_some(("content-length", length.as_str()));
    let has_host = request.headers.keys().any(|name| name.eq_ignore_ascii_case("host"));
    let host = (!has_host).then_some(("host", "localhost"));
    let mut headers = Vec::new();
    for (name, value) in own.into_iter().chain(query).chain(length).chain(host) {
        netstring::encode(&mut headers, name.as_bytes());
        netstring::encode(&mut headers, value.as_bytes());
    }
    for (name, value) in &request.headers {
        netstring::encode(&mut headers, name.to_lowercase().as_bytes());
        netstring::encode(&mut headers, value.as_bytes());
    }
    let mut bytes = format!("{SENDER} {id} {path} {}:", headers.len()).into_bytes();
    bytes.extend_from_slice(&headers);
    bytes.push(b'}');
    netstring::encode(&mut bytes, request.body.as_bytes());
    bytes
}

/// Status, headers and body of an answer.
fn read_answer(bytes: &[u8]) -> Option<Value> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Map<String, Value> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let body = String::from_utf8_lossy(&bytes[end + 4..]);
    let is_text = matches!(body, Cow::Borrowed(_));
    Some(json!({ "status": status, "headers": headers, "body": body, "body_is_text": is_text }))
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = memchr::memchr(at, bytes)?;
    Some((&bytes[..place], &bytes[place + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongrel2_wire::{Envelope, Head, Kind};

    fn request(path: &str) -> SimulatedRequest {
        let headers = [("X-A".to_owned(), "1".to_owned())].into();
        SimulatedRequest { method: "POST".into(), path: path.into(), headers, body: "hello".into() }
    }

    #[test]
    fn a_request_is_a_message_as_mongrel2_writes_it() {
        let mut simulated = Simulated::default();
        let message = simulated.begin(&request("/a/b?c=d"), 7, None).unwrap();
        let envelope = Envelope::parse(&message).unwrap();
        assert_eq!((envelope.path, envelope.body), (&b"/a/b"[..], &b"hello"[..]));
        let head = Head::read(&envelope).unwrap();
        assert!(matches!(head.kind, Kind::Http));
        assert_eq!(&*envelope.headers.get(b"x-a").unwrap().first().unwrap().bytes(), b"1");
        assert_eq!(&*envelope.headers.get(b"QUERY").unwrap().first().unwrap().bytes(), b"c=d");
    }

    #[test]
    fn what_is_no_request_is_said_in_words() {
        let mut simulated = Simulated::default();
        let problem = simulated.begin(&request("no path"), 7, None).unwrap_err();
        assert_eq!(problem, "a path begins with `/` and has no blanks, not `no path`");
        let wrong = SimulatedRequest { method: "get it".into(), ..request("/") };
        assert_eq!(
            simulated.begin(&wrong, 7, None).unwrap_err(),
            "a method is a word like GET, not `get it`"
        );
    }

    #[test]
    fn an_answer_is_whole_when_the_hub_closes() {
        let mut simulated = Simulated::default();
        simulated.begin(&request("/"), 7, Some(json!(1))).unwrap();
        assert_eq!(simulated.take_reply(b"kennel-console 1:1, HTTP/1.1 200 OK\r\nA: b\r\n\r\nhel"), None);
        assert_eq!(simulated.take_reply(b"kennel-console 1:1, lo"), None);
        let (token, reference, answer) = simulated.take_reply(b"kennel-console 1:1, ").unwrap();
        assert_eq!((token, reference), (7, Some(json!(1))));
        let whole = json!({ "status": 200, "headers": { "A": "b" }, "body": "hello", "body_is_text": true });
        assert_eq!(answer, Ok(whole));
        assert_eq!(simulated.take_reply(b"kennel-console 1:1, "), None);
    }
}
