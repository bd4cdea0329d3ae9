//! Handshakes that the script decides: one answer for each client, and nothing before it.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::hub::{Limits, WorkerId};
use crate::worker::protocol::{Action, ChannelSpec, Question, Registration};
use crate::worker::pulse::Pulse;

fn channel(path: &str, handler: u32) -> ChannelSpec {
    ChannelSpec { path: path.into(), handler, ping: 0.0, ..ChannelSpec::default() }
}

/// `/ask`, which asks, and `/ws`, which does not.
fn channels() -> Registration {
    let ask = ChannelSpec { asks: true, ..channel("/ask", 0) };
    Registration { channels: vec![ask, channel("/ws", 1)], ..registration() }
}

fn site(workers: u32) -> Site {
    Site::with(Limits::default(), workers, channels())
}

fn site_where(change: impl FnOnce(&mut ChannelSpec)) -> Site {
    let mut registration = channels();
    change(&mut registration.channels[0]);
    Site::with(Limits::default(), 1, registration)
}

/// A handshake with headers of its own.
fn handshake(site: &mut Site, id: i64, more: &[(&str, &str)]) {
    site.message(&mongrel2::websocket(Form::Tnetstring, SENDER, id, "/ask", None, more, b""));
}

/// The number of the connection that a worker was asked about, which is all that it was told.
fn asked(told: &[Told]) -> u64 {
    match told {
        [Told::Open { conn, fresh: true, resumed: false, asked: true, .. }] => *conn,
        other => panic!("not asked: {other:?}"),
    }
}

/// Asks the first worker about a handshake; the job of that has ended.
fn ask(site: &mut Site, id: i64) -> u64 {
    site.handshake(id, "/ask");
    asked(&site.told(FIRST))
}

fn accept(conn: u64) -> Action<'static> {
    Action::Accept { conn, protocol: "", head: b"" }
}

fn refuse(conn: u64) -> Action<'static> {
    Action::Refuse { conn, status: 401, head: b"WWW-Authenticate: Basic\r\n", body: b"who are you?" }
}

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
                       WWW-Authenticate: Basic\r\nContent-Length: 12\r\nConnection: close\r\n\r\nwho are you?";
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
                         Content-Length: 0\r\nConnection: close\r\n\r\n";

#[test]
fn an_accepted_handshake_is_a_websocket() {
    let mut site = site(1);
    site.handshake(7, "/ask");
    let conn = asked(&site.workers[&FIRST].live);
    assert!(site.sent(7).is_empty(), "nothing before the decision");
    site.act(FIRST, &[accept(conn)]);
    assert_eq!(site.text(7), format!("{ACCEPTED}\r\n"));
    let _ = site.told(FIRST);

    site.frame(7, "/ask", 0x81, b"hello");
    assert!(matches!(&site.told(FIRST)[..], [Told::Message { payload, .. }] if payload == b"hello"));
    site.act(FIRST, &[Action::Send { conn, binary: false, payload: b"hi" }]);
    assert_eq!(site.frames(7), [(0x81, b"hi".to_vec())]);
    site.frame(7, "/ask", 0x88, &[0x03, 0xe8]);
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1000, .. }]));
    assert!(site.closed(7));
    site.settles();
}

#[test]
fn the_decision_may_come_long_after_the_job_has_ended() {
    let mut site = site(1);
    let conn = ask(&mut site, 7);
    site.pass(seconds(29));
    assert!(site.sent(7).is_empty());
    site.act(FIRST, &[accept(conn)]);
    site.pass(seconds(60));
    assert_eq!(site.text(7), format!("{ACCEPTED}\r\n"));
}

#[test]
fn a_subprotocol_and_headers_are_the_scripts_choice_among_what_can_be() {
    let head = b"Set-Cookie: a=b\r\nSec-WebSocket-Protocol: v3\r\nContent-Length: 5\r\nX-A: 1\r\n";
    let cases = [
        ("v2", "Sec-WebSocket-Protocol: v2\r\n"),
        ("", ""),
        // It was not offered.
        ("v3", ""),
    ];
    for (protocol, line) in cases {
        let mut site = site(1);
        handshake(&mut site, 7, &[("sec-websocket-protocol", "v1, v2")]);
        let conn = asked(&site.told(FIRST));
        site.act(FIRST, &[Action::Accept { conn, protocol, head }]);
        assert_eq!(site.text(7), format!("{ACCEPTED}{line}Set-Cookie: a=b\r\nX-A: 1\r\n\r\n"));
    }
}

