//! The worker processes: bytes in, bytes out, and their last words.

use super::files::Files;
use crate::hub::{Hub, WorkerId};
use crate::worker::process::{WorkerCommand, WorkerProcess};
use crate::worker::protocol::{BATCH_HEAD, Start, encode_start, split_batch};
use crate::worker::pulse::Pulse;
use crate::worker::sent_file::Scratch;
use crate::worker::standing::Standing;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{error, warn};

/// One worker's process and what was read of its next batch.
struct Seated {
    process: WorkerProcess,
    inbox: Vec<u8>,
    /// Orders of the hub that the socket did not take yet; the first goes out before the hub's.
    unsent: Vec<u8>,
    /// How much of it is written.
    written: usize,
    received: u32,
    waits_to_write: bool,
    /// The serial of the last job that was written.
    sent: u64,
    /// Since when orders are held back.
    held_since: Option<Instant>,
    /// Where it keeps files while it lives.
    scratch: Option<PathBuf>,
    /// For how long a batch has been arriving, and the number of the last whole one at the last look.
    partial: (Duration, u32),
}

/// All worker processes, by the hub's numbers.
pub(super) struct Seats {
    workers: Vec<Option<Seated>>,
    /// Where they write what they do not give the hub; none: to standard error.
    output: Option<Arc<OwnedFd>>,
    looked: Option<Instant>,
}

const READ_SIZE: usize = 64 << 10;
/// The most room that is made at once for a batch that its worker has announced.
const LARGE_BATCH: usize = 64 << 20;
const SIGKILL: i32 = 9;
/// Tokens of workers' processes begin here; those of their sockets stay below.
const PROCESSES: u64 = 1 << 31;
/// What counts at most from one look to the next: between them the hub itself may have stood still.
const LOOK: Duration = Duration::from_millis(100);

impl Seats {
    /// No worker has a seat yet.
    pub(super) fn new(output: Option<Arc<OwnedFd>>) -> Self {
        Self { workers: Vec::new(), output, looked: None }
    }

    /// How long orders are held back at most.
    const HOLD: Duration = Duration::from_micros(300);

    /// While orders are held back and nobody is idle there is nothing to be done for new requests: waits
    /// until a worker has something to say, at most until the orders must go. `false`: it did not wait.
    pub(super) fn wait_for_held(&self, now: Instant) -> bool {
        let seated = || self.workers.iter().flatten();
        let Some(since) = seated().filter_map(|seated| seated.held_since).min() else { return false };
        if !seated().all(Seated::is_busy) {
            return false;
        }
        let left = (since + Self::HOLD).saturating_duration_since(now);
        let mut sockets: Vec<_> =
            seated().map(|seated| PollFd::new(&seated.process.socket, PollFlags::IN)).collect();
        let _ = poll(&mut sockets, Timespec::try_from(left).ok().as_ref());
        true
    }

