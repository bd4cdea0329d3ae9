//! What clients send: frames, conversations of them, and handshakes.

use crate::chance::{anything, change, try_all};
use crate::check;
use fuzz::talk::{HANDSHAKE_ANSWER, check_conversation, check_frames, handshake};
use kennel_http::websocket::frame::encode_masked;
use kennel_http::websocket::{Codec, Deflate, Opcode};

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
        check_frames(&stream, 1 << 16, || 1);
        check_frames(&stream, 1 << 16, || rng.usize(1..50));
    });
}

#[test]
fn conversations_of_any_frames_end_in_order() {
    let mut codec = Codec::new();
    try_all(5000, |rng| {
        let deflate = Deflate::new(rng.u8(9..16)).filter(|_| rng.bool());
        let mut frames = Vec::new();
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
            frames.push((rng.u8(..), payload));
        }
        check_conversation(deflate, &mut codec, frames.iter().map(|(flags, payload)| (*flags, &payload[..])));
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
        check("inflate")(&packed);
    });
}

#[test]
fn answers_to_a_clients_handshake_are_read_or_refused() {
    let established = handshake().finish(HANDSHAKE_ANSWER).unwrap().unwrap();
    assert_eq!(established.size, HANDSHAKE_ANSWER.len() - 4);
    try_all(10_000, |rng| {
        let mut bytes = HANDSHAKE_ANSWER.to_vec();
        change(rng, &mut bytes);
        check("handshake")(&bytes);
    });
}
