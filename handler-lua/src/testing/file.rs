//! A file of tests, run one after the other; what came of each is told as it comes.

use super::site;
use crate::load;
use crate::traceback::{self, RUNTIME_CHUNK};
use handler_core::rehearsal::report::{self, Event, Failure, TestFile};
use mlua::{Function, Lua, LuaString, Table, Value};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use thiserror::Error;

/// Why a file of tests could not be run at all.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TestFileError {
    /// Nobody listens any more.
    #[error("cannot tell what came of the tests: {0}")]
    Report(#[from] io::Error),
    /// Lua could not be set up.
    #[error("cannot start Lua: {0}")]
    Lua(#[from] mlua::Error),
}

/// Runs a file of tests and writes what comes of each to `out`, as [`report`] has it.
///
/// # Errors
///
/// [`TestFileError`]. A test that fails is no such error.
pub fn run_file(plan: &TestFile, out: &mut dyn Write) -> Result<(), TestFileError> {
    let (lua, runner) = state(plan)?;
    if let Some(failure) = load_file(&lua, &runner, &plan.file)? {
        return Ok(report::write(out, &Event::Broken(failure))?);
    }
    let (names, lines): (Vec<LuaString>, Vec<u32>) = runner.get::<Function>("tests")?.call(())?;
    let tests = names.iter().map(|name| name.to_string_lossy()).zip(lines).enumerate();
    let wanted: Vec<_> = tests.filter(|(_, (name, _))| plan.wants(name)).collect();
    report::write(out, &Event::Loaded { tests: wanted.len() })?;
    let run: Function = runner.get("run")?;
    for (at, (name, line)) in wanted.into_iter().skip(plan.done) {
        report::write(out, &Event::Begin { name: name.clone(), line: Some(line) })?;
        let begun = Instant::now();
        let (problem, errors): (Option<Table>, Option<Vec<String>>) = run.call(at + 1)?;
        let seconds = begun.elapsed().as_secs_f64();
        let skipped = match &problem {
            Some(problem) => problem.get::<Option<String>>("skip")?,
            None => None,
        };
        let failure = problem
            .filter(|_| skipped.is_none())
            .map(|problem| failure(&problem, errors.unwrap_or_default()));
        report::write(out, &Event::End { name, seconds, failure: failure.transpose()?, skipped })?;
    }
    Ok(report::write(out, &Event::Done)?)
}

/// The tests' Lua state, with the module `kennel.testing`; and what runs them.
#[allow(unsafe_code, reason = "tests may use what their apps may: FFI, C modules, the debug library")]
fn state(plan: &TestFile) -> mlua::Result<(Lua, Table)> {
    // SAFETY: this process runs one file of tests and nothing else; what a test breaks ends it, and whoever started it
    // says so.
    let lua = unsafe { Lua::unsafe_new() };
    load::set_search_path(&lua, &plan.file)?;
    if let Some(app) = &plan.app {
        load::set_search_path(&lua, Path::new(&app.source))?;
    }
    let (native, array) = (lua.create_table()?, lua.create_table()?);
    native.set("null", Value::NULL)?;
    native.set("chunk", RUNTIME_CHUNK)?;
    native.set("failure", lua.create_table()?)?;
    site::register(&lua, &native, &array, plan.app.clone(), plan.limits.clone())?;
    let beside = plan.file.clone();
    native.set("find", lua.create_function(move |_, source: String| Ok(find(&source, &beside)))?)?;
    let chunk = |source: &str| lua.load(source).set_name(format!("={RUNTIME_CHUNK}")).into_function();
    let expect: Table = chunk(include_str!("../runtime/testing/expect.lua"))?.call(&native)?;
    let conn: Function = chunk(include_str!("../runtime/testing/conn.lua"))?.call(&native)?;
    let open: Function = chunk(include_str!("../runtime/testing/site.lua"))?.call((&native, conn))?;
    let runner: Table = chunk(include_str!("../runtime/testing/run.lua"))?.call((&native, expect, open))?;
    Ok((lua, runner))
}

/// An app that a test names: as seen from the working directory, else beside the test's file.
fn find(source: &str, test: &Path) -> String {
    let beside = test.parent().map(|folder| folder.join(source));
    let found = [Some(PathBuf::from(source)), beside].into_iter().flatten().find(|path| path.is_file());
    found.map_or_else(|| source.to_owned(), |path| path.to_string_lossy().into_owned())
}

/// Runs the file itself, which registers its tests; what was wrong with it.
fn load_file(lua: &Lua, runner: &Table, file: &Path) -> mlua::Result<Option<Failure>> {
    let broken =
        |message: String| Failure { message, file: Some(file.display().to_string()), ..Failure::default() };
    let source = match std::fs::read(file) {
        Ok(source) => source,
        Err(problem) => return Ok(Some(broken(format!("cannot read the file: {problem}")))),
    };
    let text = source.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&source);
    let chunk = lua
        .load(text)
        .set_name(format!("@{}", file.display()))
        .set_mode(mlua::chunk::ChunkMode::Text)
        .into_function();
    let chunk = match chunk {
        Ok(chunk) => chunk,
        Err(mlua::Error::SyntaxError { message, .. }) => return Ok(Some(told(&message, ""))),
        Err(problem) => return Ok(Some(broken(problem.to_string()))),
    };
    let problem: Option<Table> = runner.get::<Function>("load")?.call(chunk)?;
    problem.map(|problem| failure(&problem, Vec::new())).transpose()
}

/// What Lua says, its place apart.
fn told(message: &str, trace: &str) -> Failure {
    let mut failure = traceback::failure(message, trace);
    if failure.file.is_none()
        && let (Some((file, line)), _) = traceback::split_place(&failure.traceback)
    {
        // Where the test called what failed.
        (failure.file, failure.line) = (Some(file.to_owned()), Some(line));
    }
    Failure {
        message: failure.message,
        file: failure.file,
        line: failure.line,
        traceback: failure.traceback.lines().map(str::to_owned).collect(),
        app_errors: Vec::new(),
    }
}

/// A failure as the runner's Lua describes it.
fn failure(problem: &Table, app_errors: Vec<String>) -> mlua::Result<Failure> {
    let text = |key: &str| -> mlua::Result<String> {
        Ok(problem.get::<Option<LuaString>>(key)?.map(|text| text.to_string_lossy()).unwrap_or_default())
    };
    let (message, trace) = (text("message")?, text("traceback")?);
    let mut failure = match problem.get::<Option<bool>>("raw")? {
        Some(true) => told(&message, &trace),
        _ => Failure { message, file: problem.get("file")?, line: problem.get("line")?, ..told("", &trace) },
    };
    // One frame says no more than the place does.
    if failure.traceback.len() < 2 {
        failure.traceback.clear();
    }
    failure.app_errors = app_errors;
    Ok(failure)
}
