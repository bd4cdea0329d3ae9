//! Mongrel2's side of its two ZeroMQ sockets in the hands of a test, which can send what a real
//! server never would.

use crate::folder::Folder;
use crate::wait::PATIENCE;
use crate::websocket::{ACCEPT, KEY};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// What the fake calls itself in messages.
pub const SENDER: &str = "fake";

/// The sockets. They close when this is dropped.
#[derive(Debug)]
pub struct FakeMongrel2 {
    folder: Folder,
    orders: Option<Sender<Vec<u8>>>,
    inbox: Arc<(Mutex<Vec<Reply>>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

/// A reply as Mongrel2 would read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its first word.
    pub sender: String,
    /// An order to Mongrel2 (`ctl`), not something to write.
    pub extended: bool,
    /// The connections that it is for.
    pub ids: Vec<u64>,
    /// What they get; empty: they are closed.
    pub payload: Vec<u8>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |bytes: &[u8], end: u8| bytes.iter().position(|byte| *byte == end);
        let (sender, rest) = bytes.split_at(word(bytes, b' ')?);
        let rest = &rest[1..];
        let colon = word(rest, b':')?;
        let size: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
        let (ids, rest) = rest[colon + 1..].split_at_checked(size)?;
        let payload = rest.strip_prefix(b", ")?.to_vec();
        let (extended, ids) = ids.strip_prefix(b"X ").map_or((false, ids), |ids| (true, ids));
        let ids = std::str::from_utf8(ids).ok()?.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { sender: String::from_utf8(sender.to_vec()).ok()?, extended, ids, payload })
    }

    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

impl Default for FakeMongrel2 {
    fn default() -> Self {
        Self::start()
    }
}

impl FakeMongrel2 {
    /// Binds both sockets.
    ///
    /// # Panics
    ///
    /// When that is not possible.
    pub fn start() -> Self {
        let folder = Folder::new();
        let context = zmq::Context::new();
        let bound = |kind, name: &str| {
            let socket = context.socket(kind).expect("a socket");
            socket.set_linger(0).expect("an option that sockets have");
            socket.set_sndhwm(0).expect("an option that sockets have");
            socket.set_rcvhwm(0).expect("an option that sockets have");
            let spec = format!("ipc://{}/{name}", folder.path().display());
            socket.bind(&spec).expect("an address of its own");
            socket
        };
        let push = bound(zmq::PUSH, "requests");
        let sub = bound(zmq::SUB, "replies");
        sub.set_subscribe(b"").expect("a subscription");
        let (orders, messages) = mpsc::channel();
        let inbox = Arc::<(Mutex<Vec<Reply>>, Condvar)>::default();
        let shared = Arc::clone(&inbox);
        let thread = std::thread::spawn(move || relay(&push, &sub, &messages, &shared));
        Self { folder, orders: Some(orders), inbox, thread: Some(thread) }
    }

    /// `(send_spec, recv_spec)`.
    pub fn specs(&self) -> (String, String) {
        let at = self.folder.path().display();
        (format!("ipc://{at}/requests"), format!("ipc://{at}/replies"))
    }

    /// Sends bytes to the hub as one message.
    pub fn send(&self, message: impl Into<Vec<u8>>) {
        let orders = self.orders.as_ref().expect("open until dropped");
        orders.send(message.into()).expect("the thread ends after this");
    }

