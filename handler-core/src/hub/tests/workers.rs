//! What becomes of requests whose worker dies, hangs or gives them back.

use super::site::*;
use crate::hub::{Effect, Limits, WorkerId};
use crate::worker::protocol::Action;
use crate::worker::pulse::Pulse;

fn pulse(site: &mut Site, worker: WorkerId, started: u64, turn: u64, running: u64) {
    site.hub.handle_pulse(worker, Pulse { started, turn, running }, site.now);
    site.turn();
}

#[test]
fn a_job_that_was_running_gets_502_and_those_not_started_run_elsewhere_in_order() {
    let mut site = Site::new(2);
    for id in 1..=8 {
        site.request(id, "GET /a");
    }
    assert_eq!(site.serials(0), [1, 2, 3, 4]);
    site.respond(FIRST, 1, "x");
    site.die(FIRST, 2);
    assert_eq!([1, 3, 5, 7].map(|id| site.statuses(id)), [vec![200], vec![502], vec![], vec![]]);
    let moved: Vec<_> = site.jobs(1)[4..].iter().map(|job| (job.serial, job.conn.as_str())).collect();
    assert_eq!(moved, [(5, "boot-0.0.5"), (6, "boot-0.0.7")]);
    assert_eq!((site.hub.counters().rerun, site.hub.counters().worker_died), (2, 1));
    for serial in 1..=6 {
        site.respond(SECOND, serial, "x");
    }
    assert!([2, 4, 5, 6, 7, 8].into_iter().all(|id| site.statuses(id) == [200]));
    site.settles();
}

#[test]
fn without_another_worker_the_jobs_wait_for_the_replacement() {
    let mut site = Site::new(1);
    site.pass(seconds(1));
    site.request(1, "GET /a");
    site.request(2, "GET /a");
    let before = site.effects.len();
    site.die(FIRST, 0);
    let new = site.started_since(before);
    assert_eq!(new.len(), 1, "a worker that served is replaced at once");
    assert!(site.statuses(1).is_empty());
    site.ready(new[0], &registration());
    assert_eq!(
        site.workers[&new[0]].jobs.iter().map(|j| j.conn.as_str()).collect::<Vec<_>>(),
        ["boot-0.0.1", "boot-0.0.2"]
    );
}

#[test]
fn a_pipelined_request_behind_one_that_died_with_its_worker_still_runs() {
    let mut site = Site::new(2);
    site.request(7, "GET /users/1");
    site.request(7, "GET /users/2");
    site.die(FIRST, 1);
    assert_eq!(site.statuses(7), [502]);
    assert_eq!(site.jobs(1)[0].path, "/users/2");
    site.respond(SECOND, 1, "x");
    assert_eq!(site.statuses(7), [502, 200]);
    site.settles();
}

#[test]
fn a_script_that_runs_too_long_loses_its_worker_and_its_request_gets_504() {
    let mut site = Site::new(2);
    site.request(1, "GET /a");
    site.request(2, "GET /a");
    site.request(3, "GET /a");
    pulse(&mut site, FIRST, 1, 1, 1);
    let begin = site.now;
    while site.now < begin + seconds(10) {
        site.pass(millis(50));
        pulse(&mut site, FIRST, 1, 1, 1);
        if site.effects.contains(&Effect::Revoke { worker: FIRST, serial: 2 }) && site.jobs(1).len() == 1 {
            site.hub.handle_revoked(FIRST, 1, site.now);
            site.turn();
        }
    }
    assert!(site.workers[&FIRST].killed && !site.workers[&SECOND].killed);
    site.die(FIRST, 1);
    assert_eq!(site.statuses(1), [504]);
    assert_eq!(
        site.jobs(1).iter().map(|j| j.conn.as_str()).collect::<Vec<_>>(),
        ["boot-0.0.2", "boot-0.0.3"]
    );
    assert_eq!(site.hub.counters().timed_out, 1);
}

