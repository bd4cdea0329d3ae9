//! The world of the simulation: its loop, its chances, its end. What happens in it is in `traffic` and
//! `work`, and for live connections in `talk` and `conversations`, for
//! answers in pieces in `streaming`.

mod bodies;
mod conversations;
mod streaming;
mod talk;
mod traffic;
mod work;

use super::super::mongrel2::{self, Form, Reply};
use super::super::site::{app, millis, route, seconds};
use super::client::{Client, Speaks};
use super::random::Random;
use super::talker::Talker;
use super::wire::Wire;
use super::worker::Worker;
use crate::hub::ledger::traffic::ChannelMeter;
use crate::hub::request::Request;
use crate::hub::{Affinity, AppId, AppSpec, ConnKey, Effect, Hub, Limits, LinkId, Sharing, WorkerId};
use crate::worker::protocol::{Action, Registration, encode_action};
use conversations::Conversation;
use kennel_http::websocket::Codec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Ids from here on belong to nobody, or to a hostile message.
const STRANGERS: i64 = 5000;
/// Ids from here on belong to those that stay.
const TALKERS: i64 = 2000;

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Totals {
    pub messages: u64,
    pub answered: u64,
    pub reruns: u64,
    pub deaths: u64,
    pub restarts: u64,
    pub reloads: u64,
    pub timed_out: u64,
    pub overloaded: u64,
    pub malformed: u64,
    pub too_late: u64,
    pub streamed: u64,
    pub uploads: u64,
    pub bodies: u64,
    pub cut: u64,
    pub opened: u64,
    pub adopted: u64,
    pub closed: u64,
    pub heard: u64,
    pub dropped: u64,
    pub overflowed: u64,
    pub violations: u64,
    pub unanswered_pings: u64,
}

impl Totals {
    pub fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.answered += other.answered;
        self.reruns += other.reruns;
        self.deaths += other.deaths;
        self.restarts += other.restarts;
        self.reloads += other.reloads;
        self.timed_out += other.timed_out;
        self.overloaded += other.overloaded;
        self.malformed += other.malformed;
        self.too_late += other.too_late;
        self.streamed += other.streamed;
        self.uploads += other.uploads;
        self.bodies += other.bodies;
        self.cut += other.cut;
        self.opened += other.opened;
        self.adopted += other.adopted;
        self.closed += other.closed;
        self.heard += other.heard;
        self.dropped += other.dropped;
        self.overflowed += other.overflowed;
        self.violations += other.violations;
        self.unanswered_pings += other.unanswered_pings;
    }
}

struct Link {
    up: bool,
    flow_control: bool,
    form: Form,
    sender: String,
    raw_payload: bool,
    clients: BTreeMap<i64, Client>,
    talkers: BTreeMap<i64, Talker>,
    next_id: i64,
    next_talker: i64,
    incarnation: u32,
    has_spoken: bool,
    /// The hub has seen that this server counts bytes.
    announced: bool,
    /// Whom a keep-alive named though they are not there.
    missed: Vec<i64>,
}

impl Link {
    /// Those whose messages are still being written, and whether they read slowly.
    fn unpaid(&mut self) -> impl Iterator<Item = (i64, &mut Wire, bool)> {
        let clients = self.clients.iter_mut().filter(|(_, client)| client.may_talk());
        let talkers = self.talkers.iter_mut().filter(|(_, talker)| talker.is_there());
        let clients = clients.map(|(id, client)| (*id, &mut client.wire, false));
        clients.chain(talkers.map(|(id, talker)| (*id, &mut talker.wire, talker.slow)))
    }
}

/// A file that a server has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upload {
    /// It is being written; if that fails, its server deletes it.
    Begun,
    /// It is the hub's.
    Whole,
    /// Its server is gone: the hub deletes what it still knew of.
    Lost,
}

/// Whether an answer of the hub to a question is right.
type Expected = Box<dyn Fn(&str) -> bool>;

