//! Live connections: opened once, told in order, closed once, whatever becomes of anybody.

use super::site::*;
use crate::hub::{Effect, Hub, Limits};
use crate::worker::protocol::{
    Action, ChannelSpec, Ids, Question, Registration, Slow, encode_action, encode_ids,
};
use crate::worker::pulse::Pulse;

fn channel(path: &str, handler: u32) -> ChannelSpec {
    ChannelSpec { path: path.into(), handler, ping: 0.0, ..ChannelSpec::default() }
}

/// `/ws`, `@chat`, `<chat`, and `/straight` with straight-line code.
fn channels() -> Registration {
    let straight = ChannelSpec { straight: true, ..channel("/straight", 3) };
    let channels = vec![channel("/ws", 0), channel("@chat", 1), channel("<chat", 2), straight];
    Registration { channels, ..registration() }
}

fn site(workers: u32) -> Site {
    Site::with(Limits::default(), workers, channels())
}

fn conn_of(told: &[Told]) -> u64 {
    match told.first() {
        Some(Told::Open { conn, .. }) => *conn,
        other => panic!("no open: {other:?}"),
    }
}

/// Opens a WebSocket at the first worker and forgets about it; its number.
fn open(site: &mut Site, id: i64) -> u64 {
    site.handshake(id, "/ws");
    conn_of(&site.told(FIRST))
}

fn message(conn: u64, payload: &[u8]) -> impl Fn(&Told) -> bool {
    move |told| matches!(told, Told::Message { conn: c, payload: p, .. } if *c == conn && p == payload)
}

#[test]
fn a_websocket_is_accepted_opened_heard_and_closed() {
    let mut site = site(1);
    site.handshake(7, "/ws");
    assert!(site.text(7).starts_with("HTTP/1.1 101 "), "{}", site.text(7));
    let told = site.told(FIRST);
    let conn = conn_of(&told);
    assert!(matches!(&told[..], [Told::Open { fresh: true, resumed: false, path, .. }] if path == "/ws"));

    site.frame(7, "/ws", 0x81, b"hello");
    site.frame(7, "/ws", 0x82, &[0xff]);
    let told = site.told(FIRST);
    assert!(message(conn, b"hello")(&told[0]) && matches!(told[1], Told::Message { binary: true, .. }));

    site.act(FIRST, &[Action::Send { conn, binary: false, payload: b"hi" }]);
    assert_eq!(site.frames(7), [(0x81, b"hi".to_vec())]);
    site.frame(7, "/ws", 0x88, &[0x03, 0xe8]);
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1000, .. }]));
    assert_eq!(site.frames(7)[1], (0x88, vec![0x03, 0xe8]));
    assert!(site.closed(7));
    site.settles();
}

#[test]
fn a_client_that_vanishes_is_closed_once() {
    let mut site = site(1);
    let _ = open(&mut site, 7);
    site.disconnect(7);
    site.disconnect(7);
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1006, .. }]));
    assert!(!site.closed(7), "nobody is there to be closed");
    site.settles();
}

#[test]
fn our_close_waits_for_the_clients_and_then_ends() {
    for answers in [true, false] {
        let mut site = site(1);
        let conn = open(&mut site, 7);
        site.act(FIRST, &[Action::CloseConn { conn, code: 4001, reason: b"enough" }]);
        site.act(FIRST, &[Action::Send { conn, binary: false, payload: b"late" }]);
        assert_eq!(site.frames(7), [(0x88, b"\x0f\xa1enough".to_vec())]);
        assert!(!site.closed(7));
        if answers {
            site.frame(7, "/ws", 0x88, &[0x0f, 0xa1]);
        } else {
            site.pass(seconds(5));
        }
        assert!(site.closed(7));
        assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 4001, .. }]));
        site.settles();
    }
}

#[test]
fn bad_frames_close_with_their_code() {
    let cases: [(u8, &[u8], u16); 5] = [
        (0x81, b"\xff\xfe", 1007),
        (0xc1, b"x", 1002),
        (0x83, b"x", 1002),
        (0x88, b"x", 1002),
        (0x82, &[0; (1 << 20) + 1], 1009),
    ];
    for (flags, body, code) in cases {
        let mut site = site(1);
        let _ = open(&mut site, 7);
        site.frame(7, "/ws", flags, body);
        let told = site.told(FIRST);
        assert!(matches!(told[..], [Told::Close { code: c, .. }] if c == code), "{flags:x}: {told:?}");
        assert_eq!(site.frames(7).last().unwrap().1[..2], code.to_be_bytes());
        assert!(site.closed(7));
        site.settles();
    }
}

