//! Limits per client address, and proxies that name the client.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::channel::line::PROTOCOL;
use crate::hub::Limits;
use crate::worker::protocol::{ChannelSpec, Registration};
use kennel_http::proxies::TrustedProxies;

const ANN: (&str, &str) = ("REMOTE_ADDR", "203.0.113.7");
const BOB: (&str, &str) = ("REMOTE_ADDR", "203.0.113.8");
const EVENTS: (&str, &str) = ("accept", "text/event-stream");
const BOSH: &[u8] = b"<body rid='1' ver='1.11' xmlns='http://jabber.org/protocol/httpbind'/>";

/// A site with a channel, `GET /a`, `POST /b`, and `POST /s` that reads bodies as they arrive.
fn site(limits: Limits) -> Site {
    let mut registration = Registration {
        channels: vec![ChannelSpec { path: "/chat".into(), ..ChannelSpec::default() }],
        ..registration()
    };
    registration.routes.push(route(&["POST"], "/s", 3));
    registration.routes[3].streams = true;
    let mut site = Site::with(limits, 1, registration);
    site.hub.set_session_key(&[7; 32]);
    site.hub.set_body_folder("/var/own".into());
    site.hub.set_upload_store(LINK, "/var/spool".into());
    site
}

fn of_sessions(sessions_per_address: usize) -> Site {
    site(Limits { sessions_per_address, ..Limits::default() })
}

fn proxied(limits: Limits) -> Site {
    let mut site = site(limits);
    site.hub.set_trusted_proxies(TrustedProxies::parse(["127.0.0.1"]).unwrap());
    site
}

/// Opens a session for polls by this connection, and uses it if told so: the statuses that the connection got.
fn open(site: &mut Site, id: i64, from: &[(&str, &str)], used: bool) -> Vec<u16> {
    site.request_with(id, "POST /chat", from);
    site.told(FIRST);
    let statuses = site.statuses(id as u32);
    if used {
        let ticket = ticket(site, id as u32);
        poll(site, id + 1000, &ticket);
    }
    statuses
}

fn ticket(site: &Site, id: u32) -> String {
    let opened: serde_json::Value = serde_json::from_str(&site.answers(id)[0].1).unwrap();
    opened["session"].as_str().unwrap().to_owned()
}

fn poll(site: &mut Site, id: i64, ticket: &str) {
    let query = format!("session={ticket}");
    let message = mongrel2::http(Form::Tnetstring, SENDER, id, "GET /chat", &[("QUERY", &query)], b"");
    site.message(&message);
}

#[test]
fn sessions_of_one_address_are_bounded_and_those_that_are_used_stay() {
    let mut site = of_sessions(3);
    assert_eq!(open(&mut site, 1, &[ANN], true), [201]);
    for id in 2..100 {
        assert_eq!(
            open(&mut site, id, &[ANN], false),
            [201],
            "it takes the place of one that was never polled"
        );
    }
    assert_eq!(site.hub.live(), 3);
    assert_eq!(open(&mut site, 100, &[BOB], false), [201]);
    let (used, early, late) = (ticket(&site, 1), ticket(&site, 2), ticket(&site, 99));
    poll(&mut site, 200, &early);
    assert_eq!(site.statuses(200), [410]);
    poll(&mut site, 201, &late);
    assert!(site.statuses(201).is_empty(), "it waits for a message");
    // The third is the last one that can go.
    assert_eq!(open(&mut site, 101, &[ANN], true), [201]);
    for (id, more, body) in
        [(102, vec![ANN], &b""[..]), (103, vec![ANN, EVENTS], b""), (104, vec![ANN], BOSH)]
    {
        let line = if more.len() == 2 { "GET /chat" } else { "POST /chat" };
        site.message(&mongrel2::http(Form::Json, SENDER, id, line, &more, body));
        assert_eq!(site.statuses(id as u32), [503], "{more:?}");
    }
    site.handshake_with(105, "/chat", &[ANN, ("sec-websocket-protocol", PROTOCOL)]);
    assert_eq!(site.statuses(105), [503]);
    assert_eq!(open(&mut site, 106, &[BOB], false), [201]);
    let query = format!("session={used}");
    site.request_with(107, "DELETE /chat", &[("QUERY", &query)]);
    assert_eq!(open(&mut site, 108, &[ANN], true), [201], "one has ended");
}

#[test]
fn an_ipv6_network_is_one_client_and_local_peers_are_not_counted_without_proxies() {
    let mut site = of_sessions(1);
    let address = |text| [("REMOTE_ADDR", text)];
    assert_eq!(open(&mut site, 1, &address("2001:db8:0:1::1"), true), [201]);
    assert_eq!(open(&mut site, 2, &address("2001:db8:0:1:ffff::2"), false), [503]);
    assert_eq!(open(&mut site, 3, &address("2001:db8:0:2::1"), true), [201]);
    for (at, peer) in ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd00::1"].iter().enumerate() {
        for n in 0..3 {
            assert_eq!(open(&mut site, 10 + 10 * at as i64 + n, &address(peer), true), [201], "{peer}");
        }
    }
}