#[test]
fn a_worker_in_a_long_script_gives_back_what_it_has_not_started_and_gets_nothing_new() {
    let mut site = Site::new(2);
    for id in 1..=4 {
        site.request(id, "GET /a");
    }
    pulse(&mut site, FIRST, 1, 1, 1);
    site.pass(millis(90));
    pulse(&mut site, FIRST, 1, 1, 1);
    assert!(!site.effects.iter().any(|e| matches!(e, Effect::Revoke { .. })));
    site.pass(millis(20));
    pulse(&mut site, FIRST, 1, 1, 1);
    assert!(site.effects.contains(&Effect::Revoke { worker: FIRST, serial: 2 }));
    site.hub.handle_revoked(FIRST, 1, site.now);
    site.turn();
    assert_eq!(
        site.jobs(1).iter().map(|j| j.conn.as_str()).collect::<Vec<_>>(),
        ["boot-0.0.2", "boot-0.0.4", "boot-0.0.3"]
    );
    site.request(5, "GET /a");
    site.request(6, "GET /a");
    assert_eq!(site.jobs(0).len(), 2, "nothing new for the one that is stuck");
    // It goes on: its turn has changed.
    pulse(&mut site, FIRST, 1, 2, 0);
    site.request(7, "GET /a");
    assert_eq!(site.jobs(0).last().unwrap().conn, "boot-0.0.7");
}

#[test]
fn a_job_that_was_skipped_runs_elsewhere_and_only_once() {
    let mut site = Site::new(2);
    for id in 1..=2 {
        site.request(id, "GET /a");
    }
    site.request(3, "GET /a");
    site.act(FIRST, &[Action::Skipped { serial: 3 }, Action::Skipped { serial: 9 }]);
    site.act(FIRST, &[Action::Skipped { serial: 2 }, Action::Skipped { serial: 2 }]);
    let carriers: Vec<_> = site
        .workers
        .values()
        .flat_map(|w| &w.jobs)
        .filter(|j| j.conn == "boot-0.0.3")
        .map(|j| j.serial)
        .collect();
    assert_eq!(carriers, [2, 3], "once before it was skipped and once after");
    site.respond(FIRST, 2, "late");
    assert!(site.statuses(3).is_empty());
    site.respond(FIRST, 3, "x");
    assert_eq!(site.answers(3), [(200, "x".to_owned())]);
}

#[test]
fn jobs_skipped_together_keep_their_order() {
    let limits = Limits { worker_jobs: 3, ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    for id in 1..=3 {
        site.request(id, "GET /a");
    }
    site.act(FIRST, &[1, 2, 3].map(|serial| Action::Skipped { serial }));
    let conns: Vec<_> = site.jobs(0)[3..].iter().map(|job| job.conn.as_str()).collect();
    assert_eq!(conns, ["boot-0.0.1", "boot-0.0.2", "boot-0.0.3"]);
}

#[test]
fn answers_to_jobs_that_never_were_are_counted_and_dropped() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    for serial in [0, 2, u64::MAX] {
        site.respond(FIRST, serial, "nonsense");
    }
    site.respond(FIRST, 1, "x");
    site.respond(FIRST, 1, "again");
    assert_eq!(site.answers(1), [(200, "x".to_owned())]);
    assert_eq!(site.hub.counters().answers_too_late, 4);
    site.settles();
}

#[test]
fn a_batch_that_makes_no_sense_is_an_error_and_what_came_before_it_is_done() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    let mut batch = Vec::new();
    let answer = Action::Respond { serial: 1, status: 200, head: b"", body: b"x" };
    crate::worker::protocol::encode_action(&mut batch, &answer);
    batch.extend_from_slice(&[77, 0, 0, 0, 0]);
    assert!(site.hub.handle_batch(FIRST, &batch, site.now).is_err());
    assert!(site.hub.handle_batch(FIRST, &[3, 9, 0, 0, 0], site.now).is_err());
    site.turn();
    assert_eq!(site.answers(1), [(200, "x".to_owned())]);
}

