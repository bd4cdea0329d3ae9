//! Requests for hosts that are not answered.

use super::site::*;
use crate::hub::{Hosts, Limits, LinkId};
use crate::worker::protocol::{ChannelSpec, Registration};

const OURS: (&str, &str) = ("host", "Shop.Example.com:8080");
const FOREIGN: (&str, &str) = ("host", "evil.example");
const LENGTH: (&str, &str) = ("content-length", "700000");

fn only(registration: Registration) -> Site {
    let mut site = Site::with(Limits::default(), 1, registration);
    let names = ["example.com", "*.example.com"].map(|name| name.parse().unwrap());
    site.hub.allow_hosts_only(Hosts::Only(names.into()));
    site
}

fn chat() -> Registration {
    let chat = ChannelSpec { path: "/chat".into(), ..ChannelSpec::default() };
    Registration { channels: vec![chat], ..registration() }
}

#[test]
fn a_request_by_a_foreign_name_reaches_no_script() {
    for registration in [chat(), Registration { raw: true, ..chat() }] {
        let mut site = only(registration);
        site.hub.set_body_folder("/var/own".into());
        site.hub.set_upload_store(LINK, "/var/spool".into());
        for (id, line, more) in [
            (1, "GET /a", &[FOREIGN][..]),
            (2, "GET /nothing", &[FOREIGN]),
            (3, "POST /b", &[FOREIGN, LENGTH, ("x-mongrel2-upload-start", "a")]),
            (4, "POST /b", &[FOREIGN, LENGTH, ("UPLOAD_STREAM", "0")]),
            (5, "POST /chat", &[FOREIGN]),
            (6, "GET /chat", &[FOREIGN, ("accept", "text/event-stream")]),
            (7, "GET /kennel.js", &[FOREIGN]),
            (8, "GET /a", &[("host", "localhost:6767")]),
            (9, "GET /a", &[("host", "127.0.0.1")]),
        ] {
            site.request_with(id, line, more);
            assert_eq!(site.statuses(id as u32), [421], "{line} {more:?}");
        }
        assert!(site.closed(3) && site.closed(4), "their bodies are not taken for requests");
        assert!(site.answers(1)[0].1.contains("does not answer to this host name"));
        assert!(!site.answers(1)[0].1.contains("--allow-host"));
        site.handshake_with(10, "/chat", &[FOREIGN]);
        assert_eq!(site.statuses(10), [421]);
        assert!(site.closed(10) && site.jobs(0).is_empty() && site.hub.live() == 0);
        assert_eq!(site.hub.counters().refused, 10);
    }
}

#[test]
fn requests_by_a_sites_own_names_and_without_any_are_answered() {
    let mut site = only(chat());
    site.request_with(1, "GET /a", &[OURS]);
    site.request_with(2, "GET /a", &[("host", "example.com.")]);
    assert_eq!(site.jobs(0).len(), 2);
    site.handshake_with(3, "/chat", &[OURS]);
    assert!(site.text(3).starts_with("HTTP/1.1 101 "));
    // An HTTP/1.0 client need not name a host.
    let message = super::mongrel2::message(
        super::mongrel2::Form::Json,
        SENDER,
        4,
        "/a",
        &[("METHOD", "GET"), ("VERSION", "HTTP/1.0"), ("PATTERN", "/"), ("URI", "/a")],
        b"",
    );
    site.message(&message);
    assert_eq!(site.jobs(0).len(), 3);
}

/// The console asks as the operator, by no name of the site.
#[test]
fn the_link_of_the_caller_has_no_foreign_names() {
    let mut site = Site::empty(Limits::default(), 2, vec![app(1)]);
    let own = LinkId(1);
    site.hub.open_own_link(own);
    site.hub.handle_server_up(LINK, b"");
    site.load(APP, &registration());
    site.hub.allow_hosts_only(Hosts::Only(vec!["example.com".parse().unwrap()]));
    let form = super::mongrel2::Form::Tnetstring;
    let message = super::mongrel2::http(form, "own", 7, "GET /a", &[("host", "localhost")], b"");
    site.hub.handle_message(own, &message, site.now);
    site.turn();
    assert_eq!(site.jobs(0).len(), 1);
}
