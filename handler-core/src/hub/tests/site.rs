//! A hub, a Mongrel2 and workers that do exactly what a test tells them.

use super::mongrel2::{self, Form, Reply, split_response};
use crate::hub::{AppId, AppSpec, Effect, Hub, Limits, LinkId, WorkerId};
use crate::worker::protocol::{
    Action, Handler, Ids, Order, Registration, RouteSpec, encode_action, encode_ids, split_frame,
};
use mongrel2_wire::Envelope;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(super) const LINK: LinkId = LinkId(0);
pub(super) const APP: AppId = AppId(0);
pub(super) const SENDER: &str = "m2";
/// The numbers of the first two workers.
pub(super) const FIRST: WorkerId = WorkerId(0);
pub(super) const SECOND: WorkerId = WorkerId(1);

/// A job as its worker sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    pub serial: u64,
    pub handler: Handler,
    pub conn: String,
    pub params: Vec<String>,
    pub path: String,
    pub spool: String,
    pub body: Vec<u8>,
}

/// What a worker was told of a live connection.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    Open {
        serial: u64,
        conn: u64,
        handler: u32,
        name: String,
        fresh: bool,
        resumed: bool,
        asked: bool,
        data: String,
        rooms: Vec<String>,
        path: String,
    },
    Message {
        serial: u64,
        conn: u64,
        binary: bool,
        payload: Vec<u8>,
    },
    Close {
        serial: u64,
        conn: u64,
        code: u16,
    },
    Detach {
        conn: u64,
    },
    Answer {
        query: u64,
        json: String,
    },
}

impl Told {
    pub fn serial(&self) -> Option<u64> {
        match self {
            Self::Open { serial, .. } | Self::Message { serial, .. } | Self::Close { serial, .. } => {
                Some(*serial)
            }
            Self::Detach { .. } | Self::Answer { .. } => None,
        }
    }
}

/// A living worker: what it was told so far.
#[derive(Debug, Default)]
pub(super) struct FakeWorker {
    pub jobs: Vec<Job>,
    pub live: Vec<Told>,
    /// Serials and numbers of bytes that have left.
    pub taken: Vec<(u64, u32)>,
    /// Parts of bodies: serial, whether it was the last, bytes.
    pub parts: Vec<(u64, bool, Vec<u8>)>,
    /// How files have grown: serial, whether they are whole, size.
    pub grown: Vec<(u64, bool, u64)>,
    /// Serials of jobs whose client is gone.
    pub gone: Vec<u64>,
    /// Queries and codes that the operator wants run.
    pub evaluated: Vec<(u64, String)>,
    pub lead: bool,
    pub stop: bool,
    pub killed: bool,
}

pub(super) struct Site {
    pub hub: Hub,
    pub now: Instant,
    pub workers: BTreeMap<WorkerId, FakeWorker>,
    pub replies: Vec<Reply>,
    /// Everything that the hub wanted done, in order.
    pub effects: Vec<Effect>,
    /// Sizes of files that are looked at, none for those that are gone; others have 1000 bytes.
    pub sizes: BTreeMap<PathBuf, Option<u64>>,
}

pub(super) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn app(workers: u32) -> AppSpec {
    AppSpec { name: "app.lua".into(), mount: "/".into(), workers }
}

pub(super) fn route(methods: &[&str], path: &str, handler: u32) -> RouteSpec {
    let methods = methods.iter().map(|m| (*m).to_owned()).collect();
    RouteSpec { methods, path: path.into(), handler, place: format!("app.lua:{handler}"), streams: false }
}

/// `GET /a`, `POST /b`, `GET /users/{id}`.
pub(super) fn registration() -> Registration {
    let routes = vec![route(&["GET"], "/a", 0), route(&["POST"], "/b", 1), route(&["GET"], "/users/{id}", 2)];
    Registration { routes, ..Registration::default() }
}

impl Site {
    /// One app with so many workers that are ready, one server that listens.
    pub fn new(workers: u32) -> Self {
        Self::with(Limits::default(), workers, registration())
    }

