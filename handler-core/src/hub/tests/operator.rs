//! What the operator sees of the hub and does to it.

use super::site::*;
use crate::channel::bounds::BoundError;
use crate::hub::inspect::ConnectionFilter;
use crate::hub::{Effect, Limits, OperateError, TapFilter, WorkerId};
use crate::worker::protocol::{Action, ChannelSpec, LoadFailure, Registration};
use serde_json::Value;

fn with_channel() -> Registration {
    let ws = ChannelSpec { path: "/ws".into(), handler: 0, ping: 0.0, ..ChannelSpec::default() };
    Registration { channels: vec![ws], ..registration() }
}

fn site(workers: u32) -> Site {
    Site::with(Limits::default(), workers, with_channel())
}

/// The operator wants another worker in the place of this one; who that is to be.
fn drain(site: &mut Site, number: u32) -> WorkerId {
    let before = site.effects.len();
    site.hub.drain_worker(None, number, site.now).unwrap();
    site.turn();
    match site.started_since(before)[..] {
        [new] => new,
        ref all => panic!("{} were started", all.len()),
    }
}

/// Opens a WebSocket; its number at the worker and its `conn.id`.
fn open(site: &mut Site, id: i64) -> (u64, String) {
    site.handshake(id, "/ws");
    let workers: Vec<_> = site.workers.keys().copied().collect();
    let told = workers.into_iter().find_map(|worker| site.told(worker).into_iter().next());
    match told {
        Some(Told::Open { conn, name, .. }) => (conn, name),
        other => panic!("no open: {other:?}"),
    }
}

/// What came of code that the operator wanted run.
fn evaluated(site: &Site) -> Vec<(u64, Result<&str, &str>)> {
    let result = |effect| match effect {
        &Effect::Evaluated { query, ref result } => {
            Some((query, result.as_ref().map(String::as_str).map_err(String::as_str)))
        }
        _ => None,
    };
    site.effects.iter().filter_map(result).collect()
}

#[test]
fn a_kicked_client_is_closed_without_a_word_and_its_script_told_once() {
    let mut site = site(1);
    let (conn, name) = open(&mut site, 7);
    let frames = site.frames(7).len();
    assert_eq!(site.hub.kick(&name, site.now), Ok(()));
    site.turn();
    assert!(site.closed(7));
    assert_eq!(site.frames(7).len(), frames, "no close frame");
    assert!(matches!(site.told(FIRST)[..], [Told::Close { conn: c, code: 1006, .. }] if c == conn));
    assert_eq!(site.hub.kick(&name, site.now), Err(OperateError::NoConnection { id: name.clone() }));
    // Mongrel2's notice comes later, and is nothing new.
    site.disconnect(7);
    assert!(site.told(FIRST).is_empty());
    site.settles();
}

#[test]
fn a_client_is_closed_with_the_code_and_as_much_of_the_reason_as_fits() {
    let mut site = site(1);
    let (_, name) = open(&mut site, 7);
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, u16::MAX] {
        assert_eq!(
            site.hub.close_by_name(&name, code, "", site.now),
            Err(OperateError::Code(BoundError::Code { code: code.into() }))
        );
    }
    site.hub.close_by_name(&name, 4001, &"ä".repeat(100), site.now).unwrap();
    site.turn();
    let frames = site.frames(7);
    let [(0x88, payload)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(payload[..2], 4001u16.to_be_bytes());
    assert_eq!(std::str::from_utf8(&payload[2..]).unwrap(), "ä".repeat(61), "122 of 123 bytes");
    site.frame(7, "/ws", 0x88, payload);
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 4001, .. }]));
}

