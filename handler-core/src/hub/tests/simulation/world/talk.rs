//! What clients of live connections do, honest and hostile.

use super::super::super::mongrel2;
use super::super::talker::Talker;
use super::{TALKERS, World};
use crate::hub::LinkId;

/// Who speaks to what; `/gone` is there in some code and not in other.
const PATHS: [&str; 9] = ["/ws", "/ws", "/drop", "/cut", "/straight", "/gone", "/two/ws", "@live", "<live"];
/// The largest message that a channel takes.
pub(super) const MAX_MESSAGE: usize = 3000;

impl World {
    /// A talker of the link, a new one now and then.
    fn some_talker(&mut self, number: usize) -> i64 {
        let new = self.links[number].talkers.len() < 3 || self.random.percent(12);
        if !new {
            let ids: Vec<i64> = self.links[number].talkers.keys().rev().take(12).copied().collect();
            return *self.random.pick(&ids).expect("some are there");
        }
        let link = &mut self.links[number];
        let id = TALKERS + link.next_talker;
        link.next_talker += 1;
        let mut path = *self.random.pick(&PATHS).expect("some");
        // Before it saw a first request the hub does not know that this server counts bytes.
        let known = !link.flow_control || link.announced;
        if path.starts_with(['@', '<']) && !known {
            path = "/ws";
        }
        let mut talker = Talker::new(path);
        talker.raw_payload = link.raw_payload;
        if talker.is_socket() {
            (talker.greeted, talker.open) = (true, true);
        } else {
            talker.deflate = self.random.percent(40) && matches!(path, "/ws" | "/drop");
            talker.evil = self.random.percent(4);
            talker.adopted = known && !talker.evil && path != "/gone" && self.random.percent(12);
            (talker.greeted, talker.open) = (talker.adopted, talker.adopted);
        }
        talker.slow = self.random.percent(25);
        link.talkers.insert(id, talker);
        id
    }

    pub(super) fn talker_talks(&mut self) {
        let Some(number) = self.some_link() else { return };
        let id = self.some_talker(number);
        if !self.links[number].talkers[&id].greeted {
            return self.greet(number, id);
        }
        let burst = if self.random.percent(6) { 1 + self.random.below(60) } else { 1 };
        for _ in 0..burst {
            self.talker_says(number, id);
        }
    }

    fn greet(&mut self, number: usize, id: i64) {
        let link = &mut self.links[number];
        let (form, sender) = (link.form, link.sender.clone());
        let talker = link.talkers.get_mut(&id).expect("it was there");
        if !talker.is_there() {
            return;
        }
        talker.greeted = true;
        let path = talker.path;
        let mut more = talker_headers(talker);
        if link.flow_control {
            more.push(("DOWNLOAD_CREDITS", "102400"));
            link.announced |= path == "/ws";
        }
        let before = self.random.percent(5);
        if before {
            // A page asked for on the same connection, whose answer may still be on its way.
            let line = if self.random.percent(50) { "GET /none/0" } else { "GET /users/0" };
            self.send(number, &mongrel2::http(form, &sender, id, line, &more, b""));
        }
        self.send(number, &mongrel2::websocket(form, &sender, id, path, None, &more, b""));
    }

    fn frame(&mut self, number: usize, id: i64, flags: u8, body: &[u8]) {
        let link = &self.links[number];
        let talker = &link.talkers[&id];
        let more = talker_headers(talker);
        let message = mongrel2::websocket(link.form, &link.sender, id, talker.path, Some(flags), &more, body);
        self.send(number, &message);
    }

    fn socket(&mut self, number: usize, id: i64, path: &str, body: &[u8]) {
        let link = &self.links[number];
        self.send(number, &mongrel2::socket(link.form, &link.sender, id, path, body));
    }

