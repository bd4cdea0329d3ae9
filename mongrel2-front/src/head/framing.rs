//! How long the body of a request is (RFC 9112, section 6). What could be read in two ways is refused.

use super::{Head, Refusal};

/// The body that follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Its length in bytes, often 0.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Reads what the head says of its body.
pub(crate) fn framing(head: &Head) -> Result<Framing, Refusal> {
    let mut codings = head.values(b"transfer-encoding");
    let mut lengths = head.values(b"content-length");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Framing::Length(0)),
        (None, Some(length)) if lengths.next().is_none() => read_length(length).map(Framing::Length),
        (Some(coding), None) => {
            let is_chunked = coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
            if is_chunked && head.is_http_11() { Ok(Framing::Chunked) } else { Err(Refusal(400)) }
        }
        _ => Err(Refusal(400)),
    }
}

fn read_length(value: &[u8]) -> Result<u64, Refusal> {
    let is_number = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(value).ok().filter(|_| is_number);
    digits.and_then(|digits| digits.parse().ok()).ok_or(Refusal(400))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::tests::head;

    fn of(lines: &str) -> Result<Framing, u16> {
        let head = head(&format!("POST / HTTP/1.1\r\n{lines}\r\n")).unwrap();
        framing(&head).map_err(|refusal| refusal.0)
    }

    #[test]
    fn a_body_has_a_length_or_chunks() {
        assert_eq!(of(""), Ok(Framing::Length(0)));
        assert_eq!(of("Content-Length: 0012\r\n"), Ok(Framing::Length(12)));
        assert_eq!(of("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
    }

    #[test]
    fn what_two_servers_could_read_in_two_ways_is_refused() {
        for lines in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "Content-Length: 3, 3\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 3 x\r\n",
            "Content-Length: abc\r\n",
            "Content-Length:\r\n",
            "Content-Length: 9999999999999999999\r\n",
            "Content-Length: 0x10\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
        ] {
            let head = head(&format!("POST / HTTP/1.1\r\n{lines}\r\n"));
            let read = head.and_then(|head| framing(&head));
            assert_eq!(read, Err(Refusal(400)), "{lines:?}");
        }
        let old = head("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert_eq!(framing(&old), Err(Refusal(400)));
    }
}
