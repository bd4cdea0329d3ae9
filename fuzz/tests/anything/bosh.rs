//! BOSH: bodies, and sessions of them.

use crate::chance::{anything, change, try_all};
use crate::check;
use fuzz::bosh::{Play, check_message};
use handler_core::channel::bosh::{self, Body};
use std::time::{Duration, Instant};

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
        check("bosh")(&bytes);
        good += usize::from(Body::parse(&bytes, 1000).is_ok());
        for binary in [false, true] {
            check_message(binary, &anything(rng, 50));
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
        let now = Instant::now();
        let settings = bosh::Settings { polling: rng.u16(..3), ..bosh::Settings::default() };
        let opening = format!(
            "<body rid='100' hold='{}' wait='{}' {} xmlns='{}'/>",
            rng.u8(..4),
            rng.u8(..30),
            ["ver='1.6'", "ack='1'", ""][rng.usize(..3)],
            bosh::NAMESPACE
        );
        let opening = Body::parse(opening.as_bytes(), 1000).unwrap();
        // Request 0 waits for the script.
        let mut play = Play::new(bosh::Session::begin(&settings, &opening, 0, "s", now).unwrap(), now);
        let mut rid = 101;
        if rng.bool() {
            play.session.opened(now);
            play.look();
            assert!(play.open.is_empty());
        }
        for request in 1..200 {
            match rng.u8(..10) {
                0..3 => play.send(&anything(rng, 20)),
                3 if !play.open.is_empty() => {
                    let mut open: Vec<_> = play.open.iter().copied().collect();
                    open.sort_unstable();
                    play.gone(open[rng.usize(..open.len())]);
                }
                4 => play.wait(Duration::from_millis(rng.u64(..9000))),
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
                    play.request(request, &text);
                }
            }
            play.look();
            let (open, due) = (&play.open, play.session.next_timeout());
            assert!(
                !open.is_empty() || play.session.is_over() || due.is_some(),
                "nobody waits for the client"
            );
            assert!(open.is_empty() || due.is_some(), "{open:?} wait for ever");
            if play.session.is_over() {
                assert!(open.is_empty(), "{open:?} have no answer");
                break;
            }
        }
        messages += play.messages;
        ended += usize::from(play.ended.is_some());
    });
    assert!(messages > 5000 && ended > 1000, "{messages} messages, {ended} ends");
}
