//! The sockets of the console: lines in, answers out.
//!
//! Whoever may open the socket may do everything, so its file is the operator's own. What is asked for is done between two turns of
//! the loop, at once; a client that does not read its answers is let go before they fill the memory.

use super::numbers::{self, Turns};
use super::seats::Seats;
use super::simulated::Simulated;
use super::{App, Observer};
use crate::console::{self, Command, CommandError, MAX_LINE};
use crate::hub::{Hub, LinkId};
use crate::metrics;
use crate::transport::Mongrel2s;
use rustc_hash::FxHashMap;
use rustix::event::epoll::{self, EventData, EventFlags};
use serde_json::{Value, json};
use slab::Slab;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Clients at a time.
const CLIENTS: usize = 64;
/// Bytes of answers that may wait for a client.
const UNREAD: usize = 16 << 20;
/// When nobody can be taken in, nobody is for so long.
const PAUSE: Duration = Duration::from_secs(1);
const READ_SIZE: usize = 64 << 10;
/// So often in one turn of the loop.
const READS: usize = 4;

/// Everything that commands may need.
pub(super) struct Desk<'a> {
    pub hub: &'a mut Hub,
    pub seats: &'a Seats,
    pub apps: &'a [App],
    pub servers: &'a Mongrel2s,
    pub turns: &'a Turns,
    pub observer: &'a mut dyn Observer,
    /// The link of made-up requests.
    pub link: LinkId,
    /// Who asks: what was begun to be watched is told to them.
    pub token: u64,
    pub started: Instant,
    pub now: Instant,
}

/// The socket and those who are connected to it.
pub(super) struct Console {
    listener: UnixListener,
    clients: Slab<Client>,
    later: Later,
    /// Clients for whom there is something that was not written yet.
    answered: Vec<u64>,
    /// Of the listener; the clients' come behind.
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
}

impl Later {
    fn forget(&mut self, token: u64) {
        self.simulated.forget(token);
        self.evaluated.retain(|_, (asker, _)| *asker != token);
    }
}

