//! What programs read of a running kennel: the console's lines (`snapshots/console.txt`) and the metrics
//! (`snapshots/metrics.txt`), of a made-up site.
//!
//! Console, hub and metrics are those of the poll loop. Servers and workers are made up, and time stands still.

use super::console::Console;
use super::numbers::{self, Turns};
use super::orders::Desk;
use super::seats::Seats;
use super::{App, AskWhoIsThere, ConsoleSocket, Observer};
use crate::console::{COMMANDS, LogLevel};
use crate::hub::{AppId, AppSpec, Effect, Hub, Limits, LinkId, Sharing, WorkerId};
use crate::transport::{Endpoint, Mongrel2s};
use crate::worker::process::WorkerCommand;
use crate::worker::protocol::{
    Action, ChannelSpec, LoadFailure, Order, Registration, RouteSpec, Start, encode_action, split_frame,
};
use rustix::event::epoll;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The token of the first socket of the console.
const SOCKETS: u64 = 100;
/// The operator's client, and the client of the handler's socket: they come behind the two sockets.
const OPERATOR: u64 = SOCKETS + 2;
const OF_HANDLER: u64 = SOCKETS + 3;
/// The link of made-up requests; the other one is a Mongrel2.
const OWN_LINK: LinkId = LinkId(1);

struct Quiet;

