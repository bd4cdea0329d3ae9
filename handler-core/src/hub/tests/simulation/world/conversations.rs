//! What workers do with live connections, and what must be true of it: each is opened once, hears its
//! messages in order, is closed once.

use super::super::super::site::Told;
use super::super::talker::Meant;
use super::super::worker::{Running, What};
use super::World;
use super::talk::MAX_MESSAGE;
use crate::hub::WorkerId;
use crate::worker::protocol::{Action, ChannelSpec, Question, Slow, encode_action, split_frame};
use std::collections::BTreeSet;

const ROOMS: [&str; 4] = ["lobby", "a", "b", "c"];

/// A live connection as the workers know it.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub name: String,
    path: String,
    link: usize,
    incarnation: u32,
    id: i64,
    pub opened: bool,
    pub closed: bool,
    /// Messages that workers began.
    seen: u64,
    /// The codes with which scripts wanted it closed.
    wanted: BTreeSet<u16>,
    /// Every `conn.data` that it had, and the last.
    data: Vec<String>,
    rooms: BTreeSet<&'static str>,
    /// A worker talked nonsense about it: nothing can be expected.
    pub confused: bool,
}

/// The channels of an app. Their places change with the code.
fn channels(main: bool, turn: usize, gone: bool) -> Vec<ChannelSpec> {
    let spec = |path: &str, handler| {
        let buffer = if path == "/drop" { 8000 } else { 20_000 };
        let slow = match path {
            "/drop" => Slow::DropOldest,
            "/cut" => Slow::Close,
            _ => Slow::Wait,
        };
        let straight = path == "/straight";
        ChannelSpec {
            path: path.into(),
            handler,
            place: format!("app.lua:{handler}"),
            straight,
            max_message: MAX_MESSAGE,
            ping: if straight { 0.4 } else { 0.0 },
            deflate: matches!(path, "/ws" | "/drop"),
            slow,
            buffer,
            ..ChannelSpec::default()
        }
    };
    let paths: &[&str] =
        if main { &["/ws", "/drop", "/cut", "/straight", "/gone", "@live", "<live"] } else { &["/ws"] };
    let mut specs: Vec<_> = (10..).zip(paths).map(|(handler, path)| spec(path, handler)).collect();
    if gone {
        specs.retain(|spec| spec.path != "/gone");
    }
    let turn = turn % specs.len();
    specs.rotate_left(turn);
    specs
}

impl World {
    /// A worker comes to something about a live connection.
    pub(super) fn worker_hears(&mut self, id: WorkerId, told: Told) {
        let worker = self.workers.get_mut(&id).expect("it lives");
        if let Some(serial) = told.serial()
            && !worker.start(serial)
        {
            encode_action(&mut worker.outbox, &Action::Skipped { serial });
            return;
        }
        match told {
            Told::Open { serial, conn, handler, name, fresh, resumed, data, rooms, path, .. } => {
                worker.held.insert(conn);
                let spec = worker.registration.channels.iter().find(|spec| spec.handler == handler);
                let own = path.strip_prefix("/two").unwrap_or(&path);
                assert_eq!(spec.map(|spec| &*spec.path), Some(own), "another channel's handler");
                self.check_open(conn, name, &path, fresh, resumed);
                let talk = &self.talks[&conn];
                assert!(data.is_empty() || talk.data.contains(&data), "data of another connection: {data}");
                assert!(rooms.iter().all(|room| talk.rooms.contains(&**room)), "in {rooms:?}");
                self.begin(id, serial, conn, What::Open);
            }
            Told::Message { serial, conn, payload, .. } => {
                let held = worker.held.contains(&conn);
                let talk = self.talks.get_mut(&conn).expect("it was opened");
                assert!(held || talk.confused, "a message of a connection that this worker has not");
                assert!(!talk.closed || talk.confused, "a message behind the close");
                talk.seen += 1;
                let expected = format!("{}#{}#", talk.name, talk.seen);
                let right = payload.starts_with(expected.as_bytes());
                assert!(right || talk.confused, "{expected} is next, not {:.60}", payload.escape_ascii());
                self.begin(id, serial, conn, What::Message);
            }
            Told::Close { serial, conn, code } => {
                let held = worker.held.remove(&conn) || self.talks[&conn].confused;
                assert!(held, "a close of a connection that this worker has not");
                self.check_close(conn, code);
                self.begin(id, serial, conn, What::Close);
            }
            Told::Detach { conn } => {
                worker.held.remove(&conn);
                let busy = worker.running.iter().any(|job| job.conn == conn);
                assert!(!busy || self.talks[&conn].confused, "taken away while it runs");
            }
            Told::Answer { query, json } => {
                let expected = self.queries.remove(&query).expect("somebody asked");
                assert!(expected(&json), "{json}");
            }
        }
    }

