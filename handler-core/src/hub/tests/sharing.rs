//! How many workers an app has, and which of them gets what.

use super::site::*;
use crate::hub::{Affinity, Limits, Sharing, WorkerId};
use crate::worker::protocol::{Action, ChannelSpec, Interface, Registration};

const THIRD: WorkerId = WorkerId(2);

/// An application of a standard, which takes everything.
fn application(interface: Interface) -> Registration {
    let all = ChannelSpec { path: "/{*rest}".into(), asks: true, ping: 0.0, ..ChannelSpec::default() };
    Registration { channels: vec![all], hooks: true, not_found: true, interface, ..Registration::default() }
}

fn unloaded(workers: u32, sharing: Sharing) -> Site {
    let mut site = Site::empty(Limits::default(), 1, vec![app(workers)]);
    site.hub.set_sharing(APP, sharing);
    site.hub.handle_server_up(LINK, b"");
    site
}

fn adaptive(workers: u32) -> Site {
    unloaded(workers, Sharing { one_if_standard: true, affinity: None })
}

fn shared(workers: u32, affinity: &str) -> Site {
    let affinity = Some(affinity.parse::<Affinity>().unwrap());
    let mut site = unloaded(workers, Sharing { one_if_standard: false, affinity });
    site.load(APP, &application(Interface::Asgi));
    site
}

/// The worker that got the last job of a connection.
fn worker_of(site: &Site, id: u32) -> Option<usize> {
    let name = format!("boot-0.0.{id}");
    let has = |worker: &&WorkerId| site.workers[worker].jobs.iter().any(|job| job.conn == name);
    site.workers.keys().find(has).map(|worker| worker.0)
}

fn answer_last(site: &mut Site, worker: usize) {
    let serial = *site.serials(worker).last().unwrap();
    site.respond(WorkerId(worker), serial, "x");
}

fn with_cookie(site: &mut Site, id: i64, cookie: &str) {
    site.request_with(id, "GET /a", &[("cookie", cookie)]);
}

#[test]
fn an_application_of_a_standard_has_one_worker_unless_a_number_is_given() {
    for interface in [Interface::Asgi, Interface::Wsgi] {
        let mut site = adaptive(4);
        let started = site.load(APP, &application(interface));
        assert_eq!((started.len(), site.hub.seats(APP), site.workers.len()), (1, 1, 1));
        let said = format!("app.lua (1 worker, {})", interface.name().unwrap());
        assert_eq!(site.hub.describe(APP), said);
        // A reload starts as many.
        assert_eq!(site.begin_load(APP).len(), 1);

        let mut site = unloaded(4, Sharing::default());
        assert_eq!(site.load(APP, &application(interface)).len(), 4);
        assert_eq!(site.hub.describe(APP), format!("app.lua (4 workers, {})", interface.name().unwrap()));
    }
}

#[test]
fn an_app_of_kennels_own_gets_its_other_workers_when_the_first_has_loaded() {
    let mut site = adaptive(3);
    let first = site.begin_load(APP);
    assert_eq!(first.len(), 1);
    let before = site.effects.len();
    site.ready(first[0], &registration());
    let further = site.started_since(before);
    assert_eq!((further.len(), site.hub.is_loaded(APP)), (2, false));
    further.iter().for_each(|worker| site.ready(*worker, &registration()));
    assert_eq!((site.hub.seats(APP), site.workers.values().filter(|worker| worker.lead).count()), (3, 1));
    assert_eq!(site.hub.describe(APP), "app.lua (3 workers, 3 routes)");
    // A reload starts all at once, and a dead worker's number is taken again.
    let new = site.begin_load(APP);
    assert_eq!(new.len(), 3);
    new.iter().for_each(|worker| site.ready(*worker, &registration()));
    assert_eq!(site.hub.seats(APP), 3);
}

#[test]
fn code_that_changes_its_kind_changes_the_number_of_workers() {
    let mut site = adaptive(3);
    let first = site.begin_load(APP);
    site.ready(first[0], &registration());
    let others: Vec<_> = site.workers.keys().copied().filter(|worker| *worker != first[0]).collect();
    others.iter().for_each(|worker| site.ready(*worker, &registration()));
    // One that is not to stay is ready before the one that is.
    let new = site.begin_load(APP);
    site.ready(new[2], &application(Interface::Asgi));
    assert!(site.workers[&new[1]].killed && site.workers[&new[2]].killed && !site.workers[&new[0]].killed);
    assert_eq!(site.hub.seats(APP), 3);
    site.die(new[1], 0);
    site.die(new[2], 0);
    site.ready(new[0], &application(Interface::Asgi));
    assert_eq!((site.hub.seats(APP), site.hub.describe(APP)), (1, "app.lua (1 worker, ASGI)".to_owned()));
    let before = site.effects.len();
    let again = site.begin_load(APP);
    site.ready(again[0], &registration());
    let started = site.started_since(before);
    assert_eq!(started.len(), 3);
    started[1..].iter().for_each(|worker| site.ready(*worker, &registration()));
    assert_eq!(site.hub.seats(APP), 3);
}

