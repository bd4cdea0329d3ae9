//! Bodies that are still arriving: in parts, and in files that grow.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::hub::{Effect, Limits};
use crate::worker::protocol::{Action, Registration};
use std::path::PathBuf;

const FOLDER: &str = "/var/own";
const LENGTH: (&str, &str) = ("content-length", "700000");
const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");
const WINDOW: usize = 256 << 10;

/// `POST /s` reads bodies as they arrive, `POST /b` does not.
fn streaming() -> Registration {
    let mut registration = registration();
    registration.routes.push(route(&["POST"], "/s", 3));
    registration.routes[3].streams = true;
    registration
}

fn site_with(limits: Limits, workers: u32) -> Site {
    let mut site = Site::with(limits, workers, streaming());
    site.hub.set_body_folder(FOLDER.into());
    site.hub.set_upload_store(LINK, "/var/spool".into());
    site
}

fn site() -> Site {
    site_with(Limits::default(), 1)
}

/// A file's bytes so far, and whether that is all.
type Written = (PathBuf, Vec<u8>, bool);

impl Site {
    /// The first message of a body in parts, with so much of it.
    fn begins(&mut self, id: i64, line: &str, length: (&str, &str), body: &[u8]) {
        let more = [length, ("UPLOAD_STREAM", "0")];
        self.message(&mongrel2::http(Form::Tnetstring, SENDER, id, line, &more, body));
    }

    fn part(&mut self, id: i64, offset: usize, body: &[u8], last: bool) {
        self.message(&mongrel2::part(Form::Json, SENDER, id, "/s", offset, last, body));
    }

    /// All credits that a connection was granted so far.
    fn granted(&self, id: u32) -> usize {
        let mine = self.replies.iter().filter(|reply| reply.extended && reply.ids == [id]);
        mine.filter_map(|reply| {
            let text = String::from_utf8_lossy(&reply.payload).into_owned();
            let (_, number) = text.split_once("7:credits,")?;
            number.split(['#', ':']).nth(1)?.parse::<usize>().ok()
        })
        .sum()
    }

    fn cancelled(&self, id: u32) -> bool {
        let mut mine = self.replies.iter().filter(|reply| reply.extended && reply.ids == [id]);
        mine.any(|reply| String::from_utf8_lossy(&reply.payload).contains("cancel"))
    }

    fn want(&mut self, serial: u64, bytes: u32) {
        self.act(FIRST, &[Action::Want { serial, bytes }]);
    }

    /// Takes what is to be written: each file's bytes so far, and whether that is all.
    fn write(&mut self) -> Vec<Written> {
        let (mut files, mut done): (Vec<Written>, Vec<_>) = Default::default();
        for effect in &self.effects {
            if let Effect::WriteFile { key, path, bytes, last } = effect {
                match files.iter_mut().find(|(known, ..)| known == path) {
                    Some(file) => {
                        file.1.extend(bytes);
                        file.2 = *last;
                    }
                    None => files.push((path.clone(), bytes.clone(), *last)),
                }
                done.push((*key, path.clone(), bytes.len()));
            }
        }
        self.effects.retain(|effect| !matches!(effect, Effect::WriteFile { .. }));
        for (key, path, bytes) in done {
            self.hub.handle_written(key, &path, Ok(bytes), self.now);
        }
        self.turn();
        files
    }

    fn deleted(&self) -> Vec<String> {
        let path = |effect: &Effect| match effect {
            Effect::DeleteFile(path) => Some(path.display().to_string()),
            _ => None,
        };
        self.effects.iter().filter_map(path).collect()
    }

    fn parts(&self) -> &[(u64, bool, Vec<u8>)] {
        &self.workers[&FIRST].parts
    }

    fn grown(&self) -> &[(u64, bool, u64)] {
        &self.workers[&FIRST].grown
    }
}

