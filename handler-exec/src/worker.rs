//! The loop between the hub and the processes of a program.
//!
//! One thread sleeps in one poll over the hub's socket and all pipes. Nothing here blocks but the writes to the hub,
//! which always reads: a program that reads or writes nothing holds up its own requests alone.

use crate::conns::Conns;
use crate::hub::Hub;
use crate::instance::Instance;
use crate::program::Program;
use crate::registration::Registered;
use crate::settings::Settings;
use handler_core::worker::link::{self, Orders, Wake};
use handler_core::worker::protocol::{Action, Order, ProtocolError, Start};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How often a worker shows the hub that it is alive while jobs wait for a process.
pub(crate) const ALIVE: Duration = Duration::from_millis(200);
/// How long requests wait for a program to say what it answers to. What it says later counts, too, within
/// `limits.load_time` and before its first answer.
const FIRST_WORD: Duration = Duration::from_millis(500);
/// How long it may take to end when its standard input does, and then once more when it is told to.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Why a worker could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The socket pair failed, or there is none.
    #[error("no connection to the hub: {0}")]
    Link(#[from] io::Error),
    /// The hub is of another version.
    #[error("the hub is not understood: {0}")]
    Protocol(#[from] ProtocolError),
}

/// Lives a worker's life: from the first order to the end of the hub, or the order to stop. `guard` is a command that
/// runs another one, and kills that when the process ends whose id it is given first.
///
/// # Errors
///
/// [`WorkerError`] when the hub cannot be worked with. A program that does not run is no such error; the hub is told.
pub fn run(settings: Settings, guard: &[OsString]) -> Result<(), WorkerError> {
    // A hub that is killed takes its workers along.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
    let (mut orders, actions) = link::from_environment()?;
    let Some(start) = first_order(&mut orders)? else { return Ok(()) };
    let environment =
        vec![("KENNEL_WORKER", start.number.to_string()), ("KENNEL_MOUNT", start.mount.clone())];
    let program = Program::new(&start.source, guard, environment)?;
    let now = Instant::now();
    let mut worker = Worker {
        orders,
        hub: Hub::new(actions, now),
        copies: (0..settings.processes.max(1)).map(|_| Instance::default()).collect(),
        settings,
        program,
        start,
        registered: Registered::default(),
        stage: Stage::Loading { until: now + FIRST_WORD },
        undeclared: None,
        queue: VecDeque::new(),
        conns: Conns::default(),
        last_given: 0,
        buffer: vec![0; 64 << 10],
    };
    worker.begin_loading(now)?;
    worker.serve()
}

/// Waits for the order that says what to run; `None`: the hub is gone.
pub(crate) fn first_order(orders: &mut Orders) -> Result<Option<Start>, WorkerError> {
    loop {
        if let Some((kind, payload)) = orders.next_order() {
            if let Order::Start(start) = Order::read(kind, payload)? {
                return Ok(Some(start));
            }
        } else if orders.wait(None)? == Wake::End {
            return Ok(None);
        }
    }
}

/// What the worker is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The program may say what it answers to.
    Loading { until: Instant },
    /// It did not run: the hub ends this worker.
    Failed,
    /// Requests are answered.
    Serving,
    /// What was given is finished, as far as it is by then; nothing new comes.
    Stopping { until: Instant },
    /// The processes were asked to end.
    Ending { since: Instant, told: bool },
}

/// A request that waits for a process.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub serial: u64,
    /// Its job's payload.
    pub job: Box<[u8]>,
    pub since: Instant,
}

/// A worker.
pub(crate) struct Worker {
    orders: Orders,
    pub(crate) hub: Hub,
    pub(crate) settings: Settings,
    pub(crate) program: Program,
    pub(crate) start: Start,
    pub(crate) registered: Registered,
    pub(crate) stage: Stage,
    /// The program has said nothing of what it answers to, and may until then.
    pub(crate) undeclared: Option<Instant>,
    pub(crate) copies: Vec<Instance>,
    pub(crate) queue: VecDeque<Waiting>,
    pub(crate) conns: Conns,
    /// The highest number of a request that any process was given.
    pub(crate) last_given: u64,
    pub(crate) buffer: Vec<u8>,
}

