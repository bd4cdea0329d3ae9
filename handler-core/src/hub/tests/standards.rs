//! Requests that the standards have a server refuse or read in another way than Mongrel2 does.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::hub::{AppSpec, Effect, Limits};
use crate::worker::protocol::{ChannelSpec, Handler, Registration};
use std::path::PathBuf;

const FORMS: [Form; 2] = [Form::Json, Form::Tnetstring];
const EVENTS: (&str, &str) = ("accept", "text/event-stream");

fn channels(spec: ChannelSpec) -> Registration {
    let asks = ChannelSpec { path: "/asked".into(), asks: true, handler: 1, ..ChannelSpec::default() };
    Registration { channels: vec![spec, asks], ..registration() }
}

fn live_site(spec: ChannelSpec) -> Site {
    let channel = ChannelSpec { path: "/live".into(), ..spec };
    let mut site = Site::with(Limits::default(), 1, channels(channel));
    site.hub.set_session_key(&[7; 32]);
    site
}

#[test]
fn a_request_of_doubtful_length_or_host_is_the_last_of_its_connection() {
    for form in FORMS {
        for (line, more) in [
            ("POST /b", &[("content-length", "35")][..]),
            ("POST /b", &[("content-length", "0, 35")]),
            ("POST /b", &[("content-length", "-5")]),
            ("POST /b", &[("content-length", "0x2c")]),
            ("POST /b", &[("content-length", "abc")]),
            ("POST /b", &[("content-length", "4294967296")]),
            ("POST /b", &[("content-length", "99999999999")]),
            ("POST /b", &[("transfer-encoding", "identity")]),
            ("POST /b", &[("transfer-encoding", "gzip")]),
            ("POST /b", &[("transfer-encoding", "chunked"), ("content-length", "0")]),
            ("GET /a", &[("host", "a/b")]),
            ("GET /a", &[("host", "user@a")]),
            ("GET /nothing", &[("host", "a b")]),
            ("HEAD /a", &[("host", "a b")]),
        ] {
            let mut site = Site::new(1);
            site.message(&mongrel2::http(form, SENDER, 7, "GET /a", &[], b""));
            site.message(&mongrel2::http(form, SENDER, 7, line, more, b""));
            // What stands behind it may be its body.
            site.message(&mongrel2::http(form, SENDER, 7, "GET /a", &[], b""));
            assert_eq!(site.jobs(0).len(), 1, "{line} {more:?}");
            site.respond(FIRST, 1, "first");
            let sent = site.text(7);
            let (_, rest) = sent.split_once("\r\n\r\nfirst").expect("the first request has its response");
            assert!(rest.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{line} {more:?}: {rest}");
            assert!(rest.contains("\r\nConnection: close\r\n"), "{rest}");
            assert_eq!(rest.ends_with("\r\n\r\n"), line.starts_with("HEAD"), "{rest}");
            assert_eq!((rest.matches("HTTP/1.1").count(), site.closed(7)), (1, true), "{line} {more:?}");
            assert_eq!(site.hub.counters().refused, 1);
            site.settles();
        }
    }
}

#[test]
fn http_1_0_needs_no_host_and_http_1_1_does() {
    let block = |version: &str| {
        mongrel2::message(
            Form::Tnetstring,
            SENDER,
            7,
            "/a",
            &[("METHOD", "GET"), ("VERSION", version), ("PATTERN", "/"), ("URI", "/a")],
            b"",
        )
    };
    let mut site = Site::new(1);
    site.message(&block("HTTP/1.1"));
    assert_eq!((site.statuses(7), site.closed(7)), (vec![400], true));
    let mut site = Site::new(1);
    site.message(&block("HTTP/1.0"));
    site.respond(FIRST, 1, "x");
    assert_eq!(site.statuses(7), [200]);
}

#[test]
fn an_upload_of_doubtful_length_leaves_no_file() {
    let mut site = Site::new(1);
    site.hub.set_upload_store(LINK, "/store".into());
    let upload = [("content-length", "70000x"), ("x-mongrel2-upload-start", "tmp/up")];
    site.request_with(7, "POST /b", &upload);
    assert_eq!((site.statuses(7), site.closed(7)), (vec![400], true));
    let done = [&upload[..], &[("x-mongrel2-upload-done", "tmp/up")]].concat();
    site.request_with(7, "POST /b", &done);
    assert!(site.effects.contains(&Effect::DeleteFile(PathBuf::from("/store/up"))));
    assert!(site.jobs(0).is_empty());
    site.settles();
}

#[test]
fn a_whole_address_is_the_path_in_it() {
    for form in FORMS {
        let mut site = Site::new(1);
        for (id, path, handler) in
            [(1, "//localhost:6767/a", Handler::Route(0)), (2, "//LOCALHOST:6767/users/7", Handler::Route(2))]
        {
            site.message(&mongrel2::http(form, SENDER, id, &format!("GET {path}"), &[], b""));
            let job = site.jobs(0).last().unwrap().clone();
            assert_eq!((job.handler, job.path.as_str()), (handler, &path[16..]));
            site.respond(FIRST, job.serial, "x");
            assert_eq!(site.statuses(id as u32), [200]);
        }
        // A path that begins with two slashes is another one.
        site.message(&mongrel2::http(form, SENDER, 3, "GET //a", &[], b""));
        site.message(&mongrel2::http(form, SENDER, 4, "GET //other/a", &[], b""));
        assert_eq!((site.statuses(3), site.statuses(4)), (vec![404], vec![404]));
    }
}

#[test]
fn a_handshake_with_a_body_is_refused_whoever_decides_about_it() {
    for path in ["/live", "/asked"] {
        for more in [("content-length", "8"), ("content-length", "abc"), ("transfer-encoding", "chunked")] {
            let mut site = live_site(ChannelSpec::default());
            site.handshake_with(7, path, &[more]);
            assert_eq!((site.statuses(7), site.closed(7)), (vec![400], true), "{path} {more:?}");
            // Mongrel2 takes the body for a frame.
            site.frame(7, path, 0x81, b"hi");
            assert!(site.told(FIRST).is_empty());
            site.settles();
        }
        let mut site = live_site(ChannelSpec::default());
        site.handshake_with(7, path, &[("content-length", "0")]);
        assert_eq!(site.told(FIRST).len(), 1);
    }
}

#[test]
fn a_page_of_another_site_that_says_not_which_opens_no_session() {
    let site_of = |site: &'static str| [EVENTS, ("sec-fetch-site", site)];
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)] {
        let mut hub = live_site(ChannelSpec::default());
        hub.request_with(7, "GET /live", &site_of(site));
        let sent = hub.text(7);
        assert!(sent.starts_with(&format!("HTTP/1.1 {status} ")), "{site}: {sent}");
        assert_eq!(hub.told(FIRST).len(), usize::from(status == 200), "{site}");
    }
    // Where every page may, this one may; a list of pages is one of pages that say who they are.
    for (origins, status) in [(["*"], 200), (["https://a.example"], 403)] {
        let spec = ChannelSpec { origins: origins.map(str::to_owned).to_vec(), ..ChannelSpec::default() };
        let mut hub = live_site(spec);
        hub.request_with(7, "GET /live", &site_of("cross-site"));
        assert!(hub.text(7).starts_with(&format!("HTTP/1.1 {status} ")), "{origins:?}");
    }
    // A client that is no browser does not say.
    let mut hub = live_site(ChannelSpec::default());
    hub.request_with(7, "GET /live", &[EVENTS]);
    assert!(hub.text(7).starts_with("HTTP/1.1 200 "));
}

