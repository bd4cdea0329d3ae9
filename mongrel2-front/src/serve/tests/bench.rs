//! A server with a configuration of its own, a handler on libzmq, and real clients.

use super::super::Options;
use super::super::server::Server;
use super::super::signals::{Senders, Signals};
use mongrel2_conf::model::{Config, Dir, Handler, Host, Protocol, Route, Target};
use mongrel2_conf::{model, store};
use mongrel2_wire::{Envelope, HeaderError, Values};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A message that the handler received.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) sender: String,
    pub(super) id: i64,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Message {
    fn parse(bytes: &[u8]) -> Self {
        let envelope = Envelope::parse(bytes).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let header = |header: Result<(&[u8], Values<'_>), HeaderError>| {
            let (name, values) = header.unwrap();
            (text(name), values.first().map(|value| text(&value.bytes())).unwrap_or_default())
        };
        Self {
            sender: envelope.sender.to_owned(),
            id: envelope.conn_id,
            path: text(envelope.path),
            headers: envelope.headers.iter().map(header).collect(),
            body: envelope.body.to_vec(),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// A notice that the client is gone.
    pub(super) fn is_disconnect(&self) -> bool {
        self.path == "@*" && self.body == br#"{"type":"disconnect"}"#
    }
}

/// A handler with both of its sockets.
pub(super) struct Peer {
    requests: zmq::Socket,
    replies: zmq::Socket,
}

impl Peer {
    /// Connects, and waits until the server listens to it.
    fn connect(folder: &Path, name: &str) -> Self {
        let context = zmq::Context::new();
        let replies = context.socket(zmq::XPUB).unwrap();
        replies.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
        replies.set_sndhwm(0).unwrap();
        replies.connect(&address(folder, name, "recv")).unwrap();
        replies.recv_bytes(0).expect("the server subscribes");
        let requests = context.socket(zmq::PULL).unwrap();
        requests.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
        requests.connect(&address(folder, name, "send")).unwrap();
        Self { requests, replies }
    }

    /// The next message.
    pub(super) fn next(&self) -> Message {
        Message::parse(&self.requests.recv_bytes(0).expect("a message arrives"))
    }

    pub(super) fn reply(&self, to: &Message, payload: &[u8]) {
        let id = to.id.to_string();
        let mut reply = format!("{} {}:{id}, ", to.sender, id.len()).into_bytes();
        reply.extend_from_slice(payload);
        self.replies.send(reply, 0).unwrap();
    }

    /// Sends a whole response.
    pub(super) fn respond(&self, to: &Message, body: &[u8]) {
        let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        response.extend_from_slice(body);
        self.reply(to, &response);
    }
}

fn address(folder: &Path, name: &str, kind: &str) -> String {
    format!("ipc://{}/{name}-{kind}", folder.display())
}

pub(super) struct Bench {
    pub(super) folder: PathBuf,
    pub(super) port: u16,
    config: Config,
    senders: Senders,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Bench {
    /// A server with a handler at `/`, a folder at `/files/`, and these settings.
    pub(super) fn new(settings: &[(&str, &str)]) -> Self {
        Self::with(|config, folder| {
            let setting = |(key, value): &(&str, &str)| {
                ((*key).to_owned(), value.replace("FOLDER", &folder.display().to_string()))
            };
            config.settings.extend(settings.iter().map(setting));
        })
    }

    pub(super) fn with(change: impl FnOnce(&mut Config, &Path)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("front-serve-{}-{number}", std::process::id()));
        std::fs::create_dir_all(folder.join("files")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let routes = vec![
            Route::new("/", handler(&folder, "app")),
            Route::new("/files/", Target::Dir(Dir::new(&format!("{}/", path("files"))))),
        ];
        let server = model::Server {
            uuid: "main".into(),
            port,
            access_log: path("access.log"),
            error_log: path("error.log"),
            pid_file: path("server.pid"),
            control_port: address(&folder, "control", "port"),
            hosts: vec![Host::new("localhost", routes)],
            ..model::Server::default()
        };
        let mut config = Config { servers: vec![server], ..Config::default() };
        change(&mut config, &folder);
        let (signals, senders) = Signals::pair().unwrap();
        let mut bench = Self { folder, port, config, senders, thread: None };
        bench.write_config();
        let options = Options { config: bench.folder.join("config.sqlite"), server: None, tls: None };
        let server = Server::start(&options, signals).unwrap();
        bench.thread = Some(std::thread::spawn(move || server.run().map_err(|problem| problem.to_string())));
        bench
    }

    fn write_config(&self) {
        store::write(&self.config, &self.folder.join("config.sqlite")).unwrap();
    }

    /// Changes the configuration and sends what is as good as SIGHUP.
    pub(super) fn reload(&mut self, change: impl FnOnce(&mut Config, &Path)) {
        change(&mut self.config, &self.folder);
        self.write_config();
        self.hang_up();
    }

    pub(super) fn hang_up(&mut self) {
        self.senders.reload.write_all(b"x").unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer_of("app")
    }

    pub(super) fn peer_of(&self, name: &str) -> Peer {
        Peer::connect(&self.folder, name)
    }

    /// A handler that does this with each message, and tells of all of them.
    pub(super) fn answer(&self, answer: impl Fn(&Peer, &Message) + Send + 'static) -> Receiver<Message> {
        let (sender, receiver): (Sender<Message>, _) = channel();
        let folder = self.folder.clone();
        std::thread::spawn(move || {
            let peer = Peer::connect(&folder, "app");
            peer.requests.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
            while let Ok(bytes) = peer.requests.recv_bytes(0) {
                let message = Message::parse(&bytes);
                answer(&peer, &message);
                let _ = sender.send(message);
            }
        });
        receiver
    }

    pub(super) fn client(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { stream, rest: Vec::new() }
    }

    /// Sends what is as good as SIGTERM.
    pub(super) fn stop(&mut self) {
        self.senders.stop.write_all(b"x").unwrap();
    }

    /// Waits for the server's end.
    pub(super) fn join(&mut self) -> Result<(), String> {
        self.thread.take().unwrap().join().unwrap()
    }

    pub(super) fn await_that(&self, what: &str, is: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // Twice: at once.
            let _ = self.senders.stop.write_all(b"x");
            std::thread::sleep(Duration::from_millis(20));
            let _ = self.senders.stop.write_all(b"x");
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(super) fn handler(folder: &Path, name: &str) -> Target {
    Target::Handler(Handler {
        send_spec: address(folder, name, "send"),
        send_ident: format!("{name}-1"),
        recv_spec: address(folder, name, "recv"),
        recv_ident: format!("{name}-1"),
        raw_payload: false,
        protocol: Protocol::Tnetstring,
    })
}

/// A client of HTTP.
pub(super) struct Client<S> {
    pub(super) stream: S,
    rest: Vec<u8>,
}

/// A response with its length.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl<S: Read + Write> Client<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, rest: Vec::new() }
    }

    pub(super) fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        self.response()
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(super) fn response(&mut self) -> Response {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill();
        };
        let head = String::from_utf8(self.rest.drain(..end).collect()).unwrap();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        let length = length.unwrap_or(0);
        while self.rest.len() < length {
            self.fill();
        }
        let body = self.rest.drain(..length).collect();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Response { status, head, body }
    }

    fn fill(&mut self) {
        let mut buffer = [0; 64 << 10];
        let size = self.stream.read(&mut buffer).unwrap();
        assert_ne!(
            size,
            0,
            "the server has closed the connection after {:?}",
            self.rest.escape_ascii().to_string()
        );
        self.rest.extend_from_slice(&buffer[..size]);
    }

    /// Nothing more comes, and the connection ends in peace.
    pub(super) fn assert_end(&mut self) {
        assert_eq!(self.rest, b"");
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
    }
}
