//! `kennel console`: says to a running kennel what was typed, and shows what it answers.

mod answer;
#[cfg_attr(not(feature = "line-editing"), path = "plain_prompt.rs")]
mod prompt;
mod words;

use crate::args::Console as Args;
use crate::exit::{error_as_json, has_answered, note, plain, say, unreachable, wrong_input};
use crate::run_files;
use anyhow::Context;
use serde_json::{Map, Value};
use signal_hook::consts::SIGINT;
use std::io::{BufRead, BufReader, ErrorKind, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long an answer may take: the hub does nothing that takes long.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long newest code may take to load or to fail.
const LOADING: Duration = Duration::from_secs(60);
/// How often ^C is looked at while nothing passes.
const GLANCE: Duration = Duration::from_millis(100);

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let socket = match &args.socket {
        Some(path) => path.clone(),
        None => run_files::console(run_files::chosen(args.pid)?),
    };
    let mut connection = Connection::open(&socket)?;
    if let Some(line) = &args.command {
        return one(&mut connection, line, args.json);
    }
    match std::io::stdin().is_terminal() {
        true => prompt::run(&mut connection, args.json),
        false => script(&mut connection, args.json),
    }
}

/// `kennel reload`: the newest code of all apps, and what became of it.
pub(super) fn reload(pid: i32) -> anyhow::Result<ExitCode> {
    one(&mut Connection::open(&run_files::console(pid))?, "reload", false)
}

/// One command of the command line.
fn one(connection: &mut Connection, line: &str, json: bool) -> anyhow::Result<ExitCode> {
    match obey(connection, line, json) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Refusal::Wrong(problem)) => Err(wrong_input(problem)),
        Err(Refusal::Failed(problem)) => Err(anyhow::Error::msg(problem)),
        Err(Refusal::Lost(problem)) => Err(problem),
    }
}

/// One command of the prompt, which goes on unless the connection is lost.
fn obey_or_say(connection: &mut Connection, line: &str, json: bool) -> anyhow::Result<()> {
    match obey(connection, line, json) {
        Ok(()) => {}
        Err(Refusal::Wrong(problem) | Refusal::Failed(problem)) if json => {
            say!("{}", error_as_json(&problem));
        }
        Err(Refusal::Wrong(problem) | Refusal::Failed(problem)) => note!("{problem}"),
        Err(Refusal::Lost(problem)) => return Err(problem),
    }
    Ok(())
}

