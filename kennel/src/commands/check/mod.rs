//! `kennel check`: load everything, serve nothing, say all that is wrong and what is in force.

mod app_routes;
mod mongrel2;
mod sockets;

use crate::apps;
use crate::args::CheckAll as Args;
use crate::config::Config;
use crate::exit::{WRONG_INPUT, wrong_input};
use handler_core::hub::Limits;
use handler_core::hub::routes::Routes;
use handler_core::serve::App;
use handler_core::worker::probe::{self, ProbeError};
use handler_core::worker::protocol::{LoadFailure, Registration};
use mongrel2::{Finding, Severity};
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Loads an app's script in a worker and checks that its routes can be served.
pub(super) fn probe(app: &App, limits: &Limits) -> Result<Registration, ProbeError> {
    let mut start = app.start.clone();
    start.number = 1;
    let registration = probe::load(&app.command, &start, limits.load_time)?;
    Routes::new(&app.spec.mount, &registration.routes).map_err(|problem| {
        let file = Some(app.spec.name.clone());
        ProbeError::Load(LoadFailure { message: problem.to_string(), file, ..LoadFailure::default() })
    })?;
    Ok(registration)
}

pub(super) fn run(all: &Args) -> anyhow::Result<ExitCode> {
    let Args { check: args, database } = all;
    let config = Config::load(args.config.config.as_deref()).map_err(wrong_input)?;
    let limits = config.limits();
    let mut problems: Vec<String> = Vec::new();
    let mut loaded = Vec::new();
    // One app at a time, so that one wrong name does not hide what is wrong elsewhere.
    let sources: Vec<String> = match args.apps.is_empty() {
        true => config.app.iter().map(|app| app.source.clone()).collect(),
        false => args.apps.clone(),
    };
    for source in sources {
        match apps::resolve(&[source], &config, &args.python, None, &limits, false) {
            Ok(apps) => {
                for app in apps {
                    match probe(&app, &limits) {
                        Ok(registration) => loaded.push((app, registration)),
                        Err(problem) => problems.push(full(&problem)),
                    }
                }
            }
            Err(problem) => problems.push(problem.to_string()),
        }
    }

    let findings = mongrel2::check(database, &config, &loaded, &limits)?;
    problems.extend(findings.iter().filter(|f| f.severity == Severity::Error).map(Finding::text));

    let values = limit_values(&limits);
    let mut out = std::io::stdout().lock();
    if args.json {
        let apps: Vec<_> = loaded
            .iter()
            .map(|(app, registration)| {
                json!({
                    "source": app.spec.name, "mount": app.spec.mount, "workers": app.spec.workers,
                    "routes": registration.routes.len(), "channels": registration.channels.len(),
                    "raw": registration.raw,
                })
            })
            .collect();
        let limits: serde_json::Map<_, _> =
            values.into_iter().map(|(name, value, _)| (name.to_owned(), value.into())).collect();
        let findings: Vec<_> = findings.iter().map(Finding::as_json).collect();
        let report = json!({ "apps": apps, "limits": limits, "errors": problems, "mongrel2": findings });
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        for (app, registration) in &loaded {
            let (name, mount) = (&app.spec.name, &app.spec.mount);
            let count =
                |number: usize, thing| format!("{number} {thing}{}", if number == 1 { "" } else { "s" });
            let workers = count(app.spec.workers as usize, "worker");
            let routes = count(registration.routes.len(), "route");
            let channels = count(registration.channels.len(), "channel");
            writeln!(out, "{name}: fine, {routes} and {channels} under {mount}, {workers}")?;
        }
        if !loaded.is_empty() {
            writeln!(out)?;
        }
        writeln!(out, "limits in force:")?;
        for (name, value, meaning) in values {
            writeln!(out, "  {name:17} {value:>8}  {meaning}")?;
        }
        out.flush()?;
        for finding in findings.iter().filter(|finding| finding.severity != Severity::Error) {
            eprintln!("{}: {}", finding.severity.word(), finding.text());
        }
        for problem in &problems {
            eprintln!("error: {problem}");
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(WRONG_INPUT) })
}

/// A load problem with its traceback.
pub(super) fn full(problem: &ProbeError) -> String {
    match problem {
        ProbeError::Load(failure) => with_traceback(failure),
        other => other.to_string(),
    }
}

/// A load failure as the user reads it: place, message, traceback.
pub(super) fn with_traceback(failure: &LoadFailure) -> String {
    let mut text = failure.to_string();
    for line in failure.traceback.lines() {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

/// Name, value and meaning of every bound.
fn limit_values(limits: &Limits) -> Vec<(&'static str, String, &'static str)> {
    let time = |time: Duration| humantime::format_duration(time).to_string();
    let size = |bytes: usize| match bytes {
        b if b.is_multiple_of(1 << 20) => format!("{}MiB", b >> 20),
        b if b.is_multiple_of(1 << 10) => format!("{}KiB", b >> 10),
        b => b.to_string(),
    };
    vec![
        (
            "request_timeout",
            time(limits.request_timeout),
            "from a request to its answer's beginning, then 504",
        ),
        (
            "script_time",
            time(limits.script_time),
            "a script may run without pause, then its worker is replaced",
        ),
        ("load_time", time(limits.load_time), "a script may take to load"),
        ("stop_time", time(limits.stop_time), "running work may go on after a stop or reload"),
        ("queue", limits.queue.to_string(), "requests of an app that wait for a worker, then 503"),
        ("worker_jobs", limits.worker_jobs.to_string(), "unanswered requests that one worker may hold"),
        ("pipeline", limits.pipeline.to_string(), "requests waiting on one connection, then 503"),
        ("spill", size(limits.spill), "replies that wait for one Mongrel2"),
        (
            "connection_output",
            size(limits.connection_output),
            "messages, deliveries and pieces that wait for one connection, then close",
        ),
        ("channel_queue", size(limits.channel_queue), "messages of one connection that wait for the script"),
        ("upload", size(limits.upload), "a body that Mongrel2 puts into a file, then 413"),
        ("rooms", limits.rooms.to_string(), "rooms that one connection may be in"),
        ("keep_alive", time(limits.keep_alive), "how often Mongrel2 is told what is held"),
        ("handler_targets", limits.handler_targets.to_string(), "connections that one reply may reach"),
        ("worker_memory", size(limits.worker_memory), "memory of one worker's scripts"),
    ]
}