/// Whose descriptor it is that became ready.
#[derive(Debug, Clone, Copy)]
enum Ready {
    Hub,
    Output(usize),
    Errors(usize),
    Input,
    Ended(usize),
}

impl Worker {
    fn serve(mut self) -> Result<(), WorkerError> {
        let mut ready = Vec::new();
        self.obey_orders(Instant::now())?;
        loop {
            let now = Instant::now();
            self.hub.turn();
            for what in ready.drain(..) {
                match what {
                    Ready::Hub => {
                        if self.orders.wait(Some(Duration::ZERO))? == Wake::End {
                            return Ok(());
                        }
                        self.obey_orders(now)?;
                    }
                    Ready::Output(copy) => {
                        if !self.hear(copy, now)? {
                            // A process of which nothing can be heard is of no use.
                            self.bury(copy, now)?;
                        }
                    }
                    Ready::Errors(copy) => self.hear_errors(copy, now)?,
                    // What waits is written below.
                    Ready::Input => {}
                    Ready::Ended(copy) => self.bury(copy, now)?,
                }
            }
            self.do_what_is_due(now)?;
            self.give_what_waits(now)?;
            self.send_away_if_hopeless()?;
            self.write_what_was_given(now)?;
            let is_over = self.end_if_done(now)?;
            self.hub.turn();
            self.hub.flush()?;
            if is_over {
                return Ok(());
            }
            ready = self.wait(now)?;
        }
    }

    /// Writes what the processes take.
    fn write_what_was_given(&mut self, now: Instant) -> Result<(), WorkerError> {
        for copy in 0..self.copies.len() {
            if !self.copies[copy].write() {
                // It cannot be asked anything any more, so it is of no use.
                self.bury(copy, now)?;
            }
        }
        Ok(())
    }