    fn check_open(&mut self, conn: u64, name: String, path: &str, fresh: bool, resumed: bool) {
        let known = self.names.entry(name.clone()).or_insert(conn);
        assert_eq!(*known, conn, "{name} has two numbers");
        let talk = self.talks.entry(conn).or_insert_with(|| {
            let numbers = name.strip_prefix("boot-").expect("the name of a connection");
            let numbers: Vec<i64> = numbers.split('.').map(|n| n.parse().unwrap()).collect();
            let (link, incarnation, id) = (numbers[0] as usize, numbers[1] as u32, numbers[2]);
            Conversation { path: path.to_owned(), link, incarnation, id, ..Conversation::default() }
        });
        assert!(talk.name.is_empty() || talk.name == name, "{conn} is {} and {name}", talk.name);
        if !talk.confused {
            assert_eq!(fresh, !talk.opened, "{name}");
            assert!(!talk.closed, "{name} opened behind its close");
            let link = &self.links[talk.link];
            let talker = link.talkers.get(&talk.id).filter(|_| link.incarnation == talk.incarnation);
            let adopted = || talker.is_none_or(|talker| talker.adopted);
            assert!(!resumed || !fresh || adopted(), "{name} is new and resumed");
        }
        self.totals.opened += u64::from(fresh);
        talk.name = name;
        talk.opened = true;
    }

    fn check_close(&mut self, conn: u64, code: u16) {
        let talk = self.talks.get_mut(&conn).expect("it was opened");
        assert!(!talk.closed || talk.confused, "{} closed twice", talk.name);
        talk.closed = true;
        self.totals.closed += 1;
        let said = self.said.get(&talk.name).copied().unwrap_or(0);
        let unanswered = code == 1006 && self.hub.counters().unanswered_pings > 0;
        match code {
            1001 | 1008 | 1011 => {}
            4000.. => assert!(talk.wanted.contains(&code) || talk.confused, "nobody closed it with {code}"),
            1000 | 1002 | 1005..=1007 | 1009 | 3001 => {
                let all = talk.seen == said || unanswered || talk.confused;
                assert!(all, "{}: {} of {said} were heard before {code}", talk.name, talk.seen);
            }
            code => panic!("closed with {code}"),
        }
    }

    /// The script runs; often it is done at once.
    fn begin(&mut self, id: WorkerId, serial: u64, conn: u64, what: What) {
        for (other, worker) in &self.workers {
            let busy = *other != id && worker.running.iter().any(|job| job.conn == conn);
            assert!(!busy || self.talks[&conn].confused, "two workers run the same connection");
        }
        let alone = self.workers[&id].running.iter().all(|job| job.conn != conn);
        // Behind something that still runs it waits in the worker.
        let acts = if alone { self.random.below(3) } else { 0 };
        for _ in 0..acts {
            self.script_acts(id, conn);
        }
        let worker = self.workers.get_mut(&id).expect("it lives");
        if alone && self.random.percent(60) {
            encode_action(&mut worker.outbox, &Action::Done { serial });
        } else {
            worker.running.push(Running { serial, conn, what });
        }
    }

    /// What a dead worker had taken but not run goes elsewhere: all that waited behind something of its connection.
    pub(super) fn forget_unrun(&mut self, running: &[Running]) {
        let mut seen = BTreeSet::new();
        for job in running {
            if seen.insert(job.conn) {
                continue;
            }
            let talk = self.talks.get_mut(&job.conn).expect("it was opened");
            match job.what {
                What::Open => {}
                What::Message => talk.seen -= 1,
                What::Close => {
                    talk.closed = false;
                    self.totals.closed -= 1;
                }
            }
        }
    }