    pub fn with(limits: Limits, workers: u32, registration: Registration) -> Self {
        let mut site = Self::empty(limits, 1, vec![app(workers)]);
        site.hub.handle_server_up(LINK, b"");
        site.load(APP, &registration);
        site
    }

    /// Nothing loaded, no server there.
    pub fn empty(limits: Limits, links: usize, apps: Vec<AppSpec>) -> Self {
        let hub = Hub::new(limits, "boot", links, apps);
        let (workers, replies, effects, sizes) = Default::default();
        Self { hub, now: Instant::now(), workers, replies, effects, sizes }
    }

    /// Loads an app; all its new workers become ready. Returns them.
    pub fn load(&mut self, app: AppId, registration: &Registration) -> Vec<WorkerId> {
        let new = self.begin_load(app);
        new.iter().for_each(|worker| self.ready(*worker, registration));
        new
    }

    /// Loads an app; its new workers are loading.
    pub fn begin_load(&mut self, app: AppId) -> Vec<WorkerId> {
        let before = self.effects.len();
        self.hub.load_app(app, self.now);
        self.turn();
        self.started_since(before)
    }

    pub fn started_since(&self, effects: usize) -> Vec<WorkerId> {
        let started = |effect: &Effect| match effect {
            Effect::StartWorker { worker, .. } => Some(*worker),
            _ => None,
        };
        self.effects[effects..].iter().filter_map(started).collect()
    }

    pub fn ready(&mut self, worker: WorkerId, registration: &Registration) {
        self.act(worker, &[Action::Ready(registration.clone())]);
    }

    /// The worker dies; `started` is its last begun job.
    pub fn die(&mut self, worker: WorkerId, started: u64) {
        self.workers.remove(&worker);
        self.hub.handle_worker_gone(worker, started, self.now);
        self.turn();
    }

    /// One turn of the loop.
    pub fn turn(&mut self) {
        // When the hub has stopped, the loop has ended.
        while self.effects.last() != Some(&Effect::Stopped) {
            self.hub.finish_turn(self.now);
            self.hub.drain_replies(|link, reply| {
                let read = Reply::parse(link, reply);
                self.replies.push(read.unwrap_or_else(|e| panic!("{e}: {}", reply.escape_ascii())));
            });
            for (id, worker) in &mut self.workers {
                let (orders, _) = self.hub.take_orders(*id).expect("the worker is known");
                let orders = std::mem::take(orders);
                worker.take(&orders);
            }
            let mut acted = false;
            while let Some(effect) = self.hub.poll_effect() {
                acted = true;
                match effect {
                    Effect::StartWorker { worker, .. } => {
                        self.workers.insert(worker, FakeWorker::default());
                    }
                    Effect::KillWorker(worker) => {
                        self.workers.get_mut(&worker).expect("it lives").killed = true;
                    }
                    Effect::Measure { key, path, whole } => {
                        let size = self.sizes.get(&path).copied().unwrap_or(Some(1000));
                        self.hub.handle_measured(key, &path, whole, size, self.now);
                        continue;
                    }
                    _ => {}
                }
                self.effects.push(effect);
            }
            if !acted && !self.hub.has_work(self.now) {
                break;
            }
        }
        let due = self.hub.next_timeout().filter(|_| self.effects.last() != Some(&Effect::Stopped));
        assert!(
            due.is_none_or(|due| due > self.now),
            "the loop would spin: nothing is done about what is due"
        );
    }

