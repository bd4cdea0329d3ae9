//! What an operator reads in the log about requests that went wrong.

use super::site::*;
use crate::hub::{Effect, Limits};
use crate::worker::page::Pulse;
use crate::worker::protocol::{Action, Level};
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
