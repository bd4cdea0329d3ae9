//! Whole connections: anything may come from clients, handlers and disks, in any order.

use super::exchange::{Exchange, peer};
use crate::effect::Effect;
use crate::files;
use crate::ids::{ClientKey, HandlerId};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::Duration;

/// Steps that the input chooses: a byte says what happens, the next to whom, the third how much.
pub fn connections(bytes: &[u8]) {
    let Some((settings, mut rest)) = bytes.split_first() else { return };
    let all = [
        ("limits.content_length", "4"),
        ["upload.stream", "upload.temp_store"].map(|key| (key, "1"))[usize::from(settings & 1)],
        ("download.flow_control", "1"),
        ("front.output_bytes", "100"),
    ];
    let chosen: Vec<_> =
        all.into_iter().enumerate().filter(|(at, _)| settings >> (at + 1) & 1 == 1).collect();
    let chosen: Vec<_> = chosen.into_iter().map(|(_, setting)| setting).collect();
    let mut play = Play::new(settings & 0x80 != 0, &chosen);
    while let [kind, whom, size, ref more @ ..] = *rest {
        let (bytes, after) = more.split_at(usize::from(size).min(more.len()));
        rest = after;
        play.step(kind, whom, bytes);
        play.settle();
    }
    play.end();
}

/// Replies of any bytes, to clients of all kinds.
pub fn replies(bytes: &[u8]) {
    let mut play = Play::new(false, &[("upload.stream", "1"), ("download.flow_control", "1")]);
    let begins: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"@chat {}\0",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ];
    for (at, begin) in begins.into_iter().enumerate() {
        play.step(1, 0, b"");
        play.step(0, at as u8, begin);
    }
    for handler in 0..2 {
        play.exchange.front.handle_reply(HandlerId(handler), bytes, play.exchange.now);
        play.settle();
    }
    let most = 3 * bytes.len() + 4;
    for at in 0..play.clients.len() {
        let client = play.clients[at];
        assert!(play.exchange.write(client, usize::MAX) <= 128 * most, "no more than was said");
        play.settle();
    }
    play.end();
}

struct Play {
    exchange: Exchange,
    clients: Vec<ClientKey>,
    closed: HashSet<ClientKey>,
}

impl Play {
    fn new(is_json: bool, settings: &[(&str, &str)]) -> Self {
        let exchange = Exchange::new(is_json, settings);
        Self { exchange, clients: Vec::new(), closed: HashSet::new() }
    }

    fn step(&mut self, kind: u8, whom: u8, bytes: &[u8]) {
        if self.clients.is_empty() || kind % 16 == 1 {
            self.clients.push(self.exchange.front.accept(peer(), self.exchange.now));
        }
        let client = self.clients[usize::from(whom) % self.clients.len()];
        let handler = HandlerId(usize::from(whom >> 7));
        let front = &mut self.exchange.front;
        let now = self.exchange.now;
        match kind % 16 {
            0 if front.wants_input(client) => front.receive(client, bytes, now),
            2 => front.end_of_input(client, now),
            3 => front.lost(client),
            4 => front.handle_reply(handler, bytes, now),
            5 => {
                let id = 1 + whom % 4;
                front.handle_reply(handler, &[format!("m2 1:{id}, ").as_bytes(), bytes].concat(), now);
            }
            6 => {
                let id = 1 + whom % 4;
                let order = format!("m2 3:X {id}, 26:3:ctl,16:7:credits,3:{:03}#}}]", bytes.len());
                front.handle_reply(handler, order.as_bytes(), now);
            }
            7 => front.set_congested(handler, bytes.is_empty(), now),
            8 => front.upload_created(client, Ok("/tmp/m.1".to_owned()), now),
            9 => front.upload_created(client, Err(ErrorKind::StorageFull.into()), now),
            10 => front.upload_finished(client, Ok(()), now),
            11 => front.upload_failed(client, ErrorKind::StorageFull.into(), now),
            12 => front.file_answer(client, files::error(404), now),
            13 => {
                self.exchange.now += Duration::from_millis(500 * u64::from(whom));
                front.handle_timeout(self.exchange.now);
            }
            14 => drop(self.exchange.write(client, 1 + bytes.len())),
            15 if whom == 255 => front.stop(),
            15 => drop(front.kill(u32::from(whom))),
            _ => {}
        }
    }

    fn settle(&mut self) {
        while let Some(effect) = self.exchange.front.poll_effect() {
            let client = match effect {
                Effect::Message(..) | Effect::Access(_) => continue,
                Effect::Close(client) => {
                    assert!(!self.exchange.front.has(client) && self.closed.insert(client), "closed once");
                    continue;
                }
                Effect::Write(client)
                | Effect::ReadAgain(client)
                | Effect::CreateUpload(client)
                | Effect::AppendUpload(client, _)
                | Effect::FinishUpload(client)
                | Effect::RemoveUpload(client)
                | Effect::File(client, _) => client,
            };
            assert!(!self.closed.contains(&client), "nothing is to be done for a client that is closed");
        }
    }

    fn end(&mut self) {
        self.exchange.front.stop_now();
        self.settle();
        assert_eq!(self.exchange.front.len(), 0);
        assert!(self.clients.iter().all(|client| self.closed.contains(client)), "all are closed");
    }
}
