//! A response whose body comes in pieces: its head, and how the end of the body is marked.

use super::fields;
use super::persistence::Persistence;
use super::response::{self, Form};
use thiserror::Error;

/// The head of a response about to be written.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// 200 to 999.
    pub status: u16,
    /// Header lines, each ended by CR LF. A Content-Length among them is taken at its word.
    pub head: &'a [u8],
}

/// What marks the end of a body (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body: the answer to HEAD, 204, 304.
    Bodiless,
    /// So many bytes are still to come.
    Length(u64),
    /// An empty chunk.
    Chunked,
    /// The end of the connection. Whoever reads HTTP/1.0 cannot tell it from a body that was cut short.
    Close,
}

/// Why a head cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpeningError {
    /// A Content-Length that is no number, or several that differ.
    #[error("`{value}` is no Content-Length, or not the only one")]
    ContentLength {
        /// The value, with what cannot be shown escaped.
        value: String,
    },
}

impl Opening<'_> {
    /// Appends the head to `out`, and says how the body is to be framed and what then happens to the
    /// connection. `chunks`: the client understands them.
    ///
    /// # Errors
    ///
    /// [`OpeningError`]; nothing is written then.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        form: Form<'_>,
        chunks: bool,
    ) -> Result<(Framing, Persistence), OpeningError> {
        let length = self.content_length()?;
        let bodiless = form.head_only || matches!(self.status, 204 | 304);
        let framing = match length {
            _ if bodiless => Framing::Bodiless,
            Some(length) => Framing::Length(length),
            None if chunks => Framing::Chunked,
            None => Framing::Close,
        };
        let persistence = match framing {
            Framing::Close => Persistence::Close,
            _ => form.persistence,
        };
        let head = response::begin(out, self.status, self.head, form.date);
        for line in fields::lines(head) {
            // Framing is not the script's, and a 204 has no length at all (RFC 9110, 8.6).
            let left_out = fields::is_named(line, b"transfer-encoding")
                || (self.status == 204 && fields::is_named(line, b"content-length"));
            if !left_out {
                out.extend_from_slice(line);
            }
        }
        if framing == Framing::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        Ok((framing, response::end(out, head, persistence)))
    }

    /// The length that the head announces.
    ///
    /// # Errors
    ///
    /// [`OpeningError`] for a Content-Length that is not a number, or several that differ.
    pub fn content_length(&self) -> Result<Option<u64>, OpeningError> {
        let mut length = None;
        for line in fields::lines(self.head).filter(|line| fields::is_named(line, b"content-length")) {
            let value = fields::value(line);
            let digits =
                std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            let number = digits.and_then(|digits| digits.parse::<u64>().ok());
            match number {
                Some(number) if length.is_none_or(|length| length == number) => length = Some(number),
                _ => {
                    return Err(OpeningError::ContentLength { value: value.escape_ascii().to_string() });
                }
            }
        }
        Ok(length)
    }
}

/// More than a chunk adds to the bytes in it.
pub const CHUNK_FRAME: usize = 20;
/// What ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends what comes before the bytes of a chunk; after them comes CR LF. An empty chunk would end the body.
pub fn begin_chunk(out: &mut Vec<u8>, size: usize) {
    debug_assert!(size > 0, "an empty chunk ends the body");
    out.extend_from_slice(format!("{size:x}\r\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(status: u16, head: &str, head_only: bool, chunks: bool) -> (String, Framing, Persistence) {
        let mut out = Vec::new();
        let persistence = if chunks { Persistence::Open } else { Persistence::KeepAlive };
        let form = Form { head_only, persistence, date: "D" };
        let (framing, persistence) =
            Opening { status, head: head.as_bytes() }.encode(&mut out, form, chunks).unwrap();
        (String::from_utf8(out).unwrap(), framing, persistence)
    }

    #[test]
    fn without_a_length_the_version_decides_how_a_body_ends() {
        assert_eq!(
            written(200, "x: y\r\n", false, true),
            (
                "HTTP/1.1 200 OK\r\nDate: D\r\nx: y\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
                Framing::Chunked,
                Persistence::Open
            )
        );
        assert_eq!(
            written(200, "", false, false),
            (
                "HTTP/1.1 200 OK\r\nDate: D\r\nConnection: close\r\n\r\n".into(),
                Framing::Close,
                Persistence::Close
            )
        );
    }

    #[test]
    fn a_length_is_kept_and_an_encoding_is_not() {
        let head = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\ncontent-length:5\r\n";
        for chunks in [true, false] {
            let (text, framing, persistence) = written(200, head, false, chunks);
            assert_eq!(framing, Framing::Length(5));
            assert!(text.contains("Content-Length: 5\r\n") && !text.contains("Encoding"), "{text}");
            assert_ne!(persistence, Persistence::Close);
        }
    }

    #[test]
    fn head_and_statuses_without_a_body_have_no_framing() {
        for (status, head_only) in [(200, true), (204, false), (304, false)] {
            let (text, framing, persistence) = written(status, "content-length: 5\r\n", head_only, false);
            assert_eq!((framing, persistence), (Framing::Bodiless, Persistence::KeepAlive));
            assert_eq!(text.contains("content-length"), status != 204);
        }
    }

    #[test]
    fn a_length_that_is_none_is_an_error() {
        for head in ["content-length: x\r\n", "Content-Length: -1\r\n", "content-length: \r\n"] {
            let opening = Opening { status: 200, head: head.as_bytes() };
            let form = Form { head_only: false, persistence: Persistence::Open, date: "D" };
            assert!(opening.encode(&mut Vec::new(), form, true).is_err(), "{head}");
        }
        let two = Opening { status: 200, head: b"content-length: 1\r\ncontent-length: 2\r\n" };
        assert!(two.content_length().is_err());
    }
}
