//! Section 14.

use super::*;

#[test]
fn section_14_1_a_rid_is_a_positive_integer_up_to_2_to_the_53_less_1() {
    let begin = |rid: &str| {
        let text = format!("<body rid='{rid}' xmlns='{NAMESPACE}'/>");
        let body = Body::parse(text.as_bytes(), 1000).unwrap();
        Session::begin(&Settings::default(), &body, 1, "s", Instant::now()).err()
    };
    for good in ["1", "9007199254740991", " +0042 "] {
        assert_eq!(begin(good), None, "{good}");
    }
    for bad in ["", "0", "-1", "1.5", "x", "9007199254740992", "18446744073709551617", "+", "1 2"] {
        assert_eq!(begin(bad), Some(Condition::BadRequest), "{bad}");
    }
    let text = format!("<body xmlns='{NAMESPACE}'/>");
    let body = Body::parse(text.as_bytes(), 1000).unwrap();
    let begun = Session::begin(&Settings::default(), &body, 1, "s", Instant::now());
    assert_eq!(begun.err(), Some(Condition::BadRequest));
}

#[test]
fn section_14_2_requests_out_of_order_must_be_forwarded_and_answered_in_order() {
    let mut talk = Talk::open("hold='1' wait='60'");
    talk.say(102, "", "<b/>");
    assert!(talk.heard.is_empty() && talk.answers().is_empty());
    talk.say(101, "", "<a/>");
    assert_eq!(talk.heard, ["<a/>", "<b/>"]);
    assert_eq!(talk.answered_now(), [101]);
    talk.send("<c/>");
    assert_eq!(talk.answers(), of([(102, "<body><c/></body>")]));
}

#[test]
fn section_14_2_the_window_is_as_large_as_requests() {
    for (hold, requests) in [(1, 2), (4, 5)] {
        let mut talk = Talk::open(&format!("hold='{hold}' wait='60' ver='1.11'"));
        talk.say(100 + requests, "", "<a/>");
        assert_eq!(talk.ended, None);
        let mut talk = Talk::open(&format!("hold='{hold}' wait='60' ver='1.11'"));
        talk.say(101 + requests, "", "<a/>");
        assert_eq!(talk.ended, Some(End::Error(Condition::ItemNotFound)));
    }
}

#[test]
fn section_14_2_a_request_outside_the_window_must_end_the_session_with_item_not_found() {
    let mut talk = Talk::new();
    talk.ask(101);
    talk.say(104, "", "<a/>");
    assert_eq!(talk.answers(), of([(101, OTHER), (104, NOT_FOUND)]));
    assert!(talk.heard.is_empty());
    assert_eq!(talk.ended, Some(End::Error(Condition::ItemNotFound)));
}

#[test]
fn section_14_3_a_repeated_request_should_be_given_the_same_answer_again() {
    let mut talk = Talk::new();
    talk.say(101, "", "<a/>");
    talk.send("<b/>");
    let first = talk.answers.remove(0).1;
    talk.say_by(7, 101, "", "<a/>");
    assert_eq!(talk.answers, of([(7, first.as_str())]));
    assert_eq!(talk.heard, ["<a/>"], "and its payloads are not forwarded again");
    talk.answers.clear();
    talk.say_by(8, 101, "", "<a/>");
    assert_eq!(talk.answers, of([(8, first.as_str())]));
}

#[test]
fn section_14_3_as_many_answers_should_be_kept_as_requests() {
    for (back, found) in [(1, true), (2, true), (3, false)] {
        let mut talk = Talk::new();
        for rid in 101..=110 {
            talk.ask(rid);
            talk.send("<a/>");
        }
        talk.answers();
        talk.ask(111 - back);
        assert_eq!(talk.answers()[0].1, if found { "<body><a/></body>" } else { NOT_FOUND }, "{back}");
    }
}

