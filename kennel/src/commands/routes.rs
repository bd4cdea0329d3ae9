//! `kennel routes`: what apps answer to.

use super::check::probe;
use crate::apps;
use crate::args::Check as Args;
use crate::config::Config;
use crate::exit::wrong_input;
use crate::table;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(args.config.config.as_deref()).map_err(wrong_input)?;
    let limits = config.limits();
    let mut rows = Vec::new();
    for app in apps::resolve(&args.apps, &config, &args.python, Some(1), &limits, false, None)? {
        let registration = probe(&app, &limits).map_err(wrong_input)?;
        let mount = app.spec.mount.trim_end_matches('/');
        if registration.takes_everything() {
            let path = format!("everything under {}", app.spec.mount);
            rows.push((app.spec.name.clone(), vec!["ANY".into()], path, app.spec.name.clone()));
        }
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
    let lines: Vec<_> = rows
        .iter()
        .map(|(_, methods, path, place)| [methods.join(","), path.clone(), place.clone()])
        .collect();
    table::listing(args.json, &["method", "path", "handler"], &lines, || {
        rows.iter()
            .map(|(app, methods, path, place)| json!({ "app": app, "methods": methods, "path": path, "place": place }))
            .collect()
    })
}
