//! One instance of the program: its process, what waits to be written to it, and what it has not answered.

use crate::program::{Piped, Process};
use handler_core::worker::restart::Backoff;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// An instance with so many bytes unwritten is given nothing more before they are gone.
const OUT_HIGH: usize = 256 << 10;

/// A request that a process was given.
#[derive(Debug)]
pub(crate) struct Given {
    pub since: Instant,
    /// Where its line begins in all that was written to the process.
    begins: u64,
    /// Its job's payload, to be given to another process if this one has not read it.
    pub job: Box<[u8]>,
}

/// Requests that a process leaves unanswered, in their order.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    /// The serials of those that it had begun to read.
    pub seen: Vec<u64>,
    /// Those of which it has read nothing, with their jobs' payloads.
    pub unseen: Vec<(u64, Box<[u8]>)>,
}

/// Something for a connection, in its order.
#[derive(Debug)]
pub(crate) struct Task {
    pub serial: u64,
    /// The connection's number.
    pub conn: u64,
    /// The kind of its order.
    pub kind: u8,
    pub payload: Box<[u8]>,
}

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub process: Process,
    pub since: Instant,
    /// When it last wrote a line.
    pub heard: Option<Instant>,
    /// It has written a line, or answered: whatever it dies of, it can run.
    pub has_answered: bool,
    /// The last line of its standard error, for whoever wants to know why it ended.
    pub last_error: String,
    /// Lines for it, and how much of them is written.
    out: Vec<u8>,
    written: usize,
    /// All bytes that were ever meant for it, those in `out` too.
    meant: u64,
}

/// An instance of the program, which outlives its processes.
#[derive(Debug, Default)]
pub(crate) struct Instance {
    pub running: Option<Running>,
    pub backoff: Backoff,
    /// When the next process is started.
    pub due: Option<Instant>,
    /// Requests without an answer, by their serials.
    pub given: BTreeMap<u64, Given>,
    /// What could not be written yet, of connections.
    pub tasks: VecDeque<Task>,
    /// Connections that are its.
    pub conns: usize,
}

impl Running {
    pub(crate) fn new(process: Process, now: Instant) -> Self {
        Self {
            process,
            since: now,
            heard: None,
            has_answered: false,
            last_error: String::new(),
            out: Vec::new(),
            written: 0,
            meant: 0,
        }
    }

    /// Whether it takes more lines.
    pub(crate) fn has_room(&self) -> bool {
        self.process.stdin.is_some() && self.out.len() - self.written < OUT_HIGH
    }

    /// Whether lines wait to be written.
    pub(crate) fn is_behind(&self) -> bool {
        self.written < self.out.len()
    }

    /// Appends lines for it, and says where they begin in all that it gets.
    pub(crate) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let (begins, had) = (self.meant, self.out.len());
        write(&mut self.out);
        self.meant += (self.out.len() - had) as u64;
        begins
    }

    /// Writes what it takes. `false`: it takes nothing any more.
    pub(crate) fn write(&mut self) -> bool {
        while self.is_behind() {
            match self.process.write(&self.out[self.written..]) {
                Piped::Bytes(count) => self.written += count,
                Piped::Later => break,
                Piped::End => return false,
            }
        }
        if !self.is_behind() {
            self.out.clear();
            self.out.shrink_to(OUT_HIGH);
            self.written = 0;
        }
        true
    }

    /// How much of all that was meant for it the process has read.
    fn read_by_it(&self) -> u64 {
        let unwritten = (self.out.len() - self.written) as u64;
        self.meant - unwritten - self.process.unread().min(self.meant - unwritten)
    }
}

impl Instance {
    /// Whether it takes another request.
    pub(crate) fn has_room(&self, at_once: usize) -> bool {
        self.given.len() < at_once && self.running.as_ref().is_some_and(Running::has_room)
    }

    /// Gives a request to its process, whose line `write` appends.
    pub(crate) fn give(
        &mut self,
        serial: u64,
        job: Box<[u8]>,
        now: Instant,
        write: impl FnOnce(&mut Vec<u8>, &[u8]),
    ) {
        let Some(running) = &mut self.running else { return };
        let begins = running.put(|out| write(out, &job));
        self.given.insert(serial, Given { since: now, begins, job });
    }

    /// Writes what its process takes. `false`: the process takes nothing any more.
    pub(crate) fn write(&mut self) -> bool {
        self.running.as_mut().is_none_or(|running| !running.is_behind() || running.write())
    }

    /// When its process is over: what it leaves unanswered.
    pub(crate) fn take_given(&mut self) -> Unanswered {
        let read = self.running.as_ref().map_or(0, Running::read_by_it);
        let mut left = Unanswered::default();
        for (serial, given) in std::mem::take(&mut self.given) {
            match given.begins < read {
                true => left.seen.push(serial),
                false => left.unseen.push((serial, given.job)),
            }
        }
        left
    }

    /// Forgets requests that were given longer ago than `patience`, and says which. `true`: its process has said nothing
    /// since it was given one of them.
    pub(crate) fn give_up_late(&mut self, patience: Duration, now: Instant) -> (Vec<u64>, bool) {
        let (mut late, mut hangs) = (Vec::new(), false);
        while let Some(oldest) = self.given.first_entry() {
            if now < oldest.get().since + patience {
                break;
            }
            let (serial, given) = oldest.remove_entry();
            let heard = self.running.as_ref().and_then(|running| running.heard);
            hangs |= heard.is_none_or(|heard| heard < given.since);
            late.push(serial);
        }
        (late, hangs)
    }

    /// When its oldest request was given.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.given.values().next().map(|given| given.since)
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        let is_behind = self.running.as_ref().is_some_and(Running::is_behind);
        self.given.is_empty() && self.tasks.is_empty() && !is_behind
    }
}
