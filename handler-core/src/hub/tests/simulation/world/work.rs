//! What workers do: load, begin, answer, hang, die, and talk nonsense.

use super::super::super::site::millis;
use super::super::super::site::seconds;
use super::super::client::{Client, Speaks};
use super::super::worker::{Begun, Reading, Worker};
use super::{Upload, World};
use crate::hub::{AppId, WorkerId};
use crate::worker::protocol::{Action, Handler, Ids, LoadFailure, encode_action, encode_ids};

impl World {
    pub(super) fn reload(&mut self) {
        let app = self.random.below(2);
        self.totals.reloads += 1;
        if self.random.percent(50) {
            let place = format!("app.lua:{}", self.random.below(1000));
            self.registrations[app].routes[0].place = place;
            self.registrations[app].channels = self.channels(app);
        }
        self.hub.load_app(AppId(app as u16), self.now);
    }

    /// The operator wants another worker in the place of one, which may be gone or on its way already.
    pub(super) fn operator_drains(&mut self) {
        let app = ["app.lua", "two.lua"][self.random.below(2)];
        let number = 1 + self.random.below(3) as u32;
        let _ = self.hub.drain_worker(Some(app).filter(|_| self.random.percent(50)), number, self.now);
    }

    pub(super) fn some_worker(&mut self) -> Option<WorkerId> {
        let ids: Vec<_> = self.workers.keys().copied().collect();
        self.random.pick(&ids).copied()
    }

    pub(super) fn worker_dies(&mut self) {
        if let Some(id) = self.some_worker() {
            self.bury(id);
        }
    }

    /// As the loop does: what was ready first, then the rest of its jobs.
    pub(super) fn bury(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.remove(&id) else { return };
        self.totals.deaths += 1;
        self.expect_batch(&worker.outbox);
        self.hub.handle_batch(id, &worker.outbox, self.now).expect("whole frames");
        self.forget_unrun(&worker.running);
        self.hub.handle_worker_gone(id, worker.started, self.now);
    }

    pub(super) fn worker_hangs(&mut self) {
        let time = millis(50 + self.random.below(600) as u64);
        if let Some(id) = self.some_worker()
            && let Some(worker) = self.workers.get_mut(&id)
            && worker.ready
            && worker.hangs_until.is_none()
        {
            worker.hangs_until = Some(self.now + time);
            let serial = worker.begun.last().map(|job| job.serial);
            let serial = worker.running.last().map(|job| job.serial).or(serial);
            worker.enter(serial.unwrap_or(0));
        }
    }

    pub(super) fn worker_acts(&mut self) {
        for _ in 0..1 + self.random.below(3) {
            if let Some(id) = self.some_worker() {
                self.worker_does(id, false);
            }
        }
    }

    /// One thing that a worker does; `eager`: it goes on with its work and does nothing strange.
    pub(super) fn worker_does(&mut self, id: WorkerId, eager: bool) {
        let (now, chance) = (self.now, self.random.below(100));
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.killed && (eager || chance < 60) {
            return self.bury(id);
        }
        if worker.hangs_until.is_some_and(|until| now < until && !eager) {
            return;
        }
        if worker.hangs_until.take().is_some() {
            worker.leave();
        }
        if !worker.ready {
            return self.worker_loads(id, eager, chance);
        }
        match chance {
            0..45 => self.worker_begins(id),
            45..58 => self.worker_answers(id),
            58..61 => self.worker_goes_on(id),
            61..63 => self.worker_reads(id),
            63..66 => self.worker_streams(id, eager),
            66..70 if !eager => self.worker_wakes(id),
            66..70 => self.worker_goes_on(id),
            70..74 if !self.calm && !eager => self.worker_talks_nonsense(id),
            74 if !self.calm && !eager => {
                let result = self.hub.handle_batch(id, &[9, 0, 0, 0, 0], now);
                assert!(result.is_err());
                self.bury(id);
            }
            _ => self.flush(id),
        }
        let ended = |w: &Worker| w.reader.stop && w.is_idle();
        if self.workers.get(&id).is_some_and(ended) {
            self.bury(id);
        }
    }

