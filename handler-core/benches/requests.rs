//! What an HTTP request costs the hub, from Mongrel2's message to the bytes of the answer, without sockets.
//!
//! ```text
//! cargo bench -p handler-core --bench requests
//! ```
//!
//! Worker and Mongrel2 are made up, and their share is measured apart: the hub's own part is between its calls. The
//! figures are the least of many rounds, since other load only adds to them.

use handler_core::hub::{AppId, AppSpec, Effect, Hub, Limits, LinkId, WorkerId};
use handler_core::metrics::text;
use handler_core::worker::protocol::{Action, Order, Registration, RouteSpec, encode_action, split_frame};
use std::hint::black_box;
use std::time::{Duration, Instant};

const LINK: LinkId = LinkId(0);
const WORKER: WorkerId = WorkerId(0);
const ROUNDS: usize = 4000;
const CLIENTS: usize = 64;

/// A hub with one worker, which answers at once.
struct World {
    hub: Hub,
    now: Instant,
    batch: Vec<u8>,
}

impl World {
    /// With so many routes, `/users/{id}` and others.
    fn new(count: u32) -> Self {
        let app = AppSpec { name: "app.lua".into(), mount: "/".into(), workers: 1 };
        let mut hub = Hub::new(Limits::default(), "boot", 1, vec![app]);
        let now = Instant::now();
        hub.handle_server_up(LINK, b"");
        hub.load_app(AppId(0), now);
        while let Some(effect) = hub.poll_effect() {
            assert!(matches!(effect, Effect::StartWorker { .. }), "{effect:?}");
        }
        let route = |path: &str, handler| RouteSpec {
            methods: vec!["GET".into()],
            path: path.into(),
            handler,
            place: "app.lua:1".into(),
            streams: false,
        };
        let mut routes = vec![route("/users/{id}", 0)];
        routes.extend((1..count).map(|number| route(&format!("/{number}"), number)));
        let ready = Action::Ready(Registration { routes, ..Registration::default() });
        let mut batch = Vec::new();
        encode_action(&mut batch, &ready);
        hub.handle_batch(WORKER, &batch, now).expect("the batch makes sense");
        hub.finish_turn(now);
        let _ = hub.poll_effect();
        Self { hub, now, batch }
    }

    /// What the worker says to what it was told.
    fn work(&mut self) {
        self.batch.clear();
        let (orders, _) = self.hub.take_orders(WORKER).expect("the worker is known");
        let mut rest = &orders[..];
        while let Some((kind, payload, after)) = split_frame(rest) {
            rest = after;
            if let Order::Job { serial, .. } = Order::read(kind, payload).expect("the order makes sense") {
                let head = b"Content-Type: text/plain; charset=utf-8\r\n";
                let answer = Action::Respond { serial, status: 200, head, body: b"hello\n" };
                encode_action(&mut self.batch, &answer);
            }
        }
        orders.clear();
    }

    /// So many requests in two turns: they arrive, and they are answered. The hub's share of the time.
    fn round(&mut self, messages: &[Vec<u8>]) -> Duration {
        self.now += Duration::from_millis(1);
        let begun = Instant::now();
        for message in messages {
            self.hub.handle_message(LINK, black_box(message), self.now);
        }
        self.hub.finish_turn(self.now);
        let arrived = begun.elapsed();
        self.work();
        self.now += Duration::from_micros(300);
        let begun = Instant::now();
        self.hub.handle_batch(WORKER, &self.batch, self.now).expect("the batch makes sense");
        self.hub.finish_turn(self.now);
        let mut replies = 0;
        self.hub.drain_replies(|_, reply| {
            replies += 1;
            black_box(reply);
        });
        let answered = begun.elapsed();
        assert_eq!(replies, messages.len(), "every request has its answer");
        arrived + answered
    }
}

/// A browser's request.
fn message(id: usize, path: &str) -> Vec<u8> {
    let all = [
        ("REMOTE_ADDR", "127.0.0.1"),
        ("METHOD", "GET"),
        ("URL_SCHEME", "http"),
        ("PATTERN", "/"),
        ("URI", path),
        ("VERSION", "HTTP/1.1"),
        ("PATH", path),
        ("host", "www.example.org"),
        ("connection", "keep-alive"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        ),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "en-US,en;q=0.9"),
        ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
        ("x-forwarded-for", "127.0.0.1"),
    ];
    let mut headers = String::new();
    for (name, value) in all {
        headers.push_str(&format!("{}:{name},{}:{value},", name.len(), value.len()));
    }
    format!("m2 {id} {path} {}:{headers}}}0:,", headers.len()).into_bytes()
}

fn main() {
    let messages: Vec<_> = (1..=CLIENTS).map(|id| message(id, &format!("/users/{id}"))).collect();
    for (what, count) in [("64 requests a turn", CLIENTS), ("one request a turn", 1)] {
        let mut world = World::new(3);
        let mut times: Vec<_> = (0..ROUNDS).map(|_| world.round(&messages[..count])).collect();
        times.sort_unstable();
        let each = |time: Duration| time.as_nanos() as f64 / count as f64;
        let (least, median) = (each(times[ROUNDS / 100]), each(times[ROUNDS / 2]));
        println!("{what:<24} {least:>8.1} ns each (first percentile), {median:>8.1} ns (median)");
    }
    for routes in [10, 1000] {
        let mut world = World::new(routes);
        for number in 1..routes {
            world.round(&[message(number as usize, &format!("/{number}"))]);
        }
        let mut size = 0;
        let mut write = || {
            let begun = Instant::now();
            size = black_box(text(&world.hub.metrics())).len();
            begun.elapsed()
        };
        let mut times: Vec<_> = (0..100).map(|_| write()).collect();
        times.sort_unstable();
        println!(
            "metrics of {routes:>4} routes     {:>8.1} µs (median), {size} bytes",
            times[50].as_nanos() as f64 / 1e3
        );
    }
}
