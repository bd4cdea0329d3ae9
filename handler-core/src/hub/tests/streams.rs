//! Answers in pieces: the exact bytes, and what becomes of them when something goes wrong.

use super::mongrel2::split_response;
use super::site::*;
use crate::hub::{Limits, LinkId, WorkerId};
use crate::worker::protocol::{Action, STREAM_WINDOW};

const HTTP10: (&str, &str) = ("VERSION", "HTTP/1.0");

fn begin(serial: u64, head: &str) -> Action<'_> {
    Action::Begin { serial, status: 200, head: head.as_bytes() }
}

fn piece(serial: u64, bytes: &[u8]) -> Action<'_> {
    Action::Piece { serial, bytes }
}

fn end(serial: u64) -> Action<'static> {
    Action::End { serial }
}

fn abort(serial: u64) -> Action<'static> {
    Action::Abort { serial }
}

/// A site where connection 7 has asked for `line`, and its worker answers by these actions, each in a turn of its
/// own.
fn answered(line: &str, more: &[(&str, &str)], actions: &[Action<'_>]) -> Site {
    let mut site = Site::new(1);
    site.hub.set_date("D".into());
    site.request_with(7, line, more);
    for action in actions {
        site.act(FIRST, std::slice::from_ref(action));
        site.pass(millis(20));
    }
    site
}

fn head_and(rest: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nDate: D\r\n{rest}")
}

#[test]
fn without_a_length_http_1_1_gets_a_chunk_for_what_a_turn_brings() {
    let actions = [begin(1, "x: y\r\n"), piece(1, b"hello"), piece(1, b""), piece(1, &[b'a'; 17]), end(1)];
    let mut site = answered("GET /a", &[], &actions);
    let body = "5\r\nhello\r\n11\r\naaaaaaaaaaaaaaaaa\r\n0\r\n\r\n";
    assert_eq!(site.text(7), head_and(&format!("x: y\r\nTransfer-Encoding: chunked\r\n\r\n{body}")));
    assert_eq!((site.to(7).count(), site.closed(7)), (4, false));
    assert_eq!(site.hub.counters().answers, 1);

    site.request(7, "GET /a");
    site.act(FIRST, &[begin(2, ""), piece(2, b"a"), piece(2, b"bc"), end(2)]);
    assert!(site.text(7).ends_with("chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "one turn, one chunk");
    assert_eq!(site.to(7).count(), 5, "one turn, one message");
    site.settles();
}

#[test]
fn without_a_length_http_1_0_is_closed_at_the_end() {
    for more in [&[HTTP10][..], &[HTTP10, ("connection", "keep-alive")][..]] {
        let mut site = answered("GET /a", more, &[begin(1, ""), piece(1, b"hello"), end(1)]);
        assert_eq!(site.text(7), head_and("Connection: close\r\n\r\nhello"));
        assert!(site.closed(7));
        site.settles();
    }
}

#[test]
fn a_length_frames_the_body_in_both_versions() {
    let actions = [begin(1, "content-length: 5\r\n"), piece(1, b"he"), piece(1, b"llo"), end(1)];
    let mut site = answered("GET /a", &[], &actions);
    assert_eq!(site.text(7), head_and("content-length: 5\r\n\r\nhello"));
    assert!(!site.closed(7));
    site.settles();
    let mut site = answered("GET /a", &[HTTP10, ("connection", "keep-alive")], &actions);
    assert_eq!(site.text(7), head_and("content-length: 5\r\nConnection: keep-alive\r\n\r\nhello"));
    assert!(!site.closed(7));
    site.settles();
}

#[test]
fn what_goes_beyond_the_length_is_left_out_and_what_falls_short_is_cut() {
    let long = [begin(1, "Content-Length: 5\r\n"), piece(1, b"hello!"), piece(1, b"more"), end(1)];
    let mut site = answered("GET /a", &[], &long);
    assert!(site.text(7).ends_with("\r\n\r\nhello") && !site.closed(7));
    assert_eq!(site.workers[&FIRST].taken, [(1, 6), (1, 4)], "what is left out makes room too");
    site.settles();

    let mut site = answered("GET /a", &[], &[begin(1, "Content-Length: 5\r\n"), piece(1, b"hell"), end(1)]);
    assert!(site.text(7).ends_with("\r\n\r\nhell") && site.closed(7));
    assert_eq!((site.hub.counters().answers, site.hub.counters().cut_short), (0, 1));
    site.settles();
}

#[test]
fn head_and_statuses_without_a_body_drop_the_pieces() {
    for (line, status, length) in [("HEAD /a", 200, true), ("GET /a", 204, false), ("GET /a", 304, true)] {
        let head = b"Content-Length: 5\r\n";
        let actions = [Action::Begin { serial: 1, status, head }, piece(1, &[b'x'; 100_000]), end(1)];
        let mut site = answered(line, &[], &actions);
        let text = site.text(7);
        assert!(text.ends_with("\r\n\r\n") && text.matches("\r\n\r\n").count() == 1, "{text}");
        assert_eq!(text.contains("Content-Length"), length, "{text}");
        assert!(!text.contains("chunked") && !site.closed(7));
        assert_eq!(site.workers[&FIRST].taken, [(1, 100_000)]);
        site.request(7, line);
        assert_eq!(site.jobs(0).len(), 2, "the connection goes on");
        site.respond(FIRST, 2, "");
        site.settles();
    }
}

#[test]
fn an_abort_closes_without_the_end_of_the_body() {
    let mut site =
        answered("GET /a", &[], &[begin(1, ""), piece(1, b"hello"), abort(1), piece(1, b"x"), end(1)]);
    assert!(site.text(7).ends_with("\r\n5\r\nhello\r\n"), "{}", site.text(7));
    assert!(site.closed(7));
    assert!(site.workers[&FIRST].gone.is_empty(), "it knows");
    site.settles();

    let mut site = answered("GET /a", &[], &[abort(1), end(1)]);
    assert_eq!(site.statuses(7), [500]);
    site.settles();
}

#[test]
fn what_makes_no_sense_is_a_500_before_the_beginning_and_cuts_short_behind_it() {
    let before = [
        vec![piece(1, b"x")],
        vec![end(1)],
        vec![begin(1, "Content-Length: x\r\n"), piece(1, b"x"), end(1)],
        vec![Action::Done { serial: 1 }],
    ];
    for actions in before {
        let mut site = answered("GET /a", &[], &actions);
        assert_eq!(site.statuses(7), [500], "{actions:?}");
        site.settles();
    }
    let respond = Action::Respond { serial: 1, status: 200, head: b"", body: b"" };
    for action in [begin(1, ""), respond, Action::Done { serial: 1 }, Action::Skipped { serial: 1 }] {
        let mut site = answered("GET /a", &[], &[begin(1, ""), piece(1, b"hello"), action.clone()]);
        assert!(site.text(7).ends_with("\r\n5\r\nhello\r\n"), "{action:?}: {}", site.text(7));
        assert!(site.closed(7));
        assert_eq!(site.jobs(0).len(), 1, "what has begun does not run again");
        site.settles();
    }
}

#[test]
fn the_next_request_of_the_connection_waits_for_the_end() {
    let mut site = Site::new(2);
    site.request(7, "GET /a");
    site.request(7, "GET /nowhere");
    site.request(7, "GET /users/3");
    site.act(FIRST, &[begin(1, ""), piece(1, b"x")]);
    site.pass(seconds(5));
    assert!(site.jobs(1).is_empty() && site.jobs(0).len() == 1);
    assert_eq!(site.text(7).matches("HTTP/1.1 ").count(), 1);
    site.act(FIRST, &[end(1)]);
    assert!(site.text(7).contains("0\r\n\r\nHTTP/1.1 404"));
    assert_eq!(site.jobs(0).len() + site.jobs(1).len(), 2);
    site.act(FIRST, &[Action::Respond { serial: 2, status: 200, head: b"", body: b"last" }]);
    assert!(site.text(7).ends_with("last"));
    site.settles();
}

#[test]
fn a_client_that_is_gone_is_told_to_the_worker_once_and_nothing_more_is_sent() {
    for streams in [true, false] {
        let mut site = Site::new(1);
        site.request(7, "GET /a");
        site.request(7, "GET /a");
        if streams {
            site.act(FIRST, &[begin(1, ""), piece(1, b"x")]);
        }
        let sent = site.sent(7);
        site.disconnect(7);
        site.disconnect(7);
        assert_eq!(site.workers[&FIRST].gone, [1], "the second had not begun");
        let last =
            if streams { end(1) } else { Action::Respond { serial: 1, status: 200, head: b"", body: b"" } };
        site.act(FIRST, &[begin(1, ""), piece(1, b"y"), last]);
        assert_eq!(site.sent(7), sent);
        assert_eq!(site.hub.load().1, 0);
        // The number is another client's now.
        site.request(7, "GET /a");
        site.act(FIRST, &[begin(2, ""), piece(2, b"z"), end(2)]);
        assert!(site.text(7).ends_with("1\r\nz\r\n0\r\n\r\n"));
        site.settles();
    }
}

#[test]
fn a_server_that_goes_away_and_a_close_of_ours_take_the_client_along() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.act(FIRST, &[begin(1, ""), piece(1, b"x")]);
    site.hub.handle_server_down(LINK, site.now);
    site.turn();
    assert_eq!(site.workers[&FIRST].gone, [1]);
    site.hub.handle_server_up(LINK, b"");
    let sent = site.sent(7);
    site.act(FIRST, &[piece(1, b"x"), end(1)]);
    assert_eq!(site.sent(7), sent);
    site.settles();

    let mut site = Site::with(
        Limits::default(),
        1,
        crate::worker::protocol::Registration { raw: true, ..registration() },
    );
    site.request(7, "GET /a");
    site.act(FIRST, &[begin(1, ""), piece(1, b"x")]);
    let ids = crate::worker::protocol::encode_ids([7]);
    let ids = crate::worker::protocol::Ids::new(&ids);
    site.act(FIRST, &[Action::Disconnect { sender: SENDER, ids }]);
    assert!(site.closed(7));
    assert_eq!(site.workers[&FIRST].gone, [1]);
    site.act(FIRST, &[piece(1, b"x"), end(1)]);
    assert!(site.closed(7));
    site.settles();
}

#[test]
fn a_worker_that_does_not_end_an_answer_that_nobody_wants_loses_the_job_in_time() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.act(FIRST, &[begin(1, "")]);
    site.pass(seconds(100));
    site.disconnect(7);
    site.pass(seconds(29));
    assert_eq!(site.hub.load().1, 1);
    site.pass(seconds(2));
    assert_eq!(site.hub.load().1, 0);
    site.act(FIRST, &[piece(1, b"x"), end(1)]);
    site.settles();
}

#[test]
fn a_worker_that_dies_gives_502_before_the_beginning_and_an_open_end_behind_it() {
    let mut site = Site::new(2);
    for id in 1..=6 {
        site.request(id, "GET /a");
    }
    assert_eq!(site.serials(0), [1, 2, 3]);
    site.act(FIRST, &[begin(1, ""), piece(1, b"hello")]);
    site.die(FIRST, 2);
    assert!(site.text(1).ends_with("\r\n5\r\nhello\r\n") && site.closed(1));
    assert_eq!(site.statuses(3), [502]);
    assert_eq!(site.jobs(1).iter().map(|job| job.conn.as_str()).next_back(), Some("boot-0.0.5"));
    assert_eq!((site.hub.counters().cut_short, site.hub.counters().worker_died), (1, 2));
    for serial in 1..=4 {
        site.respond(SECOND, serial, "");
    }
    site.settles();
}

#[test]
fn the_deadline_holds_until_the_beginning_and_no_longer() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    site.request(2, "GET /a");
    site.act(FIRST, &[begin(1, "")]);
    site.pass(seconds(3600));
    assert_eq!(site.statuses(2), [504]);
    site.act(FIRST, &[piece(1, b"late"), end(1)]);
    assert!(site.text(1).ends_with("4\r\nlate\r\n0\r\n\r\n"));
    site.settles();
}

