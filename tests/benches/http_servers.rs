//! The same small application behind Kennel's front, behind a real Mongrel2, and on servers that speak HTTP themselves:
//! requests a second and CPU per request of all processes involved.
//!
//! ```text
//! scripts/bench-python
//! cargo build --release -p kennel -p handler-py
//! cargo bench -p tests --bench http_servers
//! cargo bench -p tests --bench http_servers -- lua rsgi     only those with such a word in their names
//! ```
//!
//! All of them serve one worker. 64 connections that are kept alive each have one request under way, with a browser's
//! headers. The servers are fed in turns, so that a minute in which the machine is slow is one for all of them. Mongrel2 and
//! nginx are left out where they are not installed.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use rustix::event::{PollFd, PollFlags, poll};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::cpu;
use tests::folder::Folder;
use tests::port::Port;
use tests::process;
use tests::server::Front;

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(15);

const APP: &str = r#"
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"10")]

async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http alone is served here")
    token = next(value for name, value in scope["headers"] if name == b"x-seq")
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": token})

async def rsgi(scope, protocol):
    protocol.response_str(200, [("content-type", "text/plain"), ("content-length", "10")], scope.headers["x-seq"])

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return [environ["HTTP_X_SEQ"].encode()]
"#;

const NATIVE: &str = r#"
from kennel import App

app = App()

@app.get("/")
def token(req):
    return req.headers["x-seq"]
"#;

const LUA: &str = r#"
local kennel = require "kennel"
local app = kennel.app()
app:get("/", function(req) return req.headers["x-seq"] end)
return app
"#;

const NGINX: &str = r#"
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 600;
    server { listen 127.0.0.1:PORT; location / { return 200 $http_x_seq; } }
}
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
    command: &'static str,
}

const SUBJECTS: [Subject; 11] = [
    Subject {
        name: "kennel lua",
        command: "KENNEL run --front=kennel --workers=1 --listen=127.0.0.1:PORT served.lua",
    },
    Subject {
        name: "mongrel2 lua",
        command: "KENNEL run --front=mongrel2 --workers=1 --listen=127.0.0.1:PORT served.lua",
    },
    Subject {
        name: "granian rsgi",
        command: "PYTHON -m granian --interface=rsgi --workers=1 --port=PORT --no-ws --loop=uvloop served:rsgi",
    },
    Subject {
        name: "kennel python",
        command: "KENNEL run --front=kennel --workers=1 --python=PYTHON --listen=127.0.0.1:PORT native.py",
    },
    Subject {
        name: "kennel wsgi",
        command: "KENNEL run --front=kennel --workers=1 --python=PYTHON --listen=127.0.0.1:PORT served:wsgi",
    },
    Subject {
        name: "mongrel2 wsgi",
        command: "KENNEL run --front=mongrel2 --workers=1 --python=PYTHON --listen=127.0.0.1:PORT served:wsgi",
    },
    Subject {
        name: "granian wsgi",
        command: "PYTHON -m granian --interface=wsgi --workers=1 --port=PORT --no-ws served:wsgi",
    },
    Subject {
        name: "kennel asgi",
        command: "KENNEL run --front=kennel --workers=1 --python=PYTHON --listen=127.0.0.1:PORT served:asgi",
    },
    Subject {
        name: "granian asgi",
        command: "PYTHON -m granian --interface=asgi --workers=1 --port=PORT --no-ws --loop=uvloop served:asgi",
    },
    Subject {
        name: "uvicorn asgi",
        // Its own turn comes after those of all others.
        command: "PYTHON -m uvicorn --port=PORT --no-access-log --log-level=warning --lifespan=off \
            --timeout-keep-alive=600 served:asgi",
    },
    Subject { name: "nginx return", command: "nginx -p FOLDER -c nginx.conf" },
];

/// Which processes of a subject count.
#[derive(Clone, Copy)]
enum Part {
    /// All of them.
    Whole,
    /// Those that run the application, without the server before them.
    Behind,
}

/// What must not take more CPU than so many times the other's.
const RIVALS: [(&str, &str, Part, f64); 4] = [
    ("kennel lua", "mongrel2 lua", Part::Whole, 0.7),
    ("kennel lua", "granian rsgi", Part::Whole, 1.0),
    ("kennel wsgi", "granian wsgi", Part::Behind, 1.0),
    ("kennel asgi", "granian asgi", Part::Behind, 1.0),
];

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
    behind: f64,
    server: f64,
}

