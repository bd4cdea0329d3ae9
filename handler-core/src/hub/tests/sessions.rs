//! Sessions by event streams and long polls: whatever becomes of the requests that carry them, each message reaches the
//! client once and in order, and the script sees one connection.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::hub::{Effect, Limits};
use crate::worker::protocol::{Action, ChannelSpec, Registration, Slow};
use serde_json::{Value, json};

const EVENTS: (&str, &str) = ("accept", "text/event-stream");

fn site() -> Site {
    site_with(ChannelSpec::default())
}

fn site_with(spec: ChannelSpec) -> Site {
    let spec = ChannelSpec { path: "/chat".into(), ..spec };
    let other = ChannelSpec { path: "/other".into(), handler: 1, ..ChannelSpec::default() };
    let channels = vec![spec, other];
    let mut site = Site::with(Limits::default(), 1, Registration { channels, ..registration() });
    site.hub.set_session_key(&[7; 32]);
    site
}

/// A request to a channel, by a connection that nothing else came by.
fn ask(site: &mut Site, id: i64, line: &str, more: &[(&str, &str)], body: &[u8]) {
    let (line, query) = line.split_once('?').unwrap_or((line, ""));
    let query = [("QUERY", query)];
    let more: Vec<_> = more.iter().chain(query.iter().filter(|(_, q)| !q.is_empty())).copied().collect();
    site.message(&mongrel2::http(Form::Tnetstring, SENDER, id, line, &more, body));
}

/// The one answer that a connection got.
fn answer(site: &Site, id: u32) -> (u16, Value) {
    let answers = site.answers(id);
    let [(status, body)] = &answers[..] else { panic!("{answers:?}") };
    (*status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(body.as_str())))
}

/// Opens a session for polls by connection 1: its ticket and its number at the worker.
fn open(site: &mut Site) -> (String, u64) {
    ask(site, 1, "POST /chat", &[], b"");
    let (status, opened) = answer(site, 1);
    assert_eq!(status, 201, "{opened}");
    (opened["session"].as_str().unwrap().to_owned(), number(site))
}

fn number(site: &mut Site) -> u64 {
    match &site.told(FIRST)[..] {
        [Told::Open { conn, fresh: true, resumed: false, .. }] => *conn,
        other => panic!("no open: {other:?}"),
    }
}

fn send(site: &mut Site, conn: u64, text: &str) {
    site.act(FIRST, &[Action::Send { conn, binary: false, payload: text.as_bytes() }]);
}

fn poll(site: &mut Site, id: i64, ticket: &str, more: &str) {
    ask(site, id, &format!("GET /chat?session={ticket}{more}"), &[], b"");
}

/// What a connection got of a stream of events, without the head.
fn events(site: &Site, id: u32) -> String {
    let text = site.text(id);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Content-Type: text/event-stream"), "{head}");
    body.to_owned()
}

/// Opens a session by a stream of events on connection 1.
fn open_stream(site: &mut Site) -> (String, u64) {
    ask(site, 1, "GET /chat", &[EVENTS], b"");
    let text = events(site, 1);
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let opened: Value = serde_json::from_str(data).unwrap();
    assert!(text.starts_with("event: open\n"), "{text}");
    (opened["session"].as_str().unwrap().to_owned(), number(site))
}

#[test]
fn a_poll_is_answered_at_once_when_something_waits_and_held_when_not() {
    let mut site = site();
    let (ticket, conn) = open(&mut site);
    send(&mut site, conn, "one");
    send(&mut site, conn, "two");
    poll(&mut site, 2, &ticket, "");
    assert_eq!(answer(&site, 2), (200, json!({"after": 2, "messages": ["one", "two"]})));
    poll(&mut site, 3, &ticket, "&after=2");
    site.pass(seconds(24));
    assert_eq!(site.sent(3), b"");
    site.act(FIRST, &[Action::Send { conn, binary: true, payload: &[0, 1] }]);
    assert_eq!(answer(&site, 3), (200, json!({"after": 3, "messages": [{"base64": "AAE="}]})));
    poll(&mut site, 4, &ticket, "&after=3");
    site.pass(seconds(25));
    assert_eq!(answer(&site, 4), (200, json!({"after": 3, "messages": []})), "nothing for so long");
    poll(&mut site, 5, &ticket, "&after=3&wait=0");
    assert_eq!(answer(&site, 5).1["messages"], json!([]));
    poll(&mut site, 6, &ticket, "&after=3&wait=2");
    site.pass(seconds(2));
    assert_eq!(answer(&site, 6).1["messages"], json!([]));
    site.pass(seconds(59));
    assert!(site.told(FIRST).is_empty(), "it lives");
    site.pass(seconds(1));
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1006, .. }]));
    poll(&mut site, 7, &ticket, "");
    assert_eq!(site.statuses(7), [410]);
    site.settles();
}

