//! One run of a script: its process, what it is still to read, and what it has written.

use crate::lines::Lines;
use crate::program::{Piped, Process};
use std::time::Instant;

/// The longest line of a script's standard error that stays one line of the log, bytes.
const ERROR_LINE: usize = 8 << 10;
/// Reads of one pipe before it is others' turn.
const READS: usize = 16;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It goes on.
    On,
    /// All that it has to say is there.
    Over,
    /// It has written more than it may.
    TooMuch,
}

/// A script that runs.
#[derive(Debug)]
pub(super) struct Run {
    pub serial: u64,
    /// Its address.
    pub name: String,
    pub process: Process,
    pub since: Instant,
    pub output: Vec<u8>,
    pub errors: Lines,
    input: Vec<u8>,
    written: usize,
}

impl Run {
    /// `input` goes to its standard input, if that is a pipe.
    pub(super) fn new(serial: u64, name: &str, process: Process, input: Vec<u8>, now: Instant) -> Self {
        let mut run = Self {
            serial,
            name: name.to_owned(),
            process,
            since: now,
            output: Vec::new(),
            errors: Lines::new(ERROR_LINE),
            input,
            written: 0,
        };
        run.write();
        run
    }

    /// Writes what its standard input takes, and ends that when there is no more.
    pub(super) fn write(&mut self) {
        while self.written < self.input.len() {
            match self.process.write(&self.input[self.written..]) {
                Piped::Bytes(count) => self.written += count,
                Piped::Later => return,
                // It does not want the rest, which is its right.
                Piped::End => break,
            }
        }
        self.input = Vec::new();
        self.written = 0;
        self.process.stdin = None;
    }

    /// Reads what it has written, of which it may have `most` bytes.
    pub(super) fn read(&mut self, buffer: &mut [u8], most: usize) -> Progress {
        for _ in 0..READS {
            match self.process.read(buffer) {
                Piped::Bytes(count) if self.output.len() + count > most => return Progress::TooMuch,
                Piped::Bytes(count) => self.output.extend_from_slice(&buffer[..count]),
                Piped::Later => return Progress::On,
                Piped::End => {
                    self.process.stdout = None;
                    return Progress::Over;
                }
            }
        }
        Progress::On
    }

    /// Reads lines of its standard error.
    pub(super) fn read_errors(&mut self, buffer: &mut [u8], mut each: impl FnMut(&[u8])) {
        for _ in 0..READS {
            let Piped::Bytes(count) = self.process.read_errors(buffer) else { return };
            self.errors.take_cut(&buffer[..count], &mut each);
        }
    }
}
