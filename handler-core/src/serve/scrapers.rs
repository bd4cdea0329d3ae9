//! The socket of the metrics: a small HTTP server for those who collect them.
//!
//! It lives in the hub's own loop, so nothing of it may take long or pile up: a few clients at a time, the others wait in
//! the system's queue; a request of a few lines; one answer, then the end. A client that has not asked and read within
//! [`PATIENCE`] is let go. When all places are taken, clients that have not asked, and those of an address that has more
//! than its [share](SHARE), have only [`HURRY`]. All who ask within one turn get the same page.

use crate::metrics::CONTENT_TYPE;
use kennel_http::client_address::ClientAddress;
use rustc_hash::FxHashMap;
use rustix::event::epoll::{self, EventData, EventFlags};
use slab::Slab;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tracing::warn;

/// Clients at a time.
const CLIENTS: usize = 32;
/// Clients of one address, or of one /64 network of IPv6, that have all the time there is while all places are taken.
const SHARE: usize = CLIENTS / 2;
/// Bytes of a request.
const MAX_REQUEST: usize = 8 << 10;
/// From the beginning of a connection to its end.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for clients that keep others out.
const HURRY: Duration = Duration::from_secs(1);
/// After the answer is written, for the client to have it: a socket that is closed with something unread takes it back.
const FAREWELL: Duration = Duration::from_secs(1);
/// After the system had no room for a connection.
const PAUSE: Duration = Duration::from_secs(1);

/// The socket and those who are connected to it.
pub(super) struct Scrapers {
    listener: TcpListener,
    clients: Slab<Client>,
    /// Of the listener; the clients' come behind.
    token: u64,
    /// New clients are taken in.
    listens: bool,
    /// Until then none are.
    pause: Option<Instant>,
    /// This turn's page.
    page: Option<Rc<[u8]>>,
}

struct Client {
    stream: TcpStream,
    address: ClientAddress,
    state: State,
    began: Instant,
    /// When it has to go.
    due: Instant,
}

enum State {
    /// It has asked this so far.
    Asks(Vec<u8>),
    /// It gets head and body, of which so much is written.
    Reads { head: Vec<u8>, body: Rc<[u8]>, written: usize },
    /// It has its answer.
    Leaves,
}

/// What becomes of a client now.
#[derive(PartialEq)]
enum Next {
    /// It is waited for: until it has sent something.
    Read,
    /// Until there is room to write.
    Write,
    /// It goes.
    Close,
}

impl Scrapers {
    /// Takes a socket that listens. It uses `token` and as many behind it as there are clients.
    pub(super) fn new(listener: TcpListener, token: u64, poller: &OwnedFd) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        epoll::add(poller, &listener, EventData::new_u64(token), EventFlags::IN)?;
        Ok(Self { listener, clients: Slab::new(), token, listens: true, pause: None, page: None })
    }

    /// Something has happened at one of its sockets. `page` writes the metrics.
    pub(super) fn service(
        &mut self,
        token: u64,
        poller: &OwnedFd,
        now: Instant,
        page: impl FnOnce() -> String,
    ) {
        if token == self.token {
            self.accept(poller, now);
            return;
        }
        let key = (token - self.token - 1) as usize;
        let Some(client) = self.clients.get_mut(key) else { return };
        let shared = &mut self.page;
        let page = || Rc::clone(shared.get_or_insert_with(|| page().into_bytes().into()));
        let flags = match client.go_on(page, now) {
            Next::Read => EventFlags::IN,
            Next::Write => EventFlags::OUT,
            Next::Close => {
                self.clients.remove(key);
                return;
            }
        };
        if epoll::modify(poller, &client.stream, EventData::new_u64(token), flags).is_err() {
            self.clients.remove(key);
        }
    }

    /// Ends a turn: whoever's time is over goes, and others may come.
    pub(super) fn finish_turn(&mut self, poller: &OwnedFd, now: Instant) {
        self.page = None;
        if !self.clients.is_empty() {
            let due = self.dues();
            self.clients.retain(|key, _| due[&key] > now);
        }
        self.pause.take_if(|end| *end <= now);
        self.set_listening(self.clients.len() < CLIENTS && self.pause.is_none(), poller);
    }

    /// When somebody has to go, or others may come again.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.dues().into_values().chain(self.pause).min()
    }

    /// When each client has to go.
    fn dues(&self) -> FxHashMap<usize, Instant> {
        let is_full = self.clients.len() >= CLIENTS;
        let of = |address| self.clients.iter().filter(|(_, client)| client.address == address).count();
        let due = |(key, client): (usize, &Client)| {
            let hurries = is_full && (client.has_not_asked() || of(client.address) > SHARE);
            (key, if hurries { client.due.min(client.began + HURRY) } else { client.due })
        };
        self.clients.iter().map(due).collect()
    }

    /// A socket that nobody accepts from must not wake the loop.
    fn set_listening(&mut self, yes: bool, poller: &OwnedFd) {
        if yes == self.listens {
            return;
        }
        let flags = if yes { EventFlags::IN } else { EventFlags::empty() };
        match epoll::modify(poller, &self.listener, EventData::new_u64(self.token), flags) {
            Ok(()) => self.listens = yes,
            Err(problem) => warn!("the socket of the metrics cannot be watched: {problem}"),
        }
    }

    fn accept(&mut self, poller: &OwnedFd, now: Instant) {
        while self.clients.len() < CLIENTS {
            let (stream, address) = match self.listener.accept() {
                Ok((stream, peer)) => (stream, ClientAddress::of(peer.ip())),
                Err(problem) if problem.kind() == ErrorKind::WouldBlock => return,
                Err(problem) if problem.kind() == ErrorKind::ConnectionAborted => continue,
                Err(problem) => {
                    warn!("no connection for the metrics can be taken in for {PAUSE:?}: {problem}");
                    self.pause = Some(now + PAUSE);
                    return;
                }
            };
            let entry = self.clients.vacant_entry();
            let data = EventData::new_u64(self.token + 1 + entry.key() as u64);
            let prepared = stream
                .set_nonblocking(true)
                .and_then(|()| Ok(epoll::add(poller, &stream, data, EventFlags::IN)?));
            match prepared {
                Ok(()) => {
                    let state = State::Asks(Vec::new());
                    entry.insert(Client { stream, address, state, began: now, due: now + PATIENCE });
                }
                Err(problem) => warn!("a client of the metrics cannot be served: {problem}"),
            }
        }
    }
}

