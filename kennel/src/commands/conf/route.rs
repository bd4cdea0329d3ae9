//! `kennel conf route`: which route a request reaches, as Mongrel2 finds it, mistakes and all.

use super::{choice, routes, source};
use crate::args::conf::Route as Args;
use crate::exit::{note, wrong_input};
use crate::table;
use mongrel2_conf::diff;
use mongrel2_conf::model::{Dir, Host, Route, Server, Target};
use mongrel2_conf::pattern::{Oddity, Pattern};
use mongrel2_conf::routing::{Reached, Router, host_for};
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

/// What became of a path on one server.
struct Answer<'a> {
    server: &'a Server,
    host: Option<&'a Host>,
    reached: Reached,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Mongrel2 cuts off the query before it looks for the route.
    let path = args.path.split('?').next().unwrap_or_default();
    for text in [Some(path), args.pattern.as_deref()].into_iter().flatten() {
        if !text.starts_with(['/', '@', '<']) {
            let text = table::visible(text);
            let rule = "requests begin with `/`, JSON messages with `@`, XML messages with `<`";
            return Err(wrong_input(format!("`{text}` cannot be a path: {rule}")));
        }
    }
    if let Some(pattern) = &args.pattern {
        return alone(path, pattern, args.listing.json);
    }
    let db = &args.listing.database.db;
    let contents = source::database(db)?;
    let servers = choice::servers(&contents.config, db, args.server.as_deref())?;
    let answers: Vec<_> =
        servers.iter().map(|(_, server)| answer(server, args.host.as_deref(), path)).collect();
    let found = answers.iter().any(|answer| route(answer).is_some());
    if args.listing.json || found {
        let rows: Vec<_> = answers.iter().map(row).collect();
        table::listing(args.listing.json, &["server", "host", "route", "target"], &rows, || {
            answers.iter().map(json).collect()
        })?;
    } else {
        for answer in &answers {
            note!("{}: {}", table::visible(answer.server.label()), why_nothing(answer, path));
        }
    }
    for answer in &answers {
        if let (Some(route), Reached::Route { partial: true, .. }) = (route(answer), answer.reached) {
            let key = table::visible(&route.path);
            note!(
                "warning: `{}` ends inside the key `{key}`, and Mongrel2 gives it to that route all the same",
                table::visible(path)
            );
        }
    }
    Ok(if found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn answer<'a>(server: &'a Server, name: Option<&str>, path: &str) -> Answer<'a> {
    let host = match name {
        // The port is no part of it, and IPv6 addresses have colons of their own.
        Some(name) => host_for(server, without_port(name).as_bytes()),
        None => server.hosts.iter().rposition(|host| host.name == server.default_host),
    };
    let host = host.map(|at| &server.hosts[at]);
    let reached = host.map_or(Reached::Nothing, |host| Router::new(host).reach(path.as_bytes()));
    Answer { server, host, reached }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn route<'a>(answer: &Answer<'a>) -> Option<&'a Route> {
    match answer.reached {
        Reached::Route { route, .. } => answer.host.map(|host| &host.routes[route]),
        Reached::Misfit { .. } | Reached::Nothing => None,
    }
}

fn row(answer: &Answer<'_>) -> [String; 4] {
    let server = answer.server.label().to_owned();
    let host = answer.host.map(|host| host.name.clone()).unwrap_or_default();
    match route(answer) {
        Some(route) => [server, host, route.path.clone(), diff::about(&route.target)],
        None => [server, host, String::new(), "404".to_owned()],
    }
}

fn json(answer: &Answer<'_>) -> Value {
    match (answer.host, route(answer)) {
        (Some(host), Some(route)) => {
            let mut value = routes::json(answer.server, host, &route.path, &route.target);
            value["partial"] = matches!(answer.reached, Reached::Route { partial: true, .. }).into();
            value
        }
        (host, _) => json!({
            "server": answer.server.name, "server_uuid": answer.server.uuid,
            "host": host.map(|host| &host.name), "path": null, "target": null,
        }),
    }
}

fn why_nothing(answer: &Answer<'_>, path: &str) -> String {
    let path = table::visible(path);
    let Some(host) = answer.host else { return "404: no host fits, and there is no default host".to_owned() };
    let name = table::visible(&host.name);
    match answer.reached {
        Reached::Misfit { route } => {
            let key = table::visible(&host.routes[route].path);
            format!(
                "404: Mongrel2 looks for `{path}` at `{key}` of host `{name}`, whose pattern does not fit; it tries no \
                 shorter route then"
            )
        }
        _ => format!("404: no route of host `{name}` is for `{path}`"),
    }
}

/// Tries one key, for who wants to know whether a pattern is right.
fn alone(path: &str, key: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let host = Host::new("", vec![Route::new(key, Target::Dir(Dir::new("")))]);
    let pattern = &key[host.routes[0].prefix().len()..];
    if let Err(problem) = Pattern::parse(pattern) {
        return Err(wrong_input(format!("`{}`: {problem}", table::visible(key))));
    }
    for Oddity { character, advice, .. } in Pattern::oddities(pattern) {
        note!("warning: `{character}` means the character: {advice}");
    }
    let reached = Router::new(&host).reach(path.as_bytes());
    let (fits, partial) = match reached {
        Reached::Route { partial, .. } => (true, partial),
        Reached::Misfit { .. } | Reached::Nothing => (false, false),
    };
    let mut out = std::io::stdout().lock();
    let (path, key) = (table::visible(path), table::visible(key));
    if as_json {
        let prefix = host.routes[0].prefix();
        table::print_json(&mut out, &json!({ "fits": fits, "partial": partial, "prefix": prefix }))?;
    } else if partial {
        writeln!(out, "`{path}` ends inside `{key}`, which Mongrel2 takes for a fit")?;
    } else {
        writeln!(out, "`{path}` {} `{key}`", if fits { "fits" } else { "does not fit" })?;
    }
    Ok(if fits { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_part_of_a_host() {
        assert_eq!(without_port("example.com:8080"), "example.com");
        assert_eq!(without_port("example.com"), "example.com");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
    }
}
