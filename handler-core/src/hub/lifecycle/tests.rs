//! Workers without a hub: what becomes of them, and which events they cause.

use super::*;
use crate::hub::event::Event;
use crate::hub::ids::{Job, RequestId};
use crate::worker::protocol::{LoadFailure, Registration};
use crate::worker::pulse::Pulse;
use slotmap::SlotMap;
use std::time::Duration;

const APP: AppId = AppId(0);

struct Site {
    cx: Context,
    now: Instant,
}

impl Site {
    /// One worker of the app's first code, in charge.
    fn new() -> (Self, WorkerId) {
        let mut site = Self { cx: Context::for_tests(), now: Instant::now() };
        let worker = site.load();
        site.ready(worker);
        assert!(matches!(site.cx.events.pop(), Some(Event::TakeOver(APP))));
        site.take_over();
        (site, worker)
    }

    fn load(&mut self) -> WorkerId {
        reload::load(&mut self.cx, APP, self.now);
        self.cx.apps[APP].incoming.as_ref().unwrap().workers[0]
    }

    fn ready(&mut self, worker: WorkerId) {
        reload::ready(&mut self.cx, worker, Registration::default(), self.now);
    }

    fn take_over(&mut self) {
        let incoming = reload::prepare(&mut self.cx, APP).unwrap();
        reload::take_over(&mut self.cx, APP, incoming, self.now);
    }

    fn stage(&self, worker: WorkerId) -> Stage {
        self.cx.workers.get(worker).unwrap().stage
    }

    fn give(&mut self, worker: WorkerId, serial: u64, job: Job) {
        let worker = self.cx.workers.get_mut(worker).unwrap();
        worker.serial = serial;
        worker.jobs.insert(serial, job);
    }

    fn seat(&self) -> (Option<WorkerId>, Option<Instant>) {
        let seat = self.cx.apps[APP].seats[0];
        (seat.worker, seat.due)
    }
}

fn requests() -> (RequestId, RequestId) {
    let mut ids = SlotMap::<RequestId, ()>::default();
    (ids.insert(()), ids.insert(()))
}

#[test]
fn newer_code_takes_the_seats_when_it_is_ready_and_the_old_worker_drains() {
    let (mut site, old) = Site::new();
    assert_eq!((site.seat().0, site.cx.apps[APP].lead), (Some(old), Some(old)));
    let new = site.load();
    assert_eq!(site.seat().0, Some(old));
    site.ready(new);
    assert!(matches!(site.cx.events.pop(), Some(Event::TakeOver(APP))));
    site.take_over();
    assert_eq!((site.seat().0, site.cx.apps[APP].lead), (Some(new), Some(new)));
    assert_eq!(site.stage(old), Stage::Draining { since: site.now });
    assert_eq!(site.cx.apps[APP].restarts.reloaded, 1);
}

#[test]
fn code_that_does_not_load_changes_nothing() {
    let (mut site, old) = Site::new();
    let new = site.load();
    reload::failed(&mut site.cx, new, LoadFailure::default());
    assert_eq!((site.stage(new), site.seat().0), (Stage::Killed, Some(old)));
    assert!(site.cx.effects.contains(&Effect::AppFailed(APP, LoadFailure::default())));
    // Neither does a word of a worker that is no more.
    deaths::gone(&mut site.cx, new, 0, site.now);
    site.cx.events.clear();
    reload::failed(&mut site.cx, new, LoadFailure::default());
    site.ready(new);
    pulse::revoked(&mut site.cx, new, 0);
    deaths::gone(&mut site.cx, new, 0, site.now);
    assert!(site.cx.events.is_empty());
}