#[test]
fn a_socket_speaks_without_a_handshake() {
    let mut site = site(1);
    site.json(7, r#"{"n":1}"#);
    site.json(7, r#"{"n":2}"#);
    let told = site.told(FIRST);
    let conn = conn_of(&told);
    assert!(message(conn, br#"{"n":1}"#)(&told[1]) && message(conn, br#"{"n":2}"#)(&told[2]), "{told:?}");
    site.act(FIRST, &[Action::Send { conn, binary: false, payload: b"{}" }]);
    assert_eq!(site.sent(7), b"{}\0");
    site.act(FIRST, &[Action::CloseConn { conn, code: 1000, reason: b"" }]);
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1000, .. }]) && site.closed(7));
    site.settles();
}

#[test]
fn a_frame_of_an_unknown_websocket_is_adopted() {
    let mut site = site(1);
    site.frame(7, "/ws", 0x81, b"hello");
    let told = site.told(FIRST);
    assert!(matches!(told[0], Told::Open { fresh: true, resumed: true, .. }), "{told:?}");
    assert!(message(conn_of(&told), b"hello")(&told[1]));
    assert!(site.sent(7).is_empty(), "no second 101");
}

#[test]
fn what_nobody_takes_is_refused() {
    let mut site = site(1);
    site.handshake(7, "/nowhere");
    site.request(8, "GET /ws");
    assert_eq!((site.statuses(7), site.closed(7)), (vec![404], true));
    assert_eq!(site.statuses(8), [426]);
    site.frame(9, "/nowhere", 0x81, b"x");
    assert!(site.closed(9));
    site.settles();
}