    /// Lets time pass as the loop does: it wakes up whenever the hub wants it to.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.effects.last() != Some(&Effect::Stopped)
            && let Some(due) = self.hub.next_timeout().filter(|due| *due <= end)
        {
            self.now = due;
            self.turn();
        }
        self.now = end;
        self.turn();
    }

    pub fn message(&mut self, message: &[u8]) {
        self.hub.handle_message(LINK, message, self.now);
        self.turn();
    }

    /// `GET /a` from a connection.
    pub fn request(&mut self, id: i64, line: &str) {
        self.request_with(id, line, &[]);
    }

    pub fn request_with(&mut self, id: i64, line: &str, more: &[(&str, &str)]) {
        self.message(&mongrel2::http(Form::Tnetstring, SENDER, id, line, more, b""));
    }

    pub fn json(&mut self, id: i64, body: &str) {
        self.message(&mongrel2::json(Form::Json, SENDER, id, body.as_bytes()));
    }

    pub fn disconnect(&mut self, id: i64) {
        self.message(&mongrel2::disconnect(Form::Json, SENDER, id));
    }

    pub fn credits(&mut self, id: i64, bytes: usize) {
        self.message(&mongrel2::credits(Form::Json, SENDER, id, bytes));
    }

    /// The worker sends one batch.
    pub fn act(&mut self, worker: WorkerId, actions: &[Action<'_>]) {
        let mut batch = Vec::new();
        actions.iter().for_each(|action| encode_action(&mut batch, action));
        self.hub.handle_batch(worker, &batch, self.now).unwrap();
        self.turn();
    }

    pub fn respond(&mut self, worker: WorkerId, serial: u64, body: &str) {
        self.act(worker, &[Action::Respond { serial, status: 200, head: b"", body: body.as_bytes() }]);
    }

    pub fn deliver(&mut self, worker: WorkerId, ids: &[i64], payload: &[u8]) {
        let ids = encode_ids(ids.iter().copied());
        self.act(worker, &[Action::Deliver { sender: SENDER, ids: Ids::new(&ids), payload }]);
    }

    /// The jobs that a worker was given so far.
    pub fn jobs(&self, worker: usize) -> &[Job] {
        &self.workers[&WorkerId(worker)].jobs
    }

    pub fn serials(&self, worker: usize) -> Vec<u64> {
        self.jobs(worker).iter().map(|job| job.serial).collect()
    }

    /// Everything sent to a connection.
    pub fn sent(&self, id: u32) -> Vec<u8> {
        self.to(id).flat_map(|reply| reply.payload.clone()).collect()
    }

    pub fn to(&self, id: u32) -> impl Iterator<Item = &Reply> {
        self.replies.iter().filter(move |reply| !reply.extended && reply.ids.contains(&id))
    }

    pub fn text(&self, id: u32) -> String {
        String::from_utf8(self.sent(id)).unwrap()
    }

    /// The statuses of the answers that a connection got.
    pub fn statuses(&self, id: u32) -> Vec<u16> {
        self.answers(id).iter().map(|(status, _)| *status).collect()
    }

    /// The answers that a connection got, with their bodies.
    pub fn answers(&self, id: u32) -> Vec<(u16, String)> {
        let (sent, mut answers) = (self.sent(id), Vec::new());
        let mut rest = &sent[..];
        while let Some((status, _, body, after)) = split_response(rest, false) {
            answers.push((status, String::from_utf8(body).unwrap()));
            rest = after;
        }
        assert!(rest.is_empty(), "half an answer: {}", rest.escape_ascii());
        answers
    }

    /// Whether the connection was closed, by the last reply to it.
    pub fn closed(&self, id: u32) -> bool {
        let closes = self.to(id).filter(|reply| reply.payload.is_empty()).count();
        assert!(closes <= 1, "closed {closes} times");
        closes == 1 && self.to(id).last().is_some_and(|reply| reply.payload.is_empty())
    }

    /// After a while nothing is remembered.
    pub fn settles(&mut self) {
        self.pass(seconds(5));
        assert_eq!((self.hub.load(), self.hub.live()), ((0, 0), 0));
    }

    /// What a worker was told of live connections since the last look, all of it done.
    pub fn told(&mut self, worker: WorkerId) -> Vec<Told> {
        let told = std::mem::take(&mut self.workers.get_mut(&worker).unwrap().live);
        let done: Vec<_> =
            told.iter().filter_map(Told::serial).map(|serial| Action::Done { serial }).collect();
        self.act(worker, &done);
        told
    }

    /// A WebSocket handshake on a path.
    pub fn handshake(&mut self, id: i64, path: &str) {
        self.handshake_with(id, path, &[]);
    }

    pub fn handshake_with(&mut self, id: i64, path: &str, more: &[(&str, &str)]) {
        self.message(&mongrel2::websocket(Form::Tnetstring, SENDER, id, path, None, more, b""));
    }

    /// A frame of a WebSocket on a path.
    pub fn frame(&mut self, id: i64, path: &str, flags: u8, body: &[u8]) {
        self.message(&mongrel2::websocket(Form::Tnetstring, SENDER, id, path, Some(flags), &[], body));
    }

    /// The frames that a WebSocket got, without the answer to its handshake: first byte and payload.
    pub fn frames(&self, id: u32) -> Vec<(u8, Vec<u8>)> {
        let sent = self.sent(id);
        let mut rest = match sent.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(end) if sent.starts_with(b"HTTP/1.1 101") => &sent[end + 4..],
            _ => &sent[..],
        };
        let mut frames = Vec::new();
        while let [first, size, after @ ..] = rest {
            let (size, after) = match size {
                126 => (u16::from_be_bytes([after[0], after[1]]) as usize, &after[2..]),
                127 => (u64::from_be_bytes(*after.first_chunk().unwrap()) as usize, &after[8..]),
                size => (usize::from(*size), after),
            };
            frames.push((*first, after[..size].to_vec()));
            rest = &after[size..];
        }
        frames
    }
}

