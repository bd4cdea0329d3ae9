//! A session's conversation by a WebSocket of `kennel.js`: what travels in its frames.
//!
//! `kennel.js` offers the subprotocol [`PROTOCOL`]; a WebSocket that does not offer it is a plain one and never sees any of
//! this. The query of the handshake may name a session, `?session=SESSION&after=NUMBER`, as for event streams.
//!
//! A binary frame is a message. A text frame of the hub that begins with `=` is a message, the text behind it; one of the
//! client has its number before that, `17=text`. Other text frames are JSON objects, which steer:
//!
//! | from | object | meaning |
//! | --- | --- | --- |
//! | hub | `{"session", "resumed", "received", "ping", "inactivity", "acknowledge", "protocol"}` | the first frame |
//! | hub | `{"received": N}` | the script has the client's messages up to N |
//! | hub | `{"received": N, "busy": true}` | the same, and those behind N were not taken; they may come again later |
//! | hub | `{"number": N}` | the next message is number N; those before it were dropped |
//! | hub | `{"refused": N}` | the hub is another one than before, and has not taken message N and those behind it |
//! | hub | `{}` | a sign of life, every `ping` seconds and when asked |
//! | client | `{"after": N}` | the client has the messages up to N |
//! | client | `{"from": N}` | the next message, a binary one, is number N |
//! | client | `{"ask": true}` | the client wants a sign of life now |
//! | client | `{"close": CODE}` | the page is left |
//!
//! The hub's messages carry no numbers, so that they are short: they begin behind `after`, and the client counts. What is not
//! acknowledged when the WebSocket ends is sent again by the next one. A
//! handshake for a session that has ended is accepted and closed with [`GONE`] at once, since pages cannot see statuses.

use super::mailbox::Letter;
use kennel_http::websocket::{Codec, Deflate, encode_message};
use serde_json::{Value, json};

/// The subprotocol that only `kennel.js` offers.
pub(crate) const PROTOCOL: &str = "kennel.session.1";
/// A sign of life.
pub(crate) const ALIVE: &[u8] = b"{}";
/// The close code by which a client learns that its session cannot go on.
pub(crate) const GONE: u16 = 1012;
/// Bytes of a client's text before the message itself, at most: its number and `=`.
pub(crate) const NUMBER: usize = 21;
/// After how many messages a client acknowledges, at most.
const ACKNOWLEDGE: usize = 64;

/// What a client learns first.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    /// The session.
    pub ticket: &'a str,
    /// It is a session that was there before.
    pub resumed: bool,
    /// The number of the last message that came from the client.
    pub received: u64,
    /// Seconds between two signs of life; 0: there are none.
    pub ping: f64,
    /// Seconds for which a session without a client lives.
    pub inactivity: u64,
    /// Messages that may wait for the client.
    pub mailbox: usize,
    /// The app's subprotocol, if the client offered one that the app speaks.
    pub protocol: &'a str,
}

impl Opened<'_> {
    /// The first frame's text.
    pub(crate) fn encode(&self) -> String {
        json!({
            "session": self.ticket,
            "resumed": self.resumed,
            "received": self.received,
            "ping": self.ping,
            "inactivity": self.inactivity,
            "acknowledge": (self.mailbox / 4).clamp(1, ACKNOWLEDGE),
            "protocol": self.protocol,
        })
        .to_string()
    }
}

/// How far the client's messages have come. `busy`: those that came behind were not taken.
pub(crate) fn received(number: u64, busy: bool) -> String {
    if busy {
        json!({ "received": number, "busy": true }).to_string()
    } else {
        json!({ "received": number }).to_string()
    }
}

/// The number of the next message, where it is not the one behind the last.
pub(crate) fn number(number: u64) -> String {
    json!({ "number": number }).to_string()
}

/// Those messages of the client that this hub was the first to see, and did not take.
pub(crate) fn refused(number: u64) -> String {
    json!({ "refused": number }).to_string()
}

/// Appends a steering text as a frame.
pub(crate) fn steer(text: &[u8], codec: &mut Codec, out: &mut Vec<u8>) {
    encode_message(out, false, text, None, codec);
}

