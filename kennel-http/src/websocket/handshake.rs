//! The server's side of a handshake (RFC 6455, section 4.2): judged here, completed by its
//! [`Offer`], or refused.
//!
//! Mongrel2 recognises a handshake by its headers, checks neither version nor key nor method, and
//! leaves the answer to the handler; only the accept value it brings along.

use super::deflate::Deflate;
use super::extensions::{self, GrammarError};
use super::origin;
use super::upgrade::{Accepted, Offer};
use crate::status::reason;
use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use mongrel2_wire::Headers;
use sha1::{Digest, Sha1};
use std::borrow::Cow;
use thiserror::Error;

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Reads keys of clients that leave something in the last character's unused bits.
const KEY_READER: GeneralPurpose =
    GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// What an application accepts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy<'a> {
    /// Whose pages may connect, see [`origin::is_listed`]; empty: those of the same host alone.
    pub origins: &'a [String],
    /// Subprotocols that the application speaks; which one is taken is the client's preference.
    pub protocols: &'a [String],
    /// Whether to compress with clients that can.
    pub deflate: bool,
}

/// No conversation, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{status}: {reason}")]
pub struct Refusal {
    /// The response's status.
    pub status: u16,
    /// The response, to be sent as it is before the connection is closed.
    pub response: Vec<u8>,
    /// One line, also the response's body.
    pub reason: String,
}

impl Refusal {
    fn new(status: u16, why: impl Into<String>) -> Self {
        let why = why.into();
        let more = match status {
            405 => "Allow: GET\r\nConnection: close\r\n",
            // RFC 9110, 15.5.22 wants Upgrade, and 7.8 then names it in Connection.
            426 => "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: close, Upgrade\r\n",
            _ => "Connection: close\r\n",
        };
        let (phrase, size) = (reason(status), why.len() + 1);
        let response = format!(
            "HTTP/1.1 {status} {phrase}\r\n{more}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {size}\r\n\r\n{why}\n"
        );
        Self { status, response: response.into_bytes(), reason: why }
    }

    fn grammar(name: &str, error: GrammarError) -> Self {
        Self::new(400, format!("{name}: {error}"))
    }
}

/// The Sec-WebSocket-Accept value that answers `key`.
pub fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Whether a request asks for a WebSocket at all: `websocket` in Upgrade, `upgrade` in Connection. For
/// servers other than Mongrel2, which says so in METHOD: what it calls an HTTP request it does not read as frames
/// afterwards, whatever the headers are.
pub fn is_handshake(headers: &Headers<'_>) -> bool {
    names_token(headers, b"upgrade", "websocket") && names_token(headers, b"connection", "upgrade")
}

/// Judges a handshake and writes its answer. Parameters and errors are those of [`check`].
///
/// # Errors
///
/// [`Refusal`] with status 400, 403, 405 or 426.
pub fn accept(
    headers: &Headers<'_>,
    method: &[u8],
    accept: &[u8],
    policy: &Policy<'_>,
) -> Result<Accepted, Refusal> {
    let offer = check(headers, method, accept, policy)?;
    let protocol = offer.preferred(policy.protocols);
    Ok(offer.accept(protocol.as_deref(), b""))
}

/// Judges a handshake. `method` is METHOD; for Mongrel2's own `WEBSOCKET_HANDSHAKE`
/// the client's is unknown. `accept` is the ready-made accept value, Mongrel2's body, or empty.
///
/// # Errors
///
/// [`Refusal`] with status 400, 403, 405 or 426.
pub fn check(
    headers: &Headers<'_>,
    method: &[u8],
    accept: &[u8],
    policy: &Policy<'_>,
) -> Result<Offer, Refusal> {
    if method != b"WEBSOCKET_HANDSHAKE" && method != b"GET" {
        return Err(Refusal::new(405, "a WebSocket begins with GET"));
    }
    if !is_handshake(headers) {
        return Err(Refusal::new(400, "no WebSocket handshake: Upgrade or Connection is wrong"));
    }
    if single(headers, b"VERSION").is_some_and(|version| &*version == b"HTTP/1.0") {
        return Err(Refusal::new(400, "a WebSocket needs HTTP/1.1"));
    }
    if single(headers, b"sec-websocket-version").is_none_or(|version| version.trim_ascii() != b"13") {
        return Err(Refusal::new(426, "only version 13 of the WebSocket protocol is spoken here"));
    }
    let key = single(headers, b"sec-websocket-key")
        .filter(|key| KEY_READER.decode(key.trim_ascii()).is_ok_and(|bytes| bytes.len() == 16))
        .ok_or_else(|| Refusal::new(400, "Sec-WebSocket-Key must be 16 bytes in base64, once"))?;
    check_origin(headers, policy)?;
    let protocols = protocols(headers)?;
    let agreed = negotiate(headers, policy)?;
    let accept = match std::str::from_utf8(accept) {
        // Mongrel2 computed it from the value as it came, with any blanks around it.
        Ok(ready) if is_accept_value(accept) && key.trim_ascii().len() == key.len() => ready.to_owned(),
        _ => accept_key(key.trim_ascii()),
    };
    Ok(Offer { accept, protocols, agreed })
}

