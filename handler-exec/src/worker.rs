//! The loop between the hub and the processes of a program.
//!
//! One thread sleeps in one poll over the hub's socket and all pipes. Nothing here blocks but the writes to the hub,
//! which always reads: a program that reads or writes nothing holds up its own requests alone.

use crate::dispatch::Dispatch;
use crate::hub::{Hub, WorkerError, first_order};
use crate::lifecycle::Lifecycle;
use crate::program::Program;
use crate::read::Reader;
use crate::routes::Routes;
use crate::service::Service;
use crate::settings::Settings;
use handler_core::worker::link::{self, Orders, Wake};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};

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
    let lifecycle = Lifecycle::new(program, settings.processes as usize, now);
    let reader = Reader::new(lifecycle.instances.len(), settings.line);
    let mut service = Service {
        hub: Hub::new(actions, now),
        lifecycle,
        dispatch: Dispatch::new(settings.at_once),
        routes: Routes::new(start.source, settings.load),
        patience: settings.patience,
    };
    service.begin(now)?;
    Worker { orders, reader, service }.serve()
}

/// A worker.
struct Worker {
    orders: Orders,
    reader: Reader,
    service: Service,
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
            self.service.hub.turn();
            for what in ready.drain(..) {
                match what {
                    Ready::Hub => {
                        if self.orders.wait(Some(Duration::ZERO))? == Wake::End {
                            return Ok(());
                        }
                        self.obey_orders(now)?;
                    }
                    Ready::Output(number) => {
                        if !self.reader.output(number, &mut self.service, now)? {
                            // A process of which nothing can be heard is of no use.
                            self.bury(number, now)?;
                        }
                    }
                    Ready::Errors(number) => self.reader.errors(number, &mut self.service, now)?,
                    // What waits is written below.
                    Ready::Input => {}
                    Ready::Ended(number) => self.bury(number, now)?,
                }
            }
            self.service.do_what_is_due(now)?;
            self.replace_what_hangs(now)?;
            self.service.give(now)?;
            self.write_what_was_given(now)?;
            let is_over = self.service.end_if_done(now)?;
            self.service.hub.turn();
            self.service.hub.flush()?;
            if is_over {
                return Ok(());
            }
            ready = self.wait(now)?;
        }
    }

    /// Does all that was ordered, in order.
    fn obey_orders(&mut self, now: Instant) -> Result<(), WorkerError> {
        while let Some((kind, payload)) = self.orders.next_order() {
            self.service.order(kind, payload.into(), now)?;
        }
        Ok(())
    }

    /// Ends processes that have said nothing for too long.
    fn replace_what_hangs(&mut self, now: Instant) -> Result<(), WorkerError> {
        for number in 0..self.service.lifecycle.instances.len() {
            if self.service.give_up_late(number, now)? {
                self.bury(number, now)?;
            }
        }
        Ok(())
    }

    /// Writes what the processes take.
    fn write_what_was_given(&mut self, now: Instant) -> Result<(), WorkerError> {
        for number in 0..self.service.lifecycle.instances.len() {
            if !self.service.lifecycle.instances[number].write() {
                // It cannot be asked anything any more, so it is of no use.
                self.bury(number, now)?;
            }
        }
        Ok(())
    }

    fn bury(&mut self, number: usize, now: Instant) -> Result<(), WorkerError> {
        self.reader.bury(number, &mut self.service, now)
    }

    /// Waits until something can be read or written, or is due.
    fn wait(&self, now: Instant) -> Result<Vec<Ready>, WorkerError> {
        let instances = &self.service.lifecycle.instances;
        let mut whose = Vec::with_capacity(2 + 3 * instances.len());
        let mut polled = Vec::with_capacity(whose.capacity());
        if let Some(socket) = self.orders.socket() {
            whose.push(Ready::Hub);
            polled.push(PollFd::from_borrowed_fd(socket, PollFlags::IN));
        }
        for (number, instance) in instances.iter().enumerate() {
            let Some(running) = &instance.running else { continue };
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
        let left = self.service.next_due(now).map(|due| due.saturating_duration_since(now));
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
}
