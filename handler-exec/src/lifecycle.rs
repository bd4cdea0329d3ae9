//! Processes end, and others follow them; requests whose time is over end, too.

use crate::instance::{Left, Running};
use crate::output;
use crate::program::Piped;
use crate::worker::{Stage, Waiting, Worker, WorkerError};
use handler_core::worker::protocol::Level;
use handler_core::worker::restart::Backoff;
use std::time::{Duration, Instant};

/// Reads of what a process left behind in its pipes, which hold far less.
const LAST_READS: usize = 64;

impl Worker {
    /// Starts what is to be started and gives up what takes too long.
    pub(crate) fn do_what_is_due(&mut self, now: Instant) -> Result<(), WorkerError> {
        if let Stage::Loading { until } = self.stage
            && now >= until
        {
            self.finish_loading(None, false, now)?;
        }
        for number in 0..self.copies.len() {
            let is_due = self.copies[number].due.is_some_and(|due| due <= now);
            if is_due && !matches!(self.stage, Stage::Ending { .. } | Stage::Failed) {
                self.copies[number].due = None;
                self.start_again(number, now)?;
            }
        }
        self.give_up_late(now)
    }

    fn start_again(&mut self, number: usize, now: Instant) -> Result<(), WorkerError> {
        match self.program.start() {
            Ok(process) => {
                self.copies[number].running = Some(Running::new(process, self.settings.line, now));
                self.reopen(number)
            }
            Err(problem) => {
                let pause = self.copies[number].backoff.after_death(None);
                self.copies[number].due = Some(now + pause);
                let text = format!("the program cannot be started, tried again in {pause:?}: {problem}");
                Ok(self.hub.complain(0, &text, now)?)
            }
        }
    }

    /// A copy's process has ended, or is to: its requests are answered or given to others.
    pub(crate) fn bury(&mut self, number: usize, now: Instant) -> Result<(), WorkerError> {
        for _ in 0..LAST_READS {
            if !matches!(self.hear_once(number, now)?, Piped::Bytes(_)) {
                break;
            }
        }
        self.hear_errors(number, now)?;
        let copy = &mut self.copies[number];
        let Left { seen, unseen } = copy.take_given();
        let Some(mut running) = copy.running.take() else { return Ok(()) };
        let status = running.process.end().map_or("lost".to_owned(), |status| status.to_string());
        let rest = running.errors.rest();
        if !rest.is_empty() {
            running.last_error = String::from_utf8_lossy(rest).into_owned();
            self.hub.pass_on(Level::Info, rest, now)?;
        }
        if let Stage::Loading { .. } = self.stage {
            let last = match running.last_error.trim() {
                "" => String::new(),
                text => format!(": {text}"),
            };
            return self.fail(format!("the program ended at once ({status}){last}"));
        }
        if matches!(self.stage, Stage::Ending { .. } | Stage::Failed) {
            return Ok(());
        }
        let rest = running.lines.rest();
        if !rest.is_empty() {
            let text = format!("the program ended within a line: {}", output::shown(rest));
            self.hub.complain(0, &text, now)?;
        }
        let served = match running.has_answered {
            true => Backoff::GRACE,
            false => now.saturating_duration_since(running.since),
        };
        let pause = self.copies[number].backoff.after_death(Some(served));
        self.copies[number].due = Some(now + pause);
        let when = match pause {
            Duration::ZERO => "at once".to_owned(),
            pause => format!("in {pause:?}"),
        };
        let text = format!(
            "the program ended ({status}): {} of its requests get 502, {} go to the next process, which starts {when}",
            seen.len(),
            unseen.len()
        );
        self.hub.complain(0, &text, now)?;
        for serial in seen {
            self.hub.answer(serial, 502)?;
        }
        for (serial, job) in unseen.into_iter().rev() {
            self.queue.push_front(Waiting { serial, job, since: now });
        }
        Ok(())
    }

    /// Answers requests for which no process will be there soon.
    pub(crate) fn send_away_if_hopeless(&mut self) -> Result<(), WorkerError> {
        let is_hopeless = self.copies.iter().all(|copy| copy.running.is_none() && copy.backoff.is_hopeless());
        while is_hopeless && let Some(waiting) = self.queue.pop_front() {
            if self.hub.begin(waiting.serial)? {
                self.hub.answer(waiting.serial, 503)?;
            }
        }
        Ok(())
    }

    /// Forgets requests that the hub has answered itself by now. A process that has said nothing since it was
    /// given one of them hangs, and is replaced.
    fn give_up_late(&mut self, now: Instant) -> Result<(), WorkerError> {
        let patience = self.settings.patience;
        // Nobody waits for these any more, so they are not even begun.
        while self.queue.front().is_some_and(|waiting| now >= waiting.since + patience) {
            self.queue.pop_front();
        }
        for number in 0..self.copies.len() {
            let copy = &mut self.copies[number];
            let mut hangs = false;
            while let Some(oldest) = copy.given.first_entry() {
                if now < oldest.get().since + patience {
                    break;
                }
                let (serial, given) = oldest.remove_entry();
                let heard = copy.running.as_ref().and_then(|running| running.heard);
                hangs |= heard.is_none_or(|heard| heard < given.since);
                let text = format!("no answer to {serial} within {patience:?}: not waited for any more");
                self.hub.complain(0, &text, now)?;
            }
            if hangs {
                let text = format!("the program has said nothing for {patience:?}: its process is killed");
                self.hub.complain(0, &text, now)?;
                self.bury(number, now)?;
            }
        }
        Ok(())
    }
}
