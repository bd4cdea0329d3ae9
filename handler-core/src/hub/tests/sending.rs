//! Never more to a connection than Mongrel2 bears.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::worker::protocol::Action;
use std::time::Duration;

/// Ten requests a millisecond from one connection, answered at once: how many messages it got in
/// the worst ten milliseconds.
fn worst_window(site: &mut Site, turns: u64, gap: Duration) -> usize {
    let mut times = Vec::new();
    for _ in 0..turns {
        let before = site.replies.len();
        site.request(7, "GET /nowhere");
        times.extend(site.replies[before..].iter().map(|_| site.now));
        site.pass(gap);
        times.resize(site.replies.len(), site.now);
    }
    times
        .iter()
        .map(|end| times.iter().filter(|t| **t <= *end && *end - **t < millis(50)).count())
        .max()
        .unwrap()
}

#[test]
fn a_connection_gets_at_most_sixteen_messages_in_any_fifty_milliseconds() {
    for gap in [0, 1, 10, 40] {
        let mut site = Site::new(1);
        let worst = worst_window(&mut site, 200, Duration::from_micros(gap));
        assert!(worst <= 16, "{worst} messages with a gap of {gap} µs");
        site.pass(millis(100));
        assert_eq!(site.statuses(7), vec![404; 200]);
        site.settles();
    }
}

#[test]
fn a_client_that_asks_again_after_each_answer_never_waits() {
    let mut site = Site::new(1);
    for n in 1..=100 {
        site.request(7, "GET /nowhere");
        assert_eq!(site.statuses(7).len(), n);
        site.now += Duration::from_micros(60);
    }
}

#[test]
fn a_client_that_pipelines_is_paced_however_far_its_requests_are_apart() {
    let mut site = Site::new(1);
    for path in ["GET /a", "GET /nowhere"] {
        site.request(7, path);
    }
    site.respond(FIRST, 1, "a");
    // Requests that Mongrel2 had at hand come one by one, as fast as it reads them.
    for _ in 0..30 {
        site.now += Duration::from_micros(60);
        site.request(7, "GET /nowhere");
    }
    assert!(site.to(7).count() <= 8, "{} messages within 2 ms", site.to(7).count());
    site.pass(millis(100));
    assert_eq!(site.statuses(7).len(), 32);
    site.settles();
}

#[test]
fn answers_of_one_turn_leave_as_one_message() {
    let mut site = Site::new(1);
    for _ in 0..40 {
        let request = mongrel2::http(Form::Json, SENDER, 7, "GET /nowhere", &[], b"");
        site.hub.handle_message(LINK, &request, site.now);
    }
    site.turn();
    assert_eq!((site.replies.len(), site.statuses(7).len()), (1, 40));
    site.settles();
}

/// A site whose server uses `download.flow_control`, with one answer of so many bytes sent.
fn flow_control(bytes: usize, more: &[(&str, &str)]) -> Site {
    let mut site = Site::new(1);
    let headers = [&[("DOWNLOAD_CREDITS", "102400")], more].concat();
    site.request_with(7, "GET /a", &headers);
    site.respond(FIRST, 1, &"x".repeat(bytes));
    site
}

#[test]
fn under_flow_control_a_big_body_is_split_and_never_runs_ahead() {
    let mut site = flow_control(1_000_000, &[("connection", "close")]);
    let mut granted = 102_400;
    for reported in 0..1000 {
        assert!(site.sent(7).len() <= granted);
        let Some(size) = site.to(7).nth(reported).map(|r| r.payload.len()).filter(|n| *n > 0) else { break };
        granted += size;
        site.credits(7, size);
    }
    assert_eq!(site.answers(7)[0].1.len(), 1_000_000);
    assert!(site.closed(7), "closed after the last byte");
    site.settles();
}

#[test]
fn a_credit_that_is_too_large_is_no_overdraft() {
    let mut site = flow_control(1_000_000, &[]);
    site.credits(7, usize::MAX);
    site.turn();
    assert_eq!(site.sent(7).len(), 204_800);
}

#[test]
fn a_close_needs_no_credits() {
    let around = flow_control(100_000, &[("connection", "close")]).sent(7).len() - 100_000;
    let site = flow_control(102_400 - around, &[("connection", "close")]);
    assert_eq!(site.sent(7).len(), 102_400, "the credits are used up");
    assert!(site.closed(7));
}

#[test]
fn a_connection_that_never_reports_is_forgotten_after_mongrel2_dropped_it() {
    let mut site = flow_control(100, &[]);
    site.pass(seconds(100));
    assert_eq!(site.hub.load(), (1, 0), "it may still owe credits");
    site.pass(seconds(60));
    assert_eq!(site.hub.load(), (0, 0));
}

#[test]
fn a_client_that_dies_without_notice_in_the_middle_of_a_body_is_forgotten_too() {
    let mut site = flow_control(1_000_000, &[]);
    site.request(7, "GET /a");
    site.pass(seconds(300));
    assert_eq!(site.hub.load(), (0, 0), "many deaths bring no notice");
}

#[test]
fn credits_of_connections_that_nobody_knows_are_harmless() {
    let mut site = Site::new(1);
    site.credits(99, 1000);
    site.disconnect(99);
    assert_eq!(site.hub.load(), (0, 0));
    assert!(site.replies.is_empty());
}

#[test]
fn an_empty_answer_is_no_close() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    site.act(FIRST, &[Action::Respond { serial: 1, status: 204, head: b"", body: b"" }]);
    assert!(!site.closed(1));
    assert_eq!(site.statuses(1), [204]);
}

#[test]
fn a_close_that_has_to_wait_for_its_window_is_sent_in_the_end() {
    for gap in [0, 10, 500, 1100] {
        let mut site = Site::new(1);
        for n in 0..8 {
            let more: &[_] = if n == 7 { &[("connection", "close")] } else { &[] };
            site.request_with(7, "GET /nowhere", more);
            site.pass(Duration::from_micros(gap));
        }
        // A loop that wakes up late.
        site.now += millis(25);
        site.turn();
        site.pass(millis(100));
        assert!(site.closed(7), "gap {gap} µs");
        site.settles();
    }
}

#[test]
fn without_flow_control_a_large_response_is_a_few_messages() {
    let mut site = Site::new(1);
    site.request(7, "GET /a");
    site.respond(FIRST, 1, &"x".repeat(40_000_000));
    site.pass(millis(60));
    assert_eq!(site.answers(7)[0].1.len(), 40_000_000);
    assert_eq!(site.to(7).count(), 4);
    site.settles();
}
