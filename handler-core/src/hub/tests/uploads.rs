//! Bodies in files: whose they are, and that each is deleted once.

use super::mongrel2::split_response;
use super::site::*;
use crate::hub::{AppId, Effect, Limits};
use crate::worker::protocol::{Action, Handler, Registration};
use std::path::PathBuf;

const STORE: &str = "/var/spool";
const LENGTH: (&str, &str) = ("content-length", "70000");
const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");

fn start(name: &str) -> (&str, &str) {
    ("x-mongrel2-upload-start", name)
}

fn done(name: &str) -> (&str, &str) {
    ("x-mongrel2-upload-done", name)
}

/// A site whose server has a store.
fn site(limits: Limits, registration: Registration) -> Site {
    let mut site = Site::with(limits, 1, registration);
    site.hub.set_upload_store(LINK, STORE.into());
    site
}

fn stored() -> Site {
    site(Limits::default(), registration())
}

fn deleted(site: &Site) -> Vec<&str> {
    let mut paths = Vec::new();
    for effect in &site.effects {
        if let Effect::DeleteFile(path) = effect {
            paths.extend(path.to_str());
        }
    }
    paths
}

impl Site {
    /// Both messages of an upload in chunks.
    fn upload(&mut self, id: i64, line: &str, name: &str) {
        self.request_with(id, line, &[CHUNKED, start(name)]);
        self.request_with(id, line, &[CHUNKED, start(name), done(name)]);
    }
}

#[test]
fn a_whole_upload_is_a_request_whose_file_goes_with_its_answer() {
    for length in [LENGTH, CHUNKED] {
        let mut site = stored();
        site.request_with(7, "POST /b", &[length, start("tmp/up.a1")]);
        assert!(site.jobs(0).is_empty() && site.replies.is_empty());
        site.pass(seconds(100));
        site.request_with(7, "POST /b", &[length, start("tmp/up.a1"), done("tmp/up.a1")]);
        let job = site.jobs(0)[0].clone();
        assert_eq!((job.handler, job.spool.as_str()), (Handler::Route(1), "/var/spool/up.a1"));
        assert!(deleted(&site).is_empty());
        site.respond(FIRST, 1, "thanks");
        assert_eq!(site.answers(7), [(200, "thanks".to_owned())]);
        assert_eq!(deleted(&site), ["/var/spool/up.a1"]);
        // Behind a body with a length requests are lost, so there are to be none.
        assert_eq!(site.closed(7), length == LENGTH);
        if length == CHUNKED {
            site.request(7, "GET /a");
            assert_eq!(site.jobs(0)[1].spool, "");
            site.respond(FIRST, 2, "");
        }
        site.settles();
        assert_eq!(site.hub.counters().spoofed_uploads, 0);
    }
}

/// Uploads in chunks leave their connection open.
#[test]
fn many_uploads_of_one_connection_are_forgotten() {
    let mut site = stored();
    for number in 1..=1000 {
        site.upload(7, "POST /b", &format!("up.{number}"));
        site.respond(FIRST, number, "");
    }
    assert!(site.hub.remembered_uploads() < 200, "{}", site.hub.remembered_uploads());
}

/// Nothing is asked twice of a disk that stands still.
#[test]
fn the_size_of_a_file_is_asked_for_again_when_it_is_known() {
    let mut site = stored();
    site.request_with(7, "POST /b", &[CHUNKED, start("up.1")]);
    let asked = |site: &Site| site.effects.iter().filter(|e| matches!(e, Effect::Measure { .. })).count();
    let (before, now) = (asked(&site), site.now);
    for second in 1..=10 {
        site.hub.finish_turn(now + seconds(second));
    }
    let mut effects = Vec::new();
    while let Some(effect) = site.hub.poll_effect() {
        effects.push(effect);
    }
    assert_eq!(
        effects.iter().filter(|e| matches!(e, Effect::Measure { .. })).count() + asked(&site) - before,
        1
    );
}

#[test]
fn an_answer_in_pieces_keeps_the_file_until_its_end() {
    let mut site = stored();
    site.upload(7, "POST /b", "a");
    site.act(FIRST, &[Action::Begin { serial: 1, status: 200, head: b"" }]);
    assert!(deleted(&site).is_empty());
    site.act(FIRST, &[Action::End { serial: 1 }]);
    assert_eq!(deleted(&site), ["/var/spool/a"]);
    site.settles();
}

#[test]
fn without_a_store_a_large_body_gets_413_and_nothing_is_deleted() {
    let mut site = Site::new(1);
    site.upload(7, "POST /b", "tmp/a");
    assert_eq!(site.statuses(7), [413]);
    assert!(site.closed(7) && site.jobs(0).is_empty() && deleted(&site).is_empty());
    site.settles();
}