#[test]
fn messages_that_a_dead_worker_had_not_started_go_to_another_one_in_order() {
    let mut site = site(2);
    let conn = open(&mut site, 7);
    site.act(
        FIRST,
        &[Action::Join { conn, room: b"lobby" }, Action::SetData { conn, json: br#"{"name":"ann"}"# }],
    );
    for text in ["1", "2", "3"] {
        site.frame(7, "/ws", 0x81, text.as_bytes());
    }
    let first = site.workers[&FIRST].live.clone();
    assert_eq!(first.len(), 3);
    // It was running the first message.
    site.die(FIRST, first[0].serial().unwrap());
    let told = site.told(SECOND);
    let Told::Open { fresh: false, resumed: true, data, rooms, .. } = &told[0] else { panic!("{told:?}") };
    assert_eq!((data.as_str(), &rooms[..]), (r#"{"name":"ann"}"#, &["lobby".to_owned()][..]));
    assert!(message(conn, b"2")(&told[1]) && message(conn, b"3")(&told[2]), "{told:?}");
    assert_eq!(told.len(), 3);
    assert!(!site.closed(7));

    site.disconnect(7);
    assert!(matches!(site.told(SECOND)[..], [Told::Close { code: 1006, .. }]));
}

#[test]
fn an_idle_connection_of_a_dead_worker_costs_nobody_anything_unless_it_is_straight_line_code() {
    let mut site = site(2);
    let _ = open(&mut site, 7);
    site.handshake(8, "/straight");
    site.handshake(9, "/straight");
    let (first, second) = (site.told(FIRST), site.told(SECOND));
    assert_eq!(first.len() + second.len(), 2);
    let serial = first.iter().filter_map(Told::serial).max().unwrap_or(1);
    site.die(FIRST, serial);
    let moved = site.told(SECOND);
    let straight = |told: &Told| matches!(told, Told::Open { fresh: false, resumed: true, path, .. } if path == "/straight");
    assert!(!moved.is_empty() && moved.iter().all(straight), "{moved:?}");
    site.frame(7, "/ws", 0x81, b"hello");
    let told = site.told(SECOND);
    assert!(
        matches!(told[..], [Told::Open { fresh: false, resumed: true, .. }, Told::Message { .. }]),
        "{told:?}"
    );
}

#[test]
fn a_room_reaches_all_but_the_one_left_out_in_few_replies() {
    let mut site = site(1);
    let conns: Vec<u64> = (1..=300).map(|id| open(&mut site, id)).collect();
    let joins: Vec<_> = conns.iter().map(|conn| Action::Join { conn: *conn, room: b"lobby" }).collect();
    site.act(FIRST, &joins);
    site.pass(seconds(2));
    let before = site.replies.len();
    site.act(
        FIRST,
        &[
            Action::Publish { except: conns[4], binary: false, room: b"lobby", payload: b"one" },
            Action::Publish { except: conns[4], binary: false, room: b"lobby", payload: b"two" },
        ],
    );
    assert_eq!(site.replies.len() - before, 3, "both messages, in replies of at most 128 ids");
    for id in 1..=300 {
        let frames = site.frames(id);
        let texts: Vec<_> = frames.iter().map(|(_, text)| text.as_slice()).collect();
        let expected: &[&[u8]] = if id == 5 { &[] } else { &[b"one", b"two"] };
        assert_eq!(texts, expected, "{id}");
    }
}

#[test]
fn a_flood_into_a_room_is_paced_and_whole() {
    let mut site = site(1);
    let conn = open(&mut site, 7);
    site.act(FIRST, &[Action::Join { conn, room: b"lobby" }]);
    site.pass(seconds(2));
    let before = site.to(7).count();
    let mut expected = Vec::new();
    for n in 0..600 {
        let text = n.to_string();
        // A room's message and one of its own by turns: neither may overtake the other.
        site.act(
            FIRST,
            &[
                Action::Publish { except: 0, binary: false, room: b"lobby", payload: text.as_bytes() },
                Action::Send { conn, binary: false, payload: b"own" },
            ],
        );
        expected.extend([text.into_bytes(), b"own".to_vec()]);
    }
    assert!(site.to(7).count() - before <= 8, "within one window");
    // A pong proves that what came before its ping has arrived.
    assert!(site.frames(7).contains(&(0x89, b"arrived?".to_vec())));
    site.frame(7, "/ws", 0x8a, b"arrived?");
    assert!(site.to(7).count() - before > 8);
    site.pass(seconds(1));
    let texts: Vec<_> = site.frames(7).into_iter().filter(|(head, _)| *head == 0x81).collect();
    assert!(texts.into_iter().map(|(_, text)| text).eq(expected), "another order, or not whole");
    assert!(site.to(7).count() - before <= 20);
}

#[test]
fn a_client_that_does_not_read_gets_what_its_channel_says() {
    for (slow, code) in [(Slow::Wait, 1008), (Slow::Close, 1008), (Slow::DropOldest, 0)] {
        let limits = Limits { connection_output: 400 << 10, ..Limits::default() };
        let spec = ChannelSpec { slow, buffer: 200 << 10, ..channel("/ws", 0) };
        let registration = Registration { channels: vec![spec], ..registration() };
        let mut site = Site::with(limits, 1, registration);
        let credits = [("DOWNLOAD_CREDITS", "102400")];
        let form = super::mongrel2::Form::Tnetstring;
        site.message(&super::mongrel2::websocket(form, SENDER, 7, "/ws", None, &credits, b""));
        let conn = conn_of(&site.told(FIRST));
        let payload = [b'x'; 9000];
        for n in 0..100u8 {
            let payload = [&[b'0' + n / 10, b'0' + n % 10], &payload[..]].concat();
            site.act(FIRST, &[Action::Send { conn, binary: false, payload: &payload }]);
        }
        if code > 0 {
            assert!(matches!(site.told(FIRST)[..], [Told::Close { code: c, .. }] if c == code));
            assert!(!site.closed(7), "what has begun is not cut in the middle");
            while !site.closed(7) {
                let size = site.to(7).last().unwrap().payload.len();
                site.credits(7, size);
                site.turn();
            }
            let frames = site.frames(7);
            let (close, messages) = frames.split_last().unwrap();
            assert_eq!((close.0, &close.1[..]), (0x88, &b"\x03\xf0too slow"[..]));
            assert!(messages.len() > 10 && messages.iter().all(|(_, text)| text.len() == 9002));
            let in_order =
                |(n, (_, text)): (usize, &(u8, Vec<u8>))| text[..2] == *format!("{n:02}").as_bytes();
            assert!(messages.iter().enumerate().all(in_order), "one is missing before the last");
            continue;
        }
        assert!(site.told(FIRST).is_empty() && site.hub.counters().dropped > 50);
        while site.to(7).count() > 0 && site.hub.load().0 > 0 {
            let unread: usize = 102_400;
            site.credits(7, unread);
            site.pass(seconds(1));
        }
        let frames = site.frames(7);
        let last = &frames.last().unwrap().1[..2];
        assert_eq!(last, b"99", "the newest is there");
        assert!(frames.len() < 50 && frames.windows(2).all(|pair| pair[0].1[..2] < pair[1].1[..2]));
    }
}

#[test]
fn a_server_that_goes_takes_its_connections_along() {
    let mut site = site(1);
    let _ = open(&mut site, 7);
    site.hub.handle_server_down(LINK, site.now);
    site.turn();
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1006, .. }]));
    site.hub.handle_server_up(LINK, b"");
    site.handshake(7, "/ws");
    assert!(matches!(site.told(FIRST)[..], [Told::Open { fresh: true, .. }]), "another client");
}

