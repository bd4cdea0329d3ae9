//! CGI: scripts that are started for each request, with the variables of RFC 3875 and the body on their standard input.
//!
//! [`run`] is the life of a worker that does nothing else. `cgi/scripts` finds them, `environment` makes their variables,
//! `output` reads what they write, `run` is one that runs. What it writes is an answer only when it has ended well.

mod environment;
mod output;
mod run;
mod scripts;

pub use scripts::{EXTENSION, FOLDER, Script, find};

use crate::hub::Hub;
use crate::hub::{ALIVE, WorkerError, first_order};
use crate::program::{Process, ProgramError, check, guarded};
use environment::Asked;
use handler_core::worker::body;
use handler_core::worker::link::{self, Orders, Wake};
use handler_core::worker::protocol::{Action, Handler, Level, LoadFailure, Order, Start};
use kennel_http::percent;
use mongrel2_wire::Envelope;
use run::{Progress, Run};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The bounds of scripts; travels as the JSON of one argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How long one may run.
    pub timeout: Duration,
    /// How many run at once, at least 1.
    pub at_once: u32,
    /// What one may write, bytes.
    pub output: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), at_once: 8, output: 16 << 20 }
    }
}

/// Lives a worker's life, whose source is the folder of scripts. `guard` is as in [`crate::run`].
///
/// # Errors
///
/// [`WorkerError`] when the hub cannot be worked with.
pub fn run(settings: Settings, guard: &[OsString]) -> Result<(), WorkerError> {
    // A hub that is killed takes its workers along.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
    let (mut orders, actions) = link::from_environment()?;
    let Some(start) = first_order(&mut orders)? else { return Ok(()) };
    let mut hub = Hub::new(actions, Instant::now());
    let found = PathBuf::from(&start.source).canonicalize().and_then(|public| Ok((find(&public)?, public)));
    let (scripts, public) = match found {
        Ok(found) => found,
        Err(problem) => {
            let message = format!("the folder of CGI scripts cannot be listed: {problem}");
            let failure = LoadFailure { message, file: Some(start.source.clone()), ..LoadFailure::default() };
            hub.act(&Action::Failed(failure))?;
            hub.flush()?;
            while orders.wait(None)? != Wake::End {
                while orders.next_order().is_some() {}
            }
            return Ok(());
        }
    };
    hub.act(&Action::Ready(scripts::registration(&scripts)))?;
    let (queue, runs, buffer) = (VecDeque::new(), Vec::new(), vec![0; 64 << 10]);
    let guard = guard.to_vec();
    Worker { orders, hub, settings, guard, start, public, scripts, queue, runs, buffer, stopping: None }
        .serve()
}

/// A worker of CGI scripts.
struct Worker {
    orders: Orders,
    hub: Hub,
    settings: Settings,
    guard: Vec<OsString>,
    start: Start,
    public: PathBuf,
    scripts: Vec<Script>,
    /// Requests that wait: serials and their jobs' payloads.
    queue: VecDeque<(u64, Box<[u8]>)>,
    runs: Vec<Run>,
    buffer: Vec<u8>,
    stopping: Option<Instant>,
}

/// What became of a run.
enum End {
    /// It has ended by itself.
    Itself,
    /// It was killed, and the client gets this status.
    Killed(u16, String),
    /// Nobody waits for it.
    Unwanted,
}

impl Worker {
    fn serve(mut self) -> Result<(), WorkerError> {
        loop {
            let now = Instant::now();
            self.hub.turn();
            self.obey_orders()?;
            self.look_at_runs(now)?;
            while self.runs.len() < self.settings.at_once.max(1) as usize
                && let Some((serial, job)) = self.queue.pop_front()
            {
                if self.hub.begin(serial)? {
                    self.begin(serial, &job, now)?;
                }
            }
            self.hub.turn();
            self.hub.flush()?;
            // The hub answers what is cut off, and names it; the kernel ends the scripts when this process ends.
            let is_idle = || self.runs.is_empty() && self.queue.is_empty();
            if self.stopping.is_some_and(|until| now >= until || is_idle()) {
                return Ok(());
            }
            if self.wait(now)? && self.orders.wait(Some(Duration::ZERO))? == Wake::End {
                return Ok(());
            }
        }
    }

