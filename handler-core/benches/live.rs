//! What live connections cost the hub: a room's message for each who gets it, an echo, and memory, of BOSH sessions too.
//!
//! ```text
//! cargo bench -p handler-core --bench live [-- --check]
//! ```
//!
//! The hub itself, with everything between a worker's batch and the bytes for Mongrel2, without sockets.
//! `--check` exits with 1 when a target is missed. `cargo test` plays it once, small, and measures nothing.

use handler_core::hub::{AppId, AppSpec, Effect, Hub, Limits, LinkId, WorkerId};
use handler_core::worker::protocol::{Action, ChannelSpec, Order, Registration, encode_action, split_frame};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// Counts the bytes that are in use.
struct Counting;

#[allow(unsafe_code, reason = "an allocator is unsafe by its nature; this one only counts")]
// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LINK: LinkId = LinkId(0);
const WORKER: WorkerId = WorkerId(0);
/// So long after a message, the hub takes it for delivered.
const PAUSE: Duration = Duration::from_millis(110);
/// Clients say something this often, so that they are not taken for dead.
const BEAT: Duration = Duration::from_secs(10);

/// A hub with one worker, which does at once what it is told.
struct World {
    hub: Hub,
    now: Instant,
    /// When all clients said something.
    heard: Instant,
    /// The numbers of the connections, in the order of their opening.
    conns: Vec<u64>,
}

impl World {
    fn new() -> Self {
        let app = AppSpec { name: "app.lua".into(), mount: "/".into(), workers: 1 };
        let mut limits = Limits::default();
        // More than any one Mongrel2 has.
        limits.connections = usize::MAX;
        let mut hub = Hub::new(limits, "boot", 1, vec![app]);
        hub.set_session_key(&[7; 32]);
        let now = Instant::now();
        hub.handle_server_up(LINK, b"");
        hub.load_app(AppId(0), now);
        while let Some(effect) = hub.poll_effect() {
            assert!(matches!(effect, Effect::StartWorker { .. }), "{effect:?}");
        }
        let channel = ChannelSpec { path: "/ws".into(), ..ChannelSpec::default() };
        let registration = Registration { channels: vec![channel], ..Registration::default() };
        let mut world = Self { hub, now, heard: now, conns: Vec::new() };
        world.act(&[Action::Ready(registration)]);
        world.turn();
        world
    }

