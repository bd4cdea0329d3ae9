//! What is counted, by whose route and channel, and what became of it.

use super::site::{APP, FIRST, LINK, SECOND, Site, app, millis, registration, route};
use crate::hub::{AppSpec, Limits};
use crate::metrics::{Value, text};
use crate::worker::protocol::{Action, ChannelSpec, Level, Registration};
use crate::worker::pulse::Pulse;

impl Site {
    /// The number of a series: its family, and its labels in their order.
    fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let families = self.hub.metrics();
        let family = families.iter().find(|family| family.name == name).expect("there is such a family");
        let fits = |labels_of: &[(&str, std::borrow::Cow<'_, str>)]| {
            labels_of.iter().map(|(_, value)| &**value).eq(labels.iter().copied())
        };
        let sample = family.samples.iter().find(|sample| fits(&sample.labels));
        sample.map_or(0, |sample| match sample.value {
            Value::Count(count) => count,
            Value::Real(value) => value as u64,
            Value::Times(times) => times.count(),
        })
    }

    fn requests(&self, route: &str, status: &str) -> u64 {
        self.metric("kennel_requests_total", &["app.lua", route, status])
    }
}

#[test]
fn requests_are_counted_by_the_pattern_of_their_route_never_by_their_path() {
    let mut site = Site::new(1);
    for id in 1..=20 {
        site.request(id, &format!("GET /users/{id}"));
        site.pass(millis(3));
        site.respond(FIRST, site.serials(0)[id as usize - 1], "hello");
    }
    assert_eq!(site.requests("/users/{id}", "200"), 20);
    assert_eq!(site.metric("kennel_request_seconds", &["app.lua", "/users/{id}"]), 20);
    let written = text(&site.hub.metrics());
    let fast = "kennel_request_seconds_bucket{app=\"app.lua\",route=\"/users/{id}\",le=\"0.0025\"} 0\n";
    let slow = "kennel_request_seconds_bucket{app=\"app.lua\",route=\"/users/{id}\",le=\"0.005\"} 20\n";
    assert!(written.contains(fast) && written.contains(slow), "{written}");
    assert!(!written.contains("/users/7"));
}

#[test]
fn answers_of_the_hub_are_counted_where_they_belong() {
    let mut site = Site::new(1);
    site.request(1, "GET /nowhere");
    site.request(2, "DELETE /a");
    site.request(3, "OPTIONS /a");
    assert_eq!(site.requests("not_found", "404"), 1);
    assert_eq!(site.requests("method_not_allowed", "405"), 1);
    assert_eq!(site.requests("options", "204"), 1);
    site.message(b"m2 4 / 1:x,0:,");
    assert_eq!(site.metric("kennel_requests_total", &["-", "-", "400"]), 1);
    assert_eq!(site.metric("kennel_dropped_total", &["malformed"]), 1);
}

#[test]
fn what_waits_shows_where_and_ends_as_what_became_of_it() {
    let limits = Limits { worker_jobs: 1, queue: 1, request_timeout: millis(1000), ..Limits::default() };
    let mut site = Site::with(limits, 1, registration());
    for id in 1..=3 {
        site.request(id, "GET /a");
    }
    site.request(1, "GET /a");
    let state = |site: &Site, state| site.metric("kennel_requests_in_flight", &["app.lua", state]);
    assert_eq!((state(&site, "running"), state(&site, "queued"), state(&site, "pipelined")), (1, 1, 1));
    assert_eq!(site.requests("/a", "503"), 1);
    // The one that waits behind another is gone with its client, the one that runs is nobody's any more.
    site.disconnect(1);
    assert_eq!(site.requests("/a", "lost"), 1);
    site.respond(FIRST, site.serials(0)[0], "late");
    assert_eq!(site.requests("/a", "lost"), 2);
    site.pass(millis(1100));
    assert_eq!(site.requests("/a", "504"), 1);
    assert_eq!(site.metric("kennel_timeouts_total", &[]), 1);
    assert_eq!((state(&site, "running"), state(&site, "queued"), state(&site, "pipelined")), (0, 0, 0));
}

#[test]
fn an_answer_in_pieces_is_counted_at_its_beginning() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    let serial = site.serials(0)[0];
    site.act(FIRST, &[Action::Begin { serial, status: 206, head: b"" }]);
    assert_eq!(site.requests("/a", "206"), 1);
    site.act(FIRST, &[Action::Piece { serial, bytes: b"x" }, Action::Abort { serial }]);
    assert_eq!(site.requests("/a", "206"), 1);
    assert_eq!(site.metric("kennel_dropped_total", &["cut_short"]), 1);
}

