//! A door for chance and for measurements: what reads bytes from outside, with what must hold whatever they are.
//!
//! Each function takes any bytes, and panics when a promise is broken. The crate `fuzz` has them as targets.

mod connections;
mod exchange;

pub use connections::{connections, replies};
pub use exchange::Exchange;

use crate::body::Decoder;
use crate::frames::Frames;
use crate::head::{Framing, Head, Rules, Search, find_end, framing};
use crate::message::{About, To, header_block};
use crate::peer::Peer;
use crate::socket_message::{self, Message};
use mongrel2_conf::model::{Handler, Protocol};
use mongrel2_wire::{Envelope, Headers};

/// Heads of requests, and what handlers get of them. The first byte says in which pieces they come.
pub fn heads(bytes: &[u8]) {
    let Some((first, input)) = bytes.split_first() else { return };
    let whole = find_end(input, 0);
    let mut from = 0;
    for end in (0..input.len()).step_by(usize::from(*first) + 1).chain([input.len()]) {
        match find_end(&input[..end], from) {
            Search::Goes(next) => from = next,
            found => return assert_eq!(found, whole),
        }
    }
    let Search::Ends(end) = whole else { return assert_eq!(whole, Search::Goes(from)) };
    let rules = Rules { header_count: 100, relaxed: first % 2 == 0 };
    let Ok(head) = Head::parse(&input[..end], rules) else { return };
    let _ = (framing(&head), head.is_websocket(), head.keeps_alive(), head.host());
    assert!(head.fields().count() <= 100 && !head.path().contains(&b' '));
    for protocol in [Protocol::Json, Protocol::Tnetstring] {
        let handler = Handler { send_ident: "m2".into(), protocol, ..blank_handler() };
        let address = "127.0.0.1".into();
        let peer = Peer { address, port: 1, is_tls: false, certificate: None };
        let about = About {
            peer: &peer,
            pattern: b"/",
            method: head.method(),
            more: &[],
            keeps_forwarded_for: false,
        };
        let message = To { handler: &handler, id: 1 }.request(&about, &head, input);
        let envelope = Envelope::parse(&message).expect("a message");
        assert_eq!((envelope.path, envelope.body), (head.path(), input));
        let values = |name: &[u8]| envelope.headers.get(name).map(|values| values.iter().count());
        for (name, _) in head.fields() {
            let is_ours = name.starts_with(b"x-mongrel2-") || name == b"x-forwarded-for";
            assert!(is_ours || values(name) == Some(head.values(name).count()), "{}", name.escape_ascii());
        }
        assert_eq!((values(b"METHOD"), values(b"x-forwarded-for")), (Some(1), Some(1)));
    }
    let block = header_block(&head);
    let headers = Headers::new(mongrel2_wire::Protocol::Tnetstring, &block);
    assert!(headers.iter().all(|header| header.is_ok()));
}

fn blank_handler() -> Handler {
    Handler {
        send_spec: "ipc://send".into(),
        send_ident: String::new(),
        recv_spec: "ipc://recv".into(),
        recv_ident: String::new(),
        raw_payload: false,
        protocol: Protocol::Json,
    }
}

/// Chunks: the same in whatever pieces they come. The first two bytes say in which, and how many bytes are wanted.
pub fn bodies(bytes: &[u8]) {
    let [piece, most, input @ ..] = bytes else { return };
    let read = |piece: usize, most: usize| {
        let (mut decoder, mut body, mut from) = (Decoder::new(Framing::Chunked), Vec::new(), 0);
        for end in (0..input.len()).step_by(piece).chain([input.len()]) {
            loop {
                let Ok(step) = decoder.step(&input[from..end], most) else { return Err(body) };
                from += step.used;
                assert!(step.data.len() <= most && from <= end);
                body.extend_from_slice(step.data);
                if step.is_last {
                    return Ok((body, Some(from)));
                }
                if step.used == 0 {
                    break;
                }
            }
        }
        Ok((body, None))
    };
    assert_eq!(read(usize::from(*piece) + 1, usize::from(*most) + 1), read(usize::MAX, usize::MAX));
}

/// WebSocket frames: the same in whatever pieces they come. The first byte says in which.
pub fn frames(bytes: &[u8]) {
    const MOST: usize = 1000;
    let Some((piece, input)) = bytes.split_first() else { return };
    let read = |piece: usize| {
        let (mut frames, mut found, mut from) = (Frames::default(), Vec::new(), 0);
        for end in (0..input.len()).step_by(piece).chain([input.len()]) {
            loop {
                let Ok((used, frame)) = frames.next(&input[from..end], MOST) else { return (found, true) };
                from += used;
                assert!(from <= end && frame.as_ref().is_none_or(|frame| frame.payload.len() <= MOST));
                found.extend(frame.map(|frame| (frame.flags, frame.payload)));
                if used == 0 {
                    break;
                }
            }
        }
        (found, false)
    };
    assert_eq!(read(usize::from(*piece) + 1), read(usize::MAX));
}

/// Messages of JSON and XML sockets.
pub fn socket_messages(bytes: &[u8]) {
    match socket_message::parse(bytes) {
        Ok(Message::Json { path, body }) => assert_eq!([path, body].join(&b' '), bytes),
        Ok(Message::Xml { path, body }) => assert!(body == bytes && body.starts_with(path)),
        Ok(Message::Ping | Message::Policy) | Err(_) => {}
    }
}