    pub(super) fn worker_loads(&mut self, id: WorkerId, eager: bool, chance: usize) {
        let worker = self.workers.get_mut(&id).expect("it lives");
        let app = usize::from(worker.app.0);
        match chance {
            0..50 => {
                worker.ready = true;
                worker.registration = self.registrations[app].clone();
                encode_action(&mut worker.outbox, &Action::Ready(self.registrations[app].clone()));
                self.flush(id);
            }
            50..53 if !eager && self.ready[app] => {
                encode_action(&mut worker.outbox, &Action::Failed(LoadFailure::default()));
                self.flush(id);
            }
            53..55 if !eager && self.ready[app] => self.bury(id),
            _ => {}
        }
    }

    pub(super) fn worker_begins(&mut self, id: WorkerId) {
        let worker = self.workers.get_mut(&id).expect("it lives");
        if worker.next_is_live()
            && let Some(told) = worker.talks.pop_front()
        {
            return self.worker_hears(id, told);
        }
        let Some(job) = worker.inbox.pop_front() else { return };
        if !worker.start(job.serial) {
            encode_action(&mut worker.outbox, &Action::Skipped { serial: job.serial });
            return;
        }
        let tag = match job.path.rsplit_once('/') {
            _ if !job.body.is_empty() && !job.path.starts_with("/body") => digits(&job.body),
            Some((_, tag)) => digits(tag.as_bytes()),
            None => 0,
        };
        let raw = job.path.starts_with('@');
        let spool = std::path::Path::new(&job.spool);
        // Where there are deadlines it may have been answered already.
        self.check_body(&job.spool, tag);
        let is_own = job.spool.starts_with('+') || job.spool.starts_with("/own/");
        let has_file = job.spool.is_empty() || is_own || self.uploads.get(spool) == Some(&Upload::Whole);
        assert!(has_file || !self.calm, "{job:?} has no file");
        let worker = self.workers.get_mut(&id).expect("it lives");
        if job.spool == "+" {
            worker.reading.insert(job.serial, Reading::default());
        }
        worker.begun.push(Begun { serial: job.serial, tag, raw, handler: job.handler });
        self.check_order(&job.conn, tag);
        if self.random.percent(60) {
            let worker = self.workers.get_mut(&id).expect("it lives");
            let last = worker.begun.len() - 1;
            self.answer(id, last);
        }
    }

    /// Messages of one connection reach workers in order.
    pub(super) fn check_order(&mut self, conn: &str, tag: u64) {
        let numbers = conn.strip_prefix("boot-").expect("the name of a connection");
        let numbers: Vec<i64> = numbers.split('.').map(|n| n.parse().unwrap()).collect();
        let link = &mut self.links[numbers[0] as usize];
        if !self.calm || i64::from(link.incarnation) != numbers[1] || tag == 0 {
            return;
        }
        if let Some(client) = link.clients.get_mut(&numbers[2]) {
            assert!(tag >= client.begun, "message {tag} of {conn} begins after {}", client.begun);
            client.begun = tag;
        }
    }

    pub(super) fn worker_answers(&mut self, id: WorkerId) {
        let worker = &self.workers[&id];
        if !worker.begun.is_empty() {
            let which = self.random.below(worker.begun.len());
            self.answer(id, which);
        }
    }

    pub(super) fn answer(&mut self, id: WorkerId, which: usize) {
        let size = match self.random.below(1000) {
            0..3 => self.random.below(250_000),
            3..30 => self.random.below(20_000),
            _ => 0,
        };
        let streams = self.random.percent(20);
        let worker = self.workers.get_mut(&id).expect("it lives");
        let job = worker.begun.swap_remove(which);
        let has_read = worker.reading.remove(&job.serial).is_some();
        if streams && matches!(job.handler, Handler::Route(_)) && !job.raw {
            return self.begin_stream(id, job, size, has_read);
        }
        worker.enter(job.serial);
        worker.leave();
        let serial = job.serial;
        if matches!(job.handler, Handler::Route(_)) && !job.raw && self.random.percent(4) {
            let (number, body) = (self.random.below(5) as u32, job.tag.to_string());
            let body = body.as_bytes();
            let pass = Action::Pass { serial, worker: number, status: 200, head: b"", body };
            encode_action(&mut worker.outbox, &pass);
            return;
        }
        let mut respond = |status, body: &[u8]| {
            encode_action(&mut worker.outbox, &Action::Respond { serial, status, head: b"", body });
        };
        match job.handler {
            _ if job.raw => encode_action(&mut worker.outbox, &Action::Done { serial }),
            Handler::Route(_) => {
                let mut body = job.tag.to_string();
                body.extend(std::iter::repeat_n('.', size));
                respond(200, body.as_bytes());
            }
            Handler::NotFound | Handler::Raw => respond(404, b"page"),
            Handler::MethodNotAllowed => respond(405, b"page"),
            Handler::Options => respond(204, b""),
        }
    }

