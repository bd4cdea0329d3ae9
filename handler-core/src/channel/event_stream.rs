//! A conversation as server-sent events: what the client of `GET` with `Accept: text/event-stream` reads.
//!
//! `event: open` comes first, with the session's ticket; a text is an event without a name, whose id is the ticket and
//! the message's number, so that a browser that comes back by itself says in `Last-Event-ID` where it was. A text with
//! a carriage return, which the format cannot carry, comes as JSON under the name `encoded`, bytes as base64 under
//! `binary`, and the end as `close`. `alive` comes from time to time.

use super::mailbox::Letter;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kennel_http::events::Event;
use serde_json::json;

/// After how many milliseconds a browser that was cut off comes back.
const RETRY: u64 = 1000;

/// A sign of life, which pages can see. A client that does not know it passes over it, as over every event of a name that it
/// does not listen for.
pub(crate) const ALIVE: &[u8] = b"event: alive\ndata: {}\n\n";

/// The first event. `inactivity`: seconds for which a session without a client lives; `ping`: those between two signs of
/// life.
pub(crate) fn open(ticket: &str, resumed: bool, inactivity: u64, ping: f64) -> Vec<u8> {
    let data =
        json!({ "session": ticket, "resumed": resumed, "inactivity": inactivity, "ping": ping }).to_string();
    written(Event {
        event: Some(b"open"),
        data: Some(data.as_bytes()),
        retry: Some(RETRY),
        ..Event::default()
    })
}

/// Appends a message.
pub(crate) fn message(ticket: &str, number: u64, letter: &Letter, out: &mut Vec<u8>) {
    let id = format!("{ticket}.{number}");
    let payload = &letter.payload[..];
    let (name, data) = if letter.binary {
        (Some("binary"), STANDARD.encode(payload))
    } else {
        match std::str::from_utf8(payload) {
            Ok(text) if !text.contains('\r') => (None, text.to_owned()),
            Ok(text) => (Some("encoded"), json!(text).to_string()),
            Err(_) => (Some("binary"), STANDARD.encode(payload)),
        }
    };
    let event = Event {
        event: name.map(str::as_bytes),
        data: Some(data.as_bytes()),
        id: Some(id.as_bytes()),
        retry: None,
    };
    out.extend_from_slice(&written(event));
}

/// The last event.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    let data = json!({ "code": code, "reason": reason }).to_string();
    written(Event { event: Some(b"close"), data: Some(data.as_bytes()), ..Event::default() })
}

/// The ticket and the number in what a client says in `Last-Event-ID`.
pub(crate) fn last_event(id: &[u8]) -> Option<(&[u8], u64)> {
    let at = memchr::memrchr(b'.', id)?;
    let number = std::str::from_utf8(&id[at + 1..]).ok()?.parse().ok()?;
    Some((&id[..at], number))
}

fn written(event: Event<'_>) -> Vec<u8> {
    event.encode().expect("names and ids are our own, and data is text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(binary: bool, payload: &[u8]) -> String {
        let mut out = Vec::new();
        message("T", 7, &Letter { binary, payload: payload.into() }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_message_is_an_event_that_says_exactly_it() {
        assert_eq!(event(false, b"one\ntwo"), "id: T.7\ndata: one\ndata: two\n\n");
        assert_eq!(event(false, b""), "id: T.7\ndata: \n\n");
        assert_eq!(event(false, b"a\r\nb"), "event: encoded\nid: T.7\ndata: \"a\\r\\nb\"\n\n");
        assert_eq!(event(true, b"\0\x01"), "event: binary\nid: T.7\ndata: AAE=\n\n");
        assert_eq!(event(false, b"\xff"), "event: binary\nid: T.7\ndata: /w==\n\n");
        assert_eq!(
            close(1000, "bye").as_slice(),
            b"event: close\ndata: {\"code\":1000,\"reason\":\"bye\"}\n\n"
        );
    }

    #[test]
    fn where_a_client_was_is_read_from_its_last_event() {
        assert_eq!(last_event(b"abc.17"), Some((&b"abc"[..], 17)));
        for bad in [&b""[..], b"abc", b"abc.", b"abc.x", b"abc.-1", b"abc.99999999999999999999"] {
            assert_eq!(last_event(bad), None);
        }
    }
}