    /// When held orders have to be written.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.workers
            .iter()
            .flatten()
            .filter_map(|seated| seated.held_since)
            .min()
            .map(|since| since + Self::HOLD)
            .into_iter()
            .chain(self.next_look())
            .min()
    }

    /// When a batch that has not arrived whole is to be looked at.
    fn next_look(&self) -> Option<Instant> {
        let arrives = self.workers.iter().flatten().any(|seated| !seated.inbox.is_empty());
        self.looked.filter(|_| arrives).map(|looked| looked + Hub::PULSE)
    }

    /// Replaces workers whose announced batch does not arrive: they are out of step, and all that they say is lost in it.
    pub(super) fn look(&mut self, hub: &mut Hub, files: &mut Files, now: Instant) {
        let time =
            self.looked.map_or(Duration::ZERO, |looked| now.saturating_duration_since(looked).min(LOOK));
        self.looked = Some(now);
        let patience = hub.limits().script_time;
        for number in 0..self.workers.len() {
            let Some(seated) = &mut self.workers[number] else { continue };
            let (waited, received) = seated.partial;
            let goes_on = seated.inbox.is_empty() || received != seated.received;
            seated.partial = (if goes_on { Duration::ZERO } else { waited + time }, seated.received);
            if seated.partial.0 >= patience {
                let (app, number_there) = named(hub, WorkerId(number));
                error!(
                    app,
                    worker = number_there,
                    "a worker announced a batch that did not come within {patience:?}: it is killed"
                );
                self.bury(WorkerId(number), hub, files, now);
            }
        }
    }

    /// Starts a process and tells it what to load.
    pub(super) fn start(
        &mut self,
        worker: WorkerId,
        command: &WorkerCommand,
        start: &Start,
        poller: &OwnedFd,
        base: u64,
    ) -> io::Result<()> {
        let process = command.spawn_with(self.output.as_deref())?;
        let data = EventData::new_u64(base + worker.0 as u64);
        epoll::add(poller, &process.socket, data, EventFlags::IN)?;
        let data = EventData::new_u64(base + PROCESSES + worker.0 as u64);
        epoll::add(poller, &process.pidfd, data, EventFlags::IN)?;
        let mut unsent = Vec::new();
        encode_start(&mut unsent, start);
        let is_given = !start.scratch.is_empty();
        let scratch = is_given.then(|| Scratch::folder_of(&start.scratch, process.child.id()));
        if self.workers.len() <= worker.0 {
            self.workers.resize_with(worker.0 + 1, || None);
        }
        let seated = Seated {
            process,
            inbox: Vec::new(),
            unsent,
            written: 0,
            received: 0,
            waits_to_write: false,
            sent: 0,
            held_since: None,
            scratch,
            partial: (Duration::ZERO, 0),
        };
        self.workers[worker.0] = Some(seated);
        Ok(())
    }

    fn get_mut(&mut self, worker: WorkerId) -> Option<&mut Seated> {
        self.workers.get_mut(worker.0)?.as_mut()
    }

    fn get(&self, worker: WorkerId) -> Option<&Seated> {
        self.workers.get(worker.0)?.as_ref()
    }

    /// The id of a worker's process.
    pub(super) fn process(&self, worker: WorkerId) -> Option<u32> {
        self.get(worker).map(|seated| seated.process.child.id())
    }

    pub(super) fn pulse(&self, worker: WorkerId) -> Option<Pulse> {
        self.get(worker).map(|seated| seated.process.page.pulse())
    }

    pub(super) fn revoke(&self, worker: WorkerId, serial: u64) -> Option<u64> {
        self.get(worker).map(|seated| seated.process.page.revoke(serial))
    }

    /// Sends SIGKILL. Its end is noticed like any other.
    pub(super) fn kill(&mut self, worker: WorkerId) {
        if let Some(seated) = self.get_mut(worker) {
            let _ = seated.process.child.kill();
        }
    }

    pub(super) fn kill_all(&mut self) {
        for seated in self.workers.iter_mut().flatten() {
            let _ = seated.process.child.kill();
            let _ = seated.process.child.wait();
        }
    }

    /// Writes to each worker what the hub has for it, in one piece. A worker that has not begun the
    /// last job it got does not need more yet: what comes meanwhile goes with one write, and wakes
    /// it once.
    pub(super) fn write_orders(&mut self, hub: &mut Hub, poller: &OwnedFd, base: u64, now: Instant) {
        for (number, seated) in self.workers.iter_mut().enumerate() {
            let Some(seated) = seated else { continue };
            let Some((orders, serial)) = hub.take_orders(WorkerId(number)) else { continue };
            if !orders.is_empty() && seated.is_busy() {
                let since = *seated.held_since.get_or_insert(now);
                if now.saturating_duration_since(since) < Self::HOLD {
                    continue;
                }
            }
            seated.held_since = None;
            seated.sent = serial;
            if !seated.unsent.is_empty() {
                seated.unsent.append(orders);
                if seated.write_unsent() {
                    hub.handle_transfer(WorkerId(number));
                }
            } else if !orders.is_empty() {
                let written = seated.process.socket.write(orders).unwrap_or(0);
                if written < orders.len() {
                    seated.unsent.extend_from_slice(&orders[written..]);
                }
                orders.clear();
                orders.shrink_to(1 << 20);
            }
            let waits = !seated.unsent.is_empty();
            if waits != seated.waits_to_write {
                seated.waits_to_write = waits;
                let flags = if waits { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
                let data = EventData::new_u64(base + number as u64);
                if let Err(problem) = epoll::modify(poller, &seated.process.socket, data, flags) {
                    warn!(worker = number, "cannot watch a worker's socket: {problem}");
                }
            }
        }
    }

    /// Reads what a worker wrote and gives whole batches to the hub; at its end, also what it had
    /// ready but not sent. A process that it forked may keep its end of the socket open: its own end counts, too.
    pub(super) fn read(&mut self, token: u64, hub: &mut Hub, files: &mut Files, now: Instant) {
        let worker = WorkerId((token % PROCESSES) as usize);
        let Some(seated) = self.get_mut(worker) else { return };
        // A late event of a process may mean one that had the number before.
        let is_dead = token >= PROCESSES && !matches!(seated.process.child.try_wait(), Ok(None));
        if token >= PROCESSES && !is_dead {
            return;
        }
        match seated.read(worker, hub, now) {
            Ok(true) if !is_dead => {}
            Ok(true) => self.bury(worker, hub, files, now),
            Ok(false) => self.bury(worker, hub, files, now),
            Err(problem) => {
                let (app, number) = named(hub, worker);
                error!(app, worker = number, "a worker is killed, its messages make no sense: {problem}");
                self.kill(worker);
                self.bury(worker, hub, files, now);
            }
        }
    }

    fn bury(&mut self, worker: WorkerId, hub: &mut Hub, files: &mut Files, now: Instant) {
        let Some(mut seated) = self.workers.get_mut(worker.0).and_then(Option::take) else { return };
        // It closed its end, so it is dead or about to be; it must not touch the page any more.
        let _ = seated.process.child.kill();
        if let Ok(status) = seated.process.child.wait()
            && status.signal() != Some(SIGKILL)
        {
            if !status.success() {
                let (app, number) = named(hub, worker);
                warn!(app, worker = number, "a worker process ended: {status}");
            }
            hub.handle_exit_status(worker, status.to_string());
        }
        if let Some(folder) = seated.scratch {
            files.delete(folder);
        }
        let unsent = seated.process.page.unsent(seated.received);
        if let Err(problem) = hub.handle_batch(worker, &unsent, now) {
            let (app, number) = named(hub, worker);
            error!(app, worker = number, "the last words of a worker make no sense: {problem}");
        }
        let here = std::env::current_dir().ok();
        if let Some(standing) = Standing::read(&seated.process.page.standing(), here.as_deref()) {
            hub.handle_standing(worker, standing);
        }
        hub.handle_worker_gone(worker, seated.process.page.pulse().started, now);
    }
}

