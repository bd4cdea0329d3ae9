//! The first process starts and says what the program answers to; later processes may say it again.

use crate::instance::Running;
use crate::output::Declared;
use crate::registration::Registered;
use crate::worker::{Stage, Worker, WorkerError};
use handler_core::worker::protocol::{Action, LoadFailure};
use std::time::Instant;

impl Worker {
    /// Starts the first process.
    pub(crate) fn begin_loading(&mut self, now: Instant) -> Result<(), WorkerError> {
        match self.program.start() {
            Ok(process) => {
                self.copies[0].running = Some(Running::new(process, self.settings.line, now));
                Ok(())
            }
            Err(problem) => self.fail(problem.to_string()),
        }
    }

    /// It does not run, and the hub is told.
    pub(crate) fn fail(&mut self, message: String) -> Result<(), WorkerError> {
        let file = Some(self.start.source.clone());
        self.fail_with(LoadFailure { message, file, ..LoadFailure::default() })
    }

    fn fail_with(&mut self, failure: LoadFailure) -> Result<(), WorkerError> {
        self.stage = Stage::Failed;
        self.copies.iter_mut().for_each(|copy| copy.running = None);
        self.hub.act(&Action::Failed(failure))?;
        Ok(())
    }

    /// The first process has said what it answers to (`declared`), or something else (`heard`), or nothing.
    pub(crate) fn finish_loading(
        &mut self,
        declared: Option<&Declared>,
        heard: bool,
        now: Instant,
    ) -> Result<(), WorkerError> {
        self.registered = match declared.map(|declared| Registered::declared(declared, &self.start.source)) {
            None if heard => Registered::everything(),
            None => {
                let since = self.copies[0].running.as_ref().map_or(now, |running| running.since);
                self.undeclared = Some(since + self.settings.load);
                Registered::undeclared()
            }
            Some(Ok(registered)) => registered,
            Some(Err(failure)) => return self.fail_with(failure),
        };
        self.stage = Stage::Serving;
        self.hub.act(&Action::Ready(self.registered.registration.clone()))?;
        for copy in &mut self.copies[1..] {
            copy.due = Some(now);
        }
        Ok(())
    }

    /// The program says what it answers to later than most, and in time: it has answered nothing yet.
    pub(crate) fn declare_late(&mut self, declared: &Declared, now: Instant) -> Result<(), WorkerError> {
        self.undeclared = None;
        match Registered::declared(declared, &self.start.source) {
            Ok(registered) => {
                self.registered = registered;
                Ok(self.hub.act(&Action::Ready(self.registered.registration.clone()))?)
            }
            Err(failure) => {
                let text = format!("{failure}; the program gets every request under its mount");
                Ok(self.hub.complain(0, &text, now)?)
            }
        }
    }

    /// A later process says what it answers to; that counts only at a reload.
    pub(crate) fn compare(
        &mut self,
        declared: &Declared,
        late: u128,
        now: Instant,
    ) -> Result<(), WorkerError> {
        let source = &self.start.source;
        let same = Registered::declared(declared, source)
            .is_ok_and(|found| found.registration == self.registered.registration);
        if !same {
            let most = self.settings.load;
            let text = format!(
                "a routes line {late} ms after the start, with other routes than those in force, is too late: it counts \
                 before the program's first answer and within {most:?} (limits.load_time); a reload asks again"
            );
            self.hub.complain(0, &text, now)?;
        }
        Ok(())
    }
}
