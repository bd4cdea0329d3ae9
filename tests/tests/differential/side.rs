//! One server with its handlers, which answer every message in a way that follows from the message alone.

use super::case::{Case, Step};
use super::outcome::{Message, Outcome};
use mongrel2_wire::Envelope;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tests::client::Client;
use tests::folder::Folder;
use tests::server::{Front, HeaderProtocol, Mongrel2, Setup};
use tests::wait;

/// The routes; each has a handler of its own.
const ROUTES: [&str; 5] = ["/", "/a/b", "/p/([0-9]+)", "@json", "<xml"];
/// What is sent to each handler behind a case; no case has a message like it.
const SENTINELS: [&str; ROUTES.len()] = [
    "GET /sentinel HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /a/b/sentinel HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /p/00?sentinel HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "@json {\"sentinel\":1}\0",
    "<xml sentinel=\"1\"/>\0",
];
/// Between two segments, so that they are two.
const GAP: Duration = Duration::from_millis(3);

/// The server and its handlers, which run in a thread.
pub(crate) struct Side {
    server: Mongrel2,
    messages: Receiver<Vec<u8>>,
    /// Connections of earlier cases, whose late messages count no more.
    old: HashSet<i64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _uploads: Folder,
}

impl Side {
    /// `more`: settings that only this one has.
    pub(crate) fn start(front: Front, protocol: HeaderProtocol, more: &[(&str, &str)]) -> Self {
        let uploads = Folder::new();
        let template = uploads.path().join("XXXXXX").display().to_string();
        let setup = Setup { protocol, ..Setup::default() }
            .routes(&ROUTES)
            .by(front)
            .setting("limits.content_length", "103424")
            .setting("limits.buffer_size", "16384")
            .setting("limits.client_read_retries", "64")
            .setting("upload.temp_store", &template);
        let setup = more.iter().fold(setup, |setup, (key, value)| setup.setting(key, value));
        let server = Mongrel2::start(setup);
        let (stop, (sender, messages)) = (Arc::<AtomicBool>::default(), mpsc::channel());
        let (specs, stops) = (server.specs().to_vec(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || handle(&specs, &sender, &stops));
        let mut side =
            Self { server, messages, old: HashSet::new(), stop, thread: Some(thread), _uploads: uploads };
        side.sentinel();
        side
    }

    /// Lets a client do what the case says, until nothing happens any more.
    pub(crate) fn run(&mut self, case: &Case, quiet: Duration) -> Outcome {
        let (answer, closed) = self.client(case, quiet);
        let messages = self.sentinel();
        Outcome { messages, answer, closed }
    }

    fn client(&self, case: &Case, quiet: Duration) -> (Vec<u8>, bool) {
        let address = (Ipv4Addr::LOCALHOST, self.server.port());
        let mut stream = TcpStream::connect(address).expect("a server that listens");
        stream.set_nodelay(true).expect("an option that sockets have");
        stream.set_read_timeout(Some(quiet)).expect("an option that sockets have");
        let (mut answer, mut is_first) = (Vec::new(), true);
        for step in &case.steps {
            match step {
                Step::Send(bytes) => {
                    if !std::mem::take(&mut is_first) {
                        std::thread::sleep(GAP);
                    }
                    // The server may have closed already.
                    if stream.write_all(bytes).is_err() {
                        break;
                    }
                }
                Step::Await => {
                    let _ = stream.set_read_timeout(Some(wait::PATIENCE));
                    let read = read_some(&mut stream, &mut answer);
                    let _ = stream.set_read_timeout(Some(quiet));
                    if read != Got::Some {
                        break;
                    }
                }
            }
        }
        loop {
            match read_some(&mut stream, &mut answer) {
                Got::Some => {}
                Got::Nothing => return (answer, false),
                Got::End => return (answer, true),
            }
        }
    }

    /// Lets a message follow to each handler, behind which nothing of the case is to come, and returns the case's messages.
    fn sentinel(&mut self) -> Vec<Message> {
        let port = self.server.port();
        for sentinel in SENTINELS {
            let mut client = Client::connect(port);
            client.send(sentinel);
            client.read_bytes(1);
        }
        let deadline = Instant::now() + wait::PATIENCE;
        let (mut found, mut ids, mut missing) = (Vec::new(), HashSet::new(), SENTINELS.len());
        while missing > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let bytes = self.messages.recv_timeout(left).expect("the sentinels' messages");
            let Ok(envelope) = Envelope::parse(&bytes) else {
                found.push(Message::read(&bytes));
                continue;
            };
            let id = envelope.conn_id;
            if is_notice(&envelope) || self.old.contains(&id) {
                continue;
            }
            if bytes.windows(8).any(|window| window == b"sentinel") {
                self.old.insert(id);
                missing -= 1;
                continue;
            }
            ids.insert(id);
            found.push(Message::read(&bytes));
        }
        self.old.extend(ids);
        // Each handler gets its messages in order; between handlers there is none.
        found.sort_by_key(|message| match message {
            Message::Whole { sender, .. } => sender.clone(),
            Message::Broken(_) => String::new(),
        });
        found
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(PartialEq, Eq)]
enum Got {
    Some,
    Nothing,
    End,
}

fn read_some(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Got {
    let mut buffer = [0; 16 << 10];
    match stream.read(&mut buffer) {
        Ok(0) => Got::End,
        Ok(size) => {
            answer.extend_from_slice(&buffer[..size]);
            Got::Some
        }
        Err(problem) if matches!(problem.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Got::Nothing,
        Err(_) => Got::End,
    }
}

/// Whether a message says that a connection is gone.
fn is_notice(envelope: &Envelope<'_>) -> bool {
    envelope.path == b"@*"
}

/// The handlers, one behind each pair of addresses.
fn handle(specs: &[(String, String)], sender: &Sender<Vec<u8>>, stop: &AtomicBool) {
    let context = zmq::Context::new();
    let socket = |kind, spec: &str| {
        let socket = context.socket(kind).expect("a socket");
        socket.set_linger(0).expect("an option that sockets have");
        socket.set_rcvhwm(0).expect("an option that sockets have");
        socket.set_sndhwm(0).expect("an option that sockets have");
        socket.connect(spec).expect("an address");
        socket
    };
    // A handler that cannot answer yet takes nothing.
    let subscribed: Vec<_> = specs
        .iter()
        .map(|(_, replies)| {
            let publisher = socket(zmq::XPUB, replies);
            publisher.recv_bytes(0).expect("a subscription");
            publisher
        })
        .collect();
    let pulls: Vec<_> = specs.iter().map(|(requests, _)| socket(zmq::PULL, requests)).collect();
    let mut counts = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        let mut items: Vec<_> = pulls.iter().map(|pull| pull.as_poll_item(zmq::POLLIN)).collect();
        zmq::poll(&mut items, 20).expect("sockets that can be waited for");
        for (pull, publisher) in pulls.iter().zip(&subscribed) {
            while let Ok(message) = pull.recv_bytes(zmq::DONTWAIT) {
                for reply in replies(&message, &mut counts) {
                    publisher.send(reply, 0).expect("a publisher takes everything");
                }
                if sender.send(message).is_err() {
                    return;
                }
            }
        }
    }
}

/// The replies to a message.
fn replies(message: &[u8], counts: &mut HashMap<i64, usize>) -> Vec<Vec<u8>> {
    let Ok(envelope) = Envelope::parse(message) else { return Vec::new() };
    if is_notice(&envelope) {
        return Vec::new();
    }
    let header = |name: &str| Some(envelope.headers.get(name.as_bytes())?.first()?.as_sent().into_owned());
    let mut size = envelope.body.len() as u64;
    if let Some(start) = header("x-mongrel2-upload-start") {
        // The body comes first, and its file is complete when its name comes a second time.
        if header("x-mongrel2-upload-done").as_ref() != Some(&start) {
            return Vec::new();
        }
        let file = Path::new(OsStr::from_bytes(&start));
        size = file.metadata().map_or(u64::MAX, |file| file.len());
        let _ = std::fs::remove_file(file);
    }
    let count = counts.entry(envelope.conn_id).and_modify(|count| *count += 1).or_insert(1);
    let payload = match header("METHOD").as_deref() {
        Some(b"WEBSOCKET_HANDSHAKE") => {
            let mut head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n".to_vec();
            head.extend_from_slice(b"Connection: Upgrade\r\nSec-WebSocket-Accept: ");
            head.extend_from_slice(envelope.body);
            head.extend_from_slice(b"\r\n\r\n");
            head
        }
        Some(b"WEBSOCKET") => vec![0x81, 1, b'0' + (*count % 10) as u8],
        _ if matches!(envelope.path.first(), Some(b'@' | b'<')) => format!("{count}\0").into_bytes(),
        _ => {
            let body = format!("{count} {} {size}", envelope.path.escape_ascii());
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let is_head = header("METHOD").as_deref() == Some(b"HEAD");
            format!("{head}{}", if is_head { "" } else { &body }).into_bytes()
        }
    };
    let id = envelope.conn_id.to_string();
    let reply = |payload: &[u8]| {
        let mut reply = format!("{} {}:{id}, ", envelope.sender, id.len()).into_bytes();
        reply.extend_from_slice(payload);
        reply
    };
    let mut replies = vec![reply(&payload)];
    if envelope.path == b"/close" {
        replies.push(reply(b""));
    }
    replies
}