#[test]
fn a_stop_says_goodbye_to_everybody() {
    let mut site = site(1);
    let _ = open(&mut site, 7);
    site.json(8, "{}");
    let _ = site.told(FIRST);
    site.hub.begin_stop(site.now);
    site.turn();
    assert_eq!(site.frames(7).last().unwrap().1[..2], 1001u16.to_be_bytes());
    assert!(site.closed(7) && site.closed(8));
    let told = site.told(FIRST);
    assert!(told.iter().all(|told| matches!(told, Told::Close { code: 1001, .. })) && told.len() == 2);
    site.pass(seconds(1));
    assert!(site.workers[&FIRST].stop);
    site.die(FIRST, 100);
    site.pass(seconds(3));
    assert_eq!(site.effects.last(), Some(&Effect::Stopped));
}

#[test]
fn newer_code_takes_connections_over_when_they_are_idle() {
    let mut site = site(1);
    let conn = open(&mut site, 7);
    site.frame(7, "/ws", 0x81, b"for the old one");
    let new = site.load(APP, &channels());
    site.frame(7, "/ws", 0x81, b"for the new one");
    assert!(site.workers[&new[0]].live.is_empty(), "the old one still runs a message");
    let told = site.told(FIRST);
    assert!(message(conn, b"for the old one")(&told[0]) && told.len() == 1, "{told:?}");
    assert!(matches!(site.workers[&FIRST].live[..], [Told::Detach { .. }]));
    let told = site.told(new[0]);
    assert!(matches!(told[0], Told::Open { fresh: false, resumed: true, .. }));
    assert!(message(conn, b"for the new one")(&told[1]));
    assert!(!site.closed(7));
}

#[test]
fn connections_that_mongrel2_does_not_list_are_over_once_and_later_ones_are_not_meant() {
    let mut site = site(1);
    for id in [7, 8, 9] {
        let _ = open(&mut site, id);
    }
    site.pass(seconds(46));
    assert!(site.effects.contains(&Effect::AskWhoIsThere(LINK)));
    // Gone meanwhile, and told; and come after the question.
    site.disconnect(9);
    let _ = site.told(FIRST);
    let _ = open(&mut site, 10);
    site.hub.handle_roll_call(LINK, &[1, 7, 70_000], site.now);
    site.turn();
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1006, .. }]), "only 8");
    assert_eq!(site.hub.counters().untold, 1);
    // The notice, when it comes after all; and an answer to no question.
    site.disconnect(8);
    site.hub.handle_roll_call(LINK, &[], site.now);
    site.turn();
    assert!(site.told(FIRST).is_empty());
    site.frame(7, "/ws", 0x81, b"here");
    site.frame(10, "/ws", 0x81, b"here");
    assert_eq!(site.told(FIRST).len(), 2);
}

#[test]
fn a_server_that_was_started_again_is_not_held_to_what_the_old_one_said() {
    let mut site = site(1);
    let _ = open(&mut site, 7);
    site.pass(seconds(46));
    site.hub.handle_server_down(LINK, site.now);
    site.hub.handle_server_up(LINK, b"");
    site.turn();
    let _ = site.told(FIRST);
    let _ = open(&mut site, 7);
    site.hub.handle_roll_call(LINK, &[], site.now);
    site.turn();
    assert!(site.told(FIRST).is_empty());
}