impl Server {
    fn start(subject: &Subject, folder: &Folder) -> Self {
        let port = Port::free();
        let (python, kennel) = (bench_python(), kennel());
        folder.write("nginx.conf", NGINX.replace("PORT", &port.number().to_string()));
        let mut words = subject.command.split_ascii_whitespace().map(|word| {
            word.replace("PORT", &port.number().to_string())
                .replace("PYTHON", &python.display().to_string())
                .replace("KENNEL", &kennel.display().to_string())
                .replace("FOLDER", &folder.path().display().to_string())
        });
        let child = Command::new(words.next().unwrap())
            .args(words)
            .current_dir(folder.path())
            .env("PYTHONPATH", folder.path())
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

    /// CPU of the server before the application, if that is another process, and of all others.
    fn on_cpu(&self) -> (Duration, Duration) {
        let (servers, others): (Vec<u32>, Vec<u32>) = cpu::family(self.child.id())
            .into_iter()
            .partition(|pid| [Front::Kennel, Front::Mongrel2].iter().any(|front| front.is_server(*pid)));
        let sum = |pids: Vec<u32>| pids.into_iter().map(cpu::used_by).sum();
        (sum(servers), sum(others))
    }

    fn feed(&mut self, time: Duration) {
        let ((server, behind), begin) = (self.on_cpu(), Instant::now());
        let answers = exchange(&mut self.clients, time);
        let clock = begin.elapsed().as_secs_f64();
        let (server_after, behind_after) = self.on_cpu();
        let each = |time: Duration| time.as_secs_f64() / answers as f64;
        self.turns.push(Turn {
            clock: clock / answers as f64,
            behind: each(behind_after - behind),
            server: each(server_after - server),
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

/// Whether the subject can run here, and is one of those that were asked for.
fn is_chosen(subject: &Subject, words: &[String]) -> bool {
    let needs = if subject.name.starts_with("mongrel2") { "mongrel2" } else { "nginx" };
    if (subject.name.starts_with(needs)) && !is_installed(needs) {
        println!("skipped: {}, because {needs} is not installed", subject.name);
        return false;
    }
    words.is_empty() || words.iter().any(|word| subject.name.contains(word))
}

fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn main() {
    let (flags, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    // `cargo test --benches` only wants to know whether it builds.
    if flags.iter().any(|flag| flag == "--test") {
        return;
    }
    let folder = Folder::new();
    folder.write("served.py", APP);
    folder.write("native.py", NATIVE);
    folder.write("served.lua", LUA);
    let mut servers: Vec<Server> = SUBJECTS
        .iter()
        .filter(|subject| is_chosen(subject, &words))
        .map(|subject| Server::start(subject, &folder))
        .collect();
    for server in &mut servers {
        exchange(&mut server.clients, TURN / 4);
    }
    for round in 1..=ROUNDS {
        for server in &mut servers {
            server.feed(TURN);
        }
        eprintln!("round {round} of {ROUNDS}");
    }
    println!("{:13} {:>10} {:>13} {:>24}", "", "requests/s", "CPU each, µs", "of that the server, µs");
    for server in &servers {
        let [clock, all, before] =
            [|turn: &Turn| turn.clock, |turn: &Turn| turn.behind + turn.server, |turn: &Turn| turn.server]
                .map(|of: fn(&Turn) -> f64| server.median(of));
        println!("{:13} {:>10.0} {:>13.1} {:>24.1}", server.name, 1.0 / clock, all * 1e6, before * 1e6);
    }
    let mut missed = false;
    for (ours, theirs, part, most) in RIVALS {
        let [Some(ours), Some(theirs)] =
            [ours, theirs].map(|name| servers.iter().find(|server| server.name == name))
        else {
            continue;
        };
        let cpu: fn(&Turn) -> f64 = match part {
            Part::Whole => |turn| turn.behind + turn.server,
            Part::Behind => |turn| turn.behind,
        };
        let factor = ours.median(cpu) / theirs.median(cpu);
        missed |= factor > most;
        let word = if factor > most { "missed" } else { "met" };
        let what = match part {
            Part::Whole => "",
            Part::Behind => " without its front",
        };
        println!(
            "{word}: {}{what} takes {factor:.2} times the CPU of {}, at most {most:.2}",
            ours.name, theirs.name
        );
    }
    drop(servers);
    std::process::exit(i32::from(missed && flags.iter().any(|flag| flag == "--check")));
}