/// Appends a message as a frame.
pub(crate) fn message(letter: &Letter, deflate: Option<Deflate>, codec: &mut Codec, out: &mut Vec<u8>) {
    let is_text = !letter.binary && std::str::from_utf8(&letter.payload).is_ok();
    if is_text {
        let text = [b"=", &letter.payload[..]].concat();
        encode_message(out, false, &text, deflate, codec);
    } else {
        encode_message(out, true, &letter.payload, deflate, codec);
    }
}

/// What a client's text frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    /// A message, with its number.
    Message(u64, &'a str),
    /// It has the messages up to this number.
    After(u64),
    /// Its next message has this number.
    From(u64),
    /// It wants a sign of life.
    Ask,
    /// Its page is left.
    Close(u16),
    /// It gives this WebSocket up, and the session goes on.
    Leave,
    /// Something that a later version says.
    Unknown,
}

/// Reads a client's text frame. `None`: it is neither a message nor an object.
pub(crate) fn read(text: &str) -> Option<Said<'_>> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let (number, message) = text.split_once('=')?;
        let number = number.parse().ok().filter(|number| *number > 0)?;
        return Some(Said::Message(number, message));
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let object = value.as_object()?;
    let number = |name: &str| object.get(name).and_then(Value::as_u64);
    Some(if let Some(after) = number("after") {
        Said::After(after)
    } else if let Some(from) = number("from").filter(|from| *from > 0) {
        Said::From(from)
    } else if let Some(code) = number("close").and_then(|code| u16::try_from(code).ok()) {
        Said::Close(code)
    } else if object.contains_key("leave") {
        Said::Leave
    } else if object.contains_key("ask") {
        Said::Ask
    } else {
        Said::Unknown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_messages_or_steer() {
        assert_eq!(read("1=hello"), Some(Said::Message(1, "hello")));
        assert_eq!(read("17="), Some(Said::Message(17, "")));
        assert_eq!(read("2=3=4"), Some(Said::Message(2, "3=4")));
        assert_eq!(read("{\"after\":17}"), Some(Said::After(17)));
        assert_eq!(read("{\"from\":3}"), Some(Said::From(3)));
        assert_eq!(read("{\"from\":0}"), Some(Said::Unknown));
        assert_eq!(read("{\"ask\":true}"), Some(Said::Ask));
        assert_eq!(read("{\"leave\":true}"), Some(Said::Leave));
        assert_eq!(read("{\"close\":1001}"), Some(Said::Close(1001)));
        for other in ["{}", "{\"after\":-1}", "{\"after\":1.5}", "{\"close\":70000}", "{\"new\":1}"] {
            assert_eq!(read(other), Some(Said::Unknown), "{other}");
        }
        for bad in ["", "hello", "[1]", "17", "{", "null", "=", "0=x", "1x=", "99999999999999999999="] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn messages_are_frames_of_their_kind() {
        let frame = |binary, payload: &[u8]| {
            let mut out = Vec::new();
            message(&Letter { binary, payload: payload.into() }, None, &mut Codec::default(), &mut out);
            out
        };
        assert_eq!(frame(false, b"hi"), b"\x81\x03=hi");
        assert_eq!(frame(false, b""), b"\x81\x01=");
        assert_eq!(frame(true, b"hi"), b"\x82\x02hi");
        assert_eq!(
            frame(false, b"\xff"),
            b"\x82\x01\xff",
            "a text that is not UTF-8 would end the WebSocket"
        );
    }

    #[test]
    fn the_first_frame_says_how_often_to_acknowledge() {
        let acknowledge = |mailbox| {
            let opened = Opened {
                ticket: "T",
                resumed: true,
                received: 7,
                ping: 30.0,
                inactivity: 60,
                mailbox,
                protocol: "v1",
            };
            let value: Value = serde_json::from_str(&opened.encode()).unwrap();
            assert_eq!((&value["session"], &value["received"]), (&json!("T"), &json!(7)));
            value["acknowledge"].as_u64().unwrap()
        };
        assert_eq!([0, 8, 100, 16_384].map(acknowledge), [1, 2, 25, 64]);
    }
}
