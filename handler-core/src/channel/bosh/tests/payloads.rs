//! Section 8.

use super::*;

#[test]
fn section_8_content_should_be_forwarded_as_soon_as_possible() {
    let mut talk = Talk::new();
    talk.say(101, "", "<a/> <b>x</b>");
    assert_eq!(talk.heard, ["<a/>", "<b>x</b>"]);
    let text = format!("<body rid='7' hold='1' wait='9' xmlns='{NAMESPACE}'><first/></body>");
    let body = Body::parse(text.as_bytes(), 1000).unwrap();
    let mut session = Session::begin(&Settings::default(), &body, 1, "s", Instant::now()).unwrap();
    let first = Output::Message { binary: false, payload: b"<first/>".to_vec() };
    assert_eq!(
        (session.poll_output(), session.poll_output()),
        (Some(first), None),
        "before it has an answer"
    );
}

#[test]
fn section_8_content_must_be_forwarded_in_the_order_of_the_rids() {
    let mut talk = Talk::open("hold='2' wait='60' ver='1.11'");
    talk.say(103, "", "<c/>");
    talk.say(102, "", "<b/>");
    assert!(talk.heard.is_empty());
    talk.say(101, "", "<a/>");
    assert_eq!(talk.heard, ["<a/>", "<b/>", "<c/>"]);
}

#[test]
fn section_8_a_request_must_be_answered_with_200_and_a_body() {
    let mut talk = Talk::new();
    talk.say(101, "", "<a/>");
    talk.say(102, "", "<a/>");
    assert_eq!(talk.answers(), of([(101, EMPTY)]));
}

#[test]
fn section_8_no_answer_is_given_until_there_is_something_to_say() {
    let mut talk = Talk::new();
    talk.ask(101);
    talk.pass(59.9);
    assert!(talk.answers().is_empty());
    talk.send("<a/>");
    assert_eq!(talk.answers(), of([(101, "<body><a/></body>")]));
}

#[test]
fn section_8_no_request_should_wait_longer_than_wait() {
    let mut talk = Talk::open("hold='2' wait='10'");
    talk.ask(101);
    talk.pass(4.0);
    talk.ask(102);
    talk.pass(5.9);
    assert!(talk.answers().is_empty());
    talk.pass(0.1);
    assert_eq!(talk.answers(), of([(101, EMPTY)]));
    talk.pass(4.0);
    assert_eq!(talk.answers(), of([(102, EMPTY)]));
}

#[test]
fn section_8_no_more_requests_should_wait_than_hold() {
    let mut talk = Talk::open("hold='2' wait='60'");
    for rid in 101..110 {
        talk.say(rid, "", "<a/>");
        let expected: Vec<_> = (rid >= 103).then_some(rid - 2).into_iter().collect();
        assert_eq!(talk.answered_now(), expected);
    }
}

#[test]
fn section_8_answers_must_be_given_in_the_order_of_the_rids() {
    let mut talk = Talk::open("hold='2' wait='60'");
    talk.ask(102);
    talk.say(103, "", "<a/>");
    talk.send("<b/>");
    assert!(talk.answers().is_empty());
    talk.say(101, "", "<a/>");
    assert_eq!(talk.answers(), of([(101, "<body><b/></body>")]));
    talk.send("<c/>");
    talk.send("<d/>");
    assert_eq!(talk.answers(), of([(102, "<body><c/></body>"), (103, "<body><d/></body>")]));
}

#[test]
fn section_8_without_payloads_the_answer_should_be_an_empty_body() {
    let mut talk = Talk::open("hold='1' wait='10'");
    talk.ask(101);
    talk.pass(10.0);
    assert_eq!(talk.answers, of([(101, "<body xmlns=\"http://jabber.org/protocol/httpbind\"/>")]));
}

#[test]
fn section_8_payloads_should_be_returned_as_soon_as_possible() {
    let mut talk = Talk::new();
    talk.send("<a/>");
    talk.send("<b/>");
    talk.ask(101);
    assert_eq!(talk.answers(), of([(101, "<body><a/><b/></body>")]));
}

#[test]
fn section_8_a_client_may_ask_by_an_empty_body_and_is_answered_in_the_same_way() {
    let mut talk = Talk::new();
    for rid in 101..105 {
        talk.ask(rid);
        assert!(talk.answers().is_empty());
        talk.send("<a/>");
        assert_eq!(talk.answers(), of([(rid, "<body><a/></body>")]));
    }
}

#[test]
fn an_answer_takes_a_mebibyte_and_the_next_the_rest() {
    let mut talk = Talk::new();
    let large = format!("<a>{}</a>", "x".repeat(600_000));
    (0..3).for_each(|_| talk.send(&large));
    assert_eq!(talk.session.waiting(), (3, 3 * large.len()));
    for rid in 101..104 {
        talk.say(rid, "", "<more/>");
        let (_, answer) = talk.answers().remove(0);
        assert_eq!(answer.len(), large.len() + "<body></body>".len());
    }
    // The client may have read none of the last two.
    assert_eq!(talk.session.waiting(), (2, 2 * large.len()));
}

#[test]
fn messages_are_unwrapped_on_the_way_in() {
    let mut talk = Talk::new();
    let content =
        "<text xmlns='urn:kennel:channel'>a &lt; b</text><binary xmlns='urn:kennel:channel'>/w==</binary>";
    talk.say(101, "", content);
    assert_eq!(talk.heard, ["a < b", "bytes \\xff"]);
}

#[test]
fn messages_that_are_sent_together_go_by_one_answer() {
    let mut talk = Talk::new();
    talk.ask(101);
    let both = [b"<a/>", b"<b/>"].map(|element| element[..].into());
    assert!(talk.session.send_all(both, talk.now));
    talk.look();
    assert_eq!(talk.answers(), of([(101, "<body><a/><b/></body>")]));
}
