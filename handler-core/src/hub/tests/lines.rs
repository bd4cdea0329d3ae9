//! Sessions by WebSockets of `kennel.js`: whatever becomes of a WebSocket, each message arrives once and in order, both
//! ways, and the script sees one connection.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::channel::line::PROTOCOL;
use crate::hub::Limits;
use crate::worker::protocol::{Action, ChannelSpec, Registration, Slow};
use serde_json::{Value, json};

const ALIVE: (u8, &str) = (0x81, "{}");

fn site_with(limits: Limits, spec: ChannelSpec) -> Site {
    let spec = ChannelSpec { path: "/chat".into(), ..spec };
    let mut site = Site::with(limits, 1, Registration { channels: vec![spec], ..registration() });
    site.hub.set_session_key(&[7; 32]);
    site
}

fn site() -> Site {
    site_with(Limits::default(), ChannelSpec::default())
}

/// A handshake of `kennel.js` by connection `id`.
fn handshake(site: &mut Site, id: i64, query: &str) {
    let mut more = vec![("sec-websocket-protocol", PROTOCOL)];
    more.extend(Some(("QUERY", query)).filter(|(_, query)| !query.is_empty()));
    site.handshake_with(id, "/chat", &more);
}

/// What a connection got: first bytes and texts; a close as its code.
fn got(site: &Site, id: u32) -> Vec<(u8, String)> {
    let read = |(first, payload): (u8, Vec<u8>)| match first {
        0x88 => (first, payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)).to_string()),
        _ => (first, String::from_utf8_lossy(&payload).into_owned()),
    };
    site.frames(id).into_iter().filter(|(first, _)| *first != 0x89).map(read).collect()
}

/// The messages among them.
fn messages(site: &Site, id: u32) -> Vec<String> {
    let text = |(first, text): (u8, String)| match first {
        0x81 => text.strip_prefix('=').map(str::to_owned),
        0x82 => Some(format!("bytes {text}")),
        _ => None,
    };
    got(site, id).into_iter().filter_map(text).collect()
}

/// What the hub said of the session in its last frame of this name.
fn said(site: &Site, id: u32, name: &str) -> Option<Value> {
    let objects = got(site, id).into_iter().filter_map(|(_, text)| serde_json::from_str::<Value>(&text).ok());
    objects.filter_map(|object| object.get(name).cloned()).next_back()
}

/// Opens a session by connection 1: its ticket and its number at the worker.
fn open(site: &mut Site) -> (String, u64) {
    handshake(site, 1, "");
    let head = String::from_utf8_lossy(&site.sent(1)).into_owned();
    assert!(head.contains(&format!("Sec-WebSocket-Protocol: {PROTOCOL}\r\n")), "{head}");
    let ticket = said(site, 1, "session").unwrap().as_str().unwrap().to_owned();
    match &site.told(FIRST)[..] {
        [Told::Open { conn, fresh: true, resumed: false, .. }] => (ticket, *conn),
        other => panic!("no open: {other:?}"),
    }
}

fn send(site: &mut Site, conn: u64, text: &str) {
    site.act(FIRST, &[Action::Send { conn, binary: false, payload: text.as_bytes() }]);
}

fn say(site: &mut Site, id: i64, text: &str) {
    site.frame(id, "/chat", 0x81, text.as_bytes());
}

/// The messages that the script was told.
fn heard(site: &mut Site) -> Vec<String> {
    let text = |told: Told| match told {
        Told::Message { payload, .. } => String::from_utf8(payload).unwrap(),
        other => panic!("{other:?}"),
    };
    site.told(FIRST).into_iter().map(text).collect()
}

