//! The client library: where it is served, and where something else has its path.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::hub::{AppSpec, Limits};
use crate::worker::protocol::{ChannelSpec, Registration, RouteSpec};

fn site_with(paths: &[&str], routes: Vec<RouteSpec>) -> Site {
    let channels = paths.iter().map(|path| ChannelSpec { path: (*path).into(), ..ChannelSpec::default() });
    Site::with(Limits::default(), 1, Registration { channels: channels.collect(), routes, ..registration() })
}

fn ask(site: &mut Site, id: i64, line: &str, more: &[(&str, &str)]) -> String {
    site.message(&mongrel2::http(Form::Tnetstring, SENDER, id, line, more, b""));
    site.text(id as u32)
}

/// The value of a header.
fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn an_app_with_channels_has_it_and_clients_keep_it() {
    let mut site = site_with(&["/chat"], Vec::new());
    let whole = ask(&mut site, 1, "GET /kennel.js", &[]);
    assert!(whole.starts_with("HTTP/1.1 200 "), "{whole}");
    assert!(whole.contains("class KennelChannel"));
    assert_eq!(header(&whole, "Content-Type"), Some("text/javascript; charset=utf-8"));
    let tag = header(&whole, "ETag").unwrap();
    let again = ask(&mut site, 2, "GET /kennel.js", &[("if-none-match", tag)]);
    assert!(again.starts_with("HTTP/1.1 304 ") && again.ends_with("\r\n\r\n"), "{again}");
    assert_eq!(header(&again, "ETag"), Some(tag));
    let other = ask(&mut site, 3, "GET /kennel.js", &[("if-none-match", "\"older\"")]);
    assert!(other.starts_with("HTTP/1.1 200 "), "{other}");
    let head = ask(&mut site, 4, "HEAD /kennel.js", &[]);
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(header(&head, "Content-Length"), header(&whole, "Content-Length"));
    let refused = ask(&mut site, 5, "POST /kennel.js", &[]);
    assert_eq!(header(&refused, "Allow"), Some("GET, HEAD"), "{refused}");
    site.settles();
}

#[test]
fn it_is_compressed_for_clients_that_take_that() {
    let mut site = site_with(&["/chat"], Vec::new());
    let whole = ask(&mut site, 1, "GET /kennel.js", &[]);
    let get = |site: &mut Site, id: u32, more: &[(&str, &str)]| {
        site.message(&mongrel2::http(Form::Tnetstring, SENDER, id.into(), "GET /kennel.js", more, b""));
        let sent = site.sent(id);
        let end = sent.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        (String::from_utf8(sent[..end].to_vec()).unwrap(), sent[end..].to_vec())
    };
    let (head, body) = get(&mut site, 2, &[("accept-encoding", "br, gzip")]);
    assert_eq!(header(&head, "Content-Encoding"), Some("gzip"));
    assert_eq!(header(&head, "Content-Length"), Some(&*body.len().to_string()));
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut unpacked).unwrap();
    assert!(whole.ends_with(&unpacked) && unpacked.len() > 3 * body.len(), "{} bytes", body.len());
    for head in [&whole, &head] {
        assert_eq!(header(head, "Vary"), Some("Accept-Encoding"));
        assert_eq!(header(head, "Cache-Control"), Some("public, max-age=300"));
    }
    let tag = header(&head, "ETag").unwrap();
    assert_eq!(Some(tag.strip_prefix("W/").unwrap()), header(&whole, "ETag"));
    let (again, body) = get(&mut site, 3, &[("accept-encoding", "gzip"), ("if-none-match", tag)]);
    assert!(again.starts_with("HTTP/1.1 304 ") && body.is_empty(), "{again}");
    let (refused, _) = get(&mut site, 4, &[("if-match", "\"older\"")]);
    assert!(refused.starts_with("HTTP/1.1 412 ") && !refused.contains("Cache-Control"), "{refused}");
    assert_eq!(header(&get(&mut site, 5, &[("accept-encoding", "gzip;q=0")]).0, "Content-Encoding"), None);
}

#[test]
fn an_app_without_channels_has_nothing_there() {
    for paths in [&[][..], &["@chat", "<chat"]] {
        let mut site = site_with(paths, Vec::new());
        assert!(ask(&mut site, 1, "GET /kennel.js", &[]).starts_with("HTTP/1.1 404 "), "{paths:?}");
    }
}

#[test]
fn a_route_of_the_app_comes_first() {
    let route = |path: &str, method: &str| RouteSpec {
        methods: vec![method.into()],
        path: path.into(),
        handler: 7,
        place: "app.lua:1".into(),
        streams: false,
    };
    let mut site = site_with(&["/chat"], vec![route("/{name}", "GET")]);
    ask(&mut site, 1, "GET /kennel.js", &[]);
    assert_eq!(site.jobs(0).len(), 1);
    let mut site = site_with(&["/chat"], vec![route("/kennel.js", "PUT")]);
    assert!(ask(&mut site, 1, "GET /kennel.js", &[]).starts_with("HTTP/1.1 405 "));
}

#[test]
fn a_mounted_app_has_it_below_its_mount_point() {
    let spec = AppSpec { name: "app.lua".into(), mount: "/app".into(), workers: 1 };
    let mut site = Site::empty(Limits::default(), 1, vec![spec]);
    site.hub.handle_server_up(LINK, b"");
    let channel = ChannelSpec { path: "/chat".into(), ..ChannelSpec::default() };
    site.load(APP, &Registration { channels: vec![channel], ..registration() });
    assert!(ask(&mut site, 1, "GET /app/kennel.js", &[]).starts_with("HTTP/1.1 200 "));
    assert!(ask(&mut site, 2, "GET /kennel.js", &[]).starts_with("HTTP/1.1 404 "));
}