#[test]
fn held_connections_are_named_to_mongrel2_and_pings_find_the_dead() {
    let spec = ChannelSpec { ping: 30.0, ..channel("/ws", 0) };
    let mut site = Site::with(Limits::default(), 1, Registration { channels: vec![spec], ..registration() });
    let _ = open(&mut site, 7);
    let _ = open(&mut site, 8);
    site.pass(seconds(50));
    let keep_alive = site.replies.iter().find(|reply| reply.extended);
    assert_eq!(keep_alive.map(|reply| reply.ids.clone()), Some(vec![7, 8]));
    site.frame(7, "/ws", 0x8a, b"");
    site.pass(seconds(45));
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1006, .. }]));
    assert!(site.closed(8) && !site.closed(7));
}

#[test]
fn questions_are_answered() {
    let mut site = site(1);
    let conn = open(&mut site, 7);
    site.act(
        FIRST,
        &[
            Action::Join { conn, room: b"lobby" },
            Action::SetData { conn, json: b"[1]" },
            Action::Query { query: 1, question: Question::Count, subject: b"lobby" },
            Action::Query { query: 2, question: Question::Members, subject: b"lobby" },
            Action::Query { query: 3, question: Question::Connection, subject: b"boot-0.0.7" },
            Action::Query { query: 4, question: Question::Connection, subject: b"boot-0.0.8" },
            Action::Query { query: 5, question: Question::Data, subject: conn.to_string().as_bytes() },
            Action::Query { query: 6, question: Question::Rooms, subject: conn.to_string().as_bytes() },
        ],
    );
    let answer = |told| match told {
        Told::Answer { query, json } => (query, json),
        other => panic!("{other:?}"),
    };
    let answers: Vec<_> = site.told(FIRST).into_iter().map(answer).collect();
    let who = format!(r#"[{conn},"boot-0.0.7","websocket"]"#);
    let expected =
        ["1".to_owned(), format!("[{who}]"), who, "null".into(), "[1]".into(), r#"["lobby"]"#.into()];
    let expected: Vec<_> = (1..).zip(expected).collect();
    assert_eq!(answers, expected);
}

#[test]
fn a_script_that_hangs_in_a_message_loses_its_worker_and_that_connection() {
    let mut site = site(1);
    let _ = open(&mut site, 7);
    site.frame(7, "/ws", 0x81, b"loop");
    let serial = site.workers[&FIRST].live[0].serial().unwrap();
    assert!(site.hub.next_timeout().is_some_and(|due| due <= site.now + Hub::PULSE), "somebody looks at it");
    let pulse = Pulse { started: serial, turn: 1, running: serial };
    for _ in 0..300 {
        site.hub.handle_pulse(FIRST, pulse, site.now);
        site.pass(millis(50));
        if site.workers[&FIRST].killed {
            break;
        }
    }
    site.die(FIRST, serial);
    assert_eq!(site.frames(7).last().unwrap().1[..2], 1011u16.to_be_bytes());
}

#[test]
fn a_close_comes_behind_what_was_published_before_it() {
    for (flags, code) in [(0x88, 1000u16), (0x83, 1002)] {
        let mut site = site(1);
        let conn = open(&mut site, 7);
        let mut batch = Vec::new();
        encode_action(&mut batch, &Action::Join { conn, room: b"lobby" });
        let hello = Action::Publish { except: 0, binary: false, room: b"lobby", payload: b"hello" };
        encode_action(&mut batch, &hello);
        site.hub.handle_batch(FIRST, &batch, site.now).unwrap();
        // In the same turn.
        site.frame(7, "/ws", flags, &[0x03, 0xe8]);
        let frames = site.frames(7);
        assert_eq!((&frames[0], frames.len()), (&(0x81, b"hello".to_vec()), 2), "{frames:?}");
        assert!(frames[1].0 == 0x88 && frames[1].1[..2] == code.to_be_bytes() && site.closed(7));
    }
}

#[test]
fn what_is_published_to_one_who_is_gone_is_for_the_others_only() {
    let mut site = site(1);
    let conns = [open(&mut site, 7), open(&mut site, 8)];
    site.act(FIRST, &conns.map(|conn| Action::Join { conn, room: b"lobby" }));
    site.pass(seconds(2));
    let mut batch = Vec::new();
    encode_action(
        &mut batch,
        &Action::Publish { except: 0, binary: false, room: b"lobby", payload: b"hello" },
    );
    site.hub.handle_batch(FIRST, &batch, site.now).unwrap();
    site.disconnect(7);
    assert_eq!((site.frames(7).len(), site.frames(8).len()), (0, 1));
}

#[test]
fn a_handshake_behind_a_request_without_an_answer_is_refused() {
    let mut site = site(1);
    site.request(7, "GET /a");
    site.handshake(7, "/ws");
    assert!(site.sent(7).is_empty(), "the answer to the request comes first");
    site.respond(FIRST, 1, "hi");
    assert_eq!((site.statuses(7), site.closed(7)), (vec![200, 400], true));
    assert!(site.told(FIRST).is_empty());
    // Behind an answered one all is well.
    site.request(8, "GET /a");
    site.respond(FIRST, 2, "hi");
    site.handshake(8, "/ws");
    assert!(matches!(site.told(FIRST)[..], [Told::Open { .. }]));
}

#[test]
fn a_connection_whose_channel_is_gone_is_closed_by_the_code_that_knows_it() {
    let mut site = site(1);
    let conn = open(&mut site, 7);
    site.handshake(8, "/straight");
    let _ = site.told(FIRST);
    let newer =
        Registration { channels: vec![channel("/other", 0), channel("/straight", 1)], ..registration() };
    let new = site.load(APP, &newer);
    assert_eq!(site.frames(7).last().unwrap().1[..2], 1001u16.to_be_bytes());
    assert!(site.closed(7) && !site.closed(8));
    let told = site.told(FIRST);
    assert!(told.iter().any(|told| matches!(told, Told::Close { conn: c, code: 1001, .. } if *c == conn)));
    let told = site.told(new[0]);
    assert!(matches!(told[..], [] | [Told::Open { handler: 1, .. }]), "{told:?}");
    site.disconnect(8);
    let told = site.told(new[0]);
    assert!(
        matches!(told[..], [Told::Open { handler: 1, fresh: false, .. }, Told::Close { .. }]),
        "{told:?}"
    );
    site.settles();
}

/// One job at a time.
fn narrow_site(workers: u32) -> Site {
    let limits = Limits { worker_jobs: 1, request_timeout: seconds(1), ..Limits::default() };
    Site::with(limits, workers, channels())
}

#[test]
fn only_who_was_open_is_resumed() {
    let mut site = narrow_site(1);
    site.request(8, "GET /a");
    site.handshake(7, "/ws");
    assert!(site.told(FIRST).is_empty(), "it waits behind the request");
    let new = site.load(APP, &channels());
    site.respond(FIRST, 1, "hi");
    assert!(matches!(site.told(new[0])[..], [Told::Open { fresh: true, resumed: false, .. }]));
}

#[test]
fn a_connection_that_moved_is_not_forgotten_by_its_new_worker() {
    let mut site = narrow_site(1);
    let conn = open(&mut site, 7);
    site.request(8, "GET /a");
    site.frame(7, "/ws", 0x81, b"1");
    let new = site.load(APP, &channels());
    site.request(9, "GET /a");
    site.frame(7, "/ws", 0x81, b"2");
    site.die(FIRST, 100);
    site.respond(new[0], 1, "hi");
    let told: Vec<_> = (0..3).flat_map(|_| site.told(new[0])).collect();
    assert!(matches!(told[0], Told::Open { fresh: false, .. }));
    assert!(message(conn, b"1")(&told[1]) && message(conn, b"2")(&told[2]), "{told:?}");
}

#[test]
fn a_request_that_is_given_up_makes_room_for_messages() {
    let mut site = narrow_site(1);
    let conn = open(&mut site, 7);
    site.request(8, "GET /a");
    site.frame(7, "/ws", 0x81, b"1");
    site.pass(seconds(2));
    assert_eq!(site.statuses(8), [504]);
    assert!(message(conn, b"1")(&site.told(FIRST)[0]));
}

#[test]
fn a_message_that_comes_back_is_given_again() {
    let mut site = site(1);
    let conn = open(&mut site, 7);
    site.frame(7, "/ws", 0x81, b"1");
    site.frame(7, "/ws", 0x81, b"2");
    let skipped = [2, 3].map(|serial| Action::Skipped { serial });
    site.act(FIRST, &skipped);
    let live = &site.workers[&FIRST].live;
    assert!(message(conn, b"1")(&live[2]) && message(conn, b"2")(&live[3]), "{live:?}");
}

#[test]
fn messages_taken_back_in_the_moment_of_their_start_keep_their_order() {
    let mut site = site(1);
    let conn = open(&mut site, 7);
    site.request(8, "GET /a");
    site.frame(7, "/ws", 0x81, b"1");
    site.frame(7, "/ws", 0x81, b"2");
    site.workers.get_mut(&FIRST).unwrap().live.clear();
    let stuck = Pulse { started: 2, turn: 1, running: 2 };
    for _ in 0..4 {
        site.hub.handle_pulse(FIRST, stuck, site.now);
        site.pass(millis(50));
    }
    assert!(matches!(site.effects.last(), Some(Effect::Revoke { worker: FIRST, serial: 4 })));
    // It had said that it starts the first message, and then saw that it was taken back.
    site.hub.handle_revoked(FIRST, 3, site.now);
    site.hub.handle_pulse(FIRST, Pulse { started: 3, turn: 2, running: 0 }, site.now);
    site.frame(7, "/ws", 0x81, b"3");
    assert!(site.workers[&FIRST].live.is_empty(), "what becomes of the first one is not known yet");
    site.act(FIRST, &[Action::Skipped { serial: 3 }]);
    let told = site.told(FIRST);
    let expected = [b"1", b"2", b"3"];
    assert!(told.iter().zip(expected).all(|(told, text)| message(conn, text)(told)), "{told:?}");
    assert_eq!(told.len(), 3);
}

#[test]
fn a_close_is_one_of_the_messages_that_mongrel2_bears() {
    let mut site = site(1);
    site.json(7, "{}");
    let conn = conn_of(&site.told(FIRST));
    site.act(FIRST, &[Action::Join { conn, room: b"lobby" }]);
    site.pass(seconds(2));
    for _ in 0..8 {
        site.act(FIRST, &[Action::Publish { except: 0, binary: false, room: b"lobby", payload: b"{}" }]);
    }
    site.act(FIRST, &[Action::CloseConn { conn, code: 1000, reason: b"" }]);
    assert_eq!((site.to(7).count(), site.closed(7)), (8, false));
    site.pass(millis(51));
    assert!(site.closed(7));
}

#[test]
fn one_large_message_closes_nobody() {
    let spec = ChannelSpec { slow: Slow::Close, buffer: 1000, ..channel("/ws", 0) };
    let mut site = Site::with(Limits::default(), 1, Registration { channels: vec![spec], ..registration() });
    let credits = [("DOWNLOAD_CREDITS", "102400")];
    let form = super::mongrel2::Form::Tnetstring;
    site.message(&super::mongrel2::websocket(form, SENDER, 7, "/ws", None, &credits, b""));
    let conn = conn_of(&site.told(FIRST));
    site.act(FIRST, &[Action::Join { conn, room: b"lobby" }]);
    let large = Action::Publish { except: 0, binary: true, room: b"lobby", payload: &[0; 200_000] };
    site.act(FIRST, std::slice::from_ref(&large));
    assert!(site.told(FIRST).is_empty() && !site.closed(7));
    site.act(FIRST, &[large]);
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1008, .. }]), "it does not read");
}

