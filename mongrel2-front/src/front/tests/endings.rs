//! Ends of connections: who hears of them, and what is still written.

use super::*;
use std::time::Duration;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const WEBSOCKET: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn disconnects(run: &mut Run) -> usize {
    run.messages().iter().filter(|message| message.contains("disconnect")).count()
}

#[test]
fn every_handler_that_knows_a_connection_hears_of_its_end_once() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, GET);
    run.receive(client, b"GET /raw HTTP/1.1\r\nHost: a\r\n\r\n");
    run.messages.clear();
    run.front.lost(client);
    run.front.lost(client);
    run.settle();
    let handlers: Vec<_> = run.messages.iter().map(|(handler, _)| *handler).collect();
    assert_eq!((handlers, run.closed.len()), (vec![HandlerId(0), HandlerId(1)], 1));
}

#[test]
fn a_client_that_sent_nothing_to_a_handler_ends_in_silence() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, b"GET / HT");
    run.front.end_of_input(client, run.now);
    run.settle();
    assert_eq!((run.messages().len(), run.closed.len()), (0, 1));
}

#[test]
fn a_client_that_shut_its_side_down_gets_its_response() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, LAST);
    run.front.end_of_input(client, run.now);
    run.settle();
    assert_eq!((disconnects(&mut run), run.closed.len()), (0, 0));
    run.reply(b"m2cap-t 1:1, HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    assert_eq!(run.written(client).len(), 40);
    assert_eq!(run.closed.len(), 0);
    run.reply(b"m2cap-t 1:1, cd");
    assert_eq!(run.closed.len(), 0);
    run.written(client);
    assert_eq!((disconnects(&mut run), run.closed.len()), (1, 1));
}

#[test]
fn a_client_that_ends_while_it_waits_for_a_response_has_left() {
    let half = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhalf";
    // Who says that no request follows, and ends at once, waits for the response.
    for (first, seconds) in [(GET, 0), (GET, 10), (LAST, 10)] {
        for rest in [&b""[..], first, b"GET /", half] {
            if (first, rest, seconds) == (GET, half, 0) {
                continue;
            }
            let mut run = Run::plain(&[]);
            let client = run.accept();
            run.receive(client, &[first, rest].concat());
            run.messages.clear();
            run.wait(seconds);
            run.front.end_of_input(client, run.now);
            run.settle();
            assert_eq!((disconnects(&mut run), run.closed.len()), (1, 1));
        }
    }
}

#[test]
fn a_client_that_ends_while_its_response_is_written_is_known_to_have_left_when_that_is_done() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, GET);
    run.reply(b"m2cap-t 1:1, HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    run.wait(10);
    run.front.end_of_input(client, run.now);
    run.settle();
    assert_eq!((disconnects(&mut run), run.closed.len()), (0, 0));
    run.written(client);
    assert_eq!((disconnects(&mut run), run.closed.len()), (1, 1));
}

#[test]
fn when_a_client_ended_that_was_not_read_from_is_not_known() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.front.set_congested(HandlerId(0), true, run.now);
    run.receive(client, &LAST.repeat(2_500));
    assert!(!run.front.wants_input(client));
    run.wait(10);
    run.front.set_congested(HandlerId(0), false, run.now);
    run.front.end_of_input(client, run.now);
    run.settle();
    assert_eq!((disconnects(&mut run), run.closed.len()), (0, 0));
}

#[test]
fn a_half_closed_client_without_a_request_is_gone() {
    for is_websocket in [true, false] {
        let mut run = Run::plain(&[]);
        let client = run.accept();
        run.receive(client, if is_websocket { WEBSOCKET } else { b"@chat {}\0" });
        run.front.end_of_input(client, run.now);
        run.settle();
        assert_eq!((disconnects(&mut run), run.closed.len()), (1, 1));
    }
}

#[test]
fn a_handler_that_closes_gets_no_notice_and_what_it_sent_before_is_written() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, GET);
    run.reply(b"m2cap-t 1:1, bye");
    run.reply(b"m2cap-t 1:1, ");
    run.reply(b"m2cap-t 1:1, more");
    assert_eq!((run.closed.len(), run.written(client)), (0, b"bye".to_vec()));
    assert_eq!((disconnects(&mut run), run.closed.len()), (0, 1));
}

