//! Sessions by chance: clients poll, stream, leave, come back and repeat themselves, workers die, code is renewed and
//! servers restart, from a seed; and each message reaches whom it was meant for, once and in order, both ways.

use super::mongrel2::{self, Form};
use super::simulation::random::Random;
use super::site::*;
use crate::hub::{Limits, WorkerId};
use crate::worker::protocol::{Action, ChannelSpec, Registration};
use serde_json::Value;
use std::collections::BTreeMap;

/// A client, which counts what it has.
#[derive(Debug, Default)]
struct Visitor {
    ticket: String,
    /// The connection's number at its worker.
    conn: u64,
    /// The number of the last message that it has.
    after: u64,
    got: Vec<String>,
    /// What scripts sent to it.
    meant: Vec<String>,
    /// Numbers of messages that it sent and that were answered.
    said: u64,
    /// Those that the script heard.
    heard: u64,
    poll: Option<i64>,
    stream: Option<Stream>,
    closed: bool,
}

#[derive(Debug)]
struct Stream {
    id: i64,
    /// Events that it has read.
    read: usize,
}

struct World {
    site: Site,
    random: Random,
    visitors: Vec<Visitor>,
    next_id: i64,
    last_message: u64,
    flow_control: bool,
    /// Replies that were reported as written.
    reported: usize,
    gone: usize,
}

