//! Bytes from outside, as they come and with something changed by chance: whatever they are, a value or an error
//! comes back, never a panic, and never more than went in.
//!
//! The messages of `mongrel2-wire/fixtures/captures` are the beginning. Every run tries the same changes of them;
//! `KENNEL_FUZZ_ROUNDS=1000` tries a thousand times as many.

#![allow(clippy::unwrap_used, reason = "tests")]

use fastrand::Rng;
use handler_core::channel::bosh::{self, Body, element};
use handler_core::channel::ticket::Tickets;
use handler_core::console;
use handler_core::hub::{AppId, AppSpec, Effect, Hub, Limits, LinkId};
use handler_core::rehearsal::Answer;
use handler_core::sessions::{ENTROPY, Jar, Keys, Options, Secret, Visit, csrf};
use handler_core::worker::protocol::{
    Action, ChannelSpec, Handler, Order, Registration, RouteSpec, encode_action, encode_answer, encode_close,
    encode_evaluate, encode_job, encode_lead, encode_message, split_batch, split_frame,
};
use handler_core::worker::{body, form, sent_file};
use kennel_http::forms::{self, Form, FormError, FormLimits, MultipartReader};
use kennel_http::part::{Part, base_name};
use kennel_http::preconditions::{self, State};
use kennel_http::ranges::{self, Wanted};
use kennel_http::validators::{EntityTag, TagList, parse_tag};
use kennel_http::websocket::frame::encode_masked;
use kennel_http::websocket::{
    Assembler, Codec, Decoder, Deflate, Event, Frame, Masking, Opcode, Policy, Session, client, close,
    extensions, handshake,
};
use kennel_http::{
    charset, compression, cookies, dates, events, file, host, media_types, parameters, percent, query,
};
use mongrel2_wire::address::Address;
use mongrel2_wire::tnetstring::Value;
use mongrel2_wire::zmtp::{self, Conversation, Role};
use mongrel2_wire::{Envelope, Head, Headers, Protocol, netstring};
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs `test` so many times with ever other chances, and says with which it failed.
fn try_all(usual: u64, mut test: impl FnMut(&mut Rng)) {
    struct Round(u64);
    impl Drop for Round {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("that was round {}", self.0);
            }
        }
    }
    let factor = std::env::var("KENNEL_FUZZ_ROUNDS").map_or(1, |text| text.parse().unwrap());
    for round in 0..usual * factor {
        let _round = Round(round);
        test(&mut Rng::with_seed(round));
    }
}

/// Every message that was taken from a real Mongrel2.
fn captures() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mongrel2-wire/fixtures/captures");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "msg")).collect();
    files.sort();
    assert_eq!(files.len(), 231);
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Bytes that mean something to one of the parsers.
const LETTERS: &[u8] = b"0123456789:,;=\"'\\{}[]()<>#~^!$@%&/?.-+ \t\r\n\0\x01\x7e\x7f\x80\x81\x88\xc3\xff";

fn letter(rng: &mut Rng) -> u8 {
    LETTERS[rng.usize(..LETTERS.len())]
}

/// Changes a few bytes: others, none, more, or a piece of somewhere else.
fn change(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..bytes.len() + 1);
        match rng.u8(..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            1 if at < bytes.len() => bytes[at] = letter(rng),
            2 if at < bytes.len() => {
                let end = bytes.len().min(at + rng.usize(1..20));
                bytes.drain(at..end);
            }
            3 => bytes.truncate(at),
            4 => bytes.insert(at, letter(rng)),
            5 => {
                let from = rng.usize(..bytes.len() + 1);
                let piece = bytes[from..bytes.len().min(from + rng.usize(..60))].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let more: Vec<u8> = (0..rng.usize(..10)).map(|_| rng.u8(..)).collect();
                bytes.splice(at..at, more);
            }
        }
    }
}

fn anything(rng: &mut Rng, most: usize) -> Vec<u8> {
    let letters = rng.bool();
    (0..rng.usize(..most)).map(|_| if letters { letter(rng) } else { rng.u8(..) }).collect()
}

