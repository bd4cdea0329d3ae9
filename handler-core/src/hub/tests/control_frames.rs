//! Pings and pongs of WebSockets: what the hub asks for is never held against the client.

use super::site::*;
use crate::hub::Limits;
use crate::worker::protocol::{Action, ChannelSpec, Registration};
use kennel_http::websocket::Session;
use std::time::Duration;

/// A site with one WebSocket, 7, that is pinged this often; and its number. `headers` come with its handshake.
fn site(ping: f64, headers: &[(&str, &str)]) -> (Site, u64) {
    let spec = ChannelSpec { path: "/ws".into(), ping, ..ChannelSpec::default() };
    let registration = Registration { channels: vec![spec], ..registration() };
    let mut site = Site::with(Limits::default(), 1, registration);
    site.handshake_with(7, "/ws", headers);
    match site.told(FIRST)[..] {
        [Told::Open { conn, .. }] => (site, conn),
        ref told => panic!("not opened: {told:?}"),
    }
}

/// Whether the client was told to go away, or the connection was closed.
fn is_closed(site: &Site) -> bool {
    site.closed(7) || site.frames(7).iter().any(|(first, _)| *first == 0x88)
}

/// The client answers the pings among what it got, and forgets what it got.
fn answer_pings(site: &mut Site) -> usize {
    assert!(!is_closed(site), "closed for answering pings");
    let frames = site.frames(7);
    site.replies.clear();
    let pings: Vec<_> = frames.into_iter().filter(|(first, _)| *first == 0x89).collect();
    pings.iter().for_each(|(_, payload)| site.frame(7, "/ws", 0x8a, payload));
    pings.len()
}

#[test]
fn a_fast_client_is_not_punished_for_answering_our_pings() {
    let (mut site, conn) = site(0.5, &[]);
    let mut pings = 0;
    for _ in 0..20_000 {
        site.frame(7, "/ws", 0x81, b"echo");
        site.act(FIRST, &[Action::Send { conn, binary: false, payload: b"echo" }]);
        pings += answer_pings(&mut site);
        let _ = site.told(FIRST);
        site.pass(Duration::from_micros(100));
    }
    assert!(
        pings > 2 * usize::from(Session::CONTROL_RATE) * 2,
        "{pings} pings in two seconds do not test anything"
    );
    // Answers to pings that were never sent are bounded.
    for _ in 0..=Session::CONTROL_BURST {
        site.frame(7, "/ws", 0x8a, b"arrived?");
    }
    assert_eq!(site.frames(7).last().unwrap().1[..2], 1008u16.to_be_bytes());
}

#[test]
fn what_a_dead_line_held_back_may_come_at_once() {
    let (mut site, _) = site(0.0, &[]);
    site.pass(seconds(30));
    for n in 0..300u16 {
        site.frame(7, "/ws", 0x89, &n.to_be_bytes());
    }
    site.pass(seconds(1));
    // The hub asks in between whether they arrive.
    let frames: Vec<_> = site.frames(7).into_iter().filter(|(first, _)| *first != 0x89).collect();
    let pongs: Vec<_> = (0..300u16).map(|n| (0x8a, n.to_be_bytes().to_vec())).collect();
    assert_eq!(frames, pongs, "each ping is answered, in order");
}

#[test]
fn a_ping_that_mongrel2_has_not_written_is_not_unanswered() {
    let (mut site, conn) = site(30.0, &[("DOWNLOAD_CREDITS", "102400")]);
    site.credits(7, site.sent(7).len());
    let message = vec![b'x'; 90_000];
    site.act(FIRST, &[Action::Send { conn, binary: true, payload: &message }]);
    // A client on a slow line: some bytes are written each half minute.
    for _ in 0..10 {
        site.pass(seconds(30));
        site.credits(7, 1000);
    }
    assert!(!is_closed(&site), "closed while it was reading");
    // It has everything, and is silent from now on.
    site.credits(7, 90_000);
    for _ in 0..4 {
        site.pass(seconds(30));
        site.credits(7, 2);
    }
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1006, .. }]));
}
