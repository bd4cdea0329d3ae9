//! Several Mongrel2 Handlers at once: connect, receive, send, notice their end, connect again.
//!
//! For each a pair of connections. First one as XPUB to `recv_spec`; when Mongrel2's subscription has
//! arrived through it, replies are heard, and only then one as PULL to `send_spec`, which
//! brings requests. When either ends, the server is gone and both are thrown away with all that
//! is in them: the next pair belongs to another run of the server, whose numbers mean other clients.

use super::connection::{Connection, Lost};
use super::names::{Found, Names, Resolver};
use mongrel2_wire::address::Address;
use mongrel2_wire::zmtp::Role;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracing::{debug, warn};

/// Where one Mongrel2 Handler is: its two addresses as in Mongrel2's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Mongrel2's PUSH: requests come from here.
    pub send_spec: Address,
    /// Mongrel2's SUB: replies go there.
    pub recv_spec: Address,
    /// The subscription that is expected, when known.
    pub recv_ident: Option<String>,
    /// Where its `upload.temp_store` puts bodies: the folder as seen from here, absolute.
    pub upload_store: Option<PathBuf>,
    /// Its control port, when known.
    pub control_port: Option<Address>,
    /// All requests of its server come to this handler.
    pub is_sole: bool,
    /// How many connections its server holds without harm, when known.
    pub places: Option<usize>,
}

/// What happened at a link.
#[derive(Debug)]
pub enum Event<'a> {
    /// Mongrel2 listens for replies; its subscription.
    Up(&'a [u8]),
    /// Mongrel2 is gone, and everything on its way to it.
    Down,
    /// A message.
    Message(&'a [u8]),
}

/// A message was not taken: the server is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// What has passed at one link since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Messages from the server.
    pub received: u64,
    /// Their bytes, without ZeroMQ's frames.
    pub received_bytes: u64,
    /// Messages to the server, taken for sending.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Messages that were dropped, since the server was gone.
    pub dropped: u64,
    /// How often the server came: began to listen.
    pub arrivals: u64,
}

#[derive(Debug)]
struct Link {
    endpoint: Endpoint,
    passed: Passed,
    publisher: Option<Connection>,
    puller: Option<Connection>,
    /// The subscription was seen.
    up: bool,
    /// When to connect, or to give up what has not become a connection.
    due: Option<Instant>,
    /// The next attempt waits for a resolver.
    waits_for_name: bool,
    /// Where the server's PUSH is, as the attempt under way found it.
    puller_at: Option<SocketAddr>,
    /// Attempts since the server was last reached.
    attempts: usize,
    /// The last problem that was told, so that it is told once.
    told: String,
}

/// The connections to all servers.
#[derive(Debug)]
pub struct Mongrel2s {
    links: Vec<Link>,
    names: Names,
    base: u64,
    /// Nothing more is received.
    closing: bool,
}

impl Mongrel2s {
    /// Between the first two attempts to reach a server that is not there; doubled with each further one.
    const RECONNECT: Duration = Duration::from_millis(20);
    /// The longest pause between two attempts.
    const RECONNECT_MAX: Duration = Duration::from_secs(1);
    /// The same for a server on this machine, where an attempt costs nothing and clients wait for the server's return.
    const RECONNECT_LOCAL_MAX: Duration = Duration::from_millis(100);
    /// A peer that has not said all it must by then is given up.
    const HANDSHAKE: Duration = Duration::from_secs(5);
    /// Tokens that a link takes.
    const TOKENS: u64 = 2;

    /// Prepares a link for each endpoint; [`connect`](Self::connect) makes the connections. Tokens begin at `base`, two
    /// for each link. `resolver` looks host names up, in threads of its own.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor left.
    pub fn new(endpoints: Vec<Endpoint>, base: u64, resolver: Resolver, now: Instant) -> io::Result<Self> {
        let link = |endpoint| Link {
            endpoint,
            passed: Passed::default(),
            publisher: None,
            puller: None,
            up: false,
            due: Some(now),
            waits_for_name: false,
            puller_at: None,
            attempts: 0,
            told: String::new(),
        };
        let links = endpoints.into_iter().map(link).collect();
        Ok(Self { links, names: Names::new(resolver)?, base, closing: false })
    }

