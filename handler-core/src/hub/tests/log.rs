//! What an operator reads in the log about requests that went wrong.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::channel::line::PROTOCOL;
use crate::hub::{Effect, Limits};
use crate::worker::protocol::{Action, ChannelSpec, Level, Registration};
use crate::worker::pulse::Pulse;
use crate::worker::standing::Standing;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Collects lines of WARN and ERROR: the level, the text, and the fields.
#[derive(Default, Clone)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => write!(self.0, " {value:?}").unwrap(),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The lines that something causes.
fn logged(what: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), what);
    lines.0.lock().unwrap().clone()
}

/// Asserts that one of the lines has all of these parts.
fn expect(lines: &[String], parts: &[&str]) {
    assert!(
        lines.iter().any(|line| parts.iter().all(|part| line.contains(part))),
        "no line with {parts:?}:\n{}",
        lines.join("\n")
    );
}

const ABOUT: [&str; 5] = ["app=\"app.lua\"", "worker=1", "request=1", "method=\"GET\"", "path=\"/users/7\""];

#[test]
fn a_request_whose_time_is_over_is_named() {
    let mut site = Site::new(1);
    site.request(7, "GET /users/7");
    let lines = logged(|| site.pass(seconds(31)));
    assert_eq!(site.statuses(7), [504]);
    expect(&lines, &[&["WARN 504 Gateway Timeout", "status=504", "link=0", "conn=7"][..], &ABOUT].concat());
}

#[test]
fn a_request_that_died_with_its_worker_is_named() {
    let mut site = Site::new(1);
    site.request(7, "GET /users/7");
    let lines = logged(|| {
        site.hub.handle_exit_status(FIRST, "signal: 11 (SIGSEGV)".to_owned());
        site.die(FIRST, 1);
    });
    assert_eq!(site.statuses(7), [502]);
    expect(&lines, &[&["WARN 502 Bad Gateway", "status=502", "route=\"/users/{id}\""][..], &ABOUT].concat());
    expect(&lines, &["a worker died", "signal: 11 (SIGSEGV)", "running=1"]);
    assert!(!lines.iter().any(|line| line.contains("0ns")), "{lines:?}");
}

#[test]
fn a_script_that_runs_for_ever_is_named_with_its_request() {
    let mut site = Site::new(1);
    site.request(7, "GET /users/7");
    let lines = logged(|| {
        let begin = site.now;
        while site.now < begin + seconds(11) {
            site.hub.handle_pulse(FIRST, Pulse { started: 1, turn: 1, running: 1 }, site.now);
            site.turn();
            site.pass(millis(50));
        }
        site.die(FIRST, 1);
    });
    expect(&lines, &[&["ERROR a script ran for 10s without pause"][..], &ABOUT].concat());
    expect(&lines, &[&["WARN 504 Gateway Timeout"][..], &ABOUT].concat());
    assert!(site.effects.iter().any(|effect| matches!(effect, Effect::KillWorker(_))));
}

#[test]
fn a_script_that_runs_on_after_the_504_is_named_too() {
    let limits = Limits { request_timeout: seconds(2), ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    site.request(7, "GET /users/7");
    let lines = logged(|| {
        let begin = site.now;
        while site.now < begin + seconds(11) {
            site.hub.handle_pulse(FIRST, Pulse { started: 1, turn: 1, running: 1 }, site.now);
            site.turn();
            site.pass(millis(50));
        }
    });
    assert_eq!(site.statuses(7), [504]);
    expect(&lines, &[&["ERROR a script ran for 10s without pause"][..], &ABOUT].concat());
}

#[test]
fn a_request_that_finds_a_full_queue_is_named_and_a_flood_of_them_is_not() {
    let mut site = Site::with(Limits { queue: 1, worker_jobs: 1, ..Limits::default() }, 1, registration());
    let lines = logged(|| (1..=100).for_each(|id| site.request(id, "GET /users/7")));
    assert_eq!(site.statuses(100), [503]);
    let parts =
        ["WARN 503 Service Unavailable: limits.queue", "status=503", "method=\"GET\"", "path=\"/users/7\""];
    expect(&lines, &parts);
    assert!(lines.len() <= 5, "{lines:?}");
}

#[test]
fn a_request_behind_too_many_of_its_connection_is_named() {
    let mut site = Site::with(Limits { pipeline: 1, ..Limits::default() }, 1, registration());
    let lines = logged(|| (1..=3).for_each(|_| site.request(7, "GET /users/7")));
    expect(&lines, &["WARN 503", "limits.pipeline", "conn=7", "method=\"GET\"", "path=\"/users/7\""]);
}

#[test]
fn what_a_handler_complains_of_is_named_with_its_request() {
    let mut site = Site::new(1);
    site.request(7, "GET /users/7");
    let log = |level| Action::Log { level, serial: 1, text: b"odd", fields: b"{\"a\":1}" };
    let lines = logged(|| site.act(FIRST, &[log(Level::Warn), log(Level::Error), log(Level::Info)]));
    assert_eq!(lines.len(), 2);
    expect(&lines, &[&["WARN odd", "fields={\"a\":1}"][..], &ABOUT].concat());
    expect(&lines, &[&["ERROR odd"][..], &ABOUT].concat());
    let trace = Action::Log { level: Level::Error, serial: 1, text: b"failed\nat 1\nat 2", fields: b"" };
    let lines = logged(|| site.act(FIRST, &[trace]));
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.starts_with("ERROR failed app=") && line.ends_with("details=    at 1\n    at 2"), "{line}");
}

