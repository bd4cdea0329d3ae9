//! The processes of the handler under test: started, ready, and surely gone at the end.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cpu::descendants;
use crate::feeder::Feeder;
use crate::scratch::Scratch;
use crate::subject::Subject;

/// From start to `ready:`.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// How often to attend to the feeder's sockets meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// From SIGTERM to the end, before SIGKILL.
const GONE_WITHIN: Duration = Duration::from_secs(3);
/// Lines of its standard error to keep, for the case that something goes wrong.
const LAST_LINES: usize = 20;

/// A running handler; stopped when dropped.
pub(crate) struct Handler {
    child: Child,
    last_lines: Arc<Mutex<VecDeque<String>>>,
}

impl Handler {
    /// Starts `subject` on the feeder's two addresses and waits until it says `ready:`.
    ///
    /// # Errors
    ///
    /// When it cannot be started, ends, or is not ready in time: a sentence, and what it said.
    pub(crate) fn start(
        subject: &Subject,
        feeder: &Feeder,
        scratch: &Scratch,
        reply_bytes: usize,
    ) -> Result<Handler, String> {
        let program = subject.program()?;
        let mut child = Command::new(&program)
            .args(subject.arguments(&feeder.send_spec, &feeder.recv_spec, scratch, reply_bytes)?)
            // No `kennel.toml` and no `.env` of whoever runs the benchmark.
            .current_dir(scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let stderr = child.stderr.take();
        let handler = Handler { child, last_lines: Arc::default() };

        let (said_ready, ready) = sync_channel(1);
        let lines = Arc::clone(&handler.last_lines);
        thread::spawn(move || stderr.map(|stderr| listen(stderr, &lines, &said_ready)));
        handler.wait_until_ready(&ready, feeder).map_err(|problem| {
            format!("{} ({}) {problem}\n{}", subject.name, program.display(), handler.last_words())
        })?;
        Ok(handler)
    }

    /// The process that was started.
    pub(crate) fn hub(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of its standard error, indented.
    pub(crate) fn last_words(&self) -> String {
        self.last_lines.lock().unwrap().iter().map(|line| format!("    | {line}\n")).collect()
    }

    fn wait_until_ready(&self, ready: &Receiver<()>, feeder: &Feeder) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            // It waits for the feeder's subscription, and that leaves only while the feeder looks at its socket.
            feeder.attend()?;
            match ready.recv_timeout(LOOK_EVERY) {
                Ok(()) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("ended before it said `ready:`".to_owned()),
            }
        }
        Err(format!("did not say `ready:` within {} s", READY_WITHIN.as_secs()))
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        // Handles to processes, not numbers: a number may soon be somebody else's.
        let open = |pid: u32| pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok();
        let workers: Vec<OwnedFd> = descendants(self.hub()).into_iter().filter_map(open).collect();
        match open(self.hub()) {
            Some(hub) => end(&hub, Some(Signal::TERM)),
            None => drop(self.child.kill()),
        }
        let _ = self.child.wait();
        // They leave by themselves when their hub is gone.
        for worker in &workers {
            end(worker, None);
        }
    }
}

/// Asks a process to end by `signal`, if there is one, and makes it end when it does not.
fn end(process: &OwnedFd, signal: Option<Signal>) {
    if let Some(signal) = signal {
        let _ = pidfd_send_signal(process, signal);
    }
    let patience = Timespec::try_from(GONE_WITHIN).ok();
    let exited = poll(&mut [PollFd::new(process, PollFlags::IN)], patience.as_ref());
    if exited != Ok(1) {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
}

/// Keeps the last lines and says when one of them is `ready:`. Hanging up means that the handler has ended.
fn listen(stderr: ChildStderr, last_lines: &Mutex<VecDeque<String>>, said_ready: &SyncSender<()>) {
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        let is_ready = line.contains("ready:");
        let mut lines = last_lines.lock().unwrap();
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
        drop(lines);
        if is_ready {
            let _ = said_ready.try_send(());
        }
    }
}