#[test]
fn a_stream_is_held_as_long_as_it_lasts() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.act(FIRST, &[begin(1, "")]);
    site.pass(seconds(300));
    let held = site.replies.iter().filter(|reply| reply.extended && reply.ids == [7]).count();
    assert!(held >= 5, "mongrel2 cuts off who is silent: told {held} times");
    site.act(FIRST, &[end(1)]);
    site.settles();
}

#[test]
fn the_worker_is_told_what_has_left_and_not_of_crumbs() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.act(FIRST, &[begin(1, ""), piece(1, b"abc"), piece(1, b"de")]);
    assert_eq!(site.workers[&FIRST].taken, [(1, 5)], "one order for a turn");
    let piece_of_all = vec![b'x'; STREAM_WINDOW];
    site.act(FIRST, &[piece(1, &piece_of_all)]);
    assert_eq!(site.workers[&FIRST].taken[1..], [(1, STREAM_WINDOW as u32)]);
    site.act(FIRST, &[end(1)]);
    assert_eq!(site.workers[&FIRST].taken.len(), 2, "nothing about a job that is over");
    site.settles();
}

/// The body of the only answer, which has to be chunked and whole.
fn body(site: &Site) -> Vec<u8> {
    let sent = site.sent(7);
    let (_, _, body, rest) = split_response(&sent, false).unwrap();
    assert!(rest.is_empty());
    body
}

