//! Requests that a server has to refuse (RFC 9112, sections 3.2, 6.1 and 6.3).
//!
//! Mongrel2 demands no Host, reads a Content-Length as C does, and takes what it cannot read for no body: the bytes of
//! that body then arrive as the next request of the connection. So such a request is answered with 400, and its
//! connection is closed before anything behind it is taken for a request.

use crate::headers::Values;
use crate::host;
use crate::kind::{Kind, Version};

/// Why an HTTP request or a handshake is answered with 400 and its connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// HTTP/1.1 without Host.
    NoHost,
    /// More than one Host.
    SeveralHosts,
    /// A Host that names no host.
    BadHost,
    /// More than one Content-Length, or one that is not a decimal number.
    BadLength,
    /// A Content-Length that is not the size of the body that Mongrel2 has read.
    OtherLength,
    /// A Transfer-Encoding that Mongrel2 does not decode.
    BadEncoding,
    /// Content-Length and Transfer-Encoding in one request.
    BothLengths,
    /// A WebSocket handshake with a body.
    HandshakeBody,
}

impl Fault {
    /// One line for logs and `kennel decode`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoHost => "HTTP/1.1 without a Host header",
            Self::SeveralHosts => "more than one Host header",
            Self::BadHost => "a Host header that is not a host and a port",
            Self::BadLength => "a Content-Length that is not one decimal number",
            Self::OtherLength => "a Content-Length that is not the size of the body",
            Self::BadEncoding => "a Transfer-Encoding other than `chunked`",
            Self::BothLengths => "both Content-Length and Transfer-Encoding",
            Self::HandshakeBody => "a WebSocket handshake with a body",
        }
    }
}

/// The headers of a request that say whom it is for and how long its body is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Framing<'a> {
    pub kind: Kind,
    pub version: Option<Version>,
    pub host: Option<Values<'a>>,
    pub content_length: Option<Values<'a>>,
    pub transfer_encoding: Option<Values<'a>>,
    /// Bytes of the body in the message.
    pub body: usize,
    /// The message has all of the body.
    pub whole: bool,
}

impl Framing<'_> {
    /// What is wrong with a request; nothing for messages of other kinds.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self.kind {
            Kind::Http | Kind::UploadStart | Kind::UploadDone => self.host_fault().or(self.length_fault()),
            Kind::Handshake => self.host_fault().or(self.handshake_fault()),
            _ => None,
        }
    }

    fn host_fault(&self) -> Option<Fault> {
        let Some(values) = self.host else {
            return (self.version == Some(Version::Http11)).then_some(Fault::NoHost);
        };
        let Some(value) = values.single() else { return Some(Fault::SeveralHosts) };
        let value = value.bytes();
        // An empty one is what a client sends that asks for no host (RFC 9112, 3.2).
        (!value.is_empty() && host::split(&value).is_none()).then_some(Fault::BadHost)
    }

    fn length_fault(&self) -> Option<Fault> {
        match (self.content_length, self.transfer_encoding) {
            (None, None) => None,
            (Some(_), Some(_)) => Some(Fault::BothLengths),
            (None, Some(values)) => {
                // The name is not case-sensitive, but Mongrel2 decodes no other spelling.
                let chunked = values.single().is_some_and(|value| *value.bytes() == *b"chunked");
                (!chunked).then_some(Fault::BadEncoding)
            }
            (Some(values), None) => {
                let Some(length) = values.single().and_then(|value| decimal(&value.bytes())) else {
                    return Some(Fault::BadLength);
                };
                let fits = match self.whole {
                    true => length == self.body as u64,
                    // Mongrel2 reads what is longer as nothing.
                    false => length <= i32::MAX as u64,
                };
                (!fits).then_some(Fault::OtherLength)
            }
        }
    }

    /// Mongrel2 reads what follows a handshake as frames, a body too. It does not tell the client's method, so a body
    /// is the only sign of one that is not GET.
    fn handshake_fault(&self) -> Option<Fault> {
        let is_empty = |values: Values<'_>| {
            values.single().and_then(|value| decimal(&value.bytes())).is_some_and(|length| length == 0)
        };
        let has_body = self.transfer_encoding.is_some() || self.content_length.is_some_and(|v| !is_empty(v));
        has_body.then_some(Fault::HandshakeBody)
    }
}