/// Commands of standard input, a line each. The first that goes wrong ends it.
fn script(connection: &mut Connection, json: bool) -> anyhow::Result<ExitCode> {
    for (number, line) in std::io::stdin().lines().enumerate() {
        let line = line.context("standard input cannot be read")?;
        match obey(connection, &line, json) {
            Ok(()) => {}
            Err(Refusal::Wrong(problem)) => {
                return Err(wrong_input(format!("line {}: {problem}", number + 1)));
            }
            Err(Refusal::Failed(problem)) => anyhow::bail!("line {}: {problem}", number + 1),
            Err(Refusal::Lost(problem)) => return Err(problem),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a command came to nothing.
enum Refusal {
    /// It was wrong, or could not be done: in words.
    Wrong(String),
    /// It was done, and code of the user's failed: in words.
    Failed(String),
    /// There is nobody to say it to any more.
    Lost(anyhow::Error),
}

impl From<anyhow::Error> for Refusal {
    fn from(problem: anyhow::Error) -> Self {
        Self::Lost(problem)
    }
}

/// Says one line and prints what comes back. Empty lines and comments are nothing.
fn obey(connection: &mut Connection, line: &str, json: bool) -> Result<(), Refusal> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let mut request = words::read(line).map_err(Refusal::Wrong)?;
    let name = request.get("do").and_then(Value::as_str).unwrap_or_default().to_owned();
    // A list comes in pages; people get all of it, unless they say how much they want.
    let pages = !json && name == "connections" && !request.contains_key("limit");
    let mut out = std::io::stdout().lock();
    loop {
        let patience = if name == "reload" { LOADING } else { PATIENCE };
        let (result, failed) = match connection.ask(&request, patience)? {
            Answer::Done(result) => (result, None),
            // The rest of it is shown, too.
            Answer::Failed(problem, result) => (result, Some(problem)),
            Answer::Refused(problem) => return Err(Refusal::Wrong(problem)),
        };
        let next = result.get("next").filter(|next| pages && next.is_u64()).cloned();
        if name == "tail" {
            if out.is_terminal() {
                note!("what passes is shown until ^C");
            }
            drop(out);
            return Ok(follow(connection, json)?);
        }
        let text = if json { format!("{result}\n") } else { answer::render(&name, &result) };
        out.write_all(text.as_bytes()).map_err(|problem| Refusal::Lost(problem.into()))?;
        match next {
            Some(next) => request.insert("after".into(), next),
            None => {
                if failed.is_some() {
                    // Of an answer in JSON it is a part.
                    has_answered();
                }
                return failed.map_or(Ok(()), |problem| Err(Refusal::Failed(problem)));
            }
        };
    }
}

/// Shows what passes until ^C, or until there is nobody who shows it.
fn follow(connection: &mut Connection, json: bool) -> anyhow::Result<()> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let handler = signal_hook::flag::register(SIGINT, Arc::clone(&interrupted))?;
    connection.stream.get_ref().set_read_timeout(Some(GLANCE))?;
    let mut out = std::io::stdout().lock();
    while !interrupted.load(Ordering::Relaxed) {
        if let Some(event) = connection.event()? {
            let text = if json { format!("{event}\n") } else { answer::event(&event) };
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
    }
    connection.stream.get_ref().set_read_timeout(Some(PATIENCE))?;
    signal_hook::low_level::unregister(handler);
    let mut quiet = Map::new();
    quiet.insert("do".into(), "quiet".into());
    match connection.ask(&quiet, PATIENCE)? {
        Answer::Done(_) => Ok(()),
        Answer::Failed(problem, _) | Answer::Refused(problem) => Err(anyhow::Error::msg(problem)),
    }
}

/// What came of a command.
enum Answer {
    /// What it gives.
    Done(Value),
    /// It was done and went wrong: why, and what it gives all the same.
    Failed(String, Value),
    /// It was wrong, or could not be done.
    Refused(String),
}

/// A line to the hub.
struct Connection {
    stream: BufReader<UnixStream>,
    /// The beginning of a line.
    begun: Vec<u8>,
}

impl Connection {
    fn open(socket: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket).map_err(|problem| {
            let (socket, problem) = (socket.display(), plain(&problem));
            unreachable(format!(
                "cannot reach a console at {socket}: {problem}; `kennel run` makes it while it runs"
            ))
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), begun: Vec::new() })
    }

    /// Asks and waits so long for the answer.
    fn ask(&mut self, request: &Map<String, Value>, patience: Duration) -> anyhow::Result<Answer> {
        let line = format!("{}\n", Value::Object(request.clone()));
        let lost = || "the kennel that was asked has gone, or does not answer";
        let late = || match patience > PATIENCE {
            true => anyhow::anyhow!(
                "the newest code has neither loaded nor failed within {patience:?}; the log of `kennel run` will say \
                 what becomes of it"
            ),
            false => unreachable(lost()),
        };
        let end = Instant::now() + patience;
        self.stream.get_mut().write_all(line.as_bytes()).with_context(lost)?;
        let mut answer = loop {
            let Some(line) = self.line().with_context(lost)? else {
                if Instant::now() >= end {
                    return Err(late());
                }
                continue;
            };
            // What still passes before it.
            if !line.contains_key("event") {
                break line;
            }
        };
        if answer.get("ok") == Some(&Value::Bool(true)) {
            return Ok(Answer::Done(answer.remove("result").unwrap_or_default()));
        }
        let problem = answer.get("error").and_then(Value::as_str).unwrap_or("it did not say why").to_owned();
        Ok(match answer.remove("result") {
            Some(result) => Answer::Failed(problem, result),
            None => Answer::Refused(problem),
        })
    }

    /// What passes next, if anything does soon.
    fn event(&mut self) -> anyhow::Result<Option<Value>> {
        match self.line() {
            Ok(line) => Ok(line.map(Value::Object)),
            Err(problem) => Err(problem),
        }
    }

    /// The next line, or nothing within the time that reading may take. What came of a line stays.
    fn line(&mut self) -> anyhow::Result<Option<Map<String, Value>>> {
        match self.stream.read_until(b'\n', &mut self.begun) {
            Ok(0) => return Err(unreachable("the kennel that was asked has ended")),
            Ok(_) if !self.begun.ends_with(b"\n") => {
                return Err(unreachable("the kennel that was asked has ended"));
            }
            Ok(_) => {}
            Err(problem)
                if matches!(
                    problem.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                return Ok(None);
            }
            Err(problem) => return Err(problem.into()),
        }
        let line = std::mem::take(&mut self.begun);
        Ok(Some(serde_json::from_slice(&line).context("what answers there is no kennel")?))
    }
}
