//! Who answers a request, and what the hub answers itself.

use super::mongrel2::{self, Form, message};
use super::site::*;
use crate::hub::{AppId, AppSpec, Limits};
use crate::worker::protocol::{ChannelSpec, Handler, Registration};

#[test]
fn a_request_reaches_its_handler_with_its_values_and_its_answer_the_client() {
    let mut site = Site::new(1);
    site.request(7, "GET /users/caf%C3%A9");
    let job = site.jobs(0)[0].clone();
    assert_eq!((job.serial, job.handler, job.path.as_str()), (1, Handler::Route(2), "/users/caf%C3%A9"));
    assert_eq!((job.conn.as_str(), job.params), ("boot-0.0.7", vec!["caf%C3%A9".to_owned()]));
    site.respond(FIRST, 1, "hi");
    assert_eq!(site.answers(7), [(200, "hi".to_owned())]);
    assert!(!site.closed(7));
    site.settles();
}

#[test]
fn the_hub_answers_unknown_paths_methods_and_options_itself() {
    let mut site = Site::new(1);
    site.request(1, "GET /nowhere");
    site.request(2, "POST /a");
    site.request(3, "OPTIONS /a");
    assert_eq!(site.statuses(1), [404]);
    assert_eq!(site.statuses(2), [405]);
    assert!(site.text(2).contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"));
    let options = site.text(3);
    assert!(options.starts_with("HTTP/1.1 204 No Content\r\n"), "{options}");
    assert!(options.contains("Allow: GET, HEAD, OPTIONS\r\n") && !options.contains("Content-Length"));
    assert!(site.jobs(0).is_empty());
    assert!(![1, 2, 3].into_iter().any(|id| site.closed(id)), "HTTP/1.1 stays open");
    site.settles();
}

#[test]
fn a_head_request_gets_the_headers_of_get_from_handlers_and_hub_alike() {
    let mut site = Site::new(1);
    site.request(1, "HEAD /a");
    assert_eq!(site.jobs(0)[0].handler, Handler::Route(0));
    site.respond(FIRST, 1, "hello");
    assert!(site.text(1).ends_with("Content-Length: 5\r\n\r\n"));
    site.request(2, "HEAD /nowhere");
    let text = site.text(2);
    assert!(
        text.starts_with("HTTP/1.1 404")
            && text.ends_with("\r\n\r\n")
            && text.contains("Content-Length: 49\r\n")
    );
}

#[test]
fn a_script_with_hooks_answers_404_405_and_options() {
    let registration = Registration { hooks: true, ..registration() };
    let mut site = Site::with(Limits::default(), 1, registration);
    for line in ["GET /nowhere", "POST /a", "OPTIONS /a"] {
        site.request(1, line);
        let job = site.jobs(0).last().unwrap().clone();
        site.respond(FIRST, job.serial, line);
    }
    let handlers: Vec<_> = site.jobs(0).iter().map(|job| (job.handler, job.params.join(""))).collect();
    let allow = "GET, HEAD, OPTIONS".to_owned();
    let expected = [
        (Handler::NotFound, String::new()),
        (Handler::MethodNotAllowed, allow.clone()),
        (Handler::Options, allow),
    ];
    assert_eq!(handlers, expected);
}

#[test]
fn a_script_without_routes_takes_all_methods_and_paths() {
    let all = ChannelSpec { path: "/{*rest}".into(), asks: true, ..ChannelSpec::default() };
    let application = Registration {
        routes: Vec::new(),
        channels: vec![all.clone()],
        hooks: true,
        not_found: true,
        ..registration()
    };
    let mut site = Site::with(Limits::default(), 1, application.clone());
    for line in ["GET /a", "HEAD /a", "OPTIONS /", "POST /b/c", "PROPFIND /a"] {
        site.request(1, line);
        let job = site.jobs(0).last().unwrap().clone();
        assert_eq!((job.handler, job.params.len()), (Handler::NotFound, 0), "{line}");
        site.respond(FIRST, job.serial, "");
    }
    // A channel that does not ask is no application's: its path is for WebSockets.
    let channels = vec![ChannelSpec { asks: false, ..all }];
    let mut site = Site::with(Limits::default(), 1, Registration { channels, ..application });
    site.request(1, "GET /a");
    assert_eq!(site.statuses(1), [426]);
}

#[test]
fn a_connection_is_closed_when_version_or_header_say_so() {
    let mut site = Site::new(1);
    let old = ("VERSION", "HTTP/1.0");
    let keep = ("connection", "Keep-Alive");
    for (id, more, closed) in [
        (1, &[][..], false),
        (2, &[("connection", "close")][..], true),
        (3, &[old][..], true),
        (4, &[old, keep][..], false),
    ] {
        site.request_with(id, "GET /a", more);
        site.respond(FIRST, site.jobs(0).last().unwrap().serial, "x");
        let id = id as u32;
        assert_eq!((site.statuses(id), site.closed(id)), (vec![200], closed), "connection {id}");
        assert_eq!(site.text(id).contains("Connection: close\r\n"), closed);
    }
    assert!(site.text(4).contains("Connection: keep-alive\r\n"));
    site.settles();
}

#[test]
fn a_path_that_ends_inside_its_routes_key_is_not_found() {
    let mut site = Site::new(1);
    site.request_with(1, "GET /a", &[("PATTERN", "/a/b")]);
    site.request_with(2, "GET /a", &[("PATTERN", "/a(.*)")]);
    assert_eq!(site.statuses(1), [404]);
    assert_eq!(site.jobs(0).len(), 1);
}

#[test]
fn the_longest_mount_point_owns_a_path() {
    let spec = |mount: &str| AppSpec { name: mount.into(), mount: mount.into(), workers: 1 };
    let mut site = Site::empty(Limits::default(), 1, vec![spec("/"), spec("/shop")]);
    site.hub.handle_server_up(LINK, b"");
    site.load(AppId(0), &Registration { not_found: true, ..registration() });
    site.load(AppId(1), &Registration { not_found: true, ..registration() });
    site.request(1, "GET /shop/a");
    site.request(2, "GET /a");
    site.request(3, "GET /shop/x");
    site.request(4, "GET /shopping");
    assert_eq!(site.jobs(0).iter().map(|j| j.path.as_str()).collect::<Vec<_>>(), ["/a", "/shopping"]);
    assert_eq!(site.jobs(1).iter().map(|j| j.path.as_str()).collect::<Vec<_>>(), ["/shop/a", "/shop/x"]);
}

#[test]
fn of_two_apps_with_one_mount_point_the_one_with_a_page_says_what_is_not_there() {
    let spec = |name: &str| AppSpec { name: name.into(), mount: "/".into(), workers: 1 };
    let mut site = Site::empty(Limits::default(), 1, vec![spec("plain"), spec("page")]);
    site.hub.handle_server_up(LINK, b"");
    site.load(AppId(0), &registration());
    site.load(AppId(1), &Registration { not_found: true, ..registration() });
    site.request(1, "GET /a");
    site.request(2, "GET /nowhere");
    assert_eq!(site.jobs(0).iter().map(|j| j.path.as_str()).collect::<Vec<_>>(), ["/a"]);
    assert_eq!(site.jobs(1).iter().map(|j| j.path.as_str()).collect::<Vec<_>>(), ["/nowhere"]);
}

#[test]
fn what_is_no_request_is_refused_and_closed() {
    let mut site = Site::new(1);
    for (id, method) in [(1, "JSON"), (2, "XML"), (3, "WEBSOCKET")] {
        site.request(id, &format!("{method} /a"));
    }
    site.request_with(4, "GET /a", &[("VERSION", "HTTP/3")]);
    let plain = |id, path, method| message(Form::Json, SENDER, id, path, &[("METHOD", method)], b"");
    site.message(&plain(5, "/ws", "WEBSOCKET_HANDSHAKE"));
    let big = [("content-length", "99999"), ("x-mongrel2-upload-start", "tmp/x")];
    site.request_with(6, "POST /b", &big);
    site.json(7, "{}");
    let statuses: Vec<_> = (1..=7).map(|id| site.statuses(id).first().copied().unwrap_or_default()).collect();
    assert_eq!(statuses, [400, 400, 400, 400, 404, 413, 0]);
    assert!((1..=7).all(|id| site.closed(id)));
    assert!(site.jobs(0).is_empty());
    site.settles();
}

#[test]
fn messages_that_make_no_sense_are_counted_and_harm_nobody() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    let good = mongrel2::http(Form::Json, SENDER, 2, "GET /a", &[("cookie", "a\"\\b")], b"body");
    for end in 0..good.len() {
        site.message(&good[..end]);
    }
    assert_eq!(site.hub.counters().malformed, good.len() as u64);
    site.message(&message(Form::Json, "other", 1, "@*", &[("METHOD", "JSON")], br#"{"type":"disconnect"}"#));
    site.message(&message(Form::Json, SENDER, -1, "@*", &[("METHOD", "JSON")], br#"{"type":"disconnect"}"#));
    site.message(&message(Form::Json, SENDER, 1 << 31, "/a", &[("METHOD", "GET")], b""));
    let forged = [("METHOD", "JSON"), ("PATTERN", "@")];
    site.message(&message(Form::Json, SENDER, 1, "@*", &forged, br#"{"type":"disconnect"}"#));
    assert_eq!(site.hub.counters().refused, 4);
    site.respond(FIRST, 1, "still here");
    assert_eq!(site.answers(1), [(200, "still here".to_owned())]);
    site.settles();
}

#[test]
fn a_header_block_that_breaks_its_form_gets_400() {
    let mut site = Site::new(1);
    site.message(b"m2 1 /a 15:{\"METHOD\":\"GET\",0:,");
    site.message(b"m2 2 /a 12:{\"METHOD\":1},0:,");
    assert_eq!(site.hub.counters().malformed, 2);
    assert_eq!((site.statuses(2), site.closed(2)), (vec![400], true));
}

#[test]
fn upload_headers_of_a_client_are_counted_and_mean_nothing() {
    let mut site = Site::new(1);
    let spoofed = [("x-mongrel2-upload-start", "/etc/passwd"), ("x-mongrel2-upload-done", "/etc/passwd")];
    site.request_with(1, "GET /a", &spoofed);
    assert_eq!(site.hub.counters().spoofed_uploads, 1);
    assert_eq!(site.jobs(0).len(), 1);
}

#[test]
fn a_page_for_broken_code_replaces_all_answers_until_newer_code_is_in_charge() {
    let mut site = Site::new(1);
    site.hub.set_broken(APP, Some("<p>line 3</p>".into()));
    site.request(1, "GET /a");
    assert_eq!(site.answers(1), [(500, "<p>line 3</p>".to_owned())]);
    site.load(APP, &registration());
    site.request(1, "GET /nowhere");
    assert_eq!(site.statuses(1), [500, 404]);
}

#[test]
fn a_request_that_comes_before_any_code_is_loaded_is_not_told_that_nothing_is_there() {
    let mut site = Site::empty(Limits::default(), 1, vec![app(1)]);
    site.hub.handle_server_up(LINK, b"");
    let loading = site.begin_load(APP);
    site.request(1, "GET /a");
    assert_ne!(site.statuses(1), [404]);
    site.ready(loading[0], &registration());
}
