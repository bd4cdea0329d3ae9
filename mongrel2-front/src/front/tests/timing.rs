//! Time and pauses: what a client is blamed for, and when it is read again.

use super::*;
use std::time::Duration;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const WEBSOCKET: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

impl Run {
    /// So many seconds pass, in which nothing happens.
    pub(super) fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(10) {
            self.now += Duration::from_secs(10);
            self.front.handle_timeout(self.now);
            self.settle();
        }
    }

    fn congest(&mut self, handler: usize, is: bool) {
        self.front.set_congested(HandlerId(handler), is, self.now);
        self.settle();
    }
}

#[test]
fn nothing_behind_the_request_that_a_client_calls_its_last_is_taken() {
    let mut run = Run::plain(&[]);
    let lasts = ["GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /1 HTTP/1.0\r\n\r\n"];
    for (last, id) in lasts.iter().zip(["1", "2"]) {
        let client = run.accept();
        run.receive(client, last.as_bytes());
        run.receive(client, b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n");
        assert_eq!(run.messages().len(), 1);
        run.reply(format!("m2cap-t 1:{id}, HTTP/1.1 204 No Content\r\n\r\n").as_bytes());
        assert_eq!(run.written(client), b"HTTP/1.1 204 No Content\r\n\r\n");
    }
}

#[test]
fn a_reload_frees_a_request_whose_new_handler_has_room() {
    let mut run = Run::plain(&[]);
    run.congest(0, true);
    let client = run.accept();
    run.receive(client, GET);
    assert_eq!(run.messages().len(), 0);
    let (config, mut server) = Run::configuration(Protocol::Tnetstring, &[]);
    let routes = &mut server.hosts[0].routes;
    routes[0].target = routes.iter().find(|route| route.path == "/raw").unwrap().target.clone();
    let old = run.front.site().clone();
    run.front.replace_site(Site::after(&old, &config, &server, Path::new("/")).unwrap(), run.now);
    run.settle();
    assert_eq!(run.messages().len(), 1);
}

#[test]
fn a_request_that_waited_for_its_handler_has_its_time_for_the_response() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.congest(0, true);
    run.receive(client, GET);
    run.wait(50);
    run.congest(0, false);
    assert_eq!(run.messages().len(), 1);
    run.wait(60);
    assert_eq!(run.closed.len(), 0);
}

#[test]
fn a_body_that_waited_for_credits_has_its_time_for_the_response() {
    let mut run = Run::plain(&[("limits.content_length", "4"), ("upload.stream", "1")]);
    let client = run.accept();
    run.receive(client, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcdef");
    run.reply(b"m2cap-t 3:X 1, 26:3:ctl,16:7:credits,3:100#}]");
    assert_eq!(run.messages().len(), 2);
    run.wait(100);
    assert_eq!(run.closed.len(), 0);
}

#[test]
fn requests_in_a_row_each_have_their_own_time() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    let (begin, end) = GET.split_at(9);
    run.receive(client, begin);
    for _ in 0..20 {
        run.wait(10);
        run.receive(client, &[end, begin].concat());
    }
    assert_eq!((run.messages().len(), run.closed.len()), (20, 0));
    run.wait(80);
    assert_eq!(run.closed.len(), 1);
}

#[test]
fn a_client_that_was_stopped_by_another_cause_than_its_own_input_is_read_again() {
    let mut run = Run::plain(&[("front.frame_bytes", "200000")]);
    let client = run.accept();
    run.receive(client, WEBSOCKET);
    // A frame of 150,000 bytes, half of which is there.
    run.receive(
        client,
        &[&[0x82, 0xff, 0, 0, 0, 0, 0, 2, 0x49, 0xf0, 0, 0, 0, 0][..], &[7; 75_000]].concat(),
    );
    run.congest(0, true);
    run.congest(1, false);
    assert!(!run.front.wants_input(client));
    run.congest(0, false);
    assert!(run.front.wants_input(client));
    assert_eq!(run.effects(), ["read again"]);
}

