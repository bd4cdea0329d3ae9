//! What servers and clients do, honest and hostile.

use super::super::super::mongrel2;
use super::super::super::site::seconds;
use super::super::client::{Asked, Asks, Client, Speaks};
use super::{STRANGERS, Upload, World};
use crate::hub::LinkId;
use mongrel2_wire::Envelope;
use std::path::PathBuf;

impl World {
    pub(super) fn server_starts(&mut self, number: usize) {
        let link = &mut self.links[number];
        link.up = true;
        (link.next_id, link.next_talker) = (1, 0);
        (link.has_spoken, link.announced) = (false, false);
        self.hub.handle_server_up(LinkId(number as u16), b"m2");
    }

    pub(super) fn server_restarts(&mut self) {
        let number = self.random.below(self.links.len());
        let link = &mut self.links[number];
        if link.up {
            self.totals.restarts += 1;
            link.up = false;
            link.incarnation += 1;
            link.clients.clear();
            link.talkers.clear();
            link.missed.clear();
            let store = format!("/store/{number}/");
            let lost = |path: &PathBuf, file: &Upload| path.starts_with(&store) && *file == Upload::Begun;
            let lost = self.uploads.iter_mut().filter(|(path, file)| lost(path, file));
            lost.for_each(|(_, file)| *file = Upload::Lost);
            self.hub.handle_server_down(LinkId(number as u16), self.now);
        }
        if self.random.percent(80) {
            self.server_starts(number);
        }
    }

    pub(super) fn some_link(&mut self) -> Option<usize> {
        let number = self.random.below(self.links.len());
        if !self.links[number].up {
            if self.random.percent(10) {
                self.server_starts(number);
            }
            return None;
        }
        Some(number)
    }

    pub(super) fn send(&mut self, number: usize, message: &[u8]) {
        self.totals.messages += 1;
        self.links[number].has_spoken = true;
        self.hub.handle_message(LinkId(number as u16), message, self.now);
    }

    /// A client of the link, a new one now and then.
    pub(super) fn some_client(&mut self, number: usize) -> i64 {
        let link = &mut self.links[number];
        if self.random.percent(75) {
            let recent = (link.next_id - 1).clamp(0, 12);
            if recent > 0 {
                return link.next_id - 1 - self.random.below(recent as usize) as i64;
            }
        }
        let id = link.next_id;
        link.next_id += 1;
        let socket = self.random.percent(if self.raw { 30 } else { 3 });
        link.clients.insert(id, Client::new(if socket { Speaks::Socket } else { Speaks::Http }));
        id
    }

    pub(super) fn client_talks(&mut self) {
        let Some(number) = self.some_link() else { return };
        let id = self.some_client(number);
        let burst = if self.random.percent(5) { 1 + self.random.below(20) } else { 1 };
        for _ in 0..burst {
            self.client_says(number, id);
        }
    }

    pub(super) fn client_says(&mut self, number: usize, id: i64) {
        let link = &self.links[number];
        let (form, sender, client) = (link.form, link.sender.clone(), &link.clients[&id]);
        if !client.may_talk() {
            return;
        }
        if client.upload.is_some() {
            return self.complete_upload(number, id);
        }
        if client.body.is_some() {
            return self.client_sends(number, id);
        }
        if client.speaks == Speaks::Http && self.random.percent(5) {
            return self.client_uploads(number, id);
        }
        let link = &self.links[number];
        let client = &link.clients[&id];
        self.last_tag += 1;
        let tag = self.last_tag;
        if client.speaks == Speaks::Socket || self.random.percent(1) {
            let body = format!("{{{tag}}}");
            self.send(number, &mongrel2::json(form, &sender, id, body.as_bytes()));
            return;
        }
        let first = client.answers == 0 && client.asked.is_empty();
        let mut more = Vec::new();
        let mut close = self.random.percent(6);
        if close {
            more.push(("connection", "Close"));
        }
        if self.random.percent(8) {
            more.push(("VERSION", "HTTP/1.0"));
            match !close && self.random.percent(50) {
                true => more.push(("connection", "keep-alive")),
                false => close = true,
            }
        }
        if tag % 4 < 3 {
            // Of a worker, of one that may not be there, of none.
            more.push((
                "cookie",
                ["kennel-worker=1", "a=b; kennel-worker=2", "kennel-worker=9"][tag as usize % 4],
            ));
        }
        if link.flow_control && first {
            more.push(("DOWNLOAD_CREDITS", "102400"));
            self.links[number].announced = true;
        }
        let mount = if self.random.percent(20) { "/two" } else { "" };
        let head = self.random.percent(10);
        let get = if head { "HEAD" } else { "GET" };
        let (line, kind, body) = match self.random.below(20) {
            0..12 => (format!("{get} {mount}/users/{tag}"), Asks::Handler, String::new()),
            12..15 => (format!("POST {mount}/b"), Asks::Handler, tag.to_string()),
            15 => (format!("{get} /none/{tag}"), Asks::Page(404), String::new()),
            16 => (format!("DELETE {mount}/users/{tag}"), Asks::Page(405), String::new()),
            17 => (format!("OPTIONS {mount}/users/{tag}"), Asks::Page(204), String::new()),
            18 if self.random.percent(20) => (format!("JSON /users/{tag}"), Asks::Refused, String::new()),
            _ => (format!("{get} /users/{tag}"), Asks::Handler, String::new()),
        };
        let head = line.starts_with("HEAD ");
        let file = format!("tmp/{number}-{tag}");
        let upload = body.is_empty() && kind != Asks::Refused && self.random.percent(8);
        if upload {
            more.extend([("content-length", "70000"), ("x-mongrel2-upload-start", &file)]);
        }
        let message = mongrel2::http(form, &sender, id, &line, &more, body.as_bytes());
        if upload {
            more.push(("x-mongrel2-upload-done", &file));
            let done = mongrel2::http(form, &sender, id, &line, &more, b"");
            let path = PathBuf::from(format!("/store/{number}/{number}-{tag}"));
            self.uploads.insert(path.clone(), Upload::Begun);
            self.links[number].clients.get_mut(&id).expect("it was there").upload = Some((done, path));
            self.totals.uploads += 1;
        }
        let close = close || upload || kind == Asks::Refused;
        let client = self.links[number].clients.get_mut(&id).expect("it was there");
        client.asks(self.now);
        client.asked.push_back(Asked { tag, head, close, kind });
        self.send(number, &message);
    }

