//! What visitors carry, and what the clients of a rehearsal read.

use crate::chance::{anything, change, try_all};
use handler_core::rehearsal::Answer;
use handler_core::sessions::{ENTROPY, Jar, Keys, Options, Secret, Visit, csrf};

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