#[test]
fn messages_of_one_turn_are_one_answer() {
    let mut site = site();
    let (ticket, conn) = open(&mut site);
    poll(&mut site, 2, &ticket, "");
    let message = |payload| Action::Send { conn, binary: false, payload };
    site.act(FIRST, &[message(b"a"), message(b"b"), message(b"c")]);
    assert_eq!(answer(&site, 2).1["messages"], json!(["a", "b", "c"]));
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let mut site = site();
    let (ticket, conn) = open(&mut site);
    send(&mut site, conn, "one");
    poll(&mut site, 2, &ticket, "&after=0");
    site.disconnect(2);
    send(&mut site, conn, "two");
    poll(&mut site, 3, &ticket, "&after=0");
    assert_eq!(answer(&site, 3).1, json!({"after": 2, "messages": ["one", "two"]}));
    // Without a number all that was handed out counts as received.
    poll(&mut site, 4, &ticket, "&wait=0");
    assert_eq!(answer(&site, 4).1, json!({"after": 2, "messages": []}));
    poll(&mut site, 5, &ticket, "&after=1");
    assert_eq!(site.statuses(5), [409], "that is gone");
    poll(&mut site, 6, &ticket, "&after=3");
    assert_eq!(site.statuses(6), [400], "that never was");
}

#[test]
fn of_two_polls_the_newer_one_counts() {
    let mut site = site();
    let (ticket, conn) = open(&mut site);
    poll(&mut site, 2, &ticket, "&after=0");
    poll(&mut site, 3, &ticket, "&after=0");
    assert_eq!(answer(&site, 2).1["messages"], json!([]));
    send(&mut site, conn, "one");
    assert_eq!(answer(&site, 3).1["messages"], json!(["one"]));
    poll(&mut site, 4, &ticket, "&after=x");
    assert_eq!(site.statuses(4), [400]);
}

#[test]
fn a_client_that_leaves_its_poll_may_come_again() {
    let mut site = site();
    let (ticket, conn) = open(&mut site);
    poll(&mut site, 2, &ticket, "");
    site.disconnect(2);
    send(&mut site, conn, "one");
    site.pass(seconds(59));
    poll(&mut site, 3, &ticket, "");
    assert_eq!(answer(&site, 3).1["messages"], json!(["one"]));
    assert_eq!(site.hub.counters().dropped, 0);
}

