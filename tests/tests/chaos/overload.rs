//! Far more requests than can be served: those that are too many hear so at once, live connections go on, and
//! memory stays where it is.

use crate::crowd::Crowd;
use crate::visitors::{Visitors, percentile};
use crate::{APP, alone};
use std::time::Duration;
use tests::in_each_language;
use tests::language::Language;
use tests::process::resident_memory;

const CROWD: usize = 50;
const VISITORS: usize = 100;
const TIME: Duration = Duration::from_secs(5);

in_each_language!(who_is_too_many_is_refused_at_once_and_live_connections_go_on);
fn who_is_too_many_is_refused_at_once_and_live_connections_go_on(language: Language) {
    let _alone = alone();
    // Each request takes 10 ms of one worker, so it serves at most 100 a second; 100 clients ask without pause.
    let site = language.plan(APP).workers(1).config("[limits]\nqueue = 20\nworker_jobs = 4\n").start();
    let crowd = Crowd::gather(site.port(), CROWD, Duration::from_secs(1));
    let before = resident_memory(site.hub());
    let visitors = Visitors::come_to("slow", site.port(), VISITORS);
    std::thread::sleep(TIME);
    let (mut visits, after) = (visitors.go(), resident_memory(site.hub()));
    let tally = crowd.part(0);
    visits.refused.sort_unstable();
    let (served, refused) = (visits.right.len(), visits.refused.len());
    let wait = percentile(&visits.refused, 99);
    println!(
        "{language:?}: {served} requests served and {refused} refused in {TIME:?}, 99 of 100 within {wait:.0?}; \
         the hub has {} KiB more; {tally}",
        after.saturating_sub(before) >> 10,
    );
    assert!(refused > 10 * served, "{refused} refused, {served} served: that was no overload");
    assert!(served as f64 > TIME.as_secs_f64() * 20.0, "{served} served: those who wait are served");
    assert_eq!((visits.died, visits.cut), (0, 0));
    assert!(visits.wrong.is_empty(), "{:?}", visits.wrong);
    assert!(wait < Duration::from_millis(500), "{wait:?}");
    assert!(after < before + (16 << 20), "{before} {after}");
    assert_eq!((tally.unanswered, tally.twice, tally.ended.len()), (0, 0, 0));
    assert!(tally.longest < Duration::from_secs(5), "{tally}");
}
