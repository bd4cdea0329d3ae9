//! Section 6.

use crate::channel::bosh::{Body, BodyError, Unreadable};

fn read(text: &str) -> Result<Body<'_>, BodyError> {
    Body::parse(text.as_bytes(), 1000)
}

fn messages(text: &str) -> Vec<String> {
    read(text).unwrap().messages().map(|(_, payload)| String::from_utf8(payload).unwrap()).collect()
}

/// A body with this content.
fn with(content: &str) -> String {
    format!("<body rid='1' xmlns='http://jabber.org/protocol/httpbind'>{content}</body>")
}

#[test]
fn section_6_a_request_is_a_single_body_of_the_namespace() {
    assert!(read(&with("")).is_ok());
    for text in [
        "<body rid='1'/>",
        "<body rid='1' xmlns='urn:other'/>",
        "<packet rid='1' xmlns='http://jabber.org/protocol/httpbind'/>",
        "<body rid='1' xmlns:b='http://jabber.org/protocol/httpbind'/>",
    ] {
        assert_eq!(read(text).unwrap_err().why, Unreadable::NotBody, "{text}");
    }
    assert!(read(&with("").repeat(2)).is_err());
    assert!(read("<b:body rid='1' xmlns:b='http://jabber.org/protocol/httpbind'/>").is_ok());
}

#[test]
fn section_6_a_body_must_be_well_formed_xml() {
    for content in ["<a>", "<a></b>", "</a>", "<a b=1/>", "<a>&</a>"] {
        assert!(matches!(read(&with(content)).unwrap_err().why, Unreadable::Fault(_)), "{content}");
    }
    let bytes = b"<body xmlns='http://jabber.org/protocol/httpbind'><a>\xff</a></body>";
    assert_eq!(Body::parse(bytes, 1000).unwrap_err().why, Unreadable::NotUtf8 { at: 53 });
}

#[test]
fn section_6_a_body_should_keep_to_namespaces_so_every_prefix_is_declared() {
    assert!(read(&with("<p:a/>")).is_err());
    assert!(read(&with("<a p:b='1'/>")).is_err());
}

#[test]
fn section_6_the_content_must_not_have_partial_elements() {
    assert!(read(&with("<a><b></a>")).is_err());
    let whole = with("<a>x</a>");
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{}", &whole[..end]);
    }
}

#[test]
fn section_6_the_content_must_not_have_comments() {
    assert!(read(&with("<!-- x -->")).is_err());
    assert!(read(&with("<a><!-- x --></a>")).is_err());
}

#[test]
fn section_6_the_content_must_not_have_processing_instructions() {
    assert!(read(&with("<?x y?>")).is_err());
    assert!(read(&with("<a><?x y?></a>")).is_err());
}

#[test]
fn section_6_the_content_must_not_have_dtd_subsets() {
    assert!(read(&format!("<!DOCTYPE body [<!ENTITY a 'b'>]>{}", with(""))).is_err());
    assert!(read(&format!("<!DOCTYPE body SYSTEM 'file:///etc/passwd'>{}", with(""))).is_err());
    assert!(read(&with("<!DOCTYPE a>")).is_err());
}

#[test]
fn section_6_the_content_must_not_have_other_entities_than_the_predefined() {
    assert!(read(&with("<a>&b;</a>")).is_err());
    assert!(read(&with("<a b='&nbsp;'/>")).is_err());
    assert_eq!(messages(&with("<a>&lt;&#65;</a>")), ["<a>&lt;&#65;</a>"]);
}

#[test]
fn section_6_the_wrapper_must_not_have_character_data_and_its_children_may() {
    for content in ["x", "<a/>x", "x<a/>", "&lt;", "&#32;", "<![CDATA[ ]]>"] {
        assert!(read(&with(content)).is_err(), "{content}");
    }
    // White space between elements is in the specification's own examples.
    assert_eq!(messages(&with("\n  <a>text</a>\n  <b/>\n")), ["<a>text</a>", "<b/>"]);
}

#[test]
fn section_6_the_wrapper_has_any_number_of_whole_elements_each_a_message() {
    assert!(messages(&with("")).is_empty());
    assert_eq!(messages(&with("<a b='1'>x<c/></a><a/>")), ["<a b='1'>x<c/></a>", "<a/>"]);
    let many = with(&"<a/>".repeat(30_001));
    assert_eq!(Body::parse(many.as_bytes(), 1 << 20).unwrap_err().why, Unreadable::TooMany);
}

#[test]
fn section_6_payloads_may_be_of_different_namespaces_and_stand_alone_as_messages() {
    let text = "<b:body rid='1' xmlns:b='http://jabber.org/protocol/httpbind' xmlns='jabber:client' \
                xmlns:p='urn:p' xmlns:q=\"urn:q'\"><message/><a xmlns='urn:a'/><p:x><q:y/></p:x>\
                <z xmlns='' p:b='1'/><b:uri/><p:x xmlns:p='urn:r'/></b:body>";
    assert_eq!(
        messages(text),
        [
            "<message xmlns='jabber:client'/>",
            "<a xmlns='urn:a'/>",
            "<p:x xmlns:p='urn:p' xmlns:q=\"urn:q'\"><q:y/></p:x>",
            "<z xmlns:p='urn:p' xmlns='' p:b='1'/>",
            "<b:uri xmlns:b='http://jabber.org/protocol/httpbind'/>",
            "<p:x xmlns:p='urn:r'/>",
        ]
    );
    messages(text).iter().for_each(|message| crate::channel::bosh::element::check(message).unwrap());
}

#[test]
fn a_body_is_read_with_its_attributes_and_what_is_unknown_is_ignored() {
    let text = "\u{feff}<?xml version='1.0' encoding='utf-8'?>\n<body rid='7' sid='a&amp;b' to='x.example' from='u@x' \
                route='xmpp:x.example:5222' xml:lang='de' xmlns:xmpp='urn:xmpp:xbosh' xmpp:version='1.0' secure='true' \
                xmlns='http://jabber.org/protocol/httpbind'/>\n";
    let body = read(text).unwrap();
    assert_eq!((body.sid(), body.to(), body.from()), (Some("a&b"), Some("x.example"), Some("u@x")));
    assert_eq!((body.route(), body.lang()), (Some("xmpp:x.example:5222"), Some("de")));
    assert!(!body.is_opening() && !body.has_version() && body.is_empty());
    assert_eq!(body.attribute("version"), None);
}

#[test]
fn a_body_that_cannot_be_read_says_why_and_whose_it_was() {
    let text = with("<a>&b;</a>").replace("rid", "sid='s' rid");
    let problem = read(&text).unwrap_err();
    assert_eq!(problem.sid.as_deref(), Some("s"));
    assert_eq!(problem.to_string(), "no BOSH body: byte 69: a reference that is none of XML's own");
    let problem = Body::parse(&[b'x'; 11], 10).unwrap_err();
    assert_eq!(problem.to_string(), "no BOSH body: 11 bytes, and at most 10 are taken");
    assert_eq!(problem.sid, None);
}
