//! Client and server against each other, what a real Mongrel2 delivered, random messages; and what the files' own tests share.

use super::client::{Established, Handshake, Request};
use super::frame::{encode_fragments, encode_masked};
use super::*;
use mongrel2_wire::{Envelope, Head, Headers, Kind, Protocol};

/// A small generator (xorshift*), so that every run is the same.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `end` - 1.
    pub(super) fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 33) % end as u64) as usize
    }

    pub(super) fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }
}

/// A header block as Mongrel2 writes it, of names and values.
pub(super) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let one = |(name, value): &(&str, &str)| format!("{}:{name},{}:{value},", name.len(), value.len());
    headers.iter().map(one).collect::<String>().into_bytes()
}

/// The header block of a client's request, as a server other than Mongrel2 would build it.
fn block_of(request: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(request).unwrap();
    let lines = text.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
    let lower: Vec<_> = lines.map(|(name, value)| (name.to_lowercase(), value)).collect();
    block(&lower.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>())
}

fn connect(deflate: bool) -> (Established, Accepted) {
    let request = Request {
        host: "a.example:6767",
        path: "/chat?x=1",
        origin: Some("http://a.example:6767"),
        protocols: &["soap", "chat"],
        deflate,
        entropy: *b"0123456789abcdef",
    };
    let mut out = Vec::new();
    let client = Handshake::start(&request, &mut out).unwrap();
    assert!(out.starts_with(b"GET /chat?x=1 HTTP/1.1\r\n") && out.ends_with(b"\r\n\r\n"));
    let block = block_of(&out);
    let headers = Headers::new(Protocol::Tnetstring, &block);
    assert!(handshake::is_handshake(&headers));
    let policy = Policy { origins: &[], protocols: &["chat".to_owned()], deflate: true };
    let accepted = handshake::accept(&headers, b"GET", b"", &policy).unwrap();
    let response = [&accepted.response[..], b"\x81\x02hi"].concat();
    for end in 0..accepted.response.len() {
        assert_eq!(client.finish(&response[..end]), Ok(None));
    }
    let established = client.finish(&response).unwrap().unwrap();
    assert_eq!(&response[established.size..], b"\x81\x02hi");
    (established, accepted)
}

#[test]
fn client_and_server_agree() {
    let (client, server) = connect(true);
    assert_eq!(client.protocol.as_deref(), Some("chat"));
    assert_eq!(server.protocol.as_deref(), Some("chat"));
    assert_eq!(client.deflate, server.deflate);
    assert!(client.deflate.is_some());
    assert_eq!(connect(false).0.deflate, None);
}