impl Client {
    fn has_not_asked(&self) -> bool {
        matches!(self.state, State::Asks(_))
    }

    /// Does what can be done.
    fn go_on(&mut self, page: impl FnOnce() -> Rc<[u8]>, now: Instant) -> Next {
        if let State::Asks(_) = self.state {
            match self.read_request() {
                Ok(Some(answer)) => {
                    let body = match answer {
                        Answer::Page | Answer::Head => page(),
                        _ => format!("{}\n", answer.status()).into_bytes().into(),
                    };
                    let head = answer.head(body.len());
                    let body = if answer == Answer::Head { Rc::from([]) } else { body };
                    self.state = State::Reads { head, body, written: 0 };
                }
                Ok(None) => return Next::Read,
                Err(_) => return Next::Close,
            }
        }
        if let State::Reads { .. } = self.state {
            match self.write_answer() {
                Ok(true) if self.stream.shutdown(Shutdown::Write).is_ok() => {
                    self.state = State::Leaves;
                    self.due = self.due.min(now + FAREWELL);
                }
                Ok(false) => return Next::Write,
                _ => return Next::Close,
            }
        }
        self.see_off()
    }

    /// The answer to what it asks, once that is whole.
    fn read_request(&mut self) -> io::Result<Option<Answer>> {
        let State::Asks(inbox) = &mut self.state else { return Ok(None) };
        let mut chunk = [0; 2048];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(size) => inbox.extend_from_slice(&chunk[..size]),
                Err(problem) if problem.kind() == ErrorKind::Interrupted => {}
                Err(problem) if problem.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(problem) => return Err(problem),
            }
            if let Some(answer) = Answer::to(inbox) {
                return Ok(Some(answer));
            }
        }
    }

    /// Writes what there is room for; whether that was the last of it.
    fn write_answer(&mut self) -> io::Result<bool> {
        let State::Reads { head, body, written } = &mut self.state else { return Ok(true) };
        loop {
            let rest = match written.checked_sub(head.len()) {
                None => &head[*written..],
                Some(of_body) => &body[of_body..],
            };
            if rest.is_empty() {
                return Ok(true);
            }
            match self.stream.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(size) => *written += size,
                Err(problem) if problem.kind() == ErrorKind::Interrupted => {}
                Err(problem) if problem.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(problem) => return Err(problem),
            }
        }
    }

    /// It has its answer; it goes when it has closed its side. One that only talks gets no more time for it than
    /// others, and not all of ours.
    fn see_off(&mut self) -> Next {
        let mut chunk = [0; 2048];
        match self.stream.read(&mut chunk) {
            Ok(0) => Next::Close,
            Ok(_) => Next::Read,
            Err(problem) if matches!(problem.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Next::Read
            }
            Err(_) => Next::Close,
        }
    }
}

