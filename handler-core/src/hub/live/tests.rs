//! Live connections without a hub: what their workers are given, and which events they cause.

use super::Live;
use super::carrier::Carrier;
use super::opening::Beginning;
use super::pending::Pending;
use crate::hub::apps::app::Seat;
use crate::hub::apps::channels::Channels;
use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::{AppId, ConnKey, Job, LinkId, LiveId, WorkerId};
use crate::hub::workers::worker::{Stage, Worker};
use crate::worker::protocol::ChannelSpec;
use mongrel2_wire::ConnId;
use std::time::Instant;

const APP: AppId = AppId(0);
const FIRST: &[u8] = b"m2 7 @chat 16:6:METHOD,4:JSON,}0:,";

/// A live part with one app that has the channel `@chat`.
struct Part {
    live: Live,
    cx: Context,
    now: Instant,
}

impl Part {
    fn new() -> Self {
        let mut cx = Context::for_tests();
        let spec = ChannelSpec { path: "@chat".to_owned(), ..ChannelSpec::default() };
        cx.apps[APP].channels = Channels::new("/", &[spec]).unwrap();
        Self { live: Live::new(16), cx, now: Instant::now() }
    }

    /// A worker that takes jobs.
    fn worker(&mut self) -> WorkerId {
        let number = self.cx.apps[APP].seats.len() as u32 + 1;
        let mut worker = Worker::new(APP, number, self.now);
        worker.stage = Stage::Ready { since: self.now };
        let id = self.cx.workers.insert(worker);
        self.cx.apps[APP].seats.push(Seat { worker: Some(id), ..Seat::default() });
        id
    }

    /// A socket whose client speaks for the first time.
    fn open(&mut self, conn: i64) -> LiveId {
        let opening = (FIRST, Beginning::Accepted);
        let carrier = |_| Carrier::Json;
        let opened = self.live.open_live(&mut self.cx, Some(key(conn)), (APP, 0), carrier, opening, self.now);
        let id = opened.unwrap();
        self.live.begin_work(&mut self.cx, id, self.now);
        id
    }

    fn say(&mut self, id: LiveId, text: &str) {
        let message = Pending::Message { binary: false, payload: text.as_bytes().into() };
        self.live.give(&mut self.cx, id, message, self.now);
    }

    /// The serials of what a worker has of live connections, in order.
    fn jobs(&self, worker: WorkerId) -> Vec<u64> {
        let jobs = &self.cx.workers.get(worker).unwrap().jobs;
        let mut serials: Vec<_> =
            jobs.iter().filter(|(_, job)| matches!(job, Job::Live(_))).map(|(serial, _)| *serial).collect();
        serials.sort_unstable();
        serials
    }

    /// The worker has done all that it was given.
    fn finish(&mut self, worker: WorkerId, id: LiveId) {
        for serial in self.jobs(worker) {
            self.cx.workers.get_mut(worker).unwrap().jobs.remove(&serial);
            self.live.live_done(&mut self.cx, worker, id, serial, self.now);
        }
    }
}

fn key(conn: i64) -> ConnKey {
    ConnKey { link: LinkId(0), incarnation: 0, id: ConnId::try_from(conn).unwrap() }
}

#[test]
fn a_connection_ends_once_and_its_close_is_the_last_thing_that_its_worker_gets() {
    let mut part = Part::new();
    let worker = part.worker();
    let id = part.open(7);
    part.say(id, "hi");
    part.live.finish_live(&mut part.cx, id, 1000, "", part.now);
    assert!(matches!(part.cx.events[..], [Event::Closing(closing)] if closing == key(7)));
    part.live.finish_live(&mut part.cx, id, 1001, "again", part.now);
    part.live.end_live(&mut part.cx, id, 1006, "", part.now);
    assert_eq!(part.cx.events.len(), 1, "it is over already");
    assert_eq!(part.cx.ledger.counters.closed, 1);
    assert_eq!(part.jobs(worker), [1, 2, 3], "open, message, close");
    part.finish(worker, id);
    assert!(part.live.lives.is_empty());
    assert_eq!(part.cx.workers.get(worker).unwrap().channels, 0);
}

#[test]
fn messages_that_come_faster_than_the_script_takes_them_close_their_connection_by_an_event() {
    let mut part = Part::new();
    part.cx.limits.channel_queue = 200;
    let id = part.open(7);
    let number = part.live.lives.get(id).unwrap().number;
    for _ in 0..3 {
        part.say(id, &"x".repeat(100));
    }
    let [Event::CloseLive(closed, 1008, "too many messages"), ..] = part.cx.events[..] else {
        panic!("{:?}", part.cx.events);
    };
    assert_eq!(closed, number);
    assert_eq!(part.live.by_number(number), Some(id), "whoever gets the event decides what becomes of it");
}

#[test]
fn what_a_dead_worker_had_not_begun_goes_to_another_one_behind_an_open_that_says_who_this_is() {
    let mut part = Part::new();
    let first = part.worker();
    let id = part.open(7);
    part.finish(first, id);
    part.say(id, "running");
    part.say(id, "waiting");
    let second = part.worker();
    let [running, waiting] = part.jobs(first)[..] else { panic!() };
    part.cx.workers.remove(first);
    part.cx.apps[APP].seats[0].worker = None;
    part.live.live_lost(&mut part.cx, (first, 1), id, running, false, part.now);
    part.live.live_worker_gone(&mut part.cx, first, part.now);
    assert_eq!(part.cx.ledger.counters.worker_died, 1, "the one that ran");
    part.live.live_done(&mut part.cx, first, id, waiting, part.now);
    assert_eq!(part.jobs(second), [1, 2], "open again, and the message that was not begun");
    assert!(part.live.lives.get(id).unwrap().resumed);
}

#[test]
fn an_old_number_means_no_connection_though_its_place_is_taken_again() {
    let mut part = Part::new();
    let worker = part.worker();
    let id = part.open(7);
    let number = part.live.lives.get(id).unwrap().number;
    part.live.end_live(&mut part.cx, id, 1006, "", part.now);
    part.finish(worker, id);
    assert_eq!(part.open(8), id, "the place is used again");
    assert_eq!(part.live.by_number(number), None);
}
