//! How many bytes of bodies there may be, of all clients and of each, and how slowly one may come.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::hub::{Effect, Limits};
use crate::worker::protocol::Action;

const ANN: (&str, &str) = ("REMOTE_ADDR", "203.0.113.7");
const BOB: (&str, &str) = ("REMOTE_ADDR", "203.0.113.8");
const LOCAL: (&str, &str) = ("REMOTE_ADDR", "127.0.0.1");
const LENGTH: (&str, &str) = ("content-length", "700000");
const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");

/// `GET /a`, `POST /b`, and `POST /s` that reads bodies as they arrive.
fn site(limits: Limits) -> Site {
    let mut registration = registration();
    registration.routes.push(route(&["POST"], "/s", 3));
    registration.routes[3].streams = true;
    let mut site = Site::with(limits, 1, registration);
    site.hub.set_body_folder("/var/own".into());
    site.hub.set_upload_store(LINK, "/var/spool".into());
    site
}

fn of_total(upload_total: usize) -> Site {
    site(Limits { upload_total, ..Limits::default() })
}

fn file(id: i64) -> String {
    format!("/var/spool/up.{id}")
}

impl Site {
    /// A body begins to come into a file of Mongrel2.
    fn begins_file(&mut self, id: i64, line: &str, length: (&str, &str), from: (&str, &str)) -> Vec<u16> {
        let name = format!("up.{id}");
        self.request_with(id, line, &[length, ("x-mongrel2-upload-start", &*name), from]);
        self.statuses(id as u32)
    }

    fn completes_file(&mut self, id: i64, line: &str, length: (&str, &str), from: (&str, &str)) {
        let name = format!("up.{id}");
        let more = [length, ("x-mongrel2-upload-start", &*name), ("x-mongrel2-upload-done", &*name), from];
        self.request_with(id, line, &more);
    }

    fn begins_parts(&mut self, id: i64, line: &str, from: (&str, &str), body: &[u8]) -> Vec<u16> {
        let more = [LENGTH, ("UPLOAD_STREAM", "0"), from];
        self.message(&mongrel2::http(Form::Tnetstring, SENDER, id, line, &more, body));
        self.statuses(id as u32)
    }

    fn next_part(&mut self, id: i64, line: &str, offset: usize, body: &[u8]) {
        let path = line.split(' ').next_back().unwrap();
        self.message(&mongrel2::part(Form::Json, SENDER, id, path, offset, false, body));
    }

    /// The file of a connection has this size at the next look.
    fn grows(&mut self, id: i64, size: u64) {
        self.sizes.insert(file(id).into(), Some(size));
        self.pass(seconds(2));
    }

    /// All that was to be written is written.
    fn writes(&mut self) {
        let written: Vec<_> =
            self.effects.extract_if(.., |effect| matches!(effect, Effect::WriteFile { .. })).collect();
        for effect in written {
            if let Effect::WriteFile { key, path, bytes, .. } = effect {
                self.hub.handle_written(key, &path, Ok(bytes.len()), self.now);
            }
        }
        self.turn();
    }
}

#[test]
fn bodies_that_grow_beyond_all_that_may_be_are_refused_newest_first() {
    for line in ["POST /b", "POST /s"] {
        for length in [LENGTH, CHUNKED] {
            let mut site = of_total(900_000);
            for id in 1..=3 {
                assert!(
                    site.begins_file(id, line, length, LOCAL).is_empty(),
                    "what is announced does not count"
                );
                site.pass(seconds(1));
            }
            site.grows(3, 100_000);
            site.grows(1, 400_000);
            site.grows(2, 400_000);
            assert!(
                (1..=3).all(|id| site.statuses(id).is_empty()),
                "{line} {length:?}: just as much as may be"
            );
            site.grows(1, 450_000);
            assert_eq!(site.statuses(3), [503], "{line} {length:?}: the last one");
            assert!(site.text(3).contains("Retry-After: ") && site.closed(3));
            assert!(site.statuses(1).is_empty() && site.statuses(2).is_empty());
            assert_eq!(site.hub.counters().overloaded, 1);
            // One more finds no room either, and is told before it sends.
            assert_eq!(site.begins_file(4, line, LENGTH, LOCAL), [503]);
            assert_eq!(site.begins_parts(5, line, LOCAL, b"begin"), [503]);
            assert!(site.closed(4) && site.closed(5));
            assert_eq!(site.hub.counters().overloaded, 3);
        }
    }
}

#[test]
fn a_whole_body_counts_until_its_request_is_over() {
    for length in [LENGTH, CHUNKED] {
        let mut site = of_total(1_000_000);
        site.sizes.insert(file(1).into(), Some(700_000));
        assert!(site.begins_file(1, "POST /b", length, LOCAL).is_empty());
        site.completes_file(1, "POST /b", length, LOCAL);
        assert_eq!(site.jobs(0).len(), 1);
        site.pass(seconds(2));
        assert_eq!(site.begins_file(2, "POST /b", LENGTH, LOCAL), [503], "{length:?}");
        assert!(site.statuses(1).is_empty(), "what is whole is not taken away");
        site.respond(FIRST, 1, "thanks");
        site.pass(seconds(2));
        assert!(site.begins_file(3, "POST /b", LENGTH, LOCAL).is_empty(), "{length:?}");
    }
    // The same for one that a worker reads while it comes, and for the hub's own files.
    let mut site = of_total(1_000_000);
    site.begins_file(1, "POST /s", LENGTH, LOCAL);
    site.completes_file(1, "POST /s", LENGTH, LOCAL);
    site.pass(seconds(2));
    assert_eq!(site.begins_parts(2, "POST /b", LOCAL, b"begin"), [503]);
    site.respond(FIRST, 1, "thanks");
    site.pass(seconds(2));
    assert!(site.begins_parts(3, "POST /b", LOCAL, b"begin").is_empty());
    site.pass(seconds(1));
    assert_eq!(site.hub.counters().overloaded, 1);
}

