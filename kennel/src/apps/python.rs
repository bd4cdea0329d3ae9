//! The user's Python: which interpreter runs an app's workers, and where Kennel's module for it is.
//!
//! The program links no libpython; it only starts one.

use crate::exit::{plain, unreachable, wrong_input};
use handler_core::worker::process::WorkerCommand;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// What a worker's interpreter runs.
const BOOTSTRAP: &str = include_str!("bootstrap.py");

/// The module's file, as cargo builds it beside the program.
const MODULE: &str = "libkennel_python.so";

/// What an interpreter is asked before it is trusted with an app. Runs on any version.
const PROBE: &str = r#"
import sys
# What lies in the working folder is nobody's library.
if sys.path and sys.path[0] == "":
    del sys.path[0]
import json
installed = None
if len(sys.argv) < 2 and sys.version_info >= (3, 9):
    try:
        from importlib.metadata import version
        installed = version("kennel")
    except Exception:
        pass
print(json.dumps({
    "version": list(sys.version_info[:2]),
    "implementation": getattr(sys, "implementation", None) and sys.implementation.name,
    "executable": sys.executable,
    "installed": installed,
}))
"#;

/// The oldest version whose stable ABI the module is made for.
const OLDEST: (u32, u32) = (3, 9);

#[derive(Debug, Clone, Deserialize)]
struct Probe {
    version: (u32, u32),
    implementation: Option<String>,
    executable: String,
    installed: Option<String>,
}

/// How the workers of an app whose code is in `folder` are started: with the interpreter that was named, or that of
/// the virtual environment in use, or of `.venv` beside the app, or of the one that this
/// program is installed in, or `python3`. Workers leave the compiled package to each other in `run_folder`.
pub(crate) fn worker_command(
    named: Option<&str>,
    folder: &Path,
    run_folder: Option<&Path>,
) -> anyhow::Result<WorkerCommand> {
    let (program, origin) = find(named, folder);
    let beside = std::env::current_exe()?.with_file_name(MODULE);
    let beside = beside.is_file().then_some(beside);
    let probe = ask(&program, &origin, beside.is_some())?;
    let (major, minor) = probe.version;
    let name = if probe.executable.is_empty() { program.display().to_string() } else { probe.executable };
    if probe.version < OLDEST {
        return Err(wrong_input(format!(
            "{name} ({origin}) is Python {major}.{minor}, and 3.9 or newer is needed; --python names another one"
        )));
    }
    if probe.implementation.as_deref() != Some("cpython") {
        return Err(wrong_input(format!(
            "{name} ({origin}) is not CPython, which Kennel's module needs; --python names another interpreter"
        )));
    }
    // With faulthandler, a worker that crashes writes the lines of Python that it was in to standard error, which is the log.
    let mut arguments: Vec<OsString> =
        vec!["-X".into(), "faulthandler".into(), "-c".into(), BOOTSTRAP.into()];
    let ours = env!("CARGO_PKG_VERSION");
    match (beside, probe.installed) {
        (Some(file), _) => {
            arguments.push(file.into());
            arguments.extend(run_folder.map(|folder| folder.into()));
        }
        (None, Some(installed)) if installed == ours => {}
        (None, Some(installed)) => {
            return Err(unreachable(format!(
                "the package `kennel` of {name} is version {installed}, this program is {ours}; bring both to one \
                 version, as in: {name} -m pip install --upgrade kennel=={ours}"
            )));
        }
        (None, None) => {
            return Err(unreachable(format!(
                "Kennel's module for Python is not there: {MODULE} is not beside this program, and {name} has no \
                 package `kennel`; build it with `cargo build --release -p handler-py`, or install it with \
                 `{name} -m pip install ./handler-py`"
            )));
        }
    }
    Ok(WorkerCommand { program: program.into(), arguments })
}

/// The interpreter, and in words why it is this one.
fn find(named: Option<&str>, folder: &Path) -> (PathBuf, String) {
    if let Some(named) = named {
        return (named.into(), "named by --python".to_owned());
    }
    if let Some(active) = std::env::var_os("VIRTUAL_ENV").filter(|path| !path.is_empty()) {
        return (Path::new(&active).join("bin/python"), "of VIRTUAL_ENV".to_owned());
    }
    let beside = folder.join(".venv/bin/python");
    if beside.exists() {
        let folder = folder.join(".venv");
        return (beside, format!("of {}", folder.display()));
    }
    // Installed by pip, the program lies in the environment that it was installed for.
    if let Some(bin) = std::env::current_exe().ok().as_deref().and_then(Path::parent)
        && bin.with_file_name("pyvenv.cfg").is_file()
    {
        return (bin.join("python"), "beside this program".to_owned());
    }
    ("python3".into(), "from PATH".to_owned())
}

/// What an interpreter says of itself. It is asked once, since that takes as long as Python takes to start, and the handlers of a
/// directory may be many.
fn ask(program: &Path, origin: &str, has_module: bool) -> anyhow::Result<Probe> {
    static ASKED: Mutex<BTreeMap<(PathBuf, bool), Probe>> = Mutex::new(BTreeMap::new());
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (program.to_owned(), has_module);
    if let Some(known) = asked.get(&key) {
        return Ok(known.clone());
    }
    let probe = ask_now(program, origin, has_module)?;
    asked.insert(key, probe.clone());
    Ok(probe)
}

fn ask_now(program: &Path, origin: &str, has_module: bool) -> anyhow::Result<Probe> {
    let mut command = Command::new(program);
    command.args(["-c", PROBE]).stdin(Stdio::null());
    if has_module {
        command.arg("beside");
    }
    let output = command.output().map_err(|problem| {
        let next = match origin {
            "from PATH" => {
                "install Python 3.9 or newer, as in `apt-get install python3`, or name one with --python"
            }
            _ => "--python names another interpreter",
        };
        unreachable(format!("cannot start {} ({origin}): {}; {next}", program.display(), plain(&problem)))
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim().lines().last().unwrap_or("it said nothing");
        return Err(wrong_input(format!(
            "{} ({origin}) is not a working Python: {last}; --python names another interpreter",
            program.display()
        )));
    }
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let program = program.display();
        wrong_input(format!("{program} ({origin}) is not Python; --python names another interpreter"))
    })
}
