//! The sockets of the console: lines in, answers out.
//!
//! The operator's socket takes everything, that of a handler what concerns its app; [`orders`](super::orders) does it, between two
//! turns of the loop. Whoever says much at once is heard a few lines at a time, so that the loop goes on, and a client that does not
//! read its answers is let go before they fill the memory.

use super::ConsoleSocket;
use super::orders::{self, Desk};
use super::reloads::{Reloads, Settled};
use super::simulated::Simulated;
use crate::console::{self, Command, CommandError, Loaded, MAX_LINE};
use crate::hub::{AppId, Hub};
use rustc_hash::FxHashMap;
use rustix::event::epoll::{self, EventData, EventFlags};
use serde_json::{Value, json};
use slab::Slab;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tracing::warn;

/// Clients of one socket at a time.
const CLIENTS: usize = 128;
/// Why no code is loaded any more.
const STOPPING: &str = "the server is stopping";
/// Bytes of answers that may wait for a client of the operator's socket, and of a handler's: of those there are more.
const UNREAD: usize = 16 << 20;
const UNREAD_OF_HANDLER: usize = 1 << 20;
/// When nobody can be taken in, nobody is for so long.
const PAUSE: Duration = Duration::from_secs(1);
const READ_SIZE: usize = 64 << 10;
/// So often in one turn of the loop.
const READS: usize = 4;
/// Lines of one client that are done in one turn of the loop.
const LINES: usize = 16;

/// The sockets and those who are connected to them.
pub(super) struct Console {
    sockets: Vec<ConsoleSocket>,
    clients: Slab<Client>,
    later: Later,
    /// Clients for whom there is something that was not written yet.
    answered: Vec<u64>,
    /// Clients who have said more than was done in one turn.
    unfinished: Vec<u64>,
    /// Of the first socket; the others' come behind, then the clients'.
    token: u64,
    /// Nobody is taken in before.
    pause: Option<Instant>,
}

/// What is answered later, and for whom.
#[derive(Default)]
struct Later {
    simulated: Simulated,
    /// Code in workers, by the number given to it: who asked, under which `ref`.
    evaluated: FxHashMap<u64, (u64, Option<Value>)>,
    last_query: u64,
    reloads: Reloads,
}

impl Later {
    fn forget(&mut self, token: u64) {
        self.simulated.forget(token);
        self.evaluated.retain(|_, (asker, _)| *asker != token);
        self.reloads.forget(token);
    }
}

struct Client {
    stream: UnixStream,
    /// The place of the socket it came to.
    socket: usize,
    /// The app that this one is the address of.
    only: Option<AppId>,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// What the poller tells of it.
    interest: EventFlags,
    /// It says no more.
    is_done: bool,
    /// What passed while it did not read.
    missed: u64,
    /// Answers that are to come.
    awaits: usize,
}

impl Console {
    /// Takes sockets that listen. It uses `token` and as many behind it as there are sockets and clients.
    pub(super) fn new(sockets: Vec<ConsoleSocket>, token: u64, poller: &OwnedFd) -> io::Result<Self> {
        for (at, socket) in sockets.iter().enumerate() {
            socket.listener.set_nonblocking(true)?;
            let data = EventData::new_u64(token + at as u64);
            epoll::add(poller, &socket.listener, data, EventFlags::IN)?;
        }
        let (clients, later) = (Slab::new(), Later::default());
        let (answered, unfinished) = (Vec::new(), Vec::new());
        Ok(Self { sockets, clients, later, answered, unfinished, token, pause: None })
    }

    /// The first client's.
    fn first(&self) -> u64 {
        self.token + self.sockets.len() as u64
    }

    fn key(&self, token: u64) -> usize {
        (token - self.first()) as usize
    }

    /// Something has happened at one of its sockets.
    pub(super) fn service(&mut self, token: u64, poller: &OwnedFd, desk: &mut Desk<'_>) {
        if token < self.first() {
            self.accept((token - self.token) as usize, poller, desk.now);
            return;
        }
        let key = self.key(token);
        let Some(client) = self.clients.get_mut(key) else { return };
        desk.only = client.only;
        let alive = client.read(desk, &mut self.later) && client.write(poller, token);
        if !alive {
            self.remove(key, desk.hub);
        } else if client.has_line() {
            self.unfinished.push(token);
        }
    }

