//! BOSH: bodies of requests.

use crate::Target;
use handler_core::channel::bosh::{Body, element};

/// A body, whose elements stand alone as messages, and a message of a script.
pub(crate) const BOSH: Target = Target {
    name: "bosh",
    check: |bytes| {
        if let Ok(body) = Body::parse(bytes, 4000) {
            assert!(bytes.len() <= 4000 && body.messages().count() == body.len());
            for (binary, payload) in body.messages() {
                check_message(binary, &payload);
            }
        }
        check_message(false, bytes);
        check_message(true, bytes);
    },
    seeds: || {
        let texts = [
            "<body content='text/xml; charset=utf-8' hold='1' rid='1573741820' to='a.example' route='xmpp:a.example:9999' secure='true' \
             ver='1.6' wait='60' ack='1' xml:lang='en' newkey='ca393b51b682f61f98e7877d61146407f3d0a770' \
             xmlns='http://jabber.org/protocol/httpbind'/>",
            "<?xml version='1.0'?>\n<b:body rid='2' sid='s' key='k' ack='1' xmlns:b='http://jabber.org/protocol/httpbind' xmlns='urn:a' \
             xmlns:p='urn:p'><message to=\"&#65;&amp;\"><body>hi<![CDATA[<]]></body></message> <p:x p:y='1'/></b:body>",
            "<body rid='3' sid='s' type='terminate' pause='60' xmlns='http://jabber.org/protocol/httpbind'>\
             <text xmlns='urn:kennel:channel'>a&lt;b</text><binary xmlns='urn:kennel:channel'>/w==</binary></body>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;<!-- c --><?d e?></a>",
        ];
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    },
};

/// Whatever a message is, what is sent for it is one element that brings it back.
fn check_message(binary: bool, payload: &[u8]) {
    let sent = element::of_message(binary, payload);
    let text = std::str::from_utf8(&sent).expect("UTF-8");
    element::check(text).expect("one element");
    match element::unwrap(text) {
        Some((false, back)) if !binary => {
            assert!(sent.trim_ascii() == payload.trim_ascii() || back == payload)
        }
        Some((true, back)) => assert!(sent.trim_ascii() == payload.trim_ascii() || back == payload),
        other => assert!(other.is_none() && sent == payload.trim_ascii()),
    }
}