#[test]
fn compression_is_agreed_on_as_the_channel_says() {
    let extension = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for deflate in [true, false] {
        let mut site = site_where(|spec| spec.deflate = deflate);
        handshake(&mut site, 7, &[("sec-websocket-extensions", "permessage-deflate")]);
        let conn = asked(&site.told(FIRST));
        site.act(FIRST, &[Action::Join { conn, room: b"lobby" }, accept(conn)]);
        let line = if deflate { format!("Sec-WebSocket-Extensions: {extension}\r\n") } else { String::new() };
        assert_eq!(site.text(7), format!("{ACCEPTED}{line}\r\n"));
        let payload = [b'x'; 1000];
        site.act(FIRST, &[Action::Send { conn, binary: false, payload: &payload }]);
        site.act(FIRST, &[Action::Publish { except: 0, binary: false, room: b"lobby", payload: &payload }]);
        let heads: Vec<u8> = site.frames(7).iter().map(|(head, _)| *head).collect();
        assert_eq!(heads, [if deflate { 0xc1 } else { 0x81 }; 2]);
    }
}

#[test]
fn a_refusal_is_an_http_answer_and_the_script_hears_no_more() {
    for job_has_ended in [true, false] {
        let mut site = site(1);
        site.handshake(7, "/ask");
        let conn = asked(&site.workers[&FIRST].live);
        site.act(FIRST, &[Action::Join { conn, room: b"lobby" }]);
        if job_has_ended {
            let _ = site.told(FIRST);
        }
        site.act(FIRST, &[refuse(conn), accept(conn), refuse(conn)]);
        assert_eq!(site.text(7), REFUSED);
        assert!(site.closed(7));
        assert_eq!(site.told(FIRST).len(), usize::from(!job_has_ended), "the open alone");
        let question = Action::Query { query: 1, question: Question::Count, subject: b"lobby" };
        site.act(FIRST, &[question]);
        assert_eq!(site.told(FIRST), [Told::Answer { query: 1, json: "0".into() }]);
        // What the client sends meanwhile, and the notice of its end, are of no interest any more.
        site.frame(7, "/ask", 0x81, b"late");
        site.disconnect(7);
        assert!(site.told(FIRST).is_empty());
        site.settles();
    }
}

#[test]
fn a_close_before_the_decision_is_forbidden() {
    let mut site = site(1);
    let conn = ask(&mut site, 7);
    site.act(FIRST, &[Action::CloseConn { conn, code: 1000, reason: b"" }]);
    assert_eq!(site.text(7), FORBIDDEN);
    assert!(site.closed(7) && site.told(FIRST).is_empty());
    site.settles();

    let conn = ask(&mut site, 8);
    site.act(FIRST, &[Action::Join { conn, room: b"lobby" }]);
    site.act(FIRST, &[Action::CloseRoom { code: 4000, room: b"lobby", reason: b"" }]);
    assert_eq!(site.text(8), FORBIDDEN);
    let told = site.told(FIRST);
    assert!(
        matches!(told[..], [Told::Close { code: 4000, .. }]),
        "whoever closed the room is another: {told:?}"
    );
    site.settles();
}

#[test]
fn without_a_decision_in_time_the_client_gets_504() {
    let mut site = site(1);
    site.handshake(7, "/ask");
    let conn = asked(&site.workers[&FIRST].live);
    site.pass(millis(29_999));
    assert!(site.sent(7).is_empty());
    site.pass(millis(1));
    assert_eq!((site.statuses(7), site.closed(7)), (vec![504], true));
    site.act(FIRST, &[accept(conn)]);
    assert_eq!(site.statuses(7), [504]);
    let told = site.told(FIRST);
    assert!(matches!(told[..], [Told::Open { .. }, Told::Close { code: 1006, .. }]), "{told:?}");
    site.settles();
}

