//! Section 17.

use super::super::Refusal;
use super::*;

#[test]
fn section_17_1_clients_with_a_version_should_get_no_http_errors() {
    for condition in Condition::ALL {
        assert_eq!(condition.refusal(true).status, 200);
    }
    let mut talk = Talk::new();
    talk.say(150, "", "");
    assert_eq!(talk.answers(), of([(150, NOT_FOUND)]));
}

#[test]
fn section_17_1_clients_without_version_should_get_http_errors_for_the_three_that_have_one() {
    for condition in Condition::ALL {
        let expected = match condition {
            Condition::BadRequest => 400,
            Condition::PolicyViolation => 403,
            Condition::ItemNotFound => 404,
            _ => 200,
        };
        let refusal = condition.refusal(false);
        assert_eq!((refusal.status, refusal.body.is_empty()), (expected, expected != 200));
    }
    let mut talk = Talk::open("hold='1' wait='60'");
    talk.ask(101);
    talk.say(150, "", "");
    assert_eq!(talk.answers(), of([(101, OTHER), (150, "404 ")]));
    let mut talk = Talk::open("hold='1' wait='60'");
    talk.ask(101);
    talk.ask(102);
    assert_eq!(talk.answers(), of([(101, OTHER), (102, "403 ")]));
    let mut talk = Talk::open("hold='1' wait='60'");
    talk.say(101, "pause='x'", "");
    assert_eq!(talk.answers(), of([(101, "400 ")]));
}

#[test]
fn section_17_2_a_fatal_error_is_a_terminate_with_its_condition_and_ends_the_session() {
    for condition in Condition::ALL {
        let mut talk = Talk::new();
        talk.ask(101);
        talk.close(Some(condition));
        let expected = format!("<body type=\"terminate\" condition=\"{}\"/>", condition.name());
        assert_eq!(talk.answers(), of([(101, expected.as_str())]));
        assert_eq!(talk.ended, Some(End::Closed));
        talk.ask(102);
        assert_eq!(talk.answers(), of([(102, NOT_FOUND)]));
    }
}

#[test]
fn section_17_2_a_bad_request_is_one_whose_attributes_are_not_as_they_should_be() {
    for attributes in ["pause='x'", "pause='-1'", "ack='x'", "ack=''"] {
        let mut talk = Talk::new();
        talk.say(101, attributes, "<a/>");
        assert_eq!(talk.answers(), of([(101, BAD_REQUEST)]), "{attributes}");
        assert!(talk.heard.is_empty());
        assert_eq!(talk.ended, Some(End::Error(Condition::BadRequest)));
    }
    let text = format!("<body sid='the-sid' xmlns='{NAMESPACE}'/>");
    let body = Body::parse(text.as_bytes(), 1000).unwrap();
    let mut talk = Talk::new();
    talk.session.receive(&body, 7, talk.now);
    talk.look();
    assert_eq!(talk.answers(), of([(7, BAD_REQUEST)]), "no rid");
}

#[test]
fn section_17_2_a_bad_request_is_one_that_cannot_be_read_too() {
    let mut talk = Talk::new();
    talk.ask(101);
    talk.session.refuse(7);
    talk.look();
    assert_eq!(talk.answers(), of([(101, OTHER), (7, BAD_REQUEST)]));
    talk.session.refuse(8);
    talk.look();
    assert_eq!(talk.answers(), of([(8, NOT_FOUND)]), "there is no session any more");
    let refusal = Refusal::unreadable();
    let body = String::from_utf8(refusal.body).unwrap();
    assert_eq!(refusal.status, 400);
    assert!(body.starts_with("<body type=\"terminate\" condition=\"bad-request\" "), "{body}");
}

#[test]
fn section_17_2_other_requests_are_told_that_another_ended_the_session() {
    let mut talk = Talk::open("hold='2' wait='60' ver='1.11'");
    talk.ask(101);
    talk.ask(102);
    talk.say(200, "", "");
    assert_eq!(talk.answers(), of([(101, OTHER), (102, OTHER), (200, NOT_FOUND)]));
}

#[test]
fn section_17_2_see_other_uri_says_where() {
    let refusal = Refusal::see_other_uri("https://a.example/?x=1&y=2");
    assert_eq!(
        String::from_utf8(refusal.body).unwrap(),
        "<body type=\"terminate\" condition=\"see-other-uri\" xmlns=\"http://jabber.org/protocol/httpbind\">\
         <uri>https://a.example/?x=1&amp;y=2</uri></body>"
    );
}

#[test]
fn section_17_2_an_undefined_condition_should_say_more_in_the_body_and_a_stream_error_may() {
    for condition in [Condition::UndefinedCondition, Condition::RemoteStreamError] {
        let mut talk = Talk::new();
        talk.ask(101);
        talk.session.close_with(b"<why/>"[..].into(), condition, talk.now);
        talk.look();
        let name = condition.name();
        let expected = format!("<body type=\"terminate\" condition=\"{name}\"><why/></body>");
        assert_eq!(talk.answers(), of([(101, expected.as_str())]));
    }
}

#[test]
fn section_17_3_a_request_before_which_another_was_lost_is_told_to_recover_and_the_session_lives_on() {
    let mut talk = Talk::new();
    talk.say(102, "", "<b/>");
    talk.pass(9.9);
    assert!(talk.answers().is_empty());
    talk.pass(0.2);
    assert_eq!(talk.answers(), of([(102, ERROR)]));
    assert_eq!(talk.ended, None);
    // The client repeats it and all before it.
    talk.say(101, "", "<a/>");
    talk.say_by(7, 102, "", "<b/>");
    assert_eq!(talk.heard, ["<a/>", "<b/>"]);
    assert_eq!(talk.answered_now(), [101]);
}