#[test]
fn a_line_carries_messages_both_ways_and_acknowledges_them() {
    let mut site = site_with(Limits::default(), ChannelSpec { ping: 7.0, ..ChannelSpec::default() });
    let (_, conn) = open(&mut site);
    assert_eq!(said(&site, 1, "resumed"), Some(json!(false)));
    assert_eq!((said(&site, 1, "ping"), said(&site, 1, "received")), (Some(json!(7.0)), Some(json!(0))));
    say(&mut site, 1, "1=one");
    say(&mut site, 1, "2=");
    site.frame(1, "/chat", 0x82, b"\x01");
    assert_eq!(heard(&mut site), ["one", "", "\x01"]);
    assert_eq!(said(&site, 1, "received"), Some(json!(0)), "it waits for a message to travel with");
    send(&mut site, conn, "hello");
    assert_eq!(got(&site, 1)[1..], [(0x81, "{\"received\":3}".to_owned()), (0x81, "=hello".to_owned())]);
    say(&mut site, 1, "4=two");
    site.pass(milliseconds(200));
    assert_eq!(said(&site, 1, "received"), Some(json!(4)), "or not for long");
    site.act(FIRST, &[Action::Send { conn, binary: true, payload: b"x" }]);
    assert_eq!(messages(&site, 1), ["hello", "bytes x"]);
    site.frame(1, "/chat", 0x88, &[0x0f, 0xa1]);
    assert!(matches!(site.told(FIRST)[..], [Told::Message { .. }, Told::Close { code: 4001, .. }]));
    assert!(site.closed(1));
    site.settles();
}

fn milliseconds(count: u64) -> std::time::Duration {
    std::time::Duration::from_millis(count)
}

#[test]
fn what_was_not_acknowledged_comes_again_by_the_next_line() {
    let mut site = site();
    let (ticket, conn) = open(&mut site);
    for text in ["one", "two", "three"] {
        send(&mut site, conn, text);
    }
    say(&mut site, 1, "1=a");
    say(&mut site, 1, "2=b");
    site.disconnect(1);
    send(&mut site, conn, "four");
    handshake(&mut site, 2, &format!("session={ticket}&after=1"));
    assert_eq!(said(&site, 2, "resumed"), Some(json!(true)));
    assert_eq!(said(&site, 2, "received"), Some(json!(2)), "the client sends again what is behind that");
    assert_eq!(messages(&site, 2), ["two", "three", "four"]);
    say(&mut site, 2, "3=c");
    assert_eq!(heard(&mut site), ["a", "b", "c"], "and the script notices nothing");
    // The hub was not told of the end of this line, and what is still under way of it comes late.
    say(&mut site, 2, "{\"after\":3}");
    handshake(&mut site, 3, &format!("session={ticket}&after=3"));
    assert!(site.closed(2));
    say(&mut site, 2, "4=late");
    assert_eq!(messages(&site, 3), ["four"]);
    say(&mut site, 3, "3=c");
    say(&mut site, 3, "4=d");
    assert_eq!(heard(&mut site), ["d"]);
    // What the client had is not kept.
    handshake(&mut site, 4, &format!("session={ticket}&after=1"));
    assert_eq!(got(&site, 4).last(), Some(&(0x88, "1012".to_owned())));
}

#[test]
fn a_session_may_change_what_carries_it() {
    let mut site = site();
    let (ticket, conn) = open(&mut site);
    say(&mut site, 1, "1=1");
    send(&mut site, conn, "one");
    site.disconnect(1);
    let ask = |site: &mut Site, id, line: &str, query: &str, body: &[u8]| {
        site.message(&mongrel2::http(Form::Tnetstring, SENDER, id, line, &[("QUERY", query)], body));
    };
    ask(&mut site, 2, "GET /chat", &format!("session={ticket}&after=0&wait=0"), b"");
    assert!(site.text(2).contains("{\"after\":1,\"messages\":[\"one\"]}"), "{}", site.text(2));
    ask(&mut site, 3, "POST /chat", &format!("session={ticket}&number=1"), b"1");
    ask(&mut site, 3, "POST /chat", &format!("session={ticket}&number=2"), b"2");
    assert_eq!((site.statuses(3), heard(&mut site)), (vec![204, 204], vec!["1".to_owned(), "2".to_owned()]));
    handshake(&mut site, 4, &format!("session={ticket}&after=1"));
    // A request that was under way arrives behind the handshake, and the client says the same by the new line.
    ask(&mut site, 5, "POST /chat", &format!("session={ticket}&number=3"), b"3");
    say(&mut site, 4, "3=3");
    say(&mut site, 4, "4=4");
    assert_eq!(heard(&mut site), ["3", "4"]);
}