impl Observer for Quiet {
    fn ready(&mut self, _: &Hub) {}
    fn connected(&mut self, _: &Endpoint, _: Option<u32>) {}
    fn reload_asked(&mut self) {}
    fn reloaded(&mut self, _: &Hub, _: AppId) {}
    fn load_failed(&mut self, _: &mut Hub, _: AppId, _: &LoadFailure, _: bool) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn companion(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn companion_ended(&mut self, _: Instant) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn companion_due(&self) -> Option<Instant> {
        None
    }
    fn start_companion(&mut self, _: Instant) {}
    fn roll_call(&self, _: &Endpoint) -> Option<AskWhoIsThere> {
        None
    }
    fn set_log_level(&mut self, _: LogLevel) {}
    fn waiting(&mut self, _: &Endpoint) {}
}

/// Two apps with a worker each, a Mongrel2, and two clients of the console.
struct Site {
    hub: Hub,
    console: Console,
    poller: OwnedFd,
    servers: Mongrel2s,
    seats: Seats,
    turns: Turns,
    apps: Vec<App>,
    clients: [UnixStream; 2],
    now: Instant,
    /// Commands that were said.
    said: BTreeSet<String>,
    text: String,
}

fn app(name: &str, mount: &str) -> App {
    App {
        spec: AppSpec { name: name.into(), mount: mount.into(), workers: 1 },
        sharing: Sharing::default(),
        command: WorkerCommand { program: "worker".into(), arguments: Vec::new() },
        start: Start::default(),
    }
}

fn registration() -> Registration {
    let route = |path: &str, handler| RouteSpec {
        methods: vec!["GET".into(), "POST".into()],
        path: path.into(),
        handler,
        ..RouteSpec::default()
    };
    let channel = ChannelSpec { path: "/chat".into(), handler: 2, ping: 0.0, ..ChannelSpec::default() };
    Registration {
        routes: vec![route("/", 0), route("/slow", 1)],
        channels: vec![channel],
        ..Registration::default()
    }
}

/// What Mongrel2 sends: a request, or what came on a WebSocket.
fn message(id: u32, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let own = [("VERSION", "HTTP/1.1"), ("PATTERN", "/"), ("URI", path), ("host", "localhost")];
    let headers = own.iter().chain(headers).map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
    let headers = Value::Object(headers.collect::<Map<_, _>>()).to_string();
    format!("m2 {id} {path} {}:{headers},{}:{body},", headers.len(), body.len()).into_bytes()
}

fn request(id: u32, path: &str) -> Vec<u8> {
    message(id, path, &[("METHOD", "GET"), ("x-forwarded-for", "192.0.2.7")], "")
}

fn handshake(id: u32) -> Vec<u8> {
    let headers = [
        ("METHOD", "WEBSOCKET_HANDSHAKE"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("x-forwarded-for", "192.0.2.7"),
    ];
    message(id, "/chat", &headers, "")
}

fn frame(id: u32, text: &str) -> Vec<u8> {
    message(id, "/chat", &[("METHOD", "WEBSOCKET"), ("FLAGS", "0x81")], text)
}

impl Site {
    fn new(name: &str) -> Self {
        let now = Instant::now();
        let apps = vec![app("shop.lua", "/"), app("news.lua", "/news")];
        let specs = apps.iter().map(|app| app.spec.clone()).collect();
        let mut hub = Hub::new(Limits::default(), "boot", 2, specs);
        hub.open_own_link(OWN_LINK);
        hub.handle_server_up(LinkId(0), b"");
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).expect("there are descriptors");
        let addresses = ["operator", "handler"].map(|socket| {
            let name = format!("kennel-contract-{name}-{socket}-{}", std::process::id());
            SocketAddr::from_abstract_name(name).expect("the name is short")
        });
        let sockets = addresses.iter().zip([None, Some(AppId(0))]).map(|(address, only)| ConsoleSocket {
            listener: UnixListener::bind_addr(address).expect("the address is free"),
            only,
        });
        let console = Console::new(sockets.collect(), SOCKETS, &poller).expect("there are descriptors");
        let clients = addresses.map(|address| {
            let client = UnixStream::connect_addr(&address).expect("the console listens");
            client.set_nonblocking(true).expect("a socket can be");
            client
        });
        let endpoint = Endpoint {
            send_spec: "tcp://127.0.0.1:9999".parse().expect("it is an address"),
            recv_spec: "tcp://127.0.0.1:9998".parse().expect("it is an address"),
            recv_ident: None,
            upload_store: None,
            control_port: None,
            is_sole: true,
            places: None,
        };
        let resolver = Arc::new(|_: &str| Ok(Vec::new()));
        let servers = Mongrel2s::new(vec![endpoint], 8, resolver, now).expect("there are descriptors");
        let mut turns = Turns::default();
        turns.observe(Duration::from_millis(1));
        let (seats, said) = (Seats::new(None), BTreeSet::new());
        let text = String::new();
        let mut site = Self { hub, console, poller, servers, seats, turns, apps, clients, now, said, text };
        for socket in [SOCKETS, SOCKETS + 1] {
            site.service(socket);
        }
        for app in site.hub.app_ids() {
            site.hub.load_app(app, now);
        }
        site.settle();
        site
    }

    fn service(&mut self, token: u64) {
        let Self { hub, console, poller, servers, seats, turns, apps, now, .. } = self;
        let (link, only, started, now) = (OWN_LINK, None, *now, *now);
        let observer = &mut Quiet;
        let mut desk = Desk { hub, seats, apps, servers, turns, observer, link, token, started, now, only };
        console.service(token, poller, &mut desk);
    }

    /// Lets hub and workers do all that they have to do.
    fn settle(&mut self) {
        let mut workers = BTreeSet::new();
        loop {
            self.hub.finish_turn(self.now);
            let console = &mut self.console;
            self.hub.drain_replies(|link, reply| {
                if link == OWN_LINK {
                    console.take_reply(reply);
                }
            });
            let mut acted = false;
            while let Some(effect) = self.hub.poll_effect() {
                acted = true;
                match effect {
                    Effect::StartWorker { worker, .. } => self.act(worker, &[Action::Ready(registration())]),
                    Effect::AppReady(app) => self.console.take_loaded(app, &Ok(self.hub.seats(app))),
                    Effect::Evaluated { query, result } => self.console.take_evaluated(query, result),
                    _ => {}
                }
            }
            workers.extend(self.hub.list_workers(None, self.now).into_iter().map(|(worker, _)| worker));
            for worker in &workers {
                acted |= self.work(*worker);
            }
            if !acted && !self.hub.has_work(self.now) {
                break;
            }
        }
        self.console.finish_turn(&mut self.hub, &self.poller, self.now);
    }

    fn act(&mut self, worker: WorkerId, actions: &[Action<'_>]) {
        let mut batch = Vec::new();
        actions.iter().for_each(|action| encode_action(&mut batch, action));
        self.hub.handle_batch(worker, &batch, self.now).expect("the worker makes sense");
    }

    /// A worker does what it was told. Requests for `/slow` get no response.
    fn work(&mut self, worker: WorkerId) -> bool {
        let orders = self.hub.take_orders(worker).map(|(orders, _)| std::mem::take(orders));
        let orders = orders.unwrap_or_default();
        let mut rest = &orders[..];
        while let Some((kind, payload, after)) = split_frame(rest) {
            rest = after;
            match Order::read(kind, payload).expect("the hub makes sense") {
                Order::Job { handler: crate::worker::protocol::Handler::Route(1), .. } => {}
                Order::Job { serial, .. } => {
                    let head = b"Content-Type: text/plain\r\n";
                    self.act(worker, &[Action::Respond { serial, status: 200, head, body: b"hello" }]);
                }
                Order::Open(open) => {
                    let (serial, conn) = (open.serial, open.conn);
                    self.act(
                        worker,
                        &[
                            Action::SetData { conn, json: br#"{"name":"ann"}"# },
                            Action::Join { conn, room: b"lobby" },
                            Action::Done { serial },
                        ],
                    );
                }
                Order::Message { serial, conn, payload, .. } => {
                    self.act(
                        worker,
                        &[
                            Action::Send { conn, binary: false, payload },
                            Action::Publish { except: 0, binary: false, room: b"lobby", payload },
                            Action::Done { serial },
                        ],
                    );
                }
                Order::Close { serial, .. } => self.act(worker, &[Action::Done { serial }]),
                Order::Evaluate { query, .. } => {
                    self.act(worker, &[Action::Evaluated { query, ok: true, text: b"2" }]);
                }
                Order::Stop { .. } => self.hub.handle_worker_gone(worker, 0, self.now),
                _ => {}
            }
        }
        !orders.is_empty()
    }

    /// A message of Mongrel2 arrives.
    fn arrives(&mut self, message: &[u8]) {
        self.hub.handle_message(LinkId(0), message, self.now);
        self.settle();
    }

    /// Says a line to the console, and notes what is said back.
    fn say(&mut self, client: u64, line: &str) {
        if let Ok(Value::Object(line)) = serde_json::from_str(line)
            && let Some(name) = line.get("do").and_then(Value::as_str)
        {
            self.said.insert(name.to_owned());
        }
        let to = if client == OF_HANDLER { "  # to the address of shop.lua" } else { "" };
        self.note(&format!("\n> {line}{to}"));
        self.clients[(client - OPERATOR) as usize]
            .write_all(format!("{line}\n").as_bytes())
            .expect("it listens");
        self.service(client);
        self.settle();
        self.hear(client);
    }

    fn note(&mut self, line: &str) {
        writeln!(self.text, "{line}").expect("a string takes everything");
    }

    /// Notes what the console has said.
    fn hear(&mut self, client: u64) {
        let mut bytes = Vec::new();
        // It ends with `WouldBlock`.
        let _ = self.clients[(client - OPERATOR) as usize].read_to_end(&mut bytes);
        for line in String::from_utf8(bytes).expect("it is text").lines() {
            let line: Value = serde_json::from_str(line).expect("it is JSON");
            let line = serde_json::to_string_pretty(&settled(&line)).expect("it was JSON");
            self.note(&line);
        }
    }
}

/// The same with sorted keys (their order is not promised), and without what differs from run to run.
fn settled(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut keys: Vec<_> = object.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            let fixed = |key: &str, value: &Value| match (key, value) {
                ("process", Value::Number(_)) => "(a number)".into(),
                ("version", _) => "(a version)".into(),
                ("metric", _) => "(a name)".into(),
                _ => settled(value),
            };
            keys.into_iter().map(|(key, value)| (key.clone(), fixed(key, value))).collect()
        }
        // Metrics are in a snapshot of their own: here, one row of each form is enough.
        Value::Array(rows) if rows.iter().all(|row| row.get("metric").is_some()) => {
            let mut forms: Vec<(Vec<&String>, Value)> = Vec::new();
            for row in rows.iter().filter_map(Value::as_object) {
                let form: Vec<_> = row.keys().collect();
                if forms.iter().all(|(known, _)| *known != form) {
                    forms.push((form, settled(&Value::Object(row.clone()))));
                }
            }
            forms.into_iter().map(|(_, row)| row).collect()
        }
        Value::Array(items) => items.iter().map(settled).collect(),
        other => other.clone(),
    }
}

#[test]
fn lines_of_the_console_stay() {
    let mut site = Site::new("console");
    site.note("# What a program says to the console (>), and what it hears.");
    site.arrives(&request(1, "/"));
    site.arrives(&request(2, "/slow"));
    site.arrives(&handshake(7));
    site.arrives(&handshake(8));
    for line in [
        r#"{"do": "status"}"#,
        r#"{"do": "stats"}"#,
        r#"{"do": "stats", "app": "news.lua"}"#,
        r#"{"do": "connections"}"#,
        r#"{"do": "connections", "room": "lobby", "path": "/", "address": "192.", "idle": 0, "limit": 1}"#,
        r#"{"do": "connection", "id": "boot-0.0.7"}"#,
        r#"{"do": "rooms"}"#,
        r#"{"do": "workers"}"#,
        r#"{"do": "queues"}"#,
        r#"{"do": "metrics"}"#,
        r#"{"do": "metrics", "name": "nothing"}"#,
        r#"{"do": "limits"}"#,
        r#"{"do": "log", "level": "debug"}"#,
        r#"{"do": "eval", "worker": 1, "app": "shop.lua", "code": "1 + 1"}"#,
        r#"{"do": "help"}"#,
        r#"{"do": "help", "about": "status"}"#,
    ] {
        site.say(OPERATOR, line);
    }
    site.note("\n# What passes");
    for line in [
        r#"{"do": "tail"}"#,
        r#"{"do": "request", "method": "POST", "path": "/?a=b", "headers": {"x-a": "1"}, "body": "hi"}"#,
        r#"{"do": "send", "id": "boot-0.0.7", "text": "hello", "ref": {"any": ["json", 1]}}"#,
        r#"{"do": "broadcast", "room": "lobby", "text": "back soon"}"#,
        r#"{"do": "broadcast", "text": "to all"}"#,
        r#"{"do": "publish", "room": "lobby", "data": {"a": 1}}"#,
        r#"{"do": "message", "conn": "boot-0.0.7", "text": "as if from the client"}"#,
        r#"{"do": "close", "id": "boot-0.0.7", "code": 4000, "reason": "enough"}"#,
        r#"{"do": "kick", "id": "boot-0.0.8"}"#,
    ] {
        site.say(OPERATOR, line);
    }
    site.note("\n# (a client opens a WebSocket and says something)");
    site.arrives(&handshake(9));
    site.arrives(&frame(9, "hello"));
    site.hear(OPERATOR);
    for line in [
        r#"{"do": "quiet"}"#,
        r#"{"do": "drain", "worker": 1, "app": "news.lua"}"#,
        r#"{"do": "reload", "app": "news.lua"}"#,
        r#"{"do": "reload"}"#,
    ] {
        site.say(OPERATOR, line);
    }
    site.note("\n# The address of one handler");
    for line in [
        r#"{"do": "stats"}"#,
        r#"{"do": "connections"}"#,
        r#"{"do": "workers"}"#,
        r#"{"do": "queues"}"#,
        r#"{"do": "reload"}"#,
        r#"{"do": "help"}"#,
        r#"{"do": "status"}"#,
        r#"{"do": "stats", "app": "news.lua"}"#,
    ] {
        site.say(OF_HANDLER, line);
    }
    site.note("\n# What is refused");
    for line in [
        "hello",
        "[1]",
        "{}",
        r#"{"do": "sned"}"#,
        r#"{"do": "xyzzy", "ref": 1}"#,
        r#"{"do": "rooms", "of": 1}"#,
        r#"{"do": "send", "id": "boot-0.0.9"}"#,
        r#"{"do": "send", "id": "nobody", "text": "x"}"#,
        r#"{"do": "connection", "id": "nobody"}"#,
        r#"{"do": "close", "id": "boot-0.0.9", "code": 1005}"#,
        r#"{"do": "drain", "worker": 1}"#,
        r#"{"do": "drain", "worker": 9}"#,
        r#"{"do": "eval", "worker": 9, "app": "shop.lua", "code": "x"}"#,
        r#"{"do": "reload", "app": "other.lua"}"#,
        r#"{"do": "stats", "app": "other.lua"}"#,
        r#"{"do": "tail", "id": "nobody"}"#,
        r#"{"do": "request", "method": "get", "path": "/"}"#,
        r#"{"do": "request", "method": "GET", "path": "no path"}"#,
        r#"{"do": "log", "level": "loud"}"#,
        r#"{"do": "help", "about": "nothing"}"#,
    ] {
        site.say(OPERATOR, line);
    }
    let commands: BTreeSet<_> = COMMANDS.iter().map(|command| command.name.to_owned()).collect();
    let missing: Vec<_> = commands.difference(&site.said).collect();
    assert!(missing.is_empty(), "add these commands to this test: {missing:?}");
    snapshot::check!("console.txt", &site.text);
}

/// Labels whose values are part of the contract, since dashboards and alerts name them.
const NAMED: [&str; 3] = ["direction", "reason", "state"];

#[test]
fn names_types_and_labels_of_the_metrics_stay() {
    let mut site = Site::new("metrics");
    site.arrives(&request(1, "/"));
    site.arrives(&handshake(7));
    let mut text =
        String::from("# Metrics: name, type, labels (with their values where these are fixed), help.\n");
    for family in numbers::gather(&site.hub, &site.servers, &site.turns) {
        assert!(!family.samples.is_empty(), "{} has no series here: make this test cause one", family.name);
        let mut labels: Vec<(&str, BTreeSet<&str>)> = Vec::new();
        for (name, value) in family.samples.iter().flat_map(|sample| &sample.labels) {
            if labels.iter().all(|(known, _)| known != name) {
                labels.push((*name, BTreeSet::new()));
            }
            let known = labels.iter_mut().filter(|(known, _)| known == name);
            known.for_each(|(_, values)| _ = values.insert(&**value));
        }
        let labels = labels.iter().map(|(name, values)| match NAMED.contains(name) {
            true => format!(" {name}={}", values.iter().copied().collect::<Vec<_>>().join("|")),
            false => format!(" {name}"),
        });
        let (name, help) = (family.name, family.help);
        let kind = format!("{:?}", family.kind).to_lowercase();
        writeln!(text, "\n{name} {kind}{}\n    {help}", labels.collect::<String>())
            .expect("a string takes everything");
    }
    snapshot::check!("metrics.txt", &text);
}