/// What clients that are no browsers do not send at all must, if it is sent, be one of ours.
fn check_origin(headers: &Headers<'_>, policy: &Policy<'_>) -> Result<(), Refusal> {
    let host = single(headers, b"host").ok_or_else(|| Refusal::new(400, "Host must be sent, once"))?;
    let Some(origins) = headers.get(b"origin") else { return Ok(()) };
    let Some(origin) = origins.single() else {
        return Err(Refusal::new(403, "more than one Origin"));
    };
    let origin = origin.bytes();
    let origin = origin.trim_ascii();
    let allowed = match policy.origins {
        [] => origin::is_same(origin, host.trim_ascii()),
        list => origin::is_listed(origin, list),
    };
    if allowed {
        return Ok(());
    }
    Err(Refusal::new(403, format!("pages of origin {} may not connect here", origin.escape_ascii())))
}

/// The subprotocols that the client offers, in its order of preference, all different.
fn protocols(headers: &Headers<'_>) -> Result<Vec<String>, Refusal> {
    let mut all: Vec<String> = Vec::new();
    let Some(values) = headers.get(b"sec-websocket-protocol") else { return Ok(all) };
    for value in values.iter() {
        let value = value.bytes();
        let tokens = extensions::tokens(&value).map_err(|e| Refusal::grammar("Sec-WebSocket-Protocol", e))?;
        for token in tokens {
            if all.iter().any(|known| known == token) {
                return Err(Refusal::new(400, format!("Sec-WebSocket-Protocol names {token} twice")));
            }
            all.push(token.to_owned());
        }
    }
    Ok(all)
}

/// Compression and the answer that tells of it. All lines are read, so that a broken one is found.
fn negotiate(headers: &Headers<'_>, policy: &Policy<'_>) -> Result<Option<(Deflate, String)>, Refusal> {
    let Some(values) = headers.get(b"sec-websocket-extensions") else { return Ok(None) };
    let mut agreed = None;
    for value in values.iter() {
        let value = value.bytes();
        let offers =
            extensions::parse(&value).map_err(|e| Refusal::grammar("Sec-WebSocket-Extensions", e))?;
        if policy.deflate && agreed.is_none() {
            agreed = Deflate::negotiate(&offers);
        }
    }
    Ok(agreed)
}

fn single<'a>(headers: &Headers<'a>, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    Some(headers.get(name)?.single()?.bytes())
}

