//! 100 times `kill -9` under load: what ran in the killed worker is lost and said to be, nothing else.

use crate::crowd::Crowd;
use crate::visitors::{Visitors, percentile};
use crate::{APP, Teller, alone, times};
use serde_json::Value;
use std::time::{Duration, Instant};
use tests::language::Language;
use tests::site::Site;
use tests::{in_each_language, process, wait};

const CROWD: usize = 500;

/// The processes of the workers that take requests, as the console says.
fn serving(site: &Site) -> Vec<u32> {
    let answer = site.kennel(&["console", "--json", "-c", "workers"]);
    let workers: Value = serde_json::from_str(&answer.stdout).expect("the console answers in JSON");
    let workers = workers.as_array().expect("a list");
    let ready = workers.iter().filter(|worker| worker["state"] == "ready" || worker["state"] == "busy");
    ready.filter_map(|worker| u32::try_from(worker["process"].as_u64()?).ok()).collect()
}

in_each_language!(a_hundred_killed_workers_cost_what_they_ran_and_no_connection);
fn a_hundred_killed_workers_cost_what_they_ran_and_no_connection(language: Language) {
    let _alone = alone();
    let kills = times(language);
    let site = language.plan(APP).start();
    let crowd = Crowd::gather(site.port(), CROWD, Duration::from_millis(500));
    let visitors = Visitors::come(site.port(), 4);
    let mut teller = Teller::new(&site);
    wait::until("the crowd talks", || crowd.answered() >= CROWD);
    for kill in 1..=kills {
        // One that was killed before it has served is replaced ever more slowly, which is another promise.
        let victim = wait::until_some("2 workers serve", || match serving(&site)[..] {
            [first, second] => Some([first, second][kill % 2]),
            _ => None,
        });
        process::kill(victim);
        site.log().expect_times("a worker died", kill);
        if kill % 10 == 0 {
            teller.tell();
        }
    }
    let (tally, visits) = (crowd.part(teller.certain()), visitors.go());
    let log = site.log().text();
    let numbers = log
        .lines()
        .filter_map(|line| line.split_once(" running=")?.1.split(' ').next()?.parse::<usize>().ok());
    let running: usize = numbers.sum();
    let untold = teller.said.len() - teller.certain();
    println!("{language:?}: {kills} workers killed, which ran {running} things; {tally}");
    println!("{language:?}: {} requests answered, {} with 502", visits.right.len(), visits.died);
    // Of what was running some had said all that it had to say.
    let lost = tally.unanswered + visits.died + untold;
    assert!(lost <= running, "{lost} lost, of which {running} were running");
    assert_eq!(tally.twice, 0);
    assert!(tally.ended.is_empty() && tally.misdelivered.is_empty(), "{tally:?}");
    assert_eq!((visits.cut, visits.refused.len()), (0, 0));
    assert!(visits.wrong.is_empty(), "{:?}", visits.wrong);
    assert_eq!(tally.heard_all(&teller.said), Ok(()));
}

in_each_language!(the_only_worker_is_replaced_before_a_client_loses_patience);
fn the_only_worker_is_replaced_before_a_client_loses_patience(language: Language) {
    let _alone = alone();
    let site = language.plan(APP).workers(1).start();
    let mut times: Vec<_> = (1..=20)
        .map(|kill| {
            let [worker] = site.workers()[..] else { panic!("one worker serves") };
            assert_eq!(site.get("/page/1").text(), "1");
            process::kill(worker);
            let begin = Instant::now();
            site.log().expect_times("a worker died", kill);
            assert_eq!(site.get("/page/2").text(), "2");
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!(
        "{language:?}: from `kill -9` of the only worker to the next answer: median {:.0?}, longest {:.0?}",
        percentile(&times, 50),
        percentile(&times, 100),
    );
    // Python starts slowly, and slower on a busy machine.
    assert!(percentile(&times, 50) < Duration::from_secs(2), "{times:?}");
}
