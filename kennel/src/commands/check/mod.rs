//! `kennel check`: load everything, serve nothing, say all that is wrong and what is in force.

mod app_routes;
mod connections;
mod mongrel2;
mod own_server;
mod sockets;

use crate::apps;
use crate::apps::site_folder::{self, SiteFolder, Typed};
use crate::args::{CheckAll as Args, Front};
use crate::config::{Config, Place};
use crate::exit::{WRONG_INPUT, note};
use crate::listen::{self, METRICS};
use crate::mongrel2::existing;
use crate::secret;
use crate::table::print_json;
use crate::unused;
use connections::Bound;
use handler_core::hub::Limits;
use handler_core::hub::routes::Routes;
use handler_core::serve::App;
use handler_core::worker::probe::{self, ProbeError};
use handler_core::worker::protocol::{Level, LoadFailure, Registration};
use mongrel2::{Finding, Report, Severity};
use own_server::OwnServer;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::process::ExitCode;

/// Loads an app's script in a worker and checks that its routes can be served. `said` is given what the script prints.
pub(super) fn probe(
    app: &App,
    limits: &Limits,
    said: &mut dyn FnMut(Level, &str),
) -> Result<Registration, ProbeError> {
    let mut start = app.start.clone();
    start.number = 1;
    let registration = probe::load(&app.command, &start, limits.load_time, said)?;
    Routes::new(&app.spec.mount, &registration.routes).map_err(|problem| {
        let file = Some(app.spec.name.clone());
        ProbeError::Load(LoadFailure { message: problem.to_string(), file, ..LoadFailure::default() })
    })?;
    Ok(registration)
}

/// What there is to say.
#[derive(Default)]
struct Found {
    errors: Vec<String>,
    warnings: Vec<String>,
    loaded: Vec<(App, Registration)>,
    /// What scripts print or log while they are loaded: which one, and a line.
    output: Vec<(String, String)>,
}

pub(super) fn run(all: &Args) -> anyhow::Result<ExitCode> {
    let Args { check: args, database, own, .. } = all;
    let Typed { apps: named, config, site } = site_folder::read(&args.apps, args.config.config.as_deref())?;
    let limits = config.limits();
    let mut found = Found::default();
    // One app at a time, so that one wrong name does not hide what is wrong elsewhere.
    let sources: Vec<String> = match named.is_empty() {
        true => config.app.iter().map(|app| app.source.clone()).collect(),
        false => named,
    };
    if sources.is_empty() {
        found.warnings.push(apps::NO_APP.to_owned());
    }
    for source in sources {
        match apps::resolve(&[source], &config, &args.python, None, &limits, false, None) {
            Ok(apps) => apps.into_iter().for_each(|app| found.load(app, &limits)),
            Err(problem) => found.errors.push(problem.to_string()),
        }
    }
    let mounted = apps::refuse_shared_mounts(found.loaded.iter().map(|(app, _)| &app.spec));
    found.errors.extend(mounted.err().map(|problem| problem.to_string()));
    let apps: Vec<_> = found.loaded.iter().map(|(app, _)| app.clone()).collect();
    let front = own.front.or(config.front).unwrap_or(Front::DEFAULT);
    let is_named = database.mongrel2.is_some();
    let started = (!is_named && config.mongrel2.is_empty()).then_some(front);
    found.warnings.extend(unused::settings(&apps, &args.python, &config, started, is_named));
    found.addresses(&config);

    let origin = match secret::look(&config.sessions) {
        Ok((_, origin)) => Some(origin.to_string()),
        Err(problem) => {
            found.errors.push(problem.to_string());
            None
        }
    };
    let Report { findings, guarded } = mongrel2::check(database, own.front, &config, &found.loaded, &limits)?;
    let started = started.map(|front| OwnServer::look(&mut found, own, front, &config));
    let bounds = connections::bounds(database, front, &config, &limits)?;
    let of = |severity| findings.iter().filter(move |f| f.severity == severity).map(Finding::text);
    found.errors.extend(of(Severity::Error));
    found.warnings.extend(of(Severity::Warning));

    let hosts: Option<Vec<_>> =
        config.hosts.as_ref().map(|hosts| hosts.iter().map(ToString::to_string).collect());
    let mut out = std::io::stdout().lock();
    if args.json {
        let limits: Map<_, _> =
            limits.all().into_iter().map(|(name, value, _)| (name.to_owned(), value.as_json())).collect();
        let findings: Vec<_> = findings.iter().map(Finding::as_json).collect();
        let connections: Vec<_> = bounds.iter().map(Bound::as_json).collect();
        let report = json!({
            "apps": found.apps_as_json(), "limits": limits, "connections": connections, "errors": found.errors,
            "warnings": found.warnings, "mongrel2": findings, "guarded": guarded, "secret": origin, "hosts": hosts,
            "front": started.as_ref().map(OwnServer::as_json),
        });
        print_json(&mut out, &report)?;
        return Ok(found.exit_code(all.strict));
    }
    // What is wrong comes first; what is in force must not hide it.
    found.errors.iter().for_each(|problem| note!("error: {problem}"));
    found.warnings.iter().for_each(|problem| note!("warning: {problem}"));
    let left_out = site.as_ref().and_then(SiteFolder::left_out);
    left_out.into_iter().chain(of(Severity::Note)).for_each(|text| note!("note: {text}"));
    found.output.iter().for_each(|(app, line)| note!("{app} prints: {line}"));
    for (app, registration) in &found.loaded {
        writeln!(out, "{}", fine(app, registration))?;
    }
    if all.limits {
        writeln!(out, "\nlimits in force:")?;
        for (name, value, meaning) in limits.described() {
            writeln!(out, "  {name:17} {value:>8}  {meaning}")?;
        }
        if let Some(started) = &started {
            started.write_limits(&mut out)?;
        }
    }
    if let Some(text) = started.as_ref().and_then(OwnServer::https) {
        writeln!(out, "\n{text}")?;
    }
    writeln!(out, "\nlive connections at once:")?;
    for bound in &bounds {
        writeln!(out, "  {}", bound.text())?;
    }
    if let Some(hosts) = hosts {
        writeln!(out, "\nonly requests for these hosts are answered: {}", hosts.join(", "))?;
    }
    if let Some(origin) = origin {
        writeln!(out, "\nsessions are signed with the secret of {origin}")?;
    }
    for pid in &guarded {
        writeln!(out, "\nmongrel2 (process {pid}) has the guard")?;
    }
    out.flush()?;
    if all.strict && found.errors.is_empty() && !found.warnings.is_empty() {
        note!("error: with --strict, a warning is an error");
    }
    Ok(found.exit_code(all.strict))
}