#[test]
fn restarts_are_counted_by_their_reason() {
    let mut site = Site::new(2);
    let restarts = |site: &Site, reason| site.metric("kennel_worker_restarts_total", &["app.lua", reason]);
    site.request(1, "GET /a");
    site.die(FIRST, 1);
    assert_eq!((restarts(&site, "died"), restarts(&site, "hung")), (1, 0));
    assert_eq!(site.requests("/a", "502"), 1);
    site.pass(millis(100));
    let new = *site.workers.keys().find(|id| **id != SECOND).expect("its seat is filled");
    site.ready(new, &registration());
    site.load(APP, &registration());
    assert_eq!(restarts(&site, "reloaded"), 2);
    assert_eq!(site.metric("kennel_workers", &["app.lua", "ready"]), 2);
    let before = site.effects.len();
    site.hub.drain_worker(None, 1, site.now).expect("there is one");
    site.turn();
    assert_eq!(site.metric("kennel_workers", &["app.lua", "loading"]), 1);
    assert_eq!(restarts(&site, "drained"), 0, "it stays until the other one is ready");
    let other = site.started_since(before)[0];
    site.ready(other, &registration());
    assert_eq!(restarts(&site, "drained"), 1);
}

#[test]
fn a_worker_whose_script_hangs_is_a_restart_of_its_own_kind() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    let pulse = Pulse { started: 1, turn: 1, running: 1 };
    site.hub.handle_pulse(FIRST, pulse, site.now);
    let end = site.now + Limits::default().script_time;
    while site.now < end {
        site.pass(millis(50));
        site.hub.handle_pulse(FIRST, pulse, site.now);
        site.turn();
    }
    site.die(FIRST, 1);
    let restarts = |reason| site.metric("kennel_worker_restarts_total", &["app.lua", reason]);
    assert_eq!((restarts("hung"), restarts("died"), restarts("not_loaded")), (1, 0, 0));
    assert_eq!(site.requests("/a", "504"), 1);
}

#[test]
fn counts_outlive_reloads_and_routes_that_are_gone() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    site.respond(FIRST, 1, "x");
    let newer = Registration { routes: vec![route(&["GET"], "/c", 0)], ..Registration::default() };
    let worker = site.load(APP, &newer)[0];
    site.request(2, "GET /c");
    site.respond(worker, 1, "x");
    assert_eq!((site.requests("/a", "200"), site.requests("/c", "200")), (1, 1));
    let again = site.load(APP, &registration())[0];
    site.request(3, "GET /a");
    site.respond(again, 1, "x");
    assert_eq!((site.requests("/a", "200"), site.requests("/c", "200")), (2, 1));
}

#[test]
fn live_connections_and_their_messages_are_counted_by_channel() {
    let channel = ChannelSpec { path: "/chat".into(), ..ChannelSpec::default() };
    let registration = Registration { channels: vec![channel], ..Registration::default() };
    let two = AppSpec { mount: "/app".into(), ..app(1) };
    let mut site = Site::empty(Limits::default(), 1, vec![two]);
    site.hub.handle_server_up(LINK, b"");
    site.load(APP, &registration);
    for id in 1..=3 {
        site.handshake(id, "/app/chat");
    }
    let labels = ["app.lua", "/app/chat"];
    assert_eq!(site.metric("kennel_connections", &labels), 3);
    site.frame(1, "/app/chat", 0x81, b"hello");
    let conns: Vec<_> = site
        .told(FIRST)
        .iter()
        .filter_map(|told| match told {
            super::site::Told::Open { conn, .. } => Some(*conn),
            _ => None,
        })
        .collect();
    site.act(
        FIRST,
        &[
            Action::Send { conn: conns[0], binary: false, payload: b"hi" },
            Action::Join { conn: conns[0], room: b"lobby" },
            Action::Join { conn: conns[1], room: b"lobby" },
            Action::Join { conn: conns[1], room: b"" },
            Action::Publish { except: 0, binary: false, room: b"lobby", payload: b"all" },
        ],
    );
    let messages =
        |direction| site.metric("kennel_channel_messages_total", &[labels[0], labels[1], direction]);
    assert_eq!((messages("in"), messages("out")), (1, 1));
    let single = |name| site.metric(name, &[]);
    assert_eq!((single("kennel_rooms"), single("kennel_room_messages_total")), (1, 1));
    assert_eq!(single("kennel_room_deliveries_total"), 2);
    assert_eq!(site.metric("kennel_dropped_total", &["refused_order"]), 1, "a room has a name");
    site.disconnect(2);
    assert_eq!(site.metric("kennel_connections", &labels), 2);
    assert_eq!(site.metric("kennel_connections_opened_total", &labels), 3);
    site.hub.handle_server_down(LINK, site.now);
    site.turn();
    assert_eq!(site.metric("kennel_connections", &labels), 0);
}

#[test]
fn a_line_of_a_script_may_name_any_job() {
    let mut site = Site::new(1);
    site.request(1, "GET /a");
    for serial in [0, 1, 2, u64::MAX] {
        site.act(FIRST, &[Action::Log { level: Level::Debug, serial, text: b"hello", fields: b"" }]);
    }
}
