//! A worker of the simulation, with its page: what must outlive it is kept as there.

use super::super::site::FakeWorker;
use crate::hub::AppId;
use crate::worker::page::Pulse;
use crate::worker::protocol::Handler;
use std::collections::VecDeque;
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

#[derive(Debug)]
pub(super) struct Worker {
    pub app: AppId,
    pub ready: bool,
    /// Reads what the hub wrote; its jobs are moved to `inbox`.
    pub reader: FakeWorker,
    pub inbox: VecDeque<super::super::site::Job>,
    pub begun: Vec<Begun>,
    /// Frames of the batch that is not sent yet.
    pub outbox: Vec<u8>,
    /// The page's words.
    pub started: u64,
    pub revoked: u64,
    turn: u64,
    running: u64,
    /// Inside a script until then.
    pub hangs_until: Option<Instant>,
    pub killed: bool,
}

impl Worker {
    pub fn new(app: AppId) -> Self {
        Self {
            app,
            ready: false,
            reader: FakeWorker::default(),
            inbox: VecDeque::new(),
            begun: Vec::new(),
            outbox: Vec::new(),
            started: 0,
            revoked: 0,
            turn: 0,
            running: 0,
            hangs_until: None,
            killed: false,
        }
    }

    pub fn pulse(&self) -> Pulse {
        Pulse { started: self.started, turn: self.turn, running: self.running }
    }

    pub fn enter(&mut self, serial: u64) {
        self.turn += 1;
        self.running = serial;
    }

    pub fn leave(&mut self) {
        self.turn += 1;
        self.running = 0;
    }

    /// As `Page::start`.
    pub fn start(&mut self, serial: u64) -> bool {
        assert!(serial > self.started, "serials grow");
        self.started = serial;
        serial > self.revoked
    }
}