#[test]
fn each_handshake_has_its_own_time() {
    let mut site = site(1);
    for (id, decision) in [(1, refuse as fn(u64) -> Action<'static>), (2, accept)] {
        let conn = ask(&mut site, id);
        site.act(FIRST, &[decision(conn)]);
    }
    let _ = ask(&mut site, 3);
    site.disconnect(3);
    let _ = site.told(FIRST);
    site.pass(seconds(20));
    // They have the places of the first and the third.
    site.handshake(4, "/ask");
    site.handshake(5, "/ask");
    site.pass(seconds(29));
    assert!(site.sent(4).is_empty() && site.sent(5).is_empty());
    assert_eq!(site.hub.counters().timed_out, 0);
    site.pass(seconds(1));
    assert_eq!([site.statuses(4), site.statuses(5)], [[504], [504]]);
    assert_eq!(site.hub.counters().timed_out, 2);
}

#[test]
fn a_client_that_does_not_wait_is_gone() {
    let mut site = site(1);
    let conn = ask(&mut site, 7);
    site.disconnect(7);
    site.act(FIRST, &[accept(conn), Action::Send { conn, binary: false, payload: b"hi" }]);
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1006, .. }]));
    assert!(site.sent(7).is_empty() && !site.closed(7), "nobody is there");
    site.settles();

    // Mongrel2 gives the number to another client, and nobody said that the first one is gone.
    let _ = ask(&mut site, 8);
    site.handshake(8, "/ask");
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1006, .. }, Told::Open { asked: true, .. }]));

    site.hub.handle_server_down(LINK, site.now);
    site.turn();
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1006, .. }]));
    site.settles();
}

#[test]
fn a_client_that_leaves_before_a_worker_is_there_troubles_nobody() {
    let limits = Limits { worker_jobs: 1, ..Limits::default() };
    let mut site = Site::with(limits, 1, channels());
    site.request(8, "GET /a");
    site.handshake(7, "/ask");
    site.disconnect(7);
    site.respond(FIRST, 1, "hi");
    assert!(site.workers[&FIRST].live.is_empty());
    site.settles();

    site.die(FIRST, 1);
    site.handshake(7, "/ask");
    site.disconnect(7);
    site.pass(seconds(1));
    let worker = *site.workers.keys().next().unwrap();
    site.ready(worker, &channels());
    assert!(site.workers[&worker].live.is_empty());
    site.settles();
}

#[test]
fn another_worker_is_asked_when_one_dies_once() {
    for job_has_ended in [true, false] {
        let mut site = site(3);
        site.handshake(7, "/ask");
        let serial = site.workers[&FIRST].live[0].serial().unwrap();
        if job_has_ended {
            let _ = site.told(FIRST);
        }
        site.die(FIRST, serial);
        let conn = asked(&site.told(SECOND));
        assert!(site.sent(7).is_empty());
        site.die(SECOND, 1);
        assert_eq!((site.statuses(7), site.closed(7)), (vec![502], true));
        assert!(site.workers[&WorkerId(2)].live.is_empty(), "nobody is left who knows it");
        site.act(WorkerId(2), &[accept(conn)]);
        assert_eq!(site.statuses(7), [502]);
        site.settles();
    }
}

#[test]
fn the_second_worker_decides_as_the_first_would_have() {
    let mut site = site(2);
    handshake(&mut site, 7, &[("sec-websocket-protocol", "v1")]);
    site.die(FIRST, 1);
    let conn = asked(&site.told(SECOND));
    site.act(SECOND, &[Action::Accept { conn, protocol: "v1", head: b"" }]);
    assert_eq!(site.text(7), format!("{ACCEPTED}Sec-WebSocket-Protocol: v1\r\n\r\n"));
}