#[test]
fn upload_headers_of_a_client_are_no_upload() {
    let mut site = stored();
    // Without a body that is missing they are words of the client; with one, `done` may still be.
    site.request_with(1, "POST /b", &[start("/etc/passwd"), done("/etc/passwd")]);
    assert_eq!(site.jobs(0)[0].spool, "");
    site.respond(FIRST, 1, "");
    site.request_with(2, "POST /b", &[LENGTH, start("tmp/real"), done("/etc/passwd")]);
    assert_eq!(site.jobs(0).len(), 1);
    site.request_with(2, "POST /b", &[LENGTH, start("tmp/real"), done("tmp/real")]);
    assert_eq!(site.jobs(0)[1].spool, "/var/spool/real");
    site.respond(FIRST, 2, "");
    assert_eq!(deleted(&site), ["/var/spool/real"]);
    assert_eq!(site.hub.counters().spoofed_uploads, 1);
    site.settles();
}

#[test]
fn a_file_that_was_not_announced_is_neither_given_away_nor_deleted() {
    let mut site = stored();
    site.request_with(1, "POST /b", &[LENGTH, start("tmp/a"), done("tmp/a")]);
    assert_eq!(site.statuses(1), [503]);
    site.request_with(2, "POST /b", &[LENGTH, start("tmp/b")]);
    site.request_with(2, "POST /b", &[LENGTH, start("tmp/c"), done("tmp/c")]);
    assert_eq!(site.statuses(2), [503]);
    site.request_with(3, "POST /b", &[LENGTH, start("tmp/b"), done("tmp/b")]);
    assert_eq!(site.statuses(3), [503], "another connection's");
    assert!([1, 2, 3].iter().all(|id| site.closed(*id)));
    assert!(site.jobs(0).is_empty() && deleted(&site).is_empty());
    site.settles();
}

#[test]
fn no_name_leads_out_of_the_store() {
    for (name, path) in [
        ("../../etc/passwd", Some("/var/spool/passwd")),
        ("/etc/passwd", Some("/var/spool/passwd")),
        ("tmp/..", None),
        ("..", None),
        (".", None),
        ("tmp/", None),
        ("", None),
        ("tmp/a\0b", None),
    ] {
        let mut site = stored();
        site.upload(7, "POST /b", name);
        match path {
            Some(path) => {
                assert_eq!(site.jobs(0)[0].spool, path);
                site.respond(FIRST, 1, "");
                assert_eq!(deleted(&site), [path]);
            }
            None => {
                assert_eq!(site.statuses(7), [413], "{name}");
                assert!(deleted(&site).is_empty());
            }
        }
        site.settles();
    }
}

#[test]
fn two_uploads_at_once_and_one_after_the_other_keep_their_files() {
    let mut site = stored();
    site.request_with(1, "POST /b", &[CHUNKED, start("a")]);
    site.request_with(2, "POST /b", &[CHUNKED, start("b")]);
    site.request_with(2, "POST /b", &[CHUNKED, start("b"), done("b")]);
    site.request_with(1, "POST /b", &[CHUNKED, start("a"), done("a")]);
    site.upload(1, "POST /b", "c");
    assert_eq!(
        site.jobs(0).iter().map(|job| job.spool.as_str()).collect::<Vec<_>>(),
        ["/var/spool/b", "/var/spool/a"]
    );
    site.respond(FIRST, 2, "");
    assert_eq!(site.jobs(0)[2].spool, "/var/spool/c");
    site.respond(FIRST, 3, "");
    site.respond(FIRST, 1, "");
    assert_eq!(deleted(&site), ["/var/spool/a", "/var/spool/c", "/var/spool/b"]);
    site.settles();
}

#[test]
fn what_is_announced_as_too_large_is_refused_before_it_comes() {
    let limits = Limits { upload: 69_999, ..Limits::default() };
    let mut site = site(limits, registration());
    site.request_with(7, "POST /b", &[LENGTH, start("a")]);
    assert_eq!(site.statuses(7), [413]);
    assert!(site.closed(7) && deleted(&site).is_empty(), "mongrel2 deletes what it has not completed");
    // It may have been complete before it read our close.
    site.request_with(7, "POST /b", &[LENGTH, start("a"), done("a")]);
    assert_eq!(deleted(&site), ["/var/spool/a"]);
    assert_eq!(site.statuses(7), [413]);
    site.settles();
}

#[test]
fn a_body_that_nobody_would_take_is_refused_before_it_comes() {
    for (line, status) in [("POST /nowhere", 404), ("PUT /a", 405)] {
        let mut site = stored();
        site.request_with(7, line, &[CHUNKED, start("a")]);
        assert_eq!(site.statuses(7), [status]);
        assert!(site.closed(7));
        site.settles();
    }
    // In its turn: the answer to what came before goes first, and the file may be whole by then.
    let mut site = stored();
    site.request(7, "GET /a");
    site.upload(7, "POST /nowhere", "a");
    assert_eq!(deleted(&site), ["/var/spool/a"]);
    site.respond(FIRST, 1, "");
    assert_eq!(site.statuses(7), [200, 404]);
    assert!(site.closed(7));
    site.settles();
}