#[test]
fn a_route_that_streams_gets_its_request_at_once_and_the_body_as_it_asks() {
    let mut site = site();
    site.begins(7, "POST /s", LENGTH, b"begin");
    let job = site.jobs(0)[0].clone();
    assert_eq!((job.spool.as_str(), job.body.as_slice()), ("+", &b"begin"[..]));
    site.pass(seconds(20));
    assert_eq!(site.granted(7), 0, "who does not ask costs nothing");
    site.want(1, 100_000);
    assert_eq!(site.granted(7), 100_000);
    site.part(7, 5, &[b'x'; 60_000], false);
    assert_eq!(site.parts(), [(1, false, vec![b'x'; 60_000])]);
    site.want(1, 1000);
    assert_eq!(site.granted(7), 100_000, "so little is not worth a message while more is under way");
    site.want(1, u32::MAX);
    assert_eq!(site.granted(7), 60_000 + WINDOW, "a worker may want what it likes");
    site.part(7, 60_005, &vec![b'y'; WINDOW], false);
    site.pass(millis(1));
    let rest = 700_000 - 60_005 - WINDOW;
    assert_eq!(site.granted(7), 60_000 + 2 * WINDOW);
    site.part(7, 60_005 + WINDOW, &vec![b'z'; WINDOW], false);
    site.pass(millis(1));
    assert_eq!(site.granted(7), 700_000 - 5, "and never more than there is");
    site.part(7, 60_005 + 2 * WINDOW, &vec![b'z'; rest - WINDOW], true);
    assert!(site.parts()[3].1);
    site.respond(FIRST, 1, "thanks");
    assert_eq!(site.answers(7), [(200, "thanks".to_owned())]);
    assert!(!site.closed(7), "all of it was read");
    site.request(7, "GET /a");
    site.respond(FIRST, 2, "");
    site.settles();
}

#[test]
fn a_chunk_may_be_larger_than_its_credits_and_the_next_waits_for_more() {
    let mut site = site();
    site.begins(7, "POST /s", CHUNKED, b"");
    site.want(1, 10);
    site.part(7, 0, &[b'x'; 90_000], false);
    site.want(1, 90_000);
    assert_eq!(site.granted(7), 90_010);
    site.part(7, 90_000, b"", true);
    assert_eq!(site.parts().last(), Some(&(1, true, Vec::new())));
    site.respond(FIRST, 1, "");
    assert!(!site.closed(7) && site.statuses(7) == [200]);
    site.settles();
}

#[test]
fn for_other_routes_the_parts_are_collected_in_a_file_that_is_the_hubs_own() {
    for length in [LENGTH, CHUNKED] {
        let mut site = site();
        let first: &[u8] = if length == LENGTH { b"begin" } else { b"" };
        site.begins(7, "POST /b", length, first);
        assert_eq!(site.granted(7), WINDOW - first.len());
        let (mut at, total) = (first.len(), 700_000);
        while at < total {
            let size = 60_000.min(total - at);
            if site.granted(7) < at + size {
                site.write();
            }
            site.part(7, at, &vec![b'x'; size], length == LENGTH && at + size == total);
            at += size;
            let under_way = site.hub.bodies.streamed.under_way().max().unwrap_or(0);
            assert!(under_way <= WINDOW as u64, "{under_way}");
            assert!(site.jobs(0).is_empty());
        }
        if length == CHUNKED {
            site.part(7, total, b"", true);
        }
        assert!(site.jobs(0).is_empty(), "it is not written yet");
        let files = site.write();
        assert!(files.last().unwrap().2);
        let job = site.jobs(0)[0].clone();
        assert!(job.spool.starts_with("/var/own/boot-"), "{}", job.spool);
        assert!(site.deleted().is_empty());
        site.respond(FIRST, 1, "thanks");
        assert_eq!(site.deleted(), [job.spool]);
        assert_eq!(site.statuses(7), [200]);
        assert!(!site.closed(7));
        site.settles();
    }
}

#[test]
fn an_answer_before_the_body_is_there_is_the_last_word() {
    for line in ["POST /s", "POST /nowhere", "PUT /b"] {
        let mut site = site();
        site.begins(7, line, LENGTH, b"begin");
        if line == "POST /s" {
            site.want(1, 100);
            site.respond(FIRST, 1, "no, thanks");
        }
        assert_eq!(site.statuses(7).len(), 1);
        assert!(site.closed(7));
        site.part(7, 5, &[b'x'; 100], false);
        assert_eq!(site.statuses(7).len(), 1, "what was under way is passed over");
        assert!(site.parts().is_empty());
        site.settles();
    }
}

