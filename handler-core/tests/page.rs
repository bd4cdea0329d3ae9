//! The words of the page that hub and worker share, under loom: every order in which the two sides may meet, and every
//! value that the processor may show them, within the rules of their atomics.
//!
//! The file under test is that of the library, compiled once more with loom's atomics. Each of these tests fails when an
//! order of its words is made weaker, or two of its writes change places.

#![allow(clippy::unwrap_used, reason = "tests")]

use loom::sync::{Arc, atomic};
use loom::thread;
use std::collections::BTreeSet;

#[path = "../src/worker/page/words.rs"]
mod words;

use words::Words;

#[test]
fn a_job_that_starts_is_seen_by_the_hub_that_takes_it_back() {
    loom::model(|| {
        let hub = Arc::new(Words::default());
        let worker = Arc::clone(&hub);
        let worker = thread::spawn(move || [1, 2].map(|serial| worker.start(serial)));
        let seen = hub.revoke(2);
        for (serial, started) in (1..).zip(worker.join().unwrap()) {
            assert!(!started || seen >= serial, "job {serial} runs here and elsewhere");
        }
    });
}

#[test]
fn of_jobs_that_start_in_threads_none_runs_twice() {
    loom::model(|| {
        let hub = Arc::new(Words::default());
        let threads = [2, 1].map(|serial| {
            let worker = Arc::clone(&hub);
            thread::spawn(move || (serial, worker.start_any(serial)))
        });
        let seen = hub.revoke(2);
        for (serial, started) in threads.map(|thread| thread.join().unwrap()) {
            assert!(!started || seen >= serial, "job {serial} runs here and elsewhere");
        }
        assert_eq!(hub.pulse().0, 2, "the highest serial stays");
    });
}

#[test]
fn a_turn_is_seen_with_the_job_that_it_is_for() {
    let turns = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let seen = std::sync::Arc::clone(&turns);
    loom::model(move || {
        // The hub has the thread of its own here: loom tries fewer orders before what a worker reads of its own writes.
        let worker = Arc::new(Words::default());
        let hub = Arc::clone(&worker);
        let hub = thread::spawn(move || hub.pulse());
        [7, 8, 9].into_iter().for_each(|job| worker.turn(job));
        let (_, turn, running) = hub.join().unwrap();
        // Turn 1 is for job 7. What is running may be newer than the turn, which the hub sees at its next look.
        assert!(turn == 0 || running >= turn + 6, "turn {turn} is watched for job {running}");
        seen.lock().unwrap().insert(turn);
    });
    let turns: Vec<_> = turns.lock().unwrap().iter().copied().collect();
    assert_eq!(turns, [0, 1, 2, 3], "loom tries all that the hub may see");
}

#[test]
fn a_new_batch_never_has_the_size_of_the_one_before_it() {
    loom::model(|| {
        let hub = Arc::new(Words::default());
        hub.begin(1);
        let worker = Arc::clone(&hub);
        let worker = thread::spawn(move || {
            worker.commit(30);
            worker.begin(2);
            worker.commit(5);
        });
        // A worker may die between any two of its writes: what the hub finds then are numbers that were there together.
        let (number, size) = hub.batch();
        assert!(number == 1 || [0, 5].contains(&size), "batch {number} with {size} bytes is handled twice");
        worker.join().unwrap();
        assert_eq!(hub.batch(), (2, 5));
    });
}

#[test]
fn frames_are_whole_as_soon_as_they_count() {
    loom::model(|| {
        // Bytes of the outbox are no atomics; each stands for a frame here.
        let (hub, outbox) =
            (Arc::new(Words::default()), Arc::new([(); 2].map(|()| atomic::AtomicU8::new(0))));
        let (worker, frames) = (Arc::clone(&hub), Arc::clone(&outbox));
        let worker = thread::spawn(move || {
            for (at, frame) in frames.iter().enumerate() {
                frame.store(1, atomic::Ordering::Relaxed);
                worker.commit(at as u32 + 1);
            }
        });
        let (_, size) = hub.batch();
        for frame in &outbox[..size as usize] {
            assert_eq!(frame.load(atomic::Ordering::Relaxed), 1, "a frame counts before it is there");
        }
        worker.join().unwrap();
    });
}

/// What the tests above rest on: loom finds an order that two writes without any do not forbid.
#[test]
fn loom_finds_what_is_wrong() {
    let found = std::panic::catch_unwind(|| {
        loom::model(|| {
            let words = Arc::new([(); 2].map(|()| atomic::AtomicU32::new(0)));
            let other = Arc::clone(&words);
            let writer = thread::spawn(move || {
                other[0].store(1, atomic::Ordering::Relaxed);
                other[1].store(1, atomic::Ordering::Relaxed);
            });
            if words[1].load(atomic::Ordering::Relaxed) == 1 {
                assert_eq!(words[0].load(atomic::Ordering::Relaxed), 1);
            }
            writer.join().unwrap();
        });
    });
    assert!(found.is_err());
}
