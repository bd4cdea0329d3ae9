//! A worker of the simulation, with its page: what must outlive it is kept as there.

use super::super::site::{FakeWorker, Job, Told};
use crate::hub::AppId;
use crate::worker::protocol::{Handler, Registration};
use crate::worker::pulse::Pulse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

/// A job that was read and begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    pub serial: u64,
    /// From the message's path; 0 for raw messages.
    pub tag: u64,
    /// A message of a socket, or a notice.
    pub raw: bool,
    pub handler: Handler,
}

/// An answer that is given in pieces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streaming {
    pub serial: u64,
    /// Bytes of it that are still to be given.
    pub left: usize,
    /// Bytes that were given, and have not left the hub.
    pub under_way: usize,
    /// Nobody waits for it.
    pub gone: bool,
    /// Its script has read the request's body: a worker that wants more of one hears again that the client is gone.
    pub has_read: bool,
}

/// What of a live connection a worker was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Open,
    Message,
    Close,
}

/// Something of a live connection that was begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub serial: u64,
    pub conn: u64,
    pub what: What,
}

/// A body that arrives while its job runs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    /// Bytes that were asked for, and that came behind the first.
    pub wanted: u64,
    pub got: u64,
    pub whole: bool,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub app: AppId,
    pub ready: bool,
    /// The code that it runs.
    pub registration: Registration,
    /// Reads what the hub wrote; it is moved to `inbox` and `talks`.
    pub reader: FakeWorker,
    pub inbox: VecDeque<Job>,
    pub talks: VecDeque<Told>,
    pub begun: Vec<Begun>,
    pub streams: Vec<Streaming>,
    pub running: Vec<Running>,
    pub reading: BTreeMap<u64, Reading>,
    /// Its live connections.
    pub held: BTreeSet<u64>,
    /// Frames of the batch that is not sent yet.
    pub outbox: Vec<u8>,
    /// The page's words.
    pub started: u64,
    pub revoked: u64,
    turn: u64,
    inside: u64,
    /// Inside a script until then.
    pub hangs_until: Option<Instant>,
    pub killed: bool,
}

impl Worker {
    pub fn new(app: AppId) -> Self {
        Self {
            app,
            ready: false,
            registration: Registration::default(),
            reader: FakeWorker::default(),
            inbox: VecDeque::new(),
            talks: VecDeque::new(),
            begun: Vec::new(),
            streams: Vec::new(),
            running: Vec::new(),
            reading: BTreeMap::new(),
            held: BTreeSet::new(),
            outbox: Vec::new(),
            started: 0,
            revoked: 0,
            turn: 0,
            inside: 0,
            hangs_until: None,
            killed: false,
        }
    }

    pub fn pulse(&self) -> Pulse {
        Pulse { started: self.started, turn: self.turn, running: self.inside }
    }

    pub fn enter(&mut self, serial: u64) {
        self.turn += 1;
        self.inside = serial;
    }

    pub fn leave(&mut self) {
        self.turn += 1;
        self.inside = 0;
    }

    /// What the hub wrote.
    pub fn read(&mut self, orders: &[u8]) {
        self.reader.take(orders);
        self.inbox.extend(self.reader.jobs.drain(..));
        self.talks.extend(self.reader.live.drain(..));
        for (serial, bytes) in self.reader.taken.drain(..) {
            if let Some(stream) = self.streams.iter_mut().find(|stream| stream.serial == serial) {
                let left = stream.under_way.checked_sub(bytes as usize);
                stream.under_way = left.expect("no more leaves than was given");
            }
        }
        for (serial, last, bytes) in self.reader.parts.drain(..) {
            if let Some(reading) = self.reading.get_mut(&serial) {
                assert!(!reading.whole && reading.got < reading.wanted, "{serial}: {reading:?}");
                reading.got += bytes.len() as u64;
                reading.whole = last;
            }
        }
        self.reader.grown.clear();
        for serial in self.reader.gone.drain(..) {
            if let Some(stream) = self.streams.iter_mut().find(|stream| stream.serial == serial) {
                let is_new = !std::mem::replace(&mut stream.gone, true);
                assert!(is_new || stream.has_read, "gone twice");
            }
        }
    }

    /// Whether what comes next is about a live connection.
    pub fn next_is_live(&self) -> bool {
        let job = self.inbox.front().map(|job| job.serial);
        let told = self.talks.front();
        told.is_some_and(|told| told.serial().is_none_or(|serial| job.is_none_or(|job| serial < job)))
    }

    /// The job that it would start next, if nothing else comes before it.
    pub fn take_next(&mut self) -> Option<u64> {
        if self.next_is_live() {
            let serial = self.talks.front()?.serial()?;
            self.talks.pop_front();
            return Some(serial);
        }
        self.inbox.pop_front().map(|job| job.serial)
    }

    /// Whether this serial stands for something of a live connection that is to be done.
    pub fn is_live(&self, serial: u64) -> bool {
        self.running.iter().any(|job| job.serial == serial)
            || self.talks.iter().any(|told| told.serial() == Some(serial))
            || self.inbox.iter().all(|job| job.serial != serial) && serial > self.started
    }

    pub fn is_idle(&self) -> bool {
        self.inbox.is_empty()
            && self.talks.is_empty()
            && self.begun.is_empty()
            && self.streams.is_empty()
            && self.running.is_empty()
    }

    /// As `Page::start`.
    pub fn start(&mut self, serial: u64) -> bool {
        assert!(serial > self.started, "serials grow");
        self.started = serial;
        serial > self.revoked
    }
}
