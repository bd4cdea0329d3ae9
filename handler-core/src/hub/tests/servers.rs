//! A Mongrel2 that goes away, clients that do, and what comes after the end of a connection.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::hub::{Limits, LinkId};

#[test]
fn nothing_is_sent_to_the_clients_of_a_server_that_is_gone() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.request(8, "GET /a");
    site.request(8, "GET /nowhere");
    site.hub.handle_server_down(LINK, site.now);
    assert_eq!(site.hub.counters().purged, 2);
    site.hub.handle_server_up(LINK, b"");
    site.respond(FIRST, 1, "for the old seven");
    site.request(7, "GET /a");
    site.respond(FIRST, 2, "for the old eight");
    assert!(site.replies.is_empty());
    assert_eq!(site.jobs(0)[2].conn, "boot-0.1.7");
    site.respond(FIRST, 3, "for the new seven");
    assert_eq!(site.answers(7), [(200, "for the new seven".to_owned())]);
    site.settles();
}

#[test]
fn answers_of_this_turn_are_not_sent_when_the_server_goes_away_in_it() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.hub.handle_message(LINK, &mongrel2::http(Form::Json, SENDER, 8, "GET /nowhere", &[], b""), site.now);
    site.hub.handle_server_down(LINK, site.now);
    site.hub.handle_server_up(LINK, b"");
    site.request(9, "GET /a");
    assert!(site.replies.is_empty());
}

#[test]
fn one_server_that_goes_away_leaves_the_others_alone() {
    let mut site = Site::empty(Limits::default(), 2, vec![app(1)]);
    site.load(APP, &registration());
    for link in [LinkId(0), LinkId(1)] {
        site.hub.handle_server_up(link, b"");
        let sender = format!("m2-{}", link.0);
        site.hub.handle_message(link, &mongrel2::http(Form::Json, &sender, 7, "GET /a", &[], b""), site.now);
    }
    site.hub.handle_server_down(LinkId(0), site.now);
    site.turn();
    site.respond(FIRST, 1, "first");
    site.respond(FIRST, 2, "second");
    assert_eq!(site.replies.len(), 1);
    assert_eq!((site.replies[0].link, site.replies[0].sender.as_str()), (LinkId(1), "m2-1"));
    site.settles();
}

#[test]
fn messages_of_another_sender_are_refused_until_the_server_is_another() {
    let mut site = Site::new(1);
    site.request(1, "GET /nowhere");
    site.message(&mongrel2::http(Form::Json, "other", 2, "GET /nowhere", &[], b""));
    assert_eq!((site.replies.len(), site.hub.counters().refused), (1, 1));
    site.hub.handle_server_down(LINK, site.now);
    site.hub.handle_server_up(LINK, b"oth");
    site.message(&mongrel2::http(Form::Json, "other", 2, "GET /nowhere", &[], b""));
    assert_eq!((site.replies.len(), site.replies[1].sender.as_str()), (2, "other"));
}

#[test]
fn a_client_that_leaves_while_it_runs_gets_nothing_and_what_waits_is_not_run() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.request(7, "GET /users/2");
    site.disconnect(7);
    assert_eq!(site.hub.load().1, 1);
    site.respond(FIRST, 1, "x");
    assert_eq!((site.replies.len(), site.jobs(0).len()), (0, 1));
    assert_eq!(site.hub.counters().answers_too_late, 1);
    site.settles();
}

#[test]
fn a_client_that_leaves_the_queue_is_not_run() {
    let limits = Limits { worker_jobs: 1, ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    site.request(1, "GET /a");
    site.request(2, "GET /a");
    site.request(3, "GET /a");
    site.disconnect(2);
    site.disconnect(2);
    site.respond(FIRST, 1, "x");
    assert_eq!(site.jobs(0)[1].conn, "boot-0.0.3");
    site.respond(FIRST, 2, "x");
    assert!(site.statuses(2).is_empty());
    site.settles();
}

#[test]
fn the_job_of_a_client_that_left_is_not_run_again_when_its_worker_dies() {
    let mut site = Site::new(2);
    site.request(1, "GET /a");
    site.disconnect(1);
    site.die(FIRST, 0);
    assert!(site.jobs(1).is_empty() && site.replies.is_empty());
    site.settles();
}

#[test]
fn what_was_under_way_on_a_closed_connection_is_ignored() {
    let mut site = Site::new(1);
    site.request_with(7, "GET /nowhere", &[("connection", "close")]);
    site.request(7, "GET /a");
    site.json(7, "{}");
    site.pass(seconds(1));
    site.request(7, "GET /a");
    site.disconnect(7);
    assert_eq!((site.statuses(7), site.jobs(0).len()), (vec![404], 0));
    assert!(site.closed(7));
    site.settles();
}

#[test]
fn a_connection_between_two_requests_costs_nothing() {
    let mut site = Site::new(1);
    for id in 1..=100 {
        site.request(id, "GET /nowhere");
    }
    assert_eq!(site.hub.load(), (100, 0));
    site.pass(seconds(2));
    assert_eq!(site.hub.load(), (0, 0));
    assert_eq!(site.hub.next_timeout(), None, "and nobody has to wake up for it");
}

#[test]
fn a_refused_message_behind_a_running_request_is_answered_in_its_turn() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.request(7, "JSON /a");
    site.request(7, "GET /a");
    assert!(site.statuses(7).is_empty());
    site.respond(FIRST, 1, "x");
    assert_eq!((site.statuses(7), site.closed(7)), (vec![200, 400], true));
    site.settles();
}

#[test]
fn a_socket_message_behind_a_running_request_closes_after_its_answer() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.request(7, "GET /users/2");
    site.json(7, "{}");
    site.request(7, "GET /a");
    site.respond(FIRST, 1, "x");
    site.respond(FIRST, 2, "x");
    assert_eq!((site.statuses(7), site.closed(7)), (vec![200, 200], true));
    site.settles();
}

#[test]
fn a_client_cannot_make_the_hub_remember_more_than_its_pipeline() {
    let limits = Limits { pipeline: 4, ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    site.request(7, "GET /a");
    for _ in 0..100 {
        site.request(7, "JSON /a");
    }
    assert!(site.hub.load().1 <= 6, "{} requests", site.hub.load().1);
    site.disconnect(7);
    site.respond(FIRST, 1, "x");
    site.settles();
}
