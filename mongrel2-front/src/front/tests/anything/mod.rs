//! Everything at once, from a seed: clients that pipeline, break off, read slowly and leave, handlers that answer, close and
//! talk nonsense, disks that fail, queues that are full, and the time; and after every step the promises.
//!
//! `cargo test` plays a few hundred seeds; `KENNEL_SEEDS=20000` plays more, `KENNEL_SEED=17` one. A failure says its seed.
//! `script` is what clients send and what handlers are to get of it; `client` is one of them; `world` the steps.

mod client;
mod script;
mod totals;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use totals::Totals;
use world::World;

const SEEDS: u64 = 120;
const STEPS: u32 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn play(seed: u64) -> Totals {
    let step = std::cell::Cell::new(0);
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed);
        for at in 0..STEPS {
            step.set(at);
            world.step();
        }
        step.set(STEPS);
        world.finish();
        world.totals
    }));
    played.unwrap_or_else(|_| panic!("seed {seed}, step {}: try KENNEL_SEED={seed}", step.get()))
}

#[test]
fn whatever_happens_the_promises_hold() {
    let (first, count) = match number("KENNEL_SEED") {
        Some(seed) => (seed, 1),
        None => (1, number("KENNEL_SEEDS").unwrap_or(SEEDS)),
    };
    let mut totals = Totals::default();
    (first..first + count).for_each(|seed| totals.add(play(seed)));
    println!("{count} seeds of {STEPS} steps: {totals:?}");
    if count >= SEEDS {
        let Totals { requests, parts, files, frames, sockets, notices, read_again, closed, removed } = totals;
        let least =
            [requests, parts, files, frames, sockets, notices, read_again, closed, removed].into_iter().min();
        assert!(least > Some(10), "{totals:?}");
    }
}
