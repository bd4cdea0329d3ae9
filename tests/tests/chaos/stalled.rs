//! Clients that do not read, among a thousand that do.

use crate::crowd::Crowd;
use crate::{APP, Teller, alone};
use std::time::Duration;
use tests::language::Language;
use tests::websocket::WebSocket;

const CROWD: usize = 1000;
const STALLED: usize = 3;

#[test]
fn clients_that_do_not_read_cost_the_others_nothing() {
    let _alone = alone();
    let site = Language::Lua.plan(APP).start();
    let crowd = Crowd::gather(site.port(), CROWD, Duration::from_secs(1));
    let stalled: Vec<WebSocket> = (0..STALLED).map(|_| site.websocket("/flood")).collect();
    stalled.iter().for_each(WebSocket::hold_little);
    let (mut teller, mut tap) = (Teller::new(&site), site.websocket("/tap"));
    // 40 MB for each of them, of which 16 MiB may wait.
    for round in 1..=40 {
        assert_eq!(tap.ask("run"), "ran");
        if round % 4 == 0 {
            teller.tell();
        }
    }
    let dropped = site.log().expect_times("dropped and closed", STALLED);
    assert!(dropped.contains("conn="), "{dropped}");
    let tally = crowd.part(teller.certain());
    println!("{STALLED} stalled clients and {tally}");
    assert_eq!((tally.unanswered, tally.twice), (0, 0));
    assert!(tally.ended.is_empty() && tally.misdelivered.is_empty(), "{tally:?}");
    assert_eq!(tally.heard_all(&teller.said), Ok(()));
    assert!(teller.said.iter().all(|(_, is_certain)| *is_certain));
    assert!(tally.longest < Duration::from_secs(2), "{tally}");
}
