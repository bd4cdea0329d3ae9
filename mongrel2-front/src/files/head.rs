//! The bytes of an answer's head, and the answers that are no file.

use super::{Answer, Piece};
use kennel_http::{dates, status};

/// What becomes of a connection, and what its client has to be told of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Afterwards {
    pub(super) is_http_11: bool,
    pub(super) keeps_alive: bool,
}

/// A head in the making.
pub(super) struct Head {
    bytes: Vec<u8>,
}

impl Head {
    /// The status line, and the date in seconds since 1970 where it is known.
    pub(super) fn begin(status: u16, now: Option<u64>) -> Self {
        let mut head = Self { bytes: Vec::with_capacity(320) };
        head.bytes.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
        if let Some(now) = now {
            head.field("Date", dates::format(now).as_bytes());
        }
        head
    }

    /// A header. Bytes that would end its line are left out.
    pub(super) fn field(&mut self, name: &str, value: &[u8]) {
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// What becomes of the connection where that does not go without saying, and the blank line.
    pub(super) fn end(mut self, afterwards: Afterwards) -> Vec<u8> {
        match (afterwards.is_http_11, afterwards.keeps_alive) {
            (true, true) => {}
            (false, true) => self.field("Connection", b"keep-alive"),
            (_, false) => self.field("Connection", b"close"),
        }
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes
    }
}

/// The answer to a request that cannot be served, as Mongrel2 words it. The connection ends with it.
pub(crate) fn error(status: u16) -> Answer {
    refused(status, None, false)
}

/// The same with a date, and without the body when the request was a HEAD.
pub(super) fn refused(status: u16, now: Option<u64>, is_head: bool) -> Answer {
    let text = text(status);
    let mut head = Head::begin(status, now);
    head.field("Content-Type", b"text/plain");
    head.field("Content-Length", text.len().to_string().as_bytes());
    if status == 405 {
        head.field("Allow", b"GET, HEAD");
    }
    let head = head.end(Afterwards { is_http_11: true, keeps_alive: false });
    let body = if is_head { Vec::new() } else { vec![Piece::Bytes(text.as_bytes().to_vec())] };
    let size = if is_head { 0 } else { text.len() as u64 };
    Answer { status, head, body, closes: true, size }
}

fn reason(status: u16) -> &'static str {
    match status {
        413 => "Request Entity Too Large",
        other => status::reason(other),
    }
}

fn text(status: u16) -> &'static str {
    match status {
        413 => "Entity Too Large",
        other => status::reason(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_worded_as_mongrel2_words_them() {
        for (status, line, text) in [
            (400, "400 Bad Request", "Bad Request"),
            (404, "404 Not Found", "Not Found"),
            (413, "413 Request Entity Too Large", "Entity Too Large"),
            (417, "417 Expectation Failed", "Expectation Failed"),
            (501, "501 Not Implemented", "Not Implemented"),
            (503, "503 Service Unavailable", "Service Unavailable"),
        ] {
            let answer = error(status);
            let length = text.len();
            let head = format!(
                "HTTP/1.1 {line}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            assert_eq!(String::from_utf8(answer.head).unwrap(), head);
            assert!(matches!(&answer.body[..], [Piece::Bytes(bytes)] if bytes == text.as_bytes()));
            assert!(answer.closes && answer.size == length as u64);
        }
        assert!(String::from_utf8(error(405).head).unwrap().contains("\r\nAllow: GET, HEAD\r\n"));
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let mut head = Head::begin(200, None);
        head.field("Content-Type", b"a\r\nX: y\0");
        let bytes = head.end(Afterwards { is_http_11: true, keeps_alive: true });
        assert_eq!(bytes, b"HTTP/1.1 200 OK\r\nContent-Type: aX: y\r\n\r\n");
    }
}
