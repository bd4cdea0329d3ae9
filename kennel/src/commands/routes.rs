//! `kennel routes`: what apps answer to.

use super::check::probe;
use crate::apps;
use crate::args::Check as Args;
use crate::config::Config;
use crate::exit::wrong_input;
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(args.config.config.as_deref()).map_err(wrong_input)?;
    let limits = config.limits();
    let mut rows = Vec::new();
    for app in apps::resolve(&args.apps, &config, &args.python, Some(1), &limits, false)? {
        let registration = probe(&app, &limits).map_err(wrong_input)?;
        let mount = app.spec.mount.trim_end_matches('/');
        for route in registration.routes {
            rows.push((app.spec.name.clone(), route.methods, format!("{mount}{}", route.path), route.place));
        }
        for channel in registration.channels {
            let path = match channel.path.starts_with('/') {
                true => format!("{mount}{}", channel.path),
                false => channel.path,
            };
            rows.push((app.spec.name.clone(), vec!["CHANNEL".into()], path, channel.place));
        }
        if registration.raw {
            rows.push((
                app.spec.name.clone(),
                vec!["RAW".into()],
                "every other message".into(),
                app.spec.name,
            ));
        }
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        let list: Vec<_> = rows
            .iter()
            .map(|(app, methods, path, place)| json!({ "app": app, "methods": methods, "path": path, "place": place }))
            .collect();
        serde_json::to_writer_pretty(&mut out, &list)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let methods: Vec<_> = rows.iter().map(|row| row.1.join(",")).collect();
    let wide = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let first = wide(&mut methods.iter().map(|m| m.chars().count())).max("METHOD".len());
    let second = wide(&mut rows.iter().map(|row| row.2.chars().count())).max("PATH".len());
    writeln!(out, "{:first$}  {:second$}  HANDLER", "METHOD", "PATH")?;
    for (methods, (_, _, path, place)) in methods.iter().zip(&rows) {
        writeln!(out, "{methods:first$}  {path:second$}  {place}")?;
    }
    Ok(ExitCode::SUCCESS)
}
