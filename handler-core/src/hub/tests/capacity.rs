//! What a server holds without harm: beyond it no new live connection begins, and all others go on.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::channel::line::PROTOCOL;
use crate::hub::{Capacity, Limits, LinkId};
use crate::worker::protocol::{Action, ChannelSpec, Registration};

fn channels() -> Registration {
    let channel =
        |path: &str, handler| ChannelSpec { path: path.into(), handler, ping: 0.0, ..ChannelSpec::default() };
    let ask = ChannelSpec { asks: true, ..channel("/ask", 2) };
    Registration { channels: vec![channel("/ws", 0), channel("@chat", 1), ask], ..registration() }
}

/// A site that may have this number of live connections.
fn site(connections: usize) -> Site {
    let limits = Limits { connections, ..Limits::default() };
    let mut site = Site::with(limits, 1, channels());
    site.hub.set_session_key(&[7; 32]);
    site
}

/// Opens WebSockets with the numbers from `first` on, and looks at the answer to each.
fn fill(site: &mut Site, first: i64, count: i64) {
    for id in first..first + count {
        site.handshake(id, "/ws");
        assert!(site.text(id as u32).starts_with("HTTP/1.1 101 "), "{id}: {}", site.text(id as u32));
    }
    let _ = site.told(FIRST);
}

fn refused(site: &Site, id: u32) -> bool {
    let text = site.text(id);
    let is_full = text.starts_with("HTTP/1.1 503 ");
    assert!(!is_full || text.contains("\r\nRetry-After: 10\r\n"), "{text}");
    is_full && site.closed(id)
}

#[test]
fn one_more_than_the_bound_is_refused_until_one_has_left() {
    let mut site = site(40);
    fill(&mut site, 1, 40);
    for (id, path) in [(41, "/ws"), (42, "/ask")] {
        site.handshake(id, path);
        assert!(refused(&site, id as u32), "{path}: {}", site.text(id as u32));
    }
    assert!(site.told(FIRST).is_empty(), "the script hears nothing of it");
    assert_eq!(site.hub.counters().overloaded, 2);
    site.request(43, "GET /a");
    let serial = site.serials(0)[0];
    site.respond(FIRST, serial, "plain HTTP goes on");
    assert_eq!(site.statuses(43), [200]);
    site.frame(1, "/ws", 0x81, b"so do those that are open");
    assert_eq!(site.told(FIRST).len(), 1);

    site.disconnect(7);
    let _ = site.told(FIRST);
    fill(&mut site, 44, 1);
    site.handshake(45, "/ws");
    assert!(refused(&site, 45));
}

#[test]
fn a_handshake_that_the_script_decides_about_counts_from_its_beginning() {
    let mut site = site(1);
    site.handshake(1, "/ask");
    site.handshake(2, "/ws");
    assert!(refused(&site, 2));
    let Some(Told::Open { conn, .. }) = site.told(FIRST).into_iter().next() else { panic!("not asked") };
    site.act(FIRST, &[Action::Refuse { conn, status: 401, head: b"", body: b"" }]);
    fill(&mut site, 3, 1);
}

#[test]
fn sockets_that_do_not_fit_are_closed() {
    let mut site = site(2);
    fill(&mut site, 1, 2);
    site.json(3, "hello");
    assert!(site.closed(3) && site.sent(3).is_empty());
    assert!(site.told(FIRST).is_empty());
}

#[test]
fn new_sessions_are_refused_and_those_that_are_open_go_on() {
    let mut site = site(3);
    let ask = |site: &mut Site, id: i64, line: &str, more: &[(&str, &str)]| {
        site.message(&mongrel2::http(Form::Tnetstring, SENDER, id, line, more, b""));
    };
    ask(&mut site, 1, "POST /ws", &[]);
    let (status, opened) = site.answers(1).remove(0);
    assert_eq!(status, 201, "{opened}");
    let opened: serde_json::Value = serde_json::from_str(&opened).unwrap();
    let session = format!("session={}", opened["session"].as_str().unwrap());
    let _ = site.told(FIRST);
    fill(&mut site, 11, 3);
    for (id, line, more) in [(2, "POST /ws", &[][..]), (3, "GET /ws", &[("accept", "text/event-stream")])] {
        ask(&mut site, id, line, more);
        assert!(refused(&site, id as u32), "{line}: {}", site.text(id as u32));
    }
    site.message(&mongrel2::http(
        Form::Tnetstring,
        SENDER,
        4,
        "POST /ws",
        &[],
        b"<body xmlns='http://jabber.org/protocol/httpbind' rid='7' hold='1' wait='5' ver='1.6'/>",
    ));
    assert!(refused(&site, 4), "{}", site.text(4));
    ask(&mut site, 5, "GET /ws", &[("QUERY", &format!("{session}&wait=0"))]);
    assert_eq!(site.statuses(5), [200], "a poll of a session that is open");
}