    pub(super) fn worker_goes_on(&mut self, id: WorkerId) {
        let which = self.random.below(self.workers[&id].running.len());
        let worker = self.workers.get_mut(&id).expect("it lives");
        // Those of one connection end in order.
        let Some(job) = worker.running.get(which) else { return };
        let first = worker.running.iter().position(|other| other.conn == job.conn).unwrap_or(which);
        let job = worker.running.remove(first);
        worker.enter(job.serial);
        worker.leave();
        if self.random.percent(30) {
            self.script_acts(id, job.conn);
        }
        let worker = self.workers.get_mut(&id).expect("it lives");
        encode_action(&mut worker.outbox, &Action::Done { serial: job.serial });
    }

    /// A timer: something happens to some connection of the worker, or of another.
    pub(super) fn worker_wakes(&mut self, id: WorkerId) {
        let held: Vec<u64> = self.workers[&id].held.iter().copied().collect();
        let conn = match self.random.below(8) {
            0 => self.random.next(),
            1 => self.talks.keys().next_back().copied().unwrap_or(0),
            _ => self.random.pick(&held).copied().unwrap_or(0),
        };
        self.script_acts(id, conn);
    }

    fn payload(&mut self) -> Vec<u8> {
        self.last_message += 1;
        let size = match self.random.below(60) {
            0 => self.random.below(120_000),
            1..4 => self.random.below(9000),
            4..10 => self.random.below(1200),
            _ => 0,
        };
        let mut text = format!("{}:", self.last_message);
        text.extend(std::iter::repeat_n('.', size));
        text.into_bytes()
    }

    fn script_acts(&mut self, id: WorkerId, conn: u64) {
        let room = *self.random.pick(&ROOMS).expect("some");
        let (room_name, binary) = (room.as_bytes(), self.random.percent(20));
        let repeat = if self.random.percent(3) { 30 } else { 1 };
        let chance = self.random.below(100);
        for _ in 0..repeat {
            let payload = self.payload();
            let except = if self.random.percent(50) { conn } else { 0 };
            self.last_query += 1;
            let (query, number) = (self.last_query, conn.to_string());
            let data = format!("[{query}]");
            let question = match self.random.below(4) {
                0 => Question::Count,
                1 => Question::Members,
                2 => Question::Data,
                _ => Question::Rooms,
            };
            let of_room = matches!(question, Question::Count | Question::Members);
            let subject = if of_room { room_name } else { number.as_bytes() };
            let action = match chance {
                0..40 => Action::Send { conn, binary, payload: &payload },
                40..62 => Action::Publish { except, binary, room: room_name, payload: &payload },
                62..78 => Action::Join { conn, room: room_name },
                78..83 => Action::Leave { conn, room: room_name },
                83..86 => {
                    Action::CloseConn { conn, code: 4000 + self.random.below(9) as u16, reason: b"enough" }
                }
                86 if self.random.percent(20) => {
                    Action::CloseRoom { code: 4100, room: room_name, reason: b"" }
                }
                87..92 => Action::SetData { conn, json: data.as_bytes() },
                _ => Action::Query { query, question, subject },
            };
            let worker = self.workers.get_mut(&id).expect("it lives");
            encode_action(&mut worker.outbox, &action);
        }
    }