#[test]
fn what_is_too_large_gets_413_as_soon_as_that_is_known() {
    let limits = Limits { upload: 100_000, ..Limits::default() };
    for line in ["POST /s", "POST /b"] {
        let mut site = site_with(limits.clone(), 1);
        site.begins(7, line, LENGTH, b"begin");
        assert_eq!(site.statuses(7), [413]);
        assert!(site.closed(7) && site.jobs(0).is_empty() && site.granted(7) == 0);
        site.settles();

        let mut site = site_with(limits.clone(), 1);
        site.begins(7, line, CHUNKED, b"");
        if line == "POST /s" {
            site.want(1, 200_000);
        }
        site.part(7, 0, &[b'x'; 60_000], false);
        assert!(site.statuses(7).is_empty());
        site.part(7, 60_000, &[b'x'; 60_000], false);
        assert_eq!(site.statuses(7), [413]);
        assert!(site.closed(7));
        if line == "POST /s" {
            assert_eq!(site.workers[&FIRST].gone, [1]);
            site.respond(FIRST, 1, "too late");
            assert_eq!(site.statuses(7), [413]);
        } else {
            let written = site.write();
            assert_eq!(site.deleted(), [written[0].0.display().to_string()]);
        }
        site.settles();
    }
}

#[test]
fn parts_that_cannot_be_end_their_connection() {
    let nonsense = [(6, 10, false), (4, 10, false), (0, 10, false), (5, 200_000, false), (5, 10, true)];
    for line in ["POST /s", "POST /b"] {
        for (offset, size, last) in nonsense {
            let mut site = site();
            site.begins(7, line, ("content-length", "150000"), b"begin");
            if line == "POST /s" {
                site.want(1, 100_000);
            }
            site.part(7, offset, &vec![b'x'; size], last);
            assert!(site.cancelled(7), "{line} {offset} {size} {last}");
            assert!(site.statuses(7).is_empty() && site.parts().is_empty());
            assert_eq!(site.hub.counters().refused, 1);
            if line == "POST /s" {
                assert_eq!(site.workers[&FIRST].gone, [1]);
                site.act(FIRST, &[Action::Abort { serial: 1 }]);
            }
            site.write();
            site.settles();
        }
    }
    // Without credits, of nobody, twice begun.
    let mut site = site();
    site.begins(7, "POST /s", LENGTH, b"");
    site.part(7, 0, b"x", false);
    site.part(8, 0, b"x", false);
    site.begins(9, "POST /s", LENGTH, b"");
    site.begins(9, "POST /s", LENGTH, b"");
    assert!([7, 8, 9].iter().all(|id| site.cancelled(*id)));
    assert_eq!(site.hub.counters().refused, 3);
}

#[test]
fn a_request_that_no_worker_has_read_runs_elsewhere_and_one_that_was_read_gets_502() {
    let mut site = site_with(Limits::default(), 2);
    site.begins(1, "POST /s", LENGTH, b"begin");
    site.die(FIRST, 0);
    assert_eq!(site.jobs(1)[0].spool, "+");
    site.act(SECOND, &[Action::Want { serial: 1, bytes: 1000 }]);
    site.part(1, 5, &[b'x'; 1000], false);
    site.die(SECOND, 1);
    assert_eq!(site.statuses(1), [502]);
    assert!(site.closed(1));
    // One that has asked for it and says that it has not begun has begun.
    let mut site = self::site();
    site.begins(1, "POST /s", LENGTH, b"begin");
    site.want(1, 1000);
    site.act(FIRST, &[Action::Skipped { serial: 1 }]);
    assert_eq!(site.statuses(1), [502]);
}

#[test]
fn a_client_that_leaves_ends_its_body() {
    let mut site = site();
    site.begins(7, "POST /s", LENGTH, b"begin");
    site.want(1, 1000);
    site.disconnect(7);
    assert_eq!(site.workers[&FIRST].gone, [1]);
    site.want(1, 1000);
    assert_eq!(site.workers[&FIRST].gone, [1, 1], "who asks again is told again");
    site.act(FIRST, &[Action::Abort { serial: 1 }]);
    site.settles();

    let mut site = self::site();
    site.begins(7, "POST /b", LENGTH, b"begin");
    site.disconnect(7);
    let written = site.write();
    assert_eq!(site.deleted(), [written[0].0.display().to_string()]);
    assert!(site.jobs(0).is_empty());
    site.settles();
}