#[test]
fn section_14_3_with_acknowledgements_those_should_be_kept_that_are_not_acknowledged() {
    let mut talk = Talk::open("hold='1' wait='60' ack='1'");
    talk.ask(101);
    talk.send("<lost/>");
    for rid in 102..106 {
        talk.say(rid, "ack='100'", "");
        talk.send("<a/>");
    }
    talk.answers();
    talk.ask(101);
    assert_eq!(talk.answers(), of([(101, "<body><lost/></body>")]));
}

#[test]
fn section_14_3_answers_to_pauses_do_not_count_among_those_that_are_kept() {
    let mut talk = Talk::new();
    talk.ask(101);
    talk.send("<a/>");
    talk.ask(102);
    talk.send("<b/>");
    (103..120).for_each(|rid| talk.say(rid, "pause='60'", ""));
    talk.answers();
    talk.ask(101);
    assert_eq!(talk.answers(), of([(101, "<body><a/></body>")]));
}

#[test]
fn section_14_3_a_repeated_request_that_waits_should_replace_the_first_which_is_told_to_recover() {
    let mut talk = Talk::new();
    talk.say(101, "", "<a/>");
    talk.say_by(7, 101, "", "<a/>");
    assert_eq!(talk.answers(), of([(101, ERROR)]));
    talk.send("<b/>");
    assert_eq!(talk.answers(), of([(7, "<body><b/></body>")]));
    assert_eq!(talk.heard, ["<a/>"]);
}

#[test]
fn section_14_3_a_request_that_came_early_may_be_repeated_too() {
    let mut talk = Talk::new();
    talk.say(102, "", "<b/>");
    talk.say_by(7, 102, "", "<b/>");
    assert_eq!(talk.answers(), of([(102, ERROR)]));
    talk.say(101, "", "<a/>");
    talk.send("<c/>");
    assert_eq!(talk.answers(), of([(101, EMPTY), (7, "<body><c/></body>")]));
    assert_eq!(talk.heard, ["<a/>", "<b/>"]);
}

#[test]
fn section_14_3_too_many_repeats_of_a_request_should_end_the_session() {
    let mut talk = Talk::new();
    talk.ask(101);
    talk.send("<a/>");
    (1..=25).for_each(|request| talk.say_by(request, 101, "", ""));
    assert_eq!(talk.ended, None);
    talk.answers();
    talk.say_by(26, 101, "", "");
    assert_eq!(talk.answers(), of([(26, VIOLATION)]));
    assert_eq!(talk.ended, Some(End::Error(Condition::PolicyViolation)));
}

#[test]
fn section_14_3_a_repeat_whose_answer_is_not_kept_must_be_answered_with_item_not_found() {
    for old in [1, 99, 100] {
        let mut talk = Talk::new();
        talk.ask(101);
        talk.ask(old);
        // The same as for one that is too large.
        assert_eq!(talk.answers(), of([(old, NOT_FOUND), (101, OTHER)]), "{old}");
    }
}

#[test]
fn an_answer_waits_for_the_connection_that_can_take_it() {
    let mut talk = Talk::new();
    talk.ask(101);
    talk.gone(101);
    talk.send("<a/>");
    assert!(talk.answers().is_empty());
    assert_eq!(talk.session.waiting(), (1, 4));
    talk.say_by(7, 101, "", "");
    assert_eq!(talk.answers(), of([(7, "<body><a/></body>")]));
}

#[test]
fn a_message_goes_by_the_first_request_that_has_a_connection() {
    let mut talk = Talk::open("hold='2' wait='60'");
    talk.ask(101);
    talk.ask(102);
    talk.gone(101);
    talk.send("<a/>");
    assert_eq!(talk.answers(), of([(102, "<body><a/></body>")]));
    talk.say_by(7, 101, "", "");
    assert_eq!(talk.answers(), of([(7, EMPTY)]), "what it would have been told");
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let mut talk = Talk::new();
    talk.ask(101);
    talk.send("<a/>");
    talk.gone(101);
    talk.answers();
    talk.say_by(7, 101, "", "");
    assert_eq!(talk.answers(), of([(7, "<body><a/></body>")]));
}
