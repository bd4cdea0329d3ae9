//! Mongrel2 is killed and started again under load: its connections end once each, and the next answers are its own.

use crate::crowd::Crowd;
use crate::visitors::Visitors;
use crate::{APP, alone};
use std::time::{Duration, Instant};
use tests::language::Language;
use tests::server::{self, Front, Mongrel2, Setup};
use tests::wait;

const RESTARTS: usize = 10;
const CROWD: usize = 200;

/// How often a Mongrel2 has begun to serve.
fn runs(server: &Mongrel2) -> usize {
    let log = std::fs::read_to_string(server.folder().path().join("error.log")).expect("it has a log");
    log.matches("Running.").count()
}

#[test]
fn ten_killed_mongrel2s_end_each_connection_once_and_nothing_reaches_the_next_one() {
    let _alone = alone();
    for setup in [Setup::default(), Setup::default().tnetstring().flow_control()] {
        let mut server = Mongrel2::start(setup);
        let site = Language::Lua.plan(APP).behind(&server).start();
        let visitors = Visitors::come(site.port(), 4);
        let (mut answered, mut back) = (0, Duration::ZERO);
        for restart in 1..=RESTARTS {
            let crowd = Crowd::gather(site.port(), CROWD, Duration::from_millis(100));
            wait::until("the crowd talks", || crowd.answered() > 2 * CROWD);
            server.kill();
            server.start_again();
            // Mongrel2 listens half a second before it serves anything, files of its own too.
            if server::front() == Front::Mongrel2 {
                wait::until("mongrel2 serves", || runs(&server) == restart + 1);
            }
            let begin = Instant::now();
            assert_eq!(site.get("/page/0").text(), "0");
            back = back.max(begin.elapsed());
            wait::until("each is closed", || site.log().count("[close m") >= restart * CROWD);
            let tally = crowd.part(0);
            assert_eq!(tally.ended.len(), CROWD);
            assert_eq!((tally.twice, &tally.misdelivered), (0, &Vec::new()));
            answered += tally.answered;
        }
        let log = site.log().text();
        for member in 0..CROWD {
            let closes = log.matches(&format!("[close m{member} 1006]")).count();
            assert_eq!(closes, RESTARTS, "m{member}");
        }
        let visits = visitors.go();
        println!(
            "{RESTARTS} restarts of Mongrel2 with {CROWD} WebSockets each: {answered} questions and {} requests answered, \
             0 misdelivered; {} closed once each; served again within {back:.0?}",
            visits.right.len(),
            RESTARTS * CROWD,
        );
        assert!(visits.wrong.is_empty(), "{:?}", visits.wrong);
        assert_eq!((visits.died, visits.refused.len()), (0, 0));
        assert!(back < Duration::from_secs(1), "{back:?}");
    }
}
