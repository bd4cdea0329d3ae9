//! The outside of a message: `SENDER CONN_ID PATH HEADERS BODY`, cut into slices.
//!
//! Headers end in `,` (a netstring around JSON) or in `}` (a tnetstring dict); the byte after them
//! is the only sign of which protocol the Handler is configured for. Nothing is copied.

use crate::headers::{Headers, Protocol};
use crate::ids::is_sender;
use crate::netstring::{self, NetstringError};
use thiserror::Error;

/// One message of Mongrel2, as slices of its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The Handler's `send_ident`, `[A-Za-z0-9-]+`.
    pub sender: &'a str,
    /// The connection's number; negative in notices about ids beyond 2147483647.
    pub conn_id: i64,
    /// The path as sent, `@*` for notices. No spaces, otherwise any bytes.
    pub path: &'a [u8],
    /// The header block, not yet read.
    pub headers: Headers<'a>,
    /// The body.
    pub body: &'a [u8],
}

/// Why bytes are no message. Offsets count from its first byte.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem} (byte {offset})")]
pub struct EnvelopeError {
    /// The offset of the byte that broke the rule.
    pub offset: usize,
    /// The rule.
    pub problem: EnvelopeProblem,
}

/// The rules that a message can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EnvelopeProblem {
    /// The first word holds something else than `[A-Za-z0-9-]`, or is missing.
    #[error("a message begins with a sender of letters, digits and `-`, and a space")]
    BadSender,
    /// The second word is no 32-bit number.
    #[error("the second word must be a conn id, a number of 32 bits")]
    BadConnId,
    /// No path, or no space after it.
    #[error("the third word must be a path, followed by a space")]
    BadPath,
    /// The header block is no netstring or tnetstring.
    #[error("headers: {0}")]
    BadHeaderBlock(NetstringError),
    /// The header block ends in neither `,` nor `}`.
    #[error("headers must end in `,` (JSON) or `}}` (tnetstring)")]
    UnknownProtocol,
    /// The body is no netstring.
    #[error("body: {0}")]
    BadBody(NetstringError),
    /// Bytes after the body.
    #[error("bytes after the body")]
    TrailingBytes,
}

impl<'a> Envelope<'a> {
    /// Cuts one message into its parts.
    ///
    /// ```
    /// use mongrel2_wire::Envelope;
    ///
    /// let message = Envelope::parse(b"m2 7 /hi 16:{\"METHOD\":\"GET\"},2:ok,").unwrap();
    /// assert_eq!((message.sender, message.conn_id, message.body), ("m2", 7, &b"ok"[..]));
    /// ```
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] says which rule was broken at which byte.
    pub fn parse(message: &'a [u8]) -> Result<Self, EnvelopeError> {
        let (envelope, rest) = Self::parse_first(message)?;
        if rest.is_empty() {
            Ok(envelope)
        } else {
            let offset = message.len() - rest.len();
            Err(EnvelopeError { offset, problem: EnvelopeProblem::TrailingBytes })
        }
    }

    /// Cuts the first message off `input` and returns it with what follows, for input that holds
    /// several in a row.
    ///
    /// # Errors
    ///
    /// As [`Envelope::parse`], but for bytes after the body.
    pub fn parse_first(input: &'a [u8]) -> Result<(Self, &'a [u8]), EnvelopeError> {
        let at = |offset, problem| EnvelopeError { offset, problem };
        let word = |from: usize| {
            memchr::memchr(b' ', &input[from..]).map(|size| (&input[from..from + size], from + size + 1))
        };

        let (sender, start) = match word(0) {
            Some((sender, start)) if is_sender(sender) => {
                (std::str::from_utf8(sender).expect("a sender is ASCII"), start)
            }
            _ => return Err(at(0, EnvelopeProblem::BadSender)),
        };
        let bad_id = at(start, EnvelopeProblem::BadConnId);
        let (digits, path_start) = word(start).ok_or(bad_id.clone())?;
        let conn_id = parse_conn_id(digits).ok_or(bad_id)?;

        let bad_path = at(path_start, EnvelopeProblem::BadPath);
        let (path, headers_start) = word(path_start).ok_or(bad_path.clone())?;
        if path.is_empty() {
            return Err(bad_path);
        }

        let block = &input[headers_start..];
        let (data, mark, after) = netstring::parse_marked(block)
            .map_err(|e| at(headers_start + e.offset(), EnvelopeProblem::BadHeaderBlock(e)))?;
        let body_start = input.len() - after.len();
        let protocol = match mark {
            b',' => Protocol::Json,
            b'}' => Protocol::Tnetstring,
            _ => return Err(at(body_start - 1, EnvelopeProblem::UnknownProtocol)),
        };
        let (body, rest) =
            netstring::parse(after).map_err(|e| at(body_start + e.offset(), EnvelopeProblem::BadBody(e)))?;
        let headers = Headers::new(protocol, data);
        Ok((Self { sender, conn_id, path, headers, body }, rest))
    }
}

/// Reads a conn id: what C's `%d` and `%u` print for 32 bits, so a minus sign is possible.
fn parse_conn_id(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, digits),
    };
    if digits.is_empty() || digits.len() > 10 {
        return None;
    }
    let mut id = 0_i64;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        id = id * 10 + i64::from(byte - b'0');
    }
    (id <= i64::from(u32::MAX)).then_some(if negative { -id } else { id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(message: &[u8]) -> (usize, EnvelopeProblem) {
        let error = Envelope::parse(message).unwrap_err();
        (error.offset, error.problem)
    }

    #[test]
    fn errors_say_which_rule_broke_where() {
        use EnvelopeProblem::*;
        assert_eq!(problem(b""), (0, BadSender));
        assert_eq!(problem(b"a_b 1 / 2:{},0:,"), (0, BadSender));
        assert_eq!(problem(b"a x / 2:{},0:,"), (2, BadConnId));
        assert_eq!(problem(b"a 99999999999 / 2:{},0:,"), (2, BadConnId));
        assert_eq!(problem(b"a 1  2:{},0:,"), (4, BadPath));
        assert_eq!(problem(b"a 1 /"), (4, BadPath));
        assert_eq!(problem(b"a 1 / 2:{}#0:,"), (10, UnknownProtocol));
        assert_eq!(problem(b"a 1 / 2:{},0:;"), (13, BadBody(NetstringError::NoComma { at: 2 })));
        assert_eq!(problem(b"a 1 / 2:{},0:,x"), (14, TrailingBytes));
    }

    #[test]
    fn a_negative_id_is_read() {
        assert_eq!(Envelope::parse(b"a -1 @* 2:{},0:,").unwrap().conn_id, -1);
    }

    #[test]
    fn messages_in_a_row_come_apart() {
        let two = b"a 1 / 2:{},0:,b 2 /x 0:}1:y,";
        let (first, rest) = Envelope::parse_first(two).unwrap();
        let (second, rest) = Envelope::parse_first(rest).unwrap();
        assert_eq!((first.sender, second.sender, second.body), ("a", "b", &b"y"[..]));
        assert_eq!(second.headers.protocol(), Protocol::Tnetstring);
        assert!(rest.is_empty());
    }
}
