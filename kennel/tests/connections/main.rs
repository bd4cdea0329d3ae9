//! The life of a connection inside a worker, which is the same in every language: one list of orders and of what a worker
//! then does, `cases.txt`, for a worker process of each.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod hub;

use handler_core::worker::process::WorkerCommand;
use hub::Hub;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const CASES: &str = include_str!("cases.txt");

/// A title, and steps: orders, then what the worker does.
struct Case<'a> {
    title: &'a str,
    steps: Vec<(Vec<&'a str>, Vec<&'a str>)>,
}

fn cases() -> Vec<Case<'static>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            cases.push(Case { title, steps: Vec::new() });
            continue;
        }
        let steps = &mut cases.last_mut().expect("a case begins with its title").steps;
        if let Some(order) = line.strip_prefix("> ") {
            match steps.last_mut() {
                Some((orders, actions)) if actions.is_empty() => orders.push(order),
                _ => steps.push((vec![order], Vec::new())),
            }
        } else if let Some(action) = line.strip_prefix("< ") {
            steps.last_mut().expect("orders come first").1.push(action);
        } else {
            panic!("neither a title nor an order nor an action: {line}");
        }
    }
    cases
}

impl Case<'_> {
    fn play(&self, hub: &mut Hub, callbacks: &str) {
        hub.begin_case();
        for (orders, actions) in &self.steps {
            let orders: Vec<Vec<_>> = orders.iter().map(|order| order.split(' ').collect()).collect();
            let (revoked, orders): (Vec<_>, Vec<_>) =
                orders.into_iter().partition(|order| order[0] == "revoke");
            for order in revoked {
                hub.revoke(order[1].parse().unwrap());
            }
            let on_channel = |order: Vec<_>| {
                order.into_iter().map(|word| if word == "/callbacks" { callbacks } else { word }).collect()
            };
            hub.order(&orders.into_iter().map(on_channel).collect::<Vec<_>>());
            for (at, expected) in actions.iter().enumerate() {
                let found = hub.next().unwrap_or_else(|| "the end of the worker".to_owned());
                let is_expected = match expected.starts_with("log ") {
                    true => found.starts_with(expected),
                    false => found == *expected,
                };
                assert!(is_expected, "{}: action {at} of {actions:?} is\n{found}", self.title);
            }
        }
    }

    /// Whether something runs for a while in it, as plain functions of Python cannot without all others.
    fn is_slow(&self) -> bool {
        self.steps.iter().flat_map(|(orders, _)| orders).any(|order| order.contains("slow"))
    }
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_kennel"))
}

fn app(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/connections").join(name)
}

#[test]
fn a_connection_lives_as_listed_in_lua() {
    let command = WorkerCommand { program: program().into(), arguments: vec!["worker-lua".into()] };
    let mut hub = Hub::start(&command, &app("app.lua"));
    for case in cases() {
        case.play(&mut hub, "/callbacks");
    }
    hub.stop();
}

#[test]
fn a_connection_lives_as_listed_in_python() {
    let module = program().with_file_name("libkennel_python.so");
    assert!(module.is_file(), "{} is not there: cargo build -p kennel -p handler-py", module.display());
    let bootstrap = include_str!("../../src/apps/bootstrap.py");
    let arguments: Vec<OsString> = vec!["-c".into(), bootstrap.into(), module.into()];
    let mut hub = Hub::start(&WorkerCommand { program: "python3".into(), arguments }, &app("app.py"));
    for case in cases() {
        case.play(&mut hub, "/callbacks");
    }
    for case in cases().iter().filter(|case| !case.is_slow()) {
        case.play(&mut hub, "/callbacks-that-are-plain-functions");
    }
    hub.stop();
}