impl FakeWorker {
    pub fn take(&mut self, mut orders: &[u8]) {
        while let Some((kind, payload, rest)) = split_frame(orders) {
            orders = rest;
            match Order::read(kind, payload).unwrap() {
                Order::Job { serial, handler, conn, params, spool, message } => {
                    let envelope = Envelope::parse(message).unwrap();
                    self.jobs.push(Job {
                        serial,
                        handler,
                        conn: String::from_utf8(conn.to_vec()).unwrap(),
                        params: params.map(|p| p.escape_ascii().to_string()).collect(),
                        path: envelope.path.escape_ascii().to_string(),
                        spool: String::from_utf8(spool.to_vec()).unwrap(),
                        body: envelope.body.to_vec(),
                    });
                }
                Order::Lead => self.lead = true,
                Order::Stop { .. } => self.stop = true,
                Order::Open(open) => self.live.push(Told::Open {
                    serial: open.serial,
                    conn: open.conn,
                    handler: open.handler,
                    name: String::from_utf8(open.name.to_vec()).unwrap(),
                    fresh: open.fresh,
                    resumed: open.resumed,
                    asked: open.asked,
                    data: String::from_utf8(open.data.to_vec()).unwrap(),
                    rooms: open.rooms.map(|room| room.escape_ascii().to_string()).collect(),
                    path: Envelope::parse(open.message).unwrap().path.escape_ascii().to_string(),
                }),
                Order::Message { serial, conn, binary, payload } => {
                    self.live.push(Told::Message { serial, conn, binary, payload: payload.to_vec() });
                }
                Order::Close { serial, conn, code, .. } => {
                    self.live.push(Told::Close { serial, conn, code });
                }
                Order::Detach { conn } => self.live.push(Told::Detach { conn }),
                Order::Answer { query, json } => {
                    self.live.push(Told::Answer { query, json: String::from_utf8(json.to_vec()).unwrap() });
                }
                Order::Part { serial, last, bytes } => self.parts.push((serial, last, bytes.to_vec())),
                Order::Grown { serial, whole, size } => self.grown.push((serial, whole, size)),
                Order::Taken { serial, bytes } => self.taken.push((serial, bytes)),
                Order::Gone { serial } => self.gone.push(serial),
                Order::Evaluate { query, code } => {
                    self.evaluated.push((query, String::from_utf8(code.to_vec()).unwrap()));
                }
                Order::Start(_) => panic!("the hub does not start processes"),
            }
        }
        assert!(orders.is_empty(), "half an order");
    }
}
