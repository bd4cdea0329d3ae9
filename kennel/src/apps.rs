//! From what was typed and what kennel.toml says to the apps that are served.

use crate::config::{self, Config};
use crate::exit::wrong_input;
use crate::role::WORKER_LUA;
use handler_core::hub::{AppSpec, Limits};
use handler_core::serve::App;
use handler_core::worker::process::WorkerCommand;
use handler_core::worker::protocol::Start;
use std::path::Path;

/// The apps to serve: those named on the command line, or all of kennel.toml. An app named on the
/// command line that kennel.toml knows by the same path has its settings.
pub(crate) fn resolve(
    named: &[String],
    config: &Config,
    workers: Option<u32>,
    limits: &Limits,
    dev: bool,
) -> anyhow::Result<Vec<App>> {
    let default_workers = || std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let default =
        config::App { source: String::new(), workers: None, mount: None, config: toml::Table::new() };
    let from_config = |source: &String| {
        let known = config.app.iter().find(|app| Path::new(&app.source) == Path::new(source));
        (source.clone(), known.unwrap_or(&default))
    };
    let chosen: Vec<_> = match named.is_empty() {
        true => config.app.iter().map(|app| (app.source.clone(), app)).collect(),
        false => named.iter().map(from_config).collect(),
    };
    if chosen.is_empty() {
        return Err(wrong_input(
            "no app to serve: name a script, as in `kennel run app.lua`, or list apps in kennel.toml",
        ));
    }
    let program = std::env::current_exe()?.into_os_string();
    let mut apps = Vec::new();
    for (source, settings) in chosen {
        let mount = settings.mount.clone().unwrap_or_else(|| "/".to_owned());
        if !mount.starts_with('/') {
            return Err(wrong_input(format!("the mount `{mount}` of `{source}` must begin with `/`")));
        }
        check_source(&source)?;
        apps.push(App {
            spec: AppSpec {
                name: source.clone(),
                mount,
                workers: workers.or(settings.workers).unwrap_or_else(default_workers),
            },
            command: WorkerCommand { program: program.clone(), arguments: vec![WORKER_LUA.into()] },
            start: Start {
                number: 0,
                source,
                config: serde_json::to_value(&settings.config)?,
                dev,
                memory: limits.worker_memory,
            },
        });
    }
    Ok(apps)
}

fn check_source(source: &str) -> anyhow::Result<()> {
    let path = Path::new(source);
    let problem = match path.metadata() {
        Err(_) => "there is no such file".to_owned(),
        Ok(file) if file.is_dir() => "it is a directory; name a script in it".to_owned(),
        Ok(_) if path.extension().is_some_and(|extension| extension == "lua") => return Ok(()),
        Ok(_) => "this version of kennel runs Lua scripts, whose names end in `.lua`".to_owned(),
    };
    Err(wrong_input(format!("cannot serve `{source}`: {problem}")))
}