#[test]
fn a_visitor_is_told_its_worker_once_and_stays_with_it() {
    let mut site = shared(3, "cookie");
    site.request(1, "GET /a");
    let first = worker_of(&site, 1).unwrap();
    answer_last(&mut site, first);
    let line = format!("Set-Cookie: kennel-worker={}; Path=/; SameSite=Lax; HttpOnly\r\n", first + 1);
    assert!(site.text(1).contains(&line), "{}", site.text(1));
    // However much it has to do, and whatever other cookies there are.
    for id in 2..=9 {
        with_cookie(&mut site, id, "a=b; kennel-worker=2; c=d");
        assert_eq!(worker_of(&site, id as u32), Some(1));
    }
    answer_last(&mut site, 1);
    assert!(!site.text(9).contains("Set-Cookie"), "it knows");
    // The others go to the others.
    site.request(10, "GET /a");
    assert_ne!(worker_of(&site, 10), Some(1));
    for (id, wrong) in
        [(11, "kennel-worker=4"), (12, "kennel-worker=0"), (13, "kennel-worker=x"), (14, "x=1")]
    {
        with_cookie(&mut site, id, wrong);
        let worker = worker_of(&site, id as u32).unwrap();
        answer_last(&mut site, worker);
        let line = format!("Set-Cookie: kennel-worker={}; ", worker + 1);
        assert!(site.text(id as u32).contains(&line), "{wrong}");
    }
}

#[test]
fn new_visitors_are_spread_over_quiet_workers() {
    let mut site = shared(3, "cookie");
    let mut counts = [0; 3];
    for id in 1..=9 {
        site.request(id, "GET /a");
        let worker = worker_of(&site, id as u32).unwrap();
        counts[worker] += 1;
        answer_last(&mut site, worker);
    }
    assert_eq!(counts, [3, 3, 3]);
}

#[test]
fn a_response_in_pieces_tells_the_worker_too_and_a_page_of_the_hubs_own_does_not() {
    let mut site = shared(2, "cookie");
    site.request(1, "GET /a");
    let actions = [
        Action::Begin { serial: 1, status: 200, head: b":reason Fine\r\nx: y\r\n" },
        Action::Piece { serial: 1, bytes: b"x" },
        Action::End { serial: 1 },
    ];
    site.act(FIRST, &actions);
    let text = site.text(1);
    assert!(
        text.starts_with("HTTP/1.1 200 Fine\r\n") && text.contains("x: y\r\nSet-Cookie: kennel-worker=1; "),
        "{text}"
    );
    site.request(2, "GET /a");
    site.pass(seconds(31));
    assert_eq!(site.statuses(2), [504]);
    assert!(!site.text(2).contains("Set-Cookie"), "{}", site.text(2));
}

#[test]
fn requests_of_a_dead_worker_wait_for_the_one_that_takes_its_place() {
    let mut site = shared(2, "cookie");
    site.pass(seconds(1));
    let before = site.effects.len();
    site.die(SECOND, 0);
    with_cookie(&mut site, 1, "kennel-worker=2");
    site.request(2, "GET /a");
    with_cookie(&mut site, 3, "kennel-worker=1");
    assert_eq!([1, 2, 3].map(|id| worker_of(&site, id)), [None, Some(0), Some(0)], "nobody else waits");
    let new = site.started_since(before)[0];
    site.ready(new, &application(Interface::Asgi));
    assert_eq!(worker_of(&site, 1), Some(new.0));
    with_cookie(&mut site, 4, "kennel-worker=2");
    assert_eq!(worker_of(&site, 4), Some(new.0));
    // A reload gives it to the worker of the same number.
    let newer = site.load(APP, &application(Interface::Asgi));
    for (id, number) in [(5, 1), (6, 2)] {
        with_cookie(&mut site, id, &format!("kennel-worker={number}"));
        assert_eq!(worker_of(&site, id as u32), Some(newer[number - 1].0));
    }
}