    fn act(&mut self, actions: &[Action<'_>]) {
        let mut batch = Vec::new();
        actions.iter().for_each(|action| encode_action(&mut batch, action));
        self.hub.handle_batch(WORKER, &batch, self.now).expect("the batch makes sense");
    }

    /// One turn; the bytes for Mongrel2.
    fn turn(&mut self) -> usize {
        self.hub.finish_turn(self.now);
        let mut bytes = 0;
        self.hub.drain_replies(|_, reply| bytes += black_box(reply).len());
        bytes
    }

    /// One turn; the session that is named in each answer, in the order of the clients' connections.
    fn turn_for_names(&mut self) -> Vec<String> {
        self.hub.finish_turn(self.now);
        let mut names = Vec::new();
        self.hub.drain_replies(|_, reply| {
            let reply = String::from_utf8_lossy(reply);
            let id = reply.split([':', ',']).nth(1).and_then(|id| id.parse().ok()).unwrap_or(0_usize);
            if let Some((_, sid)) = reply.split_once("sid=\"") {
                names.push((id, sid.split('"').next().unwrap_or_default().to_owned()));
            }
        });
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// Opens BOSH sessions, each of which says something, reads the echo, and has a request that waits.
    fn open_bosh(&mut self, count: usize) {
        const SIZE: usize = 50;
        assert!(count.is_multiple_of(SIZE), "whole groups");
        for first in (1..=count).step_by(SIZE) {
            let ids = first..first + SIZE;
            for id in ids.clone() {
                let opening = "to='chat.example.org' xml:lang='en' wait='25' hold='1' ver='1.6'";
                self.hub.handle_message(LINK, &post(id, 1, opening, ""), self.now);
            }
            self.turn();
            self.obey();
            let names = self.turn_for_names();
            assert_eq!(names.len(), SIZE);
            for (rid, content) in
                [(2, "<message xmlns='jabber:client'><body>hello</body></message>"), (3, "")]
            {
                for (id, sid) in ids.clone().zip(&names) {
                    let message = post(id, rid, &format!("sid='{sid}'"), content);
                    self.hub.handle_message(LINK, &message, self.now);
                }
                self.turn();
                self.obey();
                self.turn();
            }
        }
        self.rest();
    }

    /// Does what the worker was told, and tells the hub so.
    fn obey(&mut self) {
        let Some((orders, _)) = self.hub.take_orders(WORKER) else { return };
        let orders = std::mem::take(orders);
        let mut batch = Vec::new();
        let mut rest = &orders[..];
        while let Some((kind, payload, after)) = split_frame(rest) {
            rest = after;
            match Order::read(kind, payload).expect("the order makes sense") {
                Order::Open(open) => {
                    self.conns.push(open.conn);
                    encode_action(&mut batch, &Action::Done { serial: open.serial });
                }
                Order::Message { serial, conn, binary, payload } => {
                    encode_action(&mut batch, &Action::Send { conn, binary, payload });
                    encode_action(&mut batch, &Action::Done { serial });
                }
                Order::Close { serial, .. } => encode_action(&mut batch, &Action::Done { serial }),
                _ => {}
            }
        }
        self.hub.handle_batch(WORKER, &batch, self.now).expect("the batch makes sense");
    }

    fn open(&mut self, count: usize) {
        for id in 1..=count {
            let message = message(id, None, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
            self.hub.handle_message(LINK, &message, self.now);
            if id % 64 == 0 || id == count {
                self.turn();
                self.obey();
            }
        }
        assert_eq!(self.conns.len(), count, "a handshake was refused");
        self.rest();
    }

    /// Time passes, in which clients send a pong now and then.
    fn go_on(&mut self, time: Duration) {
        self.now += time;
        if self.now < self.heard + BEAT {
            return;
        }
        self.heard = self.now;
        for id in 1..=self.conns.len() {
            self.hub.handle_message(LINK, &message(id, Some(0x8A), b""), self.now);
        }
        self.turn();
        self.obey();
    }

    /// Time in which nothing happens.
    fn rest(&mut self) {
        for _ in 0..4 {
            self.now += Duration::from_millis(1100);
            self.turn();
            self.obey();
        }
    }
}

/// A browser's handshake, or a frame on its connection.
fn message(id: usize, flags: Option<u8>, body: &[u8]) -> Vec<u8> {
    let mut headers = String::new();
    let method = if flags.is_some() { "WEBSOCKET" } else { "WEBSOCKET_HANDSHAKE" };
    // 16 bytes in base64: the last of 22 digits has only two bits.
    let key = format!("{id:021}A==");
    let mut all = vec![
        ("REMOTE_ADDR", "127.0.0.1"),
        ("METHOD", method),
        ("URL_SCHEME", "http"),
        ("PATTERN", "/"),
        ("URI", "/ws"),
        ("VERSION", "HTTP/1.1"),
        ("PATH", "/ws"),
        ("host", "chat.example.org"),
        ("connection", "Upgrade"),
        ("pragma", "no-cache"),
        ("cache-control", "no-cache"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        ),
        ("upgrade", "websocket"),
        ("origin", "http://chat.example.org"),
        ("sec-websocket-version", "13"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "en-US,en;q=0.9"),
        ("sec-websocket-key", &key),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ("x-forwarded-for", "127.0.0.1"),
    ];
    let flags = flags.map(|flags| format!("0x{flags:X}"));
    if let Some(flags) = &flags {
        all.push(("FLAGS", flags));
    }
    for (name, value) in all {
        headers.push_str(&format!("{}:{name},{}:{value},", name.len(), value.len()));
    }
    let mut message = format!("m2 {id} /ws {}:{headers}}}{}:", headers.len(), body.len()).into_bytes();
    message.extend_from_slice(body);
    message.push(b',');
    message
}

/// A page's request of a BOSH session.
fn post(id: usize, rid: usize, attributes: &str, content: &str) -> Vec<u8> {
    let body = format!(
        "<body rid='{rid}' {attributes} xmlns='http://jabber.org/protocol/httpbind'>{content}</body>"
    );
    let size = body.len().to_string();
    let all = [
        ("REMOTE_ADDR", "127.0.0.1"),
        ("METHOD", "POST"),
        ("URL_SCHEME", "http"),
        ("PATTERN", "/"),
        ("URI", "/ws"),
        ("VERSION", "HTTP/1.1"),
        ("PATH", "/ws"),
        ("host", "chat.example.org"),
        ("connection", "keep-alive"),
        ("content-length", &size),
        ("content-type", "text/xml; charset=UTF-8"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        ),
        ("accept", "*/*"),
        ("origin", "http://chat.example.org"),
        ("referer", "http://chat.example.org/"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "en-US,en;q=0.9"),
        ("x-forwarded-for", "127.0.0.1"),
    ];
    let headers: String =
        all.iter().map(|(name, value)| format!("{}:{name},{}:{value},", name.len(), value.len())).collect();
    format!("m2 {id} /ws {}:{headers}}}{}:{body},", headers.len(), body.len()).into_bytes()
}

/// Nanoseconds for each of `count` in a turn, the median of many.
fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn main() {
    let is_given = |option: &str| std::env::args().any(|argument| argument == option);
    let check = is_given("--check");
    // Cargo gives `--bench` under `cargo bench` and not under `cargo test`, which plays everything once, small.
    // `sends`: together they stay below the 64 KiB behind which the hub asks a client with a ping whether it has read.
    let small = !is_given("--bench");
    let (members, held, sessions, sends, rounds) =
        if small { (100, 100, 50, 1, 1) } else { (10_000, 100_000, 10_000, 250, 200) };
    let mut missed = false;
    let mut judge = |what: &str, value: f64, most: f64, unit: &str| {
        let word = if value <= most { "met" } else { "MISSED" };
        if small {
            return;
        }
        missed |= value > most;
        println!("{what:<58} {value:>8.1} {unit}, at most {most} ({word})");
    };

    let mut world = World::new();
    world.open(members);
    let conns = world.conns.clone();
    let joins: Vec<_> = conns.iter().map(|conn| Action::Join { conn: *conn, room: b"lobby" }).collect();
    world.act(&joins);
    world.rest();
    let payload = [b'x'; 100];
    let publish = Action::Publish { except: 0, binary: false, room: b"lobby", payload: &payload };
    let send = |world: &mut World, changed: bool| {
        world.go_on(PAUSE);
        if changed {
            world.act(&[Action::Leave { conn: conns[17], room: b"lobby" }]);
            world.act(&[Action::Join { conn: conns[17], room: b"lobby" }]);
        }
        let mut batch = Vec::new();
        encode_action(&mut batch, &publish);
        let start = Instant::now();
        world.hub.handle_batch(WORKER, &batch, world.now).expect("the batch makes sense");
        let bytes = world.turn();
        assert!(bytes > members * 3, "{bytes}");
        start.elapsed().as_nanos() as f64 / members as f64
    };
    for _ in 0..sends / 10 {
        send(&mut world, true);
    }
    let uncached = median((0..sends).map(|_| send(&mut world, true)).collect());
    let cached = median((0..sends).map(|_| send(&mut world, false)).collect());
    judge("a room's message, each of 10,000, membership changed", uncached, 15.0, "ns");
    judge("a room's message, each of 10,000, membership as before", cached, 5.0, "ns");

    let echo = |world: &mut World, at: usize| {
        let frame = message(at % members + 1, Some(0x81), b"hello, is anybody there?");
        let start = Instant::now();
        world.hub.handle_message(LINK, &frame, world.now);
        start.elapsed()
    };
    let mut samples = Vec::new();
    for round in 0..rounds {
        world.go_on(PAUSE);
        let mut time = Duration::ZERO;
        for at in 0..32 {
            time += echo(&mut world, round * 32 + at);
        }
        let start = Instant::now();
        world.turn();
        world.obey();
        world.turn();
        samples.push((time + start.elapsed()).as_nanos() as f64 / 32.0);
    }
    println!(
        "{:<58} {:>8.1} ns",
        "an echo, 32 a turn, the worker's share of this test included",
        median(samples)
    );

    drop(world);
    let mut world = World::new();
    world.conns.reserve(held);
    let before = ALLOCATED.load(Ordering::Relaxed);
    world.open(held);
    let joins: Vec<_> = (world.conns.iter().enumerate())
        .map(|(at, conn)| Action::Join { conn: *conn, room: [&b"a"[..], b"b", b"c", b"d"][at % 4] })
        .collect();
    for part in joins.chunks(1000) {
        world.act(part);
    }
    world.rest();
    let each = (ALLOCATED.load(Ordering::Relaxed) - before) as f64 / held as f64;
    judge("memory of an idle connection in one of four rooms", each, 410.0, "bytes");
    let most = world.conns.clone();
    for (n, room) in [&b"a"[..], b"b", b"c", b"d"].into_iter().enumerate() {
        for part in most.chunks(1000) {
            let joins: Vec<_> = part.iter().map(|conn| Action::Join { conn: *conn, room }).collect();
            world.act(&joins);
        }
        let _ = n;
    }
    drop(joins);
    world.rest();
    let each = (ALLOCATED.load(Ordering::Relaxed) - before - most.len() * 8) as f64 / held as f64;
    println!("{:<58} {each:>8.1} bytes", "the same in all four rooms");
    drop(world);
    let mut world = World::new();
    world.conns.reserve(sessions);
    let before = ALLOCATED.load(Ordering::Relaxed);
    world.open_bosh(sessions);
    assert_eq!(world.conns.len(), sessions);
    let each = (ALLOCATED.load(Ordering::Relaxed) - before) as f64 / sessions as f64;
    judge("memory of a BOSH session with a request that waits", each, 2048.0, "bytes");

    if check && missed {
        std::process::exit(1);
    }
}
