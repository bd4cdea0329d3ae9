//! Requests and live connections share a worker's time fairly, whatever time each message takes.

use super::site::*;
use crate::hub::{Effect, Hub, Limits};
use crate::worker::protocol::{Action, ChannelSpec, Registration};
use crate::worker::pulse::Pulse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A worker that runs one job after the other, and takes its time for each.
struct SlowWorker {
    time: Duration,
    orders: BTreeMap<u64, Order>,
    jobs_read: usize,
    effects_read: usize,
    running: Option<(u64, Order, Instant)>,
    started: u64,
    revoked: u64,
    turn: u64,
    looked: Option<Instant>,
    /// Its connections, as they were opened.
    conns: Vec<u64>,
    /// What it has run, in order: the path of a request, or which connection, from 1.
    done: Vec<String>,
}

#[derive(Clone)]
enum Order {
    Request(String),
    Live(u64, bool),
}

impl SlowWorker {
    fn new(site: &Site, time: Duration) -> Self {
        Self {
            time,
            orders: BTreeMap::new(),
            jobs_read: 0,
            effects_read: site.effects.len(),
            running: None,
            started: 0,
            revoked: 0,
            turn: 0,
            looked: None,
            conns: Vec::new(),
            done: Vec::new(),
        }
    }

    fn read(&mut self, site: &mut Site) {
        for job in &site.jobs(0)[self.jobs_read..] {
            self.orders.insert(job.serial, Order::Request(job.path.clone()));
        }
        self.jobs_read = site.jobs(0).len();
        for told in told(site) {
            match told {
                Told::Open { serial, conn, .. } => self.orders.insert(serial, Order::Live(conn, true)),
                Told::Message { serial, conn, .. } => self.orders.insert(serial, Order::Live(conn, false)),
                _ => None,
            };
        }
        while let Some(effect) = site.effects.get(self.effects_read) {
            self.effects_read += 1;
            if let Effect::Revoke { serial, .. } = *effect {
                self.revoked = serial;
                site.hub.handle_revoked(FIRST, self.started, site.now);
                site.turn();
            }
        }
    }

    /// Time passes, in steps of 5 ms.
    fn pass(&mut self, site: &mut Site, time: Duration) {
        let end = site.now + time;
        while site.now < end {
            site.pass(millis(5));
            self.read(site);
            if self.looked.is_none_or(|looked| site.now - looked >= Hub::PULSE) {
                self.looked = Some(site.now);
                let running = self.running.as_ref().map_or(0, |(serial, ..)| *serial);
                let pulse = Pulse { started: self.started, turn: self.turn, running };
                if site.hub.busy_workers().any(|worker| worker == FIRST) {
                    site.hub.handle_pulse(FIRST, pulse, site.now);
                    site.turn();
                    self.read(site);
                }
            }
            if let Some((serial, order, _)) = self.running.take_if(|(.., until)| *until <= site.now) {
                self.turn += 1;
                match order {
                    Order::Request(path) => {
                        self.done.push(path);
                        site.respond(FIRST, serial, "x");
                    }
                    Order::Live(conn, open) => {
                        if open {
                            self.conns.push(conn);
                        } else {
                            let at = self.conns.iter().position(|known| *known == conn);
                            self.done.push((at.expect("it was opened") + 1).to_string());
                        }
                        site.act(FIRST, &[Action::Done { serial }]);
                    }
                }
                self.read(site);
            }
            while self.running.is_none()
                && let Some((serial, order)) = self.orders.pop_first()
            {
                self.started = serial;
                if serial <= self.revoked {
                    site.act(FIRST, &[Action::Skipped { serial }]);
                    self.read(site);
                    continue;
                }
                self.turn += 1;
                self.running = Some((serial, order, site.now + self.time));
            }
        }
    }

    /// Until this connection has its answer; how long that took.
    fn until_answered(&mut self, site: &mut Site, id: u32) -> Duration {
        let begin = site.now;
        while site.statuses(id).is_empty() {
            self.pass(site, millis(5));
            assert!(site.now < begin + seconds(60), "no answer");
        }
        site.now - begin
    }
}

/// What the worker was told of live connections since the last look.
fn told(site: &mut Site) -> Vec<Told> {
    std::mem::take(&mut site.workers.get_mut(&FIRST).unwrap().live)
}

fn site() -> Site {
    let channels = vec![ChannelSpec { path: "/ws".into(), handler: 0, ping: 0.0, ..ChannelSpec::default() }];
    Site::with(Limits::default(), 1, Registration { channels, ..registration() })
}

#[test]
fn a_request_waits_for_one_message_of_a_busy_connection_whatever_time_each_takes() {
    for time in [300, 150, 80, 40, 20] {
        let mut site = site();
        site.handshake(7, "/ws");
        let mut worker = SlowWorker::new(&site, millis(time));
        worker.pass(&mut site, seconds(1));
        for _ in 0..1000 {
            site.frame(7, "/ws", 0x81, b"x");
        }
        // What was given ahead is taken back when the worker turns out to be slow.
        worker.pass(&mut site, millis(300));
        for id in 20..30 {
            site.request(id, "GET /a");
            let waited = worker.until_answered(&mut site, id as u32);
            // The message that runs, perhaps one more that the worker was given already, itself; where messages are
            // quick, what it was given to be busy until the next look at it.
            let most = 3 * millis(time) + millis(time).max(millis(100)) + millis(10);
            assert!(waited <= most, "{time} ms each: {waited:?}");
        }
        let messages = worker.done.iter().filter(|done| *done != "/a").count();
        assert!(messages >= 10, "messages go on, too");
    }
}

#[test]
fn connections_take_turns_and_requests_starve_no_message() {
    let mut site = site();
    let mut worker = SlowWorker::new(&site, millis(150));
    for id in 1..=3 {
        site.handshake(id, "/ws");
        worker.pass(&mut site, millis(500));
    }
    for id in [1, 2] {
        for _ in 0..100 {
            site.frame(id, "/ws", 0x81, b"x");
        }
    }
    // One client has a request under way all the time, and 20 others wait.
    for _ in 0..60 {
        site.request(50, "GET /a");
    }
    for id in 60..80 {
        site.request(id, "GET /users/1");
    }
    worker.pass(&mut site, seconds(1));
    site.frame(3, "/ws", 0x81, b"x");
    let begin = worker.done.len();
    worker.pass(&mut site, seconds(6));
    let done = &worker.done[begin..];
    let third = done.iter().position(|done| done == "3");
    let third = third.unwrap_or_else(|| panic!("no turn for the third: {done:?}"));
    assert!(third <= 7, "three connections and requests take turns: {done:?}");
    let count = |what: &str| done.iter().filter(|done| *done == what).count();
    let requests = count("/a") + count("/users/1");
    assert!(requests.abs_diff(count("1") + count("2")) <= 4, "{done:?}");
    assert!(count("1").abs_diff(count("2")) <= 1, "{done:?}");
}

#[test]
fn quick_messages_are_given_ahead() {
    let mut site = site();
    site.handshake(7, "/ws");
    let mut worker = SlowWorker::new(&site, Duration::ZERO);
    worker.pass(&mut site, seconds(1));
    told(&mut site);
    for _ in 0..40 {
        site.frame(7, "/ws", 0x81, b"x");
    }
    assert_eq!(told(&mut site).len(), 32);
}
