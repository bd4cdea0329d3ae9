//! Section 9.

use super::*;

fn talk() -> Talk {
    Talk::open("hold='1' wait='60' ver='1.11' ack='1'")
}

#[test]
fn section_9_1_an_answer_may_acknowledge_a_higher_request() {
    let mut talk = talk();
    talk.ask(101);
    talk.say(102, "", "<a/>");
    assert_eq!(talk.answers(), of([(101, "<body ack=\"102\"/>")]));
}

#[test]
fn section_9_1_the_ack_is_the_highest_rid_below_which_all_have_come() {
    let mut talk = Talk::open("hold='2' wait='60' ack='1'");
    talk.ask(101);
    talk.say(103, "", "<a/>");
    talk.send("<b/>");
    assert_eq!(talk.answers(), of([(101, "<body><b/></body>")]), "102 has not come");
    talk.say(102, "ack='100'", "<a/>");
    talk.send("<c/>");
    assert_eq!(talk.answers(), of([(102, "<body ack=\"103\"><c/></body>")]));
}

#[test]
fn section_9_1_the_answer_to_the_opening_must_have_an_ack_if_others_will() {
    let (_, answer) = Talk::answered(&Settings::default(), "hold='1' wait='60' ack='1'").unwrap();
    assert!(answer.contains(" ack=\"100\""));
    let mut silent = Talk::new();
    silent.ask(101);
    silent.say(102, "", "<a/>");
    assert_eq!(silent.answers(), of([(101, EMPTY)]), "and no other if that has none");
}

#[test]
fn section_9_1_an_ack_should_not_be_the_rid_of_the_request_itself() {
    let mut talk = talk();
    talk.ask(101);
    talk.send("<a/>");
    assert_eq!(talk.answers(), of([(101, "<body><a/></body>")]));
}

#[test]
fn section_9_2_what_a_client_acknowledges_need_not_be_kept() {
    let mut talk = talk();
    for rid in 101..110 {
        talk.ask(rid);
        talk.send("<a/>");
    }
    assert_eq!(talk.session.waiting(), (1, 4), "no ack: it has all before");
    talk.say(110, "ack='108'", "");
    assert_eq!(talk.session.waiting(), (1, 4));
    talk.say(111, "ack='109'", "<b/>");
    assert_eq!(talk.session.waiting(), (0, 0));
}

#[test]
fn section_9_2_an_answer_that_a_client_lacks_may_be_reported_at_once() {
    let mut talk = talk();
    talk.ask(101);
    talk.send("<a/>");
    talk.pass(6.25);
    talk.answers();
    talk.say(102, "ack='100'", "");
    assert_eq!(talk.answers(), of([(102, "<body report=\"101\" time=\"6250\"/>")]));
    // What was asked for again is what was said.
    talk.say_by(7, 101, "", "");
    assert_eq!(talk.answers(), of([(7, "<body><a/></body>")]));
}

#[test]
fn section_9_2_an_answer_that_may_still_be_under_way_is_not_reported() {
    let mut talk = talk();
    talk.ask(101);
    talk.send("<a/>");
    talk.answers();
    talk.pass(1.0);
    talk.say(102, "ack='100'", "<b/>");
    assert!(talk.answers().is_empty());
}

#[test]
fn section_9_2_a_report_is_given_to_the_oldest_request_and_once() {
    let mut talk = Talk::open("hold='2' wait='60' ack='1'");
    talk.ask(101);
    talk.send("<a/>");
    talk.say(102, "ack='100'", "<b/>");
    talk.pass(10.0);
    assert_eq!(talk.answered_now(), [101]);
    talk.say(103, "ack='100'", "<b/>");
    assert_eq!(talk.answers(), of([(102, "<body ack=\"103\" report=\"101\" time=\"10000\"/>")]));
    talk.send("<c/>");
    assert_eq!(talk.answers(), of([(103, "<body><c/></body>")]));
}

#[test]
fn section_9_2_an_ack_of_what_was_never_said_does_no_harm() {
    let mut talk = talk();
    talk.say(101, "ack='9007199254740991'", "<a/>");
    talk.send("<b/>");
    talk.say(102, "ack='0'", "<a/>");
    assert_eq!(talk.answered_now(), [101]);
    talk.say(103, "ack='x'", "<a/>");
    assert_eq!(talk.answers(), of([(102, OTHER), (103, BAD_REQUEST)]));
}
