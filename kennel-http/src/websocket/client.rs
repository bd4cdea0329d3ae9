//! The client's side of a handshake (RFC 6455, section 4.1), for tests and tools.

use super::deflate::Deflate;
use super::extensions;
use super::handshake::accept_key;
use crate::fields::is_token_byte;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// The longest head of an answer that is read.
const MAX_HEAD: usize = 64 << 10;

/// A handshake to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Host, with the port where it is not the default.
    pub host: &'a str,
    /// Path and query, from the first `/`.
    pub path: &'a str,
    /// Origin, as a browser would send it.
    pub origin: Option<&'a str>,
    /// Subprotocols, the best first.
    pub protocols: &'a [&'a str],
    /// Whether to offer compression.
    pub deflate: bool,
    /// 16 random bytes, new for every handshake.
    pub entropy: [u8; 16],
}

/// Why a handshake cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A host, path or origin that would break its line.
    #[error("the {part} `{value}` is empty, or has a blank, a control character or something beyond ASCII")]
    BadText {
        /// `host`, `path` or `origin`.
        part: &'static str,
        /// What was given.
        value: String,
    },
    /// A path without its first slash.
    #[error("the path `{0}` must begin with /")]
    RelativePath(String),
    /// A subprotocol that is no token, or there twice.
    #[error("the subprotocol `{0}` is no token, or comes twice")]
    BadProtocol(String),
}

/// Why the server's answer opens no conversation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// No end of the answer's head in sight.
    #[error("the answer's head is above 64 KiB")]
    TooLong,
    /// No HTTP/1.1 status line, or a header line without a colon.
    #[error("the answer is no HTTP/1.1 response")]
    NotHttp,
    /// A status other than 101.
    #[error("the server answered {0} instead of 101")]
    Status(u16),
    /// A header that must be there once, and is not.
    #[error("the answer needs one {0} header")]
    NotOnce(&'static str),
    /// No `websocket` in Upgrade.
    #[error("the answer's Upgrade is `{0}`, not websocket")]
    NotUpgraded(String),
    /// No `upgrade` in Connection.
    #[error("the answer's Connection is `{0}`, without upgrade")]
    NotConnected(String),
    /// The answer to another key, or to none.
    #[error("Sec-WebSocket-Accept is `{got}`, not `{expected}`")]
    WrongAccept {
        /// What answers the key that was sent.
        expected: String,
        /// What came.
        got: String,
    },
    /// A subprotocol that was not offered.
    #[error("the server chose the subprotocol `{0}`, which was not offered")]
    UnaskedProtocol(String),
    /// An extension that was not offered, or not so.
    #[error("the server answered with the extensions `{0}`, which were not offered")]
    UnaskedExtension(String),
}

/// A handshake that was sent and awaits its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    accept: String,
    protocols: Vec<String>,
    deflate: bool,
}

/// A conversation has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Established {
    /// The size of the answer: frames begin after it.
    pub size: usize,
    /// The subprotocol that the server chose.
    pub protocol: Option<String>,
    /// Compression, when the server agreed.
    pub deflate: Option<Deflate>,
}

