//! `kennel test`: runs an app's tests, each file in a process of its own.
//!
//! `find` looks for the files, `process` runs one of them and hears what comes of its tests, `show` says it to people.

mod find;
mod process;
mod show;

use crate::apps;
use crate::apps::python;
use crate::args::Test as Args;
use crate::config::Config;
use crate::exit::{plain, wrong_input};
use crate::language::Language;
use crate::role::TEST_LUA;
use find::{Found, Group};
use handler_core::rehearsal::report::TestFile;
use handler_core::serve::App;
use handler_core::worker::process::WorkerCommand;
use serde_json::json;
use show::Printer;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What became of one test.
#[derive(Debug)]
struct Outcome {
    /// As it is shown: the folder of the app, as typed, and the file in it.
    file: String,
    name: String,
    seconds: f64,
    result: Verdict,
}

#[derive(Debug)]
enum Verdict {
    Passed,
    Skipped(String),
    Failed(handler_core::rehearsal::report::Failure),
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let groups = find::groups(&args.paths)?;
    let here = std::env::current_dir()?;
    let mut printer = Printer::new(args.json);
    let mut outcomes = Vec::new();
    for group in groups {
        // What kennel.toml and tests name is seen from the app's folder.
        let folder = here.join(&group.folder);
        std::env::set_current_dir(&folder)
            .map_err(|problem| wrong_input(format!("{}: {}", group.folder.display(), plain(&problem))))?;
        run_group(args, &group, &mut printer, &mut outcomes)?;
    }
    std::env::set_current_dir(here)?;
    let failed = outcomes.iter().filter(|outcome| matches!(outcome.result, Verdict::Failed(_))).count();
    printer.end(&outcomes, begun.elapsed())?;
    match (outcomes.is_empty(), failed) {
        (true, _) => {
            let files = "the files have no tests; in Lua they are made by testing.test(name, fn), in Python they are \
                         functions named test_*";
            Err(wrong_input(match &args.keyword {
                Some(word) => {
                    format!("no test has `{word}` in its name; -k takes a part of a name, as it is written")
                }
                None => files.to_owned(),
            }))
        }
        (false, 0) => Ok(ExitCode::SUCCESS),
        (false, _) => Ok(ExitCode::FAILURE),
    }
}

fn run_group(
    args: &Args,
    group: &Group,
    printer: &mut Printer,
    outcomes: &mut Vec<Outcome>,
) -> anyhow::Result<()> {
    let config = Config::load(args.config.config.as_deref()).map_err(wrong_input)?;
    let limits = config.limits();
    for found in &group.files {
        let app = default_app(args, &config, found)?;
        let command = match (found.language, &app) {
            (_, Some(app)) => app.command.clone(),
            (Language::Lua, None) => {
                WorkerCommand { program: std::env::current_exe()?.into(), arguments: Vec::new() }
            }
            (Language::Python, None) => python::worker_command(args.python.as_deref(), Path::new("."), None)?,
        };
        let command = match found.language {
            Language::Lua => WorkerCommand { arguments: vec![TEST_LUA.into()], ..command },
            Language::Python => command,
        };
        let plan = TestFile {
            file: found.file.clone(),
            app: app.map(|app| app.start),
            limits: limits.clone(),
            filter: args.keyword.clone().filter(|word| !found.file.to_string_lossy().contains(word.as_str())),
            done: 0,
        };
        let shown = group.shown(&found.file);
        process::run(&command, plan, Duration::from_secs_f64(args.timeout), &shown, &mut |outcome| {
            printer.show(&outcome)?;
            outcomes.push(outcome);
            Ok(())
        })?;
    }
    Ok(())
}

/// The app that tests of a language get when they name none: the first of kennel.toml, or `app.lua`, `app.py`.
fn default_app(args: &Args, config: &Config, found: &Found) -> anyhow::Result<Option<App>> {
    let flags = crate::args::Python { python: args.python.clone(), ..crate::args::Python::default() };
    let limits = config.limits();
    for app in &config.app {
        if apps::language(&app.source)? == Some(found.language) {
            let resolved = apps::resolve(
                std::slice::from_ref(&app.source),
                config,
                &flags,
                Some(1),
                &limits,
                false,
                None,
            )?;
            return Ok(resolved.into_iter().next());
        }
    }
    let usual = match found.language {
        Language::Lua => "app.lua",
        Language::Python => "app.py",
    };
    if !Path::new(usual).is_file() {
        return Ok(None);
    }
    let resolved = apps::resolve(&[usual.to_owned()], config, &flags, Some(1), &limits, false, None)?;
    Ok(resolved.into_iter().next())
}

impl Outcome {
    /// As `--json` has it.
    fn json(&self) -> serde_json::Value {
        let base = |outcome: &str| json!({ "file": self.file, "test": self.name, "outcome": outcome, "seconds": self.seconds });
        match &self.result {
            Verdict::Passed => base("passed"),
            Verdict::Skipped(reason) => {
                let mut value = base("skipped");
                value["reason"] = json!(reason);
                value
            }
            Verdict::Failed(failure) => {
                let mut value = base("failed");
                value["failure"] = json!(failure);
                value
            }
        }
    }
}