/// Looks at all of a message that anybody looks at.
fn read_message(message: &[u8]) {
    let Ok(envelope) = Envelope::parse(message) else { return };
    let mut size = 0;
    for header in envelope.headers.iter() {
        let Ok((name, values)) = header else { break };
        size += name.len() + values.iter().map(|value| value.bytes().len()).sum::<usize>();
    }
    assert!(size <= message.len(), "{size} of {}", message.len());
    let headers = &envelope.headers;
    for name in ["host", "cookie", "content-type", "sec-websocket-extensions", "REMOTE_ADDR"] {
        let values = headers.get(name.as_bytes());
        let value = values.and_then(|values| values.iter().next()).map(|value| value.bytes().into_owned());
        let value = value.unwrap_or_default();
        let _ = extensions::parse(&value).map(|offers| Deflate::negotiate(&offers));
        let _ = (cookies::pairs(&value).count(), host::split(&value), charset::decode(envelope.body, &value));
    }
    let policy = Policy { origins: &[], protocols: &[], deflate: true };
    let _ = handshake::accept(headers, b"GET", b"", &policy);
    let _ = (percent::normal_path(envelope.path), query::pairs(envelope.path).count());
    let _ = (Head::read(&envelope), Value::parse(envelope.body), body::read(message, 1 << 20));
    let _ =
        (form::read(message, &FormLimits::default(), || {}).is_ok(), sent_file::read(message, &(1..5), 10));
}

#[test]
fn messages_with_something_changed_are_read_or_refused() {
    let captures = captures();
    captures.iter().for_each(|message| read_message(message));
    try_all(20_000, |rng| {
        let mut message = captures[rng.usize(..captures.len())].clone();
        change(rng, &mut message);
        read_message(&message);
    });
}

#[test]
fn header_blocks_and_values_of_any_bytes_are_read_or_refused() {
    try_all(20_000, |rng| {
        let block = anything(rng, 200);
        for protocol in [Protocol::Json, Protocol::Tnetstring] {
            let headers = Headers::new(protocol, &block);
            assert!(headers.iter().take(1000).count() < 1000, "an iteration ends");
            let _ = headers.get(b"host");
        }
        let _ =
            (netstring::parse(&block), Value::parse(&block), extensions::parse(&block), close::parse(&block));
        let _ = (cookies::pairs(&block).count(), query::pairs(&block).count(), host::split(&block));
        assert!(percent::decode(&block, true).len() <= block.len());
        let _ = console::read_line(&block);
        let _ = String::from_utf8_lossy(&block).parse::<Address>();
    });
}

/// A form that is read from such pieces, as a file is.
fn form_in_pieces(
    body: &[u8],
    limits: &FormLimits,
    mut piece: impl FnMut() -> usize,
) -> Result<Form, FormError> {
    let mut reader = MultipartReader::new(b"B", limits)?;
    let (mut held, mut rest) = (Vec::new(), body);
    while !reader.is_over() {
        let (now, later) = rest.split_at(piece().clamp(1, rest.len().max(1)).min(rest.len()));
        rest = later;
        held.extend_from_slice(now);
        let taken = reader.read(&held, rest.is_empty())?;
        held.drain(..taken);
        let most = MultipartReader::window(limits);
        assert!(reader.is_over() || held.len() <= most, "{} bytes are held", held.len());
    }
    reader.finish()
}

#[test]
fn forms_are_the_same_in_whatever_pieces_they_come() {
    const PARTS: [&[u8]; 6] = [
        b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n",
        b"--B\r\ncontent-disposition:form-data;name=f; filename=\"a\\\\b%22.png\"\r\nContent-Type: image/png\r\n\r\n\x89\r\n--\r\n",
        b"--B\r\nContent-Disposition: form-data; name=\"_charset_\"\r\n\r\niso-8859-1\r\n",
        b"--B\r\nContent-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\r\n\r\n",
        b"--B \t\r\nContent-Disposition: form-data; name=e\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n--B",
        b"\r\n--B--\r\n",
    ];
    let limits = FormLimits { parts: 6, field: 40, header: 120, memory: 100 };
    let mut good = 0;
    try_all(20_000, |rng| {
        let mut body: Vec<u8> = (0..rng.u8(1..6)).flat_map(|_| PARTS[rng.usize(..6)].to_vec()).collect();
        body.extend_from_slice(PARTS[5]);
        if rng.bool() {
            change(rng, &mut body);
        }
        let whole = form_in_pieces(&body, &limits, || usize::MAX);
        good += usize::from(whole.is_ok());
        // In pieces another limit may be hit first.
        for pieces in
            [form_in_pieces(&body, &limits, || 1), form_in_pieces(&body, &limits, || rng.usize(1..30))]
        {
            match (&pieces, &whole) {
                (Err(pieces), Err(whole)) => {
                    assert!([400, 413].contains(&pieces.status().min(whole.status())))
                }
                _ => assert_eq!(pieces, whole, "{}", body.escape_ascii()),
            }
        }
        let Ok(form) = whole else { return };
        assert!(form.fields.len() + form.files.len() <= limits.parts);
        for file in form.files {
            assert!(file.place.start <= file.place.end && file.place.end <= body.len() as u64);
            let bad = |byte: &u8| matches!(byte, b'/' | b'\\') || byte.is_ascii_control();
            assert!(!file.filename.iter().any(bad) && file.filename != b"..", "{:?}", file.filename);
        }
    });
    assert!(good > 1000, "{good} forms");
}