#[test]
fn messages_that_a_worker_holds_count_among_those_that_wait() {
    let limits = Limits { channel_queue: 10_000, ..Limits::default() };
    let mut site = Site::with(limits, 1, channels());
    let _ = open(&mut site, 7);
    for _ in 0..8 {
        site.frame(7, "/ws", 0x82, &[0; 3000]);
    }
    assert_eq!(site.frames(7).last().unwrap().1[..2], 1008u16.to_be_bytes());
    assert_eq!(site.workers[&FIRST].live.len(), 3, "a worker is given no more than may wait");
}

#[test]
fn what_a_bad_worker_says_of_a_connection_that_is_over_means_no_other() {
    let mut site = site(2);
    let _ = open(&mut site, 7);
    site.frame(7, "/ws", 0x81, b"x");
    site.disconnect(7);
    // The close is done before the message.
    site.act(FIRST, &[Action::Done { serial: 3 }]);
    // It has a request to answer, so the other one gets the next connection.
    site.request(9, "GET /a");
    site.handshake(8, "/ws");
    let conn = conn_of(&site.told(SECOND));
    site.frame(8, "/ws", 0x81, b"y");
    site.act(FIRST, &[Action::Done { serial: 2 }]);
    site.die(FIRST, 2);
    let third = site.started_since(2)[0];
    site.die(SECOND, 1);
    site.ready(third, &channels());
    let told = site.told(third);
    assert!(matches!(told[0], Told::Open { .. }) && message(conn, b"y")(&told[1]), "{told:?}");
}