#[test]
fn what_a_dead_worker_had_begun_is_lost_and_what_it_had_not_goes_to_others() {
    let (mut site, worker) = Site::new();
    let (begun, fresh) = requests();
    for (serial, job) in
        [(1, Job::Request(begun)), (2, Job::Live(7)), (3, Job::Live(7)), (4, Job::Request(fresh))]
    {
        site.give(worker, serial, job);
    }
    site.cx.workers.get_mut(worker).unwrap().has_answered = true;
    deaths::gone(&mut site.cx, worker, 3, site.now);
    let events: Vec<_> = site.cx.events.drain(..).collect();
    assert!(
        matches!(
            events[..],
            [
                Event::Requeue(again),
                Event::RequestLost { number: 1, request, hung: false, is_cut_off: false },
                Event::LiveLost { live: 7, serial: 2, .. },
                Event::AppHasRoom(APP),
            ] if again == fresh && request == begun
        ),
        "{events:?}"
    );
    assert_eq!(site.seat(), (None, Some(site.now)), "it had served");
    assert_eq!(site.cx.apps[APP].lead, None);
    deaths::fill_seats(&mut site.cx, site.now);
    assert!(site.seat().0.is_some_and(|other| site.stage(other) == Stage::Loading { since: site.now }));
}

#[test]
fn a_worker_that_hangs_gives_back_what_it_has_not_started_and_is_killed() {
    let (mut site, worker) = Site::new();
    let (first, second) = requests();
    site.give(worker, 1, Job::Request(first));
    site.give(worker, 2, Job::Request(second));
    let hangs = Pulse { turn: 1, started: 1, running: 1 };
    let time = site.cx.limits.script_time;
    let begin = site.now;
    pulse::look(&mut site.cx, worker, hangs, site.now);
    site.cx.events.clear();
    while site.now < begin + Duration::from_millis(200) {
        site.now += Worker::LOOK;
        pulse::look(&mut site.cx, worker, hangs, site.now);
    }
    assert!(site.cx.effects.contains(&Effect::Revoke { worker, serial: 2 }));
    pulse::revoked(&mut site.cx, worker, 1);
    assert!(matches!(
        &site.cx.events[..],
        [Event::TakenBack(from, jobs), Event::WorkerHasRoom(_)]
            if *from == worker && jobs[..] == [(2, Job::Request(second))]
    ));
    site.cx.events.clear();
    while site.now < begin + time + Worker::LOOK {
        site.now += Worker::LOOK;
        pulse::look(&mut site.cx, worker, hangs, site.now);
    }
    assert_eq!(site.stage(worker), Stage::Killed);
    assert!(matches!(site.cx.events[..], [Event::Hung { running: 1, .. }]), "{:?}", site.cx.events);
}

#[test]
fn a_stop_drains_in_time_and_kills_afterwards() {
    let (mut site, worker) = Site::new();
    let newer = site.load();
    stop::begin(&mut site.cx, site.now);
    assert!(matches!(site.cx.events[..], [Event::Stopping, Event::StopIdle]));
    assert_eq!(site.stage(newer), Stage::Killed, "it loads for nobody");
    let drained = site.now + site.cx.limits.stop_time;
    stop::check_workers(&mut site.cx, drained);
    assert!(matches!(site.stage(worker), Stage::Draining { .. }));
    assert!(!has_hope(&site.cx, APP));
    let (waiting, _) = requests();
    site.cx.apps[APP].queue.push_back(waiting);
    assert_eq!(stop::next_hopeless(&mut site.cx), Some(waiting));
    assert_eq!(stop::next_hopeless(&mut site.cx), None);
    let end = site.now + site.cx.limits.stop_time + site.cx.limits.hook_time;
    stop::check_workers(&mut site.cx, end);
    assert_eq!(site.stage(worker), Stage::Killed);
    assert!(!stop::is_over(&site.cx, true, end), "its process is not dead");
    site.cx.workers.remove(worker);
    site.cx.workers.remove(newer);
    assert!(stop::is_over(&site.cx, true, site.now) && !stop::is_over(&site.cx, false, site.now));
    assert!(stop::is_over(&site.cx, false, end), "what is not answered by now never is");
}