    pub(super) fn talker_says(&mut self, number: usize, id: i64) {
        let chance = self.random.below(100);
        let link = &mut self.links[number];
        let name = format!("boot-{number}.{}.{id}", link.incarnation);
        let talker = link.talkers.get_mut(&id).expect("it was there");
        if talker.was_closed_lately(self.now) && chance < 20 {
            // It was under way when the close was sent.
            match talker.is_socket() {
                true => self.socket(number, id, "@live", b"late"),
                false => self.frame(number, id, 0x81, b"late"),
            }
            return;
        }
        if !talker.may_speak() {
            return;
        }
        let (path, socket, deflate) = (talker.path, talker.is_socket(), talker.deflate);
        if talker.told.is_some() {
            // Those who do not answer our close are closed a while later.
            if chance < 40 {
                talker.done = true;
                self.frame(number, id, 0x88, &[0x03, 0xe8]);
            }
            return;
        }
        let breaks = (86..90).contains(&chance);
        talker.done = breaks || (!socket && (90..96).contains(&chance));
        match chance {
            0..80 => {
                let mut text = {
                    talker.said += 1;
                    format!("{name}#{}#", talker.said)
                };
                *self.said.entry(name).or_default() += 1;
                let pad = match self.random.below(20) {
                    0 => self.random.below(2000),
                    1..4 => self.random.below(300),
                    _ => 0,
                };
                text.extend(std::iter::repeat_n('.', pad));
                if socket {
                    return self.socket(number, id, path, text.as_bytes());
                }
                let binary = u8::from(self.random.percent(20));
                if deflate && self.random.percent(50) {
                    let body = Talker::compressed(text.as_bytes(), &mut self.codec);
                    self.frame(number, id, 0xc1 + binary, &body);
                } else {
                    self.frame(number, id, 0x81 + binary, text.as_bytes());
                }
            }
            80..84 if !socket => {
                let body = vec![chance as u8; self.random.below(125)];
                talker_of(self, number, id).pinged.push_back(body.clone());
                self.frame(number, id, 0x89, &body);
            }
            84..86 if !socket => self.frame(number, id, 0x8a, b"unasked"),
            // The first message says which channel it is.
            80..86 if talker.said == 0 => {}
            80..86 => {
                let other = if path == "@live" { "@other" } else { "@live" };
                self.socket(number, id, other, b"to another channel");
            }
            86..90 if socket => {
                let large = [b'x'; MAX_MESSAGE + 1];
                let body: &[u8] = if chance < 88 { &large } else { b"\xff" };
                self.socket(number, id, path, body);
            }
            86..90 => {
                let (flags, body) = match self.random.below(7) {
                    0 => (0x81, b"\xff\xfe".to_vec()),
                    1 => (0x82, vec![0; MAX_MESSAGE + 1]),
                    2 => (0x83, vec![]),
                    3 => (0x01, b"half".to_vec()),
                    4 => (0xc9, b"".to_vec()),
                    5 => (0x88, vec![1]),
                    _ => (if deflate { 0xc1 } else { 0xb1 }, b"\xff\xff\xff".to_vec()),
                };
                self.frame(number, id, flags, &body);
            }
            90..96 if !socket => {
                let body: &[u8] = [&b""[..], &[0x03, 0xe8], &[0x0b, 0xb9, b'x']][self.random.below(3)];
                self.frame(number, id, 0x88, body);
            }
            _ => self.talker_leaves(number, id),
        }
    }

    pub(super) fn some_talker_leaves(&mut self) {
        let Some(number) = self.some_link() else { return };
        let id = self.some_talker(number);
        if self.links[number].talkers[&id].is_there() && self.random.percent(20) {
            talker_of(self, number, id).mute = true;
            return;
        }
        self.talker_leaves(number, id);
    }

    /// It goes, and Mongrel2 says so, perhaps twice, also about one that was closed.
    pub(super) fn talker_leaves(&mut self, number: usize, id: i64) {
        let now = self.now;
        let talker = talker_of(self, number, id);
        if !talker.greeted || talker.gone_at.is_some() {
            return;
        }
        talker.gone_at = Some(now);
        let link = &self.links[number];
        let notice = mongrel2::disconnect(link.form, &link.sender, id);
        for _ in 0..1 + self.random.below(2) {
            self.send(number, &notice);
        }
    }

    /// A server with a control port says who is there. Whoever left without a word is found by that alone: the notice
    /// that the keep-alive would have brought is lost.
    pub(super) fn answer_roll_call(&mut self, number: usize) {
        if !self.links[number].up || self.random.percent(40) {
            return;
        }
        let link = &mut self.links[number];
        let clients =
            link.clients.iter().filter(|(_, client)| !client.closed && !client.gone && !client.mute);
        let talkers = link.talkers.iter().filter(|(_, talker)| talker.is_there());
        let ids = clients.map(|(id, _)| *id).chain(talkers.map(|(id, _)| *id));
        let present: Vec<u32> = ids.filter_map(|id| u32::try_from(id).ok()).collect();
        for id in std::mem::take(&mut link.missed) {
            if let Some(talker) = link.talkers.get_mut(&id) {
                talker.gone_at = Some(self.now);
            }
        }
        self.hub.handle_roll_call(LinkId(number as u16), &present, self.now);
    }

    /// What Mongrel2 and well-mannered clients do at once: notices for those whom a keep-alive named in vain,
    /// pongs.
    pub(super) fn react(&mut self) -> bool {
        let mut acted = false;
        for number in 0..self.links.len() {
            for id in std::mem::take(&mut self.links[number].missed) {
                acted = true;
                self.talker_leaves(number, id);
            }
            let eager = |(id, talker): (&i64, &Talker)| (!talker.to_pong.is_empty()).then_some(*id);
            let ids: Vec<i64> = self.links[number].talkers.iter().filter_map(eager).collect();
            for id in ids {
                let talker = talker_of(self, number, id);
                let pings = std::mem::take(&mut talker.to_pong);
                if talker.may_speak() {
                    acted = true;
                    pings.into_iter().for_each(|ping| self.frame(number, id, 0x8a, &ping));
                }
            }
        }
        acted
    }
}

fn talker_of(world: &mut World, number: usize, id: i64) -> &mut Talker {
    world.links[number].talkers.get_mut(&id).expect("it was there")
}

/// The same with every message of a WebSocket.
fn talker_headers(talker: &Talker) -> Vec<(&'static str, &'static str)> {
    let mut headers = Vec::new();
    if talker.deflate {
        headers.push(("sec-websocket-extensions", "permessage-deflate"));
    }
    if talker.evil {
        headers.push(("origin", "http://evil.example"));
    }
    headers
}