#[test]
fn a_slow_client_under_flow_control_holds_the_worker_back() {
    let mut site = Site::new(1);
    site.request_with(7, "GET /a", &[("DOWNLOAD_CREDITS", "102400")]);
    site.act(FIRST, &[begin(1, "")]);
    let total = 3_000_000;
    let (mut given, mut reported, mut size) = (0, 0, 0);
    loop {
        // The worker fills its window, in pieces of any size.
        let taken: usize = site.workers[&FIRST].taken.iter().map(|(_, bytes)| *bytes as usize).sum();
        while given < total && given - taken < STREAM_WINDOW {
            size = (size + 7919) % 60_000 + 1;
            let size = size.min(STREAM_WINDOW - (given - taken)).min(total - given);
            let bytes: Vec<u8> = (given..given + size).map(|n| (n % 251) as u8).collect();
            site.act(FIRST, &[piece(1, &bytes)]);
            given += size;
        }
        let held = site.hub.cx.outbox.conns.map.values().map(|conn| conn.out.len()).sum::<usize>();
        assert!(held <= 102_400 + 100, "{held} bytes are framed and not sent");
        let sizes: Vec<usize> = site.to(7).map(|reply| reply.payload.len()).collect();
        let unpaid: usize = sizes[reported..].iter().sum();
        assert!(unpaid <= 102_400, "{unpaid}");
        if taken == total {
            break;
        }
        assert!(reported < sizes.len(), "nothing is under way and nothing goes on");
        site.credits(7, sizes[reported]);
        reported += 1;
    }
    site.act(FIRST, &[end(1)]);
    loop {
        let size = site.to(7).nth(reported).map(|reply| reply.payload.len());
        let Some(size) = size else { break };
        site.credits(7, size);
        reported += 1;
    }
    let body = body(&site);
    assert!(body.len() == total && body.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
    let small = site.to(7).filter(|reply| reply.payload.len() < 5000).count();
    assert!(small < 10, "{small} of {reported} messages are small");
    site.settles();
}

#[test]
fn a_fast_stream_without_flow_control_keeps_to_sixteen_messages() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.act(FIRST, &[begin(1, "")]);
    let mut times = vec![site.now];
    for n in 0..2000_u32 {
        let before = site.to(7).count();
        site.act(FIRST, &[piece(1, &n.to_le_bytes())]);
        site.pass(std::time::Duration::from_micros(100));
        times.extend(std::iter::repeat_n(site.now, site.to(7).count() - before));
    }
    let worst =
        times.iter().map(|end| times.iter().filter(|t| **t <= *end && *end - **t < millis(50)).count());
    assert!(worst.max().unwrap() <= 16);
    site.act(FIRST, &[end(1)]);
    site.pass(millis(100));
    let expected: Vec<u8> = (0..2000_u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(body(&site), expected);
    site.settles();
}

#[test]
fn a_worker_that_does_not_wait_loses_its_answer() {
    let limits = Limits { connection_output: 300_000, ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    site.request_with(7, "GET /a", &[("DOWNLOAD_CREDITS", "102400")]);
    site.act(FIRST, &[begin(1, ""), piece(1, &vec![b'x'; 500_000])]);
    assert!(site.workers[&FIRST].gone.is_empty(), "one piece may be of any size when nothing waits");
    site.act(FIRST, &[piece(1, b"y")]);
    assert_eq!((site.hub.counters().overflowed, site.hub.counters().cut_short), (1, 1));
    assert_eq!(site.workers[&FIRST].gone, [1]);
    assert!(site.closed(7));
    site.act(FIRST, &[piece(1, b"z"), end(1)]);
    site.disconnect(7);
    site.settles();
}

#[test]
fn responses_wait_in_the_hub_while_much_waits_before_the_server() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.hub.handle_backlog(LinkId(0), Limits::default().spill);
    site.act(FIRST, &[begin(1, "content-length: 200000\r\n"), piece(1, &vec![b'x'; 200_000])]);
    site.pass(millis(200));
    assert_eq!(site.to(7).count(), 0);
    site.hub.handle_backlog(LinkId(0), Limits::default().spill / 2);
    site.pass(millis(100));
    assert_eq!(site.to(7).count(), 0, "half of it has to be taken first");
    site.hub.handle_backlog(LinkId(0), Limits::default().spill / 2 - 1);
    site.pass(millis(100));
    assert!(site.text(7).len() > 200_000);
    site.act(FIRST, &[end(1)]);
    site.settles();
}

#[test]
fn a_client_that_never_reads_is_given_up() {
    let mut site = Site::new(1);
    site.request_with(7, "GET /a", &[("DOWNLOAD_CREDITS", "102400")]);
    site.act(FIRST, &[begin(1, ""), piece(1, &vec![b'x'; STREAM_WINDOW])]);
    site.pass(seconds(200));
    assert_eq!(site.workers[&FIRST].gone, [1], "mongrel2 has cut it off long ago");
    site.act(FIRST, &[end(1)]);
    site.settles();
}

#[test]
fn newer_code_lets_the_old_worker_finish_and_a_stop_closes_behind_it() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.act(FIRST, &[begin(1, ""), piece(1, b"old")]);
    let new = site.load(APP, &registration());
    assert!(site.workers[&FIRST].stop && !site.workers[&FIRST].killed);
    site.act(FIRST, &[piece(1, b"er"), end(1)]);
    site.die(FIRST, 1);
    assert!(site.text(7).ends_with("3\r\nold\r\n2\r\ner\r\n0\r\n\r\n") && !site.closed(7));

    site.request(8, "GET /a");
    site.act(new[0], &[begin(1, "")]);
    site.hub.begin_stop(site.now);
    site.turn();
    site.act(new[0], &[piece(1, b"x"), end(1)]);
    assert!(site.text(8).ends_with("1\r\nx\r\n0\r\n\r\n") && site.closed(8));
}