#[test]
fn what_a_client_sends_reaches_the_script_once_and_in_order() {
    let mut site = site();
    let (ticket, conn) = open(&mut site);
    let line = format!("POST /chat?session={ticket}");
    ask(&mut site, 2, &line, &[], b"a");
    ask(&mut site, 3, &line, &[("content-type", "application/octet-stream")], b"\xff");
    ask(&mut site, 4, &line, &[], b"\xff");
    assert_eq!([site.statuses(2), site.statuses(3), site.statuses(4)], [[204], [204], [400]]);
    ask(&mut site, 5, &format!("{line}&number=1"), &[], b"b");
    ask(&mut site, 6, &format!("{line}&number=1"), &[], b"b");
    ask(&mut site, 7, &format!("{line}&number=3"), &[], b"d");
    ask(&mut site, 8, &format!("{line}&number=2"), &[], b"c");
    assert_eq!(
        [site.statuses(5), site.statuses(6), site.statuses(7), site.statuses(8)],
        [[204], [204], [409], [204]]
    );
    let told = site.told(FIRST);
    let payloads: Vec<_> = told
        .iter()
        .map(|told| match told {
            Told::Message { conn: c, payload, .. } if *c == conn => payload.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(payloads, [b"a".to_vec(), b"\xff".to_vec(), b"b".to_vec(), b"c".to_vec()]);
    ask(&mut site, 9, &line, &[], &vec![b'x'; (1 << 20) + 1]);
    assert_eq!(site.statuses(9), [413]);
}

#[test]
fn a_large_message_comes_from_its_file() {
    let mut site = site();
    let (ticket, _) = open(&mut site);
    site.hub.set_body_folder("/bodies".into());
    let query = format!("session={ticket}");
    let head = [("QUERY", query.as_str()), ("UPLOAD_STREAM", "0"), ("content-length", "30000")];
    site.message(&mongrel2::http(Form::Tnetstring, SENDER, 2, "POST /chat", &head, b""));
    site.message(&mongrel2::part(Form::Tnetstring, SENDER, 2, "/chat", 0, true, &[b'x'; 30_000]));
    let written: Vec<_> = site
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::WriteFile { key, path, bytes, .. } => Some((*key, path.clone(), bytes.len())),
            _ => None,
        })
        .collect();
    for (key, path, size) in written {
        site.hub.handle_written(key, &path, Ok(size), site.now);
    }
    site.turn();
    let Some(Effect::ReadFile { request, path, max }) = site.effects.last().cloned() else {
        panic!("{:?}", site.effects.last())
    };
    assert_eq!(max, (1 << 20) + 1);
    site.hub.handle_read(request, &path, Ok(vec![b'x'; 30_000]), site.now);
    site.turn();
    assert_eq!(site.statuses(2), [204]);
    assert!(matches!(&site.told(FIRST)[..], [Told::Message { payload, .. }] if payload.len() == 30_000));
    assert!(site.effects.contains(&Effect::DeleteFile(path)));
}

#[test]
fn events_are_written_as_they_come_and_a_client_that_comes_back_misses_none() {
    let mut site = site();
    let (ticket, conn) = open_stream(&mut site);
    for text in ["one", "two", "three"] {
        send(&mut site, conn, text);
    }
    let all = events(&site, 1);
    assert!(all.ends_with(&format!("id: {ticket}.3\ndata: three\n\n")), "{all}");
    site.disconnect(1);
    send(&mut site, conn, "four");
    // The browser had read one event when the connection broke.
    ask(&mut site, 2, "GET /chat", &[EVENTS, ("last-event-id", &format!("{ticket}.1"))], b"");
    send(&mut site, conn, "five");
    let rest = events(&site, 2);
    let data: Vec<_> = rest.lines().filter_map(|line| line.strip_prefix("data: ")).skip(1).collect();
    assert_eq!(data, ["two", "three", "four", "five"]);
    assert!(rest.contains("\"resumed\":true"), "{rest}");
    assert!(site.told(FIRST).is_empty(), "the script notices nothing");
    // The older connection, if it is still there, is closed.
    ask(&mut site, 3, &format!("GET /chat?session={ticket}&after=5"), &[EVENTS], b"");
    assert!(site.closed(2) && !site.closed(3));
    // A poll may go on as well.
    send(&mut site, conn, "six");
    poll(&mut site, 4, &ticket, "&after=5");
    assert_eq!(answer(&site, 4).1["messages"], json!(["six"]));
    assert!(site.closed(3));
}

#[test]
fn a_stream_that_says_nothing_shows_that_it_lives() {
    let mut site = site_with(ChannelSpec { ping: 10.0, ..ChannelSpec::default() });
    let (_, _) = open_stream(&mut site);
    let before = events(&site, 1);
    site.pass(seconds(31));
    assert_eq!(events(&site, 1), before + &"event: alive\ndata: {}\n\n".repeat(3));
    assert!(site.replies.iter().all(|reply| !reply.extended));
    site.pass(seconds(46));
    assert!(site.replies.iter().any(|reply| reply.extended && reply.ids.contains(&1)));
}

