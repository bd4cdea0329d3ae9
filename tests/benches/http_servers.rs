//! The same WSGI and ASGI application served by Kennel behind a real Mongrel2, by granian and by uvicorn: requests a second and
//! CPU per request of all processes involved.
//!
//! ```text
//! scripts/bench-python
//! cargo build --release -p kennel -p handler-py
//! cargo bench -p tests --bench http_servers
//! ```
//!
//! All of them serve one worker. 32 connections that are kept alive each have one request under way, with a browser's
//! headers. The servers are fed in turns, so that a minute in which the machine is slow is one for all of them.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use rustix::event::{PollFd, PollFlags, poll};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::folder::Folder;
use tests::port::Port;
use tests::process;

const CONNECTIONS: usize = 32;
const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(15);

const APP: &str = r#"
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"10")]

async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http alone is served here")
    token = next(value for name, value in scope["headers"] if name == b"x-seq")
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": token})

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return [environ["HTTP_X_SEQ"].encode()]
"#;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nx-seq: 0123456789\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.9,de;q=0.8\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Cookie: session=eyJ1c2VyIjo3LCJuIjoxMn0.k2Jx0w; theme=dark\r\nsec-fetch-mode: navigate\r\n\
    sec-fetch-site: none\r\nsec-fetch-dest: document\r\nupgrade-insecure-requests: 1\r\n\r\n";

/// A server to measure, and what it is started with: `PORT`, `PYTHON` and `KENNEL` stand for what they say.
struct Subject {
    name: &'static str,
    command: &'static [&'static str],
}

const SUBJECTS: [Subject; 5] = [
    Subject {
        name: "kennel wsgi",
        command: &[
            "KENNEL",
            "run",
            "--workers=1",
            "--python=PYTHON",
            "--listen=127.0.0.1:PORT",
            "served:wsgi",
        ],
    },
    Subject {
        name: "granian wsgi",
        command: &[
            "PYTHON",
            "-m",
            "granian",
            "--interface=wsgi",
            "--workers=1",
            "--port=PORT",
            "--no-ws",
            "served:wsgi",
        ],
    },
    Subject {
        name: "kennel asgi",
        command: &[
            "KENNEL",
            "run",
            "--workers=1",
            "--python=PYTHON",
            "--listen=127.0.0.1:PORT",
            "served:asgi",
        ],
    },
    Subject {
        name: "granian asgi",
        command: &[
            "PYTHON",
            "-m",
            "granian",
            "--interface=asgi",
            "--workers=1",
            "--port=PORT",
            "--no-ws",
            "--loop=uvloop",
            "served:asgi",
        ],
    },
    Subject {
        name: "uvicorn asgi",
        command: &[
            "PYTHON",
            "-m",
            "uvicorn",
            "--port=PORT",
            "--no-access-log",
            "--log-level=warning",
            "--lifespan=off",
            // Its own turn comes after those of all others.
            "--timeout-keep-alive=600",
            "served:asgi",
        ],
    },
];

/// Kennel's must not take more CPU than granian's.
const RIVALS: [(&str, &str); 2] = [("kennel wsgi", "granian wsgi"), ("kennel asgi", "granian asgi")];

/// One that runs, and its clients.
struct Server {
    name: &'static str,
    child: Child,
    clients: Vec<TcpStream>,
    turns: Vec<Turn>,
    _port: Port,
}

/// What one turn took, a request: seconds on the clock, and of CPU.
struct Turn {
    clock: f64,
    own: f64,
    mongrel2: f64,
}

