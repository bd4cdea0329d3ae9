//! Section 7, and of section 16 what holds without streams.

use super::*;

/// The answer to an opening request with these attributes.
fn answer(attributes: &str) -> String {
    Talk::answered(&Settings::default(), attributes).unwrap().1
}

fn refused(attributes: &str) -> Option<Condition> {
    Talk::answered(&Settings::default(), attributes).err()
}

#[test]
fn section_7_1_the_first_request_asks_for_a_session_and_has_no_sid() {
    let text = format!("<body rid='1' sid='x' hold='1' wait='60' xmlns='{NAMESPACE}'/>");
    let body = Body::parse(text.as_bytes(), 1000).unwrap();
    assert!(!body.is_opening());
    let begun = Session::begin(&Settings::default(), &body, 1, "x", Instant::now());
    assert_eq!(begun.err(), Some(Condition::BadRequest));
}

#[test]
fn section_7_1_attributes_should_be_there_and_need_not() {
    assert_eq!(
        answer(""),
        "<body sid=\"the-sid\" wait=\"60\" requests=\"2\" hold=\"1\" inactivity=\"30\" polling=\"5\" maxpause=\"120\" \
         xmlns=\"http://jabber.org/protocol/httpbind\"/>"
    );
}

#[test]
fn section_7_1_the_minor_number_of_a_version_must_be_treated_as_a_separate_integer() {
    assert!(answer("ver='1.6'").contains(" ver=\"1.6\""));
    assert!(answer("ver='1.10'").contains(" ver=\"1.10\""), "less than 1.11, more than 1.6");
    assert!(answer("ver='1.100'").contains(" ver=\"1.11\""));
    for bad in ["1", "1.", ".6", "1.6.1", "a.b", "-1.6", "1.+6"] {
        assert_eq!(refused(&format!("ver='{bad}'")), Some(Condition::BadRequest), "{bad}");
    }
}

#[test]
fn section_7_1_a_client_may_prevent_waiting_by_a_wait_or_hold_of_zero() {
    for zero in ["hold='0' wait='60'", "hold='1' wait='0'"] {
        let mut talk = Talk::open(zero);
        talk.ask(101);
        assert_eq!(talk.answers(), of([(101, EMPTY)]), "{zero}");
    }
}

#[test]
fn section_7_1_a_route_may_be_ignored_and_is_no_uri() {
    assert_eq!(answer("route='xmpp:a b%zz:99999'"), answer(""));
}

#[test]
fn section_7_1_a_client_may_include_from_to_be_forwarded() {
    let text = format!("<body rid='1' from='u@a.example' xmlns='{NAMESPACE}'/>");
    assert_eq!(Body::parse(text.as_bytes(), 1000).unwrap().from(), Some("u@a.example"));
}

#[test]
fn section_7_1_a_client_may_include_ack_to_say_that_it_acknowledges() {
    assert!(answer("ack='1'").contains(" ack=\"100\""));
    assert!(!answer("").contains(" ack="));
}

#[test]
fn section_7_1_the_content_type_that_is_asked_for_must_appear_in_all_answers() {
    let mut talk = Talk::open("hold='1' wait='60' content='text/html'");
    talk.ask(101);
    talk.close(None);
    assert_eq!(talk.answers(), of([(101, "text/html: <body type=\"terminate\"/>")]));
    for bad in ["", "html", "text/html&#13;&#10;X: y", "text/h\u{fc}", &"a/".repeat(60)] {
        assert_eq!(refused(&format!("content='{bad}'")), Some(Condition::BadRequest), "{bad}");
    }
}

#[test]
fn section_7_1_without_a_content_attribute_answers_must_be_xml_in_utf_8() {
    // The harness would show any other.
    assert!(answer("").starts_with("<body"));
    assert_eq!(super::super::CONTENT_TYPE, "text/xml; charset=utf-8");
}

#[test]
fn section_7_2_the_answer_must_have_the_sid_escaped_as_it_may_need() {
    assert!(answer("").starts_with("<body sid=\"the-sid\""));
    let text = format!("<body rid='1' to='\"a&amp;&lt;' xmlns='{NAMESPACE}'/>");
    let body = Body::parse(text.as_bytes(), 1000).unwrap();
    let now = Instant::now();
    let mut session = Session::begin(&Settings::default(), &body, 1, "a\"<", now).unwrap();
    session.opened(now);
    let Some(Output::Answer { body, .. }) = session.poll_output() else { panic!("no answer") };
    let answer = Body::parse(&body, 1000).unwrap();
    assert_eq!((answer.sid(), answer.from()), (Some("a\"<"), Some("\"a&<")));
}

/// A session of which the script has not heard, and the time at which it began.
fn unheard() -> (Session, Instant) {
    let text = format!("<body rid='7' wait='60' hold='1' xmlns='{NAMESPACE}'/>");
    let now = Instant::now();
    let body = Body::parse(text.as_bytes(), 1000).unwrap();
    (Session::begin(&Settings::default(), &body, 1, "s", now).unwrap(), now)
}