/// Whether `token`, in any case, is in a header's list.
fn names_token(headers: &Headers<'_>, name: &[u8], token: &str) -> bool {
    let Some(values) = headers.get(name) else { return false };
    values.iter().any(|value| {
        value
            .bytes()
            .split(|b| *b == b',')
            .any(|found| found.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// 20 bytes in base64.
fn is_accept_value(value: &[u8]) -> bool {
    value.len() == 28 && STANDARD.decode(value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::block;
    use super::*;
    use mongrel2_wire::{Envelope, Protocol};

    /// The RFC's own handshake (1.3), with some headers replaced, added or (empty) removed.
    fn judge(changes: &[(&str, &str)], policy: &Policy<'_>) -> Result<Accepted, Refusal> {
        let mut headers = vec![
            ("host", "server.example.com"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("origin", "http://server.example.com"),
            ("sec-websocket-protocol", "chat, superchat"),
            ("sec-websocket-version", "13"),
            ("VERSION", "HTTP/1.1"),
        ];
        headers.retain(|(name, _)| changes.iter().all(|(changed, _)| name != changed));
        headers.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
        let block = block(&headers);
        accept(&Headers::new(Protocol::Tnetstring, &block), b"WEBSOCKET_HANDSHAKE", b"", policy)
    }

    fn status(changes: &[(&str, &str)]) -> u16 {
        judge(changes, &Policy::default()).map_or_else(|refusal| refusal.status, |_| 101)
    }

    #[test]
    fn the_rfc_s_example_is_accepted() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let protocols = ["chat".to_owned()];
        let accepted = judge(&[], &Policy { protocols: &protocols, ..Policy::default() }).unwrap();
        let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
        assert_eq!(String::from_utf8(accepted.response).unwrap(), expected);
    }

    #[test]
    fn each_broken_header_has_its_refusal() {
        for (name, value, expected) in [
            ("sec-websocket-version", "8", 426),
            ("sec-websocket-version", "", 426),
            ("sec-websocket-version", "13, 8", 426),
            ("sec-websocket-version", " 13 ", 101),
            ("sec-websocket-key", "", 400),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ", 400),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25j", 400),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZSE=", 400),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZ!==", 400),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZR==", 101),
            ("upgrade", "h2c", 400),
            ("upgrade", "h2c, WebSocket", 101),
            ("connection", "keep-alive", 400),
            ("connection", "keep-alive, Upgrade", 101),
            ("host", "", 400),
            ("VERSION", "HTTP/1.0", 400),
            ("VERSION", "", 101),
            ("origin", "http://evil.example", 403),
            ("origin", "null", 403),
            ("origin", "", 101),
            ("sec-websocket-protocol", "a b", 400),
            ("sec-websocket-protocol", "a, a", 400),
            ("sec-websocket-protocol", ",", 400),
            ("sec-websocket-extensions", "foo; =", 400),
            ("sec-websocket-extensions", "foo; bar", 101),
        ] {
            assert_eq!(status(&[(name, value)]), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_header_that_may_come_once_may_not_come_twice() {
        for name in ["sec-websocket-key", "sec-websocket-version", "origin", "host"] {
            let twice = match name {
                "sec-websocket-key" => "24:dGhlIHNhbXBsZSBub25jZQ==,".repeat(2),
                "sec-websocket-version" => "2:13,".repeat(2),
                "host" => "18:server.example.com,".repeat(2),
                _ => "25:http://server.example.com,".repeat(2),
            };
            let mut bytes = block(&[("upgrade", "websocket"), ("connection", "upgrade")]);
            for (other, value) in [
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("host", "server.example.com"),
            ] {
                if other != name {
                    bytes.extend(block(&[(other, value)]));
                }
            }
            bytes.extend(format!("{}:{name},{}:{twice}]", name.len(), twice.len()).bytes());
            let headers = Headers::new(Protocol::Tnetstring, &bytes);
            assert!(accept(&headers, b"GET", b"", &Policy::default()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_refusal_is_a_whole_response() {
        let refusal = judge(&[("sec-websocket-version", "8")], &Policy::default()).unwrap_err();
        let text = String::from_utf8(refusal.response.clone()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\n"));
        assert!(head.contains("\r\nConnection: close"));
        assert!(head.contains("\r\nContent-Type: text/plain"));
        assert!(head.ends_with(&format!("\r\nContent-Length: {}", body.len())));
        assert_eq!(body.trim_end(), refusal.reason);
        let evil = judge(&[("origin", "http://x\r\ny: z")], &Policy::default()).unwrap_err();
        assert!(!evil.reason.contains('\n'));
    }

    #[test]
    fn only_get_may_upgrade_where_the_method_is_known() {
        let block = block(&[("upgrade", "websocket"), ("connection", "upgrade")]);
        let headers = Headers::new(Protocol::Tnetstring, &block);
        assert_eq!(accept(&headers, b"POST", b"", &Policy::default()).unwrap_err().status, 405);
        assert_eq!(accept(&headers, b"GET", b"", &Policy::default()).unwrap_err().status, 426);
    }

    #[test]
    fn the_clients_preference_among_ours_wins() {
        let ours = ["superchat".to_owned(), "chat".to_owned()];
        let chosen = |offer, protocols| {
            let policy = Policy { protocols, ..Policy::default() };
            judge(&[("sec-websocket-protocol", offer)], &policy).unwrap().protocol
        };
        assert_eq!(chosen("chat, superchat", &ours).as_deref(), Some("chat"));
        assert_eq!(chosen("soap, superchat", &ours).as_deref(), Some("superchat"));
        assert_eq!(chosen("Chat", &ours), None);
        assert_eq!(chosen("chat", &[]), None);
    }

    #[test]
    fn compression_is_agreed_on_when_both_want_it() {
        let offer = [("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")];
        let policy = Policy { deflate: true, ..Policy::default() };
        let accepted = judge(&offer, &policy).unwrap();
        assert_eq!(accepted.deflate, Some(Deflate::default()));
        let text = String::from_utf8(accepted.response).unwrap();
        let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert!(text.ends_with(&format!("Sec-WebSocket-Extensions: {answer}\r\n\r\n")));
        assert_eq!(judge(&offer, &Policy::default()).unwrap().deflate, None);
        assert_eq!(judge(&[], &policy).unwrap().deflate, None);
    }

    #[test]
    fn a_real_handshake_is_answered_with_the_value_that_came_along() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../mongrel2-wire/fixtures/captures/");
        for file in ["112-ws-handshake.msg", "180-ws-handshake-tnet.msg"] {
            let message = std::fs::read(format!("{folder}{file}")).unwrap();
            let got = Envelope::parse(&message).unwrap();
            let policy = Policy { deflate: true, ..Policy::default() };
            let ready = accept(&got.headers, b"WEBSOCKET_HANDSHAKE", got.body, &policy).unwrap();
            let own = accept(&got.headers, b"WEBSOCKET_HANDSHAKE", b"\r\nx: y", &policy).unwrap();
            assert_eq!(ready, own);
            assert!(ready.deflate.is_some());
        }
        let message = std::fs::read(format!("{folder}138-ws-handshake-v8.msg")).unwrap();
        let got = Envelope::parse(&message).unwrap();
        let refusal = accept(&got.headers, b"WEBSOCKET_HANDSHAKE", got.body, &Policy::default()).unwrap_err();
        assert_eq!(refusal.status, 426);
    }
}
