//! New code beside the old.

use super::site::*;
use crate::hub::{Effect, Limits, WorkerId};
use crate::worker::protocol::{Action, LoadFailure, Registration};

fn newer() -> Registration {
    let mut newer = registration();
    newer.routes.push(route(&["GET"], "/new", 3));
    newer
}

#[test]
fn the_old_workers_go_on_until_all_new_ones_are_ready() {
    let mut site = Site::new(2);
    let new = site.begin_load(APP);
    assert_eq!(new.len(), 2);
    site.ready(new[0], &newer());
    site.request(1, "GET /a");
    assert_eq!((site.jobs(0).len(), site.workers[&new[0]].jobs.len()), (1, 0));
    site.request(2, "GET /new");
    assert_eq!(site.statuses(2), [404]);
    site.ready(new[1], &newer());
    assert!(site.effects.contains(&Effect::AppReady(APP)));
    assert!(site.workers[&FIRST].stop && site.workers[&SECOND].stop);
    site.request(3, "GET /new");
    assert_eq!(site.workers[&new[0]].jobs[0].path, "/new");
    assert_eq!(site.workers.values().filter(|w| w.lead).count(), 2, "the old leader has been told to stop");
    // What the old one was running it may finish.
    site.respond(FIRST, 1, "old");
    assert_eq!(site.answers(1), [(200, "old".to_owned())]);
    site.die(FIRST, 1);
    site.die(SECOND, 0);
    site.pass(seconds(20));
    assert_eq!(site.workers.keys().copied().collect::<Vec<_>>(), new, "nobody takes the place of the old");
}

#[test]
fn code_that_does_not_load_changes_nothing() {
    let mut site = Site::new(2);
    let new = site.begin_load(APP);
    site.ready(new[0], &newer());
    let failure = LoadFailure { message: "no".into(), ..LoadFailure::default() };
    site.act(new[1], &[Action::Failed(failure.clone())]);
    assert!(site.effects.contains(&Effect::AppFailed(APP, failure)));
    assert!(new.iter().all(|worker| site.workers[worker].killed));
    new.iter().for_each(|worker| site.die(*worker, 0));
    site.request(1, "GET /a");
    site.respond(FIRST, 1, "x");
    assert_eq!(site.statuses(1), [200]);
    site.pass(seconds(20));
    assert_eq!(site.workers.len(), 2);
}

#[test]
fn code_that_never_gets_ready_is_given_up() {
    let mut site = Site::new(1);
    let new = site.begin_load(APP);
    site.pass(seconds(31));
    assert!(site.workers[&new[0]].killed);
    site.die(new[0], 0);
    let said = |e: &Effect| matches!(e, Effect::AppFailed(_, f) if f.message.contains("did not load within"));
    assert_eq!(site.effects.iter().filter(|e| said(e)).count(), 1);
    assert!(!site.workers[&FIRST].stop);
}

#[test]
fn a_worker_that_dies_while_it_loads_takes_the_new_code_with_it() {
    let mut site = Site::new(2);
    let new = site.begin_load(APP);
    site.ready(new[1], &newer());
    site.die(new[0], 0);
    assert!(site.workers[&new[1]].killed);
    assert_eq!(site.effects.iter().filter(|e| matches!(e, Effect::AppFailed(..))).count(), 1);
}

#[test]
fn a_second_reload_replaces_the_first() {
    let mut site = Site::new(1);
    let first = site.begin_load(APP);
    let second = site.begin_load(APP);
    assert!(site.workers[&first[0]].killed);
    site.act(first[0], &[Action::Ready(newer())]);
    site.die(first[0], 0);
    site.ready(second[0], &registration());
    let last = site.effects.last().unwrap();
    assert_eq!(*last, Effect::AppReady(APP));
    assert!(!site.effects.iter().any(|e| matches!(e, Effect::AppFailed(..))));
}

#[test]
fn a_replacement_that_registers_something_else_makes_all_load_anew() {
    let mut site = Site::new(2);
    site.pass(seconds(1));
    let before = site.effects.len();
    site.die(FIRST, 0);
    let replacement = site.started_since(before)[0];
    let before = site.effects.len();
    site.ready(replacement, &newer());
    assert!(site.workers[&replacement].killed);
    let new = site.started_since(before);
    assert_eq!(new.len(), 2);
    site.request(1, "GET /a");
    assert_eq!(site.jobs(1).len(), 1, "the old code answers meanwhile");
    site.die(replacement, 0);
    new.iter().for_each(|worker| site.ready(*worker, &newer()));
    site.request(2, "GET /new");
    assert_eq!(site.workers[&new[0]].jobs.len(), 1);
}

#[test]
fn new_workers_that_disagree_about_the_routes_do_not_serve_together() {
    let mut site = Site::new(2);
    let new = site.begin_load(APP);
    let mut other = registration();
    other.routes[0].handler = 1;
    other.routes[1].handler = 0;
    site.ready(new[0], &registration());
    site.ready(new[1], &other);
    assert!(!site.workers[&FIRST].stop, "handler 0 of one worker is handler 1 of the other");
}

#[test]
fn routes_that_cannot_be_served_are_a_failure_to_load() {
    let mut site = Site::new(1);
    let mut bad = registration();
    bad.routes.push(route(&["GET"], "/users/{other}", 9));
    let new = site.load(APP, &bad);
    assert!(matches!(site.effects.last(), Some(Effect::AppFailed(..))));
    assert!(site.workers[&new[0]].killed);
    site.request(1, "GET /a");
    assert_eq!(site.jobs(0).len(), 1);
}

#[test]
fn an_old_worker_that_does_not_end_is_killed_in_time() {
    let limits = Limits { stop_time: seconds(2), hook_time: seconds(1), ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    site.request(1, "GET /a");
    site.load(APP, &registration());
    site.pass(millis(2900));
    assert!(!site.workers[&FIRST].killed);
    site.pass(millis(200));
    assert!(site.workers[&FIRST].killed);
    site.die(FIRST, 1);
    assert_eq!(site.statuses(1), [502]);
}

#[test]
fn a_number_that_is_used_again_is_another_worker() {
    let mut site = Site::new(1);
    site.pass(seconds(1));
    site.request(1, "GET /a");
    let before = site.effects.len();
    site.die(FIRST, 1);
    assert_eq!(site.started_since(before), [WorkerId(0)]);
    site.ready(FIRST, &registration());
    site.request(2, "GET /a");
    site.respond(FIRST, 1, "x");
    assert_eq!((site.statuses(1), site.statuses(2)), (vec![502], vec![200]));
}