#[test]
fn an_http_request_that_its_worker_calls_done_still_gets_an_answer() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    site.request(1, "GET /users/2");
    site.act(FIRST, &[Action::Done { serial: 1 }]);
    site.respond(FIRST, 2, "x");
    assert_eq!(site.statuses(1), [500, 200]);
}

#[test]
fn a_worker_that_dies_at_once_is_replaced_ever_more_slowly_and_clients_are_told() {
    let mut site = Site::new(1);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let worker = *site.workers.keys().next().unwrap();
        let (before, died_at) = (site.effects.len(), site.now);
        site.die(worker, 0);
        while site.started_since(before).is_empty() {
            site.pass(millis(1));
        }
        pauses.push((site.now - died_at).as_millis());
    }
    assert_eq!(pauses, [0, 50, 100, 200, 400, 800, 1600, 3200, 5000]);
    site.request(1, "GET /a");
    site.die(*site.workers.keys().next().unwrap(), 0);
    site.request(2, "GET /a");
    assert_eq!((site.statuses(1), site.statuses(2)), (vec![503], vec![503]), "nobody will run them soon");
    site.pass(seconds(6));
    let worker = *site.workers.keys().next().unwrap();
    site.ready(worker, &registration());
    site.request(3, "GET /a");
    site.respond(worker, 1, "x");
    assert_eq!(site.statuses(3), [200]);
}

#[test]
fn one_worker_leads_and_its_heir_takes_over() {
    let mut site = Site::new(3);
    assert_eq!(site.workers.values().map(|w| w.lead).collect::<Vec<_>>(), [true, false, false]);
    site.die(FIRST, 0);
    assert_eq!(site.workers.values().filter(|w| w.lead).count(), 1);
}

#[test]
fn a_process_that_cannot_be_started_is_tried_again() {
    let mut site = Site::new(1);
    site.pass(seconds(1));
    let before = site.effects.len();
    site.die(FIRST, 0);
    let worker = site.started_since(before)[0];
    site.workers.remove(&worker);
    let before = site.effects.len();
    site.hub.handle_start_failed(worker, "out of memory", site.now);
    site.hub.finish_turn(site.now);
    let effects: Vec<_> = std::iter::from_fn(|| site.hub.poll_effect()).collect();
    assert!(matches!(effects[..], [Effect::KillWorker(_), ..]));
    site.effects.extend(effects.into_iter().filter(|e| matches!(e, Effect::StartWorker { .. })));
    site.pass(seconds(1));
    assert_eq!(site.started_since(before).len(), 1);
}

fn pass(serial: u64, worker: u32) -> Action<'static> {
    Action::Pass { serial, worker, status: 410, head: b"", body: b"over" }
}

#[test]
fn a_job_that_is_passed_runs_where_it_belongs() {
    let mut site = Site::new(2);
    site.request(7, "GET /users/1");
    site.act(FIRST, &[pass(1, 2)]);
    assert_eq!(site.jobs(1).last().map(|job| job.path.as_str()), Some("/users/1"));
    // It was not lost with the one that passed it, and what that says of it now means nothing.
    site.respond(FIRST, 1, "late");
    assert!(site.statuses(7).is_empty());
    site.respond(SECOND, 1, "here");
    assert_eq!(site.answers(7), [(200, "here".to_owned())]);
    site.settles();
}

#[test]
fn a_job_that_is_passed_to_nobody_gets_the_answer_that_came_along() {
    let mut site = Site::new(2);
    for (id, worker) in [(7, 3), (8, 0), (9, 1)] {
        site.request(id, "GET /users/1");
        // The first worker has all of them: the other one stands still, and nobody passes to himself.
        let serial = *site.serials(0).last().unwrap();
        site.act(FIRST, &[pass(serial, worker)]);
        assert_eq!(site.answers(u32::try_from(id).unwrap()), [(410, "over".to_owned())]);
    }
    site.die(SECOND, 0);
    site.request(10, "GET /users/1");
    let serial = *site.serials(0).last().unwrap();
    site.act(FIRST, &[pass(serial, 2)]);
    assert_eq!(site.statuses(10), [410]);
    site.settles();
}