/// A number of decimal digits alone.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Envelope, Head, netstring};

    /// What is wrong with a request that has these headers, each with its values.
    fn fault_of(own: &[(&str, &str)], lines: &[(&str, &[&str])], body: &str) -> Option<Fault> {
        let mut block = Vec::new();
        for (name, value) in own {
            netstring::encode(&mut block, name.as_bytes());
            netstring::encode(&mut block, value.as_bytes());
        }
        for (name, values) in lines {
            netstring::encode(&mut block, name.as_bytes());
            let mut list = Vec::new();
            values.iter().for_each(|value| netstring::encode(&mut list, value.as_bytes()));
            match values {
                [_] => block.extend_from_slice(&list),
                _ => {
                    block.extend_from_slice(format!("{}:", list.len()).as_bytes());
                    block.extend_from_slice(&list);
                    block.push(b']');
                }
            }
        }
        let mut message = format!("m2 1 / {}:", block.len()).into_bytes();
        message.extend_from_slice(&block);
        message.extend_from_slice(format!("}}{}:{body},", body.len()).as_bytes());
        Head::read(&Envelope::parse(&message).unwrap()).unwrap().fault
    }

    const HTTP_11: &[(&str, &str)] = &[("METHOD", "POST"), ("VERSION", "HTTP/1.1")];
    const HTTP_10: &[(&str, &str)] = &[("METHOD", "POST"), ("VERSION", "HTTP/1.0")];
    const HOST: (&str, &[&str]) = ("host", &["localhost"]);

    #[test]
    fn http_1_1_names_one_host() {
        let fault = |own, hosts: &[&str]| fault_of(own, &[("host", hosts)], "");
        assert_eq!(fault_of(HTTP_11, &[], ""), Some(Fault::NoHost));
        assert_eq!(fault_of(HTTP_10, &[], ""), None);
        for own in [HTTP_11, HTTP_10] {
            assert_eq!(fault(own, &["a", "b"]), Some(Fault::SeveralHosts));
            assert_eq!(fault(own, &["a", "a"]), Some(Fault::SeveralHosts));
            for bad in ["a/b", "user@a", "a b", "a:x", "a:99999", "\"><script>", "a,b", ":80", "[::1"] {
                assert_eq!(fault(own, &[bad]), Some(Fault::BadHost), "{bad}");
            }
            for fine in ["a", "A.example:8080", "a:", "[::1]:80", "", "a_b.example", "localhost \t"] {
                assert_eq!(fault(own, &[fine]), None, "{fine}");
            }
        }
    }

    #[test]
    fn a_length_is_one_decimal_number_and_that_of_the_body() {
        let fault = |values: &[&str], body| fault_of(HTTP_11, &[HOST, ("content-length", values)], body);
        assert_eq!(fault(&["5"], "hello"), None);
        assert_eq!(fault(&["5 "], "hello"), None);
        assert_eq!(fault(&["0"], ""), None);
        for bad in ["-5", "+5", "0x2c", "abc", "", "5,5", "0, 35", "5.0", "99999999999999999999999"] {
            assert_eq!(fault(&[bad], ""), Some(Fault::BadLength), "{bad}");
        }
        assert_eq!(fault(&["0", "35"], ""), Some(Fault::BadLength));
        assert_eq!(fault(&["5", "5"], "hello"), Some(Fault::BadLength));
        // Mongrel2 reads them as nothing, and what follows as requests.
        for long in ["35", "2147483648", "4294967296", "99999999999"] {
            assert_eq!(fault(&[long], ""), Some(Fault::OtherLength), "{long}");
        }
    }

    #[test]
    fn a_body_comes_in_chunks_or_has_a_length() {
        let fault = |values: &[&str]| fault_of(HTTP_11, &[HOST, ("transfer-encoding", values)], "");
        assert_eq!(fault(&["chunked"]), None);
        for other in ["identity", "gzip", "Chunked", "gzip, chunked", ""] {
            assert_eq!(fault(&[other]), Some(Fault::BadEncoding), "{other}");
        }
        assert_eq!(fault(&["chunked", "identity"]), Some(Fault::BadEncoding));
        let both: [(&str, &[&str]); 3] =
            [HOST, ("content-length", &["0"]), ("transfer-encoding", &["chunked"])];
        assert_eq!(fault_of(HTTP_11, &both, ""), Some(Fault::BothLengths));
    }

    #[test]
    fn an_upload_has_a_length_that_mongrel2_reads_too() {
        let upload = |length: &str| {
            let lines: [(&str, &[&str]); 3] =
                [HOST, ("content-length", &[length]), ("x-mongrel2-upload-start", &["x"])];
            fault_of(HTTP_11, &lines, "")
        };
        assert_eq!(upload("70000"), None);
        assert_eq!(upload("+70000"), Some(Fault::BadLength));
        assert_eq!(upload("70000x"), Some(Fault::BadLength));
        let own = [HTTP_11, &[("UPLOAD_STREAM", "0")]].concat();
        let part = |length: &str| fault_of(&own, &[HOST, ("content-length", &[length])], "begin");
        assert_eq!(part("70000"), None);
        assert_eq!(part("70000x"), Some(Fault::BadLength));
    }

    #[test]
    fn a_handshake_has_no_body() {
        let own = [("METHOD", "WEBSOCKET_HANDSHAKE"), ("VERSION", "HTTP/1.1")];
        let fault = |line: (&str, &[&str])| fault_of(&own, &[HOST, line], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(fault(("x-a", &["1"])), None);
        assert_eq!(fault(("content-length", &["0"])), None);
        for length in ["8", "-1", "0x2"] {
            assert_eq!(fault(("content-length", &[length])), Some(Fault::HandshakeBody));
        }
        assert_eq!(fault(("transfer-encoding", &["chunked"])), Some(Fault::HandshakeBody));
        assert_eq!(fault_of(&own, &[("host", &["a", "b"])], ""), Some(Fault::SeveralHosts));
        // Frames carry the headers of their handshake again.
        let frame = [("METHOD", "WEBSOCKET"), ("VERSION", "HTTP/1.1"), ("FLAGS", "0x81")];
        assert_eq!(fault_of(&frame, &[("content-length", &["8"])], "hi"), None);
    }
}