/// A worker as the log names it.
fn named(hub: &Hub, worker: WorkerId) -> (Option<&str>, Option<u32>) {
    hub.worker_name(worker).unzip()
}

impl Drop for Seats {
    fn drop(&mut self) {
        self.kill_all();
    }
}

impl Seated {
    /// Whether it has not begun the last job that it got.
    fn is_busy(&self) -> bool {
        self.process.page.pulse().started < self.sent
    }

    /// Says whether the worker has made room for anything.
    fn write_unsent(&mut self) -> bool {
        let Ok(written) = self.process.socket.write(&self.unsent[self.written..]) else { return false };
        self.written += written;
        // What is left is moved only when that is less than what has left.
        if self.written > self.unsent.len() / 2 {
            self.unsent.drain(..self.written);
            self.written = 0;
        }
        written > 0
    }

    /// `Ok(false)`: end of file.
    fn read(
        &mut self,
        worker: WorkerId,
        hub: &mut Hub,
        now: Instant,
    ) -> Result<bool, Box<dyn std::error::Error>> {
        loop {
            // A batch that is larger than a read gets its room at once, instead of growing into it.
            let have = self.inbox.len();
            let room = match self.inbox.first_chunk::<4>() {
                Some(size) => {
                    let whole = u32::from_le_bytes(*size) as usize + BATCH_HEAD;
                    whole.saturating_sub(have).clamp(READ_SIZE, LARGE_BATCH)
                }
                None => READ_SIZE,
            };
            self.inbox.reserve(room);
            let room = self.inbox.capacity() - have;
            let count = match rustix::io::read(&self.process.socket, spare_capacity(&mut self.inbox)) {
                Ok(0) | Err(Errno::CONNRESET) => return Ok(false),
                Ok(count) => {
                    hub.handle_transfer(worker);
                    count
                }
                Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
                Err(e) => return Err(e.into()),
            };
            hub.handle_started(worker, self.process.page.pulse().started);
            let mut rest = &self.inbox[..];
            while let Some((number, frames, after)) = split_batch(rest)? {
                self.received = number;
                rest = after;
                hub.handle_batch(worker, frames, now)?;
            }
            let used = self.inbox.len() - rest.len();
            if used > 0 {
                self.inbox.drain(..used);
                // Memory of a large batch is kept while the batch arrives: giving it back each time would copy it each time.
                self.inbox.shrink_to(4 * READ_SIZE);
            }
            if count < room {
                return Ok(true);
            }
        }
    }
}