#[test]
fn what_a_worker_gives_back_waits_for_it_and_holds_nobody_up() {
    let limits = Limits { worker_jobs: 2, ..Limits::default() };
    let mut site = Site::empty(limits, 1, vec![app(2)]);
    site.hub.set_sharing(APP, Sharing { one_if_standard: false, affinity: Some(Affinity::Cookie) });
    site.hub.handle_server_up(LINK, b"");
    site.load(APP, &application(Interface::Wsgi));
    for id in 1..=4 {
        with_cookie(&mut site, id, "kennel-worker=1");
    }
    assert_eq!(site.serials(0), [1, 2]);
    for id in 5..=6 {
        site.request(id, "GET /a");
        assert_eq!(
            worker_of(&site, id as u32),
            Some(1),
            "the queue of the other one is none of its business"
        );
    }
    site.act(FIRST, &[Action::Skipped { serial: 2 }]);
    site.respond(FIRST, 1, "x");
    let conns: Vec<_> = site.jobs(0).iter().map(|job| job.conn.as_str()).collect();
    assert_eq!(conns, ["boot-0.0.1", "boot-0.0.2", "boot-0.0.2", "boot-0.0.3"]);
    for _ in 0..4 {
        let open: Vec<_> = site.serials(0);
        open.iter().for_each(|serial| site.respond(FIRST, *serial, "x"));
    }
    assert!((1..=4).all(|id| site.statuses(id) == [200]));
}

#[test]
fn a_seat_that_nobody_fills_is_the_others_business() {
    let mut site = shared(2, "cookie");
    for _ in 0..10 {
        let before = site.effects.len();
        let Some(worker) = site.workers.keys().copied().find(|worker| *worker != FIRST) else { break };
        site.die(worker, 0);
        let end = site.now + seconds(6);
        while site.started_since(before).is_empty() && site.now < end {
            site.pass(millis(50));
        }
    }
    let last = site.workers.keys().copied().find(|worker| *worker != FIRST).unwrap();
    site.die(last, 0);
    with_cookie(&mut site, 1, "kennel-worker=2");
    assert_eq!(worker_of(&site, 1), Some(0));
}

#[test]
fn a_value_of_the_query_has_its_worker_and_no_cookie() {
    let mut site = shared(3, "query:room");
    let mut seen = std::collections::BTreeMap::new();
    for id in 1..=60_i64 {
        let room = format!("room {}", id % 20);
        let query = format!("x=1&room={}", room.replace(' ', if id % 2 == 0 { "+" } else { "%20" }));
        site.request_with(id, "GET /a", &[("QUERY", &query)]);
        let worker = worker_of(&site, id as u32).unwrap();
        assert_eq!(*seen.entry(room.clone()).or_insert(worker), worker, "{room}");
        answer_last(&mut site, worker);
        assert!(!site.text(id as u32).contains("Set-Cookie"));
    }
    let used: std::collections::BTreeSet<_> = seen.values().collect();
    assert_eq!(used.len(), 3, "they are spread");
    site.request(61, "GET /a");
    assert!(worker_of(&site, 61).is_some());
}

#[test]
fn a_websocket_belongs_to_the_worker_of_its_clients_requests() {
    let mut site = shared(3, "cookie");
    for id in 1..=3 {
        site.handshake_with(id, "/ws", &[("cookie", "kennel-worker=3")]);
        assert!(matches!(site.told(THIRD)[..], [Told::Open { .. }]), "connection {id}");
    }
    site.handshake(4, "/ws");
    assert!(site.told(THIRD).is_empty(), "the others go to the others");
    // While there is no such worker, it waits for the next one.
    site.pass(seconds(1));
    let before = site.effects.len();
    site.die(THIRD, 0);
    site.handshake_with(5, "/ws", &[("cookie", "kennel-worker=3")]);
    let new = site.started_since(before)[0];
    site.ready(new, &application(Interface::Asgi));
    assert!(
        site.told(new).iter().any(|told| matches!(told, Told::Open { name, .. } if name == "boot-0.0.5"))
    );
}

#[test]
fn one_worker_needs_no_affinity() {
    let mut site = shared(1, "cookie");
    with_cookie(&mut site, 1, "kennel-worker=2");
    answer_last(&mut site, 0);
    assert!(!site.text(1).contains("Set-Cookie"), "{}", site.text(1));
    assert_eq!(site.hub.describe(APP), "app.lua (1 worker, ASGI)");
    assert_eq!(shared(2, "query:x").hub.describe(APP), "app.lua (2 workers, ASGI, affinity query:x)");
}

#[test]
fn a_stop_waits_for_no_seat_that_is_empty() {
    let mut site = shared(2, "cookie");
    site.pass(seconds(1));
    // Until the next one is to be started later.
    while let Some(other) = site.workers.keys().copied().find(|worker| *worker != FIRST) {
        site.die(other, 0);
    }
    with_cookie(&mut site, 1, "kennel-worker=2");
    assert_eq!(worker_of(&site, 1), None);
    site.hub.begin_stop(site.now);
    site.pass(millis(60));
    assert_eq!(worker_of(&site, 1), Some(0), "nobody will take that seat");
    answer_last(&mut site, 0);
    site.pass(millis(60));
    assert!(site.workers[&FIRST].stop);
    assert_eq!(site.statuses(1), [200]);
}