    /// Waits until something can be read or written, or a run takes too long. Says whether the hub has something.
    fn wait(&self, now: Instant) -> Result<bool, WorkerError> {
        let mut polled = Vec::with_capacity(1 + 4 * self.runs.len());
        if let Some(socket) = self.orders.socket() {
            polled.push(PollFd::from_borrowed_fd(socket, PollFlags::IN));
        }
        for run in &self.runs {
            let process = &run.process;
            polled.push(PollFd::new(&process.pidfd, PollFlags::IN));
            polled.extend(process.stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            polled.extend(process.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            polled.extend(process.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        }
        let due = self.runs.iter().map(|run| run.since + self.settings.timeout);
        let due = due.chain(self.queue.front().map(|_| now + ALIVE)).chain(self.stopping).min();
        let left = due.and_then(|due| Timespec::try_from(due.saturating_duration_since(now)).ok());
        match poll(&mut polled, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(problem) => return Err(io::Error::from(problem).into()),
        }
        Ok(polled.first().is_some_and(|hub| !hub.revents().is_empty()))
    }

    fn obey_orders(&mut self) -> Result<(), WorkerError> {
        while let Some((kind, payload)) = self.orders.next_order() {
            match Order::read(kind, payload)? {
                Order::Job { serial, .. } => self.queue.push_back((serial, payload.into())),
                Order::Stop { work, .. } => self.stopping = Some(Instant::now() + work),
                Order::Evaluate { query, .. } => {
                    let text = b"CGI scripts run no code of the console's";
                    self.hub.act(&Action::Evaluated { query, ok: false, text })?;
                }
                Order::Gone { serial } => {
                    if let Some(at) = self.queue.iter().position(|(waiting, _)| *waiting == serial) {
                        self.queue.remove(at);
                        self.hub.skip(serial)?;
                    } else if let Some(at) = self.runs.iter().position(|run| run.serial == serial) {
                        let run = self.runs.swap_remove(at);
                        end(&mut self.hub, run, End::Unwanted, Instant::now())?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Starts a script for a request.
    fn begin(&mut self, serial: u64, job: &[u8], now: Instant) -> Result<(), WorkerError> {
        let Ok(Order::Job { handler: Handler::Route(handler), mut params, message, .. }) =
            Order::read_job(job)
        else {
            return Ok(self.hub.answer(serial, 404)?);
        };
        let found = scripts::script_of(&self.scripts, handler, params.next().unwrap_or_default());
        let (Some((script, rest)), Ok(envelope)) = (found, Envelope::parse(message)) else {
            return Ok(self.hub.answer(serial, 404)?);
        };
        let rest = percent::decode(&rest, false);
        // It may have gone, or be another one by now. A NUL would end the path in whatever the script does with it, and
        // `..` would lead it out of the folder: scripts open PATH_TRANSLATED.
        if !scripts::is_executable(&script.file)
            || !scripts::is_inside(&self.public, &script.file)
            || rest.contains(&0)
            || rest.split(|byte| *byte == b'/').any(|part| part == b"..")
        {
            return Ok(self.hub.answer(serial, 404)?);
        }
        let spool = match body::open_spool(job) {
            Ok(spool) => spool,
            // Its client is gone.
            Err(_) => return Ok(self.hub.answer(serial, 400)?),
        };
        let size = spool.as_ref().map_or(envelope.body.len() as u64, |(_, size)| *size);
        let asked = Asked { name: &script.name, file: &script.file, public: &self.public, rest: &rest, size };
        let variables =
            environment::variables(asked, &envelope, &self.start.version, std::env::var_os("PATH"));
        let (stdin, input) = match spool {
            Some((file, _)) => (Stdio::from(file), Vec::new()),
            None => (Stdio::piped(), envelope.body.to_vec()),
        };
        let name = script.name.clone();
        match start(&self.guard, script, variables, stdin) {
            Ok(process) => self.runs.push(Run::new(serial, &name, process, input, now)),
            Err(problem) => {
                self.hub.complain(serial, &format!("{name}: {problem}"), now)?;
                self.hub.answer_bad(serial)?;
            }
        }
        Ok(())
    }

    /// Reads and writes what can be, and ends what is over.
    fn look_at_runs(&mut self, now: Instant) -> Result<(), WorkerError> {
        let mut at = 0;
        while at < self.runs.len() {
            let run = &mut self.runs[at];
            run.write();
            let (hub, mut result) = (&mut self.hub, Ok(()));
            let name = std::mem::take(&mut run.name);
            run.read_errors(&mut self.buffer, |line| {
                if result.is_ok() {
                    let text = [name.as_bytes(), b": ", line].concat();
                    result = hub.pass_on(Level::Info, &text, now);
                }
            });
            run.name = name;
            result?;
            let progress = run.read(&mut self.buffer, self.settings.output);
            let outcome = match progress {
                Progress::TooMuch => {
                    let most = self.settings.output;
                    Some(End::Killed(502, format!("has written more than {most} bytes (output under [cgi])")))
                }
                // What it has started may hold its output; what there was of it has been read.
                _ if run.process.has_ended() => Some(End::Itself),
                _ if now >= run.since + self.settings.timeout => {
                    let timeout = self.settings.timeout;
                    Some(End::Killed(504, format!("ran for {timeout:?} (timeout under [cgi])")))
                }
                Progress::On | Progress::Over => None,
            };
            match outcome {
                Some(outcome) => {
                    let mut run = self.runs.swap_remove(at);
                    // It may have written between the look at its output and the one at its end.
                    if matches!(outcome, End::Itself) {
                        run.read(&mut self.buffer, self.settings.output);
                    }
                    end(&mut self.hub, run, outcome, now)?;
                }
                None => at += 1,
            }
        }
        Ok(())
    }
}

/// Starts a script in its own folder, with these variables and no others.
fn start(
    guard: &[OsString],
    script: &Script,
    variables: Vec<(OsString, OsString)>,
    stdin: Stdio,
) -> Result<Process, ProgramError> {
    check(&script.file)?;
    let mut command = guarded(guard, &script.file)?;
    command.env_clear().envs(variables).stdin(stdin);
    command.current_dir(script.file.parent().unwrap_or(&script.file));
    Ok(Process::start(&mut command)?)
}

/// Ends a run, and answers its request.
fn end(hub: &mut Hub, mut run: Run, outcome: End, now: Instant) -> Result<(), WorkerError> {
    let status = run.process.end();
    let (serial, name) = (run.serial, &run.name);
    let problem = match (outcome, status) {
        (End::Unwanted, _) => return Ok(hub.act(&Action::Done { serial })?),
        (End::Killed(code, why), _) => {
            hub.complain(serial, &format!("{name} {why}: killed"), now)?;
            match code {
                504 => hub.answer(serial, 504)?,
                _ => hub.answer_bad(serial)?,
            }
            return Ok(());
        }
        (End::Itself, Ok(status)) if status.success() => match output::read(&run.output) {
            Ok(output) => {
                let (status, head) = (output.status, output.head.as_bytes());
                return Ok(hub.act(&Action::Respond { serial, status, head, body: output.body })?);
            }
            Err(problem) => problem.to_string(),
        },
        (End::Itself, Ok(status)) => format!("ended with {status}"),
        (End::Itself, Err(problem)) => problem.to_string(),
    };
    let rest = run.errors.rest();
    let last = match rest.is_empty() {
        true => String::new(),
        false => format!("; its last words: {}", String::from_utf8_lossy(rest)),
    };
    hub.complain(serial, &format!("{name} gave no answer: {problem}{last}"), now)?;
    Ok(hub.answer_bad(serial)?)
}