#[test]
fn a_passed_job_whose_worker_dies_before_it_begins_runs_elsewhere_and_later_gets_502() {
    let mut site = Site::new(2);
    site.request(7, "GET /users/1");
    site.act(FIRST, &[pass(1, 2)]);
    site.die(SECOND, 0);
    assert_eq!(site.jobs(0).last().map(|job| job.serial), Some(2));
    site.die(FIRST, 2);
    assert_eq!(site.statuses(7), [502]);
    site.settles();
}

#[test]
fn a_job_that_is_passed_in_the_middle_of_its_answer_is_cut_short() {
    let mut site = Site::new(2);
    site.request(7, "GET /users/1");
    site.act(FIRST, &[Action::Begin { serial: 1, status: 200, head: b"" }, pass(1, 2)]);
    assert!(site.closed(7) && site.jobs(1).is_empty());
    site.settles();
}

#[test]
fn a_worker_that_begins_nothing_gives_its_jobs_to_others_and_is_replaced() {
    let mut site = Site::new(2);
    site.request(1, "GET /a");
    site.request(2, "GET /a");
    site.respond(SECOND, 1, "x");
    let begin = site.now;
    let mut given_back = None;
    while !site.workers[&FIRST].killed {
        site.pass(millis(50));
        let before = site.effects.len();
        pulse(&mut site, FIRST, 0, 0, 0);
        if site.effects[before..].contains(&Effect::Revoke { worker: FIRST, serial: 1 }) {
            given_back = Some(site.now - begin);
            site.hub.handle_revoked(FIRST, 0, site.now);
            site.turn();
            assert_eq!(site.jobs(1).last().map(|job| job.conn.as_str()), Some("boot-0.0.1"));
            site.respond(SECOND, 2, "x");
        }
        assert!(site.hub.busy_workers().any(|worker| worker == FIRST), "it is watched though it has no job");
    }
    assert!(given_back.is_some_and(|time| time >= millis(1000) && time < millis(1200)), "{given_back:?}");
    let time = site.now - begin;
    assert!(time >= seconds(10) && time < millis(10_200), "{time:?}");
    site.die(FIRST, 0);
    assert_eq!((site.statuses(1), site.statuses(2)), (vec![200], vec![200]));
}

#[test]
fn a_worker_that_shows_that_it_is_alive_may_take_its_time_to_begin() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    site.request(2, "GET /a");
    for beat in 0..200 {
        pulse(&mut site, FIRST, 1, 2 * beat, 0);
        site.pass(millis(200));
    }
    assert!(!site.workers[&FIRST].killed);
    // Bytes that it sends or takes count, too.
    for _ in 0..200 {
        site.hub.handle_transfer(FIRST);
        pulse(&mut site, FIRST, 1, 0, 0);
        site.pass(millis(200));
    }
    assert!(!site.workers[&FIRST].killed);
}

#[test]
fn time_in_which_the_hub_stood_still_hangs_no_worker() {
    for (turn, running) in [(1, 1), (0, 0)] {
        let mut site = Site::new(1);
        let started = running;
        site.request(1, "GET /a");
        pulse(&mut site, FIRST, started, turn, running);
        pulse(&mut site, FIRST, started, turn, running);
        for _ in 0..20 {
            site.now += seconds(25);
            pulse(&mut site, FIRST, started, turn, running);
        }
        assert!(!site.workers[&FIRST].killed);
    }
    // Nor does it cost one that loads its time.
    let limits = Limits { load_time: seconds(10), ..Limits::default() };
    let mut site = Site::empty(limits, 1, vec![app(1)]);
    let worker = site.begin_load(APP)[0];
    site.pass(seconds(9));
    site.now += seconds(100);
    site.turn();
    site.pass(millis(500));
    assert!(!site.workers[&worker].killed);
    site.pass(seconds(1));
    assert!(site.workers[&worker].killed);
}
