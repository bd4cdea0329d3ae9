//! One file of tests in a process of its own, which may hang or die without taking the others along.

use super::{Outcome, Verdict};
use crate::role::TEST_PLAN;
use handler_core::rehearsal::report::{self, Event, Failure, TestFile};
use handler_core::worker::process::WorkerCommand;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// In the place of a test's name.
const THE_FILE: &str = "(the file itself)";

/// The longest line that is taken whole, bytes: an event is one line.
const LONGEST_LINE: u64 = 16 << 20;

/// Runs the tests of a file and tells what becomes of each. A test that takes longer than `patience` fails, and those
/// behind it are run by another process.
pub(super) fn run(
    command: &WorkerCommand,
    mut plan: TestFile,
    patience: Duration,
    shown: &str,
    tell: &mut dyn FnMut(Outcome) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    loop {
        let mut process = Process::start(command, &plan)?;
        let more = process.hear(&mut plan, patience, shown, tell);
        process.end();
        if !more? {
            return Ok(());
        }
    }
}

struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(command: &WorkerCommand, plan: &TestFile) -> anyhow::Result<Self> {
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .env(TEST_PLAN, serde_json::to_string(plan)?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let (sender, lines) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                let mut output = BufReader::new(output);
                let mut line = Vec::new();
                // Nobody listens any more when the process was given up.
                while std::io::Read::take(&mut output, LONGEST_LINE)
                    .read_until(b'\n', &mut line)
                    .is_ok_and(|n| n > 0)
                {
                    let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                    if sender.send(text).is_err() {
                        return;
                    }
                    line.clear();
                }
            });
        }
        Ok(Self { child, lines })
    }

    /// Hears what comes of the tests. `true`: others are left, for another process.
    fn hear(
        &mut self,
        plan: &mut TestFile,
        patience: Duration,
        shown: &str,
        tell: &mut dyn FnMut(Outcome) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let outcome =
            |name: &str, seconds, result| Outcome { file: shown.into(), name: name.into(), seconds, result };
        let (mut running, mut since) = (None::<(String, Option<u32>)>, Instant::now());
        let mut left = 0;
        loop {
            // A file loads as long as a test may take, and an interpreter has to start before.
            let allowed = if running.is_some() { patience } else { patience + Duration::from_secs(10) };
            let deadline = (since + allowed).saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(deadline) {
                Ok(line) => line,
                Err(problem) => {
                    let message = self.given_up(problem, patience)?;
                    let (name, line) = match &running {
                        Some((name, line)) => (name.as_str(), *line),
                        None => (THE_FILE, None),
                    };
                    let failure = Failure { message, file: Some(shown.into()), line, ..Failure::default() };
                    tell(outcome(name, since.elapsed().as_secs_f64(), Verdict::Failed(failure)))?;
                    plan.done += 1;
                    return Ok(running.is_some() && left > 1);
                }
            };
            match report::read(&line) {
                Ok(Event::Loaded { tests }) => left = tests.saturating_sub(plan.done),
                Ok(Event::Broken(failure)) => {
                    let failure = Failure { file: failure.file.or_else(|| Some(shown.into())), ..failure };
                    tell(outcome(THE_FILE, 0.0, Verdict::Failed(failure)))?;
                    return Ok(false);
                }
                Ok(Event::Begin { name, line }) => {
                    (running, since) = (Some((name, line)), Instant::now());
                }
                Ok(Event::End { name, seconds, failure, skipped }) => {
                    let result = match (failure, skipped) {
                        (Some(failure), _) => Verdict::Failed(failure),
                        (None, Some(reason)) => Verdict::Skipped(reason),
                        (None, None) => Verdict::Passed,
                    };
                    tell(outcome(&name, seconds, result))?;
                    (running, since) = (None, Instant::now());
                    plan.done += 1;
                    left = left.saturating_sub(1);
                }
                Ok(Event::Done) => {
                    // It may have something to do at its end, such as writing down what was covered.
                    while let Ok(printed) = self.lines.recv_timeout(patience) {
                        writeln!(std::io::stderr(), "{printed}")?;
                    }
                    return Ok(false);
                }
                // What a test prints is no result, so it goes where logs go.
                Err("") => {}
                Err(printed) => writeln!(std::io::stderr(), "{printed}")?,
            }
        }
    }

    /// Why nothing comes any more.
    fn given_up(&mut self, problem: RecvTimeoutError, patience: Duration) -> anyhow::Result<String> {
        Ok(match problem {
            RecvTimeoutError::Timeout => {
                format!("it took longer than {patience:?} (--timeout says how long)")
            }
            RecvTimeoutError::Disconnected => format!("the process ended in it: {}", self.child.wait()?),
        })
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
