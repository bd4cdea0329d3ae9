//! Handshakes that scripts decide while clients leave, workers die and code is replaced, from seeds.
//!
//! Each client gets one answer, whole, unless it left; each worker hears of the end of whatever it was asked
//! about and did not refuse itself; and in the end nothing is remembered.

use super::mongrel2::{Form, split_response, websocket};
use super::site::*;
use crate::hub::{Limits, WorkerId};
use crate::worker::protocol::{Action, ChannelSpec, Registration};
use std::collections::{BTreeMap, BTreeSet};

/// What a worker knows of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mind {
    Undecided,
    Accepted,
    /// It sent something that ends it, and expects no more.
    Refused,
}

struct World {
    site: Site,
    random: u64,
    effects: usize,
    next_client: i64,
    /// Clients that have not left.
    here: BTreeSet<i64>,
    loading: Vec<WorkerId>,
    /// The last job that each worker began.
    begun: BTreeMap<WorkerId, u64>,
    minds: BTreeMap<(WorkerId, u64), Mind>,
    /// The client behind a connection.
    clients: BTreeMap<u64, i64>,
    closes: BTreeMap<u64, u32>,
    /// Openings that a worker has begun.
    asked: BTreeMap<u64, u32>,
}

fn channels() -> Registration {
    let ask = ChannelSpec {
        path: "/ask".into(),
        handler: 3,
        asks: true,
        ping: 2.0,
        deflate: true,
        ..ChannelSpec::default()
    };
    Registration { channels: vec![ask], ..registration() }
}