#[test]
fn a_close_is_told_behind_what_waits_whoever_carries_it() {
    // A poll is held.
    let mut site = site();
    let (ticket, conn) = open(&mut site);
    poll(&mut site, 2, &ticket, "");
    site.act(
        FIRST,
        &[
            Action::Send { conn, binary: false, payload: b"last" },
            Action::CloseConn { conn, code: 4001, reason: b"enough" },
        ],
    );
    let told = json!({"after": 1, "messages": ["last"], "close": {"code": 4001, "reason": "enough"}});
    assert_eq!(answer(&site, 2).1, told);
    // It was lost on its way.
    poll(&mut site, 3, &ticket, "&after=0");
    assert_eq!(answer(&site, 3).1, told);
    site.pass(seconds(5));
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 4001, .. }]));
    poll(&mut site, 4, &ticket, "&after=1");
    assert_eq!(site.statuses(4), [410]);
    site.settles();

    // None is, for a while.
    let mut site = self::site();
    let (ticket, conn) = open(&mut site);
    send(&mut site, conn, "last");
    site.act(FIRST, &[Action::CloseConn { conn, code: 1000, reason: b"" }]);
    site.pass(seconds(30));
    ask(&mut site, 2, &format!("POST /chat?session={ticket}"), &[], b"too late");
    assert_eq!(site.statuses(2), [410]);
    poll(&mut site, 3, &ticket, "");
    assert_eq!(answer(&site, 3).1["close"]["code"], json!(1000));
    // The answer was lost.
    poll(&mut site, 4, &ticket, "&after=1");
    assert_eq!(
        answer(&site, 4).1,
        json!({"after": 1, "messages": [], "close": {"code": 1000, "reason": ""}})
    );
    site.pass(seconds(5));
    poll(&mut site, 5, &ticket, "&after=1");
    assert_eq!(site.statuses(5), [410]);
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1000, .. }]));
    site.settles();

    // A stream.
    let mut site = self::site();
    let (_, conn) = open_stream(&mut site);
    send(&mut site, conn, "last");
    site.act(FIRST, &[Action::CloseConn { conn, code: 1000, reason: b"bye" }]);
    let text = events(&site, 1);
    assert!(
        text.ends_with("data: last\n\nevent: close\ndata: {\"code\":1000,\"reason\":\"bye\"}\n\n"),
        "{text}"
    );
    assert!(site.closed(1));
    site.pass(seconds(5));
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1000, .. }]));
    site.settles();
}

#[test]
fn a_client_ends_its_session_with_its_code() {
    for line in ["DELETE /chat?session=TICKET&close=4000&reason=bye", "POST /chat?session=TICKET&close=4000"]
    {
        let mut site = site();
        let (ticket, _) = open(&mut site);
        poll(&mut site, 2, &ticket, "");
        ask(&mut site, 3, &line.replace("TICKET", &ticket), &[], b"");
        assert_eq!(site.statuses(3), [204]);
        assert_eq!(answer(&site, 2).1["close"]["code"], json!(4000));
        assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 4000, .. }]));
        site.settles();
    }
}

#[test]
fn nobody_speaks_for_another_session_or_channel() {
    let mut site = site();
    let (ticket, _) = open(&mut site);
    let mut forged = ticket.clone();
    forged.replace_range(20..21, if forged.contains('A') { "B" } else { "A" });
    for (id, line) in [
        (10, format!("GET /chat?session={forged}x")),
        (11, "GET /chat?session=".to_owned()),
        (12, format!("POST /chat?session={}", "A".repeat(32))),
        (13, format!("DELETE /chat?session={}", &ticket[1..])),
        (14, format!("GET /other?session={ticket}")),
    ] {
        ask(&mut site, id, &line, &[], b"x");
        assert_eq!(site.statuses(id as u32), [410], "{line}");
    }
    assert!(site.told(FIRST).is_empty());
    // A body without a session opens none.
    ask(&mut site, 15, "POST /chat", &[], b"hello");
    assert_eq!(site.statuses(15), [400]);
    // Without a key of ours nothing of all this is there.
    let mut site = Site::with(Limits::default(), 1, registration());
    ask(&mut site, 16, "POST /chat", &[], b"");
    assert_eq!(site.statuses(16), [404]);
}