#[test]
fn streams_and_polls_hold_connections_too() {
    let mut site = site(3);
    for id in 1..=3 {
        site.message(&mongrel2::http(
            Form::Tnetstring,
            SENDER,
            id,
            "GET /ws",
            &[("accept", "text/event-stream")],
            b"",
        ));
        site.pass(seconds(1));
        assert!(site.text(id as u32).starts_with("HTTP/1.1 200 "), "{id}: {}", site.text(id as u32));
    }
    site.handshake(4, "/ws");
    assert!(refused(&site, 4), "{}", site.text(4));
    site.disconnect(1);
    site.pass(seconds(1));
    fill(&mut site, 5, 1);
}

#[test]
fn websockets_that_were_open_before_this_hub_are_adopted_whatever_their_number() {
    let mut site = site(2);
    for id in 1..=5 {
        site.frame(id, "/ws", 0x81, b"hello");
        assert!(!site.closed(id as u32));
    }
    assert_eq!(site.hub.live(), 5);
    site.handshake(6, "/ws");
    assert!(refused(&site, 6));
}

#[test]
fn a_servers_capacity_leaves_room_for_plain_http_and_outlives_its_runs() {
    let mut site = site(1000);
    let capacity = Capacity::of_places(64);
    site.hub.set_capacity(LINK, Some(capacity));
    assert_eq!((capacity.room(), capacity.live()), (16, 48));
    assert_eq!(site.hub.most_live(LINK), 48);
    fill(&mut site, 1, 48);
    site.handshake(49, "/ws");
    assert!(refused(&site, 49));
    site.hub.handle_server_down(LINK, site.now);
    site.hub.handle_server_up(LINK, b"");
    site.turn();
    let _ = site.told(FIRST);
    assert_eq!(site.hub.most_live(LINK), 48);
    site.replies.clear();
    fill(&mut site, 1, 48);
    site.handshake(49, "/ws");
    assert!(refused(&site, 49));
}

#[test]
fn each_server_has_a_bound_of_its_own() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let mut site = Site::empty(limits, 2, vec![app(1)]);
    for link in [LINK, LinkId(1)] {
        site.hub.handle_server_up(link, b"");
    }
    site.load(APP, &channels());
    fill(&mut site, 1, 2);
    let handshake = |id| mongrel2::websocket(Form::Tnetstring, "other", id, "/ws", None, &[], b"");
    for id in [11, 12, 13] {
        site.hub.handle_message(LinkId(1), &handshake(id), site.now);
        site.turn();
    }
    assert!(site.text(12).starts_with("HTTP/1.1 101 "), "{}", site.text(12));
    assert!(refused(&site, 13));
}

#[test]
fn connections_that_only_the_server_knows_count_beyond_the_room_for_them() {
    let mut site = site(1000);
    site.hub.set_capacity(LINK, Some(Capacity::of_places(64)));
    fill(&mut site, 1, 40);
    site.pass(seconds(46));
    // 40 of the hub's, and 24 of others: 16 have room of their own.
    let present: Vec<u32> = (1..=64).collect();
    site.hub.handle_roll_call(LINK, &present, site.now);
    site.turn();
    site.handshake(65, "/ws");
    assert!(refused(&site, 65));
    site.pass(seconds(46));
    let present: Vec<u32> = (1..=56).collect();
    site.hub.handle_roll_call(LINK, &present, site.now);
    site.turn();
    fill(&mut site, 66, 8);
    site.handshake(74, "/ws");
    assert!(refused(&site, 74));
}

/// Several within the time in which requests that wait are not counted anew.
#[test]
fn websockets_of_kennel_js_count_at_once() {
    let mut site = site(20);
    for id in 1..=20 {
        site.handshake_with(id, "/ws", &[("sec-websocket-protocol", PROTOCOL)]);
        assert!(site.sent(id as u32).starts_with(b"HTTP/1.1 101 "), "{id}");
    }
    site.handshake_with(21, "/ws", &[("sec-websocket-protocol", PROTOCOL)]);
    assert!(refused(&site, 21), "{}", site.text(21));
}