#[test]
fn every_spelling_of_a_mount_leads_to_its_app() {
    let spec = |mount: &str| AppSpec { name: "app.lua".into(), mount: mount.into(), workers: 1 };
    for mount in ["/m n/caf\u{e9}", "/m%20n/caf%c3%a9"] {
        let mut site = Site::empty(Limits::default(), 1, vec![spec(mount)]);
        site.hub.handle_server_up(LINK, b"");
        let channel = ChannelSpec { path: "/li ve".into(), ..ChannelSpec::default() };
        site.load(APP, &channels(channel));
        site.request(1, "GET /m%20n/caf%c3%A9/a");
        assert_eq!(site.jobs(0)[0].handler, Handler::Route(0), "{mount}");
        site.handshake(2, "/m%20n/caf%C3%a9/li%20ve");
        assert_eq!(site.told(FIRST).len(), 1, "{mount}");
    }
}

#[test]
fn a_program_may_say_late_what_it_answers_to() {
    let everything =
        Registration { hooks: true, not_found: true, provisional: true, ..Registration::default() };
    let mut site = Site::with(Limits::default(), 1, everything.clone());
    site.request(1, "GET /nothing");
    assert_eq!(site.jobs(0)[0].handler, Handler::NotFound, "it has not said what it answers to");
    site.respond(FIRST, 1, "x");
    site.ready(FIRST, &live());
    site.request(2, "GET /a");
    assert_eq!(site.jobs(0)[1].handler, Handler::Route(0));
    site.request(3, "GET /nothing");
    assert_eq!(site.statuses(3), [404]);
    site.handshake(4, "/live");
    assert_eq!(site.told(FIRST).len(), 1);
    // The worker that takes its place says nothing at first, which changes nothing.
    site.respond(FIRST, 2, "x");
    let before = site.effects.len();
    site.die(FIRST, 2);
    site.pass(seconds(1));
    let next = site.started_since(before)[0];
    site.ready(next, &everything);
    site.request(5, "GET /a");
    assert_eq!(site.workers[&next].jobs[0].handler, Handler::Route(0));
    site.ready(next, &live());
    site.pass(seconds(1));
    assert!(!site.workers[&next].stop && site.workers.len() == 1, "it is not loaded anew");
}

/// `/a` and `/live`.
fn live() -> Registration {
    channels(ChannelSpec { path: "/live".into(), ..ChannelSpec::default() })
}