#[test]
fn pages_of_other_hosts_need_to_be_among_the_origins() {
    let mut site = site();
    let host = ("host", "a.example");
    ask(&mut site, 1, "POST /chat", &[host, ("origin", "https://b.example")], b"");
    assert_eq!(site.statuses(1), [403]);
    ask(&mut site, 2, "POST /chat", &[host, ("origin", "http://a.example")], b"");
    assert_eq!(site.statuses(2), [201]);

    let mut site =
        site_with(ChannelSpec { origins: vec!["https://b.example".into()], ..ChannelSpec::default() });
    let from = [host, ("origin", "https://b.example"), ("access-control-request-method", "POST")];
    ask(&mut site, 3, "OPTIONS /chat", &from, b"");
    assert!(site.text(3).contains("Access-Control-Allow-Origin: https://b.example\r\n"), "{}", site.text(3));
    ask(&mut site, 4, "GET /chat", &[EVENTS, from[0], from[1]], b"");
    assert!(site.text(4).contains("Access-Control-Allow-Credentials: true\r\n"), "{}", site.text(4));
    ask(&mut site, 5, "GET /chat", &[EVENTS, ("origin", "null")], b"");
    assert_eq!(site.statuses(5), [403]);
}

#[test]
fn routes_of_the_same_path_keep_what_is_theirs() {
    let spec = ChannelSpec { path: "/a".into(), ..ChannelSpec::default() };
    let mut site = Site::with(Limits::default(), 1, Registration { channels: vec![spec], ..registration() });
    site.hub.set_session_key(&[7; 32]);
    site.request(1, "GET /a");
    assert_eq!(site.jobs(0).len(), 1, "the page");
    ask(&mut site, 2, "GET /a", &[EVENTS], b"");
    assert!(events(&site, 2).starts_with("event: open"));
    ask(&mut site, 3, "POST /a", &[], b"");
    assert_eq!(site.statuses(3), [201], "no route has POST");
    ask(&mut site, 4, "PUT /a", &[], b"");
    assert_eq!(site.statuses(4), [405]);
    assert_eq!(site.jobs(0).len(), 1);
}

#[test]
fn a_room_reaches_all_carriers_with_what_each_can_read() {
    let mut site = site();
    let (ticket, by_poll) = open(&mut site);
    ask(&mut site, 2, "GET /chat", &[EVENTS], b"");
    let by_stream = number(&mut site);
    site.handshake(3, "/chat");
    let by_socket = number(&mut site);
    for conn in [by_poll, by_stream, by_socket] {
        site.act(FIRST, &[Action::Join { conn, room: b"all" }]);
    }
    poll(&mut site, 4, &ticket, "");
    let publish = |except, payload| Action::Publish { room: b"all", except, binary: false, payload };
    site.act(FIRST, &[publish(0, b"hi"), publish(0, b"there")]);
    assert_eq!(answer(&site, 4).1["messages"], json!(["hi", "there"]));
    assert!(events(&site, 2).ends_with("data: there\n\n"));
    assert_eq!(site.frames(3).len(), 2);
    site.act(FIRST, &[publish(by_stream, b"not for all")]);
    assert!(events(&site, 2).ends_with("data: there\n\n"));
    poll(&mut site, 5, &ticket, "");
    assert_eq!(answer(&site, 5).1["messages"], json!(["not for all"]));
}

#[test]
fn a_client_that_never_comes_fills_its_mailbox_and_no_more() {
    for slow in [Slow::Close, Slow::DropOldest] {
        let mut site = site_with(ChannelSpec { slow, buffer: 1000, ..ChannelSpec::default() });
        let (ticket, conn) = open(&mut site);
        for n in 0..20 {
            send(&mut site, conn, &format!("{n:0>100}"));
        }
        poll(&mut site, 2, &ticket, "&after=0");
        if slow == Slow::Close {
            assert_eq!(site.statuses(2), [410]);
            assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1008, .. }]));
        } else {
            let (_, body) = answer(&site, 2);
            assert_eq!((body["after"].as_u64(), body["messages"].as_array().unwrap().len()), (Some(20), 10));
            assert_eq!(site.hub.counters().dropped, 10);
        }
    }
}

#[test]
fn a_restart_of_mongrel2_ends_no_session() {
    let mut site = site();
    let (ticket, conn) = open(&mut site);
    poll(&mut site, 2, &ticket, "");
    site.hub.handle_server_down(LINK, site.now);
    site.turn();
    send(&mut site, conn, "meanwhile");
    site.hub.handle_server_up(LINK, b"");
    poll(&mut site, 1, &ticket, "&after=0");
    let text = site.text(1);
    assert!(text.contains("\"meanwhile\""), "{text}");
    assert!(site.told(FIRST).is_empty());
}