impl World {
    fn new(seed: u64) -> Self {
        let limits = Limits { request_timeout: seconds(2), worker_jobs: 6, ..Limits::default() };
        let site = Site::with(limits, 3, channels());
        let effects = site.effects.len();
        let (here, loading, begun, minds) = Default::default();
        let (clients, closes, asked) = Default::default();
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { site, random, effects, next_client: 1, here, loading, begun, minds, clients, closes, asked }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) as usize % bound.max(1)
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        let at = self.below(items.len());
        items.get(at).cloned()
    }

    fn ready_workers(&self) -> Vec<WorkerId> {
        self.site.workers.keys().filter(|id| !self.loading.contains(id)).copied().collect()
    }

    fn step(&mut self) {
        let is_there = |id: &i64| !self.site.closed(*id as u32);
        let here: Vec<_> = self.here.iter().copied().filter(is_there).collect();
        match self.below(100) {
            0..20 => {
                let id = self.next_client;
                self.next_client += 1;
                self.here.insert(id);
                let more =
                    [("sec-websocket-protocol", "v1"), ("sec-websocket-extensions", "permessage-deflate")];
                let more = &more[self.below(3)..];
                self.site.message(&websocket(Form::Tnetstring, SENDER, id, "/ask", None, more, b""));
            }
            20..27 => {
                if let Some(id) = self.pick(&here) {
                    self.here.remove(&id);
                    self.site.disconnect(id);
                }
            }
            27..37 => {
                if let Some(id) = self.pick(&here) {
                    self.site.frame(id, "/ask", 0x81, b"hello");
                }
            }
            37..41 => {
                if let Some(worker) = self.pick(&self.ready_workers()) {
                    self.die(worker);
                }
            }
            41..43 => {
                let _ = self.site.begin_load(APP);
            }
            43..50 => {
                if let Some(worker) = self.pick(&self.loading.clone()) {
                    self.loading.retain(|id| *id != worker);
                    if self.site.workers.contains_key(&worker) {
                        self.site.ready(worker, &channels());
                    }
                }
            }
            50..52 => {
                if let Some(worker) = self.pick(&self.ready_workers()) {
                    self.skip(worker);
                }
            }
            52..60 => {
                let time = millis(self.below(700) as u64);
                self.site.pass(time);
            }
            60..72 => {
                let undecided = |(_, mind): &(_, Mind)| *mind == Mind::Undecided;
                let minds: Vec<_> =
                    self.minds.iter().map(|(of, mind)| (*of, *mind)).filter(undecided).collect();
                if let Some(((worker, conn), _)) = self.pick(&minds) {
                    self.decide(worker, conn);
                }
            }
            _ => {
                if let Some(worker) = self.pick(&self.ready_workers()) {
                    self.run(worker);
                }
            }
        }
        self.look();
    }

    fn die(&mut self, worker: WorkerId) {
        let begun = self.begun.get(&worker).copied().unwrap_or(0);
        self.site.die(worker, begun);
        self.minds.retain(|(of, _), _| *of != worker);
        self.loading.retain(|id| *id != worker);
    }

    /// New workers load; those that were told to stop do so when they have done everything, and those that are killed die.
    fn look(&mut self) {
        let started = self.site.started_since(self.effects);
        self.effects = self.site.effects.len();
        self.loading.extend(started);
        let over = |worker: &FakeWorker| worker.killed || (worker.stop && worker.live.is_empty());
        let over: Vec<_> = self.site.workers.iter().filter(|(_, w)| over(w)).map(|(id, _)| *id).collect();
        for worker in over {
            if self.site.workers[&worker].killed || self.below(4) == 0 {
                self.die(worker);
            }
        }
    }

    /// What a worker has not begun was taken back.
    fn skip(&mut self, worker: WorkerId) {
        let live = &mut self.site.workers.get_mut(&worker).unwrap().live;
        let skipped: Vec<_> =
            live.iter().filter_map(Told::serial).map(|serial| Action::Skipped { serial }).collect();
        live.retain(|told| told.serial().is_none());
        self.site.act(worker, &skipped);
    }

    fn decide(&mut self, worker: WorkerId, conn: u64) {
        let room = [Action::Join { conn, room: b"lobby" }];
        let (mind, action) = match self.below(6) {
            0 => (Mind::Refused, Action::Refuse { conn, status: 401, head: b"", body: b"no" }),
            1 => (Mind::Refused, Action::CloseConn { conn, code: 4000, reason: b"" }),
            2 => {
                self.site.act(worker, &room);
                (
                    Mind::Undecided,
                    Action::Publish { except: 0, binary: false, room: b"lobby", payload: b"hi" },
                )
            }
            _ => (Mind::Accepted, Action::Accept { conn, protocol: "v1", head: b"X-A: 1\r\n" }),
        };
        self.minds.insert((worker, conn), mind);
        self.site.act(worker, &[action]);
    }

    /// The worker runs its next job.
    fn run(&mut self, worker: WorkerId) {
        let live = &mut self.site.workers.get_mut(&worker).unwrap().live;
        if live.is_empty() {
            return;
        }
        let told = live.remove(0);
        if let Some(serial) = told.serial() {
            self.begun.insert(worker, serial);
        }
        match told {
            Told::Open { conn, fresh, resumed, asked, ref name, .. } => {
                self.clients.insert(conn, name.rsplit('.').next().unwrap().parse().unwrap());
                let mind = if asked { Mind::Undecided } else { Mind::Accepted };
                assert_eq!(self.minds.insert((worker, conn), mind), None, "opened twice");
                if asked {
                    assert!(fresh && !resumed);
                    let times = self.asked.entry(conn).or_default();
                    *times += 1;
                    assert!(*times <= 2, "asked a third time");
                } else {
                    assert!(!fresh, "accepted by nobody: {told:?}");
                }
                if asked && self.below(3) == 0 {
                    self.decide(worker, conn);
                }
                if self.below(20) == 0 {
                    return self.die(worker);
                }
            }
            Told::Message { conn, .. } => {
                assert_eq!(
                    self.minds.get(&(worker, conn)),
                    Some(&Mind::Accepted),
                    "a message before the decision"
                );
                self.site.act(worker, &[Action::Send { conn, binary: false, payload: b"and you" }]);
            }
            Told::Close { conn, .. } => {
                assert!(self.minds.remove(&(worker, conn)).is_some(), "a close of an unknown connection");
                let closes = self.closes.entry(conn).or_default();
                *closes += 1;
                assert_eq!(*closes, 1, "closed twice");
            }
            Told::Detach { conn } => {
                self.minds.remove(&(worker, conn));
            }
            Told::Answer { .. } => unreachable!("nothing is asked"),
        }
        if let Some(serial) = told.serial() {
            self.site.act(worker, &[Action::Done { serial }]);
        }
    }

    /// All clients leave, all workers do what they have: nothing may be left.
    fn settle(&mut self) {
        self.site.pass(seconds(3));
        for id in self.here.clone() {
            assert!(!self.site.sent(id as u32).is_empty(), "client {id} has no answer");
            self.site.disconnect(id);
        }
        for _ in 0..50 {
            self.look();
            for worker in std::mem::take(&mut self.loading) {
                if self.site.workers.contains_key(&worker) {
                    self.site.ready(worker, &channels());
                }
            }
            for worker in self.ready_workers() {
                while self.site.workers.get(&worker).is_some_and(|state| !state.live.is_empty()) {
                    self.run(worker);
                }
            }
            self.site.pass(millis(500));
        }
        self.site.settles();
        for ((worker, conn), mind) in &self.minds {
            assert_eq!(*mind, Mind::Refused, "worker {worker:?} was not told of the end of {conn:x}");
        }
        for id in 1..self.next_client {
            self.check_client(id as u32);
        }
        for (conn, id) in &self.clients {
            let sent = self.site.sent(*id as u32);
            if sent.starts_with(b"HTTP/1.1 401 ") {
                assert!(
                    !self.closes.contains_key(conn),
                    "client {id}: a close behind the script's own refusal"
                );
            }
        }
    }

    /// One answer, whole; frames only behind a 101.
    fn check_client(&self, id: u32) {
        let sent = self.site.sent(id);
        if sent.is_empty() {
            assert!(!self.here.contains(&i64::from(id)), "client {id} has no answer");
        } else if sent.starts_with(b"HTTP/1.1 101 ") {
            assert!(self.site.frames(id).iter().all(|(head, _)| matches!(head, 0x81 | 0x88 | 0x89)));
        } else {
            let (status, _, _, rest) = split_response(&sent, false).expect("a whole answer");
            assert!(matches!(status, 400 | 401 | 403 | 502 | 504), "client {id}: {status}");
            assert!(rest.is_empty() && self.site.closed(id), "client {id}: {status}, and more");
        }
    }
}

#[test]
fn whatever_happens_each_client_gets_one_answer() {
    let mut statuses = BTreeSet::new();
    for seed in 1..=60 {
        let mut world = World::new(seed);
        for _ in 0..250 {
            world.step();
        }
        world.settle();
        for id in 1..world.next_client {
            let sent = world.site.sent(id as u32);
            statuses.extend(sent.get(9..12).map(|status| String::from_utf8(status.to_vec()).unwrap()));
        }
    }
    let all = ["101", "400", "401", "403", "502", "504"].map(str::to_owned);
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), all, "something never happened");
}