#[test]
fn a_file_whose_client_or_server_is_gone_is_deleted_when_nobody_reads_it() {
    // While it arrives, Mongrel2 deletes it.
    let mut site = stored();
    site.request_with(7, "POST /b", &[LENGTH, start("a")]);
    site.disconnect(7);
    assert!(deleted(&site).is_empty());
    site.settles();

    // While another request of its connection runs, it waits for nothing any more.
    let mut site = stored();
    site.request(7, "GET /a");
    site.upload(7, "POST /b", "a");
    site.disconnect(7);
    assert_eq!(deleted(&site), ["/var/spool/a"]);
    site.respond(FIRST, 1, "");
    site.settles();

    // While its script runs, the script may still read it.
    let mut site = stored();
    site.upload(7, "POST /b", "a");
    site.disconnect(7);
    assert!(deleted(&site).is_empty());
    site.respond(FIRST, 1, "");
    assert_eq!(deleted(&site), ["/var/spool/a"]);
    site.settles();

    let mut site = stored();
    site.upload(1, "POST /b", "a");
    site.request_with(2, "POST /b", &[LENGTH, start("b")]);
    site.hub.handle_server_down(LINK, site.now);
    site.turn();
    assert_eq!(deleted(&site), ["/var/spool/b"]);
    site.act(FIRST, &[Action::Abort { serial: 1 }]);
    assert_eq!(deleted(&site), ["/var/spool/b", "/var/spool/a"]);
    site.settles();
}

#[test]
fn a_worker_that_dies_before_it_began_leaves_the_file_to_another() {
    let mut site = Site::new(2);
    site.hub.set_upload_store(LINK, STORE.into());
    site.upload(1, "POST /b", "a");
    site.die(FIRST, 0);
    assert_eq!(site.jobs(1)[0].spool, "/var/spool/a");
    assert!(deleted(&site).is_empty());
    site.die(SECOND, 1);
    assert_eq!(site.statuses(1), [502]);
    assert_eq!(deleted(&site), ["/var/spool/a"]);
}

#[test]
fn a_deadline_and_a_full_queue_delete_the_file_too() {
    let mut site = stored();
    site.upload(1, "POST /b", "a");
    site.pass(seconds(31));
    assert_eq!(site.statuses(1), [504]);
    assert_eq!(deleted(&site), ["/var/spool/a"]);

    let limits = Limits { worker_jobs: 1, queue: 1, ..Limits::default() };
    let mut site = self::site(limits, registration());
    for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
        site.upload(id, "POST /b", name);
    }
    assert_eq!(site.statuses(3), [503]);
    assert_eq!(deleted(&site), ["/var/spool/c"]);
}

#[test]
fn with_a_store_the_raw_handler_gets_an_upload_once_it_is_whole() {
    let raw = Registration { raw: true, ..registration() };
    let mut site = site(Limits::default(), raw.clone());
    site.upload(7, "POST /elsewhere", "a");
    let job = site.jobs(0)[0].clone();
    assert_eq!((job.handler, job.spool.as_str()), (Handler::Raw, "/var/spool/a"));
    site.act(FIRST, &[Action::Done { serial: 1 }]);
    assert_eq!((site.jobs(0).len(), deleted(&site)), (1, vec!["/var/spool/a"]));

    let mut site = Site::with(Limits::default(), 1, raw);
    site.upload(7, "POST /b", "a");
    site.act(FIRST, &[Action::Done { serial: 1 }]);
    assert_eq!(site.jobs(0).len(), 2, "without one it gets both messages");
    site.act(FIRST, &[Action::Done { serial: 2 }]);
    assert!(deleted(&site).is_empty(), "and the file is its own");
}

#[test]
fn under_flow_control_a_refusal_keeps_to_the_credits_that_came_with_the_upload() {
    let mut site = site(Limits { upload: 1, ..Limits::default() }, registration());
    site.request_with(7, "POST /b", &[LENGTH, start("a"), ("DOWNLOAD_CREDITS", "102400")]);
    assert!(site.hub.expects_credits());
    let (status, ..) = split_response(&site.sent(7), false).unwrap();
    assert_eq!(status, 413);
}

#[test]
fn each_server_has_a_store_of_its_own() {
    let mut site = Site::empty(Limits::default(), 2, vec![app(1)]);
    let other = crate::hub::LinkId(1);
    site.hub.handle_server_up(LINK, b"");
    site.hub.handle_server_up(other, b"");
    site.hub.set_upload_store(other, PathBuf::from("/other"));
    site.load(AppId(0), &registration());
    site.upload(7, "POST /b", "a");
    assert_eq!(site.statuses(7), [413]);
    for more in [&[LENGTH, start("a")][..], &[LENGTH, start("a"), done("a")][..]] {
        let form = super::mongrel2::Form::Tnetstring;
        let message = super::mongrel2::http(form, "m3", 7, "POST /b", more, b"");
        site.hub.handle_message(other, &message, site.now);
        site.turn();
    }
    assert_eq!(site.jobs(0)[0].spool, "/other/a");
}