impl Server {
    fn start(subject: &Subject, folder: &Path) -> Self {
        let port = Port::free();
        let (python, kennel) = (bench_python(), kennel());
        let mut words = subject.command.iter().map(|word| {
            word.replace("PORT", &port.number().to_string())
                .replace("PYTHON", &python.display().to_string())
                .replace("KENNEL", &kennel.display().to_string())
        });
        let child = Command::new(words.next().unwrap())
            .args(words)
            .current_dir(folder)
            .env("PYTHONPATH", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server =
            Self { name: subject.name, child, clients: Vec::new(), turns: Vec::new(), _port: port };
        let begin = Instant::now();
        while !answers(server._port.number()) {
            assert!(begin.elapsed() < PATIENCE, "{} does not answer", subject.name);
            std::thread::sleep(Duration::from_millis(50));
        }
        server.clients = (0..CONNECTIONS).map(|_| connect(server._port.number())).collect();
        server
    }

    /// CPU of Mongrel2, and of all other processes.
    fn on_cpu(&self) -> (Duration, Duration) {
        let mut family = vec![self.child.id()];
        let mut next = 0;
        while let Some(&member) = family.get(next) {
            family.extend(process::children(member));
            next += 1;
        }
        let (mongrel2, own): (Vec<u32>, Vec<u32>) =
            family.into_iter().partition(|pid| process::command_line(*pid).starts_with("mongrel2 "));
        let sum = |pids: Vec<u32>| pids.into_iter().map(on_cpu).sum();
        (sum(mongrel2), sum(own))
    }

    fn feed(&mut self, time: Duration) {
        let ((mongrel2, own), begin) = (self.on_cpu(), Instant::now());
        let answers = exchange(&mut self.clients, time);
        let clock = begin.elapsed().as_secs_f64();
        let (mongrel2_after, own_after) = self.on_cpu();
        let each = |time: Duration| time.as_secs_f64() / answers as f64;
        self.turns.push(Turn {
            clock: clock / answers as f64,
            own: each(own_after - own),
            mongrel2: each(mongrel2_after - mongrel2),
        });
    }

    fn median(&self, of: impl Fn(&Turn) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.turns.iter().map(of).collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures[figures.len() / 2]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Granian's worker ends with a parent that is told to end, not with one that is killed.
        process::signal(self.child.id(), process::Signal::TERM);
        let begin = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if begin.elapsed() > Duration::from_secs(5) {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Each client asks again as soon as it was answered. How many answers came.
fn exchange(clients: &mut [TcpStream], time: Duration) -> usize {
    let end = Instant::now() + time;
    let mut inboxes = vec![Vec::new(); clients.len()];
    let mut answers = 0;
    for client in clients.iter_mut() {
        client.write_all(REQUEST.as_bytes()).unwrap();
    }
    let mut waiting = clients.len();
    while waiting > 0 {
        let ready: Vec<usize> = {
            let mut sockets: Vec<_> =
                clients.iter().map(|client| PollFd::new(client, PollFlags::IN)).collect();
            poll(&mut sockets, None).unwrap();
            sockets
                .iter()
                .enumerate()
                .filter(|(_, one)| !one.revents().is_empty())
                .map(|(at, _)| at)
                .collect()
        };
        for at in ready {
            let mut chunk = [0; 4096];
            let size = clients[at].read(&mut chunk).unwrap();
            assert!(size > 0, "a connection was closed");
            inboxes[at].extend_from_slice(&chunk[..size]);
            if !inboxes[at].ends_with(b"\r\n\r\n0123456789") {
                continue;
            }
            assert!(inboxes[at].starts_with(b"HTTP/1.1 200"), "{}", inboxes[at].escape_ascii());
            inboxes[at].clear();
            answers += 1;
            if Instant::now() < end {
                clients[at].write_all(REQUEST.as_bytes()).unwrap();
            } else {
                waiting -= 1;
            }
        }
    }
    answers
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut first = [0; 12];
    stream.write_all(REQUEST.as_bytes()).is_ok()
        && stream.read_exact(&mut first).is_ok()
        && first == *b"HTTP/1.1 200"
}

/// The first field of `schedstat` is nanoseconds on CPU.
fn on_cpu(pid: u32) -> Duration {
    let nanoseconds = |thread: fs::DirEntry| -> Option<u64> {
        fs::read_to_string(thread.path().join("schedstat"))
            .ok()?
            .split_ascii_whitespace()
            .next()?
            .parse()
            .ok()
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    Duration::from_nanos(threads.filter_map(|thread| nanoseconds(thread.ok()?)).sum())
}

fn bench_python() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-python/bin/python");
    assert!(path.is_file(), "there is no {}; scripts/bench-python makes it", path.display());
    path
}

fn kennel() -> PathBuf {
    let profile = std::env::current_exe().unwrap();
    let beside = profile.ancestors().nth(2).unwrap().join("kennel");
    let path = std::env::var_os("KENNEL_BIN").map_or(beside, PathBuf::from);
    assert!(path.is_file(), "there is no {}; cargo build --release -p kennel -p handler-py", path.display());
    path
}

fn main() {
    // `cargo test --benches` only wants to know whether it builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = Folder::new();
    folder.write("served.py", APP);
    let mut servers: Vec<Server> =
        SUBJECTS.iter().map(|subject| Server::start(subject, folder.path())).collect();
    for server in &mut servers {
        exchange(&mut server.clients, TURN / 4);
    }
    for round in 1..=ROUNDS {
        for server in &mut servers {
            server.feed(TURN);
        }
        eprintln!("round {round} of {ROUNDS}");
    }
    println!("{:13} {:>10} {:>18} {:>14}", "", "requests/s", "CPU each, µs", "Mongrel2, µs");
    for server in &servers {
        let [clock, own, mongrel2] =
            [(|turn: &Turn| turn.clock) as fn(&Turn) -> f64, |turn| turn.own, |turn| turn.mongrel2]
                .map(|of| server.median(of));
        println!("{:13} {:>10.0} {:>18.1} {:>14.1}", server.name, 1.0 / clock, own * 1e6, mongrel2 * 1e6);
    }
    let mut missed = false;
    for (ours, theirs) in RIVALS {
        let own = |name| servers.iter().find(|server| server.name == name).unwrap().median(|turn| turn.own);
        let factor = own(ours) / own(theirs);
        missed |= factor > 1.0;
        let word = if factor > 1.0 { "missed" } else { "met" };
        println!("{word}: {ours} takes {factor:.2} times the CPU of {theirs}, at most 1.00");
    }
    drop(servers);
    std::process::exit(i32::from(missed && std::env::args().any(|argument| argument == "--check")));
}