#[test]
fn a_response_that_is_not_as_long_as_announced_is_named() {
    let mut site = Site::new(1);
    site.request(7, "GET /users/7");
    let lines = logged(|| {
        let begin = Action::Begin { serial: 1, status: 200, head: b"content-length: 5\r\n" };
        site.act(FIRST, &[begin, Action::Piece { serial: 1, bytes: b"abc" }, Action::End { serial: 1 }]);
    });
    expect(&lines, &[&["WARN a response is shorter than its Content-Length"][..], &ABOUT].concat());
}

#[test]
fn a_response_to_head_that_announces_another_length_than_its_body_has_is_named() {
    let cases: [(&[&[u8]], Option<&str>); 5] = [
        (&[b"abc"], Some("announced=5 body=3")),
        (&[b"abc", b"def"], Some("announced=5 body=6")),
        (&[b"abc", b"de"], None),
        (&[], None),
        (&[b""], None),
    ];
    for (pieces, warning) in cases {
        let mut site = Site::new(1);
        site.request(7, "HEAD /users/7");
        let lines = logged(|| {
            let mut actions = vec![Action::Begin { serial: 1, status: 200, head: b"content-length: 5\r\n" }];
            actions.extend(pieces.iter().map(|bytes| Action::Piece { serial: 1, bytes }));
            actions.push(Action::End { serial: 1 });
            site.act(FIRST, &actions);
        });
        match warning {
            Some(warning) => {
                let text = "WARN a response to HEAD announces another Content-Length than its body has";
                expect(&lines, &[text, warning, "conn=7", "method=\"HEAD\"", "path=\"/users/7\""]);
            }
            None => assert!(lines.is_empty(), "{pieces:?}: {lines:?}"),
        }
    }
}

#[test]
fn a_script_that_does_not_load_in_time_is_named_with_its_line() {
    let mut site = Site::new(1);
    let new = site.begin_load(APP)[0];
    let lines = logged(|| site.pass(seconds(31)));
    expect(&lines, &["WARN a worker did not load within 30s (limits.load_time): killed"]);
    let standing = Standing { file: "db.lua".into(), line: 3, traceback: "app.lua:1: in main".into() };
    site.hub.handle_standing(new, standing);
    site.die(new, 0);
    let failure = site.effects.iter().find_map(|effect| match effect {
        Effect::AppFailed(_, failure) => Some(failure.clone()),
        _ => None,
    });
    let failure = failure.unwrap();
    assert_eq!(
        (failure.to_string().as_str(), failure.traceback.as_str()),
        (
            "db.lua:3: the script did not load within 30s (limits.load_time): it was still at this line",
            "app.lua:1: in main"
        )
    );
}

#[test]
fn a_path_in_the_log_is_cut_and_has_no_query() {
    let mut site = Site::new(1);
    site.request(7, &format!("GET /users/{}?token=secret", "x".repeat(2000)));
    let lines = logged(|| site.pass(seconds(31)));
    expect(&lines, &["504", "xxxx…\""]);
    assert!(lines.iter().all(|line| line.len() < 1000 && !line.contains("secret")), "{lines:?}");
}

#[test]
fn a_worker_that_ends_while_it_loads_says_how_and_which_script() {
    let mut site = Site::new(1);
    let new = site.begin_load(APP)[0];
    site.hub.handle_exit_status(new, "exit status: 0".to_owned());
    site.die(new, 0);
    let failure = site.effects.iter().find_map(|effect| match effect {
        Effect::AppFailed(_, failure) => Some(failure),
        _ => None,
    });
    let said = failure.map(ToString::to_string).unwrap_or_default();
    let start = "app.lua: the worker died while it loaded the script (exit status: 0); ";
    assert!(said.starts_with(start), "{said}");
}

