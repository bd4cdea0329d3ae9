//! Much to send to many: each gets it whole, at the pace of its server, and others are served in between.

use super::mongrel2::{self, Form, Reply};
use super::site::*;
use crate::hub::{Limits, LinkId};
use crate::worker::protocol::{Action, ChannelSpec, Registration};
use std::collections::{BTreeMap, BTreeSet};

/// A Mongrel2 with flow control: writes what it is sent and reports it.
#[derive(Default)]
struct Server {
    /// How many replies it has read.
    read: usize,
    /// Bytes that each client got.
    written: BTreeMap<u32, Vec<u8>>,
    /// Notices that it has not sent yet.
    notices: Vec<(u32, usize)>,
}

impl Server {
    /// Reads all replies, and returns how many deliveries they were.
    fn read(&mut self, site: &Site) -> usize {
        let mut deliveries = 0;
        for reply in &site.replies[self.read..] {
            for id in reply.ids.iter().filter(|_| !reply.extended) {
                self.written.entry(*id).or_default().extend_from_slice(&reply.payload);
                self.notices.push((*id, reply.payload.len()));
                deliveries += 1;
            }
        }
        self.read = site.replies.len();
        deliveries
    }

    /// Reports what it has written, but for those that do not read.
    fn report(&mut self, site: &mut Site, deaf: &BTreeSet<u32>) {
        for (id, size) in self.notices.extract_if(.., |(id, _)| !deaf.contains(id)) {
            site.hub.handle_message(
                LINK,
                &mongrel2::credits(Form::Tnetstring, SENDER, id.into(), size),
                site.now,
            );
        }
        site.turn();
    }
}

/// A room with this number of members, behind a server with flow control.
fn room(members: u32, limits: Limits) -> (Site, Server) {
    let spec = ChannelSpec { path: "/ws".into(), handler: 0, ping: 0.0, ..ChannelSpec::default() };
    let registration = Registration { channels: vec![spec], ..registration() };
    let mut site = Site::with(limits, 1, registration);
    let credits = [("DOWNLOAD_CREDITS", "102400")];
    for id in 1..=i64::from(members) {
        let opening = mongrel2::websocket(Form::Tnetstring, SENDER, id, "/ws", None, &credits, b"");
        site.hub.handle_message(LINK, &opening, site.now);
    }
    site.turn();
    let mut joined = 0;
    while joined < members as usize {
        let opened = site.told(FIRST);
        let joins = opened.iter().filter_map(|told| match told {
            Told::Open { conn, .. } => Some(Action::Join { conn: *conn, room: b"all" }),
            _ => None,
        });
        let joins: Vec<_> = joins.collect();
        assert!(!joins.is_empty());
        joined += joins.len();
        site.act(FIRST, &joins);
    }
    let mut server = Server::default();
    server.read(&site);
    server.report(&mut site, &BTreeSet::new());
    server.written.clear();
    (site, server)
}

fn publish(site: &mut Site, payload: &[u8]) {
    site.act(FIRST, &[Action::Publish { except: 0, binary: true, room: b"all", payload }]);
}

/// A WebSocket frame without a mask.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    kennel_http::websocket::frame::encode(&mut out, kennel_http::websocket::Opcode::Binary, payload, false);
    out
}

fn is_cancel(reply: &Reply) -> bool {
    reply.extended && reply.payload.ends_with(b"6:cancel,4:true!}]")
}

#[test]
fn large_messages_reach_every_member_whole_and_in_order_in_few_replies() {
    for (size, messages) in [(1 << 20, 1), (70_000, 5), (100_000, 20), (300, 700)] {
        let (mut site, mut server) = room(300, Limits::default());
        let mut expected = Vec::new();
        for n in 0..messages {
            let payload = vec![n as u8; size];
            publish(&mut site, &payload);
            expected.extend(frame(&payload));
        }
        let before = site.replies.len();
        let mut most = 0;
        for _ in 0..10_000 {
            most = most.max(server.read(&site));
            if server.notices.is_empty() {
                break;
            }
            server.report(&mut site, &BTreeSet::new());
        }
        assert!(most <= 1100, "{most} deliveries at once");
        assert_eq!(server.written.len(), 300);
        assert!(server.written.values().all(|bytes| *bytes == expected), "{size} x {messages}");
        let replies = site.replies.len() - before;
        let portions = expected.len().div_ceil(51_200) + messages;
        assert!(replies <= portions * 6, "{replies} replies for {portions} portions");
    }
}

#[test]
fn a_response_does_not_wait_behind_a_room() {
    let (mut site, mut server) = room(5000, Limits::default());
    for _ in 0..10 {
        publish(&mut site, &[b'x'; 1000]);
    }
    let before = server.read(&site);
    assert!(before <= 1100, "{before} deliveries are ahead of the response");
    site.request(9999, "GET /nowhere");
    assert_eq!(site.statuses(9999), [404], "it goes at once");
    while !server.notices.is_empty() {
        server.report(&mut site, &BTreeSet::new());
        assert!(server.read(&site) <= 1100);
    }
    let expected = frame(&[b'x'; 1000]).repeat(10);
    let whole = (1..=5000).filter(|id| server.written[id] == expected).count();
    assert_eq!(whole, 5000);
}