#[test]
fn files_that_a_client_does_not_read_are_opened_one_at_a_time() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, &b"GET /files/a HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
    for _ in 0..3 {
        assert_eq!(run.effects(), ["file /files/a"]);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody".to_vec();
        let answer = files::Answer { status: 200, head, body: Vec::new(), closes: false, size: 4 };
        run.front.file_answer(client, answer, run.now);
        run.settle();
        assert!(run.effects().is_empty());
        assert!(run.written(client).ends_with(b"body"));
    }
    assert!(run.effects().is_empty());
}

#[test]
fn a_server_that_stops_takes_no_request_of_a_client_that_waits() {
    let mut run = Run::plain(&[]);
    let client = run.accept();
    run.receive(client, GET);
    run.front.stop();
    run.receive(client, GET);
    assert_eq!(run.messages().len(), 1);
    run.reply(b"m2cap-t 1:1, HTTP/1.1 204 No Content\r\n\r\n");
    run.written(client);
    assert_eq!(run.closed.len(), 1);
}

#[test]
fn a_client_that_shut_its_side_down_within_a_request_gets_the_responses_before_it() {
    let post = b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 5\r\n\r\nabc";
    for rest in [&post[..], b"GET /"] {
        let mut run = Run::plain(&[]);
        let client = run.accept();
        run.receive(client, &[LAST, rest].concat());
        run.front.end_of_input(client, run.now);
        run.settle();
        run.wait(100);
        assert_eq!((run.messages().len(), run.closed.len()), (1, 0));
        run.reply(b"m2cap-t 1:1, HTTP/1.1 204 No Content\r\n\r\n");
        assert!(run.written(client).ends_with(b"\r\n\r\n"));
        assert_eq!(run.closed.len(), 1);
    }
}

const UPLOADS: &[(&str, &str)] = &[("limits.content_length", "4"), ("upload.temp_store", "/tmp/m.XXXXXX")];
const UPLOAD: &[u8] = b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcd";

#[test]
fn a_file_that_is_created_for_a_client_that_has_left_is_removed() {
    let mut run = Run::plain(UPLOADS);
    let client = run.accept();
    run.receive(client, UPLOAD);
    run.front.lost(client);
    run.settle();
    assert_eq!(run.effects(), ["create", "remove"]);
}

#[test]
fn an_upload_that_fails_breaks_no_other_response() {
    let fail = |run: &mut Run, client| {
        run.front.upload_failed(client, io::ErrorKind::StorageFull.into(), run.now);
        run.settle();
    };
    let begin = |first: &[u8]| {
        let mut run = Run::plain(UPLOADS);
        let client = run.accept();
        run.receive(client, &[first, UPLOAD].concat());
        run.front.upload_created(client, Ok("/tmp/m.1".into()), run.now);
        run.settle();
        (run, client)
    };
    // The response of the request before it is half sent.
    let (mut run, client) = begin(GET);
    run.reply(b"m2cap-t 1:1, HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    fail(&mut run, client);
    assert!(run.written(client).ends_with(b"\r\n\r\nab"));
    run.reply(b"m2cap-t 1:1, cd");
    assert!(run.written(client).starts_with(b"cdHTTP/1.1 503 "));
    // Its own response is half sent, or sent.
    for reply in [
        &b"m2cap-t 1:1, HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"[..],
        b"m2cap-t 1:1, HTTP/1.1 204 No\r\n\r\n",
    ] {
        let (mut run, client) = begin(b"");
        run.reply(reply);
        fail(&mut run, client);
        assert_eq!(run.written(client), reply[13..]);
        assert_eq!((run.effects().last().unwrap().as_str(), run.closed.len()), ("remove", 1));
    }
}

#[test]
fn a_client_that_never_reads_is_cut_off_whoever_writes() {
    let mut run = Run::plain(&[("front.output_bytes", "1000")]);
    let client = run.accept();
    for _ in 0..100 {
        run.receive(client, b"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
        run.receive(client, b"x");
    }
    assert_eq!((run.front.counters().overflowed, run.closed.len()), (1, 1));
}
