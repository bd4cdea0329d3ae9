//! Memory under mixed load: after a while it does not grow.

use crate::crowd::Crowd;
use crate::visitors::Visitors;
use crate::{APP, Teller, alone};
use std::time::{Duration, Instant};
use tests::language::Language;
use tests::process::resident_memory;
use tests::{in_each_language, wait};

const CROWD: usize = 200;

/// 10 minutes with `KENNEL_LONG`, of which the figure in the README is; else long enough to see what grows fast.
fn time() -> (Duration, Duration) {
    let (warm_up, time) = if std::env::var_os("KENNEL_LONG").is_some() { (60, 600) } else { (4, 8) };
    (Duration::from_secs(warm_up), Duration::from_secs(time))
}

/// Bytes per second, by the line that fits best.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let (time, size) =
        samples.iter().fold((0.0, 0.0), |(t, s), (time, size)| (t + time / count, s + size / count));
    let above = samples.iter().map(|(t, s)| (t - time) * (s - size)).sum::<f64>();
    above / samples.iter().map(|(t, _)| (t - time).powi(2)).sum::<f64>()
}

in_each_language!(memory_does_not_grow_with_time);
fn memory_does_not_grow_with_time(language: Language) {
    let _alone = alone();
    let (warm_up, time) = time();
    let site = language.plan(APP).start();
    let crowd = Crowd::gather(site.port(), CROWD, Duration::from_millis(200));
    let visitors = Visitors::come(site.port(), 4);
    let mut teller = Teller::new(&site);
    wait::until("the crowd talks", || crowd.answered() >= CROWD);
    let mut processes = vec![site.hub()];
    processes.extend(site.workers());
    let mut samples = vec![Vec::new(); processes.len()];
    let begin = Instant::now();
    while begin.elapsed() < warm_up + time {
        // Clients come and go, too.
        let mut passing: Vec<_> = (0..10).map(|_| site.websocket("/flood")).collect();
        for _ in 0..5 {
            teller.tell();
            assert_eq!(site.get("/page/7").text(), "7");
        }
        passing.drain(..5).for_each(|socket| socket.close(1000, "enough"));
        drop(passing);
        if begin.elapsed() > warm_up {
            for (process, samples) in processes.iter().zip(&mut samples) {
                samples.push((begin.elapsed().as_secs_f64(), resident_memory(*process) as f64));
            }
        }
    }
    let (tally, visits) = (crowd.part(teller.certain()), visitors.go());
    println!("{language:?}: {} requests; {tally}", visits.right.len());
    for (name, samples) in ["hub", "worker", "worker"].iter().zip(&samples) {
        let growth = slope(samples) * time.as_secs_f64() / f64::from(1 << 20);
        let last = samples.last().map_or(0.0, |(_, size)| size / f64::from(1 << 20));
        println!("{language:?} {name}: {growth:+.2} MiB in {time:?}, {last:.1} MiB at the end");
        assert!(growth.abs() < if time.as_secs() >= 600 { 1.0 } else { 20.0 }, "{name}: {growth} MiB");
    }
    assert_eq!((tally.unanswered, tally.twice, visits.wrong.len()), (0, 0, 0));
}