#[test]
fn the_time_of_a_request_is_the_scripts_while_the_client_waits_and_the_clients_while_it_sends() {
    let mut site = site();
    site.begins(7, "POST /s", LENGTH, b"begin");
    site.want(1, 1000);
    site.pass(seconds(100));
    assert!(site.statuses(7).is_empty(), "a slow client");
    site.part(7, 5, &[b'x'; 1000], false);
    site.pass(seconds(31));
    assert_eq!(site.statuses(7), [504], "a slow script");
    assert!(site.closed(7));

    // Of a client whom Mongrel2 has cut off nobody hears.
    let mut site = self::site();
    site.begins(7, "POST /s", LENGTH, b"begin");
    site.want(1, 1000);
    site.begins(8, "POST /b", LENGTH, b"begin");
    site.pass(seconds(152));
    assert_eq!(site.workers[&FIRST].gone, [1]);
    assert!(site.cancelled(7) && site.cancelled(8));
    site.act(FIRST, &[Action::Abort { serial: 1 }]);
    site.write();
    site.settles();
}

#[test]
fn a_body_behind_other_requests_keeps_its_place() {
    let mut site = site();
    site.request(7, "GET /a");
    site.begins(7, "POST /b", CHUNKED, b"");
    site.part(7, 0, b"abc", false);
    site.part(7, 3, b"", true);
    site.request(7, "GET /users/1");
    assert_eq!(site.jobs(0).len(), 1);
    site.respond(FIRST, 1, "first");
    assert_eq!(site.jobs(0).len(), 1, "its file is not written");
    assert_eq!(site.write()[0].1, b"abc");
    site.respond(FIRST, 2, "second");
    site.respond(FIRST, 3, "third");
    let answers: Vec<_> = site.answers(7).into_iter().map(|(_, body)| body).collect();
    assert_eq!(answers, ["first", "second", "third"]);
    site.settles();
}

#[test]
fn what_cannot_be_written_is_an_error_of_the_server() {
    let mut site = site();
    site.begins(7, "POST /b", LENGTH, b"begin");
    let Some(Effect::WriteFile { key, path, .. }) = site.effects.last().cloned() else { panic!("no file") };
    site.hub.handle_written(key, &path, Err("no space left".into()), site.now);
    site.turn();
    assert_eq!(site.statuses(7), [500]);
    assert!(site.closed(7));
    assert_eq!(site.deleted().len(), 1);
    site.settles();
}

#[test]
fn without_a_folder_of_its_own_the_hub_takes_bodies_in_parts_for_routes_that_stream_only() {
    let mut site = Site::with(Limits::default(), 1, streaming());
    site.begins(7, "POST /b", LENGTH, b"");
    site.begins(8, "POST /s", LENGTH, b"");
    assert_eq!((site.statuses(7), site.jobs(0).len()), (vec![413], 1));
}

#[test]
fn a_stop_gives_up_what_is_still_arriving() {
    let mut site = site();
    site.begins(1, "POST /s", LENGTH, b"");
    site.want(1, 1000);
    site.begins(2, "POST /b", LENGTH, b"");
    let start = ("x-mongrel2-upload-start", "tmp/a");
    site.request_with(3, "POST /s", &[LENGTH, start]);
    site.hub.begin_stop(site.now);
    site.turn();
    assert!([1, 2, 3].iter().all(|id| site.statuses(*id) == [503]));
}

// Files that grow.

const START: (&str, &str) = ("x-mongrel2-upload-start", "tmp/a");
const DONE: (&str, &str) = ("x-mongrel2-upload-done", "tmp/a");
const FILE: &str = "/var/spool/a";

