//! Everything at once, from a seed: servers that restart, clients that pipeline and vanish, workers
//! that die in any state and send nonsense, hostile messages; and after every step the promises.
//!
//! `cargo test` plays a few hundred seeds; `KENNEL_SEEDS=20000` plays more, `KENNEL_SEED=17` one.
//! A failure prints its seed and step. The parts: `random` (where chance comes from), `world` (the
//! steps), `client` and `talker` (what a client may see, by HTTP and for as long as it stays), `worker` (what a
//! worker may do).

mod client;
pub(super) mod random;
mod talker;
mod wire;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use world::{Totals, World};

const SEEDS: u64 = 300;
const STEPS: u32 = 2000;

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
        world.settle();
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
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(count as usize);
    let totals = std::thread::scope(|scope| {
        let one = || {
            let mut sum = Totals::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return sum;
                }
                sum.add(play(seed));
            }
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let mut sum = Totals::default();
        running.into_iter().for_each(|thread| sum.add(thread.join().unwrap()));
        sum
    });
    println!("{count} seeds of {STEPS} steps: {totals:?}");
    assert!(totals.answered > 0 && totals.reruns > 0, "{totals:?}");
    assert!(count < SEEDS || (totals.streamed > 0 && totals.cut > 0), "{totals:?}");
    assert!(count < SEEDS || totals.bodies > 1000, "{totals:?}");
    assert!(count < SEEDS || (totals.heard > 0 && totals.closed > 0), "{totals:?}");
}