#[test]
fn signs_of_life_come_at_an_interval_and_when_asked_in_few_replies() {
    let mut site = site_with(Limits::default(), ChannelSpec { ping: 10.0, ..ChannelSpec::default() });
    (1..=300).for_each(|id| handshake(&mut site, id, ""));
    site.told(FIRST);
    let before = site.replies.len();
    site.pass(seconds(10) + milliseconds(200));
    let replies: Vec<_> = site.replies[before..].iter().filter(|reply| !reply.extended).collect();
    assert!(replies.iter().all(|reply| reply.payload == b"\x89\x00\x81\x02{}"));
    assert_eq!(replies.len(), 3, "128 to a reply");
    assert_eq!(got(&site, 1)[1..], [(ALIVE.0, ALIVE.1.to_owned())]);
    say(&mut site, 1, "{\"ask\":true}");
    assert_eq!(got(&site, 1).len(), 3);
    say(&mut site, 1, "{\"later\":\"versions say more\"}");
    assert_eq!(got(&site, 1).len(), 3);
    assert!(site.told(FIRST).is_empty(), "nothing of it is the script's");
}

#[test]
fn a_line_on_which_nothing_answers_is_given_up_and_its_session_waits() {
    let mut site = site_with(Limits::default(), ChannelSpec { ping: 10.0, ..ChannelSpec::default() });
    let (ticket, _) = open(&mut site);
    for _ in 0..10 {
        site.pass(seconds(10));
        site.frame(1, "/chat", 0x8a, b"");
    }
    assert!(!site.closed(1));
    site.pass(seconds(51));
    assert!(site.closed(1) && site.told(FIRST).is_empty());
    site.pass(seconds(50));
    handshake(&mut site, 2, &format!("session={ticket}&after=0"));
    assert_eq!(said(&site, 2, "resumed"), Some(json!(true)));
    assert!(site.told(FIRST).is_empty());
    let before = got(&site, 2).len();
    site.pass(seconds(21));
    assert_eq!(got(&site, 2).len() - before, 2, "one beat an interval, not two");
    site.disconnect(2);
    site.pass(seconds(60));
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1006, .. }]));
    handshake(&mut site, 3, &format!("session={ticket}&after=0"));
    assert!(site.sent(3).starts_with(b"HTTP/1.1 101 "));
    assert_eq!(got(&site, 3), [(0x88, "1012".to_owned())]);
    site.settles();
}

#[test]
fn frames_for_a_hub_that_has_ended_end_their_line() {
    let mut site = site();
    let more = [("sec-websocket-protocol", PROTOCOL)];
    let frame =
        |body: &[u8]| mongrel2::websocket(Form::Tnetstring, SENDER, 9, "/chat", Some(0x81), &more, body);
    site.message(&frame(b"{\"after\":2}"));
    assert!(site.sent(9).is_empty(), "what follows tells more");
    site.message(&frame(b"4=hello"));
    let refused = (0x81, "{\"refused\":4}".to_owned());
    assert_eq!(got(&site, 9), [refused, (0x88, "1012".to_owned())]);
    assert!(site.closed(9) && site.told(FIRST).is_empty());
    site.settles();
}

#[test]
fn a_script_that_does_not_keep_up_is_waited_for() {
    let limits = Limits { channel_queue: 10, ..Limits::default() };
    let mut site = site_with(limits, ChannelSpec::default());
    handshake(&mut site, 1, "");
    // `open` is not done, so this waits.
    say(&mut site, 1, "1=0123456789");
    say(&mut site, 1, "2=second");
    say(&mut site, 1, "3=third");
    assert_eq!(got(&site, 1)[1..], [(0x81, "{\"received\":1,\"busy\":true}".to_owned())]);
    say(&mut site, 1, "2=second");
    say(&mut site, 1, "3=third");
    assert_eq!(got(&site, 1).len(), 3, "told each time that the first of them comes");
    site.told(FIRST);
    assert_eq!(heard(&mut site), ["0123456789"]);
    say(&mut site, 1, "4=what was on its way");
    say(&mut site, 1, "2=second");
    assert_eq!(heard(&mut site), ["second"]);
    say(&mut site, 1, "{\"from\":3}");
    site.frame(1, "/chat", 0x82, b"third");
    assert_eq!(heard(&mut site), ["third"]);
    assert!(!site.closed(1));
}

