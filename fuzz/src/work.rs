//! What workers and operators say, and the hub between all of them.

use crate::wire::captures;
use crate::{Chooser, Target};
use handler_core::console;
use handler_core::hub::{AppId, AppSpec, Effect, Hub, Limits, LinkId};
use handler_core::worker::protocol::{
    Action, ChannelSpec, Handler, Order, Registration, RouteSpec, encode_action, encode_answer, encode_close,
    encode_evaluate, encode_job, encode_message, split_batch, split_frame,
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

fn run_hub(bytes: &[u8]) {
    thread_local! { static MESSAGES: Vec<Vec<u8>> = captures(); }
    let mut choose = Chooser(bytes);
    let mut now = Instant::now();
    let app = AppSpec { name: "app.lua".into(), mount: "/".into(), workers: 1 };
    let mut hub = Hub::new(Limits::default(), "boot", 1, vec![app]);
    hub.handle_server_up(LinkId(0), b"");
    hub.load_app(AppId(0), now);
    let mut workers = Vec::new();
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
                hub.handle_message(LinkId(0), &message, now);
            }
            1 => now += Duration::from_millis(u64::from(choose.byte()) * 20),
            2 => {
                let Some(worker) = workers.last().copied() else { continue };
                let (mut batch, serial) = (Vec::new(), u64::from(choose.byte() % 8));
                encode_action(&mut batch, &Action::Respond { serial, status: 200, head: b"", body: b"x" });
                encode_action(
                    &mut batch,
                    &Action::Send { conn: serial, binary: false, payload: choose.bytes() },
                );
                encode_action(&mut batch, &Action::Join { conn: serial, room: choose.bytes() });
                batch.extend_from_slice(choose.bytes());
                if hub.handle_batch(worker, &batch, now).is_err() {
                    // As the loop does with a worker that talks nonsense.
                    workers.retain(|id| *id != worker);
                    hub.handle_worker_gone(worker, serial, now);
                }
            }
            _ => hub.handle_message(LinkId(0), choose.bytes(), now),
        }
        hub.finish_turn(now);
        hub.drain_replies(|_, _| {});
        while let Some(effect) = hub.poll_effect() {
            match effect {
                Effect::StartWorker { worker, .. } => {
                    let mut ready = Vec::new();
                    encode_action(&mut ready, &Action::Ready(registration()));
                    hub.handle_batch(worker, &ready, now).expect("a worker that is ready");
                    workers.push(worker);
                }
                Effect::KillWorker(worker) => {
                    workers.retain(|id| *id != worker);
                    hub.handle_worker_gone(worker, 0, now);
                }
                _ => {}
            }
        }
        for worker in &workers {
            hub.take_orders(*worker).expect("a worker of this hub").0.clear();
        }
    }
}