fn registration_of_chat() -> Registration {
    let spec = ChannelSpec { path: "/chat".into(), ping: 5.0, ..ChannelSpec::default() };
    Registration { channels: vec![spec], ..registration() }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut site = Site::with(Limits::default(), 2, registration_of_chat());
        site.hub.set_session_key(&[3; 32]);
        let flow_control = random.percent(50);
        let visitors = Vec::new();
        Self { site, random, visitors, next_id: 1, last_message: 0, flow_control, reported: 0, gone: 0 }
    }

    fn ask(&mut self, line: &str, more: &[(&str, &str)], body: &[u8]) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        let (line, query) = line.split_once('?').unwrap_or((line, ""));
        let mut more = more.to_vec();
        if !query.is_empty() {
            more.push(("QUERY", query));
        }
        if self.flow_control {
            more.push(("DOWNLOAD_CREDITS", "102400"));
        }
        self.site.message(&mongrel2::http(Form::Tnetstring, SENDER, id, line, &more, body));
        self.look();
        id
    }

    /// What workers were told, all of it done at once; what servers were sent, all of it written.
    fn look(&mut self) {
        loop {
            let workers: Vec<WorkerId> = self.site.workers.keys().copied().collect();
            let told: Vec<_> = workers.into_iter().flat_map(|worker| self.site.told(worker)).collect();
            let is_quiet = told.is_empty();
            for told in told {
                self.hear(told);
            }
            if self.flow_control {
                let new: Vec<_> = self.site.replies[self.reported..]
                    .iter()
                    .filter(|reply| !reply.extended && !reply.payload.is_empty())
                    .map(|reply| (i64::from(reply.ids[0]), reply.payload.len()))
                    .collect();
                self.reported = self.site.replies.len();
                for (id, size) in new {
                    self.site.credits(id, size);
                }
            }
            if is_quiet && (!self.flow_control || self.reported == self.site.replies.len()) {
                break;
            }
        }
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Open { conn, fresh: true, .. } => {
                self.visitors.push(Visitor { conn, ..Visitor::default() });
                let worker = self.worker();
                self.site.act(worker, &[Action::Join { conn, room: b"all" }]);
            }
            Told::Message { conn, payload, .. } => {
                let visitor = self.visitor(conn);
                visitor.heard += 1;
                assert_eq!(String::from_utf8(payload).unwrap(), visitor.heard.to_string(), "in order, once");
                assert!(!visitor.closed);
            }
            Told::Close { conn, code, .. } => {
                let visitor = self.visitor(conn);
                assert!(!std::mem::replace(&mut visitor.closed, true), "closed twice");
                assert!(matches!(code, 1006 | 4000), "closed with {code}");
            }
            _ => {}
        }
    }

    fn visitor(&mut self, conn: u64) -> &mut Visitor {
        self.visitors.iter_mut().find(|visitor| visitor.conn == conn).expect("it was opened")
    }

    fn worker(&mut self) -> WorkerId {
        let workers: Vec<WorkerId> = self.site.workers.keys().copied().collect();
        *self.random.pick(&workers).expect("one is there")
    }

    fn open(&mut self) {
        let by_stream = self.random.percent(50);
        let count = self.visitors.len();
        let id = match by_stream {
            true => self.ask("GET /chat", &[("accept", "text/event-stream")], b""),
            false => self.ask("POST /chat", &[], b""),
        };
        assert_eq!(self.visitors.len(), count + 1, "it opens at once");
        let text = self.site.text(id as u32);
        let ticket = text.split("\"session\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let visitor = &mut self.visitors[count];
        ticket.expect("it is named").clone_into(&mut visitor.ticket);
        if by_stream {
            visitor.stream = Some(Stream { id, read: 0 });
        }
    }

    fn some(&mut self) -> Option<usize> {
        let open: Vec<usize> = (0..self.visitors.len())
            .filter(|at| !self.visitors[*at].closed && !self.visitors[*at].ticket.is_empty())
            .collect();
        self.random.pick(&open).copied()
    }

    fn poll(&mut self, at: usize) {
        let visitor = &self.visitors[at];
        let wait = self.random.below(4);
        let line = format!("GET /chat?session={}&after={}&wait={wait}", visitor.ticket, visitor.after);
        let id = self.ask(&line, &[], b"");
        self.visitors[at].poll = Some(id);
    }

    /// Looks at the answer to its poll, if it is there, and it is not lost.
    fn read_poll(&mut self, at: usize) {
        let Some(id) = self.visitors[at].poll else { return };
        let answers = self.site.answers(id as u32);
        let Some((status, body)) = answers.first() else {
            if self.random.percent(30) {
                self.visitors[at].poll = None;
                self.site.disconnect(id);
                self.look();
            }
            return;
        };
        let visitor = &mut self.visitors[at];
        visitor.poll = None;
        if self.random.percent(25) {
            return;
        }
        assert!(matches!(status, 200 | 410), "{status}: {body}");
        if *status == 410 {
            return;
        }
        let answer: Value = serde_json::from_str(body).unwrap();
        let after = answer["after"].as_u64().unwrap();
        let messages = answer["messages"].as_array().unwrap();
        for (number, message) in (after - messages.len() as u64 + 1..).zip(messages) {
            visitor.take(number, message.as_str().unwrap());
        }
    }

    fn stream(&mut self, at: usize) {
        let visitor = &self.visitors[at];
        let id = format!("{}.{}", visitor.ticket, visitor.after);
        let id = self.ask("GET /chat", &[("accept", "text/event-stream"), ("last-event-id", &id)], b"");
        self.visitors[at].stream = Some(Stream { id, read: 0 });
    }

    /// Reads some of the events that have come, or all.
    fn read_stream(&mut self, at: usize) {
        let Some(stream) = &self.visitors[at].stream else { return };
        let (id, read) = (stream.id, stream.read);
        let text = self.site.text(id as u32);
        let Some((_, body)) = text.split_once("\r\n\r\n") else { return };
        let events: Vec<&str> = body.split_terminator("\n\n").collect();
        let until = if self.random.percent(70) { events.len() } else { read + self.random.below(3) };
        let visitor = &mut self.visitors[at];
        for event in events.iter().take(until).skip(read) {
            if let Some(id) = event.lines().find_map(|line| line.strip_prefix("id: ")) {
                let number = id.rsplit('.').next().unwrap().parse().unwrap();
                let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
                visitor.take(number, data);
            }
        }
        if let Some(stream) = &mut visitor.stream {
            stream.read = until.min(events.len()).max(read);
        }
        if self.random.percent(20) {
            visitor.stream = None;
            self.site.disconnect(id);
            self.look();
        }
    }

    fn say(&mut self, at: usize) {
        let visitor = &self.visitors[at];
        let again = visitor.said > 0 && self.random.percent(30);
        let number = if again { visitor.said } else { visitor.said + 1 };
        let line = format!("POST /chat?session={}&number={number}", visitor.ticket);
        let id = self.ask(&line, &[], number.to_string().as_bytes());
        let [status] = self.site.statuses(id as u32)[..] else { panic!("one answer") };
        let visitor = &mut self.visitors[at];
        assert!(status == 204 || visitor.closed, "{status}");
        if status == 204 && self.random.percent(70) {
            visitor.said = number;
            assert_eq!(visitor.heard, number.max(visitor.heard));
        }
    }

    fn script_sends(&mut self) {
        let worker = self.worker();
        for _ in 0..1 + self.random.below(5) {
            self.last_message += 1;
            let text = format!("{:.>width$}", self.last_message, width = 1 + self.random.below(200));
            let payload = text.as_bytes();
            if self.random.percent(50) {
                self.site.act(worker, &[Action::Publish { room: b"all", except: 0, binary: false, payload }]);
                let open = self.visitors.iter_mut().filter(|visitor| !visitor.closed);
                open.for_each(|visitor| visitor.meant.push(text.clone()));
            } else if let Some(at) = self.some() {
                let conn = self.visitors[at].conn;
                self.site.act(worker, &[Action::Send { conn, binary: false, payload }]);
                self.visitors[at].meant.push(text.clone());
            }
        }
        self.look();
    }

    fn step(&mut self) {
        let chance = self.random.below(100);
        let at = self.some();
        match (chance, at) {
            (0..6, _) | (_, None) if self.visitors.len() - self.gone < 4 => self.open(),
            (6..25, Some(at)) => self.poll(at),
            (25..40, Some(at)) => self.read_poll(at),
            (40..48, Some(at)) => self.stream(at),
            (48..60, Some(at)) => self.read_stream(at),
            (60..72, Some(at)) => self.say(at),
            (72..88, _) => self.script_sends(),
            (88..95, _) => {
                let time = if self.random.percent(5) { 40_000 } else { self.random.below(3000) };
                self.site.pass(millis(time as u64));
                self.look();
            }
            (95, Some(at)) => {
                let line = format!("DELETE /chat?session={}&close=4000", self.visitors[at].ticket);
                let id = self.ask(&line, &[], b"");
                assert_eq!(self.site.statuses(id as u32), [204]);
                assert!(self.visitors[at].closed, "the script has heard it");
            }
            (96, _) => self.worker_dies(),
            (97, _) => {
                let new = self.site.begin_load(APP);
                new.iter().for_each(|worker| self.site.ready(*worker, &registration_of_chat()));
                self.look();
                self.site.pass(millis(50));
                self.bury();
            }
            (98, _) => self.server_restarts(),
            _ => {}
        }
        self.gone = self.visitors.iter().filter(|visitor| visitor.closed).count();
    }

    fn worker_dies(&mut self) {
        let worker = self.worker();
        let before = self.site.effects.len();
        self.site.die(worker, u64::MAX);
        self.site.pass(seconds(1));
        for worker in self.site.started_since(before) {
            self.site.ready(worker, &registration_of_chat());
        }
        self.look();
    }

    /// Workers that were told to stop have stopped.
    fn bury(&mut self) {
        let old: Vec<_> = self.site.workers.iter().filter(|(_, w)| w.stop).map(|(id, _)| *id).collect();
        for worker in old {
            self.site.die(worker, u64::MAX);
        }
        self.look();
    }

    fn server_restarts(&mut self) {
        self.site.hub.handle_server_down(LINK, self.site.now);
        self.site.turn();
        for visitor in &mut self.visitors {
            (visitor.poll, visitor.stream) = (None, None);
        }
        self.site.hub.handle_server_up(LINK, b"");
        self.look();
    }

    /// Whoever is there gets all that was meant for him.
    fn settle(&mut self) {
        self.look();
        for at in 0..self.visitors.len() {
            for _ in 0..20 {
                let visitor = &self.visitors[at];
                if visitor.closed || visitor.got.len() == visitor.meant.len() {
                    break;
                }
                self.visitors[at].poll = None;
                self.poll(at);
                self.read_poll(at);
            }
            let visitor = &self.visitors[at];
            let got = visitor.got.len();
            assert_eq!(visitor.got, visitor.meant[..got]);
            assert!(visitor.closed || got == visitor.meant.len(), "{got} of {}", visitor.meant.len());
        }
        for at in 0..self.visitors.len() {
            if let Some(stream) = self.visitors[at].stream.take() {
                self.site.disconnect(stream.id);
            }
        }
        self.site.pass(seconds(90));
        self.look();
        self.site.pass(seconds(5));
        assert!(self.visitors.iter().all(|visitor| visitor.closed), "nobody comes any more");
        assert_eq!(self.site.hub.live(), 0);
        assert_eq!(self.site.hub.load().1, 0, "no request is left");
    }
}

impl Visitor {
    fn take(&mut self, number: u64, text: &str) {
        if number <= self.after {
            return;
        }
        assert_eq!(number, self.after + 1, "a message is missing");
        self.after = number;
        self.got.push(text.to_owned());
        assert_eq!(self.got.last(), self.meant.get(self.got.len() - 1), "another's, or out of order");
    }
}

#[test]
fn whatever_becomes_of_requests_messages_arrive_once_and_in_order() {
    let mut totals = BTreeMap::new();
    for seed in 1..=150 {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..300 {
                world.step();
            }
            world.settle();
            (world.visitors.len(), world.visitors.iter().map(|visitor| visitor.got.len()).sum::<usize>())
        });
        let Ok((visitors, messages)) = run else { panic!("seed {seed}") };
        *totals.entry("visitors").or_insert(0) += visitors;
        *totals.entry("messages").or_insert(0) += messages;
    }
    assert!(totals["visitors"] > 500 && totals["messages"] > 5000, "{totals:?}");
}
