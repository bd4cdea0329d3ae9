//! `kennel routes`: what apps answer to.

use super::check::{full, probe};
use crate::apps;
use crate::apps::site_folder::{self, Typed};
use crate::args::Check as Args;
use crate::exit::{WRONG_INPUT, note, wrong_input};
use crate::table;
use handler_core::mount;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Typed { apps: named, config, site } = site_folder::read(&args.apps, args.config.config.as_deref())?;
    let limits = config.limits();
    let (mut rows, mut failed) = (Vec::new(), false);
    for app in apps::resolve(&named, &config, &args.python, Some(1), &limits, false, None)? {
        let registration = match probe(&app, &limits, &mut |_, _| {}) {
            Ok(registration) => registration,
            // The other handlers of a directory have routes all the same.
            Err(problem) if site.is_some() => {
                note!("error: {}", full(&problem));
                failed = true;
                continue;
            }
            Err(problem) => return Err(wrong_input(problem)),
        };
        let mount = &app.spec.mount;
        if registration.takes_everything() {
            let path = format!("everything under {}", app.spec.mount);
            rows.push((app.spec.name.clone(), vec!["ANY".into()], path, app.spec.name.clone()));
        }
        for route in registration.routes {
            rows.push((app.spec.name.clone(), route.methods, mount::join(mount, &route.path), route.place));
        }
        for channel in registration.channels {
            let path = mount::join(mount, &channel.path);
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
    let listed = table::listing(args.json, &["method", "path", "handler"], &lines, || {
        rows.iter()
            .map(|(app, methods, path, place)| json!({ "app": app, "methods": methods, "path": path, "place": place }))
            .collect()
    })?;
    Ok(if failed { ExitCode::from(WRONG_INPUT) } else { listed })
}
