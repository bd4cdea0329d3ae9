//! What our own server reads.

use crate::chance::{anything, change, try_all};

#[test]
fn whatever_clients_and_handlers_send_the_front_stands() {
    for name in ["front_heads", "front_bodies", "front_frames", "front_sockets", "front_replies", "front"] {
        let target = fuzz::target(name).unwrap();
        let seeds = (target.seeds)();
        seeds.iter().for_each(|seed| (target.check)(seed));
        try_all(3000, |rng| {
            let mut input = seeds[rng.usize(..seeds.len())].clone();
            change(rng, &mut input);
            (target.check)(&input);
            (target.check)(&anything(rng, 200));
        });
    }
}