impl Found {
    fn load(&mut self, app: App, limits: &Limits) {
        let (name, output) = (app.spec.name.clone(), &mut self.output);
        let mut said = |_: Level, text: &str| {
            output.extend(text.lines().map(|line| (name.clone(), line.to_owned())));
        };
        match probe(&app, limits, &mut said) {
            Ok(registration) => {
                if answers_nothing(&registration) {
                    let name = &app.spec.name;
                    self.warnings.push(format!(
                        "{name}: it loads, but has no routes and no channels, so each request gets 404"
                    ));
                }
                let mut app = app;
                app.spec.workers = app.sharing.workers(app.spec.workers, registration.interface);
                self.loaded.push((app, registration));
            }
            Err(problem) => self.errors.push(full(&problem)),
        }
    }

    /// The addresses of kennel.toml that `kennel run` would use.
    fn addresses(&mut self, config: &Config) {
        let own = config.listen.as_deref().map(|typed| listen::parse_for_mongrel2(typed).map(drop));
        let metrics = config.metrics.listen.as_deref().map(|typed| listen::parse(typed, METRICS).map(drop));
        let servers = config.mongrel2.iter().filter(|server| matches!(server.place, Place::Addresses { .. }));
        let servers = servers.map(existing::check);
        let all = own.into_iter().chain(metrics).chain(servers);
        self.errors.extend(all.filter_map(Result::err).map(|problem| problem.to_string()));
    }

    fn apps_as_json(&self) -> Vec<Value> {
        let of = |(app, registration): &(App, Registration)| {
            let lines = self.output.iter().filter(|(name, _)| *name == app.spec.name);
            let lines: Vec<_> = lines.map(|(_, line)| line).collect();
            json!({
                "source": app.spec.name, "mount": app.spec.mount, "workers": app.spec.workers,
                "routes": registration.routes.len(), "channels": registration.channels.len(),
                "raw": registration.raw, "everything": registration.takes_everything(), "output": lines,
                "interface": registration.interface.name(),
                "affinity": app.sharing.affinity.as_ref().map(ToString::to_string),
            })
        };
        self.loaded.iter().map(of).collect()
    }

    fn exit_code(&self, strict: bool) -> ExitCode {
        match self.errors.is_empty() && (!strict || self.warnings.is_empty()) {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(WRONG_INPUT),
        }
    }
}

/// Whether no request would ever reach a script.
fn answers_nothing(registration: &Registration) -> bool {
    let Registration { routes, channels, raw, not_found, .. } = registration;
    routes.is_empty() && channels.is_empty() && !raw && !not_found && !registration.takes_everything()
}

/// A line about an app that has loaded.
fn fine(app: &App, registration: &Registration) -> String {
    let (name, mount) = (&app.spec.name, &app.spec.mount);
    let count = |number: usize, thing| format!("{number} {thing}{}", if number == 1 { "" } else { "s" });
    let affinity = app.sharing.affinity.as_ref();
    let affinity = affinity.map(|affinity| format!(", affinity {affinity}")).unwrap_or_default();
    let workers = count(app.spec.workers as usize, "worker") + &affinity;
    if let Some(standard) = registration.interface.name() {
        return format!("{name}: fine, everything as {standard} under {mount}, {workers}");
    }
    if registration.takes_everything() {
        return format!("{name}: fine, answers every path under {mount}, {workers}");
    }
    let routes = count(registration.routes.len(), "route");
    let channels = count(registration.channels.len(), "channel");
    let word = if answers_nothing(registration) { "loads" } else { "fine" };
    format!("{name}: {word}, {routes} and {channels} under {mount}, {workers}")
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
