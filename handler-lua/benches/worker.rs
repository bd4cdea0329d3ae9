//! What a request or a message costs in a Lua worker alone: a thread plays the hub on the other end of the socket
//! pair, gives batches of them and takes the answers. CPU time of the worker's thread only.
//!
//! `cargo bench -p handler-lua --bench worker [-- PART_OF_A_NAME]`
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on ends")]

use handler_core::sessions::{ENTROPY, Jar, Keys, Options, Secret, Visit};
use handler_core::worker::link;
use handler_core::worker::page::Page;
use handler_core::worker::protocol::{
    Action, Handler, Open, Order, Start, encode_job, encode_message, encode_open, encode_start, split_batch,
    split_frame,
};
use handler_core::worker::surroundings;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const BATCH: u64 = 32;
const BATCHES: u64 = 5000;

/// What runs for each request, with the request `req`; or for each message.
enum Subject {
    Request(&'static str),
    Channel(&'static str),
}
use Subject::{Channel, Request};

const SUBJECTS: [(&str, Subject); 11] = [
    ("text, no header read", Request(r#"return "hello""#)),
    ("text, one header read", Request(r#"return req.headers["x-seq"]"#)),
    (
        "text, all headers read",
        Request("local n = 0 for _ in req.headers:pairs() do n = n + 1 end return tostring(n)"),
    ),
    ("a small table as JSON", Request(r#"return { hello = "world", n = 1 }"#)),
    ("an HTML response object", Request(r#"return kennel.html("<p>hello</p>")"#)),
    (
        "ten request fields",
        Request(
            "local _ = req.path, req.query, req.host, req.scheme, req.version, req.remote_addr, \
            req.args.a, req.cookies.a, req.body return req.method",
        ),
    ),
    ("a session read", Request("return req.session.user")),
    ("a session written", Request(r#"req.session.n = 1 return "hello""#)),
    ("a channel echo", Channel("{ message = function(conn, msg) conn:send(msg) end }")),
    ("a straight-line echo", Channel("function(conn) for msg in conn:messages() do conn:send(msg) end end")),
    ("a message to a room", Channel("{ message = function(conn, msg) kennel.room('lobby'):send(msg) end }")),
];

fn main() {
    // `cargo test --benches` only sees whether it runs.
    let batches = match std::env::var("BATCHES") {
        Ok(n) => n.parse().unwrap(),
        Err(_) if std::env::args().any(|arg| arg == "--bench") => BATCHES,
        Err(_) => 3,
    };
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    for (name, subject) in SUBJECTS.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let cost = measure(&subject, batches);
        println!("{name:28} {:6.0} ns", cost.as_nanos() as f64 / (batches * BATCH) as f64);
    }
}

fn keys() -> Keys {
    Keys::of(&[Secret::new(b"the secret of the benchmark").unwrap()])
}

/// The cookies of a visitor with a session.
fn cookies() -> String {
    let jar = Jar::new(&keys(), Options::of_mount("/"));
    let now = surroundings::unix_time();
    let visit = Visit::open(&jar, std::iter::empty(), now);
    let line = visit.close(&jar, r#"{"user":"somebody"}"#, false, now, false, [7; ENTROPY]).unwrap().unwrap();
    let line = String::from_utf8(line).unwrap();
    format!("a=1; {}", line.split(';').next().unwrap())
}

fn message(cookies: &str) -> Vec<u8> {
    let headers = [
        ("REMOTE_ADDR", "127.0.0.1"),
        ("METHOD", "GET"),
        ("URL_SCHEME", "http"),
        ("PATTERN", "/"),
        ("QUERY", "a=1&b=2"),
        ("URI", "/?a=1&b=2"),
        ("VERSION", "HTTP/1.1"),
        ("PATH", "/"),
        ("host", "localhost:6767"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br"),
        ("connection", "keep-alive"),
        ("cookie", cookies),
        ("upgrade-insecure-requests", "1"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "none"),
        ("sec-fetch-user", "?1"),
        ("priority", "u=1"),
        ("cache-control", "max-age=0"),
        ("x-seq", "0000000000000001"),
        ("x-forwarded-for", "127.0.0.1"),
    ];
    let block: String = headers
        .iter()
        .map(|(name, value)| format!("{}:{name},{}:{value},", name.len(), value.len()))
        .collect();
    format!("bench 1 / {}:{block}}}0:,", block.len()).into_bytes()
}

fn measure(subject: &Subject, batches: u64) -> Duration {
    let script = std::env::temp_dir().join(format!("kennel-bench-{}.lua", std::process::id()));
    let registered = match subject {
        Request(body) => format!("app:get('/', function(req) {body} end)"),
        Channel(handlers) => format!("app:channel('/', {handlers})"),
    };
    let source =
        format!("local kennel = require 'kennel'\nlocal app = kennel.app()\n{registered}\nreturn app\n");
    std::fs::write(&script, source).unwrap();
    let (mut hub, socket) = UnixStream::pair().unwrap();
    let (_page, descriptor) = Page::create().unwrap();
    let worker = std::thread::spawn(move || {
        let page = Page::map(&descriptor).unwrap();
        let (orders, actions) = link::open(socket, page).unwrap();
        handler_lua::serve(orders, actions).unwrap();
        let id = rustix::thread::gettid().as_raw_nonzero();
        let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).unwrap();
        Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
    });
    let mut out = Vec::new();
    let start =
        Start { number: 1, source: script.to_string_lossy().into_owned(), keys: keys(), ..Start::default() };
    encode_start(&mut out, &start);
    hub.write_all(&out).unwrap();
    let mut inbox = Vec::new();
    read_frames(&mut hub, &mut inbox, 1);
    std::fs::remove_file(&script).unwrap();

    let with_session = matches!(subject, Request(body) if body.contains("session"));
    let message = message(&if with_session { cookies() } else { "a=1; b=2".to_owned() });
    if matches!(subject, Channel(_)) {
        out.clear();
        open(&mut out, &message);
        hub.write_all(&out).unwrap();
        read_frames(&mut hub, &mut inbox, 1);
    }
    for batch in 0..batches {
        out.clear();
        for job in 1..=BATCH {
            let serial = batch * BATCH + job + 1;
            match subject {
                Request(_) => {
                    encode_job(&mut out, serial, Handler::Route(0), "b-0.0.1", [].into_iter(), b"", &message);
                }
                // Each another one, of a size as in a chat.
                Channel(_) => {
                    let text = format!("{serial:08} is what somebody said a moment ago, more or less");
                    encode_message(&mut out, serial, 1, false, text.as_bytes());
                }
            }
        }
        hub.write_all(&out).unwrap();
        read_frames(&mut hub, &mut inbox, BATCH);
    }
    drop(hub);
    worker.join().unwrap()
}

/// Opens connection 1, with serial 1.
fn open(out: &mut Vec<u8>, message: &[u8]) {
    let mut job = Vec::new();
    encode_job(&mut job, 1, Handler::Route(0), "", [].into_iter(), b"", b"");
    let (kind, payload, _) = split_frame(&job).unwrap();
    let Ok(Order::Job { params, .. }) = Order::read(kind, payload) else { unreachable!() };
    let open = Open {
        serial: 1,
        conn: 1,
        handler: 0,
        fresh: true,
        resumed: false,
        asked: false,
        transport: "websocket",
        name: b"b-0.0.1",
        data: b"",
        rooms: params,
        params,
        message,
    };
    encode_open(out, &open, [].into_iter(), [].into_iter());
}

/// Reads until so many jobs have ended.
fn read_frames(hub: &mut UnixStream, inbox: &mut Vec<u8>, mut missing: u64) {
    let mut chunk = [0; 64 << 10];
    while missing > 0 {
        let count = hub.read(&mut chunk).unwrap();
        assert!(count > 0, "the worker ended");
        inbox.extend_from_slice(&chunk[..count]);
        while let Some((_, mut frames, rest)) = split_batch(inbox).unwrap() {
            while let Some((kind, payload, after)) = split_frame(frames) {
                match Action::read(kind, payload).unwrap() {
                    Action::Ready(_) | Action::Respond { .. } | Action::Done { .. } => missing -= 1,
                    Action::Send { .. } | Action::Publish { .. } => {}
                    other => panic!("{other:?}"),
                }
                frames = after;
            }
            *inbox = rest.to_vec();
        }
    }
}
