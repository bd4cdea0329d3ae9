//! Requests as Mongrel2 sends them: `SENDER CONN_ID PATH HEADERS BODY`, headers as a tnetstring.
//!
//! One message is built per connection and sent again and again with another token, so that the feeder spends its
//! time on sending and not on building.

use std::io::Write as _;

use crate::ledger::{ConnId, Token};

/// Who the feeder says it is: PUSH identity, sender and subscription, as with `send_ident` and `recv_ident`.
pub(crate) const IDENT: &str = "whole-way";

/// Tokens are written with so many digits, so that all messages of a connection are equally long.
pub(crate) const TOKEN_BYTES: usize = 10;

/// What Mongrel2 itself puts into a request, in its order.
const SERVER_HEADERS: [(&str, &str); 7] = [
    ("REMOTE_ADDR", "127.0.0.1"),
    ("METHOD", "GET"),
    ("URL_SCHEME", "http"),
    ("PATTERN", "/"),
    ("URI", "/"),
    ("VERSION", "HTTP/1.1"),
    ("PATH", "/"),
];

/// What a browser sends, 15 with the token, in no order that a handler could lean on; the last is Mongrel2's.
const CLIENT_HEADERS: [(&str, &str); 16] = [
    ("sec-fetch-mode", "navigate"),
    ("accept-language", "en-US,en;q=0.9,de;q=0.8"),
    ("host", "localhost:6767"),
    ("sec-ch-ua-mobile", "?0"),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    ),
    ("sec-fetch-site", "none"),
    ("x-seq", "0000000000"),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    ),
    ("cookie", "session=eyJ1c2VyIjo3LCJuIjoxMn0.k2Jx0w; theme=dark"),
    ("sec-ch-ua", "\"Chromium\";v=\"131\", \"Not_A Brand\";v=\"24\""),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("connection", "keep-alive"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("sec-fetch-dest", "document"),
    ("x-forwarded-for", "127.0.0.1"),
];

/// What a WebSocket's frames carry: those of its handshake, and the frame's first byte. The handler need not have
/// seen the handshake: a handler that was restarted has not either.
const FRAME_HEADERS: [(&str, &str); 22] = [
    ("REMOTE_ADDR", "127.0.0.1"),
    ("FLAGS", "0x81"),
    ("METHOD", "WEBSOCKET"),
    ("URL_SCHEME", "http"),
    ("PATTERN", "/"),
    ("URI", "/"),
    ("VERSION", "HTTP/1.1"),
    ("PATH", "/"),
    ("accept-language", "en-US,en;q=0.9,de;q=0.8"),
    ("host", "localhost:6767"),
    ("pragma", "no-cache"),
    ("cache-control", "no-cache"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    ),
    ("origin", "http://localhost:6767"),
    ("upgrade", "websocket"),
    ("cookie", "session=eyJ1c2VyIjo3LCJuIjoxMn0.k2Jx0w; theme=dark"),
    ("sec-websocket-version", "13"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
    ("x-forwarded-for", "127.0.0.1"),
];

/// The same headers in Mongrel2's default form, of which quotes and backslashes are escaped.
fn json_headers() -> Vec<u8> {
    let pairs: Vec<_> = SERVER_HEADERS
        .iter()
        .chain(&CLIENT_HEADERS)
        .map(|(name, value)| format!("\"{name}\":\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    let object = format!("{{{}}}", pairs.join(","));
    format!("{}:{object},", object.len()).into_bytes()
}

/// What a handler is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// HTTP requests, their headers as a tnetstring.
    Requests,
    /// The same with headers as JSON, which is Mongrel2's default.
    JsonRequests,
    /// WebSocket frames, to be echoed.
    Frames,
}

/// The messages of all connections, one each.
pub(crate) struct Requests {
    frames: bool,
    json: bool,
    headers: Vec<u8>,
    by_slot: Vec<Request>,
}

struct Request {
    conn_id: Option<ConnId>,
    message: Vec<u8>,
    token_at: usize,
}

impl Requests {
    /// Room for the messages of `connections` connections: WebSocket frames, or HTTP requests.
    pub(crate) fn new(connections: usize, feed: Feed) -> Requests {
        let frames = feed == Feed::Frames;
        let mut dict = Vec::new();
        let request = SERVER_HEADERS.iter().chain(&CLIENT_HEADERS).filter(|_| !frames);
        for (name, value) in request.chain(FRAME_HEADERS.iter().filter(|_| frames)) {
            let _ = write!(dict, "{}:{name},{}:{value},", name.len(), value.len());
        }
        let mut headers = format!("{}:", dict.len()).into_bytes();
        headers.extend_from_slice(&dict);
        headers.push(b'}');
        if feed == Feed::JsonRequests {
            headers = json_headers();
        }
        let empty = || Request { conn_id: None, message: Vec::new(), token_at: 0 };
        Requests {
            frames,
            json: feed == Feed::JsonRequests,
            headers,
            by_slot: std::iter::repeat_with(empty).take(connections).collect(),
        }
    }

    /// The notice that a client is gone.
    pub(crate) fn disconnect(&self, conn_id: ConnId) -> Vec<u8> {
        let headers = if self.json { r#"17:{"METHOD":"JSON"},"# } else { "16:6:METHOD,4:JSON,}" };
        format!("{IDENT} {} @* {headers}21:{{\"type\":\"disconnect\"}},", conn_id.0).into_bytes()
    }

    /// A client's answer to a ping.
    pub(crate) fn pong(&self, conn_id: ConnId, payload: &[u8]) -> Vec<u8> {
        let mut message = format!("{IDENT} {} / ", conn_id.0).into_bytes();
        message.extend_from_slice(&self.headers);
        let flags = memchr::memmem::find(&message, b"0x81").unwrap();
        message[flags..flags + 4].copy_from_slice(b"0x8A");
        let _ = write!(message, "{}:", payload.len());
        message.extend_from_slice(payload);
        message.push(b',');
        message
    }

    /// The message that carries `token` on the connection in `slot`, which now is `conn_id`.
    pub(crate) fn encode(&mut self, slot: usize, conn_id: ConnId, token: Token) -> &[u8] {
        let request = &mut self.by_slot[slot];
        if request.conn_id != Some(conn_id) {
            request.message.clear();
            let _ = write!(request.message, "{IDENT} {} / ", conn_id.0);
            request.message.extend_from_slice(&self.headers);
            if self.frames {
                request.message.extend_from_slice(b"10:0000000000,");
                request.token_at = request.message.len() - TOKEN_BYTES - 1;
            } else {
                request.message.extend_from_slice(b"0:,");
                let name: &[u8] = if self.json { b"\"x-seq\":\"" } else { b":x-seq,10:" };
                let at = memchr::memmem::find(&request.message, name).unwrap();
                request.token_at = at + name.len();
            }
            request.conn_id = Some(conn_id);
        }
        let mut rest = token.0;
        for digit in request.message[request.token_at..][..TOKEN_BYTES].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        &request.message
    }
}
