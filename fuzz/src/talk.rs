//! What clients send: frames, handshakes and the values of headers.

use crate::{Chooser, Target};
use handler_core::console;
use kennel_http::websocket::frame::encode_masked;
use kennel_http::websocket::{
    Assembler, Codec, Decoder, Deflate, Event, Frame, Masking, Opcode, Session, client, close, extensions,
};
use kennel_http::{charset, cookies, host, percent, query};

/// Frames of a stream, the same in whatever pieces it comes.
pub(crate) const FRAMES: Target = Target {
    name: "frames",
    check: |bytes| {
        let Some((piece, stream)) = bytes.split_first() else { return };
        check_frames(stream, 1 << 12, || usize::from(*piece) + 1);
    },
    seeds: || {
        let mut stream = vec![2];
        for opcode in [Opcode::Text, Opcode::Ping, Opcode::Continuation, Opcode::Binary, Opcode::Close] {
            encode_masked(&mut stream, opcode != Opcode::Text, opcode, false, b"\x03\xe8hello", [1, 2, 3, 4]);
        }
        vec![stream]
    },
};

/// A stream of frames, whole and in pieces of the given sizes; a message has at most the given number of bytes.
pub fn check_frames(stream: &[u8], most: usize, piece: impl FnMut() -> usize) {
    let whole = decoded(stream, most, || usize::MAX);
    assert_eq!(decoded(stream, most, piece), whole);
    let mut assembler = Assembler::new(most);
    for frame in whole.into_iter().map_while(Result::ok) {
        match assembler.push(frame) {
            Ok(message) => assert!(message.is_none_or(|message| message.payload.len() <= most)),
            Err(_) => break,
        }
    }
}

/// Everything that a decoder makes of a stream: frames, and the code of a violation.
fn decoded(stream: &[u8], most: usize, mut piece: impl FnMut() -> usize) -> Vec<Result<Frame, u16>> {
    let mut decoder = Decoder::new(Masking::Required, most, true);
    let (mut rest, mut found) = (stream, Vec::new());
    while !rest.is_empty() {
        let (mut now, later) = rest.split_at(piece().clamp(1, rest.len()));
        rest = later;
        while !now.is_empty() {
            match decoder.read(&mut now) {
                Ok(frame) => found.extend(frame.map(Ok)),
                Err(violation) => {
                    found.push(Err(violation.code.0));
                    return found;
                }
            }
        }
    }
    found
}

/// A conversation of frames as Mongrel2 hands them over: flags and payload each.
pub(crate) const SESSION: Target = Target {
    name: "session",
    check: |bytes| {
        let mut choose = Chooser(bytes);
        let deflate = Deflate::new(choose.byte());
        let frames = std::iter::from_fn(|| (!choose.is_empty()).then(|| (choose.byte(), choose.bytes())));
        check_conversation(deflate, &mut Codec::new(), frames);
    },
    seeds: || vec![b"\x0f\x81\x05hello\x89\x01x\x01\x02he\x80\x03llo\x82\x02\xff\0\x88\x02\x03\xe8".to_vec()],
};

/// A conversation of such flags and payloads, whose messages have 1,000 bytes at most.
pub fn check_conversation<'a>(
    deflate: Option<Deflate>,
    codec: &mut Codec,
    frames: impl Iterator<Item = (u8, &'a [u8])>,
) {
    let (mut session, mut out) = (Session::new(deflate), Vec::new());
    for (flags, payload) in frames {
        match session.receive(flags, payload, 1000, codec, 0, &mut out) {
            Event::Text(text) => assert!(text.len() <= 1000),
            Event::Binary(bytes) => assert!(bytes.len() <= 1000),
            _ => {}
        }
    }
    // What is said to the client are whole frames, of which a close is the last.
    let mut decoder = Decoder::new(Masking::Forbidden, 125, false);
    let (mut rest, mut closes) = (&out[..], 0);
    while !rest.is_empty() {
        let frame = decoder.read(&mut rest).expect("what the hub says").expect("a whole frame");
        assert_eq!(closes, 0, "something behind a close");
        closes += usize::from(frame.opcode() == Opcode::Close);
    }
    assert!(closes == 0 || !session.is_open());
}

/// Compressed messages, whose size is bounded before they are inflated.
pub(crate) const INFLATE: Target = Target {
    name: "inflate",
    check: |bytes| {
        if let Ok(bytes) = Codec::new().inflate(bytes, 4000) {
            assert!(bytes.len() <= 4000);
        }
    },
    seeds: || {
        let deflate = Deflate::new(15).expect("a window of RFC 7692");
        let seed = |bytes: &[u8]| {
            let mut packed = Vec::new();
            Codec::new().compress(bytes, deflate, &mut packed);
            packed
        };
        vec![seed(b"hello"), seed(&[b'x'; 5000]), seed(&(0..=255).collect::<Vec<u8>>())]
    },
};

/// Answers to the handshake of our own client.
pub(crate) const HANDSHAKE: Target = Target {
    name: "handshake",
    check: |bytes| {
        if let Ok(Some(established)) = handshake().finish(bytes) {
            assert!(established.size <= bytes.len());
        }
    },
    seeds: || vec![HANDSHAKE_ANSWER.to_vec()],
};

/// What a server answers to [`handshake`], and four bytes more.
pub const HANDSHAKE_ANSWER: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: chat\r\n\
      Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n\
      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nmore";

/// A handshake that has begun.
pub fn handshake() -> client::Handshake {
    let request = client::Request {
        host: "a.example",
        path: "/",
        origin: None,
        protocols: &["chat"],
        deflate: true,
        entropy: *b"the sample nonce",
    };
    client::Handshake::start(&request, &mut Vec::new()).expect("a sound request")
}

/// Values of headers, queries and paths.
pub(crate) const FIELDS: Target = Target {
    name: "fields",
    check: |bytes| {
        let _ = extensions::parse(bytes).map(|offers| Deflate::negotiate(&offers));
        let _ = (cookies::pairs(bytes).count(), query::pairs(bytes).count(), host::split(bytes));
        assert!(percent::decode(bytes, true).len() <= bytes.len());
        let _ = (percent::normal_path(bytes), close::parse(bytes), console::read_line(bytes));
        let (kind, body) = bytes.split_at(bytes.len() / 2);
        let _ = charset::decode(body, kind);
    },
    seeds: || {
        let texts = [
            "permessage-deflate; client_max_window_bits=10; server_no_context_takeover, x",
            "a=1; b=\"two\"; c=%20",
            "a=1&b=%C3%A9&c=+&&=",
            "[::1]:8080",
            "a.example:80",
            "/a/../b//c/%2e%2e/%2f",
            "text/html; charset=iso-8859-1\u{e9}\u{e9}\u{e9}\u{e9}",
        ];
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    },
};