#[test]
fn what_a_bad_worker_left_undone_of_a_connection_that_is_over_is_nothing_of_the_next() {
    let mut site = site(1);
    let _ = open(&mut site, 7);
    site.frame(7, "/ws", 0x81, b"x");
    site.disconnect(7);
    // The close is done, the message before it never is.
    site.act(FIRST, &[Action::Done { serial: 3 }]);
    site.handshake(8, "/ws");
    site.frame(8, "/ws", 0x81, b"y");
    // It dies in the script's `open`.
    let before = site.effects.len();
    site.die(FIRST, 4);
    site.pass(millis(150));
    let next = site.started_since(before)[0];
    site.ready(next, &channels());
    let told = site.told(next);
    assert!(
        matches!(told[..], [Told::Open { fresh: false, resumed: true, .. }, Told::Message { .. }]),
        "{told:?}"
    );
}

#[test]
fn a_raw_script_that_closes_a_live_connection_ends_it() {
    let mut site = Site::with(Limits::default(), 1, Registration { raw: true, ..channels() });
    let _ = open(&mut site, 7);
    let ids = encode_ids([7]);
    site.act(FIRST, &[Action::Disconnect { sender: SENDER, ids: Ids::new(&ids) }]);
    assert!(site.closed(7));
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1006, .. }]));
    site.settles();
}

