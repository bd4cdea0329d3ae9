//! 100 reloads under load: nobody is disconnected, nothing is lost, and nobody waits.

use crate::crowd::Crowd;
use crate::visitors::{Visitors, percentile};
use crate::{APP, Teller, alone, times};
use std::time::{Duration, Instant};
use tests::language::Language;
use tests::process::Signal;
use tests::{in_each_language, wait};

const CROWD: usize = 500;

in_each_language!(a_hundred_reloads_disconnect_nobody_and_lose_nothing);
fn a_hundred_reloads_disconnect_nobody_and_lose_nothing(language: Language) {
    let _alone = alone();
    let reloads = times(language);
    let site = language.plan(APP).start();
    let crowd = Crowd::gather(site.port(), CROWD, Duration::from_millis(500));
    let visitors = Visitors::come(site.port(), 4);
    let mut teller = Teller::new(&site);
    wait::until("the crowd talks", || crowd.answered() >= CROWD);
    let (mut spans, mut longest) = (Vec::new(), Duration::ZERO);
    for reload in 1..=reloads {
        let begin = Instant::now();
        site.signal(Signal::HUP);
        site.log().expect_times("newest code is in charge", reload);
        spans.push((begin, Instant::now()));
        longest = longest.max(begin.elapsed());
        if reload % 10 == 0 {
            teller.tell();
        }
    }
    let (tally, visits) = (crowd.part(teller.certain()), visitors.go());
    let waits = visits.during(&spans);
    println!("{language:?}: {reloads} reloads, the longest took {longest:.0?}; {tally}");
    println!(
        "{language:?}: {} requests under way during them: p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
        waits.len(),
        percentile(&waits, 50),
        percentile(&waits, 99),
        percentile(&waits, 100),
    );
    assert_eq!((tally.unanswered, tally.twice), (0, 0));
    assert!(tally.ended.is_empty() && tally.misdelivered.is_empty(), "{tally:?}");
    assert_eq!((visits.died, visits.cut, visits.refused.len()), (0, 0, 0));
    assert!(visits.wrong.is_empty(), "{:?}", visits.wrong);
    assert_eq!(tally.heard_all(&teller.said), Ok(()));
    assert!(teller.said.iter().all(|(_, is_certain)| *is_certain));
}