impl Handshake {
    /// Appends the request.
    ///
    /// # Errors
    ///
    /// [`RequestError`] when a part of it would break the request.
    pub fn start(request: &Request<'_>, out: &mut Vec<u8>) -> Result<Self, RequestError> {
        let parts = [("host", Some(request.host)), ("path", Some(request.path)), ("origin", request.origin)];
        for (part, value) in parts {
            if let Some(value) = value.filter(|v| v.is_empty() || !v.bytes().all(|b| b.is_ascii_graphic())) {
                return Err(RequestError::BadText { part, value: value.to_owned() });
            }
        }
        if !request.path.starts_with('/') {
            return Err(RequestError::RelativePath(request.path.to_owned()));
        }
        for (n, name) in request.protocols.iter().enumerate() {
            if name.is_empty() || !name.bytes().all(is_token_byte) || request.protocols[..n].contains(name) {
                return Err(RequestError::BadProtocol((*name).to_owned()));
            }
        }
        let key = STANDARD.encode(request.entropy);
        let mut text = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
            request.path, request.host
        );
        let mut line = |name: &str, value: &str| text.extend([name, ": ", value, "\r\n"]);
        if let Some(origin) = request.origin {
            line("Origin", origin);
        }
        if !request.protocols.is_empty() {
            line("Sec-WebSocket-Protocol", &request.protocols.join(", "));
        }
        if request.deflate {
            line("Sec-WebSocket-Extensions", &Deflate::offer());
        }
        text.push_str("\r\n");
        out.extend_from_slice(text.as_bytes());
        Ok(Self {
            accept: accept_key(key.as_bytes()),
            protocols: request.protocols.iter().map(|name| (*name).to_owned()).collect(),
            deflate: request.deflate,
        })
    }

    /// Reads the answer in `bytes`, everything that has come so far. `None`: it goes on.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] when the answer opens no conversation.
    pub fn finish(&self, bytes: &[u8]) -> Result<Option<Established>, HandshakeError> {
        let Some(end) = memchr::memmem::find(&bytes[..bytes.len().min(MAX_HEAD)], b"\r\n\r\n") else {
            return if bytes.len() < MAX_HEAD { Ok(None) } else { Err(HandshakeError::TooLong) };
        };
        let head = &bytes[..end + 2];
        let first = memchr::memchr(b'\n', head).map_or(head.len(), |at| at + 1);
        let (status, lines) = head.split_at(first);
        match status_of(status) {
            None => return Err(HandshakeError::NotHttp),
            Some(101) => {}
            Some(other) => return Err(HandshakeError::Status(other)),
        }
        let lines = Lines::read(lines)?;

        let upgrade = lines.once("Upgrade")?;
        if !upgrade.eq_ignore_ascii_case(b"websocket") {
            return Err(HandshakeError::NotUpgraded(shown(upgrade)));
        }
        let connection = lines.all("Connection").join(&b", "[..]);
        if !connection.split(|b| *b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(b"upgrade")) {
            return Err(HandshakeError::NotConnected(shown(&connection)));
        }
        let got = lines.once("Sec-WebSocket-Accept")?;
        if got != self.accept.as_bytes() {
            return Err(HandshakeError::WrongAccept { expected: self.accept.clone(), got: shown(got) });
        }
        let protocol = match lines.all("Sec-WebSocket-Protocol")[..] {
            [] => None,
            [name] => match self.protocols.iter().find(|offered| offered.as_bytes() == name) {
                Some(offered) => Some(offered.clone()),
                None => return Err(HandshakeError::UnaskedProtocol(shown(name))),
            },
            _ => return Err(HandshakeError::NotOnce("Sec-WebSocket-Protocol")),
        };
        let deflate = self.extensions(&lines)?;
        Ok(Some(Established { size: end + 4, protocol, deflate }))
    }

    fn extensions(&self, lines: &Lines<'_>) -> Result<Option<Deflate>, HandshakeError> {
        let answer = lines.all("Sec-WebSocket-Extensions").join(&b", "[..]);
        if answer.is_empty() {
            return Ok(None);
        }
        let deflate = match extensions::parse(&answer).as_deref() {
            Ok([one]) if self.deflate => Deflate::of_answer(one),
            _ => None,
        };
        deflate.map(Some).ok_or_else(|| HandshakeError::UnaskedExtension(shown(&answer)))
    }
}

/// The header lines of an answer.
struct Lines<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Lines<'a> {
    fn read(lines: &'a [u8]) -> Result<Self, HandshakeError> {
        let lines = lines.split(|b| *b == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty());
        let pair = |line: &'a [u8]| {
            let at = memchr::memchr(b':', line).ok_or(HandshakeError::NotHttp)?;
            Ok((&line[..at], line[at + 1..].trim_ascii()))
        };
        Ok(Self(lines.map(pair).collect::<Result<_, _>>()?))
    }

    fn all(&self, name: &str) -> Vec<&'a [u8]> {
        let same = |line: &&(&[u8], &[u8])| line.0.eq_ignore_ascii_case(name.as_bytes());
        self.0.iter().filter(same).map(|line| line.1).collect()
    }

    fn once(&self, name: &'static str) -> Result<&'a [u8], HandshakeError> {
        match self.all(name)[..] {
            [value] => Ok(value),
            _ => Err(HandshakeError::NotOnce(name)),
        }
    }
}

