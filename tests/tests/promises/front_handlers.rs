//! Handlers of others behind the front: they come late, go and come again, and several share the requests.

use base64::Engine;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tests::client::{Client, get, request};
use tests::folder::Folder;
use tests::server::{Front, Mongrel2, Setup};
use tests::websocket::WebSocket;
use tests::{process, venv, wait};

const SOON: Duration = Duration::from_secs(20);

fn front() -> Mongrel2 {
    Mongrel2::start(Setup::default().by(Front::Kennel))
}

/// A process that ends with this.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A handler as the libraries of Mongrel2 are one, with libzmq's defaults; but it waits for the subscription, without which
/// what it publishes would be lost.
struct Handler {
    requests: zmq::Socket,
    replies: zmq::Socket,
}

/// What such a handler makes of a message.
struct Asked {
    sender: String,
    id: String,
    path: String,
    headers: String,
    body: Vec<u8>,
}

impl Handler {
    fn connect(server: &Mongrel2, name: &str) -> Self {
        let (send, recv) = &server.specs()[0];
        let context = zmq::Context::new();
        let replies = context.socket(zmq::XPUB).expect("a socket");
        replies.set_identity(name.as_bytes()).expect("a name");
        replies.set_linger(0).expect("an option that sockets have");
        replies.set_rcvtimeo(SOON.as_millis() as i32).expect("an option that sockets have");
        replies.connect(recv).expect("the front listens");
        assert_eq!(replies.recv_bytes(0).expect("a subscription"), [1]);
        let requests = context.socket(zmq::PULL).expect("a socket");
        requests.connect(send).expect("the front listens");
        Self { requests, replies }
    }

    /// The next message, unless none comes for so long.
    fn next(&self, patience: Duration) -> Option<Asked> {
        self.requests.set_rcvtimeo(patience.as_millis() as i32).expect("an option that sockets have");
        let bytes = self.requests.recv_bytes(0).ok()?;
        let mut words = bytes.splitn(4, |byte| *byte == b' ');
        let mut word = || String::from_utf8(words.next().expect("four words").to_vec()).expect("text");
        let (sender, id, path) = (word(), word(), word());
        let rest = words.next().expect("four words");
        let netstring = |rest: &[u8]| {
            let colon = rest.iter().position(|byte| *byte == b':').expect("a length");
            let size: usize = String::from_utf8_lossy(&rest[..colon]).parse().expect("a number");
            let (content, rest) = rest[colon + 1..].split_at(size);
            assert_eq!(rest[0], b',');
            (content.to_vec(), rest[1..].to_vec())
        };
        let (headers, rest) = netstring(rest);
        let (body, rest) = netstring(&rest);
        assert!(rest.is_empty());
        Some(Asked { sender, id, path, headers: String::from_utf8(headers).expect("JSON"), body })
    }

    fn reply(&self, asked: &Asked, payload: &[u8]) {
        let Asked { sender, id, .. } = asked;
        let head = format!("{sender} {}:{id}, ", id.len());
        self.replies.send([head.as_bytes(), payload].concat(), 0).expect("PUB never blocks");
    }

    fn reply_http(&self, asked: &Asked, body: &str) {
        self.reply(
            asked,
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
        );
    }
}