    /// Readable when [`take_names`](Self::take_names) has something to do.
    pub fn names(&self) -> BorrowedFd<'_> {
        self.names.descriptor()
    }

    /// Learns what resolvers have answered. Attempts that waited for that are due now.
    pub fn take_names(&mut self, now: Instant) {
        self.names.take_answers();
        for link in &mut self.links {
            if std::mem::take(&mut link.waits_for_name) {
                link.due = Some(now);
            }
        }
    }

    /// The endpoints, in order.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.links.iter().map(|link| &link.endpoint)
    }

    /// What has passed at this server's link.
    pub fn passed(&self, link: usize) -> Passed {
        self.links[link].passed
    }

    /// Bytes that wait because the system does not take them yet.
    pub fn unsent(&self, link: usize) -> usize {
        self.links[link].publisher.as_ref().map_or(0, Connection::unsent)
    }

    /// The server's process, if it is on this machine and its handler's address is a Unix socket.
    pub fn process(&self, link: usize) -> Option<u32> {
        self.links[link].publisher.as_ref().and_then(Connection::peer)
    }

    /// Whether every server listens and is listened to.
    pub fn all_up(&self) -> bool {
        self.links.iter().all(Link::is_complete)
    }

    /// Whether this server listens and is listened to.
    pub fn is_up(&self, link: usize) -> bool {
        self.links[link].is_complete()
    }

    /// Makes the connections that are due. `sink` hears of servers that did not complete theirs in time.
    pub fn connect(&mut self, poller: &OwnedFd, now: Instant, mut sink: impl FnMut(usize)) {
        if self.closing {
            return;
        }
        for (number, link) in self.links.iter_mut().enumerate() {
            if link.due.is_none_or(|due| due > now) {
                continue;
            }
            if link.publisher.is_some() {
                // An attempt that is still under way has had its time. The next one goes to the name's next address.
                let was_up = link.up;
                link.failed(&Lost::Silent(Self::HANDSHAKE), now);
                if was_up {
                    sink(number);
                }
                continue;
            }
            let token = self.base + number as u64 * Self::TOKENS;
            if let Err(problem) = link.connect(&mut self.names, poller, token, now) {
                link.failed(&problem, now);
            }
        }
    }

    /// When [`connect`](Self::connect) has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.links.iter().filter_map(|link| link.due).min().filter(|_| !self.closing)
    }

    /// Does what can be done at a token's socket. `sink` gets what happened, in order.
    pub fn service(
        &mut self,
        poller: &OwnedFd,
        token: u64,
        now: Instant,
        mut sink: impl FnMut(usize, Event<'_>),
    ) {
        let number = ((token - self.base) / Self::TOKENS) as usize;
        let Some(link) = self.links.get_mut(number) else { return };
        let result = if (token - self.base).is_multiple_of(Self::TOKENS) {
            link.service_publisher(poller, token, now, |event| sink(number, event))
        } else {
            link.service_puller(poller, |event| sink(number, event))
        };
        if let Err(problem) = result {
            let was_up = link.up;
            link.failed(&problem, now);
            if was_up {
                sink(number, Event::Down);
            }
        }
    }

    /// Keeps one message to be sent by [`flush`](Self::flush). How many bytes may wait is the caller's care, see
    /// [`unsent`](Self::unsent).
    ///
    /// # Errors
    ///
    /// [`Gone`] when the server is gone.
    #[inline]
    pub fn send(&mut self, link: usize, message: &[u8]) -> Result<(), Gone> {
        let link = &mut self.links[link];
        let Some(publisher) = link.publisher.as_mut().filter(|_| link.up) else {
            link.passed.dropped += 1;
            return Err(Gone);
        };
        link.passed.sent += 1;
        link.passed.sent_bytes += message.len() as u64;
        publisher.push(message);
        Ok(())
    }

    /// Writes what was kept, in one piece for each server. `sink` hears of servers that are gone.
    pub fn flush(&mut self, poller: &OwnedFd, now: Instant, mut sink: impl FnMut(usize)) {
        for (number, link) in self.links.iter_mut().enumerate() {
            let Some(publisher) = link.publisher.as_mut().filter(|p| link.up && p.unsent() > 0) else {
                continue;
            };
            if let Err(problem) = publisher.write(poller) {
                link.failed(&problem, now);
                sink(number);
            }
        }
    }

    /// Takes no further messages than those that have arrived, which `sink` gets now.
    pub fn stop_receiving(&mut self, mut sink: impl FnMut(usize, &[u8])) {
        self.closing = true;
        for (number, link) in self.links.iter_mut().enumerate() {
            if let Some(mut puller) = link.puller.take() {
                puller.read_rest(|message| {
                    link.passed.take(message);
                    sink(number, message);
                });
            }
        }
    }

    /// Writes what is left, at most for `patience`, and ends all connections.
    pub fn close(mut self, poller: &OwnedFd, patience: Duration) {
        let deadline = Instant::now() + patience;
        for link in &mut self.links {
            if let Some(publisher) = link.publisher.as_mut().filter(|_| link.up) {
                publisher.write_rest(poller, deadline);
            }
        }
    }
}

