//! From what was typed and what kennel.toml says to the apps that are served.

pub(crate) mod cgi;
pub(crate) mod python;
pub(crate) mod site_folder;
mod source;

use crate::args;
use crate::config::{self, Config};
use crate::exit::wrong_input;
use crate::language::Language;
use crate::role::{WORKER_CGI, WORKER_EXEC, WORKER_LUA, WORKER_UNABLE};
use handler_core::hub::{AppSpec, Limits, Sharing};
use handler_core::mount;
use handler_core::serve::App;
use handler_core::sessions::Keys;
use handler_core::worker::process::WorkerCommand;
use handler_core::worker::protocol::Start;
use handler_exec::Settings;
use kennel_http::percent::normal_path;
use source::Source;
pub(crate) use source::{is_module, missing, split_call};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What is said when nothing is named.
pub(crate) const NO_APP: &str =
    "no app to serve: name a script, as in `kennel run app.lua`, or list apps in kennel.toml";

/// The apps to serve: those named on the command line, or all of kennel.toml. An app named on the
/// command line that kennel.toml knows by the same path has its settings. Where they are to run, there is a folder for
/// what this kennel keeps.
pub(crate) fn resolve(
    named: &[String],
    config: &Config,
    python: &args::Python,
    workers: Option<u32>,
    limits: &Limits,
    dev: bool,
    run_folder: Option<&Path>,
) -> anyhow::Result<Vec<App>> {
    let default_workers = || std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let default = config::App::default();
    let from_config = |source: &String| {
        let known = config.app.iter().find(|app| Path::new(&app.source) == Path::new(source));
        (source.clone(), known.unwrap_or(&default))
    };
    let chosen: Vec<_> = match named.is_empty() {
        true => config.app.iter().map(|app| (app.source.clone(), app)).collect(),
        false => named.iter().map(from_config).collect(),
    };
    if chosen.is_empty() {
        return Err(wrong_input(NO_APP));
    }
    let program = std::env::current_exe()?.into_os_string();
    let mut apps = Vec::new();
    for (source, settings) in chosen {
        let mount = settings.mount.clone().unwrap_or_else(|| "/".to_owned());
        let mount = normal_path(mount.as_bytes()).into_owned();
        let source =
            Source::read(&source).map_err(|problem| wrong_input(config.about_source(&source, &problem)))?;
        let named = python.python.as_deref().or(settings.python.as_deref());
        let command = match source.language {
            Some(Language::Lua) => {
                WorkerCommand { program: program.clone(), arguments: vec![WORKER_LUA.into()] }
            }
            Some(Language::Python) => python::worker_command(named, &folder(&source.file), run_folder)?,
            None => program_command(&program, settings, limits)?,
        };
        let interface = python.interface.or(settings.interface);
        let workers = workers.or(settings.workers);
        let may_be_standard =
            source.language == Some(Language::Python) && interface != Some(args::Interface::Kennel);
        apps.push(App {
            spec: AppSpec {
                name: source.typed,
                mount: mount.clone(),
                workers: workers.unwrap_or_else(|| match source.language {
                    // Its processes are many by themselves.
                    None => 1,
                    Some(_) => default_workers(),
                }),
            },
            sharing: Sharing {
                one_if_standard: workers.is_none() && may_be_standard,
                affinity: settings.affinity.clone(),
            },
            command,
            start: Start {
                number: 0,
                source: source.file,
                object: match python.factory || settings.factory {
                    true => called(source.object),
                    false => source.object,
                },
                interface: interface.map(args::Interface::name).unwrap_or_default().to_owned(),
                threads: python.threads.or(settings.threads).unwrap_or(0),
                mount,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                config: serde_json::to_value(&settings.config)?,
                dev,
                load_time: limits.load_time.as_secs_f64(),
                memory: limits.worker_memory,
                conversations: limits.conversations,
                conversations_per_address: limits.conversations_per_address,
                counts_local: false,
                keys: Keys::default(),
                form: limits.form.clone(),
                scratch: String::new(),
            },
        });
    }
    refuse_shared_mounts(apps.iter().map(|app| &app.spec))?;
    Ok(apps)
}