    /// The file of a client's upload is whole.
    fn complete_upload(&mut self, number: usize, id: i64) {
        let client = self.links[number].clients.get_mut(&id).expect("it was there");
        let (done, path) = client.upload.take().expect("it uploads");
        self.uploads.insert(path, Upload::Whole);
        self.send(number, &done);
    }

    /// Whoever is still there gets done with it.
    pub(super) fn complete_uploads(&mut self) {
        for number in 0..self.links.len() {
            let uploads = |client: &Client| client.may_talk() && client.upload.is_some();
            let clients = self.links[number].clients.iter().filter(|(_, client)| uploads(client));
            let ids: Vec<i64> = clients.map(|(id, _)| *id).collect();
            ids.into_iter().for_each(|id| self.complete_upload(number, id));
        }
    }

    pub(super) fn client_leaves(&mut self) {
        let Some(number) = self.some_link() else { return };
        let id = self.some_client(number);
        let link = &mut self.links[number];
        let (form, sender) = (link.form, link.sender.clone());
        let client = link.clients.get_mut(&id).expect("it was there");
        if client.closed {
            // What was under way when the close was sent, still within a second.
            let late = mongrel2::http(form, &sender, id, "GET /users/0", &[], b"");
            if client.closed_at.is_some_and(|at| self.now - at < seconds(1)) {
                if client.upload.is_some() {
                    return self.complete_upload(number, id);
                }
                self.send(number, &late);
            }
            return;
        }
        if self.random.percent(20) {
            client.mute = true;
            return;
        }
        client.gone = true;
        client.gone_at = Some(self.now);
        for _ in 0..1 + self.random.below(2) {
            self.send(number, &mongrel2::disconnect(form, &sender, id));
        }
    }

    /// Under flow control, the server reports what it has written.
    pub(super) fn server_reports(&mut self) {
        let Some(number) = self.some_link() else { return };
        let link = &mut self.links[number];
        if !link.flow_control {
            return;
        }
        let (form, sender) = (link.form, link.sender.clone());
        let mut due = Vec::new();
        for (id, wire, slow) in link.unpaid() {
            let chance = if slow { 10 } else { 60 };
            if !wire.unreported.is_empty() && self.random.percent(chance) {
                due.extend(wire.unreported.pop_front().map(|size| (id, size)));
            }
        }
        for (id, size) in due {
            self.send(number, &mongrel2::credits(form, &sender, id, size));
        }
    }

    pub(super) fn hostile_message(&mut self) {
        let Some(number) = self.some_link() else { return };
        if !self.links[number].has_spoken {
            // The first message says who the server is.
            return;
        }
        let (form, sender) = (self.links[number].form, self.links[number].sender.clone());
        let id = 7_777_770 + self.random.below(10) as i64;
        let mut message = match self.random.below(6) {
            5 => mongrel2::part(
                form,
                &sender,
                id,
                "/body/0",
                self.random.below(3),
                self.random.percent(50),
                b"x",
            ),
            0 => mongrel2::disconnect(form, &sender, id),
            1 if self.links[number].flow_control => mongrel2::credits(form, &sender, id, 1000),
            2 => mongrel2::json(form, &sender, id, b"{0}"),
            _ => {
                let cookie = [("cookie", "a=\"b\\c\""), ("connection", "keep-alive")];
                mongrel2::http(form, &sender, id, "GET /users/0", &cookie, b"body")
            }
        };
        for _ in 0..self.random.below(4) {
            let at = self.random.below(message.len());
            match self.random.below(4) {
                0 => message.truncate(at.max(1)),
                1 => message.insert(at, self.random.next() as u8),
                _ => message[at] ^= 1 << self.random.below(8),
            }
        }
        // Who could write another id than its own would be Mongrel2.
        if !Envelope::parse(&message).is_ok_and(|read| (0..STRANGERS).contains(&read.conn_id)) {
            self.send(number, &message);
        }
        let foreign = mongrel2::disconnect(form, "foreign", 1);
        self.send(number, &foreign);
    }
}