#[test]
fn no_more_leaves_than_can_be_kept_until_it_is_acknowledged() {
    let limits = Limits { resume: 1000, ..Limits::default() };
    let mut site = site_with(limits, ChannelSpec::default());
    let (ticket, conn) = open(&mut site);
    let large = "x".repeat(50_000);
    (0..10).for_each(|_| send(&mut site, conn, &large));
    site.pass(seconds(1));
    assert_eq!(messages(&site, 1).len(), 3, "128 KiB and the message that is above");
    say(&mut site, 1, "{\"after\":2}");
    site.pass(seconds(1));
    assert_eq!(messages(&site, 1).len(), 5);
    site.disconnect(1);
    handshake(&mut site, 2, &format!("session={ticket}&after=2"));
    for after in 3..=10 {
        site.pass(seconds(1));
        say(&mut site, 2, &format!("{{\"after\":{after}}}"));
    }
    assert_eq!(messages(&site, 2).len(), 8, "all that it had not");
}

#[test]
fn what_is_dropped_for_newer_messages_is_missing_in_the_numbers() {
    let spec = ChannelSpec { slow: Slow::DropOldest, buffer: 6, ..ChannelSpec::default() };
    let mut site = site_with(Limits::default(), spec);
    let (ticket, conn) = open(&mut site);
    send(&mut site, conn, "one");
    site.disconnect(1);
    for text in ["two", "three", "four"] {
        send(&mut site, conn, text);
    }
    handshake(&mut site, 2, &format!("session={ticket}&after=1"));
    assert_eq!(said(&site, 2, "number"), Some(json!(4)));
    assert_eq!(messages(&site, 2), ["four"]);
}

#[test]
fn a_close_of_ours_goes_behind_what_waits_and_is_answered() {
    for answers in [true, false] {
        let mut site = site();
        let (_, conn) = open(&mut site);
        send(&mut site, conn, "last");
        site.act(FIRST, &[Action::CloseConn { conn, code: 4001, reason: b"enough" }]);
        send(&mut site, conn, "late");
        assert_eq!(got(&site, 1)[1..], [(0x81, "=last".to_owned()), (0x88, "4001".to_owned())]);
        assert!(!site.closed(1));
        match answers {
            true => site.frame(1, "/chat", 0x88, &[0x0f, 0xa1]),
            false => site.pass(seconds(5)),
        }
        assert!(site.closed(1));
        assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 4001, .. }]));
        site.settles();
    }
    // A line that is gone before the close has come: the next one brings it.
    let mut site = site();
    let (ticket, conn) = open(&mut site);
    site.disconnect(1);
    send(&mut site, conn, "last");
    site.act(FIRST, &[Action::CloseConn { conn, code: 4001, reason: b"enough" }]);
    handshake(&mut site, 2, &format!("session={ticket}&after=0"));
    assert_eq!(got(&site, 2)[1..], [(0x81, "=last".to_owned()), (0x88, "4001".to_owned())]);
    site.frame(2, "/chat", 0x88, &[0x0f, 0xa1]);
    site.told(FIRST);
    site.settles();
}

#[test]
fn a_line_that_is_given_up_leaves_its_session_to_the_next_one() {
    let mut site = site();
    let (ticket, conn) = open(&mut site);
    send(&mut site, conn, "one");
    // What the library says when it hears nothing, and then the browser's close.
    say(&mut site, 1, "{\"leave\":true}");
    site.frame(1, "/chat", 0x88, b"");
    assert!(site.closed(1));
    send(&mut site, conn, "two");
    handshake(&mut site, 2, &format!("session={ticket}&after=0"));
    assert_eq!(
        (said(&site, 2, "resumed"), messages(&site, 2)),
        (Some(json!(true)), vec!["one".into(), "two".into()])
    );
    assert!(site.told(FIRST).is_empty(), "the script notices nothing");
}

#[test]
fn messages_leave_nothing_behind_in_what_is_due() {
    let mut site = site();
    open(&mut site);
    for number in 1..=200 {
        say(&mut site, 1, &format!("{number}=x"));
        site.told(FIRST);
        site.pass(milliseconds(300));
    }
    assert!(site.hub.planned_for_sessions() < 4, "{}", site.hub.planned_for_sessions());
}

#[test]
fn one_message_may_be_larger_than_what_may_wait_for_the_script() {
    let limits = Limits { channel_queue: 1000, ..Limits::default() };
    let mut site = site_with(limits, ChannelSpec::default());
    open(&mut site);
    let large = "x".repeat(5000);
    say(&mut site, 1, &format!("1={large}"));
    assert_eq!(heard(&mut site), [large]);
}