impl Passed {
    #[inline]
    fn take(&mut self, message: &[u8]) {
        self.received += 1;
        self.received_bytes += message.len() as u64;
    }
}

impl Link {
    /// Makes an attempt, once it is known where.
    fn connect(&mut self, names: &mut Names, poller: &OwnedFd, token: u64, now: Instant) -> Result<(), Lost> {
        let mut find = |address| names.find(address, self.attempts, now);
        let (replies, requests) = (find(&self.endpoint.recv_spec)?, find(&self.endpoint.send_spec)?);
        let (Found::Here(publisher_at), Found::Here(puller_at)) = (replies, requests) else {
            self.waits_for_name = true;
            self.due = None;
            return Ok(());
        };
        self.puller_at = puller_at;
        self.publisher =
            Some(Connection::open(&self.endpoint.recv_spec, publisher_at, Role::Xpub, poller, token)?);
        self.due = Some(now + Mongrel2s::HANDSHAKE);
        Ok(())
    }

    /// The pause behind an attempt, which grows with each.
    fn pause(&mut self) -> Duration {
        let max = match self.endpoint.recv_spec.is_local() {
            true => Mongrel2s::RECONNECT_LOCAL_MAX,
            false => Mongrel2s::RECONNECT_MAX,
        };
        let pause = Mongrel2s::RECONNECT * (1 << self.attempts.min(10));
        self.attempts += 1;
        pause.min(max)
    }

    fn is_complete(&self) -> bool {
        self.up && self.puller.as_ref().is_some_and(Connection::is_open)
    }