/// What a request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The metrics.
    Page,
    /// What would come in front of them.
    Head,
    /// This is no HTTP.
    Bad,
    /// There is nothing of that name.
    NotFound,
    /// The metrics can only be read.
    NotAllowed,
    /// It has too many headers.
    TooLarge,
}

impl Answer {
    /// The answer to what was read so far, if that is enough for one.
    fn to(request: &[u8]) -> Option<Self> {
        let whole = memchr::memmem::find(request, b"\r\n\r\n").or(memchr::memmem::find(request, b"\n\n"));
        if whole.is_none() {
            return (request.len() > MAX_REQUEST).then_some(Self::TooLarge);
        }
        let line = request.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Some(Self::Bad);
        };
        if !version.starts_with(b"HTTP/1.") {
            return Some(Self::Bad);
        }
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        Some(match (path, method) {
            (b"/metrics", b"GET") => Self::Page,
            (b"/metrics", b"HEAD") => Self::Head,
            (b"/metrics", _) => Self::NotAllowed,
            _ => Self::NotFound,
        })
    }

    fn status(self) -> &'static str {
        match self {
            Self::Page | Self::Head => "200 OK",
            Self::Bad => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::NotAllowed => "405 Method Not Allowed",
            Self::TooLarge => "431 Request Header Fields Too Large",
        }
    }

    /// The head of an answer with so many bytes behind it.
    fn head(self, size: usize) -> Vec<u8> {
        let kind = match self {
            Self::Page | Self::Head => CONTENT_TYPE,
            _ => "text/plain; charset=utf-8",
        };
        let allow = if self == Self::NotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
        let status = self.status();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n{allow}Connection: close\r\n\r\n"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::buffer::spare_capacity;
    use rustix::event::Timespec;
    use rustix::net;
    use std::net::SocketAddr;

    /// The socket, a loop around it, and made-up time.
    struct Loop {
        scrapers: Scrapers,
        poller: OwnedFd,
        port: u16,
        now: Instant,
        pages: usize,
    }

    impl Loop {
        fn new() -> Self {
            let poller = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let scrapers = Scrapers::new(listener, 100, &poller).unwrap();
            Self { scrapers, poller, port, now: Instant::now(), pages: 0 }
        }

        fn connect(&self) -> TcpStream {
            TcpStream::connect(("127.0.0.1", self.port)).unwrap()
        }

        /// A client with the address 127.0.1.`host`.
        fn connect_from(&self, host: usize) -> TcpStream {
            let client = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None).unwrap();
            let host = u8::try_from(host).unwrap();
            net::bind(&client, &SocketAddr::from(([127, 0, 1, host], 0))).unwrap();
            net::connect(&client, &SocketAddr::from(([127, 0, 0, 1], self.port))).unwrap();
            client.into()
        }

        /// Turns of the loop until it has nothing to do, with a page of so many bytes.
        fn turn(&mut self, size: usize) {
            for _ in 0..1000 {
                let mut events = Vec::with_capacity(64);
                let moment = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
                epoll::wait(&self.poller, spare_capacity(&mut events), Some(&moment)).unwrap();
                for event in &events {
                    let pages = &mut self.pages;
                    let page = || {
                        *pages += 1;
                        "x".repeat(size)
                    };
                    self.scrapers.service(event.data.u64(), &self.poller, self.now, page);
                }
                self.scrapers.finish_turn(&self.poller, self.now);
                if events.is_empty() {
                    return;
                }
            }
            panic!("the loop spins");
        }
    }

    #[test]
    fn who_asks_and_does_not_read_goes_when_its_time_is_over() {
        let mut site = Loop::new();
        let mut client = site.connect();
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        site.turn(64 << 20);
        assert_eq!(site.scrapers.clients.len(), 1, "it has not read all");
        assert_eq!(site.scrapers.next_timeout(), Some(site.now + PATIENCE));
        site.now += PATIENCE;
        site.turn(0);
        assert_eq!((site.scrapers.clients.len(), site.scrapers.next_timeout()), (0, None));
    }

    /// Fills all places with clients of several addresses.
    fn filled() -> (Loop, Vec<TcpStream>) {
        let mut site = Loop::new();
        let clients: Vec<_> = (0..CLIENTS).map(|n| site.connect_from(1 + n / SHARE)).collect();
        site.turn(1);
        assert_eq!((site.scrapers.clients.len(), site.scrapers.listens), (CLIENTS, false));
        (site, clients)
    }

    fn ask(client: &mut TcpStream) {
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    }

    #[test]
    fn clients_that_do_not_fit_wait_without_waking_the_loop() {
        let (mut site, mut clients) = filled();
        clients.iter_mut().for_each(ask);
        site.turn(64 << 20);
        let newcomer = site.connect();
        site.turn(1);
        assert_eq!((site.scrapers.clients.len(), site.scrapers.listens), (CLIENTS, false));
        assert_eq!(site.scrapers.next_timeout(), Some(site.now + PATIENCE));
        site.now += PATIENCE;
        site.turn(1);
        site.turn(1);
        assert_eq!(site.scrapers.clients.len(), 1, "it is the turn of the one that waited");
        drop(newcomer);
    }

    #[test]
    fn clients_that_do_not_ask_give_way_when_all_places_are_taken() {
        let (mut site, mut clients) = filled();
        ask(&mut clients[0]);
        site.turn(64 << 20);
        let newcomer = site.connect();
        assert_eq!(site.scrapers.next_timeout(), Some(site.now + HURRY));
        site.now += HURRY;
        site.turn(1);
        site.turn(1);
        assert_eq!(site.scrapers.clients.len(), 2, "one that reads, and the one that waited");
        drop(newcomer);
    }

    #[test]
    fn an_address_that_has_more_than_its_share_gives_way() {
        let mut site = Loop::new();
        let mut greedy: Vec<_> = (0..CLIENTS - 1).map(|_| site.connect_from(1)).collect();
        let mut other = site.connect_from(2);
        greedy.iter_mut().chain([&mut other]).for_each(ask);
        site.turn(64 << 20);
        assert_eq!(site.scrapers.clients.len(), CLIENTS);
        site.now += HURRY;
        site.turn(1);
        assert_eq!(site.scrapers.clients.len(), 1, "the other one reads on");
    }

    #[test]
    fn who_asks_in_the_same_turn_gets_the_same_page() {
        let mut site = Loop::new();
        let mut clients: Vec<_> = (0..10).map(|_| site.connect()).collect();
        site.turn(100);
        for client in &mut clients {
            client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        }
        site.turn(100);
        for mut client in clients {
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert!(answer.ends_with(&[b'x'; 100]), "{}", answer.escape_ascii());
        }
        assert!((1..10).contains(&site.pages), "{}", site.pages);
        site.turn(100);
        assert!(site.scrapers.clients.is_empty());
    }

    #[test]
    fn only_the_metrics_are_there_and_only_to_be_read() {
        let cases: &[(&[u8], Answer)] = &[
            (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Answer::Page),
            (b"GET /metrics?name=x HTTP/1.0\r\n\r\n", Answer::Page),
            (b"HEAD /metrics HTTP/1.1\r\n\r\n", Answer::Head),
            (b"GET /metrics HTTP/1.1\n\n", Answer::Page),
            (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", Answer::NotAllowed),
            (b"GET / HTTP/1.1\r\n\r\n", Answer::NotFound),
            (b"GET /metrics/ HTTP/1.1\r\n\r\n", Answer::NotFound),
            (b"GET /metrics\r\n\r\n", Answer::Bad),
            (b"GET /metrics HTTP/2\r\n\r\n", Answer::Bad),
            (b"\r\n\r\n", Answer::Bad),
            (b"\x16\x03\x01\n\n", Answer::Bad),
        ];
        for (request, answer) in cases {
            assert_eq!(Answer::to(request), Some(*answer), "{}", request.escape_ascii());
        }
    }

    #[test]
    fn half_a_request_waits_until_it_is_too_long() {
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        for end in 0..request.len() {
            assert_eq!(Answer::to(&request[..end]), None, "{end}");
        }
        assert_eq!(Answer::to(&vec![b'x'; MAX_REQUEST]), None);
        assert_eq!(Answer::to(&vec![b'x'; MAX_REQUEST + 1]), Some(Answer::TooLarge));
    }

    #[test]
    fn an_answer_says_its_size_and_that_it_is_the_last() {
        let head = String::from_utf8(Answer::NotAllowed.head(7)).unwrap();
        assert!(head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{head}");
        for part in ["Content-Length: 7\r\n", "Allow: GET, HEAD\r\n", "Connection: close\r\n\r\n"] {
            assert!(head.contains(part), "{head}");
        }
    }
}
