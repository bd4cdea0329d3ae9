//! What happens when the hub orders something, a process says something, or time passes: the parts of a worker, and
//! which of them is to know.
//!
//! `Routes`, `Dispatch` and `Lifecycle` do not know each other's business; it is told from one to the other here.

use crate::dispatch::Dispatch;
use crate::hub::{ALIVE, Hub, WorkerError};
use crate::instance::{Instance, Running, Task, Unanswered};
use crate::lifecycle::{Ended, Lifecycle};
use crate::output::{self, Declared, Output, OutputError};
use crate::routes::Routes;
use handler_core::worker::protocol::{Action, Level, Order};
use std::io;
use std::time::{Duration, Instant};

/// The parts of a worker.
#[derive(Debug)]
pub(crate) struct Service {
    pub hub: Hub,
    pub lifecycle: Lifecycle,
    pub dispatch: Dispatch,
    pub routes: Routes,
    /// From the moment at which a process is given a request to the one from which its answer is not waited for.
    pub patience: Duration,
}

/// What a process wrote before its end that is no whole line.
#[derive(Debug)]
pub(crate) struct LastWords<'a> {
    pub output: &'a [u8],
    pub errors: &'a [u8],
}

impl Service {
    /// Starts the first process.
    pub(crate) fn begin(&mut self, now: Instant) -> io::Result<()> {
        match self.lifecycle.start(0, now) {
            Ok(()) => Ok(()),
            Err(problem) => self.fail(problem.to_string()),
        }
    }

    /// An instance's process, if it runs.
    pub(crate) fn running(&mut self, number: usize) -> Option<&mut Running> {
        self.lifecycle.instances[number].running.as_mut()
    }

