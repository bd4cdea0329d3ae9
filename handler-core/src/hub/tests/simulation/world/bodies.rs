//! Bodies in parts: servers that send them as far as they may, some that lose count, workers that read some of it.

use super::super::super::mongrel2;
use super::super::client::{Asked, Asks, Sending, Speaks};
use super::World;
use crate::hub::{ConnKey, WorkerId};
use crate::worker::protocol::{Action, BODY_WINDOW, encode_action};
use std::path::PathBuf;

/// The largest chunk.
const CHUNK: usize = 100_000;

impl World {
    /// A client begins to send a body in parts.
    pub(super) fn client_uploads(&mut self, number: usize, id: i64) {
        self.last_tag += 1;
        let tag = self.last_tag;
        let link = &self.links[number];
        let (form, sender) = (link.form, link.sender.clone());
        let client = &link.clients[&id];
        let total = match self.random.below(10) {
            0 => self.random.below(900_000),
            1..4 => self.random.below(90_000),
            _ => self.random.below(3000),
        };
        let total = total + 10;
        let chunked = self.random.percent(40);
        let sent = if chunked { 0 } else { self.random.below(9) };
        let length = total.to_string();
        let mut more = vec![("UPLOAD_STREAM", "0")];
        more.push(if chunked { ("transfer-encoding", "chunked") } else { ("content-length", &length) });
        if link.flow_control && client.answers == 0 && client.asked.is_empty() {
            more.push(("DOWNLOAD_CREDITS", "102400"));
            self.links[number].announced = true;
        }
        let line = format!("POST /body/{tag}");
        let message = mongrel2::http(form, &sender, id, &line, &more, &vec![b'.'; sent]);
        self.body_sizes.insert(tag, total);
        let client = self.links[number].clients.get_mut(&id).expect("it was there");
        client.asks(self.now);
        client.asked.push_back(Asked { tag, head: false, close: false, kind: Asks::Handler });
        client.body = Some(Sending { sent, total, chunked, credits: 0 });
        self.totals.bodies += 1;
        self.send(number, &message);
    }

    /// Goes on with a client's body, if it has credits; a rogue server does what it likes.
    pub(super) fn client_sends(&mut self, number: usize, id: i64) {
        let link = &self.links[number];
        let (form, sender, flows) = (link.form, link.sender.clone(), self.calm);
        let Some(body) = link.clients[&id].body else { return };
        let rogue = !flows && self.random.percent(2);
        if body.credits <= 0 && !rogue {
            return;
        }
        let left = body.total - body.sent;
        let most = if body.chunked { CHUNK } else { body.credits.clamp(1, 103_424) as usize };
        let size = left.min(1 + self.random.below(most));
        let last = if body.chunked { left == 0 } else { size == left };
        let mut offset = body.sent;
        if rogue {
            offset = self.random.below(body.total * 2);
        }
        let bytes = vec![b'.'; size];
        let part = mongrel2::part(form, &sender, id, "/body/0", offset, last, &bytes);
        let client = self.links[number].clients.get_mut(&id).expect("it was there");
        client.body = Some(Sending { sent: body.sent + size, credits: body.credits - size as i64, ..body })
            .filter(|_| !last || rogue);
        client.rogue |= rogue;
        self.send(number, &part);
    }

    /// Mongrel2 is told something about a client's body.
    pub(super) fn client_is_told(&mut self, number: usize, id: i64, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        let Some(client) = self.links[number].clients.get_mut(&id) else { return };
        if text.contains("6:cancel,") && client.speaks != Speaks::Anything {
            let is_bad = client.mute || client.gone || client.closed || client.rogue;
            assert!(is_bad, "cancelled: {client:?}");
            client.gone = true;
            client.gone_at.get_or_insert(self.now);
            return;
        }
        let Some((_, number)) = text.split_once("7:credits,") else { return };
        let granted: i64 = number.split(['#', ':']).nth(1).expect("a number").parse().expect("a number");
        if let Some(body) = &mut client.body {
            body.credits += granted;
            assert!(body.credits <= i64::from(BODY_WINDOW), "{} credits", body.credits);
        }
    }

    /// The clients that are still there send what they may.
    pub(super) fn bodies_go_on(&mut self) {
        for number in 0..self.links.len() {
            let clients = self.links[number].clients.iter();
            let sends = clients.filter(|(_, client)| client.may_talk() && client.body.is_some());
            let ids: Vec<i64> = sends.map(|(id, _)| *id).collect();
            ids.into_iter().for_each(|id| self.client_sends(number, id));
        }
        self.tell_written();
    }

    /// The disk takes its time.
    pub(super) fn file_is_written(&mut self, key: ConnKey, path: PathBuf, bytes: &[u8], last: bool) {
        let file = self.own_files.entry(path.clone()).or_default();
        assert!(!file.1, "written behind its end");
        *file = (file.0 + bytes.len(), last);
        let result = match !self.calm && self.random.percent(1) {
            true => Err("no space left".to_owned()),
            false => Ok(bytes.len()),
        };
        self.written.push_back((key, path, result));
        if self.random.percent(50) {
            self.tell_written();
        }
    }

    pub(super) fn tell_written(&mut self) {
        while let Some((key, path, result)) = self.written.pop_front() {
            self.hub.handle_written(key, &path, result, self.now);
        }
    }

    /// No more is under way than may be.
    pub(super) fn check_bodies(&self) {
        let most = self.hub.bodies.streamed.under_way().max().unwrap_or(0);
        assert!(most <= u64::from(BODY_WINDOW) + CHUNK as u64, "{most} bytes of a body under way");
    }

    /// A job that a worker has begun has its whole body, or may ask for it.
    pub(super) fn check_body(&self, spool: &str, tag: u64) {
        if spool.starts_with("/own/") && self.calm {
            let (size, whole) = self.own_files[&PathBuf::from(spool)];
            assert!(whole && Some(&size) == self.body_sizes.get(&tag), "{spool} has {size} bytes");
        }
    }

    /// A worker wants more of one of the bodies that it reads.
    pub(super) fn worker_reads(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(serial) = self.random.pick(&worker.reading.keys().copied().collect::<Vec<_>>()).copied()
        else {
            return;
        };
        let more = 1 + self.random.below(200_000) as u32;
        let reading = worker.reading.get_mut(&serial).expect("it was there");
        if reading.wanted < reading.got + u64::from(BODY_WINDOW) {
            reading.wanted += u64::from(more);
            encode_action(&mut worker.outbox, &Action::Want { serial, bytes: more });
        }
    }
}