/// A site with a channel at `/chat`, of which little waits for a client that does not read.
fn chat() -> Site {
    let limits = Limits { connection_output: 200 << 10, mailbox: 3, ..Limits::default() };
    let spec = ChannelSpec { path: "/chat".into(), ping: 0.0, ..ChannelSpec::default() };
    let registration = Registration { channels: vec![spec], ..registration() };
    let mut site = Site::with(limits, 1, registration);
    site.hub.set_session_key(&[7; 32]);
    site
}

/// The number of a connection at its worker.
fn opened(site: &mut Site) -> u64 {
    match &site.told(FIRST)[..] {
        [Told::Open { conn, .. }] => *conn,
        other => panic!("no open: {other:?}"),
    }
}

const SOCKET: [&str; 4] = ["app=\"app.lua\"", "link=0", "conn=7", "path=\"/chat\""];
const HANDSHAKE: &str = "method=\"WEBSOCKET_HANDSHAKE\"";

#[test]
fn a_handshake_that_is_refused_is_named() {
    for (more, why) in [
        (("origin", "https://evil.example"), "handshake refused: "),
        (("sec-websocket-version", "8"), "handshake refused: "),
    ] {
        let mut site = chat();
        let lines = logged(|| site.handshake_with(7, "/chat", &[more]));
        expect(&lines, &[&[why, HANDSHAKE][..], &SOCKET].concat());
    }
}

#[test]
fn a_websocket_that_is_closed_for_what_it_does_is_named() {
    let mut site = chat();
    site.handshake(7, "/chat");
    let conn = opened(&mut site);
    let lines = logged(|| site.frame(7, "/chat", 0x83, b"x"));
    expect(&lines, &[&["WARN closed: ", "code=1002", "worker=1", HANDSHAKE][..], &SOCKET].concat());

    let mut site = chat();
    site.handshake(7, "/chat");
    assert_eq!(opened(&mut site), conn);
    let large = vec![b'x'; 90 << 10];
    let lines = logged(|| {
        for _ in 0..20 {
            site.act(FIRST, &[Action::Send { conn, binary: false, payload: &large }]);
        }
    });
    let said = "WARN dropped and closed: the client does not read what is sent to it";
    expect(&lines, &[&[said, "waiting=", "worker=1", HANDSHAKE][..], &SOCKET].concat());
}

#[test]
fn what_a_script_wants_and_cannot_have_of_a_connection_is_named() {
    let mut site = chat();
    site.handshake(7, "/chat");
    let conn = opened(&mut site);
    let long = vec![b'r'; 2000];
    let lines = logged(|| site.act(FIRST, &[Action::Join { conn, room: &long }]));
    expect(&lines, &[&["WARN", "worker=1", HANDSHAKE][..], &SOCKET].concat());
}

#[test]
fn sessions_by_polls_event_streams_and_bosh_are_named() {
    const EVENTS: (&str, &str) = ("accept", "text/event-stream");
    for (line, more) in [("POST /chat", &[][..]), ("GET /chat", &[EVENTS])] {
        let mut site = chat();
        let foreign = [more, &[("origin", "https://evil.example")]].concat();
        let lines = logged(|| site.request_with(7, line, &foreign));
        assert_eq!(site.statuses(7), [403]);
        let method = format!("method=\"{}\"", line.split(' ').next().unwrap());
        expect(&lines, &[&["refused: a page from elsewhere", &method, "status=403"][..], &SOCKET].concat());

        site.request_with(8, line, more);
        let conn = opened(&mut site);
        if !more.is_empty() {
            site.disconnect(8);
        }
        let lines = logged(|| {
            for _ in 0..5 {
                site.act(FIRST, &[Action::Send { conn, binary: false, payload: b"x" }]);
            }
        });
        let said = "WARN dropped and closed: the client does not come for what is sent to it";
        expect(&lines, &[said, "app=\"app.lua\"", "conn=", "worker=1", &method, "path=\"/chat\""]);
    }
    let mut site = chat();
    let ns = "http://jabber.org/protocol/httpbind";
    let post = |site: &mut Site, id: i64, body: &str| {
        let message = mongrel2::http(Form::Tnetstring, SENDER, id, "POST /chat", &[], body.as_bytes());
        site.message(&message);
    };
    let lines = logged(|| post(&mut site, 7, &format!("<body rid='0' xmlns='{ns}'>")));
    expect(&lines, &[&["WARN refused: ", "method=\"POST\""][..], &SOCKET].concat());
    post(&mut site, 8, &format!("<body rid='1' wait='20' hold='1' ver='1.6' xmlns='{ns}'/>"));
    let conn = opened(&mut site);
    let lines = logged(|| {
        for _ in 0..9 {
            site.act(FIRST, &[Action::Send { conn, binary: false, payload: b"<x xmlns='y'/>" }]);
        }
    });
    let said = "WARN dropped and closed: the client does not come for what is sent to it";
    expect(&lines, &[said, "app=\"app.lua\"", "conn=", "worker=1", "method=\"POST\"", "path=\"/chat\""]);
}