#[test]
fn messages_go_round_in_fragments_compressed_and_plain() {
    let (client, server) = connect(true);
    let (mut random, mut codec, mut second) = (Random(8), Codec::new(), 0);
    let mut session = Session::new(server.deflate);
    let mut from_client = Decoder::new(Masking::Required, 1 << 20, true);
    let mut from_server = Decoder::new(Masking::Forbidden, 1 << 20, true);
    let (mut server_messages, mut client_messages) = (Assembler::new(1 << 20), Assembler::new(1 << 20));
    for size in [0, 1, 125, 126, 127, 4000, 65535, 65536, 200_000] {
        let message: String = (0..size).map(|_| char::from(b'a' + random.below(4) as u8)).collect();
        let mut compressed = Vec::new();
        assert!(codec.compress(message.as_bytes(), client.deflate.unwrap(), &mut compressed));

        // The client: two masked fragments, and a ping between them.
        let (mut sent, half) = (Vec::new(), compressed.len() / 2);
        encode_masked(&mut sent, false, Opcode::Text, true, &compressed[..half], [1, 2, 3, 4]);
        encode_masked(&mut sent, true, Opcode::Ping, false, b"now", [5, 6, 7, 8]);
        encode_masked(&mut sent, true, Opcode::Continuation, false, &compressed[half..], [9, 8, 7, 6]);

        // The server echoes.
        let (mut input, mut out, mut pings) = (&sent[..], Vec::new(), 0);
        while let Some(frame) = from_client.read(&mut input).unwrap() {
            let Some(whole) = server_messages.push(frame).unwrap() else { continue };
            second += 1;
            match session.receive(whole.head, &whole.payload, 1 << 20, &mut codec, second, &mut out) {
                Event::Ping => pings += 1,
                Event::Text(text) => {
                    assert_eq!(text, message);
                    encode_message(&mut out, false, text.as_bytes(), session.deflate(), &mut codec);
                    encode_fragments(&mut out, Opcode::Binary, text.as_bytes(), 1000);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pings, 1);

        // The client reads pong, echo and fragments.
        let (mut input, mut got) = (&out[..], Vec::new());
        while let Some(frame) = from_server.read(&mut input).unwrap() {
            got.extend(client_messages.push(frame).unwrap());
        }
        assert_eq!(got.len(), 3);
        assert_eq!(got[0], Frame { head: 0x8a, payload: b"now".to_vec() });
        let text = match got[1].is_compressed() {
            true => codec.inflate(&got[1].payload, 1 << 20).unwrap(),
            false => got[1].payload.clone(),
        };
        assert_eq!(got[1].is_compressed(), size >= Codec::MIN_PAYLOAD);
        assert_eq!(text, message.as_bytes());
        assert_eq!(got[2], Frame { head: 0x82, payload: message.into_bytes() });
    }
}

#[test]
fn what_a_real_mongrel2_delivers_is_judged() {
    let folder =
        std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../mongrel2-wire/fixtures/captures");
    let mut judged = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.contains("-ws-") {
            continue;
        }
        let message = std::fs::read(&path).unwrap();
        let got = Envelope::parse(&message).unwrap();
        let Kind::Frame { flags } = Head::read(&got).unwrap().kind else { continue };
        let (mut codec, mut out) = (Codec::new(), Vec::new());
        let event = Session::new(None).receive(flags, got.body, 1 << 20, &mut codec, 0, &mut out);
        let expected = match &name[4..] {
            n if n.starts_with("ws-ping") || n.contains("interleaved-ping") => "ping",
            n if n.starts_with("ws-pong") => "pong",
            n if n.starts_with("ws-close") => "closed",
            n if n.contains("rsv") || n.contains("opcode") => "violation 1002",
            n if n.contains("bad-utf8") => "violation 1007",
            _ => "data",
        };
        let kind = match event {
            Event::Ping => "ping".to_owned(),
            Event::Pong => "pong".to_owned(),
            Event::Closed { .. } => "closed".to_owned(),
            Event::Violation { code, .. } => format!("violation {code}"),
            Event::Text(_) | Event::Binary(_) => "data".to_owned(),
            Event::Ignored => "ignored".to_owned(),
        };
        assert_eq!(kind, expected, "{name}");
        judged += 1;
    }
    assert!(judged > 40, "{judged}");
}

#[test]
fn no_message_panics_and_nothing_follows_the_end() {
    let (mut random, mut codec) = (Random(9), Codec::new());
    for _ in 0..500 {
        let mut session = Session::new((random.below(2) == 0).then(Deflate::default));
        let (mut over, mut closes) = (false, 0);
        for second in 0..40 {
            let mut out = Vec::new();
            let heads = [0x81, 0x82, 0x88, 0x89, 0x8a, 0xc1, 0xc2, random.byte()];
            let payload: Vec<u8> = (0..random.below(140)).map(|_| random.byte()).collect();
            let flags = heads[random.below(heads.len())];
            let event = session.receive(flags, &payload, 100, &mut codec, second, &mut out);
            closes += usize::from(out.first() == Some(&0x88));
            assert!(!over || (event == Event::Ignored && out.is_empty()));
            over |= matches!(event, Event::Closed { .. } | Event::Violation { .. });
        }
        assert_eq!(closes, usize::from(over));
    }
}