/// The answer to the opening request.
fn first_answer(session: &mut Session) -> Option<String> {
    match session.poll_output()? {
        Output::Answer { request: 1, body, .. } => Some(String::from_utf8(body).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn section_7_2_the_answer_may_have_payloads_and_waits_for_them_for_2_s() {
    let (mut session, now) = unheard();
    assert_eq!(
        (first_answer(&mut session), session.next_timeout()),
        (None, Some(now + Duration::from_secs(2)))
    );
    session.send_all([b"<a/>"[..].into(), b"<b/>"[..].into()], now);
    let answer = first_answer(&mut session).unwrap();
    assert!(answer.starts_with("<body sid=\"s\"") && answer.ends_with("><a/><b/></body>"), "{answer}");
    assert_eq!(session.waiting(), (0, 0));
    session.opened(now);
    assert_eq!(first_answer(&mut session), None);

    let (mut session, now) = unheard();
    session.handle_timeout(now + Duration::from_millis(1999));
    assert_eq!(first_answer(&mut session), None);
    session.handle_timeout(now + Duration::from_secs(2));
    assert!(first_answer(&mut session).unwrap().ends_with("/>"));
    // From then on the client has its time to come again.
    assert_eq!(session.next_timeout(), Some(now + Duration::from_secs(32)));
}

#[test]
fn section_7_2_a_client_that_leaves_before_the_answer_is_not_waited_for() {
    let (mut session, now) = unheard();
    session.request_gone(1, now);
    session.send(b"<a/>"[..].into(), now);
    session.opened(now);
    assert_eq!(first_answer(&mut session), None);
    session.handle_timeout(now + Duration::from_secs(30));
    assert_eq!(session.poll_output(), Some(Output::Ended { how: End::Inactive }));
}

#[test]
fn section_7_2_wait_must_be_there_and_at_most_what_was_asked_for() {
    assert!(answer("wait='20'").contains(" wait=\"20\""));
    assert!(answer("wait='600'").contains(" wait=\"60\""));
    assert!(answer("wait='99999999'").contains(" wait=\"60\""));
    for bad in ["-1", "x", "", "1.5", "99999999999999999999"] {
        assert_eq!(refused(&format!("wait='{bad}'")), Some(Condition::BadRequest), "{bad}");
    }
}

#[test]
fn section_7_2_requests_must_be_there_and_larger_than_the_hold_that_was_asked_for() {
    assert!(answer("hold='1'").contains(" requests=\"2\""));
    assert!(answer("hold='4'").contains(" requests=\"5\" hold=\"2\""));
    assert!(answer("hold='0'").contains(" requests=\"1\" hold=\"0\""));
    // What the operator allows is the end of it, and still larger than our own hold.
    assert!(answer("hold='200'").contains(" requests=\"5\" hold=\"2\""));
    let settings = Settings { hold: 9, requests: 3, ..Settings::default() };
    assert!(Talk::answered(&settings, "hold='9'").unwrap().1.contains(" requests=\"10\" hold=\"9\""));
}

#[test]
fn section_7_2_ver_should_be_the_lower_of_both() {
    assert!(answer("ver='2.0'").contains(" ver=\"1.11\""));
    assert!(answer("ver='1.5'").contains(" ver=\"1.5\""));
}

#[test]
fn section_7_2_polling_and_inactivity_should_be_there() {
    assert!(answer("").contains(" inactivity=\"30\" polling=\"5\""));
}

#[test]
fn section_7_2_hold_should_be_there_and_must_not_be_greater_than_asked_for() {
    assert!(answer("hold='1'").contains(" hold=\"1\""));
    assert!(answer("hold='2'").contains(" hold=\"2\""));
    assert!(answer("hold='3'").contains(" hold=\"2\""), "and not greater than is allowed");
}

#[test]
fn section_7_2_from_should_name_the_server() {
    assert!(answer("to='a.example'").contains(" from=\"a.example\""));
}

#[test]
fn section_7_2_a_pause_should_be_offered_by_maxpause_where_it_is_supported() {
    assert!(answer("").contains(" maxpause=\"120\""));
    let settings = Settings { max_pause: 0, ..Settings::default() };
    assert!(!Talk::answered(&settings, "").unwrap().1.contains("maxpause"));
}

#[test]
fn section_7_2_none_of_these_should_be_in_any_other_answer() {
    let mut talk = Talk::open("hold='1' wait='60' ver='1.6' to='a.example'");
    talk.ask(101);
    talk.pass(60.0);
    assert_eq!(talk.answers(), of([(101, EMPTY)]));
}

#[test]
fn section_7_2_bodies_should_be_utf_8() {
    let mut talk = Talk::new();
    talk.say(101, "", "<a>gr\u{fc}\u{df}</a>");
    assert_eq!(talk.heard, ["<a>gr\\xc3\\xbc\\xc3\\x9f</a>"]);
    assert!(
        Body::parse(b"<body rid='1' to='\xfc' xmlns='http://jabber.org/protocol/httpbind'/>", 1000).is_err()
    );
}

#[test]
fn section_16_2_without_support_for_streams_no_answer_has_a_stream() {
    assert!(!answer("hold='1' wait='60' ver='1.11' to='a.example'").contains("stream"));
}

#[test]
fn section_16_3_without_support_for_streams_a_request_for_one_must_be_taken_for_an_empty_one() {
    let mut talk = Talk::new();
    talk.say(
        101,
        "to='b.example' xml:lang='en' route='xmpp:b.example:1' stream='x' from='u' secure='true'",
        "",
    );
    assert!(talk.answers().is_empty());
    talk.send("<a/>");
    assert_eq!(talk.answers(), of([(101, "<body><a/></body>")]));
}