/// A WebSocket of `kennel.js` carries a session; the line names the WebSocket.
#[test]
fn a_websocket_of_a_session_is_named() {
    let mut site = chat();
    site.handshake_with(7, "/chat", &[("sec-websocket-protocol", PROTOCOL)]);
    opened(&mut site);
    let lines = logged(|| site.frame(7, "/chat", 0x83, b"x"));
    expect(&lines, &[&["WARN closed: ", "worker=1", HANDSHAKE][..], &SOCKET].concat());
}

#[test]
fn a_body_that_is_one_too_many_for_its_client_is_named() {
    let mut site = Site::with(Limits { bodies_per_address: 1, ..Limits::default() }, 1, registration());
    site.hub.set_body_folder("/var/own".into());
    let more = [("content-length", "700000"), ("UPLOAD_STREAM", "0"), ("REMOTE_ADDR", "203.0.113.7")];
    site.request_with(7, "POST /b", &more);
    let lines = logged(|| site.request_with(8, "POST /b", &more));
    expect(&lines, &["limits.bodies_per_address", "203.0.113.7", "conn=8", "method=\"POST\"", "path=\"/b\""]);
}

#[test]
fn a_body_beyond_what_all_may_have_is_named() {
    let limits = Limits { upload_total: 1500, upload: 1400, ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    site.hub.set_upload_store(LINK, "/var/spool".into());
    let begin = |site: &mut Site, id: i64| {
        let name = format!("up.{id}");
        let more = [("transfer-encoding", "chunked"), ("x-mongrel2-upload-start", &*name)];
        site.request_with(id, "POST /b", &more);
    };
    let lines = logged(|| {
        begin(&mut site, 6);
        begin(&mut site, 7);
        site.pass(seconds(3));
    });
    assert_eq!(site.statuses(7), [503]);
    expect(
        &lines,
        &["WARN 503", "limits.upload_total", "conn=7", "method=\"POST\"", "path=\"/b\"", "status=503"],
    );
}

#[test]
fn an_upload_that_ends_before_it_is_whole_is_named() {
    let mut site = Site::new(1);
    site.hub.set_upload_store(LINK, "/var/spool".into());
    site.hub.set_body_folder("/var/own".into());
    for more in [("x-mongrel2-upload-start", "a"), ("UPLOAD_STREAM", "0")] {
        let lines = logged(|| {
            site.request_with(7, "POST /b", &[("content-length", "700000"), more]);
            site.disconnect(7);
        });
        expect(
            &lines,
            &["WARN an upload ended before it was whole", "conn=7", "method=\"POST\"", "path=\"/b\""],
        );
    }
}

#[test]
fn a_client_that_is_gone_in_the_middle_of_a_response_is_named_where_the_server_may_have_cut_it_off() {
    let mut site = Site::new(1);
    site.request(7, "GET /users/7");
    let lines = logged(|| {
        site.act(FIRST, &[Action::Begin { serial: 1, status: 200, head: b"" }]);
        site.disconnect(7);
    });
    expect(&lines, &["WARN this mongrel2 runs without download.flow_control", "link=0"]);
    expect(&lines, &[&["WARN a client is gone in the middle of a response"][..], &ABOUT].concat());
}

#[test]
fn replies_to_a_server_that_is_gone_are_a_few_lines_and_a_count() {
    let mut site = Site::new(1);
    let lines = logged(|| {
        (0..10_000).for_each(|_| site.hub.handle_undelivered(LINK, site.now));
        site.pass(seconds(2));
    });
    assert_eq!(lines.len(), 6, "{lines:?}");
    expect(&lines, &["9995 more complaints of this kind"]);
}
