//! Messages of JSON and XML sockets, which share the port with HTTP: `@name {…}` or `<tag …>`, and a NUL.

/// What a client that asks for Flash's policy gets: all may connect.
pub(crate) const POLICY: &[u8] = b"<?xml version=\"1.0\"?><!DOCTYPE cross-domain-policy SYSTEM \
    \"http://www.macromedia.com/xml/dtds/cross-domain-policy.dtd\"><cross-domain-policy> \
    <allow-access-from domain=\"*\" to-ports=\"*\" /></cross-domain-policy>\0";

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// For the handler of `path`.
    Json { path: &'a [u8], body: &'a [u8] },
    /// For the handler of `path`, `<` and the tag; the body is the whole document.
    Xml { path: &'a [u8], body: &'a [u8] },
    /// A sign of life, for the server alone.
    Ping,
    /// The client asks for the [`POLICY`].
    Policy,
}

/// The bytes are no such message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads a message, without the NUL that ends it.
pub(crate) fn parse(text: &[u8]) -> Result<Message<'_>, Malformed> {
    match text.first() {
        Some(b'@') => parse_json(text),
        Some(b'<') => parse_xml(text),
        _ => Err(Malformed),
    }
}

fn parse_json(text: &[u8]) -> Result<Message<'_>, Malformed> {
    let blank = memchr::memchr(b' ', text).ok_or(Malformed)?;
    let (path, body) = (&text[..blank], &text[blank + 1..]);
    let is_name = path.len() > 1 && path[1..].iter().all(|byte| is_in_name(*byte));
    if !is_name || !body.starts_with(b"{") || body.len() < 2 || !body.ends_with(b"}") {
        return Err(Malformed);
    }
    let is_plain = path[1..].iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'/');
    Ok(if is_plain && is_ping(body) { Message::Ping } else { Message::Json { path, body } })
}

fn parse_xml(text: &[u8]) -> Result<Message<'_>, Malformed> {
    let is_in_tag = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let tag = 1 + text[1..].iter().take_while(|byte| is_in_tag(byte)).count();
    if tag == 1 || !text.ends_with(b">") {
        return Err(Malformed);
    }
    let path = &text[..tag];
    Ok(if path == b"<policy-file-request" { Message::Policy } else { Message::Xml { path, body: text } })
}

fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte)
}

/// `{"type":"ping"}`, with blanks before the word.
fn is_ping(body: &[u8]) -> bool {
    body.strip_prefix(b"{\"type\":").is_some_and(|rest| rest.trim_ascii_start() == b"\"ping\"}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_by_their_first_byte() {
        assert_eq!(
            parse(b"@chat/a {\"a\":\xff}"),
            Ok(Message::Json { path: b"@chat/a", body: b"{\"a\":\xff}" })
        );
        let text = b"<msg a=\"1\"><b>x</b></msg>";
        assert_eq!(parse(text), Ok(Message::Xml { path: b"<msg", body: text }));
        assert_eq!(parse(b"<policy-file-request/>"), Ok(Message::Policy));
    }

    #[test]
    fn a_ping_is_one_in_its_exact_form_only() {
        assert_eq!(parse(b"@chat {\"type\": \"ping\"}"), Ok(Message::Ping));
        assert!(matches!(parse(b"@chat {\"type\":\"ping\",\"x\":1}"), Ok(Message::Json { .. })));
        assert!(matches!(parse(b"@Chat {\"type\":\"ping\"}"), Ok(Message::Json { .. })));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            &b""[..],
            b"@",
            b"@chat",
            b"@chat [1]",
            b"@ {}",
            b"@chat {",
            b"<>",
            b"< a>",
            b"<a",
            b"x",
            b"@c\"t {}",
        ] {
            assert_eq!(parse(text), Err(Malformed), "{}", text.escape_ascii());
        }
    }
}