#[test]
fn fields_and_headers_of_forms_of_any_bytes_are_read_or_refused() {
    let limits = FormLimits { parts: 20, field: 50, header: 120, memory: 150 };
    try_all(20_000, |rng| {
        let bytes = anything(rng, 200);
        let _ = (forms::kind(&bytes), forms::kind(&[b"multipart/form-data;", &bytes[..]].concat()));
        assert!(parameters::split(&bytes).1.count() <= bytes.len());
        let _ = Part::parse(&bytes);
        let _ = Part::parse(&[b"Content-Disposition: form-data; name=", &bytes[..]].concat());
        assert!(!base_name(&bytes).contains(&b'/'));
        let content_type = [b"application/x-www-form-urlencoded; charset=", &bytes[..]].concat();
        for content_type in [&b"application/x-www-form-urlencoded"[..], &content_type] {
            if let Ok(form) = forms::read_urlencoded(&bytes, content_type, &limits) {
                assert!(form.fields.len() <= limits.parts);
            }
        }
    });
}

#[test]
fn what_clients_ask_about_files_is_read_or_passed_over() {
    const VALUES: [&[u8]; 10] = [
        b"bytes=0-99, 200-,-5",
        b"bytes=18446744073709551615-18446744073709551616",
        b"W/\"a\", \"b,c\" , *",
        b"*",
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
        b"gzip;q=0.5, br;q=1.0, *;q=0, identity",
        b"text/html; charset=utf-8",
        b"folder/page.tar.gz",
    ];
    try_all(20_000, |rng| {
        let mut value = VALUES[rng.usize(..VALUES.len())].to_vec();
        change(rng, &mut value);
        let size = if rng.bool() { rng.u64(..300) } else { rng.u64(..) };
        if let Wanted::Spans(spans) = ranges::parse(&value, size) {
            assert!(!spans.is_empty() && spans.len() <= ranges::MAX_RANGES);
            assert!(spans.iter().all(|span| span.length > 0 && span.last() < size));
            assert!(spans.iter().map(|span| u128::from(span.length)).sum::<u128>() <= u128::from(size));
        }
        if let Some(second) = dates::parse(&value) {
            assert_eq!(dates::parse(dates::format(second).as_bytes()), Some(second));
        }
        let _ = (compression::takes_gzip(&value), media_types::of_name(&value), media_types::is_text(&value));
        let (mut tags, first) = (0, parse_tag(&value));
        TagList::parse(&value).any(|tag| {
            tags += 1;
            first.as_ref().is_some_and(|(first, _)| first.is_strongly(tag) && first.weak)
        });
        assert!(tags <= value.len());
        let name = String::from_utf8_lossy(&value);
        assert!(file::attachment(&name).bytes().all(|b| (b' '..0x7f).contains(&b)));
        let event = events::Event { event: Some(&value), data: Some(&value), id: None, retry: None };
        if let Ok(lines) = event.encode() {
            let text = String::from_utf8(lines).unwrap();
            assert!(text.ends_with("\n\n") && !text.trim_end_matches('\n').contains("\n\n"));
            assert!(
                text.trim_end_matches('\n')
                    .lines()
                    .all(|l| l.starts_with("data: ") || l.starts_with("event: "))
            );
        }
        let head = [b"Content-Type: text/plain\r\nx: ", &value[..], b"\r\n"].concat();
        let _ = compression::apply(200, &head, &vec![b'x'; 2000], &value);
        let mut block = Vec::new();
        for name in
            ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"]
        {
            if rng.bool() {
                let mut value = VALUES[rng.usize(..VALUES.len())].to_vec();
                change(rng, &mut value);
                block.extend_from_slice(format!("{}:{name},{}:", name.len(), value.len()).as_bytes());
                block.extend_from_slice(&value);
                block.push(b',');
            }
        }
        let headers = Headers::new(Protocol::Tnetstring, &block);
        let tag = EntityTag { weak: rng.bool(), opaque: b"a" };
        let _ =
            preconditions::weigh(&headers, &State { tag, modified: Some(784_111_777), settled: rng.bool() });
        let facts =
            file::Facts { size, modified: Some((rng.u64(..), 0)), now: 800_000_000, content_type: &value };
        let plan = file::plan(&headers, b"GET", true, &facts, || "cut".into());
        assert_eq!(plan.parts.iter().map(file::Part::length).sum::<u64>(), plan.length);
    });
}

