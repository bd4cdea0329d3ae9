//! `kennel check`: load everything, serve nothing, say all that is wrong and what is in force.

mod app_routes;
mod connections;
mod mongrel2;
mod sockets;

use crate::apps;
use crate::args::CheckAll as Args;
use crate::exit::{WRONG_INPUT, note};
use crate::secret;
use crate::site_folder::{self, SiteFolder, Typed};
use crate::table::print_json;
use connections::Bound;
use handler_core::hub::Limits;
use handler_core::hub::routes::Routes;
use handler_core::serve::App;
use handler_core::worker::probe::{self, ProbeError};
use handler_core::worker::protocol::{LoadFailure, Registration};
use mongrel2::{Finding, Report, Severity};
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

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
    let Typed { apps: named, config, site } = site_folder::read(&args.apps, args.config.config.as_deref())?;
    let limits = config.limits();
    let mut problems: Vec<String> = Vec::new();
    let mut loaded = Vec::new();
    // One app at a time, so that one wrong name does not hide what is wrong elsewhere.
    let sources: Vec<String> = match named.is_empty() {
        true => config.app.iter().map(|app| app.source.clone()).collect(),
        false => named,
    };
    for source in sources {
        match apps::resolve(&[source], &config, &args.python, None, &limits, false, None) {
            Ok(apps) => {
                for app in apps {
                    match probe(&app, &limits) {
                        Ok(registration) => {
                            let mut app = app;
                            app.spec.workers = app.sharing.workers(app.spec.workers, registration.interface);
                            loaded.push((app, registration));
                        }
                        Err(problem) => problems.push(full(&problem)),
                    }
                }
            }
            Err(problem) => problems.push(problem.to_string()),
        }
    }

    let mounted = apps::refuse_shared_mounts(loaded.iter().map(|(app, _)| &app.spec));
    problems.extend(mounted.err().map(|problem| problem.to_string()));

    let origin = match secret::look(&config.sessions) {
        Ok((_, origin)) => Some(origin.to_string()),
        Err(problem) => {
            problems.push(problem.to_string());
            None
        }
    };
    let Report { findings, guarded } = mongrel2::check(database, &config, &loaded, &limits)?;
    let bounds = connections::bounds(database, &config, &limits)?;
    problems.extend(findings.iter().filter(|f| f.severity == Severity::Error).map(Finding::text));

    let values = limits.described();
    let mut out = std::io::stdout().lock();
    if args.json {
        let apps: Vec<_> = loaded
            .iter()
            .map(|(app, registration)| {
                json!({
                    "source": app.spec.name, "mount": app.spec.mount, "workers": app.spec.workers,
                    "routes": registration.routes.len(), "channels": registration.channels.len(),
                    "raw": registration.raw, "interface": registration.interface.name(),
                    "affinity": app.sharing.affinity.as_ref().map(ToString::to_string),
                })
            })
            .collect();
        let limits: serde_json::Map<_, _> =
            values.into_iter().map(|(name, value, _)| (name.to_owned(), value.into())).collect();
        let findings: Vec<_> = findings.iter().map(Finding::as_json).collect();
        let connections: Vec<_> = bounds.iter().map(Bound::as_json).collect();
        let report = json!({
            "apps": apps, "limits": limits, "connections": connections, "errors": problems, "mongrel2": findings,
            "guarded": guarded, "secret": origin,
        });
        print_json(&mut out, &report)?;
    } else {
        for (app, registration) in &loaded {
            let (name, mount) = (&app.spec.name, &app.spec.mount);
            let count =
                |number: usize, thing| format!("{number} {thing}{}", if number == 1 { "" } else { "s" });
            let workers = count(app.spec.workers as usize, "worker");
            let routes = count(registration.routes.len(), "route");
            let channels = count(registration.channels.len(), "channel");
            let what = match registration.interface.name() {
                Some(standard) => format!("everything as {standard}"),
                None => format!("{routes} and {channels}"),
            };
            let affinity = app.sharing.affinity.as_ref();
            let affinity = affinity.map(|affinity| format!(", affinity {affinity}")).unwrap_or_default();
            writeln!(out, "{name}: fine, {what} under {mount}, {workers}{affinity}")?;
        }
        if !loaded.is_empty() {
            writeln!(out)?;
        }
        writeln!(out, "limits in force:")?;
        for (name, value, meaning) in values {
            writeln!(out, "  {name:17} {value:>8}  {meaning}")?;
        }
        writeln!(out, "\nlive connections at once:")?;
        for bound in &bounds {
            writeln!(out, "  {}", bound.text())?;
        }
        if let Some(origin) = origin {
            writeln!(out, "\nsessions are signed with the secret of {origin}")?;
        }
        for pid in &guarded {
            writeln!(out, "\nmongrel2 (process {pid}) has the guard")?;
        }
        out.flush()?;
        if let Some(text) = site.as_ref().and_then(SiteFolder::left_out) {
            note!("note: {text}");
        }
        for finding in findings.iter().filter(|finding| finding.severity != Severity::Error) {
            note!("{}: {}", finding.severity.word(), finding.text());
        }
        for problem in &problems {
            note!("error: {problem}");
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
