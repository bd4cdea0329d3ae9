//! What workers say, and the hub between them and servers.

use crate::chance::{change, try_all};
use crate::check;
use fastrand::Rng;
use fuzz::wire::captures;
use fuzz::work::{SESSION_KEY, Site};
use handler_core::channel::ticket::Tickets;
use handler_core::worker::protocol::{Action, encode_action};
use mongrel2_wire::netstring;
use std::time::Duration;

#[test]
fn frames_between_hub_and_worker_are_read_or_refused() {
    let all = (fuzz::target("orders").unwrap().seeds)().concat();
    try_all(20_000, |rng| {
        let mut bytes = all.clone();
        change(rng, &mut bytes);
        check("orders")(&bytes);
    });
}

/// A request to the channel by a client of some session, or by one that opens one.
fn of_a_session(rng: &mut Rng) -> Vec<u8> {
    // Numbers as the hub gives them: a generation, and a place in the table.
    let session = Tickets::new(&SESSION_KEY).write(rng.u64(1..30) << 22 | rng.u64(..8));
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
    let (mut replies, mut opened) = (0, 0);
    try_all(300, |rng| {
        let mut site = Site::new();
        for _ in 0..100 {
            site.now += Duration::from_millis(rng.u64(..2000));
            if rng.u8(..3) == 0 {
                let mut message = of_a_session(rng);
                if rng.u8(..3) == 0 {
                    change(rng, &mut message);
                }
                site.message(&message);
            }
            if rng.u8(..4) == 0 && !site.workers.is_empty() {
                let worker = site.workers[rng.usize(..site.workers.len())];
                let (mut batch, serial) = (Vec::new(), rng.u64(..6));
                encode_action(&mut batch, &Action::Respond { serial, status: 200, head: b"", body: b"x" });
                encode_action(&mut batch, &Action::Send { conn: serial, binary: false, payload: b"x" });
                encode_action(&mut batch, &Action::CloseConn { conn: serial, code: 1000, reason: b"x" });
                if rng.u8(..3) == 0 {
                    change(rng, &mut batch);
                }
                site.batch(worker, &batch, serial);
            } else {
                let mut message = captures[rng.usize(..captures.len())].clone();
                if rng.bool() {
                    change(rng, &mut message);
                }
                site.message(&message);
            }
            site.finish_turn();
        }
        replies += site.replies;
        opened += site.hub.counters().opened;
    });
    assert!(replies > 1000 && opened > 1000, "{replies} replies, {opened} connections");
}
