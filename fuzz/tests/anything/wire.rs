//! What Mongrel2, or whoever speaks in its place, sends.

use crate::chance::{anything, change, try_all};
use crate::check;
use fastrand::Rng;
use fuzz::wire::{captures, heard};
use mongrel2_wire::tnetstring::Value;
use mongrel2_wire::zmtp::{self, Role};

#[test]
fn messages_with_something_changed_are_read_or_refused() {
    let captures = captures();
    assert_eq!(captures.len(), 231);
    captures.iter().for_each(|message| check("message")(message));
    try_all(20_000, |rng| {
        let mut message = captures[rng.usize(..captures.len())].clone();
        change(rng, &mut message);
        check("message")(&message);
    });
}

#[test]
fn header_blocks_and_values_of_any_bytes_are_read_or_refused() {
    try_all(20_000, |rng| {
        let block = anything(rng, 200);
        ["headers", "tnetstring", "fields"].iter().for_each(|target| check(target)(&block));
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
        check("tnetstring")(&written);
    });
}

#[test]
fn a_peer_that_speaks_anything_is_understood_or_given_up() {
    let mut stream = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL".to_vec();
    stream.resize(64, 0);
    stream.extend(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH");
    let captures = captures();
    captures[..20].iter().for_each(|message| zmtp::encode(&mut stream, message));
    assert_eq!(heard(&stream, Role::Pull, 7), captures[..20].iter().map(Vec::len).sum::<usize>());
    try_all(2000, |rng| {
        let mut bytes = stream.clone();
        change(rng, &mut bytes);
        assert!(heard(&bytes, Role::Pull, rng.usize(100..5000)) <= bytes.len());
    });
}