/// A client that reads and acknowledges nothing gets all that waits, and the close behind that.
#[test]
fn a_close_of_ours_does_not_wait_for_acknowledgements() {
    let mut site = site_with(Limits { mailbox: 16, ..Limits::default() }, ChannelSpec::default());
    let (_, conn) = open(&mut site);
    for number in 0..12 {
        send(&mut site, conn, &number.to_string());
        site.frame(1, "/chat", 0x8a, b"arrived?");
        site.pass(milliseconds(300));
    }
    assert_eq!(messages(&site, 1).len(), 8, "half of the mailbox may be under way");
    site.act(FIRST, &[Action::CloseConn { conn, code: 4001, reason: b"enough" }]);
    assert_eq!(messages(&site, 1).len(), 12);
    assert_eq!(got(&site, 1).last(), Some(&(0x88, "4001".to_owned())));
    site.pass(seconds(5));
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 4001, .. }]) && site.closed(1));
    site.settles();
}

#[test]
fn a_client_that_asks_and_does_not_read_costs_no_memory() {
    let limits = Limits { connection_output: 64 << 10, ..Limits::default() };
    let mut site = site_with(limits, ChannelSpec::default());
    let more = [("sec-websocket-protocol", PROTOCOL), ("DOWNLOAD_CREDITS", "102400")];
    site.handshake_with(1, "/chat", &more);
    let before = site.sent(1).len();
    for _ in 0..100_000 {
        let ask =
            mongrel2::websocket(Form::Tnetstring, SENDER, 1, "/chat", Some(0x81), &[], b"{\"ask\":true}");
        site.hub.handle_message(LINK, &ask, site.now);
    }
    site.turn();
    assert!(site.sent(1).len() - before < 100, "one sign of life is as good as many");
}

#[test]
fn who_breaks_the_rules_of_lines_is_closed() {
    let too_large = [&b"1="[..], &[b'x'; (1 << 20) + 1]].concat();
    let cases: [(u8, &[u8], u16); 5] = [
        (0x81, b"hello", 1002),
        (0x81, b"[]", 1002),
        (0x81, &too_large, 1009),
        (0x82, &too_large[2..], 1009),
        (0x81, b"1=\xff", 1007),
    ];
    for (flags, payload, expected) in cases {
        let mut site = site();
        open(&mut site);
        site.frame(1, "/chat", flags, payload);
        assert_eq!(got(&site, 1).last(), Some(&(0x88, expected.to_string())));
        assert!(matches!(site.told(FIRST)[..], [Told::Close { code, .. }] if code == expected));
        assert!(site.closed(1));
        site.settles();
    }
}

#[test]
fn a_page_that_is_left_and_a_hub_that_stops_end_the_session() {
    let mut site = site();
    open(&mut site);
    say(&mut site, 1, "{\"close\":1001}");
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1001, .. }]));
    assert!(site.closed(1));
    site.settles();
    let mut site = self::site();
    let (_, conn) = open(&mut site);
    send(&mut site, conn, "last");
    site.hub.begin_stop(site.now);
    site.turn();
    assert_eq!(got(&site, 1)[1..], [(0x81, "=last".to_owned()), (0x88, "1001".to_owned())]);
}

#[test]
fn plain_websockets_and_handshakes_that_scripts_decide_are_as_before() {
    let mut site =
        site_with(Limits::default(), ChannelSpec { protocols: vec!["v1".into()], ..ChannelSpec::default() });
    site.handshake_with(1, "/chat", &[("sec-websocket-protocol", "v1")]);
    assert!(site.text(1).contains("Sec-WebSocket-Protocol: v1\r\n"));
    site.frame(1, "/chat", 0x81, b"plain");
    assert!(
        matches!(&site.told(FIRST)[..], [Told::Open { .. }, Told::Message { payload, .. }] if payload == b"plain")
    );
    // The library learns which of the page's own subprotocols was chosen.
    site.handshake_with(2, "/chat", &[("sec-websocket-protocol", &format!("{PROTOCOL}, v2, v1"))]);
    assert_eq!(said(&site, 2, "protocol"), Some(json!("v1")));
    let mut site = site_with(Limits::default(), ChannelSpec { asks: true, ..ChannelSpec::default() });
    handshake(&mut site, 1, "");
    assert!(matches!(site.told(FIRST)[..], [Told::Open { asked: true, .. }]));
}

