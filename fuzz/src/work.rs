//! What workers and operators say, and the hub between all of them.

use crate::wire::short_captures;
use crate::{Chooser, Target};
use handler_core::console;
use handler_core::hub::{AppId, AppSpec, Effect, Hub, Limits, LinkId, WorkerId};
use handler_core::worker::protocol::{
    Action, ChannelSpec, Handler, Order, Registration, RouteSpec, encode_action, encode_answer, encode_close,
    encode_evaluate, encode_job, encode_lead, encode_message, split_batch, split_frame,
};
use std::time::{Duration, Instant};

/// Frames between hub and worker, in both directions.
pub(crate) const ORDERS: Target = Target {
    name: "orders",
    check: |bytes| {
        let _ = split_batch(bytes);
        let mut rest = bytes;
        while let Some((kind, payload, after)) = split_frame(rest) {
            assert!(after.len() < rest.len(), "it ends");
            rest = after;
            let _ = (Order::read(kind, payload), Action::read(kind, payload));
        }
    },
    seeds: || {
        let mut orders = Vec::new();
        encode_job(
            &mut orders,
            1,
            Handler::Route(0),
            "boot-0.0.1",
            [&b"x"[..]].into_iter(),
            b"",
            b"m2 1 / 2:{},0:,",
        );
        encode_message(&mut orders, 2, 1, false, b"hello");
        encode_close(&mut orders, 3, 1, 1006, b"gone");
        encode_answer(&mut orders, 4, b"[1]");
        encode_evaluate(&mut orders, 5, b"1 + 1");
        encode_lead(&mut orders);
        let mut actions = Vec::new();
        encode_action(&mut actions, &Action::Ready(registration()));
        encode_action(
            &mut actions,
            &Action::Respond { serial: 1, status: 200, head: b"A: b\r\n", body: b"x" },
        );
        encode_action(&mut actions, &Action::Join { conn: 1, room: b"lobby" });
        vec![orders, actions]
    },
};

fn registration() -> Registration {
    let (path, place) = ("/".into(), "app.lua:1".into());
    let route = RouteSpec { methods: vec!["GET".into()], path, place, ..RouteSpec::default() };
    let channel = ChannelSpec { path: "/ws".into(), handler: 1, ..ChannelSpec::default() };
    Registration { routes: vec![route], channels: vec![channel], ..Registration::default() }
}

/// Lines that the console's socket takes.
pub(crate) const CONSOLE: Target = Target {
    name: "console",
    check: |bytes| drop(console::read_line(bytes)),
    seeds: || {
        let texts = [
            r#"{"ref": 1, "command": "connections", "room": "lobby"}"#,
            r#"{"command": "send", "conn": "boot-0.0.1", "text": "hello"}"#,
            r#"{"do": "broadcast", "room": "lobby", "text": "hello"}"#,
            r#"{"command": "drain", "worker": 2, "app": "a.lua"}"#,
        ];
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    },
};

/// A hub that a server and a worker talk to: each step is a message that was taken from a real Mongrel2, with one byte changed, a
/// message made of the input, or a batch of actions.
pub(crate) const HUB: Target = Target {
    name: "hub",
    check: run_hub,
    seeds: || vec![b"\0\0\0\0\0\x01\x70\0\0\0\x02\x01\x01\x01\x03\x05hello".to_vec()],
};

/// What the hub signs the numbers of sessions with.
pub const SESSION_KEY: [u8; 32] = [7; 32];

fn run_hub(bytes: &[u8]) {
    thread_local! { static MESSAGES: Vec<Vec<u8>> = short_captures(); }
    let mut choose = Chooser(bytes);
    let mut site = Site::new();
    for _ in 0..60 {
        if choose.is_empty() {
            break;
        }
        match choose.byte() % 4 {
            0 => {
                let (which, at, becomes) = (choose.byte(), choose.byte(), choose.byte());
                let mut message = MESSAGES.with(|all| all[usize::from(which) % all.len()].clone());
                if becomes != 0 {
                    let at = (usize::from(at) * message.len() / 256).min(message.len() - 1);
                    message[at] = becomes;
                }
                site.message(&message);
            }
            1 => site.now += Duration::from_millis(u64::from(choose.byte()) * 20),
            2 => {
                let Some(worker) = site.workers.last().copied() else { continue };
                let (mut batch, serial) = (Vec::new(), u64::from(choose.byte() % 8));
                encode_action(&mut batch, &Action::Respond { serial, status: 200, head: b"", body: b"x" });
                encode_action(
                    &mut batch,
                    &Action::Send { conn: serial, binary: false, payload: choose.bytes() },
                );
                encode_action(&mut batch, &Action::Join { conn: serial, room: choose.bytes() });
                batch.extend_from_slice(choose.bytes());
                site.batch(worker, &batch, serial);
            }
            _ => site.message(choose.bytes()),
        }
        site.finish_turn();
    }
}

/// A hub between a server and workers, as the loop has them.
#[derive(Debug)]
pub struct Site {
    /// The hub.
    pub hub: Hub,
    /// The time.
    pub now: Instant,
    /// Workers that are ready.
    pub workers: Vec<WorkerId>,
    /// Replies that went to the server.
    pub replies: usize,
}

impl Site {
    /// A site with one app, a route and a channel.
    #[expect(clippy::new_without_default, reason = "it starts a whole site")]
    pub fn new() -> Self {
        let app = AppSpec { name: "app.lua".into(), mount: "/".into(), workers: 1 };
        let now = Instant::now();
        let mut hub = Hub::new(Limits::default(), "boot", 1, vec![app]);
        hub.set_session_key(&SESSION_KEY);
        hub.handle_server_up(LinkId(0), b"");
        hub.load_app(AppId(0), now);
        Self { hub, now, workers: Vec::new(), replies: 0 }
    }

    /// The server says something.
    pub fn message(&mut self, message: &[u8]) {
        self.hub.handle_message(LinkId(0), message, self.now);
    }

    /// A worker says something. One that talks nonsense is gone, as the loop has it; `started` was its last job.
    pub fn batch(&mut self, worker: WorkerId, batch: &[u8], started: u64) {
        if self.hub.handle_batch(worker, batch, self.now).is_err() {
            self.gone(worker, started);
        }
    }

    /// Does what the hub wants done.
    pub fn finish_turn(&mut self) {
        self.hub.finish_turn(self.now);
        self.hub.drain_replies(|_, _| self.replies += 1);
        while let Some(effect) = self.hub.poll_effect() {
            match effect {
                Effect::StartWorker { worker, .. } => {
                    let mut ready = Vec::new();
                    encode_action(&mut ready, &Action::Ready(registration()));
                    self.hub.handle_batch(worker, &ready, self.now).expect("a worker that is ready");
                    self.workers.push(worker);
                }
                Effect::KillWorker(worker) => self.gone(worker, 0),
                _ => {}
            }
        }
        for worker in &self.workers {
            self.hub.take_orders(*worker).expect("a worker of this hub").0.clear();
        }
    }

    fn gone(&mut self, worker: WorkerId, started: u64) {
        self.workers.retain(|id| *id != worker);
        self.hub.handle_worker_gone(worker, started, self.now);
    }
}
