//! Sections 11 and 12.

use super::*;

#[test]
fn section_11_more_requests_at_once_than_allowed_should_end_the_session() {
    let mut talk = Talk::open("hold='2' wait='60' ver='1.11'");
    talk.say(101, "", "<a/>");
    talk.say(102, "", "<a/>");
    // 103 is missing, so nothing can be answered.
    talk.say(104, "", "<a/>");
    assert_eq!(talk.ended, None);
    talk.say(105, "", "<a/>");
    assert_eq!(talk.answers(), of([(101, OTHER), (102, OTHER), (104, OTHER), (105, VIOLATION)]));
    assert_eq!(talk.ended, Some(End::Error(Condition::PolicyViolation)));
}

#[test]
fn section_11_one_more_is_allowed_for_a_pause_or_the_end() {
    for last in ["pause='60'", "type='terminate'"] {
        let mut talk = Talk::open("hold='2' wait='60' ver='1.11'");
        talk.say(101, "", "<a/>");
        talk.say(102, "", "<a/>");
        talk.say(104, "", "<a/>");
        talk.say(105, last, "");
        assert_eq!((talk.answers().len(), talk.ended), (0, None), "{last}");
        talk.say(103, "", "<a/>");
        assert!(talk.answered_now().starts_with(&[101, 102]), "{last}");
    }
}

#[test]
fn section_11_repeated_requests_do_not_count() {
    let mut talk = Talk::new();
    talk.ask(101);
    for request in 1..=5 {
        talk.say_by(request, 101, "", "");
    }
    assert_eq!(talk.ended, None);
}

#[test]
fn section_11_requests_that_are_answered_do_not_count() {
    let mut talk = Talk::new();
    for rid in 101..200 {
        talk.say(rid, "", "<a/>");
    }
    assert_eq!(talk.ended, None);
}

#[test]
fn section_11_as_many_as_allowed_of_which_the_last_is_empty_and_too_soon_should_end_the_session() {
    let mut talk = Talk::new();
    talk.say(101, "", "<a/>");
    talk.pass(4.9);
    talk.ask(102);
    assert_eq!(talk.answers(), of([(101, OTHER), (102, VIOLATION)]));
    assert_eq!(talk.ended, Some(End::Error(Condition::PolicyViolation)));
}

#[test]
fn section_11_it_is_not_too_soon_after_the_polling_time_or_with_something_to_say_or_to_leave() {
    for (seconds, attributes, content) in
        [(5.0, "", ""), (0.0, "", "<a/>"), (0.0, "pause='9'", ""), (0.0, "type='terminate'", "")]
    {
        let mut talk = Talk::new();
        talk.ask(101);
        talk.pass(seconds);
        talk.say(102, attributes, content);
        let error = matches!(talk.ended, Some(End::Error(_)));
        assert!(!error, "{seconds} {attributes} {content}");
    }
}

#[test]
fn section_11_a_poll_that_was_overtaken_by_a_message_is_not_the_last_request() {
    let mut talk = Talk::new();
    talk.say(102, "", "<a/>");
    talk.ask(101);
    assert_eq!((talk.ended, talk.heard.len()), (None, 1));
    assert_eq!(talk.answers(), of([(101, EMPTY)]));
}

#[test]
fn section_11_without_polling_a_client_must_be_allowed_any_frequency() {
    let settings = Settings { polling: 0, ..Settings::default() };
    let (mut talk, answer) = Talk::answered(&settings, "hold='1' wait='60'").unwrap();
    assert!(!answer.contains("polling"));
    (101..200).for_each(|rid| talk.ask(rid));
    assert_eq!(talk.ended, None);
}

#[test]
fn section_12_a_polling_session_should_have_a_longer_inactivity_by_more_than_polling() {
    for attributes in ["hold='0' wait='60'", "hold='1' wait='0'"] {
        let (mut talk, answer) = Talk::answered(&Settings::default(), attributes).unwrap();
        assert!(answer.contains(" inactivity=\"40\" polling=\"5\""), "{answer}");
        talk.pass(39.9);
        assert_eq!(talk.ended, None);
        talk.pass(0.2);
        assert_eq!(talk.ended, Some(End::Inactive));
    }
}

#[test]
fn section_12_two_empty_requests_within_the_polling_time_should_end_the_session() {
    for attributes in ["hold='0' wait='60' ver='1.11'", "hold='1' wait='0' ver='1.11'"] {
        let mut talk = Talk::open(attributes);
        talk.ask(101);
        talk.pass(4.9);
        talk.ask(102);
        assert_eq!(talk.answers(), of([(101, EMPTY), (102, VIOLATION)]));
        assert_eq!(talk.ended, Some(End::Error(Condition::PolicyViolation)));
    }
}

#[test]
fn section_12_it_is_not_too_soon_when_the_first_answer_had_payloads_or_either_request_was_not_empty() {
    let mut talk = Talk::open("hold='0' wait='60'");
    talk.send("<a/>");
    talk.ask(101);
    talk.ask(102);
    talk.say(103, "", "<b/>");
    talk.ask(104);
    talk.say_by(1, 104, "", "");
    talk.pass(5.0);
    talk.ask(105);
    assert_eq!(talk.ended, None);
    assert_eq!(talk.answers()[0], (101, "<body><a/></body>".into()));
}

#[test]
fn section_12_without_polling_a_client_must_be_allowed_to_poll_at_any_frequency() {
    let settings = Settings { polling: 0, ..Settings::default() };
    let (mut talk, _) = Talk::answered(&settings, "hold='0' wait='60'").unwrap();
    (101..200).for_each(|rid| talk.ask(rid));
    assert_eq!(talk.ended, None);
}