#[test]
fn a_stream_that_outlives_stop_time_is_cut_short() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.act(FIRST, &[begin(1, ""), piece(1, b"old")]);
    site.load(APP, &registration());
    site.pass(seconds(14));
    assert!(site.workers[&FIRST].killed);
    site.die(WorkerId(0), 1);
    assert!(site.text(7).ends_with("3\r\nold\r\n") && site.closed(7));
    site.settles();
}

/// Sends a body of known length as fast as the hub takes it, without flow control. How many messages it became.
fn messages_of(length: usize) -> usize {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.act(FIRST, &[begin(1, &format!("Content-Length: {length}\r\n"))]);
    let before = site.to(7).count();
    let (mut given, mut taken) = (0, 0);
    while given < length {
        assert!(given < taken + STREAM_WINDOW, "the worker waits for ever at {given}");
        let part = vec![b'x'; (length - given).min(60_000)];
        site.act(FIRST, &[piece(1, &part)]);
        given += part.len();
        site.pass(millis(50));
        taken = site.workers[&FIRST].taken.iter().map(|(_, bytes)| *bytes as usize).sum();
    }
    site.act(FIRST, &[end(1)]);
    site.pass(millis(100));
    let body = site.answers(7).remove(0).1;
    assert_eq!(body.len(), length);
    let taken: usize = site.workers[&FIRST].taken.iter().map(|(_, bytes)| *bytes as usize).sum();
    assert!(taken <= length, "no byte is reported twice");
    site.to(7).count() - before
}

#[test]
fn without_flow_control_a_body_of_known_length_is_no_more_messages_than_mongrel2_holds() {
    for length in [1, 60_000, 500_000, 3_000_000, 20_000_000, 60_000_000] {
        let messages = messages_of(length);
        assert!(messages <= 15, "{length} bytes in {messages} messages");
    }
}

#[test]
fn without_flow_control_a_body_that_trickles_is_not_held_back_for_long() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.act(FIRST, &[begin(1, "content-length: 1000000\r\n"), piece(1, b"first")]);
    site.pass(millis(1100));
    assert!(site.text(7).ends_with("\r\n\r\nfirst"));
    site.act(FIRST, &[piece(1, b" second")]);
    site.pass(millis(1500));
    site.act(FIRST, &[piece(1, b" third")]);
    site.pass(millis(600));
    assert!(site.text(7).ends_with("first second third"), "in one message");
}
