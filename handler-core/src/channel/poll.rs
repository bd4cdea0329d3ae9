//! A conversation by long polls: the answers, as JSON.

use super::mailbox::Mailbox;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Bytes of messages in one answer; the rest comes with the next poll.
const ANSWER: usize = 256 << 10;

/// The answer to whoever opens a session. `wait`: seconds that a poll may wait; `inactivity`: those for which a session
/// without a poll lives; `ping`: those within which a client should hear something.
pub(crate) fn opened(ticket: &str, wait: u64, inactivity: u64, ping: f64) -> String {
    json!({ "session": ticket, "wait": wait, "inactivity": inactivity, "ping": ping }).to_string() + "\n"
}

/// The answer to a poll, with the messages that wait: a text as itself, bytes as `{"base64": ...}`. `after` is the number of
/// the last one in it. The close, code and reason, is said with the last of them; the second value is whether it was.
pub(crate) fn answer(mailbox: &mut Mailbox, close: Option<(u16, &str)>) -> (String, bool) {
    let mut messages = Vec::new();
    let mut size = 0;
    while let Some(next) = mailbox.peek() {
        if size > 0 && size + next > ANSWER {
            break;
        }
        size += next;
        let Some((_, letter)) = mailbox.hand_out() else { break };
        messages.push(match std::str::from_utf8(&letter.payload) {
            Ok(text) if !letter.binary => Value::from(text),
            _ => json!({ "base64": STANDARD.encode(&letter.payload) }),
        });
    }
    let mut answer = json!({ "after": mailbox.sent(), "messages": messages });
    let close = close.filter(|_| mailbox.is_all_sent());
    if let Some((code, reason)) = close {
        answer["close"] = json!({ "code": code, "reason": reason });
    }
    (answer.to_string() + "\n", close.is_some())
}

/// The answer to a poll whose place another one has taken, or for which nothing came.
pub(crate) fn nothing(mailbox: &Mailbox) -> String {
    json!({ "after": mailbox.sent(), "messages": [] }).to_string() + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::mailbox::{Bounds, Letter};
    use super::*;
    use crate::channel::Slow;

    fn post(mailbox: &mut Mailbox, binary: bool, payload: &[u8]) {
        let bounds = Bounds { letters: 100, bytes: 1 << 20, slow: Slow::Wait };
        mailbox.post(Letter { binary, payload: payload.into() }, bounds);
    }

    #[test]
    fn an_answer_has_what_waits_and_says_up_to_where() {
        let mut mailbox = Mailbox::default();
        assert_eq!(answer(&mut mailbox, None).0, "{\"after\":0,\"messages\":[]}\n");
        post(&mut mailbox, false, b"say \"hi\"\r\n");
        post(&mut mailbox, true, b"\0\x01");
        let expected = "{\"after\":2,\"messages\":[\"say \\\"hi\\\"\\r\\n\",{\"base64\":\"AAE=\"}]}\n";
        assert_eq!(answer(&mut mailbox, None).0, expected);
        assert_eq!(nothing(&mailbox), "{\"after\":2,\"messages\":[]}\n");
    }

    #[test]
    fn the_close_comes_with_the_last_message() {
        let mut mailbox = Mailbox::default();
        let large = vec![b'x'; ANSWER];
        post(&mut mailbox, false, &large);
        post(&mut mailbox, false, b"end");
        let (first, closed) = answer(&mut mailbox, Some((1000, "bye")));
        assert!(
            !closed && first.len() > ANSWER && first.starts_with("{\"after\":1,"),
            "one message however large"
        );
        let (second, closed) = answer(&mut mailbox, Some((1000, "bye")));
        assert!(closed);
        assert_eq!(
            second,
            "{\"after\":2,\"messages\":[\"end\"],\"close\":{\"code\":1000,\"reason\":\"bye\"}}\n"
        );
    }
}
