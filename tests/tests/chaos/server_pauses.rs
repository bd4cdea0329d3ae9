//! A Mongrel2 that stands still for a while, as in a debugger or on a machine that was put to sleep.

use crate::crowd::Crowd;
use crate::visitors::Visitors;
use crate::{APP, Teller, alone};
use std::time::{Duration, Instant};
use tests::language::Language;
use tests::process::{self, Signal};
use tests::server::{Mongrel2, Setup};
use tests::wait;

const CROWD: usize = 200;

#[test]
fn a_mongrel2_that_stands_still_for_a_while_costs_only_that() {
    let _alone = alone();
    let pause = Duration::from_secs(if std::env::var_os("KENNEL_LONG").is_some() { 30 } else { 4 });
    let server = Mongrel2::start(Setup::default().tnetstring());
    let site = Language::Lua.plan(APP).behind(&server).start();
    let crowd = Crowd::gather(site.port(), CROWD, Duration::from_millis(500));
    let visitors = Visitors::come(site.port(), 4);
    let mut teller = Teller::new(&site);
    wait::until("the crowd talks", || crowd.answered() >= CROWD);
    process::signal(server.process(), Signal::STOP);
    std::thread::sleep(pause);
    process::signal(server.process(), Signal::CONT);
    let begin = Instant::now();
    assert_eq!(site.get("/page/0").text(), "0");
    let back = begin.elapsed();
    let answered = crowd.answered();
    wait::until("the crowd talks again", || crowd.answered() >= answered + CROWD);
    teller.tell();
    let (tally, visits) = (crowd.part(teller.certain()), visitors.go());
    println!("Mongrel2 stood still for {pause:?} and served again after {back:.0?}; {tally}");
    assert!(tally.ended.is_empty() && tally.misdelivered.is_empty(), "{tally:?}");
    assert_eq!((visits.died, visits.cut, visits.wrong.len()), (0, 0, 0), "{:?}", visits.wrong);
    assert_eq!(tally.heard_all(&teller.said), Ok(()));
    assert!(back < Duration::from_secs(1), "{back:?}");
}