    fn service_publisher(
        &mut self,
        poller: &OwnedFd,
        token: u64,
        now: Instant,
        mut sink: impl FnMut(Event<'_>),
    ) -> Result<(), Lost> {
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        let mut subscribed = None;
        let mut unsubscribed = false;
        publisher.read(|message| match message.split_first() {
            Some((1, topic)) => subscribed = Some(topic.to_vec()),
            Some((0, _)) => unsubscribed = true,
            _ => {}
        })?;
        publisher.write(poller)?;
        if unsubscribed {
            return Err(Lost::Closed);
        }
        if let (Some(topic), false) = (subscribed, self.up) {
            if let Some(expected) = self.endpoint.recv_ident.as_ref().filter(|e| e.as_bytes() != topic) {
                warn!(
                    "{}: recv_ident is `{}`, expected `{expected}`",
                    self.endpoint.recv_spec,
                    topic.escape_ascii()
                );
            }
            self.puller = Some(Connection::open(
                &self.endpoint.send_spec,
                self.puller_at,
                Role::Pull,
                poller,
                token + 1,
            )?);
            self.up = true;
            self.passed.arrivals += 1;
            self.due = Some(now + Mongrel2s::HANDSHAKE);
            sink(Event::Up(&topic));
        }
        Ok(())
    }

    fn service_puller(&mut self, poller: &OwnedFd, mut sink: impl FnMut(Event<'_>)) -> Result<(), Lost> {
        let Some(puller) = &mut self.puller else { return Ok(()) };
        let passed = &mut self.passed;
        puller.read(|message| {
            passed.take(message);
            sink(Event::Message(message));
        })?;
        puller.write(poller)?;
        if self.due.is_some() && puller.is_open() {
            self.due = None;
            self.attempts = 0;
            self.told.clear();
        }
        Ok(())
    }

    /// Throws the connections away; the next attempt follows soon.
    fn failed(&mut self, problem: &Lost, now: Instant) {
        self.up = false;
        self.publisher = None;
        self.puller = None;
        self.due = Some(now + self.pause());
        let text = problem.to_string();
        if text == self.told {
            return;
        }
        let (requests, replies) = (&self.endpoint.send_spec, &self.endpoint.recv_spec);
        // A server that is not there is nothing strange; one that speaks in tongues is.
        match problem {
            Lost::Protocol(_) => warn!("no mongrel2 at {requests} and {replies}: {text}"),
            Lost::Closed | Lost::Silent(_) | Lost::System(_) => {
                debug!("no mongrel2 at {requests} and {replies}: {text}")
            }
        }
        self.told = text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::buffer::spare_capacity;
    use rustix::event::{Timespec, epoll};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Mutex};

    fn endpoint(send_spec: &str, recv_spec: &str) -> Endpoint {
        Endpoint {
            send_spec: send_spec.parse().unwrap(),
            recv_spec: recv_spec.parse().unwrap(),
            recv_ident: None,
            upload_store: None,
            control_port: None,
            is_sole: false,
            places: None,
        }
    }

    /// The healthy server is a Unix socket, the other one has a name whose resolver takes as long as the test wants.
    #[test]
    fn a_name_that_is_looked_up_slowly_delays_no_other_server() {
        let folder = std::env::temp_dir().join(format!("kennel-names-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("replies");
        let healthy = UnixListener::bind(&path).unwrap();
        healthy.set_nonblocking(true).unwrap();
        let far = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = far.local_addr().unwrap().port();
        let (go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let resolver: Resolver = Arc::new(move |host| {
            assert_eq!(host, "slow.example");
            wait.lock().unwrap().recv().unwrap();
            Ok(vec![([127, 0, 0, 1], 0).into()])
        });
        let ipc = format!("ipc://{}", path.display());
        let tcp = format!("tcp://slow.example:{port}");
        let endpoints = vec![endpoint(&tcp, &tcp), endpoint(&ipc, &ipc)];
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let began = Instant::now();
        let mut servers = Mongrel2s::new(endpoints, 8, resolver, began).unwrap();
        epoll::add(&poller, servers.names(), epoll::EventData::new_u64(1), epoll::EventFlags::IN).unwrap();
        servers.connect(&poller, began, |_| {});
        assert!(healthy.accept().is_ok(), "the healthy server is connected to at once");
        assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
        // No attempt of the other one is due before the resolver has answered.
        assert!(servers.links[0].publisher.is_none() && servers.links[0].due.is_none());
        go.send(()).unwrap();
        let mut events = Vec::with_capacity(8);
        let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
        while !events.iter().any(|event: &epoll::Event| event.data.u64() == 1) {
            events.clear();
            epoll::wait(&poller, spare_capacity(&mut events), Some(&patience)).unwrap();
        }
        let now = Instant::now();
        servers.take_names(now);
        servers.connect(&poller, now, |_| {});
        far.accept().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// The first address of a name takes connections and says nothing.
    #[test]
    fn behind_an_address_that_is_silent_the_next_one_of_the_name_is_tried() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let other = TcpListener::bind(("127.0.0.2", port)).unwrap();
        other.set_nonblocking(true).unwrap();
        let spec = format!("tcp://127.0.0.1:{port}");
        let resolver: Resolver =
            Arc::new(|_| Ok(vec![([127, 0, 0, 1], 0).into(), ([127, 0, 0, 2], 0).into()]));
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut now = Instant::now();
        let spec = spec.replace("127.0.0.1", "db.example");
        let mut servers = Mongrel2s::new(vec![endpoint(&spec, &spec)], 8, resolver, now).unwrap();
        epoll::add(&poller, servers.names(), epoll::EventData::new_u64(1), epoll::EventFlags::IN).unwrap();
        servers.connect(&poller, now, |_| {});
        let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
        epoll::wait(&poller, spare_capacity(&mut Vec::with_capacity(8)), Some(&patience)).unwrap();
        servers.take_names(now);
        servers.connect(&poller, now, |_| {});
        silent.accept().unwrap();
        for _ in 0..2 {
            // The attempt has had its time, and then the pause.
            now = servers.next_timeout().unwrap();
            servers.connect(&poller, now, |_| {});
        }
        assert!(other.accept().is_ok());
    }

    #[test]
    fn attempts_become_rarer_and_a_server_of_this_machine_is_found_within_100_ms() {
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let resolver: Resolver = Arc::new(|_| Err(io::ErrorKind::NotFound.into()));
        let pauses = |spec: &str| {
            let mut now = Instant::now();
            let endpoints = vec![endpoint(spec, spec)];
            let mut servers = Mongrel2s::new(endpoints, 8, Arc::clone(&resolver), now).unwrap();
            let mut pauses = Vec::new();
            for _ in 0..9 {
                servers.links[0].failed(&Lost::Closed, now);
                let due = servers.next_timeout().unwrap();
                pauses.push((due - now).as_millis());
                now = due;
            }
            servers.connect(&poller, now, |_| {});
            pauses
        };
        assert_eq!(pauses("ipc:///nowhere/at/all"), [20, 40, 80, 100, 100, 100, 100, 100, 100]);
        assert_eq!(pauses("tcp://db.example:1"), [20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
    }
}