    /// Waits for a reply that `fits`, and takes it out of those that came.
    ///
    /// # Panics
    ///
    /// When none comes within [`PATIENCE`].
    pub fn reply_that(&self, what: &str, fits: impl Fn(&Reply) -> bool) -> Reply {
        let deadline = Instant::now() + PATIENCE;
        let mut replies = lock(&self.inbox.0);
        loop {
            if let Some(at) = replies.iter().position(&fits) {
                return replies.remove(at);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let all = format!("{replies:?}");
                drop(replies);
                panic!("no reply: {what}; others: {all}");
            }
            replies = self.inbox.1.wait_timeout(replies, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the next reply to a connection, and takes it.
    ///
    /// # Panics
    ///
    /// As [`reply_that`](Self::reply_that).
    pub fn reply_to(&self, id: u64) -> Reply {
        let fits = |reply: &Reply| !reply.extended && reply.ids.contains(&id);
        self.reply_that(&format!("to connection {id}"), fits)
    }

    /// Forgets the replies that came and were not taken.
    pub fn forget(&self) {
        lock(&self.inbox.0).clear();
    }

    /// The replies that came and were not taken.
    pub fn replies(&self) -> Vec<Reply> {
        lock(&self.inbox.0).clone()
    }
}

impl Drop for FakeMongrel2 {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(replies: &Mutex<Vec<Reply>>) -> MutexGuard<'_, Vec<Reply>> {
    replies.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bound SUB sends its subscription only while its thread is inside libzmq, so this never rests
/// for long.
fn relay(
    push: &zmq::Socket,
    sub: &zmq::Socket,
    messages: &Receiver<Vec<u8>>,
    inbox: &(Mutex<Vec<Reply>>, Condvar),
) {
    loop {
        loop {
            match messages.try_recv() {
                Ok(message) => {
                    // Nobody connected: as with a real one, it waits for somebody.
                    while push.send(&message, zmq::DONTWAIT).is_err() {
                        if sub.poll(zmq::POLLIN, 1).is_ok_and(|ready| ready > 0) {
                            receive(sub, inbox);
                        }
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        if sub.poll(zmq::POLLIN, 1).is_ok_and(|ready| ready > 0) {
            receive(sub, inbox);
        }
    }
}

fn receive(sub: &zmq::Socket, inbox: &(Mutex<Vec<Reply>>, Condvar)) {
    while let Ok(bytes) = sub.recv_bytes(zmq::DONTWAIT) {
        let malformed =
            || Reply { sender: "malformed".into(), extended: false, ids: Vec::new(), payload: bytes.clone() };
        let reply = Reply::parse(&bytes).unwrap_or_else(malformed);
        lock(&inbox.0).push(reply);
        inbox.1.notify_all();
    }
}

/// A message in the making.
#[derive(Debug, Clone)]
pub struct Message {
    sender: String,
    id: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    /// An HTTP request as Mongrel2 hands it over, with the headers of its own.
    pub fn http(id: i64, method: &str, path: &str) -> Self {
        let own = [
            ("REMOTE_ADDR", "127.0.0.1"),
            ("METHOD", method),
            ("URL_SCHEME", "http"),
            ("PATTERN", "/"),
            ("URI", path),
            ("VERSION", "HTTP/1.1"),
            ("PATH", path),
            ("host", "localhost"),
            ("x-forwarded-for", "127.0.0.1"),
        ];
        let message = Self::bare(id, path);
        own.iter().fold(message, |message, (name, value)| message.header(name, value))
    }

    /// A message without headers.
    pub fn bare(id: i64, path: &str) -> Self {
        let (sender, id, path) = (SENDER.to_owned(), id.to_string(), path.to_owned());
        Self { sender, id, path, headers: Vec::new(), body: Vec::new() }
    }

    /// A notice that a connection is gone.
    pub fn disconnect(id: i64) -> Self {
        Self::bare(id, "@*").header("METHOD", "JSON").body(r#"{"type":"disconnect"}"#)
    }

    /// The opening handshake of a WebSocket, as Mongrel2 hands it over. A query may follow the path.
    pub fn handshake(id: i64, path: &str) -> Self {
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        Self::http(id, "WEBSOCKET_HANDSHAKE", bare)
            .header("URI", path)
            .header("QUERY", query)
            .header("upgrade", "websocket")
            .header("connection", "Upgrade")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", KEY)
            .body(ACCEPT)
    }

    /// A frame of a WebSocket: the headers of its handshake come again with each.
    pub fn frame(id: i64, path: &str, first: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self::handshake(id, path)
            .header("METHOD", "WEBSOCKET")
            .header("FLAGS", &format!("{first:#X}"))
            .body(payload)
    }

    /// With another sender.
    pub fn from(mut self, sender: &str) -> Self {
        self.sender = sender.to_owned();
        self
    }

    /// With a header, in place of an earlier one of that name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// With a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// As bytes, with headers as a tnetstring.
    pub fn tnetstring(&self) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in &self.headers {
            block.extend_from_slice(format!("{}:{name},{}:{value},", name.len(), value.len()).as_bytes());
        }
        self.encode(&block, b'}')
    }

    /// As bytes, with headers as Mongrel2's JSON.
    pub fn json(&self) -> Vec<u8> {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let pairs: Vec<_> =
            self.headers.iter().map(|(name, value)| format!(r#""{name}":"{}""#, escape(value))).collect();
        self.encode(format!("{{{}}}", pairs.join(",")).as_bytes(), b',')
    }

    fn encode(&self, block: &[u8], end: u8) -> Vec<u8> {
        let mut message = format!("{} {} {} {}:", self.sender, self.id, self.path, block.len()).into_bytes();
        message.extend_from_slice(block);
        message.push(end);
        message.extend_from_slice(format!("{}:", self.body.len()).as_bytes());
        message.extend_from_slice(&self.body);
        message.push(b',');
        message
    }
}

impl From<Message> for Vec<u8> {
    fn from(message: Message) -> Self {
        message.tnetstring()
    }
}