    /// When there is something to do next, if nothing comes before.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        let instances = &self.lifecycle.instances;
        let oldest = instances.iter().filter_map(Instance::oldest).min();
        let jobs_wait =
            !self.dispatch.is_empty() || instances.iter().any(|instance| !instance.tasks.is_empty());
        let due = [
            self.lifecycle.next_due(),
            oldest.map(|since| since + self.patience),
            self.dispatch.oldest().map(|since| since + self.patience),
            jobs_wait.then(|| now + ALIVE),
            self.routes.undeclared().filter(|until| jobs_wait && *until > now),
        ];
        due.into_iter().flatten().min()
    }

    /// Does what the hub orders.
    pub(crate) fn order(&mut self, kind: u8, payload: Box<[u8]>, now: Instant) -> Result<(), WorkerError> {
        let (hub, instances) = (&mut self.hub, &mut self.lifecycle.instances);
        match Order::read(kind, &payload)? {
            Order::Job { serial, .. } => self.dispatch.enqueue(serial, payload, now),
            Order::Open(open) => {
                let (serial, conn) = (open.serial, open.conn);
                self.dispatch.open(&open, payload.clone(), instances);
                self.dispatch.hand(Task { serial, conn, kind, payload }, instances, hub)?;
            }
            Order::Message { serial, conn, .. } | Order::Close { serial, conn, .. } => {
                self.dispatch.hand(Task { serial, conn, kind, payload }, instances, hub)?;
            }
            Order::Detach { conn } => self.dispatch.let_go(conn, instances, hub)?,
            Order::Gone { serial } => self.dispatch.gone(serial, hub)?,
            Order::Evaluate { query, .. } => {
                let text = b"a program runs no code of the console's; Lua and Python do";
                hub.act(&Action::Evaluated { query, ok: false, text })?;
            }
            Order::Stop { work, .. } => self.lifecycle.stop(now + work),
            Order::Start(_)
            | Order::Lead
            | Order::Answer { .. }
            | Order::Taken { .. }
            | Order::Part { .. }
            | Order::Grown { .. } => {}
        }
        Ok(())
    }

    /// Does what a line of a process's standard output says.
    pub(crate) fn output_line(
        &mut self,
        number: usize,
        line: &[u8],
        now: Instant,
    ) -> Result<(), WorkerError> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let Some(running) = self.running(number) else { return Ok(()) };
        let is_first = running.heard.replace(now).is_none();
        let since = running.since;
        let said = output::read(line);
        if self.lifecycle.is_loading() && number == 0 {
            let declared = match &said {
                Ok(Output::Routes(declared)) => Some(declared),
                _ => None,
            };
            // Whatever else it says first, it may still say what it answers to.
            self.finish_loading(declared, matches!(said, Ok(Output::Answer(_))), now)?;
            if declared.is_some() {
                return Ok(());
            }
        }
        match said {
            Ok(Output::Answer(answer)) => {
                self.routes.settle();
                let instance = &mut self.lifecycle.instances[number];
                self.dispatch.answer(answer, instance, &mut self.hub, now)?;
            }
            Ok(Output::Routes(declared)) if self.routes.are_awaited(now) => {
                self.declare_late(&declared, now)?;
            }
            Ok(Output::Routes(declared)) if is_first => {
                let late = now.saturating_duration_since(since);
                if let Some(text) = self.routes.too_late(&declared, late.as_millis()) {
                    self.hub.complain(0, &text, now)?;
                }
            }
            Ok(Output::Routes(_)) => {
                let text = "a routes line is left out: it counts once, before the program's first answer";
                self.hub.complain(0, text, now)?;
            }
            Ok(order) => self.dispatch.act(order, &mut self.hub, now)?,
            Err(OutputError { id, problem }) => {
                let given = &mut self.lifecycle.instances[number].given;
                let known = id.filter(|id| given.remove(id).is_some());
                self.hub.complain(known.unwrap_or(0), &problem.to_string(), now)?;
                if let Some(id) = known {
                    self.hub.answer_bad(id)?;
                }
            }
        }
        Ok(())
    }

    /// A line of a process's standard output is longer than `most`, so that nothing more can be read of it.
    pub(crate) fn output_too_long(&mut self, number: usize, most: usize, now: Instant) -> io::Result<()> {
        let text = format!("a line of more than {most} bytes (limits.exec_line): its process is killed");
        if let Some(running) = self.running(number) {
            running.process.stdout = None;
        }
        self.hub.complain(0, &text, now)
    }

    /// Passes on a line of a process's standard error.
    pub(crate) fn error_line(&mut self, number: usize, line: &[u8], now: Instant) -> io::Result<()> {
        if let Some(running) = self.running(number).filter(|_| !line.trim_ascii().is_empty()) {
            running.last_error = String::from_utf8_lossy(line).into_owned();
        }
        self.hub.pass_on(Level::Info, line, now)
    }

    /// Starts what is to be started, and forgets requests that waited too long.
    pub(crate) fn do_what_is_due(&mut self, now: Instant) -> Result<(), WorkerError> {
        if self.lifecycle.has_loaded_long_enough(now) {
            self.finish_loading(None, false, now)?;
        }
        for number in 0..self.lifecycle.instances.len() {
            if self.lifecycle.start_if_due(number, &mut self.hub, now)? {
                let instance = &mut self.lifecycle.instances[number];
                self.dispatch.reopen(number, instance, &self.routes)?;
            }
        }
        self.dispatch.give_up_late(self.patience, now);
        Ok(())
    }

    /// Forgets requests of an instance that the hub has answered itself by now. `true`: its process hangs, and is to be
    /// replaced.
    pub(crate) fn give_up_late(&mut self, number: usize, now: Instant) -> io::Result<bool> {
        let patience = self.patience;
        let (late, hangs) = self.lifecycle.instances[number].give_up_late(patience, now);
        for serial in late {
            let text = format!("no answer to {serial} within {patience:?}: not waited for any more");
            self.hub.complain(0, &text, now)?;
        }
        if hangs {
            let text = format!("the program has said nothing for {patience:?}: its process is killed");
            self.hub.complain(0, &text, now)?;
        }
        Ok(hangs)
    }

    /// Gives what waits to the processes that take it; where none will be there soon, it is answered.
    pub(crate) fn give(&mut self, now: Instant) -> Result<(), WorkerError> {
        self.dispatch.give(&mut self.lifecycle.instances, &self.routes, &mut self.hub, now)?;
        if self.lifecycle.is_hopeless() {
            self.dispatch.send_away(&mut self.hub)?;
        }
        Ok(())
    }

    /// Does without an instance's process: its requests are answered or given to others.
    pub(crate) fn bury(
        &mut self,
        number: usize,
        last: LastWords<'_>,
        now: Instant,
    ) -> Result<(), WorkerError> {
        let Some(Ended { mut running, status, unanswered }) = self.lifecycle.end(number) else {
            return Ok(());
        };
        if !last.errors.is_empty() {
            running.last_error = String::from_utf8_lossy(last.errors).into_owned();
            self.hub.pass_on(Level::Info, last.errors, now)?;
        }
        if self.lifecycle.is_loading() {
            let last = match running.last_error.trim() {
                "" => String::new(),
                text => format!(": {text}"),
            };
            return Ok(self.fail(format!("the program ended at once ({status}){last}"))?);
        }
        if self.lifecycle.is_over() {
            return Ok(());
        }
        if !last.output.is_empty() {
            let text = format!("the program ended within a line: {}", output::shown(last.output));
            self.hub.complain(0, &text, now)?;
        }
        let when = match self.lifecycle.start_after(number, &running, now) {
            Duration::ZERO => "at once".to_owned(),
            pause => format!("in {pause:?}"),
        };
        let Unanswered { seen, unseen } = unanswered;
        let text = format!(
            "the program ended ({status}): {} of its requests get 502, {} go to the next process, which starts {when}",
            seen.len(),
            unseen.len()
        );
        self.hub.complain(0, &text, now)?;
        for serial in seen {
            self.hub.answer(serial, 502)?;
        }
        self.dispatch.enqueue_again(unseen, now);
        Ok(())
    }

    /// Under a stop, when nothing is left to do or its time is over: ends the processes. `true`: they have ended.
    pub(crate) fn end_if_done(&mut self, now: Instant) -> io::Result<bool> {
        let is_idle = self.dispatch.is_empty() && self.lifecycle.instances.iter().all(Instance::is_idle);
        self.lifecycle.end_if_done(is_idle, &mut self.hub, now)
    }

    /// The first process has said what it answers to (`declared`), or something else (`heard`), or nothing.
    fn finish_loading(&mut self, declared: Option<&Declared>, heard: bool, now: Instant) -> io::Result<()> {
        match declared.map(|declared| self.routes.declare(declared)) {
            None if heard => self.routes.take_everything(),
            None => {
                let since = self.running(0).map_or(now, |running| running.since);
                self.routes.wait(since);
            }
            Some(Ok(())) => {}
            Some(Err(failure)) => return self.lifecycle.fail(failure, &mut self.hub),
        }
        self.lifecycle.begin_serving(now);
        self.hub.act(&Action::Ready(self.routes.registration()))
    }

    /// The program says what it answers to later than most, and in time: it has answered nothing yet.
    fn declare_late(&mut self, declared: &Declared, now: Instant) -> io::Result<()> {
        match self.routes.declare(declared) {
            Ok(()) => self.hub.act(&Action::Ready(self.routes.registration())),
            Err(failure) => {
                let text = format!("{failure}; the program gets every request under its mount");
                self.hub.complain(0, &text, now)
            }
        }
    }

    /// The program does not run, and the hub is told.
    fn fail(&mut self, message: String) -> io::Result<()> {
        self.lifecycle.fail(self.routes.failure(message), &mut self.hub)
    }
}
