//! The same bytes of clients for a real Mongrel2 and for `kennel front`, with the same configuration: their handlers get
//! the same messages, and the clients the same answers, apart from the differences in `allowed`.
//!
//! A failure names the seed of its case; `KENNEL_SEED=N` runs that case alone. `KENNEL_LONG=1` runs ten times as many,
//! and fails when one of the differences in `allowed` is not needed.

mod allowed;
mod case;
mod outcome;
mod side;

use allowed::explain;
use case::Case;
use outcome::Outcome;
use side::Side;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tests::server::{Front, HeaderProtocol, needs_mongrel2};

/// How long a connection is silent before it counts as finished.
const QUIET: Duration = Duration::from_millis(60);
/// The same when a case is repeated, since a busy machine makes servers silent, too.
const VERY_QUIET: Duration = Duration::from_millis(400);
/// How often a case is repeated whose outcomes differ. What a server does with a response that comes while it refuses the
/// next request is a matter of chance, so outcomes differ only when the servers never do the same.
const REPEATS: usize = 4;
/// Differences that a failure shows.
const SHOWN: usize = 8;

/// Two servers with the same configuration.
struct Pair {
    one: Side,
    two: Side,
}

impl Pair {
    /// `more`: settings that only the second one has.
    fn start(protocol: HeaderProtocol, two: Front, more: &[(&str, &str)]) -> Self {
        Self { one: Side::start(Front::Mongrel2, protocol, &[]), two: Side::start(two, protocol, more) }
    }

    fn run(&mut self, case: &Case, quiet: Duration) -> (Outcome, Outcome) {
        let Self { one, two } = self;
        std::thread::scope(|scope| {
            let first = scope.spawn(|| one.run(case, quiet));
            let second = two.run(case, quiet);
            (first.join().expect("a side that runs"), second)
        })
    }
}

/// Runs cases from the seed on, and returns what differs and is not allowed, and how often each allowed difference was
/// found.
fn differences(
    pair: &mut Pair,
    seeds: impl Iterator<Item = u64>,
) -> (Vec<String>, BTreeMap<&'static str, usize>) {
    let (mut found, mut counts) = (Vec::new(), BTreeMap::new());
    for seed in seeds {
        let case = Case::generate(seed);
        let (one, two) = pair.run(&case, QUIET);
        if one == two {
            continue;
        }
        let again: Vec<_> = (0..REPEATS).map(|_| pair.run(&case, VERY_QUIET)).collect();
        if again.iter().any(|(one, _)| again.iter().any(|(_, two)| one == two)) {
            continue;
        }
        let (one, two) = &again[0];
        match explain(&case, one, two) {
            Some(names) => names.into_iter().for_each(|name| *counts.entry(name).or_default() += 1),
            None => found.push(format!("{case}\n  mongrel2: {one}\n  other:    {two}")),
        }
        if found.len() == SHOWN {
            break;
        }
    }
    (found, counts)
}

fn seeds(few: u64) -> std::ops::Range<u64> {
    match asked_seed() {
        Some(seed) => seed..seed + 1,
        None => 0..if is_long() { 10 * few } else { few },
    }
}

fn asked_seed() -> Option<u64> {
    std::env::var("KENNEL_SEED").ok()?.parse().ok()
}

fn is_long() -> bool {
    std::env::var_os("KENNEL_LONG").is_some_and(|value| value == "1")
}

/// What two real servers do differently would be found as a difference of the front, too.
#[test]
fn two_real_mongrel2_do_not_differ() {
    if !needs_mongrel2() {
        return;
    }
    for protocol in [HeaderProtocol::Tnetstring, HeaderProtocol::Json] {
        let mut pair = Pair::start(protocol, Front::Mongrel2, &[]);
        let (found, counts) = differences(&mut pair, seeds(60));
        assert!(found.is_empty(), "{protocol:?}:\n{}", found.join("\n"));
        assert!(counts.is_empty(), "{protocol:?}: {counts:?}");
    }
}

/// Otherwise the tests beside this one would prove nothing.
#[test]
fn servers_that_differ_are_found() {
    if !needs_mongrel2() {
        return;
    }
    let more = [("no_clobber_xff", "1")];
    let mut pair = Pair::start(HeaderProtocol::Tnetstring, Front::Mongrel2, &more);
    let (found, _) = differences(&mut pair, 0..20);
    assert!(found.iter().any(|difference| difference.contains("x-forwarded-for")), "{found:?}");
}

#[test]
fn mongrel2_and_kennels_front_differ_only_where_it_is_allowed() {
    if !needs_mongrel2() {
        return;
    }
    let mut unneeded: BTreeSet<_> = allowed::names().collect();
    for protocol in [HeaderProtocol::Tnetstring, HeaderProtocol::Json] {
        let mut pair = Pair::start(protocol, Front::Kennel, &[]);
        let (found, counts) = differences(&mut pair, seeds(100));
        println!("{protocol:?}: allowed differences: {counts:?}");
        assert!(found.is_empty(), "{protocol:?}:\n{}", found.join("\n"));
        unneeded.retain(|name| !counts.contains_key(name));
    }
    if is_long() && asked_seed().is_none() {
        assert!(unneeded.is_empty(), "allowed, and not needed once: {unneeded:?}");
    }
}