    pub(super) fn worker_talks_nonsense(&mut self, id: WorkerId) {
        let worker = self.workers.get_mut(&id).expect("it lives");
        let serial = self.random.below(worker.started as usize + 4) as u64;
        if let Some(job) = self.random.pick(&worker.running).copied()
            && self.random.percent(10)
        {
            let action = match self.random.below(3) {
                0 => Action::Done { serial: job.serial },
                1 => Action::Skipped { serial: job.serial },
                _ => Action::Respond { serial: job.serial, status: 200, head: b"", body: b"nonsense" },
            };
            encode_action(&mut worker.outbox, &action);
            return self.confuse(job.conn);
        }
        if worker.is_live(serial) {
            return;
        }
        let begun = self.random.pick(&worker.begun).map_or(serial, |job| job.serial);
        let head = b"x-streams: 1\r\nx-nonsense: 1\r\n";
        let action = match self.random.below(7) {
            0 => Action::Respond { serial, status: 200, head: b"", body: b"nonsense" },
            // A raw handler may well leave a request without an answer.
            1 if !self.raw => Action::Done { serial },
            2 => Action::Skipped { serial: begun },
            3 => Action::Begin { serial: begun, status: 200, head },
            4 => Action::End { serial: begun },
            5 => Action::Abort { serial: begun },
            _ => Action::Respond { serial: begun, status: 200, head: b"", body: b"nonsense" },
        };
        encode_action(&mut worker.outbox, &action);
        if self.random.percent(30) {
            encode_action(&mut worker.outbox, &action);
        }
    }

    /// The raw handler sends to sockets, strangers and nobody.
    pub(super) fn worker_delivers(&mut self) {
        let (Some(number), Some(id)) = (self.some_link(), self.some_worker()) else { return };
        if !self.raw || !self.workers[&id].ready {
            return;
        }
        let link = &self.links[number];
        // Those that were closed a moment ago too.
        let fresh = |c: &Client| c.closed_at.is_none_or(|at| self.now - at < seconds(1));
        let known = |c: &Client| c.speaks == Speaks::Socket && !c.gone && !c.mute && fresh(c);
        let mut ids: Vec<i64> = link.clients.iter().filter(|(_, c)| known(c)).map(|(id, _)| *id).collect();
        if self.random.percent(20) {
            ids.truncate(self.random.below(3));
        }
        if self.random.percent(3) {
            ids.extend(6000..6000 + self.random.below(300) as i64);
        }
        if self.random.percent(10) {
            ids.extend([-1, 1 << 31, i64::MAX]);
        }
        let sender = link.sender.clone();
        let close = self.random.percent(4);
        let ids = encode_ids(if close { ids.into_iter().take(1).collect() } else { ids });
        let ids = Ids::new(&ids);
        let repeat = if self.random.percent(15) { 12 } else { 1 };
        let mut frames = Vec::new();
        for _ in 0..repeat {
            self.last_delivery += 1;
            let text = format!("{} ", self.last_delivery);
            let payload = text.as_bytes();
            encode_action(&mut frames, &Action::Deliver { sender: &sender, ids, payload });
        }
        if close {
            encode_action(&mut frames, &Action::Disconnect { sender: &sender, ids });
        }
        // At once: numbers of deliveries must arrive in the order in which they were drawn.
        self.hub.handle_batch(id, &frames, self.now).expect("whole frames");
    }

    pub(super) fn flush(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            let batch = std::mem::take(&mut worker.outbox);
            self.expect_batch(&batch);
            self.hub.handle_batch(id, &batch, self.now).expect("whole frames");
        }
    }
}

/// The number in `{17}` or `17`.
fn digits(text: &[u8]) -> u64 {
    text.iter().filter(|b| b.is_ascii_digit()).fold(0, |n, b| n * 10 + u64::from(b - b'0'))
}