#[test]
fn texts_reach_one_a_room_or_all() {
    let mut site = site(1);
    let conns: Vec<_> = (1..=3).map(|id| open(&mut site, id)).collect();
    site.act(
        FIRST,
        &conns[..2].iter().map(|(conn, _)| Action::Join { conn: *conn, room: b"r" }).collect::<Vec<_>>(),
    );
    site.hub.send_to(&conns[2].1, "one", site.now).unwrap();
    assert_eq!(site.hub.broadcast(Some("r"), None, "room", site.now), 2);
    assert_eq!(site.hub.broadcast(Some("nobody's"), None, "room", site.now), 0);
    assert_eq!(site.hub.broadcast(None, None, "all", site.now), 3);
    assert!(site.hub.send_to("nobody", "x", site.now).is_err());
    site.turn();
    let texts = |id| {
        site.frames(id).into_iter().map(|(_, text)| String::from_utf8(text).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!([texts(1), texts(2), texts(3)], [["room", "all"], ["room", "all"], ["one", "all"]]);
}

#[test]
fn a_made_up_message_runs_the_script_in_its_turn() {
    let mut site = site(1);
    let (conn, name) = open(&mut site, 7);
    site.frame(7, "/ws", 0x81, b"real");
    site.hub.simulate_message(&name, "made up", site.now).unwrap();
    site.turn();
    let payloads: Vec<_> = site
        .told(FIRST)
        .into_iter()
        .map(|told| match told {
            Told::Message { conn: c, payload, .. } if c == conn => payload,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(payloads, [&b"real"[..], b"made up"]);
    assert!(site.hub.simulate_message("nobody", "x", site.now).is_err());
}

#[test]
fn a_drained_worker_finishes_what_it_has_and_another_takes_its_connections() {
    let mut site = site(1);
    let (_, name) = open(&mut site, 7);
    site.request(8, "GET /a");
    let new = drain(&mut site, 1);
    assert!(!site.workers[&FIRST].stop, "it works until the other one is ready");
    site.request(9, "GET /a");
    site.ready(new, &with_channel());
    site.request(10, "GET /a");
    assert_eq!(site.workers[&new].jobs.last().map(|job| job.conn.as_str()), Some("boot-0.0.10"));
    for serial in site.serials(0) {
        site.respond(FIRST, serial, "old");
    }
    site.pass(seconds(1));
    assert_eq!([site.statuses(8), site.statuses(9)], [[200], [200]]);
    assert!(site.workers[&FIRST].stop);
    site.frame(7, "/ws", 0x81, b"x");
    let told = site.told(new);
    assert!(matches!(&told[0], Told::Open { resumed: true, name: same, .. } if *same == name), "{told:?}");
    assert!(matches!(&told[1], Told::Message { payload, .. } if payload == b"x"), "{told:?}");
}

#[test]
fn a_worker_whose_successor_does_not_load_stays() {
    let mut site = site(1);
    let new = drain(&mut site, 1);
    site.act(new, &[Action::Failed(LoadFailure { message: "broken".into(), ..LoadFailure::default() })]);
    assert!(site.workers[&new].killed);
    site.die(new, 0);
    let other = drain(&mut site, 1);
    site.die(other, 0);
    site.request(8, "GET /a");
    site.respond(FIRST, site.serials(0)[0], "x");
    assert_eq!(site.statuses(8), [200]);
    assert!(!site.workers[&FIRST].stop);
    // Nobody is left to come.
    let before = site.effects.len();
    site.pass(seconds(100));
    assert!(site.started_since(before).is_empty());
}

#[test]
fn when_a_worker_dies_before_its_successor_is_ready_that_one_has_its_seat() {
    let mut site = site(1);
    let (_, name) = open(&mut site, 7);
    let new = drain(&mut site, 1);
    let before = site.effects.len();
    site.die(FIRST, 0);
    site.pass(seconds(3));
    assert!(site.started_since(before).is_empty(), "one is on its way");
    site.request(8, "GET /a");
    site.ready(new, &with_channel());
    site.frame(7, "/ws", 0x81, b"x");
    let told = site.told(new);
    assert!(matches!(&told[0], Told::Open { resumed: true, name: same, .. } if *same == name), "{told:?}");
    assert_eq!(site.workers[&new].jobs.len(), 1);
}

#[test]
fn a_reload_and_a_stop_leave_no_successor_behind() {
    let mut site = site(1);
    let new = drain(&mut site, 1);
    let reloaded = site.load(APP, &with_channel());
    assert!(site.workers[&new].killed && site.workers[&FIRST].stop);
    site.die(new, 0);
    site.die(FIRST, 0);
    let before = site.effects.len();
    site.pass(seconds(1));
    assert!(site.started_since(before).is_empty());

    site.hub.drain_worker(None, 1, site.now).unwrap();
    site.turn();
    let new = site.started_since(before)[0];
    site.hub.begin_stop(site.now);
    site.turn();
    assert!(site.workers[&new].killed && site.workers[&reloaded[0]].stop);
}

#[test]
fn draining_twice_or_nobody_is_answered() {
    let mut site = site(2);
    let before = site.effects.len();
    assert_eq!(site.hub.drain_worker(Some("app.lua"), 2, site.now), Ok(()));
    site.turn();
    assert_eq!(site.started_since(before).len(), 1);
    // What is asked for is under way already.
    let _ = site.hub.drain_worker(None, 2, site.now);
    site.turn();
    assert_eq!(site.started_since(before).len(), 1);
    let nobody = Err(OperateError::NoWorker { app: "any app".into(), number: 9 });
    assert_eq!(site.hub.drain_worker(None, 9, site.now), nobody);
    assert!(site.hub.drain_worker(Some("other.lua"), 1, site.now).is_err());
}

#[test]
fn code_runs_in_the_chosen_worker_and_its_result_comes_once() {
    let mut site = site(2);
    site.hub.evaluate(None, 2, 11, "1 + 1").unwrap();
    site.turn();
    assert!(site.workers[&FIRST].evaluated.is_empty());
    assert_eq!(site.workers[&SECOND].evaluated, [(11, "1 + 1".to_owned())]);
    site.act(FIRST, &[Action::Evaluated { query: 11, ok: true, text: b"forged" }]);
    let answer = Action::Evaluated { query: 11, ok: true, text: b"2" };
    site.act(SECOND, std::slice::from_ref(&answer));
    site.act(SECOND, &[answer]);
    assert_eq!(evaluated(&site), [(11, Ok("2"))]);
    assert!(site.hub.evaluate(None, 3, 12, "x").is_err());
}

#[test]
fn code_whose_worker_dies_is_answered_with_that() {
    let mut site = site(1);
    site.hub.evaluate(None, 1, 1, "os.exit()").unwrap();
    site.hub.evaluate(None, 1, 2, "more").unwrap();
    site.turn();
    site.die(FIRST, 0);
    let died = Err("the worker has ended");
    assert_eq!(evaluated(&site), [(1, died), (2, died)]);
}

#[test]
fn connections_are_listed_page_by_page_each_once() {
    let mut site = site(1);
    let mut names: Vec<_> = (1..=25).map(|id| open(&mut site, id).1).collect();
    let mut listed = Vec::new();
    let mut filter = ConnectionFilter { limit: Some(10), ..ConnectionFilter::default() };
    for _ in 0..10 {
        let page = site.hub.list_connections(&filter, site.now);
        assert_eq!(page.total, 25);
        assert!(page.connections.len() <= 10);
        listed.extend(page.connections.into_iter().map(|view| view.id));
        filter.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    names.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, names);
}

#[test]
fn connections_are_found_by_room_path_and_idleness() {
    let mut site = site(1);
    let (conn, member) = open(&mut site, 1);
    let (_, other) = open(&mut site, 2);
    site.act(FIRST, &[Action::Join { conn, room: b"r" }]);
    site.pass(seconds(30));
    site.frame(2, "/ws", 0x81, b"x");
    let found = |site: &Site, filter: ConnectionFilter| -> Vec<String> {
        let page = site.hub.list_connections(&filter, site.now);
        page.connections.into_iter().map(|view| view.id).collect()
    };
    let all = ConnectionFilter::default;
    assert_eq!(found(&site, ConnectionFilter { room: Some("r".into()), ..all() }), [member.as_str()]);
    assert!(found(&site, ConnectionFilter { room: Some("s".into()), ..all() }).is_empty());
    assert_eq!(
        found(&site, ConnectionFilter { path: Some("/w".into()), ..all() }),
        [member.as_str(), &other]
    );
    assert!(found(&site, ConnectionFilter { path: Some("/x".into()), ..all() }).is_empty());
    assert_eq!(found(&site, ConnectionFilter { idle: Some(20), ..all() }), [member.as_str()]);
    let story = site.hub.connection_story(&member, site.now).unwrap();
    assert_eq!((story.view.rooms, story.view.path.as_str()), (vec!["r".to_owned()], "/ws"));
    assert_eq!(site.hub.connection_story("nobody", site.now), None);
}

#[test]
fn who_watches_sees_what_passes_and_what_it_did_not_ask_for_stays_away() {
    let mut site = site(1);
    let (conn, name) = open(&mut site, 1);
    let _other = open(&mut site, 2);
    site.hub.tap(1, TapFilter::default()).unwrap();
    site.hub.tap(2, TapFilter { id: Some(name.clone()), ..TapFilter::default() }).unwrap();
    site.hub.tap(3, TapFilter { path: Some("/a".into()), ..TapFilter::default() }).unwrap();
    let nobody = TapFilter { id: Some("nobody".into()), ..TapFilter::default() };
    assert!(site.hub.tap(4, nobody).is_err());

    site.frame(2, "/ws", 0x81, b"of another");
    site.frame(1, "/ws", 0x81, b"in");
    site.act(FIRST, &[Action::Send { conn, binary: true, payload: &[0xff] }]);
    site.request(8, "GET /a");
    site.respond(FIRST, site.jobs(0)[0].serial, "x");
    let mut seen: Vec<(u64, String)> = Vec::new();
    site.hub.drain_taps(|token, event: Value| {
        let text = event.get("text").or_else(|| event.get("base64")).or_else(|| event.get("status"));
        seen.push((token, format!("{} {}", event["event"].as_str().unwrap(), text.unwrap_or(&Value::Null))));
    });
    let of = |token| seen.iter().filter(|(t, _)| *t == token).map(|(_, s)| s.as_str()).collect::<Vec<_>>();
    assert_eq!(of(1), ["in \"of another\"", "in \"in\"", "out \"/w==\"", "request null", "answer 200"]);
    assert_eq!(of(2), ["in \"in\"", "out \"/w==\""]);
    assert_eq!(of(3), ["request null", "answer 200"]);

    site.hub.untap(1);
    site.hub.untap(3);
    site.hub.kick(&name, site.now).unwrap();
    site.turn();
    let mut seen = Vec::new();
    site.hub.drain_taps(|token, event| seen.push((token, event["event"].clone())));
    assert_eq!(seen, [(2, "closed".into())]);
    site.hub.untap(2);
    site.frame(2, "/ws", 0x81, b"unseen");
    site.hub.drain_taps(|token, event| panic!("{token}: {event}"));
}
