//! The sockets against libzmq, against a handler that connects as the hub does, and against peers that misbehave.

use super::{ControlSocket, HandlerSockets};
use mongrel2_conf::model::{Handler, Protocol};
use mongrel2_wire::zmtp::{self, Conversation, Role};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const BASE: u64 = 1000;
const CONTROL: u64 = 1 << 32;
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder of a test's own, which ends with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("front-sockets-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn spec(&self, name: &str) -> String {
        format!("ipc://{}", self.path(name).display())
    }

    fn handler(&self, name: &str) -> Handler {
        Handler {
            send_spec: self.spec(&format!("{name}-requests")),
            send_ident: name.to_owned(),
            recv_spec: self.spec(&format!("{name}-replies")),
            recv_ident: name.to_owned(),
            raw_payload: false,
            protocol: Protocol::Tnetstring,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A loop around the sockets, as the server's.
struct Server {
    poller: OwnedFd,
    sockets: HandlerSockets,
    replies: Vec<(usize, Vec<u8>)>,
}

impl Server {
    fn new(handlers: &[Handler]) -> Self {
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let sockets = HandlerSockets::bind(handlers, &poller, BASE).unwrap();
        Self { poller, sockets, replies: Vec::new() }
    }

    fn turn(&mut self) {
        self.sockets.flush(&self.poller, Instant::now());
        self.wait(Duration::from_millis(1));
    }

    /// Waits for events and serves them. `false`: none came.
    fn wait(&mut self, patience: Duration) -> bool {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        let patience = Timespec::try_from(patience).unwrap();
        epoll::wait(&self.poller, spare_capacity(&mut events), Some(&patience)).unwrap();
        for event in &events {
            let token = event.data.u64();
            assert!(self.sockets.owns(token));
            let replies = &mut self.replies;
            self.sockets.service(&self.poller, token, Instant::now(), |handler, reply| {
                replies.push((handler, reply.to_vec()));
            });
        }
        !events.is_empty()
    }

    /// Turns until `done` has a value.
    fn until<T>(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = done(self) {
                return value;
            }
            assert!(Instant::now() < deadline, "{what} did not come");
            self.turn();
        }
    }

    fn receive(&mut self, socket: &zmq::Socket) -> Vec<u8> {
        self.until("a message", |_| socket.recv_bytes(zmq::DONTWAIT).ok())
    }

    fn reply(&mut self) -> (usize, Vec<u8>) {
        self.until("a reply", |server| (!server.replies.is_empty()).then(|| server.replies.remove(0)))
    }

    /// Turns until a message has come out of a socket that does not block.
    fn hear(&mut self, socket: &mut impl Read, mut conversation: Conversation) -> Vec<u8> {
        let (mut inbox, mut found) = (Vec::new(), None);
        self.until("a message", |_| {
            let _ = socket.read_to_end(&mut inbox);
            let used = conversation.read(&inbox, |message| found = Some(message.to_vec())).unwrap();
            inbox.drain(..used);
            found.take()
        })
    }

    /// Turns until the handler's PUSH has this many consumers that are ready.
    fn consumers(&mut self, handler: usize, count: usize) {
        self.until("a consumer", |server| (server.sockets.ready(handler) == count).then_some(()));
    }
}

fn connected(context: &zmq::Context, kind: zmq::SocketType, spec: &str) -> zmq::Socket {
    let socket = context.socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvhwm(0).unwrap();
    socket.set_sndhwm(0).unwrap();
    socket.connect(spec).unwrap();
    socket
}

/// A consumer that reads when the test says.
struct Consumer {
    socket: UnixStream,
    conversation: Conversation,
}

impl Consumer {
    fn connect(handler: &Handler) -> Self {
        let mut socket = UnixStream::connect(handler.send_spec.strip_prefix("ipc://").unwrap()).unwrap();
        let (conversation, opening) = Conversation::begin(Role::Pull);
        socket.write_all(&opening).unwrap();
        Self { socket, conversation }
    }

    /// Everything that has been written to it, after which it is gone.
    fn leave(mut self) -> Vec<Vec<u8>> {
        self.socket.set_nonblocking(true).unwrap();
        let (mut bytes, mut messages) = (Vec::new(), Vec::new());
        let _ = self.socket.read_to_end(&mut bytes);
        self.conversation.read(&bytes, |message| messages.push(message.to_vec())).unwrap();
        messages
    }
}

fn numbered(number: usize, size: usize) -> Vec<u8> {
    let mut message = number.to_string().into_bytes();
    message.resize(size, b'.');
    message
}

#[test]
fn requests_wait_for_a_consumer_and_arrive_in_order() {
    let (folder, context) = (Folder::new(), zmq::Context::new());
    let handlers = [folder.handler("a"), folder.handler("b")];
    let mut server = Server::new(&handlers);
    let sizes = [1, 255, 256, 70_000, 1 << 20, 10];
    for (number, size) in sizes.into_iter().enumerate() {
        server.sockets.send(1, &numbered(number, size));
    }
    server.turn();
    assert!(server.sockets.unsent(1) > 1 << 20);
    let pull = connected(&context, zmq::PULL, &handlers[1].send_spec);
    for (number, size) in sizes.into_iter().enumerate() {
        assert_eq!(server.receive(&pull), numbered(number, size));
    }
    assert_eq!((server.sockets.unsent(0), server.sockets.unsent(1)), (0, 0));
}

#[test]
fn several_consumers_get_one_request_each_in_turn() {
    let (folder, context) = (Folder::new(), zmq::Context::new());
    let handlers = [folder.handler("a")];
    let mut server = Server::new(&handlers);
    let pulls: Vec<_> = (0..3).map(|_| connected(&context, zmq::PULL, &handlers[0].send_spec)).collect();
    server.consumers(0, 3);
    for number in 0..300 {
        server.sockets.send(0, &numbered(number, 4));
    }
    let mut first: Vec<_> = pulls.iter().map(|pull| server.receive(pull)).collect();
    for round in 1..100 {
        for (pull, before) in pulls.iter().zip(&mut first) {
            let message = server.receive(pull);
            let number = |message: &[u8]| -> usize {
                std::str::from_utf8(message).unwrap().trim_end_matches('.').parse().unwrap()
            };
            assert_eq!(number(&message), number(before) + 3, "round {round}");
            *before = message;
        }
    }
}

#[test]
fn what_a_consumer_has_not_taken_goes_to_the_next_one() {
    let (folder, context) = (Folder::new(), zmq::Context::new());
    let handlers = [folder.handler("a")];
    let mut server = Server::new(&handlers);
    for size in [300, 100_000] {
        let slow = Consumer::connect(&handlers[0]);
        server.consumers(0, 1);
        let count = (4 << 20) / size;
        for number in 0..count {
            server.sockets.send(0, &numbered(number, size));
        }
        (0..5).for_each(|_| server.turn());
        let taken = slow.leave();
        assert!(!taken.is_empty() && taken.len() < count, "{} of {count}", taken.len());
        server.consumers(0, 0);
        let pull = connected(&context, zmq::PULL, &handlers[0].send_spec);
        for number in taken.len()..count {
            assert_eq!(server.receive(&pull), numbered(number, size), "{number} of {count}");
        }
        assert_eq!(server.sockets.unsent(0), 0);
        drop(pull);
        server.consumers(0, 0);
    }
}

#[test]
fn room_at_a_consumer_wakes_the_loop_until_all_is_written() {
    let folder = Folder::new();
    let handlers = [folder.handler("a")];
    let mut server = Server::new(&handlers);
    let Consumer { mut socket, mut conversation } = Consumer::connect(&handlers[0]);
    socket.set_nonblocking(true).unwrap();
    server.consumers(0, 1);
    (0..4000).for_each(|number| server.sockets.send(0, &numbered(number, 1000)));
    server.sockets.flush(&server.poller, Instant::now());
    let (mut inbox, mut count) = (Vec::new(), 0);
    while count < 4000 {
        let _ = socket.read_to_end(&mut inbox);
        let used = conversation.read(&inbox, |_| count += 1).unwrap();
        inbox.drain(..used);
        assert!(count == 4000 || server.wait(PATIENCE), "{count} came, and nothing woke the loop for more");
    }
    // With everything written, the loop sleeps.
    assert!(!server.wait(Duration::from_millis(1)) || !server.wait(Duration::from_millis(1)));
}

#[test]
fn a_consumer_that_does_not_read_holds_up_no_other() {
    let (folder, context) = (Folder::new(), zmq::Context::new());
    let handlers = [folder.handler("a")];
    let mut server = Server::new(&handlers);
    let slow = Consumer::connect(&handlers[0]);
    let pull = connected(&context, zmq::PULL, &handlers[0].send_spec);
    server.consumers(0, 2);
    let count = 5000;
    for number in 0..count {
        server.sockets.send(0, &numbered(number, 1000));
    }
    let mut all: Vec<_> = (0..count - 1000).map(|_| server.receive(&pull)).collect();
    let taken = slow.leave();
    while all.len() + taken.len() < count {
        all.push(server.receive(&pull));
    }
    all.extend(taken);
    all.sort();
    let mut expected: Vec<_> = (0..count).map(|number| numbered(number, 1000)).collect();
    expected.sort();
    assert!(all == expected);
}

#[test]
fn replies_of_every_publisher_arrive_in_order_and_only_those_of_the_topic() {
    let (folder, context) = (Folder::new(), zmq::Context::new());
    let handlers = [folder.handler("a"), folder.handler("b")];
    let mut server = Server::new(&handlers);
    let xpub = connected(&context, zmq::XPUB, &handlers[1].recv_spec);
    assert_eq!(server.receive(&xpub), b"\x01b");
    for number in 0..1000 {
        xpub.send(&format!("b {number}"), 0).unwrap();
    }
    xpub.send("c 7", 0).unwrap();
    xpub.send_multipart([&b"b part"[..], b"", b"b end"], 0).unwrap();
    for number in 0..1000 {
        assert_eq!(server.reply(), (1, format!("b {number}").into_bytes()));
    }
    for part in ["b part", "", "b end"] {
        assert_eq!(server.reply(), (1, part.as_bytes().to_vec()));
    }

    // A plain PUB does not say when it is subscribed to, so it repeats itself.
    let publisher = connected(&context, zmq::PUB, &handlers[0].recv_spec);
    let large = [&b"a "[..], &vec![7; 3 << 20]].concat();
    let found = server.until("a reply of the PUB", |server| {
        publisher.send(&large, 0).unwrap();
        server.replies.pop()
    });
    assert!(found == (0, large));
}

#[test]
fn a_publisher_that_does_not_filter_is_filtered_here() {
    let folder = Folder::new();
    let handlers = [folder.handler("a")];
    let mut server = Server::new(&handlers);
    let mut socket = UnixStream::connect(folder.path("a-replies")).unwrap();
    let (_, mut bytes) = Conversation::begin(Role::Xpub);
    zmtp::encode(&mut bytes, b"b other");
    zmtp::encode_part(&mut bytes, b"b other");
    zmtp::encode(&mut bytes, b"a inside");
    zmtp::encode(&mut bytes, b"a own");
    socket.write_all(&bytes).unwrap();
    assert_eq!(server.reply(), (0, b"a own".to_vec()));
    assert!(server.replies.is_empty());
}

#[test]
fn heartbeats_of_a_handler_are_answered() {
    let (folder, context) = (Folder::new(), zmq::Context::new());
    let handlers = [folder.handler("a")];
    let mut server = Server::new(&handlers);
    let pull = context.socket(zmq::PULL).unwrap();
    pull.set_heartbeat_ivl(20).unwrap();
    pull.set_heartbeat_timeout(100).unwrap();
    pull.connect(&handlers[0].send_spec).unwrap();
    server.consumers(0, 1);
    let token = server.sockets.consumer(0, 0);
    let end = Instant::now() + Duration::from_millis(400);
    while Instant::now() < end {
        server.turn();
        assert_eq!(server.sockets.ready(0), 1);
    }
    assert_eq!(server.sockets.consumer(0, 0), token);
    server.sockets.send(0, b"still here");
    assert_eq!(server.receive(&pull), b"still here");
}

#[test]
fn peers_that_do_not_belong_there_are_closed_and_others_are_served() {
    let (folder, context) = (Folder::new(), zmq::Context::new());
    let handlers = [folder.handler("a")];
    let mut server = Server::new(&handlers);
    let (_, wrong) = Conversation::begin(Role::Push);
    let huge = [&Conversation::begin(Role::Pull).1[..], &[2, 0, 0, 0, 0, 1, 0, 0, 0]].concat();
    let strangers = [b"GET / HTTP/1.1\r\n\r\n".to_vec(), wrong, huge];
    for path in ["a-requests", "a-replies"] {
        for bytes in &strangers {
            let mut stranger = UnixStream::connect(folder.path(path)).unwrap();
            stranger.write_all(bytes).unwrap();
            stranger.set_nonblocking(true).unwrap();
            let mut inbox = Vec::new();
            server.until("the end", |_| match stranger.read_to_end(&mut inbox) {
                Ok(_) => Some(()),
                Err(problem) => (problem.kind() != std::io::ErrorKind::WouldBlock).then_some(()),
            });
        }
    }
    let pull = connected(&context, zmq::PULL, &handlers[0].send_spec);
    server.sockets.send(0, b"hello");
    assert_eq!(server.receive(&pull), b"hello");
}

#[test]
fn a_peer_that_says_nothing_is_given_up() {
    let folder = Folder::new();
    let handlers = [folder.handler("a")];
    let mut server = Server::new(&handlers);
    let mut silent = UnixStream::connect(folder.path("a-requests")).unwrap();
    let due = server.until("a connection", |server| server.sockets.next_timeout());
    server.sockets.flush(&server.poller, due - Duration::from_millis(1));
    assert_eq!(server.sockets.next_timeout(), Some(due));
    server.sockets.flush(&server.poller, due);
    assert_eq!(server.sockets.next_timeout(), None);
    assert!(silent.read_to_end(&mut Vec::new()).is_ok());
}

#[test]
fn an_address_in_use_names_handler_and_address() {
    let folder = Folder::new();
    let handlers = [folder.handler("a")];
    let server = Server::new(&handlers);
    let problem = HandlerSockets::bind(&handlers, &server.poller, BASE).unwrap_err().to_string();
    let expected = format!("send_spec of handler `a`: `{}` is in use", handlers[0].send_spec);
    assert!(problem.starts_with(&expected), "{problem}");
    let mut twice = [folder.handler("b"), folder.handler("c")];
    twice[1].recv_spec = twice[0].recv_spec.clone();
    let problem = HandlerSockets::bind(&twice, &server.poller, BASE).unwrap_err().to_string();
    assert!(problem.starts_with("recv_spec of handler `c`"), "{problem}");
    assert!(!folder.path("b-requests").exists(), "nothing is left of an attempt");
    let mut bad = [folder.handler("d")];
    bad[0].send_spec = "udp://x".into();
    let problem = HandlerSockets::bind(&bad, &server.poller, BASE).unwrap_err().to_string();
    assert!(problem.starts_with("send_spec of handler `d`: `udp://x` is no address"), "{problem}");
}

#[test]
fn other_handlers_after_a_reload_take_nothing_from_those_that_stay() {
    let (folder, context) = (Folder::new(), zmq::Context::new());
    let (a, b, c) = (folder.handler("a"), folder.handler("b"), folder.handler("c"));
    let mut server = Server::new(&[a.clone(), b.clone()]);
    let pull = connected(&context, zmq::PULL, &b.send_spec);
    let xpub = connected(&context, zmq::XPUB, &b.recv_spec);
    assert_eq!(server.receive(&xpub), b"\x01b");
    server.consumers(1, 1);
    server.sockets.send(1, b"before");

    // An address that is in use changes nothing.
    let foreign = std::os::unix::net::UnixListener::bind(folder.path("c-replies")).unwrap();
    assert!(server.sockets.rebind(&[c.clone(), b.clone()], &server.poller).is_err());
    assert!(!folder.path("c-requests").exists());
    server.sockets.send(1, b"between");
    drop(foreign);

    let mut renamed = b;
    renamed.recv_ident = "new".into();
    server.sockets.rebind(&[c.clone(), renamed], &server.poller).unwrap();
    server.sockets.send(1, b"after");
    for message in ["before", "between", "after"] {
        assert_eq!(server.receive(&pull), message.as_bytes());
    }
    assert_eq!(server.receive(&xpub), b"\x01new");
    assert_eq!(server.receive(&xpub), b"\x00b");
    xpub.send("new 1", 0).unwrap();
    assert_eq!(server.reply(), (1, b"new 1".to_vec()));
    assert!(!folder.path("a-requests").exists() && !folder.path("a-replies").exists());
    let other = connected(&context, zmq::PULL, &c.send_spec);
    server.sockets.send(0, b"to c");
    assert_eq!(server.receive(&other), b"to c");
}

#[test]
fn what_is_left_is_written_at_the_end() {
    let (folder, context) = (Folder::new(), zmq::Context::new());
    let handlers = [folder.handler("a"), folder.handler("nobody")];
    let mut server = Server::new(&handlers);
    let pull = connected(&context, zmq::PULL, &handlers[0].send_spec);
    server.consumers(0, 1);
    for number in 0..10_000 {
        server.sockets.send(0, &numbered(number, 1000));
    }
    server.sockets.send(1, b"lost");
    let began = Instant::now();
    server.sockets.close(&server.poller, PATIENCE);
    assert!(began.elapsed() < PATIENCE, "a handler without a consumer is not waited for");
    pull.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
    for number in 0..10_000 {
        assert_eq!(pull.recv_bytes(0).unwrap(), numbered(number, 1000));
    }
    assert!(!folder.path("a-requests").exists());
}

#[test]
fn a_handler_that_connects_as_the_hub_does_is_served() {
    let folder = Folder::new();
    let mut handler = folder.handler("a");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    handler.recv_spec = format!("tcp://127.0.0.1:{port}");
    let mut server = Server::new(std::slice::from_ref(&handler));
    server.sockets.send(0, b"request");

    // The reply's socket first, and the other one only when the subscription has come.
    let mut replies = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (publisher, opening) = Conversation::begin(Role::Xpub);
    replies.write_all(&opening).unwrap();
    replies.set_nonblocking(true).unwrap();
    assert_eq!(server.hear(&mut replies, publisher), b"\x01a");
    let Consumer { mut socket, conversation } = Consumer::connect(&handler);
    socket.set_nonblocking(true).unwrap();
    assert_eq!(server.hear(&mut socket, conversation), b"request");
    let mut reply = Vec::new();
    zmtp::encode(&mut reply, b"a 1:7, reply");
    replies.write_all(&reply).unwrap();
    assert_eq!(server.reply(), (0, b"a 1:7, reply".to_vec()));
}

#[test]
fn the_control_port_answers_every_kind_of_client() {
    let (folder, context) = (Folder::new(), zmq::Context::new());
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut control = ControlSocket::bind(&folder.spec("control"), &poller, CONTROL).unwrap();
    let request = connected(&context, zmq::REQ, &folder.spec("control"));
    let dealer = connected(&context, zmq::DEALER, &folder.spec("control"));
    request.send("one", 0).unwrap();
    dealer.send_multipart([&b"no question"[..], b"at all"], 0).unwrap();
    dealer.send_multipart([&b"way"[..], b"back", b"", b"two", b"more"], 0).unwrap();
    let mut answers = [Vec::new(), Vec::new()];
    let deadline = Instant::now() + PATIENCE;
    while answers.iter().any(Vec::is_empty) {
        assert!(Instant::now() < deadline, "no answer");
        let mut events: Vec<epoll::Event> = Vec::with_capacity(8);
        let pause = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        epoll::wait(&poller, spare_capacity(&mut events), Some(&pause)).unwrap();
        for event in events {
            let token = event.data.u64();
            assert!(control.owns(token));
            control.service(&poller, token, Instant::now(), |question| [question, b"!"].concat());
        }
        for (socket, answer) in [&request, &dealer].into_iter().zip(&mut answers) {
            if let Ok(parts) = socket.recv_multipart(zmq::DONTWAIT) {
                *answer = parts;
            }
        }
    }
    assert_eq!(
        answers,
        [vec![b"one!".to_vec()], [&b"way"[..], b"back", b"", b"two!"].map(<[u8]>::to_vec).into()]
    );
    control.close(PATIENCE);
    assert!(!folder.path("control").exists());
}

#[test]
fn a_client_of_the_control_port_that_reads_no_answers_is_closed() {
    let folder = Folder::new();
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut control = ControlSocket::bind(&folder.spec("control"), &poller, CONTROL).unwrap();
    let mut client = UnixStream::connect(folder.path("control")).unwrap();
    let (_, mut bytes) = Conversation::begin(Role::Req);
    for _ in 0..1000 {
        zmtp::encode_part(&mut bytes, b"");
        zmtp::encode(&mut bytes, b"status");
    }
    client.write_all(&bytes).unwrap();
    client.set_nonblocking(true).unwrap();
    let (mut answers, mut heard) = (0, Vec::new());
    let deadline = Instant::now() + PATIENCE;
    while client.read_to_end(&mut heard).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock) {
        assert!(Instant::now() < deadline, "the connection is still there");
        let mut events: Vec<epoll::Event> = Vec::with_capacity(8);
        let pause = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        epoll::wait(&poller, spare_capacity(&mut events), Some(&pause)).unwrap();
        for event in events {
            control.service(&poller, event.data.u64(), Instant::now(), |_| {
                answers += 1;
                vec![b'x'; 1 << 20]
            });
        }
    }
    assert_eq!(answers, 4);
    assert_eq!(control.next_timeout(), None);
    control.handle_timeout(&poller, Instant::now());
}

