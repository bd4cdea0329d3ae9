//! Header lines that cannot break HTTP.
//!
//! What a script writes into a name or value is checked here, once, on the worker's side, where
//! the script's line is still known (RFC 9110, sections 5.1 and 5.5).

use super::percent;
use super::status::reason;
use thiserror::Error;

/// Why a header line was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FieldError {
    /// A name that is no token.
    #[error("`{name}` is no header name: letters, digits and !#$%&'*+-.^_`|~ only")]
    BadName {
        /// The name, with what cannot be shown escaped.
        name: String,
    },
    /// A value that would end its line or its message.
    #[error("the value of header `{name}` has a {byte} at position {at}; it would break the response")]
    BadValue {
        /// The header's name.
        name: String,
        /// `line feed`, `carriage return` or `NUL`.
        byte: &'static str,
        /// Counted from 1.
        at: usize,
    },
}

/// A reason phrase that would end its line, or that clients may take for something else.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the reason phrase `{phrase}` has a control character; write plain text behind the status")]
pub struct ReasonError {
    /// The phrase, with what cannot be shown escaped.
    pub phrase: String,
}

/// What comes before a reason phrase, as the first line of a head. No header has such a name.
const REASON: &[u8] = b":reason ";

/// Header lines in the making, each ended by CR LF.
#[derive(Debug, Clone, Default)]
pub struct HeadLines {
    lines: Vec<u8>,
}

impl HeadLines {
    /// No lines, and a reason phrase of the script's own for the status line (RFC 9112, 4). An empty one, and the usual
    /// one of the status, is none.
    ///
    /// # Errors
    ///
    /// [`ReasonError`] when it has a control character.
    pub fn with_reason(status: u16, phrase: &[u8]) -> Result<Self, ReasonError> {
        if phrase.iter().any(u8::is_ascii_control) {
            return Err(ReasonError { phrase: phrase.escape_ascii().to_string() });
        }
        let lines = match phrase.is_empty() || phrase == reason(status).as_bytes() {
            true => Vec::new(),
            false => [REASON, phrase, b"\r\n"].concat(),
        };
        Ok(Self { lines })
    }

    /// Appends one line. Content-Length, Transfer-Encoding, Connection's `keep-alive` and Date are
    /// the hub's to write: a line for the first two is left out, since a wrong one would tear the
    /// connection's framing. An address in Location or Content-Location is percent-encoded where it has to be.
    ///
    /// # Errors
    ///
    /// [`FieldError`] when the line would not be one header.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), FieldError> {
        if name.is_empty() || !name.iter().all(|b| is_token_byte(*b)) {
            return Err(FieldError::BadName { name: name.escape_ascii().to_string() });
        }
        if let Some(at) = value.iter().position(|b| matches!(b, b'\r' | b'\n' | 0)) {
            let byte = match value[at] {
                b'\n' => "line feed",
                b'\r' => "carriage return",
                _ => "NUL",
            };
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(FieldError::BadValue { name, byte, at: at + 1 });
        }
        if !name.eq_ignore_ascii_case(b"content-length") && !name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.lines.extend_from_slice(name);
            self.lines.extend_from_slice(b": ");
            let is_address =
                name.eq_ignore_ascii_case(b"location") || name.eq_ignore_ascii_case(b"content-location");
            match is_address {
                true => self.lines.extend_from_slice(&percent::reference(value)),
                false => self.lines.extend_from_slice(value),
            }
            self.lines.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// Whether a line with this name is there, in any case.
    pub fn has(&self, name: &[u8]) -> bool {
        find(&self.lines, name).is_some()
    }

    /// The lines.
    pub fn as_bytes(&self) -> &[u8] {
        &self.lines
    }

    /// Forgets all lines, keeps the memory.
    pub fn clear(&mut self) {
        self.lines.clear();
    }
}

/// The reason phrase of the script's own that a head begins with, and the header lines.
pub(crate) fn split_reason(head: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let Some(rest) = head.strip_prefix(REASON) else { return (None, head) };
    let (line, lines) = rest.split_at(memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1));
    let phrase = line.strip_suffix(b"\n").unwrap_or(line);
    let phrase = phrase.strip_suffix(b"\r").unwrap_or(phrase);
    (Some(phrase).filter(|phrase| !phrase.iter().any(u8::is_ascii_control)), lines)
}

/// The value of the first line with this name.
pub(crate) fn find<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    lines(head).find(|line| is_named(line, name)).map(value)
}

/// The lines of a head, each with its end.
pub fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = head;
    std::iter::from_fn(move || {
        let (line, rest) = left.split_at(memchr::memchr(b'\n', left).map_or(left.len(), |at| at + 1));
        left = rest;
        (!line.is_empty()).then_some(line)
    })
}

/// Whether a line has this name.
pub(crate) fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name)
}

/// The value in a header line, without the blanks around it.
pub fn value(line: &[u8]) -> &[u8] {
    let colon = memchr::memchr(b':', line).map_or(line.len(), |at| at + 1);
    line[colon..].trim_ascii()
}

/// Whether a comma-separated value has this item, in any case.
pub(crate) fn has_item(value: &[u8], item: &[u8]) -> bool {
    value.split(|b| *b == b',').any(|found| found.trim_ascii().eq_ignore_ascii_case(item))
}

/// Whether a token, so a header's name or a method, may have this byte (RFC 9110, 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_in_order() {
        let mut lines = HeadLines::default();
        lines.push(b"x-a", b"1").unwrap();
        lines.push(b"Set-Cookie", b"a=b; Path=/").unwrap();
        lines.push(b"Content-Length", b"7").unwrap();
        assert_eq!(lines.as_bytes(), b"x-a: 1\r\nSet-Cookie: a=b; Path=/\r\n");
        assert!(lines.has(b"set-cookie") && !lines.has(b"set") && !lines.has(b"content-length"));
        assert_eq!(find(lines.as_bytes(), b"SET-COOKIE"), Some(&b"a=b; Path=/"[..]));
    }

    #[test]
    fn an_address_has_no_byte_that_no_uri_has() {
        let mut lines = HeadLines::default();
        lines.push(b"location", "/caf\u{e9} a?b=%20c#d".as_bytes()).unwrap();
        lines.push(b"Content-Location", b"/a b").unwrap();
        lines.push(b"x-location", b"/a b").unwrap();
        let expected =
            "location: /caf%C3%A9%20a?b=%20c#d\r\nContent-Location: /a%20b\r\nx-location: /a b\r\n";
        assert_eq!(lines.as_bytes(), expected.as_bytes());
        assert!(matches!(lines.push(b"location", b"/a\r\nb: c"), Err(FieldError::BadValue { .. })));
    }

    #[test]
    fn nothing_that_breaks_a_line_gets_in() {
        let mut lines = HeadLines::default();
        for name in [&b""[..], b"a b", b"a:", b"a\r\n", b"\xff"] {
            assert!(matches!(lines.push(name, b"x"), Err(FieldError::BadName { .. })));
        }
        for value in [&b"a\r\nb: c"[..], b"\n", b"a\rb", b"\0"] {
            assert!(matches!(lines.push(b"x", value), Err(FieldError::BadValue { .. })));
        }
        assert!(lines.as_bytes().is_empty());
    }
}