struct Client {
    stream: UnixStream,
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
    /// Takes a socket that listens. It uses `token` and as many behind it as there are clients.
    pub(super) fn new(listener: UnixListener, token: u64, poller: &OwnedFd) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        epoll::add(poller, &listener, EventData::new_u64(token), EventFlags::IN)?;
        let (clients, later) = (Slab::new(), Later::default());
        Ok(Self { listener, clients, later, answered: Vec::new(), token, pause: None })
    }

    /// Something has happened at one of its sockets.
    pub(super) fn service(&mut self, token: u64, poller: &OwnedFd, desk: &mut Desk<'_>) {
        if token == self.token {
            self.accept(poller, desk.now);
            return;
        }
        let key = (token - self.token - 1) as usize;
        let Some(client) = self.clients.get_mut(key) else { return };
        let alive = client.read(desk, &mut self.later) && client.write(poller, token);
        if !alive {
            self.remove(key, desk.hub);
        }
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

    fn answer(&mut self, token: u64, reference: Option<&Value>, answer: Result<Value, String>) {
        if let Some(client) = self.clients.get_mut((token - self.token - 1) as usize) {
            client.awaits -= 1;
            client.outbox.extend_from_slice(console::answer(reference, answer).as_bytes());
            self.answered.push(token);
        }
    }

    /// Ends a turn: shows what has passed to those who watch, and lets others come again.
    pub(super) fn finish_turn(&mut self, hub: &mut Hub, poller: &OwnedFd, now: Instant) {
        if self.pause.take_if(|end| *end <= now).is_some() {
            self.set_listening(true, poller);
        }
        let mut touched = std::mem::take(&mut self.answered);
        let (clients, base) = (&mut self.clients, self.token + 1);
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

    /// When others may come again.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.pause
    }

    fn set_listening(&self, yes: bool, poller: &OwnedFd) {
        let flags = if yes { EventFlags::IN } else { EventFlags::empty() };
        if let Err(problem) = epoll::modify(poller, &self.listener, EventData::new_u64(self.token), flags) {
            warn!("the console's socket cannot be watched: {problem}");
        }
    }

    /// Closing it takes it off the poller.
    fn remove(&mut self, key: usize, hub: &mut Hub) {
        hub.untap(self.token + 1 + key as u64);
        self.later.forget(self.token + 1 + key as u64);
        self.clients.remove(key);
    }

    fn accept(&mut self, poller: &OwnedFd, now: Instant) {
        loop {
            let mut stream = match self.listener.accept() {
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
            if self.clients.len() >= CLIENTS {
                let line = console::answer(None, Err(format!("{CLIENTS} consoles are open, no more fit")));
                let _ = stream.write_all(line.as_bytes());
                continue;
            }
            let entry = self.clients.vacant_entry();
            let data = EventData::new_u64(self.token + 1 + entry.key() as u64);
            let prepared = stream
                .set_nonblocking(true)
                .and_then(|()| Ok(epoll::add(poller, &stream, data, EventFlags::IN)?));
            match prepared {
                Ok(()) => {
                    entry.insert(Client {
                        stream,
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
    /// Shows what has passed, or counts it when much is unread.
    fn show(&mut self, event: &Value) {
        if self.outbox.len() > UNREAD / 16 {
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
        let mut chunk = vec![0; READ_SIZE];
        // The rest is read in the next turns: others have something to say, too.
        for _ in 0..READS {
            if self.is_done || self.outbox.len() > UNREAD {
                break;
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => self.is_done = true,
                Ok(size) => self.inbox.extend_from_slice(&chunk[..size]),
                Err(problem) if problem.kind() == ErrorKind::Interrupted => {}
                Err(problem) if problem.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
            if !self.obey_lines(desk, later) {
                return true;
            }
        }
        self.outbox.len() <= UNREAD
    }

    /// `false`: it says nothing more that counts.
    fn obey_lines(&mut self, desk: &mut Desk<'_>, later: &mut Later) -> bool {
        let mut begin = 0;
        while let Some(length) = memchr::memchr(b'\n', &self.inbox[begin..]) {
            let line = self.inbox[begin..begin + length].trim_ascii();
            begin += length + 1;
            if !line.is_empty() {
                let line = console::read_line(line);
                let result = match line.command {
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
                    Ok(command) => obey(command, desk),
                    Err(problem) => Err(problem.to_string()),
                };
                self.outbox.extend_from_slice(console::answer(line.reference.as_ref(), result).as_bytes());
            }
        }
        self.inbox.drain(..begin);
        if self.inbox.len() > MAX_LINE {
            self.outbox
                .extend_from_slice(console::answer(None, Err(CommandError::TooLong.to_string())).as_bytes());
            self.inbox.clear();
            self.is_done = true;
        }
        !self.is_done
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
        waits || !self.is_done || self.awaits > 0
    }
}

/// Does what was asked for.
fn obey(command: Command, desk: &mut Desk<'_>) -> Result<Value, String> {
    let now = desk.now;
    let hub = &mut *desk.hub;
    let value = |value: Result<Value, serde_json::Error>| value.map_err(|problem| problem.to_string());
    let done = |result: Result<(), crate::hub::OperateError>| match result {
        Ok(()) => Ok(Value::Null),
        Err(problem) => Err(problem.to_string()),
    };
    match command {
        Command::Help { about } => console::help(about.as_deref()).map_err(|problem| problem.to_string()),
        Command::Status => {
            let (waiting, requests) = hub.load();
            Ok(json!({
                "process": std::process::id(),
                "version": env!("CARGO_PKG_VERSION"),
                "uptime": now.saturating_duration_since(desk.started).as_secs(),
                "connections_waiting": waiting,
                "requests_unanswered": requests,
                "live_connections": hub.live(),
                "counters": hub.counters(),
            }))
        }
        Command::Connections(filter) => value(serde_json::to_value(hub.list_connections(&filter, now))),
        Command::Connection { id } => match hub.connection_story(&id, now) {
            Some(story) => value(serde_json::to_value(story)),
            None => Err(format!("no live connection is called `{id}`; `connections` lists them")),
        },
        Command::Rooms => value(serde_json::to_value(hub.list_rooms())),
        Command::Workers => {
            let mut workers = hub.list_workers(now);
            for (id, view) in &mut workers {
                view.process = desk.seats.process(*id);
            }
            let views: Vec<_> = workers.into_iter().map(|(_, view)| view).collect();
            value(serde_json::to_value(views))
        }
        Command::Queues => value(serde_json::to_value(hub.list_queues())),
        Command::Metrics { name } => {
            let families = numbers::gather(hub, desk.servers, desk.turns);
            Ok(metrics::rows(&families, name.as_deref().unwrap_or_default()))
        }
        Command::Limits => {
            let limits = hub.limits().described();
            let each = |(name, value, means): (&str, String, &str)| json!({ "limit": name, "value": value, "means": means });
            Ok(limits.into_iter().map(each).collect())
        }
        Command::Send { id, text } => done(hub.send_to(&id, &text, now)),
        Command::Broadcast { room, text } => {
            Ok(json!({ "recipients": hub.broadcast(room.as_deref(), &text, now) }))
        }
        Command::Close { id, code, reason } => done(hub.close_by_name(&id, code, &reason, now)),
        Command::Kick { id } => done(hub.kick(&id, now)),
        Command::Reload { app } => {
            let named = |at: &usize| app.as_ref().is_none_or(|app| desk.apps[*at].spec.name == *app);
            let chosen: Vec<_> = (0..desk.apps.len()).filter(named).collect();
            if chosen.is_empty() {
                let names: Vec<_> = desk.apps.iter().map(|app| format!("`{}`", app.spec.name)).collect();
                return Err(format!("there is no such app; there is {}", names.join(", ")));
            }
            info!("loading the newest code, as the console asked");
            for app in hub.app_ids().filter(|app| chosen.contains(&usize::from(app.0))) {
                hub.load_app(app, now);
            }
            Ok(Value::Null)
        }
        Command::Tail(filter) => done(hub.tap(desk.token, filter)),
        Command::Quiet => {
            hub.untap(desk.token);
            Ok(Value::Null)
        }
        Command::Message { id, text } => done(hub.simulate_message(&id, &text, now)),
        Command::Request(_) | Command::Eval { .. } => unreachable!("their answers come later"),
        Command::Log { level } => {
            desk.observer.set_log_level(level);
            Ok(Value::Null)
        }
        Command::Drain(name) => done(hub.drain_worker(name.app.as_deref(), name.worker, now)),
    }
}