#[test]
fn a_trusted_proxy_brings_many_clients_and_is_one_itself() {
    let mut site = proxied(Limits { sessions_per_address: 1, ..Limits::default() });
    let by = |client| [("REMOTE_ADDR", "127.0.0.1"), ("x-forwarded-for", client)];
    assert_eq!(open(&mut site, 1, &by("203.0.113.7"), true), [201]);
    assert_eq!(open(&mut site, 2, &by("203.0.113.7"), false), [503]);
    assert_eq!(open(&mut site, 3, &by("203.0.113.8"), true), [201]);
    // A stranger names others in vain.
    let stranger = |client| [("REMOTE_ADDR", "203.0.113.9"), ("x-forwarded-for", client)];
    assert_eq!(open(&mut site, 4, &stranger("203.0.113.10"), true), [201]);
    assert_eq!(open(&mut site, 5, &stranger("203.0.113.11"), false), [503]);
    // Local addresses are counted, too, since the proxies are known.
    assert_eq!(open(&mut site, 6, &by("127.0.0.1"), true), [201]);
    assert_eq!(open(&mut site, 7, &by("127.0.0.1"), false), [503]);
}

#[test]
fn bodies_of_one_address_that_arrive_at_once_are_bounded() {
    let limits = || Limits { bodies_per_address: 2, ..Limits::default() };
    let length = ("content-length", "700000");
    for by_parts in [true, false] {
        let mut site = site(limits());
        let begin = |site: &mut Site, id: i64, from, line: &str| {
            let name = format!("up.{id}");
            let how =
                if by_parts { ("UPLOAD_STREAM", "0") } else { ("x-mongrel2-upload-start", name.as_str()) };
            site.request_with(id, line, &[length, how, from]);
            site.statuses(id as u32)
        };
        assert!(begin(&mut site, 1, ANN, "POST /b").is_empty());
        assert!(begin(&mut site, 2, ANN, "POST /s").is_empty());
        assert_eq!(begin(&mut site, 3, ANN, "POST /b"), [503]);
        assert_eq!(begin(&mut site, 4, ANN, "POST /s"), [503]);
        assert!(site.closed(3) && site.closed(4), "nothing behind it is taken for a request");
        assert!(begin(&mut site, 5, BOB, "POST /b").is_empty());
        let local = ("REMOTE_ADDR", "127.0.0.1");
        for id in 10..20 {
            assert!(begin(&mut site, id, local, "POST /b").is_empty());
        }
        site.disconnect(1);
        assert!(begin(&mut site, 6, ANN, "POST /b").is_empty(), "one has ended");
        assert_eq!(begin(&mut site, 7, ANN, "POST /b"), [503]);
    }
}

/// Mongrel2 does not report the end of every connection.
#[test]
fn a_file_that_is_not_there_any_more_does_not_count() {
    let mut site = site(Limits { bodies_per_address: 1, ..Limits::default() });
    let begin = |site: &mut Site, id: i64| {
        let name = format!("up.{id}");
        let more = [("content-length", "70000"), ("x-mongrel2-upload-start", &*name), ANN];
        site.request_with(id, "POST /b", &more);
        site.statuses(id as u32)
    };
    assert!(begin(&mut site, 1).is_empty());
    assert_eq!(begin(&mut site, 2), [503]);
    site.disconnect(2);
    site.sizes.insert("/var/spool/up.1".into(), None);
    site.pass(seconds(2));
    assert!(begin(&mut site, 3).is_empty());
}

#[test]
fn a_websocket_behind_a_proxy_is_judged_by_what_its_page_has_asked_for() {
    let mut site = proxied(Limits::default());
    let more = [
        ("REMOTE_ADDR", "127.0.0.1"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "example.org"),
        ("host", "inner:6767"),
        ("origin", "https://example.org"),
    ];
    site.handshake_with(7, "/chat", &more);
    assert!(site.text(7).starts_with("HTTP/1.1 101 "), "{}", site.text(7));
    // The next hub adopts it by the headers that come with each frame.
    let mut next = proxied(Limits::default());
    let frame = mongrel2::websocket(Form::Tnetstring, SENDER, 7, "/chat", Some(0x81), &more, b"hello");
    next.message(&frame);
    let told = next.told(FIRST);
    assert!(matches!(told[..], [Told::Open { resumed: true, .. }, Told::Message { .. }]), "{told:?}");
    let mut stranger = proxied(Limits::default());
    let more = more.map(|(name, value)| if name == "REMOTE_ADDR" { BOB } else { (name, value) });
    stranger.handshake_with(7, "/chat", &more);
    assert_eq!(stranger.statuses(7), [403]);
}