#[test]
fn a_handler_over_libzmq_is_served_by_the_front_as_by_mongrel2() {
    let server = front();
    // The request waits for a handler that comes late.
    let mut client = Client::connect(server.port());
    client.send(request("POST", "/a/b?q=1", &[("X-One", "1")], b"the body"));
    let handler = Handler::connect(&server, "first");
    let asked = handler.next(SOON).expect("a request");
    assert_eq!((asked.path.as_str(), asked.body.as_slice()), ("/a/b", &b"the body"[..]));
    for part in [
        r#""METHOD":"POST""#,
        r#""URI":"/a/b?q=1""#,
        r#""QUERY":"q=1""#,
        r#""x-one":"1""#,
        r#""PATTERN":"/""#,
    ] {
        assert!(asked.headers.contains(part), "{part}: {}", asked.headers);
    }
    handler.reply_http(&asked, "hello");
    assert_eq!(client.read().text(), "hello");
    // An empty payload closes.
    let mut other = Client::connect(server.port());
    other.send(get("/close"));
    let asked = handler.next(SOON).expect("a request");
    assert_eq!(asked.path, "/close");
    handler.reply(&asked, b"");
    assert_eq!(other.read_to_end(), b"");

    // A WebSocket: the handler writes the whole handshake, and frames by hand.
    let opening = std::thread::spawn({
        let port = server.port();
        move || {
            let mut socket = WebSocket::open(port, "/ws");
            let answer = socket.ask("hi");
            socket.vanish();
            answer
        }
    });
    let next_of = |wanted: &str| loop {
        let asked = handler.next(SOON).expect("a message");
        if asked.headers.contains(&format!(r#""METHOD":"{wanted}""#)) {
            return asked;
        }
    };
    let asked = next_of("WEBSOCKET_HANDSHAKE");
    let accept = String::from_utf8_lossy(&asked.body).into_owned();
    assert_eq!(base64::engine::general_purpose::STANDARD.decode(&accept).expect("base64").len(), 20);
    handler.reply(&asked, format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").as_bytes());
    let asked = next_of("WEBSOCKET");
    assert!(asked.headers.contains(r#""FLAGS":"0x81""#), "{}", asked.headers);
    assert_eq!(asked.body, b"hi");
    let id = asked.id.clone();
    handler.reply(&asked, b"\x81\x05hello");
    assert_eq!(opening.join().expect("a WebSocket"), "hello");
    let gone = next_of("JSON");
    assert_eq!(
        (gone.path.as_str(), gone.id, gone.body.as_slice()),
        ("@*", id, &br#"{"type":"disconnect"}"#[..])
    );
}

#[test]
fn several_handlers_get_requests_in_turn_and_one_that_goes_leaves_its_share_to_the_others() {
    let server = front();
    let mut handlers: Vec<_> = ["a", "b", "c"].iter().map(|name| Handler::connect(&server, name)).collect();
    let mut clients: Vec<_> = (0..300).map(|_| Client::connect(server.port())).collect();
    // Once each is known to be there.
    wait::until("all take part", || {
        let mut client = Client::connect(server.port());
        client.send(get("/"));
        let mut seen = [false; 3];
        for _ in 0..6 {
            let mut more = Client::connect(server.port());
            more.send(get("/"));
            clients.push(more);
        }
        for (handler, seen) in handlers.iter().zip(&mut seen) {
            while let Some(asked) = handler.next(Duration::from_millis(100)) {
                *seen |= asked.path == "/";
            }
        }
        seen == [true; 3]
    });
    clients.truncate(300);
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/n/{number}")));
    }
    let mut shares = Vec::new();
    for handler in &handlers {
        let mut share = 0;
        while let Some(asked) = handler.next(Duration::from_millis(500)) {
            if let Some(number) = asked.path.strip_prefix("/n/") {
                handler.reply_http(&asked, number);
                share += 1;
            }
        }
        shares.push(share);
    }
    assert_eq!(shares.iter().sum::<i32>(), 300);
    assert!(shares.iter().all(|share| (90..=110).contains(share)), "{shares:?}");
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read().text(), number.to_string());
    }

    // Two of them go; the third one gets all. Then none is there, and another one comes.
    let all = process::descriptors(server.process());
    let gone = |count: usize| {
        wait::until("the front has noticed", || process::descriptors(server.process()) == all - 2 * count);
    };
    handlers.truncate(1);
    let serve = |handler: &Handler, clients: &mut [Client], wanted: usize| {
        let mut count = 0;
        while count < wanted {
            let asked = handler.next(SOON).expect("requests come");
            if let Some(number) = asked.path.strip_prefix("/n/") {
                handler.reply_http(&asked, number);
                count += 1;
            }
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.read().text(), number.to_string());
        }
    };
    let ask = |clients: &mut [Client]| {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(get(&format!("/n/{number}")));
        }
    };
    gone(2);
    ask(&mut clients);
    serve(&handlers[0], &mut clients, 300);
    handlers.clear();
    gone(3);
    ask(&mut clients);
    serve(&Handler::connect(&server, "d"), &mut clients, 300);
}

/// The loop of Mongrel2's library for Python, over pyzmq: answers with what it got.
const PYTHON: &str = r#"
import json, sys, zmq

context = zmq.Context()
requests = context.socket(zmq.PULL)
requests.connect(sys.argv[1])
replies = context.socket(zmq.PUB)
replies.setsockopt(zmq.IDENTITY, b"82209006-86FF-4982-B5EA-D1E29E55D481")
replies.connect(sys.argv[2])

def netstring(data):
    size, rest = data.split(b":", 1)
    size = int(size)
    assert rest[size:size + 1] == b",", "not a netstring"
    return rest[:size], rest[size + 1:]

while True:
    sender, conn, path, rest = requests.recv().split(b" ", 3)
    headers, rest = netstring(rest)
    body, _ = netstring(rest)
    headers = json.loads(headers)
    if headers["METHOD"] == "JSON":
        continue
    text = json.dumps({"path": path.decode(), "method": headers["METHOD"], "size": len(body)}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text)
    replies.send(b"%s %d:%s, " % (sender, len(conn), conn) + head + text)
"#;

#[test]
fn a_handler_over_pyzmq_is_served_by_the_front_as_by_mongrel2() {
    let folder = Folder::new();
    let python = venv::python(&folder.write("requirements.txt", "pyzmq==26.*\n"));
    let server = front();
    let (send, recv) = &server.specs()[0];
    let script = folder.write("handler.py", PYTHON);
    let start = |script: &Path| {
        Ended(
            Command::new(&python)
                .arg(script)
                .args([send, recv])
                .stdin(Stdio::null())
                .spawn()
                .expect("python"),
        )
    };
    // It comes, goes, and comes again; a request that it had taken is the only kind that may be lost.
    for round in 0..2 {
        let _handler = start(&script);
        wait::until("it responds", || {
            let mut client = Client::connect(server.port());
            client.set_patience(Duration::from_millis(500));
            client.send(get("/"));
            client.try_read().is_ok_and(|response| response.status == 200)
        });
        for number in 0..50 {
            let mut client = Client::connect(server.port());
            client.send(request("POST", &format!("/{round}/{number}"), &[], &vec![b'x'; number * 100]));
            let said = client.read().json();
            assert_eq!(said["path"], format!("/{round}/{number}"));
            assert_eq!((&said["method"], &said["size"]), (&"POST".into(), &(number * 100).into()));
        }
    }
}