#[test]
fn a_refused_request_is_answered_behind_the_responses_that_are_owed() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, &[GET, b"BAD\r\n\r\n", GET].concat());
    assert_eq!((run.messages().len(), run.written(client).len()), (1, 0));
    run.reply(b"m2cap-t 1:1, HTTP/1.1 204 No Content\r\n\r\n");
    let written = run.written(client).escape_ascii().to_string();
    assert!(written.starts_with("HTTP/1.1 204 No Content\\r\\n\\r\\nHTTP/1.1 400 "), "{written}");
    assert_eq!((disconnects(&mut run), run.closed.len()), (1, 1));
}

#[test]
fn the_policy_is_sent_behind_the_responses_that_are_owed() {
    for is_half_closed in [false, true] {
        let mut run = Run::plain(&[]);
        let client = run.accept();
        run.receive(client, &[GET, GET, b"<policy-file-request/>\0"].concat());
        if is_half_closed {
            run.front.end_of_input(client, run.now);
            run.settle();
        }
        assert_eq!((run.messages().len(), run.written(client).len()), (2, 0));
        let mut written = Vec::new();
        for _ in 0..2 {
            run.reply(b"m2cap-t 1:1, HTTP/1.1 204 No Content\r\n\r\n");
            written.extend(run.written(client));
        }
        written.extend(run.written(client));
        let owed = b"HTTP/1.1 204 No Content\r\n\r\n".repeat(2);
        assert_eq!(written, [&owed[..], crate::socket_message::POLICY].concat());
        assert_eq!((disconnects(&mut run), run.closed.len()), (1, 1));
    }
}

#[test]
fn a_broken_frame_ends_a_websocket() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, WEBSOCKET);
    assert!(run.messages()[0].contains("WEBSOCKET_HANDSHAKE"));
    run.receive(client, b"\x81\x01x");
    assert_eq!((disconnects(&mut run), run.closed.len()), (1, 1));
}

#[test]
fn slow_clients_are_closed_as_their_settings_say() {
    let mut run = Run::plain(&[("limits.min_ping", "20"), ("limits.tick_timer", "10")]);
    let (idle, kept, late, message) = (run.accept(), run.accept(), run.accept(), run.accept());
    run.receive(idle, GET);
    run.receive(kept, GET);
    run.receive(late, b"GET / HTTP/1.1\r\n");
    run.receive(message, b"@chat {");
    for _ in 0..7 {
        run.now += Duration::from_secs(10);
        run.reply(b"m2cap-t 3:X 2, 31:3:ctl,21:10:keep-alive,4:true!}]");
        // Each byte is a sign of life, but the head has to end.
        run.receive(late, b"A");
        run.receive(message, b"1");
        run.front.handle_timeout(run.now);
        run.settle();
    }
    assert_eq!((disconnects(&mut run), &run.closed[..]), (1, &[idle, message][..]));
    assert!(run.written(late).starts_with(b"HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!((disconnects(&mut run), &run.closed[..]), (0, &[idle, message, late][..]));
}

#[test]
fn a_server_that_stops_owes_responses_but_no_further_requests() {
    let mut run = Run::plain(&[]);
    let (busy, idle, websocket) = (run.accept(), run.accept(), run.accept());
    run.receive(busy, GET);
    run.receive(websocket, WEBSOCKET);
    run.front.stop();
    run.settle();
    assert_eq!((disconnects(&mut run), &run.closed[..]), (1, &[idle, websocket][..]));
    run.reply(b"m2cap-t 1:1, HTTP/1.1 204 No Content\r\n\r\n");
    run.written(busy);
    assert_eq!((disconnects(&mut run), run.front.len()), (1, 0));
}

#[test]
fn an_operator_ends_a_connection_by_its_id() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, GET);
    assert!(run.front.kill(1));
    assert!(!run.front.kill(1));
    run.settle();
    assert_eq!((disconnects(&mut run), run.closed.len(), run.front.has(client)), (1, 1, false));
}