#[test]
fn tnetstrings_come_back_as_they_were_written() {
    fn some<'a>(rng: &mut Rng, texts: &'a [Vec<u8>], depth: u8) -> Value<'a> {
        let text = |rng: &mut Rng| texts[rng.usize(..texts.len())].as_slice();
        match rng.u8(..if depth > 3 { 5 } else { 7 }) {
            0 => Value::Null,
            1 => Value::Bool(rng.bool()),
            2 => Value::Int(rng.i64(..)),
            3 => Value::Float(f64::from(rng.i32(..)) / 8.0),
            4 => Value::Bytes(text(rng)),
            5 => Value::List((0..rng.u8(..4)).map(|_| some(rng, texts, depth + 1)).collect()),
            _ => Value::Dict((0..rng.u8(..4)).map(|_| (text(rng), some(rng, texts, depth + 1))).collect()),
        }
    }
    try_all(5000, |rng| {
        let texts: Vec<_> = (0..3).map(|_| anything(rng, 30)).collect();
        let value = some(rng, &texts, 0);
        let mut written = Vec::new();
        value.encode(&mut written);
        assert_eq!(Value::parse(&written).unwrap(), (value, &[][..]));
        change(rng, &mut written);
        let _ = Value::parse(&written);
    });
}

#[test]
fn of_a_session_with_something_changed_nothing_is_believed() {
    let jar = Jar::new(&Keys::of(&[Secret::new(b"0123456789abcdef").unwrap()]), Options::of_mount("/"));
    let now = 1_700_000_000;
    let open = |header: &[u8]| Visit::open(&jar, std::iter::once(header), now);
    let line = open(b"").close(&jar, r#"{"user":7}"#, false, now, false, [7; ENTROPY]).unwrap().unwrap();
    let cookie = [b"a=1; ", line.split(|byte| *byte == b';').next().unwrap(), b"; b=2"].concat();
    assert_eq!(open(&cookie).json(), r#"{"user":7}"#);
    let (token, signed) =
        (open(&cookie).csrf_token(&jar, [1; ENTROPY]).unwrap(), jar.sign("[1]", now).unwrap());
    try_all(20_000, |rng| {
        let mut bytes = cookie.clone();
        change(rng, &mut bytes);
        let visit = open(&bytes);
        let json = visit.json();
        // What is around it may change, and a session may be lost; no other one comes of it.
        assert!(json == r#"{"user":7}"# || json == "{}", "{json} of {}", bytes.escape_ascii());
        let mut given = token.clone().into_bytes();
        change(rng, &mut given);
        assert!(given == token.as_bytes() || !open(&cookie).allows(&jar, &given));
        let mut text = signed.clone().into_bytes();
        change(rng, &mut text);
        assert!(text == signed.as_bytes() || jar.unsign(&text, None, now).is_err());
        let anything = anything(rng, 200);
        let _ =
            (open(&anything), jar.unsign(&anything, Some(1), now), csrf::applies(&anything, Some(&anything)));
    });
}

/// Everything that a decoder makes of a stream which comes in such pieces: frames, and the code of a violation.
fn decoded(stream: &[u8], mut piece: impl FnMut() -> usize) -> Vec<Result<Frame, u16>> {
    let mut decoder = Decoder::new(Masking::Required, 1 << 16, true);
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

#[test]
fn frames_are_the_same_in_whatever_pieces_they_come() {
    const OPCODES: [Opcode; 5] =
        [Opcode::Text, Opcode::Binary, Opcode::Continuation, Opcode::Ping, Opcode::Close];
    try_all(2000, |rng| {
        let mut stream = Vec::new();
        for _ in 0..rng.u8(1..6) {
            let most = if rng.u8(..20) == 0 { 70_000 } else { 130 };
            let (payload, key) = (anything(rng, most), rng.u32(..).to_be_bytes());
            let opcode = OPCODES[rng.usize(..OPCODES.len())];
            encode_masked(&mut stream, rng.bool(), opcode, rng.u8(..4) == 0, &payload, key);
        }
        if rng.bool() {
            change(rng, &mut stream);
        }
        let whole = decoded(&stream, || usize::MAX);
        assert_eq!(decoded(&stream, || 1), whole);
        assert_eq!(decoded(&stream, || rng.usize(1..50)), whole);
        let mut assembler = Assembler::new(1 << 16);
        for frame in whole.into_iter().map_while(Result::ok) {
            match assembler.push(frame) {
                Ok(message) => assert!(message.is_none_or(|message| message.payload.len() <= 1 << 16)),
                Err(_) => break,
            }
        }
    });
}

#[test]
fn conversations_of_any_frames_end_in_order() {
    let mut codec = Codec::new();
    try_all(5000, |rng| {
        let deflate = Deflate::new(rng.u8(9..16)).filter(|_| rng.bool());
        let (mut session, mut out) = (Session::new(deflate), Vec::new());
        for _ in 0..rng.u8(1..8) {
            let mut payload = anything(rng, 200);
            if let Some(deflate) = deflate.filter(|_| rng.bool()) {
                let mut packed = Vec::new();
                codec.compress(&payload, deflate, &mut packed);
                if rng.bool() {
                    change(rng, &mut packed);
                }
                payload = packed;
            }
            let event = session.receive(rng.u8(..), &payload, 1000, &mut codec, 0, &mut out);
            if let Event::Text(text) = event {
                assert!(text.len() <= 1000);
            }
        }
        // What is said to the client are whole frames, of which a close is the last.
        let mut decoder = Decoder::new(Masking::Forbidden, 125, false);
        let (mut rest, mut closes) = (&out[..], 0);
        while !rest.is_empty() {
            let frame = decoder.read(&mut rest).unwrap().expect("a whole frame");
            assert_eq!(closes, 0, "something behind a close");
            closes += usize::from(frame.opcode() == Opcode::Close);
        }
        assert!(closes == 0 || !session.is_open());
    });
}

#[test]
fn what_inflates_is_bounded_whatever_it_is() {
    let (mut codec, deflate) = (Codec::new(), Deflate::new(15).unwrap());
    let mut bomb = Vec::new();
    codec.compress(&vec![b'x'; 10 << 20], deflate, &mut bomb);
    assert!(codec.inflate(&bomb, 1 << 20).is_err());
    try_all(2000, |rng| {
        let mut packed = bomb.clone();
        if rng.bool() {
            packed.clear();
            codec.compress(&anything(rng, 2000), deflate, &mut packed);
        }
        change(rng, &mut packed);
        if let Ok(bytes) = codec.inflate(&packed, 4000) {
            assert!(bytes.len() <= 4000);
        }
    });
}

#[test]
fn answers_to_a_clients_handshake_are_read_or_refused() {
    let request = client::Request {
        host: "a.example",
        path: "/",
        origin: None,
        protocols: &["chat"],
        deflate: true,
        entropy: *b"the sample nonce",
    };
    let began = client::Handshake::start(&request, &mut Vec::new()).unwrap();
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                   client_no_context_takeover\r\n\
                   Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nmore";
    assert_eq!(began.finish(answer).unwrap().unwrap().size, answer.len() - 4);
    try_all(10_000, |rng| {
        let mut bytes = answer.to_vec();
        change(rng, &mut bytes);
        if let Ok(Some(established)) = began.finish(&bytes) {
            assert!(established.size <= bytes.len());
        }
    });
}

#[test]
fn a_peer_that_speaks_anything_is_understood_or_given_up() {
    let mut stream = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL".to_vec();
    stream.resize(64, 0);
    stream.extend(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH");
    let captures = captures();
    captures[..20].iter().for_each(|message| zmtp::encode(&mut stream, message));
    let heard = |bytes: &[u8], piece: usize| {
        let (mut peer, _) = Conversation::begin(Role::Pull);
        let (mut inbox, mut heard) = (Vec::new(), 0);
        for piece in bytes.chunks(piece) {
            inbox.extend_from_slice(piece);
            match peer.read(&inbox, |message| heard += message.len()) {
                Ok(taken) => _ = inbox.drain(..taken),
                Err(_) => break,
            }
        }
        heard
    };
    assert_eq!(heard(&stream, 7), captures[..20].iter().map(Vec::len).sum::<usize>());
    try_all(2000, |rng| {
        let mut bytes = stream.clone();
        change(rng, &mut bytes);
        assert!(heard(&bytes, rng.usize(100..5000)) <= bytes.len());
    });
}

#[test]
fn frames_between_hub_and_worker_are_read_or_refused() {
    let mut all = Vec::new();
    encode_job(&mut all, 1, Handler::Route(0), "boot-0.0.1", [&b"x"[..]].into_iter(), b"", &captures()[0]);
    encode_message(&mut all, 2, 1, false, b"hello");
    encode_close(&mut all, 3, 1, 1006, b"gone");
    encode_answer(&mut all, 4, b"[1]");
    encode_evaluate(&mut all, 5, b"1 + 1");
    encode_lead(&mut all);
    encode_action(&mut all, &Action::Ready(registration()));
    encode_action(&mut all, &Action::Respond { serial: 1, status: 200, head: b"A: b\r\n", body: b"x" });
    encode_action(&mut all, &Action::Join { conn: 1, room: b"lobby" });
    try_all(20_000, |rng| {
        let mut bytes = all.clone();
        change(rng, &mut bytes);
        let _ = split_batch(&bytes);
        let mut rest = &bytes[..];
        while let Some((kind, payload, after)) = split_frame(rest) {
            rest = after;
            let _ = (Order::read(kind, payload), Action::read(kind, payload));
        }
    });
}

fn registration() -> Registration {
    let (path, place) = ("/".into(), "app.lua:1".into());
    let route = RouteSpec { methods: vec!["GET".into()], path, handler: 0, place, streams: false };
    let channel = ChannelSpec { path: "/ws".into(), handler: 1, ..ChannelSpec::default() };
    Registration { routes: vec![route], channels: vec![channel], ..Registration::default() }
}

/// A request to the channel by a client of some session, or by one that opens one.
fn of_a_session(rng: &mut Rng) -> Vec<u8> {
    // Numbers as the hub gives them: a generation, and a place in the table.
    let session = Tickets::new(&[7; 32]).write(rng.u64(1..30) << 22 | rng.u64(..8));
    let (rid, number) = (rng.u64(100..106), rng.u64(..4));
    let bosh = "xmlns='http://jabber.org/protocol/httpbind'";
    let (method, query, accept, body) = match rng.u8(..9) {
        0 => ("POST", String::new(), "*/*", String::new()),
        1 => ("GET", String::new(), "text/event-stream", String::new()),
        2 => ("GET", format!("session={session}&after={number}&wait={number}"), "*/*", String::new()),
        3 => ("GET", format!("session={session}&after={number}"), "text/event-stream", String::new()),
        4 => ("POST", format!("session={session}&number={number}"), "*/*", "hello".to_owned()),
        5 => ("DELETE", format!("session={session}"), "*/*", String::new()),
        6 => ("POST", String::new(), "*/*", format!("<body rid='100' wait='5' hold='1' ver='1.11' {bosh}/>")),
        7 => ("POST", String::new(), "*/*", format!("<body rid='{rid}' sid='{session}' {bosh}><a/></body>")),
        _ => (
            "POST",
            String::new(),
            "*/*",
            format!("<body rid='{rid}' sid='{session}' type='terminate' {bosh}/>"),
        ),
    };
    let fields =
        [("METHOD", method), ("VERSION", "HTTP/1.1"), ("QUERY", &query), ("accept", accept), ("host", "a")];
    let mut headers = Vec::new();
    for (name, value) in fields {
        netstring::encode(&mut headers, name.as_bytes());
        netstring::encode(&mut headers, value.as_bytes());
    }
    let mut message = format!("m2cap {} /ws {}:", rng.u8(1..20), headers.len()).into_bytes();
    message.extend_from_slice(&headers);
    message.push(b'}');
    netstring::encode(&mut message, body.as_bytes());
    message
}

#[test]
fn the_hub_outlives_whatever_servers_and_workers_say() {
    let captures = captures();
    let app = AppSpec { name: "app.lua".into(), mount: "/".into(), workers: 1 };
    let (mut replies, mut opened) = (0, 0);
    try_all(300, |rng| {
        let mut now = Instant::now();
        let mut hub = Hub::new(Limits::default(), "boot", 1, vec![app.clone()]);
        hub.set_session_key(&[7; 32]);
        hub.handle_server_up(LinkId(0), b"");
        hub.load_app(AppId(0), now);
        let mut workers = Vec::new();
        for _ in 0..100 {
            now += Duration::from_millis(rng.u64(..2000));
            if rng.u8(..3) == 0 {
                let mut message = of_a_session(rng);
                if rng.u8(..3) == 0 {
                    change(rng, &mut message);
                }
                hub.handle_message(LinkId(0), &message, now);
            }
            if rng.u8(..4) == 0 && !workers.is_empty() {
                let worker = workers[rng.usize(..workers.len())];
                let (mut batch, serial) = (Vec::new(), rng.u64(..6));
                encode_action(&mut batch, &Action::Respond { serial, status: 200, head: b"", body: b"x" });
                encode_action(&mut batch, &Action::Send { conn: serial, binary: false, payload: b"x" });
                encode_action(&mut batch, &Action::CloseConn { conn: serial, code: 1000, reason: b"x" });
                if rng.u8(..3) == 0 {
                    change(rng, &mut batch);
                }
                if hub.handle_batch(worker, &batch, now).is_err() {
                    // As the loop does with a worker that talks nonsense.
                    workers.retain(|id| *id != worker);
                    hub.handle_worker_gone(worker, serial, now);
                }
            } else {
                let mut message = captures[rng.usize(..captures.len())].clone();
                if rng.bool() {
                    change(rng, &mut message);
                }
                hub.handle_message(LinkId(0), &message, now);
            }
            hub.finish_turn(now);
            hub.drain_replies(|_, _| replies += 1);
            while let Some(effect) = hub.poll_effect() {
                match effect {
                    Effect::StartWorker { worker, .. } => {
                        let mut ready = Vec::new();
                        encode_action(&mut ready, &Action::Ready(registration()));
                        hub.handle_batch(worker, &ready, now).unwrap();
                        workers.push(worker);
                    }
                    Effect::KillWorker(worker) => {
                        workers.retain(|id| *id != worker);
                        hub.handle_worker_gone(worker, 0, now);
                    }
                    _ => {}
                }
            }
            for worker in &workers {
                hub.take_orders(*worker).unwrap().0.clear();
            }
        }
        opened += hub.counters().opened;
    });
    assert!(replies > 1000 && opened > 1000, "{replies} replies, {opened} connections");
}

#[test]
fn any_answer_is_read_by_the_client_of_a_rehearsal_or_is_none() {
    let answers: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=1; Path=/; Max-Age=10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nff\r\n0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ];
    try_all(20_000, |rng| {
        let mut bytes = answers[rng.usize(..answers.len())].to_vec();
        for _ in 0..rng.usize(..4) {
            change(rng, &mut bytes);
        }
        let answer = Answer::read(&bytes, rng.bool(), rng.bool());
        assert!(answer.is_none_or(|answer| answer.body.len() <= bytes.len()));
    });
}

#[test]
fn bodies_of_bosh_with_something_changed_are_read_or_refused() {
    const BODIES: [&[u8]; 3] = [
        b"<body content='text/xml; charset=utf-8' hold='1' rid='1573741820' to='a.example' ver='1.6' wait='60' ack='1' \
          xml:lang='en' xmlns='http://jabber.org/protocol/httpbind'/>",
        b"<b:body rid='2' sid='s' xmlns:b='http://jabber.org/protocol/httpbind' xmlns='urn:a' xmlns:p='urn:p'>\
          <message to=\"&#65;&amp;\"><body>hi<![CDATA[<]]></body></message> <p:x p:y='1'/></b:body>",
        b"<body rid='3' sid='s' type='terminate' xmlns='http://jabber.org/protocol/httpbind'>\
          <text xmlns='urn:kennel:channel'>a&lt;b</text><binary xmlns='urn:kennel:channel'>/w==</binary></body>",
    ];
    let mut good = 0;
    try_all(20_000, |rng| {
        let mut bytes = BODIES[rng.usize(..BODIES.len())].to_vec();
        if rng.bool() {
            change(rng, &mut bytes);
        }
        if let Ok(body) = Body::parse(&bytes, 1000) {
            good += 1;
            for (binary, payload) in body.messages() {
                let sent = element::of_message(binary, &payload);
                element::check(std::str::from_utf8(&sent).unwrap()).unwrap();
            }
        }
        for binary in [false, true] {
            let payload = anything(rng, 50);
            let sent = element::wrap(binary, &payload);
            let (kind, back) = element::unwrap(std::str::from_utf8(&sent).unwrap()).unwrap();
            assert!(back == payload && (kind || !binary));
        }
    });
    assert!(good > 10_000, "{good} bodies");
}

#[test]
fn sessions_of_bosh_answer_every_request_once_whatever_is_said() {
    const ATTRIBUTES: [&str; 9] = [
        "",
        "",
        "",
        "pause='5'",
        "type='terminate'",
        "ack='100'",
        "ack='102'",
        "key='x'",
        "newkey='ca393b51b682f61f98e7877d61146407f3d0a770'",
    ];
    let (mut messages, mut ended) = (0, 0);
    try_all(2000, |rng| {
        let mut now = Instant::now();
        let settings = bosh::Settings { polling: rng.u16(..3), ..bosh::Settings::default() };
        let opening = format!(
            "<body rid='100' hold='{}' wait='{}' {} xmlns='{}'/>",
            rng.u8(..4),
            rng.u8(..30),
            ["ver='1.6'", "ack='1'", ""][rng.usize(..3)],
            bosh::NAMESPACE
        );
        let opening = Body::parse(opening.as_bytes(), 1000).unwrap();
        let mut session = bosh::Session::begin(&settings, &opening, 0, "s", now).unwrap();
        // Requests without answer: the first one waits for the script.
        let (mut open, mut rid) = (vec![0], 101);
        if rng.bool() {
            session.opened(now);
            assert!(matches!(session.poll_output(), Some(bosh::Output::Answer { status: 200, .. })));
            open.clear();
        }
        for request in 1..200 {
            match rng.u8(..10) {
                0..3 => _ = session.send(element::of_message(false, &anything(rng, 20)).into(), now),
                3 if !open.is_empty() => {
                    let gone = open.swap_remove(rng.usize(..open.len()));
                    session.request_gone(gone, now);
                }
                4 => {
                    now += Duration::from_millis(rng.u64(..9000));
                    session.handle_timeout(now);
                }
                _ => {
                    let (own, attributes) = (rid + rng.u64(..20) / 16 - rng.u64(..20) / 15, rng.usize(..80));
                    rid = rid.max(own + 1);
                    let attributes = ATTRIBUTES.get(attributes).unwrap_or(&"");
                    let content = ["", "<a/>", "<b>&lt;</b><c/>"][rng.usize(..3)];
                    let mut text = format!(
                        "<body rid='{own}' sid='s' {attributes} xmlns='{}'>{content}</body>",
                        bosh::NAMESPACE
                    )
                    .into_bytes();
                    if rng.u8(..200) == 0 {
                        change(rng, &mut text);
                    }
                    open.push(request);
                    match Body::parse(&text, 1000) {
                        Ok(body) => session.receive(&body, request, now),
                        Err(_) => session.refuse(request),
                    }
                }
            }
            while let Some(output) = session.poll_output() {
                match output {
                    bosh::Output::Answer { request, status, body, .. } => {
                        let at = open.iter().position(|known| *known == request);
                        open.swap_remove(at.expect("a request without answer"));
                        assert!(status != 200 || Body::parse(&body, usize::MAX).is_ok());
                    }
                    bosh::Output::Message { .. } => messages += 1,
                    bosh::Output::Ended { .. } => ended += 1,
                }
            }
            let due = session.next_timeout();
            assert!(!open.is_empty() || session.is_over() || due.is_some(), "nobody waits for the client");
            assert!(open.is_empty() || due.is_some(), "{open:?} wait for ever");
            if session.is_over() {
                assert!(open.is_empty(), "{open:?} have no answer");
                break;
            }
        }
    });
    assert!(messages > 5000 && ended > 1000, "{messages} messages, {ended} ends");
}