#[test]
fn a_stop_waits_for_a_worker_that_will_close_and_for_no_other() {
    for comes in [true, false] {
        let mut site = site(1);
        let _ = open(&mut site, 7);
        site.pass(seconds(1));
        let before = site.effects.len();
        site.die(FIRST, 0);
        let new = site.started_since(before)[0];
        site.disconnect(7);
        if !comes {
            let before = site.effects.len();
            site.die(new, 0);
            let next = site.started_since(before)[0];
            site.die(next, 0);
            site.hub.begin_stop(site.now);
            site.turn();
            assert_eq!(site.effects.last(), Some(&Effect::Stopped));
            continue;
        }
        site.hub.begin_stop(site.now);
        site.turn();
        site.ready(new, &channels());
        let told = site.told(new);
        assert!(matches!(told[..], [Told::Open { fresh: false, .. }, Told::Close { .. }]), "{told:?}");
        site.pass(millis(100));
        assert!(site.workers[&new].stop);
    }
}

#[test]
fn where_no_worker_lives_nobody_is_let_in() {
    let mut site = site(1);
    let mut worker = FIRST;
    for _ in 0..4 {
        let before = site.effects.len();
        site.die(worker, 0);
        site.pass(millis(150));
        match site.started_since(before).first() {
            Some(next) => worker = *next,
            None => break,
        }
    }
    site.handshake(7, "/ws");
    site.json(8, "{}");
    assert_eq!((site.statuses(7), site.closed(7), site.closed(8)), (vec![503], true, true));
    assert_eq!(site.hub.live(), 0);
}

#[test]
fn what_live_connections_say_goes_before_requests_that_wait() {
    let limits = Limits { worker_jobs: 1, ..Limits::default() };
    let mut site = Site::with(limits, 1, channels());
    let conn = open(&mut site, 7);
    site.request(1, "GET /a");
    let first = site.serials(0)[0];
    site.request(2, "GET /a");
    site.frame(7, "/ws", 0x81, b"hello");
    site.request(3, "GET /a");
    assert_eq!((site.jobs(0).len(), site.workers[&FIRST].live.len()), (1, 0), "it has one job at a time");
    site.respond(FIRST, first, "x");
    assert_eq!(site.jobs(0).len(), 1);
    assert!(message(conn, b"hello")(&site.told(FIRST)[0]));
    assert_eq!(site.jobs(0).len(), 2);
}
