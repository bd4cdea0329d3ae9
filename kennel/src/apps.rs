//! From what was typed and what kennel.toml says to the apps that are served.

use crate::args;
use crate::config::{self, Config};
use crate::exit::wrong_input;
use crate::python;
use crate::role::WORKER_LUA;
use handler_core::hub::{AppSpec, Limits};
use handler_core::serve::App;
use handler_core::worker::process::WorkerCommand;
use handler_core::worker::protocol::Start;
use std::path::{Path, PathBuf};

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
        let source = Source::read(&source)?;
        let named = python.python.as_deref().or(settings.python.as_deref());
        let command = match source.language {
            Language::Lua => WorkerCommand { program: program.clone(), arguments: vec![WORKER_LUA.into()] },
            Language::Python => python::worker_command(named, &folder(&source.file), run_folder)?,
        };
        let interface = python.interface.or(settings.interface);
        apps.push(App {
            spec: AppSpec {
                name: source.typed,
                mount: mount.clone(),
                workers: workers.or(settings.workers).unwrap_or_else(default_workers),
            },
            command,
            start: Start {
                number: 0,
                source: source.file,
                object: source.object,
                interface: interface.map(args::Interface::name).unwrap_or_default().to_owned(),
                threads: python.threads.or(settings.threads).unwrap_or(0),
                mount,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                config: serde_json::to_value(&settings.config)?,
                dev,
                memory: limits.worker_memory,
                form: limits.form.clone(),
                scratch: String::new(),
            },
        });
    }
    Ok(apps)
}

/// The folder that an app's code is in: a script's own, a module's the one that kennel was started in.
pub(crate) fn folder(source: &str) -> PathBuf {
    match Path::new(source).parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => ".".into(),
    }
}

/// What an app is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Lua,
    Python,
}

/// What was typed for an app, taken apart.
#[derive(Debug)]
struct Source {
    typed: String,
    language: Language,
    /// The script's path, or a module's name.
    file: String,
    /// The name in it, perhaps empty.
    object: String,
}

impl Source {
    /// `app.lua`, `app.py`, `app.py:name`, `module`, `module:name`.
    fn read(typed: &str) -> anyhow::Result<Self> {
        let wrong = |problem: &str| Err(wrong_input(format!("cannot serve `{typed}`: {problem}")));
        let source = |language, file: &str, object: &str| {
            Ok(Self { typed: typed.to_owned(), language, file: file.to_owned(), object: object.to_owned() })
        };
        let (file, object) = match typed.rsplit_once(':') {
            Some((file, object)) if is_dotted_name(object) && !Path::new(typed).exists() => (file, object),
            _ => (typed, ""),
        };
        let path = Path::new(file);
        let extension = path.extension().and_then(|extension| extension.to_str());
        match (path.metadata(), extension) {
            (Ok(found), _) if found.is_dir() => wrong("it is a directory; name a script in it"),
            (Ok(_), Some("lua")) if object.is_empty() => source(Language::Lua, file, ""),
            (Ok(_), Some("lua")) => wrong("a Lua script returns its app, which has no name"),
            (Ok(_), Some("py")) => source(Language::Python, file, object),
            (Err(_), Some("lua" | "py")) => wrong("there is no such file"),
            (Err(_), _) if is_dotted_name(file) => source(Language::Python, file, object),
            (Err(_), _) => wrong("there is no such file"),
            (Ok(_), _) => wrong(
                "this version of kennel runs scripts in Lua and Python, whose names end in `.lua` or `.py`",
            ),
        }
    }
}

/// Whether Python would take it as `a.b.c`.
fn is_dotted_name(name: &str) -> bool {
    let is_word = |word: &str| {
        word.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && word.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
    };
    name.split('.').all(is_word)
}