#[test]
fn a_route_that_streams_reads_the_file_while_mongrel2_writes_it() {
    for length in [LENGTH, CHUNKED] {
        let mut site = site();
        site.request_with(7, "POST /s", &[length, START]);
        assert_eq!(site.jobs(0)[0].spool, format!("+{FILE}"));
        site.pass(seconds(100));
        assert!(site.grown().is_empty(), "who does not ask costs nothing");
        site.want(1, 0);
        assert_eq!(site.grown(), [(1, false, 1000)]);
        site.want(1, 0);
        site.pass(seconds(1));
        assert_eq!(site.grown().len(), 1);
        site.sizes.insert(FILE.into(), Some(5000));
        site.pass(millis(100));
        assert_eq!(site.grown()[1..], [(1, false, 5000)]);
        site.request_with(7, "POST /s", &[length, START, DONE]);
        assert_eq!(site.grown()[2..], [(1, true, 0)]);
        assert_eq!(site.jobs(0).len(), 1, "it is one request");
        site.want(1, 0);
        assert_eq!(site.grown()[3..], [(1, true, 0)], "who asks again is told again");
        assert!(site.deleted().is_empty());
        site.respond(FIRST, 1, "thanks");
        assert_eq!((site.statuses(7), site.deleted()), (vec![200], vec![FILE.to_owned()]));
        assert_eq!(site.closed(7), length == LENGTH);
        site.settles();
    }
}

#[test]
fn an_answer_before_the_file_is_whole_closes_and_leaves_the_file_to_mongrel2() {
    let mut site = site();
    site.request_with(7, "POST /s", &[LENGTH, START]);
    site.respond(FIRST, 1, "no, thanks");
    assert!(site.closed(7) && site.deleted().is_empty());
    // It may have been whole before it read our close, and read that late.
    site.pass(seconds(10));
    site.request_with(7, "POST /s", &[LENGTH, START, DONE]);
    assert_eq!(site.deleted(), [FILE]);
    assert_eq!(site.jobs(0).len(), 1);
    site.settles();
}

#[test]
fn a_file_that_is_gone_says_that_its_client_is() {
    let mut site = site();
    site.request_with(7, "POST /s", &[LENGTH, START]);
    site.sizes.insert(FILE.into(), None);
    site.pass(seconds(2));
    assert_eq!(site.workers[&FIRST].gone, [1]);
    site.act(FIRST, &[Action::Abort { serial: 1 }]);
    site.settles();
    // One that does not grow any more has no client either, of whom Mongrel2 would tell.
    let mut site = self::site();
    site.request_with(7, "POST /s", &[LENGTH, START]);
    site.pass(seconds(155));
    assert_eq!(site.workers[&FIRST].gone, [1]);
}

#[test]
fn a_file_of_chunks_that_becomes_too_large_is_refused_while_it_grows_or_when_it_is_whole() {
    let limits = Limits { upload: 5000, ..Limits::default() };
    for line in ["POST /s", "POST /b"] {
        for whole in [false, true] {
            let mut site = site_with(limits.clone(), 1);
            site.request_with(7, line, &[CHUNKED, START]);
            site.pass(seconds(2));
            assert!(site.statuses(7).is_empty());
            site.sizes.insert(FILE.into(), Some(5001));
            if !whole {
                site.pass(seconds(2));
                assert_eq!(site.statuses(7), [413]);
            }
            site.request_with(7, line, &[CHUNKED, START, DONE]);
            assert_eq!(site.statuses(7), [413], "{line} {whole}");
            assert!(site.closed(7));
            assert_eq!(site.deleted(), [FILE], "{line} {whole}");
            if line == "POST /s" {
                site.respond(FIRST, 1, "too late");
            } else {
                assert!(site.jobs(0).is_empty());
            }
            site.settles();
        }
    }
}

#[test]
fn a_growing_file_goes_to_another_worker_with_the_word_that_it_is_whole() {
    let mut site = site_with(Limits::default(), 2);
    site.request_with(7, "POST /s", &[LENGTH, START]);
    site.request_with(7, "POST /s", &[LENGTH, START, DONE]);
    site.die(FIRST, 0);
    assert_eq!(site.jobs(1)[0].spool, format!("+{FILE}"));
    assert_eq!(site.workers[&SECOND].grown, [(1, true, 0)]);
    site.die(SECOND, 1);
    assert_eq!((site.statuses(7), site.deleted()), (vec![502], vec![FILE.to_owned()]));
}