/// A room with sessions by WebSockets of kennel.js on connections 1 to `members`: their tickets and numbers.
fn room(site: &mut Site, members: u32, more: &[(&str, &str)]) -> Vec<(String, u64)> {
    let mut sessions = Vec::new();
    for id in 1..=members {
        let more = [&[("sec-websocket-protocol", PROTOCOL)], more].concat();
        site.handshake_with(id.into(), "/chat", &more);
        let ticket = said(site, id, "session").unwrap().as_str().unwrap().to_owned();
        let told = site.told(FIRST);
        let [Told::Open { conn, .. }] = told[..] else { panic!("{told:?}") };
        site.act(FIRST, &[Action::Join { conn, room: b"all" }]);
        sessions.push((ticket, conn));
    }
    sessions
}

fn publish(site: &mut Site, texts: &[&str]) -> usize {
    let before = site.replies.len();
    let message = |text: &&'static str| Action::Publish {
        except: 0,
        binary: false,
        room: b"all",
        payload: text.as_bytes(),
    };
    let texts: Vec<&'static str> = texts.iter().map(|text| &*text.to_string().leak()).collect();
    site.act(FIRST, &texts.iter().map(message).collect::<Vec<_>>());
    let content = |payload: &[u8]| payload.windows(2).any(|bytes| bytes == b"=m");
    site.replies[before..].iter().filter(|reply| content(&reply.payload)).count()
}

#[test]
fn a_message_to_a_room_reaches_up_to_128_lines_with_one_reply() {
    for more in [&[][..], &[("DOWNLOAD_CREDITS", "102400")]] {
        let mut site = site();
        let sessions = room(&mut site, 300, more);
        assert_eq!(publish(&mut site, &["m1"]), 3);
        assert_eq!(publish(&mut site, &["m2", "m3"]), 3);
        send(&mut site, sessions[6].1, "to one");
        assert!((1..=300).filter(|id| *id != 7).all(|id| messages(&site, id) == ["m1", "m2", "m3"]));
        assert_eq!(messages(&site, 7), ["m1", "m2", "m3", "to one"]);
        if !more.is_empty() {
            // Nothing is reported as written, so the server gets no more for now.
            continue;
        }
        for id in 1..=300 {
            site.frame(id, "/chat", 0x8a, b"arrived?");
        }
        site.pass(milliseconds(60));
        // A line that breaks has them again.
        site.disconnect(7);
        assert_eq!(publish(&mut site, &["m4"]), 3, "the others do not wait for it");
        handshake(&mut site, 1000, &format!("session={}&after=2", sessions[6].0));
        assert_eq!(messages(&site, 1000), ["m3", "to one", "m4"]);
        let rest: Vec<String> = (5..=12).map(|n| format!("m{n}")).collect();
        for text in &rest {
            publish(&mut site, &[text]);
            for id in 2..=6 {
                site.frame(id, "/chat", 0x8a, b"arrived?");
                say(&mut site, id, &format!("{{\"after\":{}}}", &text[1..]));
            }
            site.pass(milliseconds(60));
        }
        assert_eq!(messages(&site, 2)[3..].to_vec(), [&["m4".to_owned()], &rest[..]].concat());
    }
}

#[test]
fn a_line_that_has_something_to_send_gets_a_rooms_message_behind_that() {
    let mut site = site();
    let sessions = room(&mut site, 2, &[]);
    let texts: Vec<&[u8]> = (0..20).map(|_| &b"long"[..]).collect();
    let sends = texts.iter().map(|text| Action::Send { conn: sessions[0].1, binary: false, payload: text });
    let publish = [Action::Publish { except: 0, binary: false, room: b"all", payload: b"m1" }];
    let last = [Action::Send { conn: sessions[0].1, binary: false, payload: b"last" }];
    let actions: Vec<Action<'_>> = sends.chain(publish).chain(last).collect();
    site.act(FIRST, &actions);
    site.pass(seconds(1));
    let got = messages(&site, 1);
    assert_eq!(got[20..], ["m1", "last"], "{got:?}");
    assert_eq!(messages(&site, 2), ["m1"]);
}