    /// Waits until something can be read or written, or is due.
    fn wait(&self, now: Instant) -> Result<Vec<Ready>, WorkerError> {
        let mut whose = Vec::with_capacity(2 + 3 * self.copies.len());
        let mut polled = Vec::with_capacity(whose.capacity());
        if let Some(socket) = self.orders.socket() {
            whose.push(Ready::Hub);
            polled.push(PollFd::from_borrowed_fd(socket, PollFlags::IN));
        }
        for (number, copy) in self.copies.iter().enumerate() {
            let Some(running) = &copy.running else { continue };
            let process = &running.process;
            whose.push(Ready::Ended(number));
            polled.push(PollFd::new(&process.pidfd, PollFlags::IN));
            if let Some(stdout) = &process.stdout {
                whose.push(Ready::Output(number));
                polled.push(PollFd::new(stdout, PollFlags::IN));
            }
            if let Some(stderr) = &process.stderr {
                whose.push(Ready::Errors(number));
                polled.push(PollFd::new(stderr, PollFlags::IN));
            }
            if let Some(stdin) = process.stdin.as_ref().filter(|_| running.is_behind()) {
                whose.push(Ready::Input);
                polled.push(PollFd::new(stdin, PollFlags::OUT));
            }
        }
        let left = self.next_due(now).map(|due| due.saturating_duration_since(now));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut polled, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(problem) => return Err(io::Error::from(problem).into()),
        }
        let mut ready: Vec<_> = whose
            .iter()
            .zip(&polled)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(who, _)| *who)
            .collect();
        // What a process wrote before its end is read before that is noticed.
        ready.sort_by_key(|who| matches!(who, Ready::Ended(_)));
        Ok(ready)
    }

    fn next_due(&self, now: Instant) -> Option<Instant> {
        let stage = match self.stage {
            Stage::Loading { until } => Some(until),
            Stage::Ending { since, told } => Some(since + LAST_WORD * (1 + u32::from(told))),
            Stage::Stopping { until } => Some(until),
            Stage::Failed | Stage::Serving => None,
        };
        let starts = self.copies.iter().filter_map(|copy| copy.due).min();
        let oldest =
            self.copies.iter().filter_map(|copy| copy.given.values().next()).map(|given| given.since);
        let answers = oldest.min().map(|since| since + self.settings.patience);
        let waiting = self.queue.front().map(|waiting| waiting.since + self.settings.patience);
        let jobs_wait = !self.queue.is_empty() || self.copies.iter().any(|copy| !copy.tasks.is_empty());
        let alive = jobs_wait.then(|| now + ALIVE);
        let declared = self.undeclared.filter(|until| jobs_wait && *until > now);
        [stage, starts, answers, waiting, alive, declared].into_iter().flatten().min()
    }

    /// Does all that was ordered, in order.
    fn obey_orders(&mut self, now: Instant) -> Result<(), WorkerError> {
        // The orders lie in the reader's memory, and obeying needs all of the worker.
        while let Some((kind, payload)) = self.orders.next_order() {
            let payload: Box<[u8]> = payload.into();
            self.obey(kind, payload, now)?;
        }
        Ok(())
    }

    fn obey(&mut self, kind: u8, payload: Box<[u8]>, now: Instant) -> Result<(), WorkerError> {
        match Order::read(kind, &payload)? {
            Order::Job { serial, .. } => {
                self.queue.push_back(Waiting { serial, job: payload, since: now });
            }
            Order::Open(open) => {
                let (serial, conn) = (open.serial, open.conn);
                self.take_in(&open, payload.clone());
                self.hand_task(serial, conn, kind, payload)?;
            }
            Order::Message { serial, conn, .. } | Order::Close { serial, conn, .. } => {
                self.hand_task(serial, conn, kind, payload)?;
            }
            Order::Detach { conn } => self.let_go(conn)?,
            Order::Gone { serial } => {
                // Nobody waits for it. What a process has begun is left to end.
                if let Some(at) = self.queue.iter().position(|waiting| waiting.serial == serial) {
                    self.queue.remove(at);
                    self.hub.skip(serial)?;
                }
            }
            Order::Evaluate { query, .. } => {
                let text = b"a program runs no code of the console's; Lua and Python do";
                self.hub.act(&Action::Evaluated { query, ok: false, text })?;
            }
            Order::Stop { work, .. } => self.stage = Stage::Stopping { until: now + work },
            Order::Start(_)
            | Order::Lead
            | Order::Answer { .. }
            | Order::Taken { .. }
            | Order::Part { .. }
            | Order::Grown { .. } => {}
        }
        Ok(())
    }

    /// Under a stop, when nothing is left to do or its time is over: ends the processes. `true`: they have ended.
    fn end_if_done(&mut self, now: Instant) -> Result<bool, WorkerError> {
        let is_idle = || self.queue.is_empty() && self.copies.iter().all(Instance::is_idle);
        // The hub answers what is cut off, and names it.
        if matches!(self.stage, Stage::Stopping { until } if now >= until || is_idle()) {
            // End of file is how a program learns that it is to end.
            for running in self.copies.iter_mut().filter_map(|copy| copy.running.as_mut()) {
                running.process.stdin = None;
            }
            self.stage = Stage::Ending { since: now, told: false };
        }
        let Stage::Ending { since, told } = self.stage else { return Ok(false) };
        let mut left = self.copies.iter().filter_map(|copy| copy.running.as_ref()).peekable();
        if left.peek().is_none() {
            return Ok(true);
        }
        if !told && now >= since + LAST_WORD {
            left.for_each(|running| running.process.signal(Signal::TERM));
            self.stage = Stage::Ending { since, told: true };
        } else if now >= since + 2 * LAST_WORD {
            for running in self.copies.iter_mut().filter_map(|copy| copy.running.take()) {
                let number = running.process.id();
                self.hub.complain(0, &format!("process {number} of the program did not end: killed"), now)?;
            }
            return Ok(true);
        }
        Ok(false)
    }
}
