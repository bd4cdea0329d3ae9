//! What an HTTP client makes of the bytes that it received.

use super::message::Pairs;
use kennel_http::fields;

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names and values of the header lines, in order.
    pub headers: Pairs,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Whether the body has come to its end.
    pub complete: bool,
}

impl Answer {
    /// Reads what has come so far. `None`: not even the head is whole. `bodiless`: it is an answer to HEAD. `closed`: no
    /// more will come.
    pub fn read(bytes: &[u8], bodiless: bool, closed: bool) -> Option<Self> {
        let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
        let (head, rest) = bytes.split_at(end);
        let (first, lines) = head.split_at(memchr::memchr(b'\n', head)? + 1);
        let status = std::str::from_utf8(first.strip_prefix(b"HTTP/1.")?.get(2..5)?).ok()?.parse().ok()?;
        let mut headers = Pairs::new();
        for line in fields::lines(lines).filter(|line| !line.trim_ascii().is_empty()) {
            let colon = memchr::memchr(b':', line).unwrap_or(line.len());
            headers.push((line[..colon].to_vec(), fields::value(line).to_vec()));
        }
        let mut answer = Self { status, headers, body: Vec::new(), complete: false };
        let is_chunked =
            answer.header("Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"));
        if bodiless || matches!(status, 204 | 304) {
            answer.complete = true;
        } else if is_chunked {
            (answer.body, answer.complete) = unchunk(rest);
        } else if let Some(length) = answer.length() {
            answer.complete = rest.len() >= length;
            answer.body = rest[..length.min(rest.len())].to_vec();
        } else {
            answer.complete = closed;
            answer.body = rest.to_vec();
        }
        Some(answer)
    }

    /// The first value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut all = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
        all.next().map(|(_, value)| &value[..])
    }

    fn length(&self) -> Option<usize> {
        std::str::from_utf8(self.header("Content-Length")?).ok()?.parse().ok()
    }
}

/// What is in the whole chunks of a body, and whether the last one is there.
fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = memchr::memmem::find(bytes, b"\r\n") {
        let size =
            std::str::from_utf8(&bytes[..line]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(size) = size else { break };
        if size == 0 {
            return (body, true);
        }
        let Some(chunk) = bytes.get(line + 2..).and_then(|rest| rest.get(..size)) else { break };
        body.extend_from_slice(chunk);
        bytes = bytes.get(line + 2 + size + 2..).unwrap_or_default();
    }
    (body, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";

    #[test]
    fn an_answer_is_whole_by_length_by_chunks_or_by_its_end() {
        let read = |text: &[u8], closed| Answer::read(text, false, closed).unwrap();
        let answer = read(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nA: b\r\n\r\nhi", false);
        assert_eq!((answer.status, &*answer.body, answer.complete), (201, &b"hi"[..], true));
        assert_eq!(answer.header("a"), Some(&b"b"[..]));
        assert!(!read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", false).complete);
        let answer = read(CHUNKED, false);
        assert_eq!((&*answer.body, answer.complete), (&b"abcde"[..], true));
        assert!(!read(b"HTTP/1.1 200 OK\r\n\r\nhi", false).complete);
        assert!(read(b"HTTP/1.1 200 OK\r\n\r\nhi", true).complete);
    }

    #[test]
    fn no_prefix_of_an_answer_is_taken_for_the_whole() {
        for end in 0..CHUNKED.len() - 2 {
            let answer = Answer::read(&CHUNKED[..end], false, true);
            assert!(answer.is_none_or(|answer| !answer.complete || end >= CHUNKED.len() - 4), "{end}");
        }
        assert_eq!(Answer::read(b"what is this\r\n\r\n", false, true), None);
    }
}