    /// What a batch means for what clients and workers may hear from now on.
    pub(super) fn expect_batch(&mut self, mut frames: &[u8]) {
        while let Some((kind, payload, rest)) = split_frame(frames) {
            frames = rest;
            match Action::read(kind, payload).expect("the simulation wrote it") {
                Action::Send { conn, binary, payload } => self.expect(conn, binary, payload),
                Action::Publish { except, binary, room, payload } => {
                    let members = self.rooms.get(room).cloned().unwrap_or_default();
                    members
                        .iter()
                        .filter(|conn| **conn != except)
                        .for_each(|c| self.expect(*c, binary, payload));
                }
                Action::Join { conn, room } => {
                    let room = ROOMS.iter().find(|name| name.as_bytes() == room).expect("one of ours");
                    if let Some(talk) = self.talks.get_mut(&conn) {
                        talk.rooms.insert(room);
                        self.rooms.entry(room.as_bytes().to_vec()).or_default().insert(conn);
                    }
                }
                Action::Leave { conn, room } => {
                    self.rooms.entry(room.to_vec()).or_default().remove(&conn);
                }
                Action::CloseConn { conn, code, .. } => {
                    if let Some(talk) = self.talks.get_mut(&conn) {
                        talk.wanted.insert(code);
                    }
                }
                Action::CloseRoom { code, room, .. } => {
                    for conn in self.rooms.get(room).into_iter().flatten() {
                        self.talks.get_mut(conn).expect("a member is known").wanted.insert(code);
                    }
                }
                Action::SetData { conn, json } => {
                    if let Some(talk) = self.talks.get_mut(&conn) {
                        talk.data.push(String::from_utf8_lossy(json).into_owned());
                    }
                }
                Action::Query { query, question, subject } => self.expect_answer(query, question, subject),
                _ => {}
            }
        }
    }

    fn expect(&mut self, conn: u64, binary: bool, payload: &[u8]) {
        let Some(talk) = self.talks.get(&conn) else { return };
        let link = &mut self.links[talk.link];
        if link.incarnation != talk.incarnation {
            return;
        }
        if let Some(talker) = link.talkers.get_mut(&talk.id) {
            let digits = payload.iter().take_while(|byte| **byte != b':');
            let number = digits.fold(0, |n, byte| n * 10 + u64::from(byte - b'0'));
            talker.expect(Meant { number, size: payload.len(), binary });
        }
    }

    fn expect_answer(&mut self, query: u64, question: Question, subject: &[u8]) {
        // Those that are over are in no room any more, so there may be fewer than these.
        let count = self.rooms.get(subject).map_or(0, BTreeSet::len);
        let about = std::str::from_utf8(subject).ok().and_then(|text| text.parse().ok());
        let talk = about.and_then(|conn: u64| self.talks.get(&conn));
        let data = talk.and_then(|talk| talk.data.last().cloned());
        let rooms = talk.map_or(0, |talk| talk.rooms.len());
        let expected: Box<dyn Fn(&str) -> bool> = match question {
            Question::Count => Box::new(move |json| json.parse::<usize>().is_ok_and(|n| n <= count)),
            Question::Members => Box::new(move |json| json.matches("boot-").count() <= count),
            Question::Data => Box::new(move |json| json == "null" || Some(json) == data.as_deref()),
            _ => Box::new(move |json| json.matches('"').count() <= rooms * 2),
        };
        self.queries.insert(query, expected);
    }

    /// A worker that is dead had these; who has them now is the hub's affair.
    pub(super) fn confuse(&mut self, conn: u64) {
        if let Some(talk) = self.talks.get_mut(&conn) {
            talk.confused = true;
        }
    }

    /// Nobody did anything strange for a while: everything has arrived.
    pub(super) fn check_quiet(&self) {
        for (number, link) in self.links.iter().enumerate() {
            for (id, talker) in &link.talkers {
                talker.check_quiet();
                let name = format!("boot-{number}.{}.{id}", link.incarnation);
                let Some(talk) = self.names.get(&name).map(|conn| &self.talks[conn]) else { continue };
                if talker.is_well() && !talk.confused {
                    assert!(talk.opened && !talk.closed, "{name} is there, and is not");
                    assert_eq!(Some(&talk.seen), self.said.get(&name).or(Some(&0)), "{name} was not heard");
                    let held = self.workers.values().any(|worker| worker.held.contains(&self.names[&name]));
                    assert!(held || talk.path != "/straight", "{name} runs nowhere");
                }
            }
        }
    }

    /// At the end everybody is gone.
    pub(super) fn check_closed(&self) {
        for talk in self.talks.values() {
            // Where no worker was left that knew its channel, the log says so.
            let dropped = talk.path == "/gone";
            assert!(talk.closed || talk.confused || dropped, "not closed: {talk:?}");
        }
    }

    /// The channels of an app's next code.
    pub(super) fn channels(&mut self, app: usize) -> Vec<ChannelSpec> {
        let (turn, gone) = (self.random.below(7), self.random.percent(30));
        channels(app == 0, turn, gone)
    }
}
