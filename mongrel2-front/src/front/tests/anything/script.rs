//! What a client sends, and what is to come of it.

use fastrand::Rng;

/// One request, message or frame.
pub(super) struct Item {
    pub(super) bytes: Vec<u8>,
    pub(super) expected: Expected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// A request, whose body comes in the message, in parts, or in a file.
    Request { handler: usize, path: String, body: Vec<u8>, how: How },
    /// A WebSocket's handshake.
    Handshake { path: String },
    /// A message of a socket, or a WebSocket's frame.
    Message { handler: usize, path: String, body: Vec<u8> },
    /// A file is looked for.
    File { path: String },
    /// Nothing: the server answers or closes by itself.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Inline,
    Parts,
    File,
}

/// How larger bodies travel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bodies {
    pub(super) inline: usize,
    pub(super) larger: Option<How>,
}

/// What a client sends. Its number is in all of it, so that nothing of one is taken for another's.
pub(super) fn script(rng: &mut Rng, client: usize, bodies: Bodies) -> Vec<Item> {
    let count = rng.usize(1..7);
    if rng.u8(..6) == 0 {
        let mut items: Vec<_> = (0..count).map(|at| socket_message(rng, client, at)).collect();
        items.extend(broken(rng));
        return items;
    }
    let mut items: Vec<_> = (0..count).map(|at| request(rng, client, at, bodies)).collect();
    if rng.u8(..4) == 0 {
        items.push(handshake(client));
        items.extend((0..count).flat_map(|at| frames(rng, client, at)));
    } else {
        items.extend(broken(rng));
    }
    items
}

fn request(rng: &mut Rng, client: usize, at: usize, bodies: Bodies) -> Item {
    if rng.u8(..8) == 0 {
        let path = format!("/files/c{client}-{at}");
        let bytes = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        return Item { bytes, expected: Expected::File { path } };
    }
    let handler = usize::from(rng.u8(..3) == 0);
    let path = format!("{}/c{client}-{at}", ["", "/raw"][handler]);
    let blank = if rng.u8(..8) == 0 { "\r\n" } else { "" };
    let method = ["GET", "POST", "HEAD"][rng.usize(..3)];
    let mut head = format!("{blank}{method} {path}?q=1 HTTP/1.1\r\nHost: a\r\n");
    (0..rng.usize(..5)).for_each(|at| head += &format!("X-{at}: {}\r\n", "v".repeat(rng.usize(..20))));
    if rng.u8(..6) == 0 {
        head += &format!("X-Long: {}\r\n", "l".repeat(30_000));
    }
    let most = if bodies.larger.is_some() { bodies.inline + 60 } else { bodies.inline.min(60) };
    let body: Vec<u8> = (0..if rng.bool() { 0 } else { rng.usize(..most) }).map(|_| rng.u8(..)).collect();
    if rng.u8(..6) == 0 {
        head += "Expect: 100-continue\r\n";
    }
    let is_chunked = bodies.larger.is_some() && rng.u8(..3) == 0;
    let how = match bodies.larger {
        Some(larger) if is_chunked || body.len() > bodies.inline => larger,
        _ => How::Inline,
    };
    let framed = if is_chunked {
        head += "Transfer-Encoding: chunked\r\n";
        chunks(rng, &body)
    } else {
        if !body.is_empty() || rng.bool() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        body.clone()
    };
    let bytes = [head.as_bytes(), b"\r\n", &framed].concat();
    Item { bytes, expected: Expected::Request { handler, path, body, how } }
}

fn chunks(rng: &mut Rng, mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while !body.is_empty() {
        let (chunk, rest) = body.split_at(rng.usize(1..body.len() + 1));
        out.extend(format!("{:x}\r\n", chunk.len()).bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
        body = rest;
    }
    out.extend(if rng.bool() { &b"0\r\n\r\n"[..] } else { b"000\r\nX-Trailer: 1\r\n\r\n" });
    out
}

fn handshake(client: usize) -> Item {
    let path = format!("/c{client}-ws");
    let bytes = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: k\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    );
    Item { bytes: bytes.into_bytes(), expected: Expected::Handshake { path } }
}

fn frame(rng: &mut Rng, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask: [u8; 4] = rng.u32(..).to_be_bytes();
    let mut out = match payload.len() {
        size @ ..126 => vec![first, 0x80 | size as u8],
        size => vec![first, 0xfe, (size >> 8) as u8, size as u8],
    };
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// A message in one or several frames, with a control frame between them.
fn frames(rng: &mut Rng, client: usize, at: usize) -> Vec<Item> {
    let long = if rng.u8(..5) == 0 { 40_000 } else { rng.usize(..200) };
    let body = format!("c{client} frame {at} {}", "x".repeat(long)).into_bytes();
    let message =
        |body: &[u8]| Expected::Message { handler: 0, path: format!("/c{client}-ws"), body: body.to_vec() };
    let (begin, end) = body.split_at(rng.usize(..body.len()));
    match rng.u8(..4) {
        0 => vec![
            Item { bytes: frame(rng, 0x01, begin), expected: Expected::Nothing },
            Item { bytes: frame(rng, 0x89, b"ping"), expected: message(b"ping") },
            Item { bytes: frame(rng, 0x80, end), expected: message(&body) },
        ],
        1 if at > 3 => vec![Item { bytes: vec![0x81, 0x01, b'x'], expected: Expected::Nothing }],
        _ => vec![Item { bytes: frame(rng, 0x82, &body), expected: message(&body) }],
    }
}

fn socket_message(rng: &mut Rng, client: usize, at: usize) -> Item {
    let handler = usize::from(rng.u8(..3) == 0);
    let (path, body) = match handler {
        0 if rng.bool() => ("<msg".to_owned(), format!("<msg from='c{client}-{at}'/>")),
        0 => (format!("@chat/c{client}"), format!("{{\"c\": \"{at}\"}}")),
        _ => (format!("@raw/c{client}"), format!("{{\"c\": \"{at}\"}}")),
    };
    let bytes = if path == "<msg" { format!("{body}\0") } else { format!("{path} {body}\0") };
    let expected = Expected::Message { handler, path, body: body.into_bytes() };
    Item { bytes: bytes.into_bytes(), expected }
}

/// Something that is no request, with a request behind it that must never be one.
fn broken(rng: &mut Rng) -> Option<Item> {
    let starts: [&[u8]; 9] = [
        b"BAD\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET nowhere:1 HTTP/1.1\r\n\r\n",
        b"@chat nonsense\0",
        b"<policy-file-request/>\0",
        b"\0\x01\x02\n",
    ];
    let start = starts[rng.usize(..starts.len() * 2) % starts.len()];
    let bytes = [start, b"GET /smuggled HTTP/1.1\r\n\r\n@chat {\"smuggled\":1}\0"].concat();
    rng.bool().then_some(Item { bytes, expected: Expected::Nothing })
}
