//! Section 10.

use super::*;

#[test]
fn section_10_a_client_without_requests_should_be_taken_for_gone_after_the_inactivity_period() {
    let mut talk = Talk::open("hold='1' wait='10'");
    talk.ask(101);
    talk.pass(10.0);
    assert_eq!(talk.answers(), of([(101, EMPTY)]));
    talk.pass(29.9);
    assert_eq!(talk.ended, None);
    talk.pass(0.2);
    assert_eq!(talk.ended, Some(End::Inactive));
    assert!(talk.answers().is_empty(), "without informing the client");
}

#[test]
fn section_10_one_that_never_asks_is_gone_too() {
    let mut talk = Talk::new();
    talk.pass(30.1);
    assert_eq!(talk.ended, Some(End::Inactive));
    assert_eq!(talk.session.next_timeout(), None);
}

#[test]
fn section_10_while_a_request_is_held_nobody_is_inactive() {
    let mut talk = Talk::new();
    talk.ask(101);
    talk.pass(59.9);
    assert_eq!(talk.ended, None);
}

#[test]
fn section_10_a_later_request_should_be_answered_as_if_there_were_no_session() {
    let mut talk = Talk::new();
    talk.pass(31.0);
    talk.ask(101);
    assert_eq!(talk.answers(), of([(101, NOT_FOUND)]));
}

#[test]
fn section_10_without_a_period_a_client_should_be_allowed_any_inactivity() {
    let settings = Settings { inactivity: 0, ..Settings::default() };
    let (mut talk, answer) = Talk::answered(&settings, "hold='1' wait='60' ver='1.11'").unwrap();
    assert!(!answer.contains("inactivity"));
    talk.pass(1e6);
    assert_eq!(talk.ended, None);
    // But not a session that we ended.
    talk.close(None);
    talk.pass(61.0);
    assert_eq!(talk.ended, Some(End::Closed));
}

#[test]
fn section_10_the_period_should_be_short_unless_the_session_polls() {
    let period = |attributes| Talk::answered(&Settings::default(), attributes).unwrap().1;
    assert!(period("hold='1' wait='60'").contains(" inactivity=\"30\""));
    assert!(period("hold='0' wait='60'").contains(" inactivity=\"40\""));
}

#[test]
fn section_10_a_pause_should_answer_all_requests_and_lengthen_the_period() {
    let mut talk = Talk::open("hold='2' wait='60' ver='1.11'");
    talk.ask(101);
    talk.ask(102);
    talk.say(103, "pause='100'", "");
    assert_eq!(talk.answers(), of([(101, EMPTY), (102, EMPTY), (103, EMPTY)]));
    talk.pass(99.9);
    assert_eq!(talk.ended, None);
    talk.pass(0.2);
    assert_eq!(talk.ended, Some(End::Inactive));
}

#[test]
fn section_10_a_pause_longer_than_offered_is_none() {
    let mut talk = Talk::new();
    talk.say(101, "pause='121'", "");
    assert!(talk.answers().is_empty());
    let settings = Settings { max_pause: 0, ..Settings::default() };
    let (mut talk, _) = Talk::answered(&settings, "hold='1' wait='60'").unwrap();
    talk.say(101, "pause='1'", "");
    assert!(talk.answers().is_empty());
}

#[test]
fn section_10_the_answer_to_a_pause_must_not_have_payloads() {
    let mut talk = Talk::new();
    talk.send("<a/>");
    talk.say(101, "pause='60'", "<b/>");
    assert_eq!(talk.answers(), of([(101, EMPTY)]));
    assert_eq!(talk.heard, ["<b/>"]);
    talk.ask(102);
    assert_eq!(talk.answers(), of([(102, "<body><a/></body>")]));
}

#[test]
fn section_10_a_pause_may_shorten_the_period() {
    let mut talk = Talk::new();
    talk.say(101, "pause='3'", "");
    talk.pass(3.1);
    assert_eq!(talk.ended, Some(End::Inactive));
}

#[test]
fn section_10_the_next_request_should_set_the_period_back() {
    let mut talk = Talk::open("hold='1' wait='10'");
    talk.say(101, "pause='100'", "");
    talk.pass(50.0);
    talk.ask(102);
    talk.pass(10.0);
    talk.pass(30.1);
    assert_eq!(talk.ended, Some(End::Inactive));
}

#[test]
fn a_client_whose_connections_are_all_gone_is_inactive() {
    let mut talk = Talk::new();
    talk.ask(101);
    talk.pass(5.0);
    talk.gone(101);
    talk.pass(29.9);
    assert_eq!(talk.ended, None);
    talk.pass(0.2);
    assert_eq!(talk.ended, Some(End::Inactive));
}