#[test]
fn a_stop_tells_whoever_listens() {
    let mut site = site();
    let (ticket, _) = open(&mut site);
    poll(&mut site, 2, &ticket, "");
    ask(&mut site, 3, "GET /chat", &[EVENTS], b"");
    site.told(FIRST);
    site.hub.begin_stop(site.now);
    site.turn();
    assert_eq!(answer(&site, 2).1["close"]["code"], json!(1001));
    assert!(events(&site, 3).contains("event: close\ndata: {\"code\":1001,"));
    assert!(site.closed(3));
}

#[test]
fn a_dead_workers_sessions_go_on_elsewhere() {
    let spec = ChannelSpec { path: "/chat".into(), ..ChannelSpec::default() };
    let mut site = Site::with(Limits::default(), 2, Registration { channels: vec![spec], ..registration() });
    site.hub.set_session_key(&[7; 32]);
    let (ticket, _) = open(&mut site);
    poll(&mut site, 2, &ticket, "");
    site.die(FIRST, 1);
    ask(&mut site, 3, &format!("POST /chat?session={ticket}"), &[], b"hello");
    let told = site.told(SECOND);
    let [Told::Open { conn, fresh: false, resumed: true, .. }, Told::Message { .. }] = &told[..] else {
        panic!("{told:?}")
    };
    let conn = *conn;
    site.act(SECOND, &[Action::Send { conn, binary: false, payload: b"I am another" }]);
    assert_eq!(answer(&site, 2).1["messages"], json!(["I am another"]));
}

#[test]
fn no_more_sessions_are_opened_than_the_limit_says() {
    let spec = ChannelSpec { path: "/chat".into(), ..ChannelSpec::default() };
    let limits = Limits { sessions: 2, ..Limits::default() };
    let mut site = Site::with(limits, 1, Registration { channels: vec![spec], ..registration() });
    site.hub.set_session_key(&[7; 32]);
    let (ticket, _) = open(&mut site);
    poll(&mut site, 9, &ticket, "");
    ask(&mut site, 2, "GET /chat", &[EVENTS], b"");
    ask(&mut site, 3, "POST /chat", &[], b"");
    ask(&mut site, 4, "GET /chat", &[EVENTS], b"");
    let bosh = "<body rid='1' ver='1.11' xmlns='http://jabber.org/protocol/httpbind'/>";
    ask(&mut site, 5, "POST /chat", &[], bosh.as_bytes());
    assert_eq!([site.statuses(3), site.statuses(4), site.statuses(5)], [[503], [503], [503]]);
    ask(&mut site, 6, &format!("DELETE /chat?session={ticket}"), &[], b"");
    ask(&mut site, 7, "POST /chat", &[], b"");
    assert_eq!(site.statuses(7), [201]);
}

#[test]
fn sessions_that_no_client_has_come_back_to_make_room_for_new_ones() {
    let spec = ChannelSpec { path: "/chat".into(), ..ChannelSpec::default() };
    let limits = Limits { sessions: 3, ..Limits::default() };
    let mut site = Site::with(limits, 1, Registration { channels: vec![spec], ..registration() });
    site.hub.set_session_key(&[7; 32]);
    let (ticket, conn) = open(&mut site);
    poll(&mut site, 2, &ticket, "");
    // A client opens one after the other and polls none.
    for id in 10..500 {
        ask(&mut site, id, "POST /chat", &[], b"");
        assert_eq!(site.statuses(id as u32), [201]);
        site.told(FIRST);
    }
    assert_eq!(site.hub.live(), 3, "nothing is kept of those that made room");
    // The others are not affected, and a client that was too slow is told.
    send(&mut site, conn, "still there");
    assert_eq!(answer(&site, 2).1["messages"], json!(["still there"]));
    let early = answer(&site, 10).1["session"].as_str().unwrap().to_owned();
    poll(&mut site, 600, &early, "");
    assert_eq!(site.statuses(600), [410]);
    let late = answer(&site, 499).1["session"].as_str().unwrap().to_owned();
    poll(&mut site, 601, &late, "");
    assert!(site.statuses(601).is_empty(), "it waits for a message");
}