#[test]
fn parts_count_where_the_hub_writes_them_to_a_file() {
    let mut site = of_total(700_010);
    site.request_with(1, "POST /b", &[CHUNKED, ("UPLOAD_STREAM", "0"), LOCAL]);
    site.pass(seconds(1));
    assert!(site.begins_file(2, "POST /b", CHUNKED, LOCAL).is_empty());
    for sent in (0..700_000).step_by(100_000) {
        site.next_part(1, "POST /b", sent, &[b'x'; 100_000]);
        site.writes();
    }
    site.message(&mongrel2::part(Form::Json, SENDER, 1, "/b", 700_000, true, b""));
    site.writes();
    assert_eq!(site.jobs(0).len(), 1);
    site.pass(seconds(3));
    assert_eq!(site.statuses(2), [503], "1000 bytes are too much beside it");
    site.respond(FIRST, 1, "thanks");
    site.pass(seconds(2));
    assert!(site.begins_file(3, "POST /b", LENGTH, LOCAL).is_empty());
}

#[test]
fn one_client_cannot_take_the_room_of_all() {
    let limits = Limits { upload_total_per_address: 1_000_000, ..Limits::default() };
    let mut site = site(limits);
    for (id, from) in [(1, ANN), (2, ANN), (3, BOB), (4, LOCAL), (5, LOCAL)] {
        assert!(site.begins_file(id, "POST /b", LENGTH, from).is_empty());
        site.pass(seconds(1));
    }
    (1..=5).for_each(|id| site.grows(id, 600_000));
    assert_eq!(site.statuses(2), [503]);
    assert!([1, 3, 4, 5].iter().all(|id| site.statuses(*id).is_empty()), "others have room of their own");
    assert_eq!(site.begins_file(6, "POST /b", LENGTH, ANN), [503]);
    assert!(site.begins_file(7, "POST /b", CHUNKED, ANN).is_empty());
    site.disconnect(1);
    site.pass(seconds(2));
    assert!(site.begins_file(8, "POST /b", LENGTH, ANN).is_empty());
}

#[test]
fn what_would_not_fit_even_alone_gets_413() {
    for limits in [
        Limits { upload_total: 699_999, ..Limits::default() },
        Limits { upload_total_per_address: 699_999, ..Limits::default() },
    ] {
        let mut site = site(limits);
        assert_eq!(site.begins_file(1, "POST /b", LENGTH, ANN), [413]);
        assert_eq!(site.begins_parts(2, "POST /b", ANN, b"begin"), [413]);
    }
}

#[test]
fn a_body_that_comes_too_slowly_gets_408() {
    for line in ["POST /b", "POST /s"] {
        let mut site = site(Limits::default());
        let (mut slow, mut fast) = (1000, 1000);
        site.begins_file(1, line, LENGTH, LOCAL);
        site.begins_file(2, line, LENGTH, LOCAL);
        for _ in 0..60 {
            slow += 90 * 5;
            fast += 110 * 5;
            site.sizes.insert(file(1).into(), Some(slow));
            site.sizes.insert(file(2).into(), Some(fast));
            site.pass(seconds(5));
        }
        assert_eq!(site.statuses(1), [408], "{line}");
        assert!(site.closed(1) && site.statuses(2).is_empty(), "{line}");
        assert_eq!(site.hub.counters().refused, 1);
    }
    for line in ["POST /b", "POST /s"] {
        let mut site = site(Limits::default());
        site.begins_parts(1, line, LOCAL, b"begin");
        site.begins_parts(2, line, LOCAL, b"begin");
        if line == "POST /s" {
            let want = |serial| Action::Want { serial, bytes: 600_000 };
            site.act(FIRST, &[want(1), want(2)]);
        }
        for turn in 0..60 {
            site.next_part(1, line, 5 + turn, b"x");
            site.next_part(2, line, 5 + turn * 600, &[b'x'; 600]);
            site.writes();
            site.pass(seconds(5));
        }
        assert_eq!(site.statuses(1), [408], "{line}");
        assert!(site.closed(1) && site.statuses(2).is_empty(), "{line}");
    }
}

/// The client has sent all that it may.
#[test]
fn a_body_that_its_script_reads_slowly_is_not_its_clients_fault() {
    let mut site = site(Limits::default());
    site.begins_parts(1, "POST /s", LOCAL, b"");
    for turn in 0..20 {
        site.act(FIRST, &[Action::Want { serial: 1, bytes: 10 }]);
        site.next_part(1, "POST /s", 10 * turn, &[b'x'; 10]);
        site.pass(seconds(29));
    }
    assert!(site.statuses(1).is_empty());
}

/// A hub that was stopped has not heard what came meanwhile.
#[test]
fn time_in_which_the_hub_does_not_run_does_not_count() {
    let mut site = site(Limits::default());
    site.begins_parts(1, "POST /b", LOCAL, b"begin");
    site.begins_file(2, "POST /b", LENGTH, LOCAL);
    site.writes();
    site.pass(seconds(10));
    site.now += seconds(1000);
    site.turn();
    assert!(site.statuses(1).is_empty() && site.statuses(2).is_empty());
    site.pass(seconds(10));
    assert!(site.statuses(1).is_empty() && site.statuses(2).is_empty());
}