pub(super) struct World {
    hub: Hub,
    now: Instant,
    random: Random,
    links: Vec<Link>,
    workers: BTreeMap<WorkerId, Worker>,
    registrations: Vec<Registration>,
    ready: Vec<bool>,
    /// No deadlines and no nonsense, so that the order in which jobs begin can be checked.
    calm: bool,
    raw: bool,
    /// Some of its clients stay.
    talks_too: bool,
    codec: Codec,
    talks: BTreeMap<u64, Conversation>,
    /// Their numbers by their names.
    names: BTreeMap<String, u64>,
    /// How many messages each has said, by its name.
    said: BTreeMap<String, u64>,
    rooms: BTreeMap<Vec<u8>, BTreeSet<u64>>,
    /// Files that servers have begun.
    uploads: BTreeMap<PathBuf, Upload>,
    /// The hub's own files: how large they are, and whether they are whole.
    own_files: BTreeMap<PathBuf, (usize, bool)>,
    /// What was written to them and not told.
    written: VecDeque<(ConnKey, PathBuf, Result<usize, String>)>,
    /// How large the bodies in parts are, by their tags.
    body_sizes: BTreeMap<u64, usize>,
    /// What the answers to queries may be.
    queries: BTreeMap<u64, Expected>,
    last_message: u64,
    last_query: u64,
    last_tag: u64,
    last_delivery: u64,
    last_pulse: Instant,
    stopped: bool,
    pub totals: Totals,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let calm = random.percent(40);
        let limits = Limits {
            request_timeout: if calm { seconds(3600) } else { seconds(1 + random.below(3) as u64) },
            script_time: millis(400),
            load_time: seconds(1),
            stop_time: seconds(1),
            hook_time: seconds(1),
            queue: 2 + random.below(30),
            worker_jobs: 1 + random.below(6),
            pipeline: 1 + random.below(8),
            keep_alive: millis(300 + random.below(3000) as u64),
            channel_queue: if random.percent(30) { 4000 } else { 4 << 20 },
            connection_output: if random.percent(50) { 200_000 } else { 16 << 20 },
            spill: if random.percent(50) { 20_000 } else { 8 << 20 },
            ..Limits::default()
        };
        let raw = random.percent(50);
        let hooks = random.percent(25);
        let talks_too = random.percent(60);
        let two = AppSpec { name: "two.lua".into(), mount: "/two".into(), workers: 1 };
        let apps = vec![app(1 + random.below(4) as u32), two];
        let mut routes = vec![route(&["GET"], "/users/{tag}", 0), route(&["POST"], "/b", 1)];
        routes.push(route(&["POST"], "/body/{tag}", 2));
        routes[2].streams = random.percent(60);
        let first = Registration { routes, hooks, raw, ..Registration::default() };
        let second = Registration { raw: false, ..first.clone() };
        let links = (0..1 + random.below(3)).map(|number| Link {
            up: false,
            flow_control: random.percent(40),
            form: if random.percent(50) { Form::Json } else { Form::Tnetstring },
            sender: format!("m2-{number}"),
            raw_payload: random.percent(70),
            clients: BTreeMap::new(),
            talkers: BTreeMap::new(),
            next_id: 1,
            next_talker: 0,
            incarnation: 0,
            has_spoken: false,
            announced: false,
            missed: Vec::new(),
        });
        let links: Vec<_> = links.collect();
        let now = Instant::now();
        let mut hub = Hub::new(limits, "boot", links.len(), apps);
        (0..links.len() as u16).for_each(|n| hub.set_upload_store(LinkId(n), format!("/store/{n}").into()));
        hub.set_body_folder("/own".into());
        let affinity = seed.is_multiple_of(3).then_some(Affinity::Cookie);
        hub.set_sharing(AppId(0), Sharing { one_if_standard: seed.is_multiple_of(2), affinity });
        let mut world = Self {
            hub,
            now,
            random,
            links,
            workers: BTreeMap::new(),
            registrations: vec![first, second],
            ready: vec![false; 2],
            calm,
            raw,
            talks_too,
            codec: Codec::default(),
            talks: BTreeMap::new(),
            names: BTreeMap::new(),
            said: BTreeMap::new(),
            rooms: BTreeMap::new(),
            uploads: BTreeMap::new(),
            own_files: BTreeMap::new(),
            written: VecDeque::new(),
            body_sizes: BTreeMap::new(),
            queries: BTreeMap::new(),
            last_message: 0,
            last_query: 0,
            last_tag: 0,
            last_delivery: 0,
            last_pulse: now,
            stopped: false,
            totals: Totals::default(),
        };
        for app in 0..2 {
            world.registrations[app].channels = world.channels(app);
        }
        for app in world.hub.app_ids() {
            world.hub.load_app(app, now);
        }
        while !world.ready.iter().all(|ready| *ready) {
            world.worker_acts();
            world.pass(millis(10));
            for app in world.hub.app_ids() {
                if !world.ready[usize::from(app.0)] && world.random.percent(1) {
                    world.hub.load_app(app, world.now);
                }
            }
        }
        for link in 0..world.links.len() {
            world.server_starts(link);
        }
        world
    }

    pub fn step(&mut self) {
        match self.random.below(1000) {
            0..200 if self.talks_too => self.talker_talks(),
            0..320 => self.client_talks(),
            320..640 => self.worker_acts(),
            640..780 => {
                let time = match self.random.below(40) {
                    0 => self.random.below(1_000_000),
                    1..4 => self.random.below(60_000),
                    4..20 => self.random.below(4000),
                    _ => self.random.below(200),
                };
                self.pass(Duration::from_micros(time as u64));
            }
            780..860 => self.server_reports(),
            929 if self.random.percent(50) => self.tell_written(),
            860..880 if self.talks_too => self.some_talker_leaves(),
            860..900 => self.client_leaves(),
            900..915 => self.worker_dies(),
            915..925 => self.worker_hangs(),
            925..929 => self.reload(),
            929 => self.operator_drains(),
            930..933 => self.server_restarts(),
            933..960 => self.hostile_message(),
            _ => self.worker_delivers(),
        }
        if self.random.percent(70) {
            self.turn();
        }
    }

    /// Every request that began is answered, lost, or under way, and no live connection is counted twice.
    fn check_counts(&self) {
        let waits = |(_, request): &(crate::hub::RequestId, &Request)| request.http && !request.begun;
        let under_way = self.hub.exchange.requests.iter().filter(waits).count() as u64;
        let traffic = &self.hub.cx.ledger.traffic;
        assert_eq!(traffic.begun, traffic.ended() + under_way, "a request is counted once");
        let counters = self.hub.counters();
        let sum = |count: fn(&ChannelMeter) -> u64| traffic.channels.iter().map(count).sum::<u64>();
        assert_eq!(sum(|meter| meter.opened), counters.opened);
        assert_eq!(sum(ChannelMeter::open), counters.opened - counters.closed);
    }

    fn turn(&mut self) {
        // Now and then a server takes nothing for a moment.
        for link in 0..self.links.len() as u16 {
            let backlog = if self.random.percent(10) { self.hub.limits().spill } else { 0 };
            self.hub.handle_backlog(LinkId(link), backlog);
        }
        self.go_on();
    }

    /// A turn in which every server takes what it gets.
    fn turn_freely(&mut self) {
        (0..self.links.len() as u16).for_each(|link| self.hub.handle_backlog(LinkId(link), 0));
        self.go_on();
    }

    fn go_on(&mut self) {
        self.check_counts();
        self.check_bodies();
        while !self.stopped {
            self.hub.finish_turn(self.now);
            let mut replies = Vec::new();
            self.hub.drain_replies(|link, reply| {
                let read = Reply::parse(link, reply);
                replies.push(read.unwrap_or_else(|e| panic!("{e}: {}", reply.escape_ascii())));
            });
            replies.iter().for_each(|reply| self.receive(reply));
            for (id, worker) in &mut self.workers {
                let (orders, last) = self.hub.take_orders(*id).expect("the worker is known");
                let orders = std::mem::take(orders);
                assert!(last >= worker.started);
                worker.read(&orders);
            }
            let mut acted = false;
            while let Some(effect) = self.hub.poll_effect() {
                acted = true;
                self.perform(effect);
            }
            acted |= !self.stopped && (self.react() || self.hub.has_work(self.now));
            if !acted {
                break;
            }
        }
        assert!(
            self.stopped || self.hub.next_timeout().is_none_or(|due| due > self.now),
            "the loop would spin"
        );
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::StartWorker { worker, app, .. } => {
                if self.ready[usize::from(app.0)] && self.random.percent(3) {
                    self.hub.handle_start_failed(worker, "no", self.now);
                } else {
                    let old = self.workers.insert(worker, Worker::new(app));
                    assert!(old.is_none(), "a number is used again only after its worker is gone");
                }
            }
            Effect::KillWorker(id) => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.killed = true;
                }
            }
            Effect::Revoke { worker: id, serial } => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.revoked = serial;
                    if self.random.percent(40)
                        && let Some(next) = worker.take_next()
                    {
                        // It had said that this one starts, and then saw that it was taken back.
                        worker.started = next;
                        encode_action(&mut worker.outbox, &Action::Skipped { serial: next });
                    }
                    let started = worker.started;
                    self.hub.handle_revoked(id, started, self.now);
                }
            }
            Effect::AppReady(app) => self.ready[usize::from(app.0)] = true,
            Effect::AppFailed(..) | Effect::Evaluated { .. } => {}
            Effect::AskWhoIsThere(link) => self.answer_roll_call(usize::from(link.0)),
            Effect::DeleteFile(path) => {
                if path.starts_with("/own") {
                    let file = self.own_files.remove(&path);
                    file.expect("a file is deleted once, and it was there");
                    return;
                }
                let file = self.uploads.remove(&path).expect("a file is deleted once, and it was there");
                assert_ne!(file, Upload::Begun, "what its server is writing is not deleted under it");
            }
            Effect::Measure { key, path, whole } => {
                let size = self.uploads.contains_key(&path).then_some(70_000);
                self.hub.handle_measured(key, &path, whole, size, self.now);
            }
            Effect::ReadFile { request, path, .. } => {
                let bytes = vec![b'x'; 100];
                self.hub.handle_read(request, &path, Ok(bytes), self.now);
            }
            Effect::WriteFile { key, path, bytes, last } => self.file_is_written(key, path, &bytes, last),
            Effect::Stopped => {
                assert!(self.workers.is_empty());
                self.stopped = true;
            }
        }
    }

    fn receive(&mut self, reply: &Reply) {
        let link = &mut self.links[usize::from(reply.link.0)];
        assert!(link.up, "sent to a server that is gone");
        assert_eq!(reply.sender, link.sender);
        let overflowed = self.hub.counters().overflowed > 0;
        let mut told = Vec::new();
        for id in &reply.ids {
            let id = i64::from(*id);
            if reply.extended && link.clients.contains_key(&id) {
                told.push((id, reply.payload.clone()));
                continue;
            }
            if reply.extended {
                let mute = |talker: &&Talker| talker.mute && talker.gone_at.is_none();
                link.missed.extend(link.talkers.get(&id).filter(mute).map(|_| id));
                continue;
            }
            if let Some(talker) = link.talkers.get_mut(&id) {
                talker.receive(&reply.payload, link.flow_control, overflowed, &mut self.codec, self.now);
                continue;
            }
            if id >= STRANGERS {
                link.clients.entry(id).or_insert_with(|| Client::new(Speaks::Anything));
            }
            let client =
                link.clients.get_mut(&id).unwrap_or_else(|| panic!("{reply:?} is for no client of this run"));
            client.receive(&reply.payload, link.flow_control, self.now);
            if id >= STRANGERS && client.closed {
                // A hostile message may come again under the same number.
                link.clients.remove(&id);
            }
        }
        for (id, payload) in told {
            self.client_is_told(usize::from(reply.link.0), id, &payload);
        }
    }

    /// Time passes; the loop wakes up when it should, or a little late.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.turn();
        while let Some(due) = self.hub.next_timeout().filter(|due| *due <= end && !self.stopped) {
            let late = Duration::from_micros(self.random.below(1500) as u64);
            self.now = (due + late).min(end);
            self.pulse();
            self.turn();
        }
        self.now = end;
        self.pulse();
        self.turn_freely();
    }

    fn pulse(&mut self) {
        if self.now - self.last_pulse >= Hub::PULSE {
            self.last_pulse = self.now;
            let busy: Vec<_> = self.hub.busy_workers().collect();
            for id in busy {
                if let Some(worker) = self.workers.get(&id) {
                    self.hub.handle_pulse(id, worker.pulse(), self.now);
                }
            }
        }
    }

    /// Everybody gets time to finish, with or without a stop; then nobody may wait for anything.
    pub fn settle(&mut self) {
        self.turn();
        self.complete_uploads();
        let stop = self.random.percent(40);
        if stop {
            self.hub.begin_stop(self.now);
        }
        for number in 0..self.links.len() {
            if !self.links[number].up {
                self.server_starts(number);
            }
        }
        self.finish();
        assert_eq!(self.stopped, stop, "a stop is bounded");
        self.links.iter().flat_map(|link| link.clients.values()).for_each(Client::settle);
        if !stop {
            // A client that died without notice keeps its files until the hub gives up waiting for its reports.
            self.pass(seconds(160));
            let left = self.uploads.iter().find(|(_, file)| **file == Upload::Whole);
            assert_eq!(left, None, "a file is left");
            assert!(self.own_files.is_empty(), "a file is left");
            self.check_quiet();
            self.everybody_leaves();
            self.finish();
            self.check_closed();
            self.pass(seconds(200));
            assert_eq!((self.hub.load(), self.hub.live()), ((0, 0), 0), "something is left over");
            assert!(self.hub.cx.workers.iter().all(|(_, worker)| worker.channels == 0));
        }
        self.check_counts();
        assert!(crate::metrics::text(&self.hub.metrics()).ends_with('\n'));
        let counters = self.hub.counters();
        self.totals.answered = counters.answers;
        self.totals.reruns = counters.rerun;
        self.totals.timed_out = counters.timed_out;
        self.totals.overloaded = counters.overloaded;
        self.totals.malformed = counters.malformed;
        self.totals.too_late = counters.answers_too_late;
        self.totals.cut = counters.cut_short;
        self.totals.adopted = counters.adopted;
        self.totals.dropped = counters.dropped;
        self.totals.overflowed = counters.overflowed;
        self.totals.violations = counters.violations;
        self.totals.unanswered_pings = counters.unanswered_pings;
        self.totals.heard = self.links.iter().flat_map(|link| link.talkers.values()).map(|t| t.got).sum();
    }

    /// Everybody goes on with what there is to do, and begins nothing.
    fn finish(&mut self) {
        // With one job at a time it may take long until everybody has had his turn.
        for round in 0..1600 {
            let done = self.hub.cx.workers.iter().all(|(_, worker)| worker.jobs.is_empty());
            // A last message may be larger than what Mongrel2 takes at once.
            let written =
                self.links.iter_mut().flat_map(Link::unpaid).all(|(_, wire, _)| wire.unreported.is_empty());
            if round >= 160 && done && written {
                break;
            }
            let ids: Vec<_> = self.workers.keys().copied().collect();
            for id in ids {
                for _ in 0..12 {
                    self.worker_does(id, true);
                }
                self.flush(id);
            }
            self.pay_all();
            self.bodies_go_on();
            self.pass(millis(50));
            if self.stopped {
                break;
            }
        }
    }

    fn everybody_leaves(&mut self) {
        for number in 0..self.links.len() {
            let ids: Vec<i64> = self.links[number].talkers.keys().copied().collect();
            ids.into_iter().for_each(|id| self.talker_leaves(number, id));
        }
    }

    fn pay_all(&mut self) {
        for number in 0..self.links.len() {
            let link = &mut self.links[number];
            if !link.flow_control {
                continue;
            }
            let (form, sender) = (link.form, link.sender.clone());
            let mut due = Vec::new();
            for (id, wire, _) in link.unpaid() {
                due.extend(wire.unreported.drain(..).map(|size| (id, size)));
            }
            for (id, size) in due {
                self.send(number, &mongrel2::credits(form, &sender, id, size));
            }
        }
    }
}