/// A name with a call behind it; no name at all is one that Python code finds out.
fn called(mut object: String) -> String {
    if !object.ends_with(')') {
        object.push_str("()");
    }
    object
}

/// Of two apps with one mount the second is never reached.
pub(crate) fn refuse_shared_mounts<'a>(apps: impl Iterator<Item = &'a AppSpec>) -> anyhow::Result<()> {
    let mut seen: Vec<&AppSpec> = Vec::new();
    for app in apps {
        let is_same = |other: &&&AppSpec| mount::prefix(&other.mount) == mount::prefix(&app.mount);
        if let Some(other) = seen.iter().find(is_same) {
            return Err(wrong_input(format!(
                "`{}` and `{}` have the same mount `{}`, so only the first would be reached; give one of them \
                 another `mount` in kennel.toml",
                other.name, app.name, app.mount
            )));
        }
        seen.push(app);
    }
    Ok(())
}

/// The same for the handlers of a directory: one that cannot be served becomes an app that does not load and says why, so
/// that the others are.
pub(crate) fn resolve_each(
    named: &[String],
    config: &Config,
    python: &args::Python,
    workers: Option<u32>,
    limits: &Limits,
    dev: bool,
    run_folder: Option<&Path>,
) -> anyhow::Result<Vec<App>> {
    let mut apps = Vec::new();
    for source in named {
        let one = std::slice::from_ref(source);
        match resolve(one, config, python, workers, limits, dev, run_folder) {
            Ok(resolved) => apps.extend(resolved),
            Err(problem) => apps.push(unable(source, config, &problem)?),
        }
    }
    Ok(apps)
}

/// An app whose worker says only why it cannot be served.
fn unable(source: &str, config: &Config, problem: &anyhow::Error) -> anyhow::Result<App> {
    let settings = config.app.iter().find(|app| Path::new(&app.source) == Path::new(source));
    let mount = settings.and_then(|settings| settings.mount.as_deref()).unwrap_or("/");
    let mount = normal_path(mount.as_bytes()).into_owned();
    let arguments = vec![WORKER_UNABLE.into(), format!("{problem:#}").into()];
    Ok(App {
        spec: AppSpec { name: source.to_owned(), mount: mount.clone(), workers: 1 },
        sharing: Sharing::default(),
        command: WorkerCommand { program: std::env::current_exe()?.into_os_string(), arguments },
        start: Start { source: source.to_owned(), mount, ..Start::default() },
    })
}

/// How the worker of a program is started.
fn program_command(
    program: &OsStr,
    settings: &config::App,
    limits: &Limits,
) -> anyhow::Result<WorkerCommand> {
    let default = Settings::default();
    let settings = Settings {
        processes: settings.processes.unwrap_or(default.processes),
        at_once: settings.at_once.unwrap_or(default.at_once),
        line: limits.exec_line,
        load: limits.load_time,
        patience: limits.request_timeout,
    };
    let arguments = vec![WORKER_EXEC.into(), serde_json::to_string(&settings)?.into()];
    Ok(WorkerCommand { program: program.to_owned(), arguments })
}

/// What an app is written in; `None`: it is a program.
pub(crate) fn language_of(app: &App) -> Option<Language> {
    match app.command.arguments.first() {
        Some(first) if first == WORKER_LUA => Some(Language::Lua),
        Some(first) if first == WORKER_EXEC || first == WORKER_CGI || first == WORKER_UNABLE => None,
        _ => Some(Language::Python),
    }
}

/// The file of an app that is a program.
pub(crate) fn program(app: &App) -> Option<PathBuf> {
    let is_program = app.command.arguments.first().is_some_and(|first| first == WORKER_EXEC);
    is_program.then(|| PathBuf::from(&app.start.source))
}

/// The folder that an app's code is in: a script's own, a module's the one that kennel was started in.
pub(crate) fn folder(source: &str) -> PathBuf {
    match Path::new(source).parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => ".".into(),
    }
}

/// What the app that was typed is written in; `None`: it is a program that speaks JSON lines.
pub(crate) fn language(typed: &str) -> anyhow::Result<Option<Language>> {
    Ok(Source::read(typed)?.language)
}