    /// Those who have said more than was done yet: they are to be serviced without waiting for anything.
    pub(super) fn take_unfinished(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.unfinished)
    }

    /// A reply of the hub to a made-up request.
    pub(super) fn take_reply(&mut self, reply: &[u8]) {
        if let Some((token, reference, answer)) = self.later.simulated.take_reply(reply) {
            self.answer(token, reference.as_ref(), answer);
        }
    }

    /// What code in a worker gave.
    pub(super) fn take_evaluated(&mut self, query: u64, result: Result<String, String>) {
        if let Some((token, reference)) = self.later.evaluated.remove(&query) {
            self.answer(token, reference.as_ref(), result.map(Value::from));
        }
    }

    /// The newest code of an app serves with this number of workers, or did not load.
    pub(super) fn take_loaded(&mut self, app: AppId, outcome: &Result<usize, String>) {
        let settled = self.later.reloads.settle(app, outcome);
        self.tell_settled(settled);
    }

    /// No code is loaded any more.
    pub(super) fn give_up_reloads(&mut self) {
        let settled = self.later.reloads.give_up(STOPPING);
        self.tell_settled(settled);
    }

    fn tell_settled(&mut self, settled: Vec<Settled>) {
        for Settled { token, reference, loaded } in settled {
            self.say(token, &console::reload_answer(reference.as_ref(), &loaded));
        }
    }

    fn answer(&mut self, token: u64, reference: Option<&Value>, answer: Result<Value, String>) {
        self.say(token, &console::answer(reference, answer));
    }

    /// Gives a client an answer that it waits for.
    fn say(&mut self, token: u64, line: &str) {
        let key = self.key(token);
        if let Some(client) = self.clients.get_mut(key) {
            client.awaits -= 1;
            client.outbox.extend_from_slice(line.as_bytes());
            self.answered.push(token);
        }
    }

    /// Ends a turn: shows what has passed to those who watch, and lets others come again.
    pub(super) fn finish_turn(&mut self, hub: &mut Hub, poller: &OwnedFd, now: Instant) {
        if self.pause.take_if(|end| *end <= now).is_some() {
            self.set_listening(true, poller);
        }
        let mut touched = std::mem::take(&mut self.answered);
        let base = self.first();
        let clients = &mut self.clients;
        hub.drain_taps(|token, event| {
            if let Some(client) = clients.get_mut((token - base) as usize) {
                client.show(&event);
                touched.push(token);
            }
        });
        touched.sort_unstable();
        touched.dedup();
        for token in touched {
            let key = (token - base) as usize;
            if self.clients.get_mut(key).is_some_and(|client| !client.write(poller, token)) {
                self.remove(key, hub);
            }
        }
    }

    /// When others may come again, or that somebody is not done with.
    pub(super) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        if self.unfinished.is_empty() { self.pause } else { Some(now) }
    }

    fn set_listening(&self, yes: bool, poller: &OwnedFd) {
        let flags = if yes { EventFlags::IN } else { EventFlags::empty() };
        for (at, socket) in self.sockets.iter().enumerate() {
            let data = EventData::new_u64(self.token + at as u64);
            if let Err(problem) = epoll::modify(poller, &socket.listener, data, flags) {
                warn!("the console's socket cannot be watched: {problem}");
            }
        }
    }

    /// Closing it takes it off the poller.
    fn remove(&mut self, key: usize, hub: &mut Hub) {
        let token = self.first() + key as u64;
        hub.untap(token);
        self.later.forget(token);
        self.clients.remove(key);
    }

    fn accept(&mut self, socket: usize, poller: &OwnedFd, now: Instant) {
        let first = self.first();
        let only = self.sockets[socket].only;
        loop {
            let mut stream = match self.sockets[socket].listener.accept() {
                Ok((stream, _)) => stream,
                Err(problem) if problem.kind() == ErrorKind::WouldBlock => return,
                Err(problem) if problem.kind() == ErrorKind::ConnectionAborted => continue,
                Err(problem) => {
                    // For want of descriptors, as a rule. To ask again at once would take all of the loop's time.
                    warn!("no console can be taken in for {PAUSE:?}: {problem}");
                    self.pause = Some(now + PAUSE);
                    self.set_listening(false, poller);
                    return;
                }
            };
            if self.clients.iter().filter(|(_, client)| client.socket == socket).count() >= CLIENTS {
                let full = format!("{CLIENTS} are connected to this address, no more fit: try again");
                let line = console::answer(None, Err(full));
                let _ = stream.write_all(line.as_bytes());
                continue;
            }
            let entry = self.clients.vacant_entry();
            let data = EventData::new_u64(first + entry.key() as u64);
            let prepared = stream
                .set_nonblocking(true)
                .and_then(|()| Ok(epoll::add(poller, &stream, data, EventFlags::IN)?));
            match prepared {
                Ok(()) => {
                    entry.insert(Client {
                        stream,
                        socket,
                        only,
                        inbox: Vec::new(),
                        outbox: Vec::new(),
                        interest: EventFlags::IN,
                        is_done: false,
                        missed: 0,
                        awaits: 0,
                    });
                }
                Err(problem) => warn!("a console cannot be served: {problem}"),
            }
        }
    }
}

impl Client {
    /// Bytes that may wait for it.
    fn most_unread(&self) -> usize {
        if self.only.is_some() { UNREAD_OF_HANDLER } else { UNREAD }
    }

