//! Section 13, and how we end a session.

use super::*;

#[test]
fn section_13_a_client_may_end_the_session_at_any_time() {
    let mut talk = Talk::new();
    talk.say(101, "type='terminate'", "");
    assert_eq!(talk.ended, Some(End::Client));
    let mut busy = Talk::open("hold='2' wait='60'");
    busy.ask(101);
    busy.ask(102);
    busy.say(103, "type='terminate'", "");
    assert_eq!(busy.ended, Some(End::Client));
}

#[test]
fn section_13_the_payloads_of_the_last_request_must_be_forwarded() {
    let mut talk = Talk::new();
    talk.say(101, "type='terminate'", "<presence/>");
    assert_eq!(talk.heard, ["<presence/>"]);
}

#[test]
fn section_13_the_oldest_request_should_be_answered_with_terminate_and_the_others_empty() {
    let mut talk = Talk::open("hold='2' wait='60'");
    talk.ask(101);
    talk.ask(102);
    talk.say(103, "type='terminate'", "");
    assert_eq!(talk.answers(), of([(101, TERMINATE), (102, EMPTY), (103, EMPTY)]));
}

#[test]
fn section_13_the_end_waits_for_what_was_sent_before_it() {
    let mut talk = Talk::new();
    talk.say(102, "type='terminate'", "<b/>");
    assert_eq!(talk.ended, None);
    talk.say(101, "", "<a/>");
    assert_eq!(talk.heard, ["<a/>", "<b/>"]);
    assert_eq!(talk.answers(), of([(101, TERMINATE), (102, EMPTY)]));
    assert_eq!(talk.ended, Some(End::Client));
}

#[test]
fn we_end_a_session_with_its_last_messages() {
    let mut talk = Talk::new();
    talk.send("<a/>");
    talk.send("<b/>");
    talk.close(None);
    assert_eq!(talk.ended, None, "no request is there to say so");
    assert!(!talk.session.send(b"<c/>"[..].into(), talk.now));
    talk.say(101, "", "<ignored/>");
    assert_eq!(talk.answers(), of([(101, "<body type=\"terminate\"><a/><b/></body>")]));
    assert_eq!(talk.ended, Some(End::Closed));
    assert!(talk.heard.is_empty());
}

#[test]
fn when_we_end_a_session_requests_that_wait_are_answered_at_once() {
    let mut talk = Talk::open("hold='2' wait='60'");
    talk.ask(101);
    talk.ask(102);
    talk.close(None);
    talk.close(None);
    assert_eq!(talk.answers(), of([(101, TERMINATE), (102, EMPTY)]));
    assert_eq!(talk.ended, Some(End::Closed));
}

#[test]
fn who_does_not_come_to_hear_of_the_end_is_waited_for_no_longer_than_for_others() {
    let mut talk = Talk::new();
    talk.ask(101);
    talk.gone(101);
    talk.close(Some(Condition::SystemShutdown));
    assert_eq!(talk.ended, None);
    talk.pass(30.1);
    assert_eq!(talk.ended, Some(End::Closed));
    assert!(talk.answers().is_empty());
}

#[test]
fn the_news_of_the_end_goes_to_a_repeated_request_too() {
    let mut talk = Talk::new();
    talk.ask(101);
    talk.gone(101);
    talk.close(Some(Condition::SystemShutdown));
    talk.say_by(7, 101, "", "");
    assert_eq!(talk.answers(), of([(7, "<body type=\"terminate\" condition=\"system-shutdown\"/>")]));
}

#[test]
fn a_client_that_comes_too_often_hears_of_our_end_all_the_same() {
    let mut talk = Talk::open("hold='0' wait='0' ver='1.11'");
    talk.ask(101);
    talk.answers();
    talk.close(None);
    talk.ask(102);
    assert_eq!(talk.answers(), of([(102, TERMINATE)]));
    assert_eq!(talk.ended, Some(End::Closed));
}
