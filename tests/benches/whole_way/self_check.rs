//! Is the instrument honest? A handler that loses, doubles, swaps and spoils replies on purpose, and keeps count.
//!
//! `cargo test` runs this instead of the benchmark: a ledger that finds nothing wrong is worth something only if it
//! finds what is wrong.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::cpu::{Meter, Usage};
use crate::feeder::{Feeder, Transport};
use crate::ledger::{Counts, Ledger, Token};
use crate::load::{Load, Outcome, Session};
use crate::request::{Feed, IDENT};
use crate::scratch::Scratch;

/// Runs all checks; panics at the first that fails.
pub(crate) fn run() {
    every_fault_has_its_name();
    a_given_up_connection_is_replaced();
    a_good_handler_has_no_faults();
    a_pipelining_client_sees_order();
    the_faults_of_a_bad_handler_are_counted_exactly();
    cpu_time_is_counted();
    println!("whole_way: the instruments are in order");
}

fn every_fault_has_its_name() {
    let now = Instant::now();
    let mut ledger = Ledger::new(2, 2);
    let mut begin = || ledger.begin(now, now).unwrap();
    let (first, other, second, _) = (begin(), begin(), begin(), begin());
    assert!(ledger.begin(now, now).is_none(), "two connections with two requests each");
    assert_eq!(first.conn_id, second.conn_id);

    ledger.answer(first.conn_id, Some(second.token), now);
    ledger.answer(first.conn_id, Some(first.token), now);
    ledger.answer(first.conn_id, Some(first.token), now);
    ledger.answer(first.conn_id, None, now);
    ledger.answer(first.conn_id, Some(other.token), now);
    ledger.answer(other.conn_id, Some(Token(99)), now);
    assert_eq!(ledger.waiting(), 2);
    let (counts, _) = ledger.close();
    let expected =
        Counts { out_of_order: 1, duplicated: 2, misdirected: 1, malformed: 1, ..Counts::default() };
    assert_eq!(counts, expected);
}

fn a_given_up_connection_is_replaced() {
    let now = Instant::now();
    let mut ledger = Ledger::new(1, 1);
    let lost = ledger.begin(now, now).unwrap();
    assert!(ledger.give_up(now - Duration::from_secs(1)).is_empty(), "not yet");
    assert_eq!(ledger.give_up(now), [lost.conn_id]);
    let next = ledger.begin(now, now).unwrap();
    assert_ne!(next.conn_id, lost.conn_id);
    ledger.answer(lost.conn_id, Some(lost.token), now);
    ledger.answer(lost.conn_id, None, now);
    ledger.answer(next.conn_id, Some(next.token), now);
    assert_eq!(ledger.close().0, Counts { lost: 1, late: 2, ..Counts::default() });
}

fn a_good_handler_has_no_faults() {
    for load in [Load::Busy { in_flight: 64, pipeline: 1 }, Load::Quiet { rate: 1_000 }] {
        let (outcome, _) = serve(load, Faults::default());
        assert!(outcome.turns.iter().all(|turn| turn.requests > 20), "{outcome:?}");
        assert!(outcome.counts.all_is_well(), "{outcome:?}");
        assert!(outcome.p50 > Duration::ZERO && outcome.p99 >= outcome.p50, "{outcome:?}");
    }
}

fn a_pipelining_client_sees_order() {
    let (outcome, made) =
        serve(Load::Busy { in_flight: 8, pipeline: 4 }, Faults { swap_every: 50, ..Faults::default() });
    assert!(made.swapped > 0, "{outcome:?}");
    assert_eq!(outcome.counts, Counts { out_of_order: made.swapped, ..Counts::default() });
}

fn the_faults_of_a_bad_handler_are_counted_exactly() {
    let faults =
        Faults { lose_every: 101, double_every: 53, misdirect_every: 211, spoil_every: 307, swap_every: 0 };
    let (outcome, made) = serve(Load::Busy { in_flight: 16, pipeline: 1 }, faults);
    assert!(made.lost > 0 && made.doubled > 0, "{outcome:?}");
    let expected = Counts {
        // What went to the wrong client or was spoiled did not reach the right one either.
        lost: made.lost + made.misdirected + made.spoiled,
        duplicated: made.doubled,
        misdirected: made.misdirected,
        malformed: made.spoiled,
        ..Counts::default()
    };
    assert_eq!(outcome.counts, expected);
}