    /// Shows what has passed, or counts it when much is unread.
    fn show(&mut self, event: &Value) {
        if self.outbox.len() > self.most_unread() / 16 {
            self.missed += 1;
            return;
        }
        if self.missed > 0 {
            let missed = json!({ "event": "missed", "count": std::mem::take(&mut self.missed) });
            self.outbox.extend_from_slice(console::event(&missed).as_bytes());
        }
        self.outbox.extend_from_slice(console::event(event).as_bytes());
    }

    /// Reads what is there, and does whole lines. `false`: it has to go.
    fn read(&mut self, desk: &mut Desk<'_>, later: &mut Later) -> bool {
        let mut lines = LINES;
        self.obey_lines(&mut lines, desk, later);
        let mut chunk = vec![0; READ_SIZE];
        // The rest is read in the next turns: others have something to say, too.
        for _ in 0..READS {
            if self.is_done || self.has_line() || self.outbox.len() > self.most_unread() {
                break;
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    self.is_done = true;
                    // The end is the end of the last line, too.
                    self.inbox.push(b'\n');
                }
                Ok(size) => self.inbox.extend_from_slice(&chunk[..size]),
                Err(problem) if problem.kind() == ErrorKind::Interrupted => {}
                Err(problem) if problem.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
            self.obey_lines(&mut lines, desk, later);
        }
        self.outbox.len() <= self.most_unread()
    }

    /// Whether it has said something that was not done yet.
    fn has_line(&self) -> bool {
        memchr::memchr(b'\n', &self.inbox).is_some()
    }

    /// Does so many lines at most, and counts them.
    fn obey_lines(&mut self, left: &mut usize, desk: &mut Desk<'_>, later: &mut Later) {
        let mut begin = 0;
        while *left > 0
            && self.outbox.len() <= self.most_unread()
            && let Some(length) = memchr::memchr(b'\n', &self.inbox[begin..])
        {
            *left -= 1;
            let line = self.inbox[begin..begin + length].trim_ascii();
            begin += length + 1;
            if !line.is_empty() {
                let line = console::read_line(line);
                let refused = |command: &Command| orders::refusal(command, desk.only?, desk.hub, desk.apps);
                let refusal = line.command.as_ref().ok().and_then(refused);
                let command = match refusal {
                    Some(problem) => Err(problem),
                    None => line.command.map_err(|problem| problem.to_string()),
                };
                let result = match command {
                    Ok(Command::Request(request)) => {
                        match later.simulated.begin(&request, desk.token, line.reference.clone()) {
                            Ok(message) => {
                                self.awaits += 1;
                                desk.hub.handle_message(desk.link, &message, desk.now);
                                continue;
                            }
                            Err(problem) => Err(problem),
                        }
                    }
                    Ok(Command::Eval { worker, app, code }) => {
                        later.last_query += 1;
                        match desk.hub.evaluate(app.as_deref(), worker, later.last_query, &code) {
                            Ok(()) => {
                                self.awaits += 1;
                                later.evaluated.insert(later.last_query, (desk.token, line.reference));
                                continue;
                            }
                            Err(problem) => Err(problem.to_string()),
                        }
                    }
                    Ok(Command::Reload { app }) => match orders::reload(app.as_deref(), desk) {
                        Ok(apps) if desk.hub.is_stopping() => {
                            let each = |(_, app)| Loaded { app, outcome: Err(STOPPING.to_owned()) };
                            let loaded: Vec<_> = apps.into_iter().map(each).collect();
                            let text = console::reload_answer(line.reference.as_ref(), &loaded);
                            self.outbox.extend_from_slice(text.as_bytes());
                            continue;
                        }
                        Ok(apps) => {
                            self.awaits += 1;
                            later.reloads.wait(desk.token, line.reference, apps);
                            continue;
                        }
                        Err(problem) => Err(problem),
                    },
                    Ok(command) => orders::obey(command, desk),
                    Err(problem) => Err(problem),
                };
                self.outbox.extend_from_slice(console::answer(line.reference.as_ref(), result).as_bytes());
            }
        }
        self.inbox.drain(..begin);
        if self.inbox.len() > MAX_LINE && !self.has_line() {
            self.outbox
                .extend_from_slice(console::answer(None, Err(CommandError::TooLong.to_string())).as_bytes());
            self.inbox.clear();
            self.is_done = true;
        }
    }

    /// Writes what waits. `false`: all is said, or nobody listens.
    fn write(&mut self, poller: &OwnedFd, token: u64) -> bool {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(size) => drop(self.outbox.drain(..size)),
                Err(problem) if problem.kind() == ErrorKind::Interrupted => {}
                Err(problem) if problem.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let waits = !self.outbox.is_empty();
        let mut interest = EventFlags::empty();
        interest.set(EventFlags::OUT, waits);
        interest.set(EventFlags::IN, !self.is_done);
        if interest != self.interest {
            self.interest = interest;
            if epoll::modify(poller, self.stream.as_fd(), EventData::new_u64(token), interest).is_err() {
                return false;
            }
        }
        waits || !self.is_done || self.awaits > 0 || self.has_line()
    }
}