/// `cargo test -p mongrel2-front --lib -- --ignored --nocapture million`
#[test]
#[ignore = "a measurement, not a promise"]
fn a_million_requests() {
    const COUNT: usize = 1_000_000;
    let (folder, message) = (Folder::new(), [b'x'; 300]);
    let handler = folder.handler("a");
    for batch in [1, 16, 256] {
        let mut server = Server::new(std::slice::from_ref(&handler));
        let Consumer { mut socket, mut conversation } = Consumer::connect(&handler);
        server.consumers(0, 1);
        let reader = std::thread::spawn(move || {
            let (mut inbox, mut room, mut count) = (Vec::new(), vec![0; 256 << 10], 0);
            while count < COUNT {
                let size = socket.read(&mut room).unwrap();
                inbox.extend_from_slice(&room[..size]);
                let used = conversation.read(&inbox, |_| count += 1).unwrap();
                inbox.drain(..used);
            }
        });
        let began = Instant::now();
        for number in 1..=COUNT {
            server.sockets.send(0, &message);
            if number % batch == 0 {
                server.sockets.flush(&server.poller, began);
            }
            while server.sockets.unsent(0) > 1 << 20 {
                server.turn();
            }
        }
        while server.sockets.unsent(0) > 0 {
            server.turn();
        }
        reader.join().unwrap();
        println!("{COUNT} messages, a flush after {batch}: {:?}", began.elapsed());
    }
}