#[test]
fn a_worker_that_had_not_begun_does_not_count() {
    let mut site = site(4);
    site.handshake(7, "/ask");
    site.die(FIRST, 0);
    let workers = [1, 2, 3].map(WorkerId);
    let holder = |site: &Site| {
        let all = workers.into_iter().filter(|id| site.workers.contains_key(id));
        all.filter(|id| !site.workers[id].live.is_empty()).collect::<Vec<_>>()
    };
    let [second] = holder(&site)[..] else { panic!("one worker has it") };
    site.die(second, 0);
    let [third] = holder(&site)[..] else { panic!("one worker has it") };
    site.die(third, 1);
    let [last] = holder(&site)[..] else { panic!("one worker has it") };
    let conn = asked(&site.told(last));
    site.act(last, &[refuse(conn)]);
    assert_eq!(site.text(7), REFUSED);
}

#[test]
fn a_script_that_hangs_is_not_asked_twice() {
    let mut site = site(2);
    site.handshake(7, "/ask");
    let hangs = Pulse { started: 1, turn: 1, running: 1 };
    for _ in 0..250 {
        site.hub.handle_pulse(FIRST, hangs, site.now);
        site.pass(millis(50));
    }
    assert!(site.workers[&FIRST].killed);
    site.die(FIRST, 1);
    assert_eq!((site.statuses(7), site.closed(7)), (vec![504], true));
    assert!(site.workers[&SECOND].live.is_empty());
    site.settles();
}

#[test]
fn a_decision_that_was_ready_survives_its_worker() {
    let mut site = site(2);
    let conn = ask(&mut site, 7);
    // The loop hands over the outbox of a dead worker before its end.
    site.act(FIRST, &[accept(conn)]);
    site.die(FIRST, 1);
    assert_eq!(site.text(7), format!("{ACCEPTED}\r\n"));
    site.frame(7, "/ask", 0x81, b"hello");
    let told = site.told(SECOND);
    assert!(
        matches!(
            told[..],
            [Told::Open { fresh: false, resumed: true, asked: false, .. }, Told::Message { .. }]
        ),
        "{told:?}"
    );
}

#[test]
fn the_hub_itself_refuses_what_no_script_may_accept() {
    let mut site = site_where(|spec| spec.origins = vec!["http://a.example".into()]);
    handshake(&mut site, 1, &[("sec-websocket-version", "8")]);
    handshake(&mut site, 2, &[("sec-websocket-key", "short")]);
    handshake(&mut site, 3, &[("origin", "http://b.example")]);
    assert_eq!([site.statuses(1), site.statuses(2), site.statuses(3)], [[426], [400], [403]]);
    assert!((1..=3).all(|id| site.closed(id)) && site.told(FIRST).is_empty());
    handshake(&mut site, 4, &[("origin", "http://a.example")]);
    let _ = asked(&site.told(FIRST));
    site.request(5, "GET /ask");
    assert_eq!(site.statuses(5), [426]);
}

#[test]
fn a_star_among_the_origins_is_any() {
    let mut site = site_where(|spec| spec.origins = vec!["http://a.example".into(), "*".into()]);
    for (id, origin) in [(1, "https://b.example"), (2, "null"), (3, "file://"), (4, "http://localhost:6767")]
    {
        handshake(&mut site, id, &[("origin", origin)]);
        let _ = asked(&site.told(FIRST));
    }
}

#[test]
fn other_channels_do_not_ask() {
    let mut site = site(1);
    site.handshake(7, "/ws");
    assert_eq!(site.text(7), format!("{ACCEPTED}\r\n"));
    let told = site.told(FIRST);
    let [Told::Open { conn, fresh: true, asked: false, .. }] = told[..] else { panic!("{told:?}") };
    site.act(FIRST, &[accept(conn), refuse(conn), Action::Send { conn, binary: false, payload: b"hi" }]);
    assert_eq!(site.frames(7), [(0x81, b"hi".to_vec())], "decisions about it are dropped");
    assert!(!site.closed(7));
}

#[test]
fn a_websocket_of_an_earlier_hub_is_not_asked_about() {
    let mut site = site(1);
    site.frame(7, "/ask", 0x81, b"hello");
    let told = site.told(FIRST);
    let [Told::Open { conn, fresh: true, resumed: true, asked: false, .. }, Told::Message { .. }] = told[..]
    else {
        panic!("{told:?}")
    };
    site.act(FIRST, &[Action::Send { conn, binary: false, payload: b"hi" }]);
    assert_eq!(site.frames(7), [(0x81, b"hi".to_vec())]);
}

