//! Who is next: pipelining, the choice of a worker, queues and deadlines.

use super::site::*;
use crate::hub::Limits;
use crate::worker::protocol::Action;

#[test]
fn requests_of_one_connection_run_one_at_a_time_and_are_answered_in_order() {
    let mut site = Site::new(2);
    for line in ["GET /users/1", "GET /nowhere", "GET /users/2", "OPTIONS /a", "GET /users/3"] {
        site.request(7, line);
    }
    assert_eq!(site.jobs(0).len() + site.jobs(1).len(), 1);
    assert!(site.statuses(7).is_empty());
    for turn in 1..=3 {
        let worker = if site.jobs(0).last().is_some_and(|j| j.path == format!("/users/{turn}")) {
            FIRST
        } else {
            SECOND
        };
        let job = site.workers[&worker].jobs.last().unwrap().clone();
        assert_eq!(job.path, format!("/users/{turn}"));
        site.respond(worker, job.serial, &job.path);
    }
    let answers = site.answers(7);
    assert_eq!(answers.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [200, 404, 200, 204, 200]);
    assert_eq!((answers[0].1.as_str(), answers[2].1.as_str()), ("/users/1", "/users/2"));
    site.settles();
}

#[test]
fn nothing_behind_a_close_is_run_or_answered() {
    let mut site = Site::new(1);
    site.request_with(7, "GET /a", &[("connection", "close")]);
    site.request(7, "GET /a");
    site.respond(FIRST, 1, "x");
    site.request(7, "GET /a");
    assert_eq!((site.statuses(7), site.closed(7), site.jobs(0).len()), (vec![200], true, 1));
    site.settles();
}

#[test]
fn a_script_that_says_connection_close_is_believed() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.request(7, "GET /a");
    site.act(FIRST, &[Action::Respond { serial: 1, status: 200, head: b"connection: close\r\n", body: b"" }]);
    assert_eq!((site.statuses(7), site.closed(7), site.jobs(0).len()), (vec![200], true, 1));
    site.settles();
}

#[test]
fn a_connection_that_pipelines_too_much_gets_503_in_its_turn_and_is_closed() {
    let limits = Limits { pipeline: 3, ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    for _ in 0..10 {
        site.request(7, "GET /a");
    }
    assert_eq!(site.hub.load().1, 5, "one runs, three wait, and the 503");
    for serial in 1..=4 {
        site.respond(FIRST, serial, "x");
    }
    assert_eq!((site.statuses(7), site.closed(7)), (vec![200, 200, 200, 200, 503], true));
    assert!(site.text(7).contains("Retry-After: 1\r\n"));
    site.settles();
}

#[test]
fn the_worker_with_the_fewest_unanswered_jobs_gets_the_next() {
    let mut site = Site::new(3);
    for id in 1..=7 {
        site.request(id, "GET /a");
    }
    assert_eq!([0, 1, 2].map(|worker| site.jobs(worker).len()), [3, 2, 2]);
    site.respond(SECOND, 1, "x");
    site.respond(SECOND, 2, "x");
    site.request(8, "GET /a");
    site.request(9, "GET /a");
    assert_eq!([0, 1, 2].map(|worker| site.jobs(worker).len()), [3, 4, 2]);
}

#[test]
fn a_request_without_an_answer_in_time_gets_504_and_the_late_answer_is_dropped() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.request(7, "GET /users/2");
    site.pass(seconds(29));
    assert!(site.statuses(7).is_empty());
    site.pass(millis(1100));
    // The second one came as early, and has had no better luck.
    assert_eq!((site.statuses(7), site.closed(7)), (vec![504, 504], false));
    site.respond(FIRST, 1, "late");
    assert_eq!(site.statuses(7), [504, 504]);
    assert_eq!((site.hub.counters().timed_out, site.hub.counters().answers_too_late), (2, 1));
    site.request(7, "GET /a");
    let serial = site.jobs(0).last().unwrap().serial;
    site.respond(FIRST, serial, "in time");
    assert_eq!(site.statuses(7), [504, 504, 200]);
    site.settles();
}

#[test]
fn a_request_that_waits_for_a_worker_has_a_deadline_too() {
    let limits = Limits { worker_jobs: 1, ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    site.request(1, "GET /a");
    site.request(2, "GET /a");
    site.pass(seconds(31));
    assert_eq!((site.statuses(1), site.statuses(2)), (vec![504], vec![504]));
    assert_eq!(site.jobs(0).len(), 1, "an expired request is not run");
    site.settles();
}

#[test]
fn a_full_queue_answers_503_and_says_when_to_come_again() {
    let limits = Limits { worker_jobs: 1, queue: 2, ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    for id in 1..=4 {
        site.request(id, "GET /a");
    }
    assert_eq!(site.statuses(4), [503]);
    assert!(site.text(4).contains("Retry-After: 1\r\n"));
    for serial in 1..=3 {
        site.respond(FIRST, serial, "x");
    }
    assert_eq!([1, 2, 3].map(|id| site.statuses(id)), [[200], [200], [200]]);
    let paths: Vec<_> = site.jobs(0).iter().map(|job| job.conn.clone()).collect();
    assert_eq!(paths, ["boot-0.0.1", "boot-0.0.2", "boot-0.0.3"]);
    site.settles();
}