#[test]
fn members_that_do_not_read_hold_up_the_others_for_a_moment_only() {
    let (mut site, mut server) = room(600, Limits::default());
    let deaf: BTreeSet<u32> = (1..=300).collect();
    let payload = vec![b'x'; 500_000];
    publish(&mut site, &payload);
    for _ in 0..100 {
        server.read(&site);
        server.report(&mut site, &deaf);
        site.pass(millis(20));
    }
    let expected = frame(&payload);
    let whole = server.written.values().filter(|bytes| **bytes == expected).count();
    assert_eq!(whole, 300, "two seconds are enough for all that read");
    site.pass(seconds(151));
    assert_eq!(site.hub.counters().overflowed, 300, "the others are given up at last");
    assert_eq!(site.replies.iter().filter(|reply| is_cancel(reply)).count(), 300);
}

#[test]
fn nothing_is_handed_to_a_server_that_takes_nothing() {
    let limits = Limits { spill: 1 << 20, ..Limits::default() };
    let (mut site, mut server) = room(200, limits);
    site.hub.handle_backlog(LinkId(0), 1 << 20);
    for _ in 0..20 {
        publish(&mut site, &[b'x'; 100_000]);
    }
    site.request(9999, "GET /nowhere");
    site.pass(millis(50));
    assert_eq!(server.read(&site), 0);
    site.hub.handle_backlog(LinkId(0), 0);
    site.turn();
    assert_eq!(site.statuses(9999), [404], "the response is the first");
    loop {
        server.read(&site);
        if server.notices.is_empty() {
            break;
        }
        server.report(&mut site, &BTreeSet::new());
    }
    let expected = frame(&[b'x'; 100_000]).repeat(20);
    let whole = (1..=200).filter(|id| server.written[id] == expected).count();
    assert_eq!(whole, 200);
}

#[test]
fn what_waits_for_a_client_that_has_left_is_freed_at_its_notice() {
    let mut site = Site::new(1);
    site.request_with(7, "GET /a", &[("DOWNLOAD_CREDITS", "102400")]);
    site.respond(FIRST, 1, &"x".repeat(3_000_000));
    let asked = |site: &Site| site.replies.iter().filter(|r| r.extended && r.ids == [7]).count();
    assert_eq!(asked(&site), 0);
    site.pass(millis(1600));
    assert!(asked(&site) >= 1, "no credits came, so the server is asked about the client");
    site.disconnect(7);
    assert_eq!(site.hub.load(), (0, 0));
    site.settles();
}

#[test]
fn when_too_much_waits_for_all_clients_together_the_slowest_are_dropped() {
    let limits = Limits { server_output: 10 << 20, ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    for id in 1..=20 {
        site.request_with(id, "GET /a", &[("DOWNLOAD_CREDITS", "102400")]);
        site.respond(FIRST, id as u64, &"x".repeat(1 << 20));
        site.pass(millis(10));
    }
    site.pass(seconds(3));
    let dropped = site.hub.counters().overflowed;
    assert!((10..=12).contains(&dropped), "{dropped} of 20 had to go");
    assert_eq!(site.hub.load().0 as u64, 20 - dropped);
    let cancelled: Vec<_> = site.replies.iter().filter(|reply| is_cancel(reply)).map(|r| r.ids[0]).collect();
    assert_eq!(cancelled, (1..=dropped as u32).collect::<Vec<_>>(), "those that were silent for longest");
}

#[test]
fn a_client_that_is_cut_off_gets_nothing_from_behind_the_gap() {
    let limits = Limits { connection_output: 200 << 10, ..Limits::default() };
    let spec = ChannelSpec { path: "/ws".into(), ping: 0.0, ..ChannelSpec::default() };
    let registration = Registration { channels: vec![spec], ..registration() };
    let mut site = Site::with(limits, 1, registration);
    let credits = [("DOWNLOAD_CREDITS", "102400")];
    site.message(&mongrel2::websocket(Form::Tnetstring, SENDER, 7, "/ws", None, &credits, b""));
    let [Told::Open { conn, .. }] = site.told(FIRST)[..] else { panic!("not opened") };
    let messages: Vec<Vec<u8>> =
        [150 << 10, 150 << 10, 150 << 10, 10, 10].iter().map(|size| vec![b'x'; *size]).collect();
    let mut batch = vec![Action::Join { conn, room: b"r" }];
    batch.extend(messages.iter().map(|payload| Action::Publish {
        except: 0,
        binary: false,
        room: b"r",
        payload,
    }));
    site.act(FIRST, &batch);
    while !site.closed(7) {
        let size = site.to(7).last().map_or(1, |reply| reply.payload.len());
        site.credits(7, size);
        site.turn();
    }
    let frames: Vec<_> = site.frames(7).into_iter().map(|(first, _)| first).collect();
    assert_eq!((frames, site.hub.counters().overflowed), (vec![0x88], 1), "the first messages were dropped");
}