#[test]
fn a_client_that_speaks_before_its_answer_is_refused() {
    let mut site = site(1);
    let conn = ask(&mut site, 7);
    site.frame(7, "/ask", 0x81, b"let me in");
    assert_eq!((site.statuses(7), site.closed(7)), (vec![400], true));
    site.act(FIRST, &[accept(conn)]);
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1002, .. }]));
    site.settles();
}

#[test]
fn nothing_that_is_sent_before_the_decision_arrives() {
    let mut site = site(1);
    let conn = ask(&mut site, 7);
    let publish = |payload| Action::Publish { except: 0, binary: false, room: b"lobby", payload };
    let send = |payload| Action::Send { conn, binary: false, payload };
    site.act(FIRST, &[Action::Join { conn, room: b"lobby" }, publish(b"1"), send(b"2")]);
    assert!(site.sent(7).is_empty());
    site.act(FIRST, &[publish(b"3"), send(b"4"), accept(conn), publish(b"5"), send(b"6")]);
    assert!(site.sent(7).starts_with(format!("{ACCEPTED}\r\n").as_bytes()), "the answer comes first");
    site.pass(seconds(1));
    assert_eq!(site.frames(7), [(0x81, b"5".to_vec()), (0x81, b"6".to_vec())]);
}

#[test]
fn pings_begin_with_the_conversation() {
    let mut site = site_where(|spec| spec.ping = 10.0);
    let conn = ask(&mut site, 7);
    site.pass(seconds(25));
    assert!(site.sent(7).is_empty());
    site.act(FIRST, &[accept(conn)]);
    site.pass(millis(9_900));
    assert!(site.frames(7).is_empty());
    site.pass(millis(300));
    assert_eq!(site.frames(7), [(0x89, Vec::new())]);
}

#[test]
fn a_stop_waits_for_no_decision() {
    let mut site = site(1);
    let _ = ask(&mut site, 7);
    site.hub.begin_stop(site.now);
    site.turn();
    assert_eq!((site.statuses(7), site.closed(7)), (vec![503], true));
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1001, .. }]));
    site.pass(millis(100));
    assert!(site.workers[&FIRST].stop);
    assert_eq!(site.hub.live(), 0);
}

#[test]
fn newer_code_leaves_the_decision_to_whom_was_asked() {
    let mut site = site(1);
    let conn = ask(&mut site, 7);
    let new = site.load(APP, &channels());
    assert!(site.workers[&FIRST].stop && site.told(FIRST).is_empty());
    site.act(FIRST, &[accept(conn)]);
    assert_eq!(site.text(7), format!("{ACCEPTED}\r\n"));
    assert!(matches!(site.workers[&FIRST].live[..], [Told::Detach { .. }]), "now it is idle");
    site.frame(7, "/ask", 0x81, b"hello");
    assert!(matches!(
        site.told(new[0])[..],
        [Told::Open { fresh: false, asked: false, .. }, Told::Message { .. }]
    ));
}

#[test]
fn newer_code_is_asked_when_the_older_ends_without_a_decision() {
    let mut site = site(1);
    let conn = ask(&mut site, 7);
    let new = site.load(APP, &channels());
    site.die(FIRST, 1);
    assert_eq!(asked(&site.told(new[0])), conn);
    site.act(new[0], &[refuse(conn)]);
    assert_eq!(site.text(7), REFUSED);
    site.settles();
}

#[test]
fn a_client_that_leaves_while_older_code_ends_is_forgotten() {
    let mut site = site(1);
    let _ = ask(&mut site, 7);
    let new = site.load(APP, &channels());
    site.disconnect(7);
    assert!(matches!(site.workers[&FIRST].live[..], [Told::Detach { .. }]));
    assert!(site.workers[&new[0]].live.is_empty());
    site.settles();
}

#[test]
fn a_handshake_ends_with_its_channel() {
    let mut site = site(1);
    let _ = ask(&mut site, 7);
    site.load(APP, &registration());
    assert_eq!((site.statuses(7), site.closed(7)), (vec![503], true));
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1001, .. }]));
    site.settles();
}
