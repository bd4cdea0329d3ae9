//! Reading what processes write: lines of their standard output and of their standard error, in turns.

use crate::hub::WorkerError;
use crate::lines::Lines;
use crate::program::Piped;
use crate::service::{LastWords, Service};
use std::time::Instant;

/// Reads of one pipe before it is others' turn.
const READS: usize = 4;
/// Reads of what a process left behind in its pipes, which hold far less.
const LAST_READS: usize = 64;
/// The longest line of a standard error that stays one line of the log, bytes.
const ERROR_LINE: usize = 8 << 10;

/// Lines that are not whole yet, of each instance.
#[derive(Debug)]
pub(crate) struct Reader {
    output: Vec<Lines>,
    errors: Vec<Lines>,
    buffer: Vec<u8>,
    /// The longest line of a standard output, bytes.
    longest: usize,
}

impl Reader {
    pub(crate) fn new(instances: usize, longest: usize) -> Self {
        let lines = |most| (0..instances).map(|_| Lines::new(most)).collect();
        Self { output: lines(longest), errors: lines(ERROR_LINE), buffer: vec![0; 64 << 10], longest }
    }

    /// Reads what an instance's process has written. `false`: nothing can be read of it any more.
    pub(crate) fn output(
        &mut self,
        number: usize,
        service: &mut Service,
        now: Instant,
    ) -> Result<bool, WorkerError> {
        for _ in 0..READS {
            match self.output_once(number, service, now)? {
                Piped::Bytes(count) if count == self.buffer.len() => {}
                Piped::Bytes(_) | Piped::Later => return Ok(true),
                Piped::End => return Ok(false),
            }
        }
        Ok(true)
    }

    fn output_once(
        &mut self,
        number: usize,
        service: &mut Service,
        now: Instant,
    ) -> Result<Piped, WorkerError> {
        let Some(running) = service.running(number) else { return Ok(Piped::Later) };
        let piped = running.process.read(&mut self.buffer);
        let Piped::Bytes(count) = piped else { return Ok(piped) };
        let mut result = Ok(());
        let taken = self.output[number].take(&self.buffer[..count], |line| {
            if result.is_ok() {
                result = service.output_line(number, line, now);
            }
        });
        result?;
        if taken.is_err() {
            self.output[number] = Lines::new(self.longest);
            service.output_too_long(number, self.longest, now)?;
            return Ok(Piped::End);
        }
        Ok(piped)
    }

    /// Reads what an instance's process has written to its standard error.
    pub(crate) fn errors(
        &mut self,
        number: usize,
        service: &mut Service,
        now: Instant,
    ) -> Result<(), WorkerError> {
        for _ in 0..READS {
            let Some(running) = service.running(number) else { return Ok(()) };
            let Piped::Bytes(count) = running.process.read_errors(&mut self.buffer) else { return Ok(()) };
            let mut result = Ok(());
            self.errors[number].take_cut(&self.buffer[..count], |line| {
                if result.is_ok() {
                    result = service.error_line(number, line, now);
                }
            });
            result?;
            if count < self.buffer.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// An instance's process has ended, or is to: reads what is left, and the service does without it.
    pub(crate) fn bury(
        &mut self,
        number: usize,
        service: &mut Service,
        now: Instant,
    ) -> Result<(), WorkerError> {
        for _ in 0..LAST_READS {
            if !matches!(self.output_once(number, service, now)?, Piped::Bytes(_)) {
                break;
            }
        }
        self.errors(number, service, now)?;
        let output = std::mem::replace(&mut self.output[number], Lines::new(self.longest));
        let errors = std::mem::replace(&mut self.errors[number], Lines::new(ERROR_LINE));
        service.bury(number, LastWords { output: output.rest(), errors: errors.rest() }, now)
    }
}
