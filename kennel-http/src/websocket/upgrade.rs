//! The 101 that completes a handshake.

use super::deflate::Deflate;
use crate::fields::is_token_byte;

/// A handshake that keeps all the rules, before its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The value of Sec-WebSocket-Accept.
    pub(super) accept: String,
    /// The subprotocols that the client offers, the one it likes best first.
    pub protocols: Vec<String>,
    /// Compression, when it was agreed on, and the line that tells of it.
    pub(super) agreed: Option<(Deflate, String)>,
}

/// A conversation may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The 101, to be sent as it is.
    pub response: Vec<u8>,
    /// The subprotocol that was chosen.
    pub protocol: Option<String>,
    /// Compression, when it was agreed on.
    pub deflate: Option<Deflate>,
}

impl Offer {
    /// Compression, when it was agreed on.
    pub fn deflate(&self) -> Option<Deflate> {
        self.agreed.as_ref().map(|(deflate, _)| *deflate)
    }

    /// The first of the offered subprotocols that is among `ours`.
    pub fn preferred(&self, ours: &[String]) -> Option<String> {
        self.protocols.iter().find(|offered| ours.contains(offered)).cloned()
    }

    /// Writes the 101. A subprotocol that was not offered is none: the client would have to fail the connection
    /// (RFC 6455, section 4.1). `head` has further header lines, each ended by CR LF; those that are
    /// the handshake's own, and what is no header line, are left out.
    pub fn accept(self, protocol: Option<&str>, head: &[u8]) -> Accepted {
        let protocol = self.protocols.into_iter().find(|offered| Some(offered.as_str()) == protocol);
        let mut response = Vec::with_capacity(256 + head.len());
        response.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        );
        let mut line = |name: &str, value: &str| {
            response.extend([name, ": ", value, "\r\n"].iter().flat_map(|part| part.bytes()));
        };
        line("Sec-WebSocket-Accept", &self.accept);
        if let Some(protocol) = &protocol {
            line("Sec-WebSocket-Protocol", protocol);
        }
        if let Some((_, answer)) = &self.agreed {
            line("Sec-WebSocket-Extensions", answer);
        }
        for line in head.split_inclusive(|b| *b == b'\n').filter(|line| is_further(line)) {
            response.extend_from_slice(line);
        }
        response.extend_from_slice(b"\r\n");
        Accepted { response, protocol, deflate: self.agreed.map(|(deflate, _)| deflate) }
    }
}

/// Whether it is one whole header line that a 101 may have besides those of the handshake. A 101 has no body
/// (RFC 9110, 8.6 and RFC 9112, 6.1).
fn is_further(line: &[u8]) -> bool {
    let Some(text) = line.strip_suffix(b"\r\n") else { return false };
    let Some(colon) = text.iter().position(|b| *b == b':') else { return false };
    let (name, value) = text.split_at(colon);
    let is_whole = !name.is_empty()
        && name.iter().all(|b| is_token_byte(*b))
        && !value.iter().any(|b| b"\r\0".contains(b));
    let is_own = |own: &&[u8]| name.eq_ignore_ascii_case(own);
    let begins = |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|b| b.eq_ignore_ascii_case(prefix));
    let own: [&[u8]; 4] = [b"upgrade", b"connection", b"content-length", b"transfer-encoding"];
    is_whole && !own.iter().any(is_own) && !begins(b"sec-websocket-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(protocols: &[&str]) -> Offer {
        let protocols = protocols.iter().map(|p| (*p).to_owned()).collect();
        Offer { accept: "KEY".to_owned(), protocols, agreed: None }
    }

    fn response(offer: Offer, protocol: Option<&str>, head: &[u8]) -> String {
        String::from_utf8(offer.accept(protocol, head).response).unwrap()
    }

    const START: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: KEY\r\n";

    #[test]
    fn a_subprotocol_is_one_that_was_offered_or_none() {
        let with = format!("{START}Sec-WebSocket-Protocol: v2\r\n\r\n");
        assert_eq!(response(offer(&["v1", "v2"]), Some("v2"), b""), with);
        for none in [None, Some(""), Some("v3"), Some("V2")] {
            assert_eq!(response(offer(&["v1", "v2"]), none, b""), format!("{START}\r\n"));
        }
        assert_eq!(offer(&["v1"]).accept(Some("v3"), b"").protocol, None);
    }

    #[test]
    fn further_lines_follow_those_of_the_handshake() {
        let head = b"Set-Cookie: a=b\r\nX-Empty:\r\n";
        let expected = format!("{START}Set-Cookie: a=b\r\nX-Empty:\r\n\r\n");
        assert_eq!(response(offer(&[]), None, head), expected);
    }

    #[test]
    fn what_would_break_the_handshake_is_left_out() {
        for line in [
            "upgrade: h2c\r\n",
            "Connection: close\r\n",
            "content-length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Sec-WebSocket-Accept: x\r\n",
            "sec-websocket-protocol: v1\r\n",
            "SEC-WEBSOCKET-EXTENSIONS: permessage-deflate\r\n",
            "\r\n",
            "no colon\r\n",
            ": no name\r\n",
            "a b: c\r\n",
            "no carriage return: c\n",
            "a: b\rc\r\n",
            "a: b\0\r\n",
            "no end: c",
        ] {
            let head = format!("X-A: 1\r\n{line}");
            assert_eq!(
                response(offer(&[]), None, head.as_bytes()),
                format!("{START}X-A: 1\r\n\r\n"),
                "{line:?}"
            );
        }
        // A line is its own name's alone.
        let kept = "X-Upgrade: 1\r\nsec-websocket: 2\r\n";
        assert_eq!(response(offer(&[]), None, kept.as_bytes()), format!("{START}{kept}\r\n"));
    }
}