fn cpu_time_is_counted() {
    let meter = Meter::of(std::process::id());
    let before = meter.read();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(50) {}
    let used = meter.read() - before;
    assert!(used.hub > Duration::from_millis(5) && used.hub < Duration::from_secs(5), "{used:?}");
}

/// Which reply in how many is spoiled in which way; 0 is none.
#[derive(Clone, Copy, Default)]
struct Faults {
    lose_every: u64,
    double_every: u64,
    misdirect_every: u64,
    spoil_every: u64,
    swap_every: u64,
}

/// What the handler did wrong.
#[derive(Default)]
struct Made {
    lost: u64,
    doubled: u64,
    misdirected: u64,
    spoiled: u64,
    swapped: u64,
}

/// Feeds a handler in a thread of this process for a short while.
fn serve(load: Load, faults: Faults) -> (Outcome, Made) {
    let scratch = Scratch::new().unwrap();
    let feeder = Feeder::bind(&scratch, Transport::Ipc).unwrap();
    let (send_spec, recv_spec) = (feeder.send_spec.clone(), feeder.recv_spec.clone());
    let (started, stop) = (Instant::now(), &AtomicBool::new(false));
    thread::scope(|scope| {
        let (say_ready, ready) = channel();
        let handler = scope.spawn(move || {
            let context = zmq::Context::new();
            let replies = context.socket(zmq::XPUB).unwrap();
            replies.connect(&recv_spec).unwrap();
            replies.recv_bytes(0).unwrap();
            let requests = context.socket(zmq::PULL).unwrap();
            requests.set_rcvtimeo(IDLE_MS).unwrap();
            requests.connect(&send_spec).unwrap();
            say_ready.send(()).unwrap();
            misbehave(&requests, &replies, faults, stop)
        });
        while let Err(problem) = ready.recv_timeout(Duration::from_millis(2)) {
            assert!(problem == RecvTimeoutError::Timeout && started.elapsed() < Duration::from_secs(5));
            feeder.attend().unwrap();
        }
        let mut session = Session::open(feeder, load, LOST_AFTER, (true, Feed::Requests));
        for _ in 0..2 {
            session.feed(Duration::from_millis(50), Duration::from_millis(150), Usage::default).unwrap();
        }
        let outcome = session.finish().unwrap();
        stop.store(true, Ordering::Relaxed);
        (outcome, handler.join().unwrap())
    })
}

/// How long the feeder waits for a reply: longer than a busy machine holds one up.
const LOST_AFTER: Duration = Duration::from_millis(400);
/// How long the handler waits for a request before it lets go of the reply that it holds back.
const IDLE_MS: i32 = 20;

/// Answers until told to stop, or for 20 s if a failed check cannot tell it.
fn misbehave(requests: &zmq::Socket, replies: &zmq::Socket, faults: Faults, stop: &AtomicBool) -> Made {
    let send = |(id, body): &(String, String)| {
        replies.send(&format!("{IDENT} {}:{id}, {body}", id.len()), 0).unwrap();
    };
    let (mut made, mut number, begin) = (Made::default(), 0_u64, Instant::now());
    let mut held: Option<(String, String)> = None;
    while !stop.load(Ordering::Relaxed) && begin.elapsed() < Duration::from_secs(20) {
        let Ok(message) = requests.recv_bytes(0) else {
            held.take().iter().for_each(send);
            continue;
        };
        let text = String::from_utf8(message).unwrap();
        let Some((_, token)) = text.split_once(":x-seq,10:") else {
            continue;
        };
        let id = text.split(' ').nth(1).unwrap().to_owned();
        let reply = (id, format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", &token[..10]));
        number += 1;
        let is_one_of = |every: u64| every > 0 && number.is_multiple_of(every);
        if let Some(earlier) = held.take_if(|held| held.0 == reply.0) {
            send(&reply);
            send(&earlier);
            made.swapped += 1;
        } else if held.is_none() && is_one_of(faults.swap_every) {
            held = Some(reply);
        } else if is_one_of(faults.lose_every) {
            made.lost += 1;
        } else if is_one_of(faults.misdirect_every) {
            made.misdirected += 1;
            // Nobody is there: ids begin with 1.
            send(&("0".to_owned(), reply.1));
        } else if is_one_of(faults.spoil_every) {
            made.spoiled += 1;
            let whole = reply.1.len();
            send(&(reply.0, reply.1[..whole - 1].to_owned()));
        } else {
            send(&reply);
            if is_one_of(faults.double_every) {
                made.doubled += 1;
                send(&reply);
            }
        }
    }
    made
}
