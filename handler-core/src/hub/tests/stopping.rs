//! A stop: what runs may finish, nothing new begins, and it ends in time.

use super::site::*;
use crate::hub::{Effect, Limits};

fn stopped(site: &Site) -> usize {
    site.effects.iter().filter(|e| **e == Effect::Stopped).count()
}

#[test]
fn an_idle_site_stops_when_its_workers_have_ended() {
    let mut site = Site::new(2);
    site.hub.begin_stop(site.now);
    site.turn();
    assert!(site.workers.values().all(|w| w.stop) && stopped(&site) == 0);
    site.die(FIRST, 0);
    assert_eq!(stopped(&site), 0);
    site.die(SECOND, 0);
    site.pass(seconds(60));
    assert_eq!(stopped(&site), 1);
    assert!(site.workers.is_empty(), "nobody is started any more");
}

#[test]
fn what_runs_and_what_waits_is_answered_and_closed() {
    let limits = Limits { worker_jobs: 1, ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    site.request(1, "GET /a");
    site.request(2, "GET /a");
    site.hub.begin_stop(site.now);
    site.request(3, "GET /a");
    assert_eq!((site.statuses(3), site.closed(3)), (vec![503], true));
    assert!(!site.workers[&FIRST].stop, "a request still waits for it");
    site.respond(FIRST, 1, "one");
    site.respond(FIRST, 2, "two");
    site.pass(millis(100));
    assert!(site.workers[&FIRST].stop);
    assert!((1..=2).all(|id| site.statuses(id) == [200] && site.closed(id)));
    site.die(FIRST, 2);
    assert_eq!(stopped(&site), 1);
}

#[test]
fn work_that_outlives_stop_time_gets_502_and_its_worker_has_hook_time_to_end() {
    let limits = Limits { stop_time: seconds(2), hook_time: seconds(1), ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    site.request(1, "GET /a");
    site.request(1, "GET /a");
    site.hub.begin_stop(site.now);
    site.pass(millis(1900));
    assert!(!site.workers[&FIRST].stop, "another request waits for it");
    site.pass(millis(200));
    assert!(site.workers[&FIRST].stop && !site.workers[&FIRST].killed, "it may run its stop hooks");
    site.pass(millis(1000));
    assert!(site.workers[&FIRST].killed);
    site.die(FIRST, 1);
    assert_eq!((site.statuses(1), site.closed(1), stopped(&site)), (vec![502], true, 1));
}

#[test]
fn requests_that_come_while_it_stops_are_told_so() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    site.hub.begin_stop(site.now);
    site.request(2, "GET /a");
    assert_eq!(site.statuses(2), [503]);
    let text = site.text(2);
    assert!(text.contains("the server is stopping") && text.contains("\r\nRetry-After: 1\r\n"), "{text}");
    // Requests that waited for a worker which died get the same words.
    site.turn();
    site.die(FIRST, 0);
    site.pass(seconds(20));
    assert!(site.text(1).contains("the server is stopping"), "{}", site.text(1));
}

#[test]
fn a_second_wish_to_stop_kills_at_once() {
    let mut site = Site::new(2);
    site.request(1, "GET /a");
    site.hub.begin_stop(site.now);
    site.hub.stop_at_once();
    site.turn();
    assert!(site.workers.values().all(|w| w.killed));
}

#[test]
fn a_reload_that_is_under_way_is_given_up() {
    let mut site = Site::new(1);
    let new = site.begin_load(APP);
    site.hub.begin_stop(site.now);
    site.turn();
    assert!(site.workers[&new[0]].killed);
    site.die(new[0], 0);
    site.die(FIRST, 0);
    assert_eq!(stopped(&site), 1);
    assert!(!site.effects.iter().any(|e| matches!(e, Effect::AppFailed(..))));
}

#[test]
fn what_nobody_will_run_any_more_is_told_so_before_the_end() {
    let mut site = Site::new(1);
    // It dies at once, twice: its replacement has to wait.
    site.die(FIRST, 0);
    site.request(1, "GET /a");
    site.die(FIRST, 0);
    assert!(site.statuses(1).is_empty());
    site.hub.begin_stop(site.now);
    site.turn();
    site.pass(seconds(20));
    assert_eq!((site.statuses(1), stopped(&site)), (vec![503], 1));
}

#[test]
fn a_request_that_a_dying_worker_leaves_during_a_stop_is_answered() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    site.hub.begin_stop(site.now);
    site.turn();
    site.die(FIRST, 0);
    site.pass(seconds(20));
    assert_eq!((site.statuses(1), stopped(&site)), (vec![503], 1));
}

#[test]
fn the_end_waits_for_bytes_that_wait_for_their_window() {
    let mut site = Site::new(1);
    for _ in 0..8 {
        site.request(7, "GET /nowhere");
    }
    site.request(7, "GET /a");
    site.hub.begin_stop(site.now);
    site.respond(FIRST, 1, "the ninth message");
    site.die(FIRST, 1);
    site.pass(millis(100));
    assert_eq!(stopped(&site), 1);
    assert_eq!(site.statuses(7).last(), Some(&200), "nothing is sent once the loop has ended");
    let end = site.effects.iter().position(|e| *e == Effect::Stopped);
    assert!(end.is_some());
}