/// `HTTP/1.1 NNN reason`.
fn status_of(line: &[u8]) -> Option<u16> {
    let (digits, rest) = line.strip_prefix(b"HTTP/1.1 ")?.split_at_checked(3)?;
    let number = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
    matches!(rest.first(), Some(b' ' | b'\r')).then(|| number.parse().ok())?
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request<'static> = Request {
        host: "server.example.com",
        path: "/chat",
        origin: None,
        protocols: &["chat", "superchat"],
        deflate: true,
        entropy: *b"the sample nonce",
    };

    fn finish(answer: &str) -> Result<Option<Established>, HandshakeError> {
        let client = Handshake::start(&REQUEST, &mut Vec::new()).unwrap();
        client.finish(answer.replace('\n', "\r\n").as_bytes())
    }

    const OK: &str = "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n\n";

    #[test]
    fn the_rfc_s_request_is_written() {
        let mut out = Vec::new();
        Handshake::start(&REQUEST, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
        assert!(text.contains("\r\nSec-WebSocket-Protocol: chat, superchat\r\n"));
        assert!(!text.contains("Origin"));
    }

    #[test]
    fn nothing_breaks_out_of_its_line() {
        let start =
            |request: Request<'_>| Handshake::start(&request, &mut Vec::new()).map(|_| ()).unwrap_err();
        for bad in ["", "a b", "a\r\nb: c", "é"] {
            assert!(matches!(
                start(Request { host: bad, ..REQUEST }),
                RequestError::BadText { part: "host", .. }
            ));
            assert!(matches!(
                start(Request { path: bad, ..REQUEST }),
                RequestError::BadText { part: "path", .. }
            ));
            assert!(matches!(start(Request { origin: Some(bad), ..REQUEST }), RequestError::BadText { .. }));
            assert!(matches!(start(Request { protocols: &[bad], ..REQUEST }), RequestError::BadProtocol(_)));
        }
        assert!(matches!(start(Request { protocols: &["a", "a"], ..REQUEST }), RequestError::BadProtocol(_)));
        assert!(matches!(start(Request { path: "chat", ..REQUEST }), RequestError::RelativePath(_)));
    }

    #[test]
    fn a_good_answer_opens_the_conversation() {
        let established = finish(OK).unwrap().unwrap();
        assert_eq!((established.protocol, established.deflate), (None, None));
        let more = OK.replace("\n\n", "\nsec-websocket-protocol: superchat\n\n");
        assert_eq!(finish(&more).unwrap().unwrap().protocol.as_deref(), Some("superchat"));
        let other = OK.replace("Connection: Upgrade", "connection: keep-alive\nCONNECTION:upgrade");
        assert!(finish(&other).unwrap().is_some());
    }

    #[test]
    fn every_flaw_of_an_answer_has_a_name() {
        use HandshakeError::*;
        let with = |line: &str| OK.replace("\n\n", &format!("\n{line}\n\n"));
        let text = str::to_owned;
        for (answer, expected) in [
            (OK.replace("101 Switching", "403 No"), Status(403)),
            (OK.replace("HTTP/1.1", "HTTP/1.0"), NotHttp),
            (OK.replace("101", "1x1"), NotHttp),
            (with("no colon"), NotHttp),
            (OK.replace("Upgrade: websocket\n", ""), NotOnce("Upgrade")),
            (OK.replace("websocket", "h2c"), NotUpgraded(text("h2c"))),
            (OK.replace("Connection: Upgrade", "Connection: close"), NotConnected(text("close"))),
            (OK.replace("Connection: Upgrade\n", ""), NotConnected(text(""))),
            (with("Sec-WebSocket-Accept: x"), NotOnce("Sec-WebSocket-Accept")),
            (with("Sec-WebSocket-Protocol: soap"), UnaskedProtocol(text("soap"))),
            (with("Sec-WebSocket-Extensions: foo"), UnaskedExtension(text("foo"))),
            (
                with("Sec-WebSocket-Extensions: permessage-deflate"),
                UnaskedExtension(text("permessage-deflate")),
            ),
        ] {
            assert_eq!(finish(&answer), Err(expected), "{answer}");
        }
        assert!(matches!(finish(&OK.replace("s3p", "S3p")), Err(WrongAccept { .. })));
        assert_eq!(finish(&"x".repeat(MAX_HEAD)), Err(TooLong));
    }
}
