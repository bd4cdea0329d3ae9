//! The steps, and what must hold behind each of them.

use super::super::*;
use super::client::{Client, Message, Upload, file_head};
use super::script::{Bodies, Expected, How, script};
use super::totals::Totals;
use crate::files::{Answer, Piece};
use crate::tls::CertDigests;
use fastrand::Rng;
use mongrel2_wire::{ConnId, Envelope, Sender, Targets, reply};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

const HANDLERS: usize = 2;
/// A client that sent nothing for so long is idle, seconds.
const IDLE: u64 = 120;
/// The most bytes of one read.
const READ: usize = 70_000;

pub(super) struct World {
    front: Front,
    rng: Rng,
    now: Instant,
    protocol: Protocol,
    settings: Vec<(&'static str, &'static str)>,
    bodies: Bodies,
    clients: Vec<Client>,
    by_key: HashMap<ClientKey, usize>,
    by_id: HashMap<i64, usize>,
    /// Notices that are due because a handler wrote to nobody.
    due: Vec<(usize, i64)>,
    /// Files that are asked for, and steps of uploads that the disk has not done.
    asked: Vec<(ClientKey, String)>,
    disk: Vec<(ClientKey, Upload)>,
    congested: [bool; HANDLERS],
    is_stopping: bool,
    serial: u64,
    pub(super) totals: Totals,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut settings = vec![("limits.min_read_rate", "0")];
        let inline = if rng.bool() { 20_480 } else { 16 };
        if inline == 16 {
            settings.push(("limits.content_length", "16"));
        }
        let larger = [None, Some(How::Parts), Some(How::File)][rng.usize(..3)];
        match larger {
            Some(How::Parts) => settings.push(("upload.stream", "1")),
            Some(_) => settings.push(("upload.temp_store", "/tmp/m.XXXXXX")),
            None => {}
        }
        if rng.bool() {
            settings.push(("download.flow_control", "1"));
        }
        if rng.u8(..4) == 0 {
            settings.push(("front.output_bytes", "700"));
        }
        let protocol = if rng.bool() { Protocol::Json } else { Protocol::Tnetstring };
        let run = Run::new(protocol, &settings);
        Self {
            front: run.front,
            rng,
            now: run.now,
            protocol,
            settings,
            bodies: Bodies { inline, larger },
            clients: Vec::new(),
            by_key: HashMap::new(),
            by_id: HashMap::new(),
            due: Vec::new(),
            asked: Vec::new(),
            disk: Vec::new(),
            congested: [false; HANDLERS],
            is_stopping: false,
            serial: 0,
            totals: Totals::default(),
        }
    }

    pub(super) fn step(&mut self) {
        match self.rng.u8(..100) {
            0..10 if self.clients.len() < 40 => self.accept(),
            10..45 => self.send(),
            45..48 => self.leave(),
            48..63 => self.answer(),
            63..70 => self.write_to_some(),
            70..82 => self.read(),
            82..86 => self.work_disk(),
            86..88 => self.answer_file(),
            88..90 => self.congest(),
            90..94 => self.wait(),
            94 => self.nonsense(),
            95 => self.reload(),
            96 => self.close_by_handler(),
            97 if self.rng.u8(..4) == 0 => self.kill(),
            98..100 => self.grant(),
            _ => {}
        }
        self.settle();
        self.check();
    }

    fn some(&mut self) -> Option<usize> {
        let alive: Vec<_> = (0..self.clients.len()).filter(|at| self.clients[*at].is_alive).collect();
        (!alive.is_empty()).then(|| alive[self.rng.usize(..alive.len())])
    }

    fn accept(&mut self) {
        let certificate =
            self.rng.bool().then(|| CertDigests { sha1: "1".repeat(40), sha256: "2".repeat(64) });
        let peer =
            Peer { address: "127.0.0.1".into(), port: 4000, is_tls: certificate.is_some(), certificate };
        let key = self.front.accept(peer, self.now);
        let at = self.clients.len();
        let items = script(&mut self.rng, at, self.bodies);
        self.clients.push(Client::new(key, items, self.now));
        assert!(self.by_key.insert(key, at).is_none(), "a key is used once");
    }

    fn send(&mut self) {
        let Some(at) = self.some() else { return };
        let size = match self.rng.u8(..4) {
            0 => 1,
            1 => 1 + self.rng.usize(..20),
            2 => 1 + self.rng.usize(..200),
            _ => READ,
        };
        self.send_bytes(at, size);
    }

    fn send_bytes(&mut self, at: usize, size: usize) {
        let client = &mut self.clients[at];
        if client.has_ended || client.is_blocked || client.sent == client.bytes.len() {
            return;
        }
        if !self.front.wants_input(client.key) {
            client.is_blocked = true;
            return;
        }
        let end = client.bytes.len().min(client.sent + size);
        let piece = client.bytes[client.sent..end].to_vec();
        client.sent = end;
        client.touched = self.now;
        self.front.receive(client.key, &piece, self.now);
    }

    fn leave(&mut self) {
        let Some(at) = self.some() else { return };
        let client = &mut self.clients[at];
        client.may_drop = true;
        if self.rng.bool() {
            client.has_ended = true;
            self.front.end_of_input(client.key, self.now);
        } else {
            client.payloads.clear();
            self.front.lost(client.key);
        }
    }

    fn kill(&mut self) {
        let Some(at) = self.some() else { return };
        if let Some(id) = self.clients[at].id {
            self.clients[at].may_drop = true;
            assert!(self.front.kill(u32::try_from(id).unwrap()));
        }
    }

    /// A handler answers the oldest request of a client.
    fn answer(&mut self) {
        let Some(at) = self.some() else { return };
        let Some((handler, is_head)) = self.clients[at].unanswered.pop_front() else { return };
        self.serial += 1;
        let mark = format!("X-For: c{at} {}\r\n", self.serial);
        let response = match self.rng.u8(..4) {
            0 if !is_head => format!("HTTP/1.1 200 OK\r\n{mark}Content-Length: 3\r\n\r\nabc"),
            1 if !is_head => {
                format!("HTTP/1.1 200 OK\r\n{mark}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
            }
            2 if is_head => format!("HTTP/1.1 200 OK\r\n{mark}Content-Length: 3\r\n\r\n"),
            _ => format!("HTTP/1.1 204 No Content\r\n{mark}\r\n"),
        };
        let id = self.clients[at].id.unwrap();
        self.write(handler, &[id], response.as_bytes());
    }

    /// Sends a payload to these connections, some of which may be gone.
    fn write(&mut self, handler: usize, ids: &[i64], payload: &[u8]) {
        let words: Vec<_> = ids.iter().map(i64::to_string).collect();
        let words = words.join(" ");
        let message = [format!("m2 {}:{words}, ", words.len()).as_bytes(), payload].concat();
        for id in ids {
            match self.by_id.get(id).map(|at| &mut self.clients[*at]).filter(|client| client.is_alive) {
                Some(client) if payload.is_empty() => {
                    client.is_closing = true;
                    client.known_by.remove(&handler);
                }
                Some(client) if client.is_closing => {}
                Some(client) => client.payloads.push_back(payload.to_vec()),
                None => self.due.push((handler, *id)),
            }
        }
        self.front.handle_reply(HandlerId(handler), &message, self.now);
    }

    /// Something that is no whole response, to several.
    fn write_to_some(&mut self) {
        let mut ids: Vec<i64> = (0..self.rng.usize(1..4)).map(|_| self.rng.i64(1..50)).collect();
        ids.sort_unstable();
        ids.dedup();
        self.serial += 1;
        let payload = format!("[{ids:?} {}{}]", self.serial, "y".repeat(self.rng.usize(..300)));
        for id in &ids {
            if let Some(at) = self.by_id.get(id) {
                self.clients[*at].is_plain = false;
            }
        }
        let handler = self.rng.usize(..HANDLERS);
        self.write(handler, &ids, payload.as_bytes());
    }

    fn close_by_handler(&mut self) {
        let id = self.rng.i64(1..50);
        let handler = self.rng.usize(..HANDLERS);
        self.write(handler, &[id], b"");
    }

    fn read(&mut self) {
        let Some(at) = self.some() else { return };
        let most = if self.rng.bool() { usize::MAX } else { 1 + self.rng.usize(..40) };
        self.read_bytes(at, most);
    }

    fn read_bytes(&mut self, at: usize, most: usize) {
        let client = &mut self.clients[at];
        let Some(output) = self.front.output(client.key) else { return };
        let mut slices = [IoSlice::new(b""); 64];
        let count = output.slices(&mut slices);
        let mut bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
        bytes.truncate(most);
        output.advance(bytes.len() as u64);
        client.read(&bytes);
        self.front.written(client.key, bytes.len() as u64, self.now);
    }

    fn work_disk(&mut self) {
        if self.disk.is_empty() {
            return;
        }
        // A disk does one step after the other.
        let (key, step) = self.disk.remove(0);
        let at = self.by_key[&key];
        let fails = self.rng.u8(..8) == 0 || self.clients[at].upload.is_none();
        let client = &mut self.clients[at];
        if fails {
            client.may_drop = true;
            client.expected.clear();
        }
        let error = || io::Error::from(io::ErrorKind::StorageFull);
        match step {
            Upload::Creating if fails => {
                client.upload = None;
                self.front.upload_created(key, Err(error()), self.now);
            }
            Upload::Creating => {
                client.upload = client.upload.map(|_| Upload::Open);
                self.front.upload_created(key, Ok(format!("/tmp/m.c{at}")), self.now);
            }
            _ if fails => self.front.upload_failed(key, error(), self.now),
            _ => self.front.upload_finished(key, Ok(()), self.now),
        }
    }

    fn answer_file(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.asked.len());
        let (key, path) = self.asked.remove(at);
        let mut head = file_head(&path);
        let body = head.split_off(head.len() - path.len());
        let size = body.len() as u64;
        let answer = Answer { status: 200, head, body: vec![Piece::Bytes(body)], closes: false, size };
        self.clients[self.by_key[&key]].files.push_back(path);
        self.front.file_answer(key, answer, self.now);
    }

    fn congest(&mut self) {
        let handler = self.rng.usize(..HANDLERS);
        self.congested[handler] = !self.congested[handler];
        self.front.set_congested(HandlerId(handler), self.congested[handler], self.now);
    }

    /// Time passes. Nobody is cut off who owes nothing and is not idle.
    fn wait(&mut self) {
        self.now += Duration::from_millis(self.rng.u64(..20_000));
        let mut innocent = Vec::new();
        for client in self.clients.iter().filter(|client| client.is_alive && client.is_between()) {
            let is_idle = self.now - client.touched >= Duration::from_secs(IDLE);
            let reads = self.front.clients.get(client.key).is_some_and(|client| client.output.is_empty());
            if reads && !is_idle {
                innocent.push(client.key);
            }
        }
        for client in &mut self.clients {
            client.may_drop = true;
        }
        self.front.handle_timeout(self.now);
        innocent.iter().for_each(|key| assert!(self.front.has(*key), "cut off for nothing"));
    }

    fn nonsense(&mut self) {
        let mut message = b"m2 3:1 2, x".to_vec();
        let at = self.rng.usize(..8);
        message[at] = b"x \0:\xff"[self.rng.usize(..5)];
        let before = self.front.counters();
        if reply::parse(&message).is_err() {
            self.front.handle_reply(HandlerId(0), &message, self.now);
            assert_eq!(self.front.counters().malformed, before.malformed + 1);
        }
    }

    fn reload(&mut self) {
        let (config, server) = Run::configuration(self.protocol, &self.settings);
        let old = self.front.site().clone();
        self.front.replace_site(Site::after(&old, &config, &server, Path::new("/")).unwrap(), self.now);
    }

    fn control(&mut self, handler: usize, at: usize, control: reply::Control) {
        let Some(id) = self.clients[at].id else { return };
        if !self.front.has(self.clients[at].key) {
            self.due.push((handler, id));
        }
        let (mut out, id) = (Vec::new(), ConnId::try_from(id).unwrap());
        reply::encode_control(&mut out, &Sender::new("m2").unwrap(), Targets::one(&id), control);
        self.front.handle_reply(HandlerId(handler), &out, self.now);
    }

    fn grant(&mut self) {
        let Some(at) = self.some() else { return };
        match self.rng.u8(..10) {
            0 => {
                let handler = self.rng.usize(..HANDLERS);
                if self.clients[at].id.is_some() {
                    self.clients[at].may_drop = true;
                    self.clients[at].known_by.remove(&handler);
                }
                self.control(handler, at, reply::Control::Cancel);
            }
            1 => self.control(0, at, reply::Control::KeepAlive),
            _ => {
                let bytes = self.rng.u32(..60);
                self.control(0, at, reply::Control::UploadCredits(bytes));
            }
        }
    }

    fn settle(&mut self) {
        while let Some(effect) = self.front.poll_effect() {
            match effect {
                Effect::Message(handler, message) => self.message(handler.0, &message),
                Effect::Close(key) => self.closed(key),
                Effect::Write(key) => assert!(self.clients[self.by_key[&key]].is_alive),
                Effect::ReadAgain(key) => {
                    let client = &mut self.clients[self.by_key[&key]];
                    assert!(client.is_alive);
                    client.is_blocked = false;
                    self.totals.read_again += 1;
                }
                Effect::CreateUpload(key) => {
                    let client = &mut self.clients[self.by_key[&key]];
                    let expected = client.expected.pop_front().unwrap();
                    assert!(matches!(expected, Expected::Request { how: How::File, .. }), "{expected:?}");
                    client.stored = Some((expected, Vec::new()));
                    client.upload = Some(Upload::Creating);
                    self.disk.push((key, Upload::Creating));
                }
                Effect::AppendUpload(key, bytes) => {
                    let client = &mut self.clients[self.by_key[&key]];
                    assert_eq!(client.upload, Some(Upload::Open));
                    client.stored.as_mut().unwrap().1.extend(bytes);
                    if self.rng.u8(..60) == 0 {
                        client.may_drop = true;
                        client.expected.clear();
                        self.front.upload_failed(key, io::ErrorKind::StorageFull.into(), self.now);
                    }
                }
                Effect::FinishUpload(key) => {
                    let client = &mut self.clients[self.by_key[&key]];
                    // The disk may have failed since.
                    if client.upload.is_some() {
                        let (expected, stored) = client.stored.as_ref().unwrap();
                        assert!(matches!(expected, Expected::Request { body, .. } if body == stored));
                        client.upload = Some(Upload::Finishing);
                    }
                    self.disk.push((key, Upload::Finishing));
                }
                Effect::RemoveUpload(key) => {
                    let client = &mut self.clients[self.by_key[&key]];
                    assert!(client.upload.take().is_some(), "there is something to remove");
                    self.totals.removed += 1;
                }
                Effect::File(key, request) => {
                    let client = &mut self.clients[self.by_key[&key]];
                    let path = String::from_utf8(request.path).unwrap();
                    assert_eq!(client.expected.pop_front(), Some(Expected::File { path: path.clone() }));
                    self.asked.push((key, path));
                }
                Effect::Access(_) => panic!("the log is off"),
            }
        }
    }

    fn message(&mut self, handler: usize, message: &[u8]) {
        let envelope = Envelope::parse(message).unwrap();
        let header = |name: &[u8]| {
            let text = envelope.headers.get(name).and_then(|values| values.first());
            text.map(|text| text.bytes().into_owned())
        };
        let (id, path) = (envelope.conn_id, std::str::from_utf8(envelope.path).unwrap());
        let client = self.by_id.get(&id).copied();
        if path == "@*" && envelope.body == br#"{"type":"disconnect"}"# {
            self.totals.notices += 1;
            let knew = client.is_some_and(|at| self.clients[at].known_by.remove(&handler));
            if !knew {
                let due = self.due.iter().position(|due| *due == (handler, id));
                self.due.remove(
                    due.unwrap_or_else(|| panic!("handler {handler} heard more of {id} than its end")),
                );
            }
            return;
        }
        if path == "@*" {
            assert_eq!(envelope.body, br#"{"type":"credits"}"#);
            return assert!(self.clients[client.unwrap()].is_alive);
        }
        let offset = header(b"UPLOAD_STREAM").map(|text| String::from_utf8(text).unwrap().parse().unwrap());
        let method = header(b"METHOD").unwrap_or_default();
        // Paths have the number of their client; those without are of bodies that have.
        let of = |text: &str| -> Option<usize> {
            let rest = &text[text
                .find('c')
                .map(|at| at + 1)
                .filter(|at| text[*at..].starts_with(|c: char| c.is_ascii_digit()))?..];
            rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
        };
        let body = String::from_utf8_lossy(envelope.body);
        let at = match path {
            "<msg" => of(body.strip_prefix("<msg from='").unwrap()),
            _ => of(path.trim_start_matches("/raw/").trim_start_matches("@chat/")),
        };
        let at = at.unwrap_or_else(|| panic!("{path} belongs to no client"));
        assert_eq!(*self.by_id.entry(id).or_insert(at), at, "an id is of one client");
        let client = &mut self.clients[at];
        assert_eq!(*client.id.get_or_insert(id), id, "a client has one id");
        assert!(client.is_alive && !client.is_closing, "nothing comes of a client that is closed");
        client.known_by.insert(handler);
        let is_done = header(b"UPLOAD_STREAM_DONE").is_some();
        match (header(b"x-mongrel2-upload-start"), header(b"x-mongrel2-upload-done")) {
            (Some(_), None) => {
                assert_eq!(client.upload, Some(Upload::Open));
                client.unanswered.push_back((handler, method == b"HEAD"));
            }
            (Some(_), Some(_)) => {
                assert_eq!(client.upload.take(), Some(Upload::Finishing));
                self.totals.files += 1;
            }
            _ => {
                let message = Message { body: envelope.body, offset, is_done };
                client.got(handler, &method, path, &message);
                match &method[..] {
                    b"WEBSOCKET" => self.totals.frames += 1,
                    b"JSON" | b"XML" => self.totals.sockets += 1,
                    _ if offset.is_some() => self.totals.parts += 1,
                    _ => self.totals.requests += 1,
                }
            }
        }
    }

    fn closed(&mut self, key: ClientKey) {
        let client = &mut self.clients[self.by_key[&key]];
        assert!(std::mem::replace(&mut client.is_alive, false), "a connection is closed once");
        assert!(client.known_by.is_empty(), "{:?} did not hear of the end", client.known_by);
        assert_eq!(client.upload, None, "no file is left");
        let counters = self.front.counters();
        // A client that asks for the policy is closed behind it, whatever else it asked for.
        let has_policy = memchr::memmem::find(&client.bytes, b"<policy").is_some();
        let is_cut = client.may_drop || has_policy || counters.overflowed + counters.refused > 0;
        assert!(is_cut || client.payloads.is_empty(), "what was sent before a close is written");
        assert!(self.front.output(key).is_none() && !self.front.has(key));
        self.totals.closed += 1;
    }

    fn check(&mut self) {
        assert_eq!(self.due, [], "whoever writes to nobody hears of it");
        let alive: HashSet<_> =
            self.clients.iter().filter(|client| client.is_alive).map(|client| client.key).collect();
        assert_eq!(alive.len(), self.front.len());
        assert!(alive.is_empty() || self.front.next_timeout().is_some());
        let most = self.bodies.inline.max(64 << 10) + READ;
        for (key, connection) in &self.front.clients {
            assert!(alive.contains(&key));
            assert!(connection.waiting() <= most);
        }
    }

    /// All causes to wait end: then nothing waits.
    pub(super) fn finish(&mut self) {
        self.is_stopping = self.rng.u8(..3) == 0;
        for handler in 0..HANDLERS {
            self.congested[handler] = false;
            self.front.set_congested(HandlerId(handler), false, self.now);
            self.settle();
        }
        if self.is_stopping {
            self.clients.iter_mut().for_each(|client| (client.may_drop, client.has_ended) = (true, true));
            self.front.stop();
            self.settle();
        }
        for _ in 0..60 {
            for at in 0..self.clients.len() {
                if !self.clients[at].is_alive {
                    continue;
                }
                self.send_bytes(at, READ);
                self.settle();
                if self.clients[at].part.is_some() {
                    self.control(0, at, reply::Control::UploadCredits(10_000));
                    self.control(1, at, reply::Control::UploadCredits(10_000));
                    self.settle();
                }
                if self.clients[at].is_alive && !self.clients[at].unanswered.is_empty() {
                    let (handler, _) = self.clients[at].unanswered.pop_front().unwrap();
                    let id = self.clients[at].id.unwrap();
                    let response = format!("HTTP/1.1 204 No Content\r\nX-For: c{at} last\r\n\r\n");
                    self.write(handler, &[id], response.as_bytes());
                    self.settle();
                }
                self.read_bytes(at, usize::MAX);
                self.settle();
            }
            for _ in 0..self.disk.len() + self.asked.len() {
                self.work_disk();
                self.answer_file();
                self.settle();
            }
            self.check();
        }
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            if !client.is_alive {
                continue;
            }
            assert!(!client.is_blocked && self.front.wants_input(client.key), "c{at} is stuck");
            let is_ours = |client: &Client| client.is_plain && client.id.is_some();
            if client.has_ended {
                assert!(
                    !is_ours(client),
                    "c{at} has all and is not closed: {:?}",
                    self.front.clients.get(client.key)
                );
                continue;
            }
            assert_eq!(client.sent, client.bytes.len(), "c{at} is not read");
            assert!(
                client.expected.is_empty() && client.part.is_none() && client.upload.is_none(),
                "c{at}: {:?}",
                client.expected
            );
        }
        self.front.stop_now();
        self.settle();
        self.check();
        assert_eq!(self.front.len(), 0);
        self.front.handle_timeout(self.now + Duration::from_secs(100));
        assert_eq!(self.front.next_timeout(), None);
    }
}
