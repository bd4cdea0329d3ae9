//! Several apps of one hub: what one has, the address of another neither sees nor touches, and one that does not load is in nobody's way.

use super::site::*;
use crate::hub::inspect::ConnectionFilter;
use crate::hub::{AppId, AppSpec, Limits, TapFilter, WorkerId};
use crate::worker::protocol::{Action, ChannelSpec, LoadFailure, Registration};

const ONE: AppId = AppId(0);
const TWO: AppId = AppId(1);

fn registered() -> Registration {
    let ws = ChannelSpec { path: "/".into(), handler: 0, ping: 0.0, ..ChannelSpec::default() };
    Registration { channels: vec![ws], ..registration() }
}

fn specs() -> Vec<AppSpec> {
    let spec = |name: &str| AppSpec { name: name.into(), mount: format!("/{name}"), workers: 1 };
    vec![spec("one"), spec("two")]
}

/// Two apps, each with a WebSocket in the room `r`: 1 is `one`'s, 2 is `two`'s. And the names of these.
fn talking() -> (Site, [String; 2]) {
    let mut site = Site::empty(Limits::default(), 1, specs());
    let workers = [ONE, TWO].map(|app| site.load(app, &registered())[0]);
    site.hub.handle_server_up(LINK, b"");
    let mut names = Vec::new();
    for (worker, (id, path)) in workers.into_iter().zip([(1, "/one"), (2, "/two")]) {
        site.handshake(id, path);
        let told = site.told(worker);
        let [Told::Open { conn, name, .. }] = &told[..] else { panic!("no open: {told:?}") };
        names.push(name.clone());
        site.act(worker, &[Action::Join { conn: *conn, room: b"r" }]);
    }
    let names = names.try_into().expect("there are two");
    (site, names)
}

fn texts(site: &Site, id: u32) -> Vec<String> {
    let text = |(_, text)| String::from_utf8(text).expect("it is a text");
    site.frames(id).into_iter().map(text).collect()
}

fn fail(site: &mut Site, worker: WorkerId) {
    let failure = LoadFailure { message: "no such module".into(), ..LoadFailure::default() };
    site.act(worker, &[Action::Failed(failure)]);
}

#[test]
fn what_is_said_to_an_app_reaches_its_own_connections_alone() {
    let (mut site, _) = talking();
    assert_eq!(site.hub.broadcast(None, Some(ONE), "to one", site.now), 1);
    assert_eq!(site.hub.broadcast(Some("r"), Some(TWO), "to two", site.now), 1);
    assert_eq!(site.hub.broadcast(Some("r"), None, "to both", site.now), 2);
    assert_eq!(site.hub.broadcast(Some("nobody's"), Some(ONE), "x", site.now), 0);
    site.turn();
    assert_eq!(texts(&site, 1), ["to one", "to both"]);
    assert_eq!(texts(&site, 2), ["to two", "to both"]);
}

#[test]
fn an_app_alone_is_listed() {
    let (site, [one, two]) = talking();
    assert_eq!((site.hub.app_of(&one), site.hub.app_of(&two)), (Some(ONE), Some(TWO)));
    assert_eq!(site.hub.app_of("nobody"), None);
    let filter = ConnectionFilter { only: Some(TWO), ..ConnectionFilter::default() };
    let list = site.hub.list_connections(&filter, site.now);
    assert_eq!(
        (list.total, &list.connections[..].iter().map(|c| &c.id).collect::<Vec<_>>()[..]),
        (1, &[&two][..])
    );
    let members = |only| site.hub.list_rooms(only).iter().map(|room| room.members).sum::<usize>();
    assert_eq!((members(None), members(Some(ONE))), (2, 1));
    assert_eq!(site.hub.list_workers(Some(TWO), site.now)[0].1.app, "two");
    assert_eq!(site.hub.list_queues(Some(TWO))[0].app, "two");
    let apps = site.hub.list_apps();
    let of =
        |app: &AppId| apps.iter().find(|(id, _)| id == app).map(|(_, view)| (view.state, view.connections));
    assert_eq!((of(&ONE), of(&TWO)), (Some(("serving", 1)), Some(("serving", 1))));
}

#[test]
fn who_watches_an_app_sees_what_concerns_it_alone() {
    let (mut site, [one, two]) = talking();
    site.hub.tap(7, TapFilter { only: Some(ONE), ..TapFilter::default() }).expect("it is fine");
    site.hub.send_to(&one, "seen", site.now).expect("it is there");
    site.hub.send_to(&two, "unseen", site.now).expect("it is there");
    site.request(8, "GET /one/a");
    site.request(9, "GET /two/a");
    let mut seen = Vec::new();
    site.hub.drain_taps(|_, event| seen.push(event));
    let seen: Vec<_> = seen.iter().map(|event| event["text"].as_str().or(event["path"].as_str())).collect();
    assert_eq!(seen, [Some("seen"), Some("/one/a")]);
}

#[test]
fn an_app_that_never_loaded_is_in_nobodys_way() {
    let mut site = Site::empty(Limits::default(), 1, specs());
    let failing = site.begin_load(ONE)[0];
    let served = site.load(TWO, &registered())[0];
    site.hub.handle_server_up(LINK, b"");
    site.request(11, "GET /one/a");
    site.handshake(12, "/one");
    assert_eq!((site.statuses(11), site.statuses(12)), (vec![503], vec![503]), "it still loads");
    fail(&mut site, failing);
    site.hub.set_broken(ONE, Some("<p>sorry".into()));
    site.request(1, "GET /one/a");
    site.request(2, "GET /one");
    site.request(3, "GET /elsewhere");
    site.handshake(4, "/one");
    site.handshake(5, "/elsewhere");
    for (id, status) in [(1, 500), (2, 500), (3, 404), (4, 500), (5, 404)] {
        assert_eq!(site.statuses(id), [status], "{id}");
    }
    site.request(6, "GET /two/a");
    site.respond(served, 1, "fine");
    assert_eq!(site.answers(6), [(200, "fine".to_owned())]);
    assert_eq!(site.hub.list_apps()[0].1.state, "failed");

    let worker = site.load(ONE, &registered())[0];
    site.request(7, "GET /one/a");
    site.respond(worker, 1, "better");
    assert_eq!(site.answers(7), [(200, "better".to_owned())]);
    assert_eq!(site.hub.list_apps()[0].1.state, "serving");
}
