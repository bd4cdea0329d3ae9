//! BOSH sessions in the hub: their requests are held and answered, their messages reach scripts and rooms, and their end
//! is one. What the protocol itself demands is tested where it is written.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::hub::Limits;
use crate::worker::protocol::{Action, ChannelSpec, Registration};

const NS: &str = "http://jabber.org/protocol/httpbind";

fn site() -> Site {
    let spec = ChannelSpec { path: "/bosh".into(), ..ChannelSpec::default() };
    let mut site = Site::with(Limits::default(), 1, Registration { channels: vec![spec], ..registration() });
    site.hub.set_session_key(&[7; 32]);
    site
}

fn post(site: &mut Site, id: i64, body: &str) {
    let head = [("content-type", "text/xml; charset=utf-8")];
    site.message(&mongrel2::http(Form::Tnetstring, SENDER, id, "POST /bosh", &head, body.as_bytes()));
}

/// The one answer that a connection got.
fn answer(site: &Site, id: u32) -> String {
    let answers = site.answers(id);
    let [(200, body)] = &answers[..] else { panic!("{answers:?}") };
    body.clone()
}

/// Opens a session by connection 1: its sid and its number at the worker.
fn open(site: &mut Site) -> (String, u64) {
    post(
        site,
        1,
        &format!("<body rid='100' to='localhost' wait='20' hold='1' ver='1.6' xml:lang='en' xmlns='{NS}'/>"),
    );
    assert_eq!(site.sent(1), b"", "the script has not run");
    let told = site.told(FIRST);
    let [Told::Open { conn, fresh: true, .. }] = told[..] else { panic!("{told:?}") };
    (sid_in(&answer(site, 1)), conn)
}

fn sid_in(answer: &str) -> String {
    answer.split("sid=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned()
}

fn body(sid: &str, rid: u64, inside: &str) -> String {
    format!("<body rid='{rid}' sid='{sid}' xmlns='{NS}'>{inside}</body>")
}

fn send(site: &mut Site, conn: u64, text: &str) {
    site.act(FIRST, &[Action::Send { conn, binary: false, payload: text.as_bytes() }]);
}

#[test]
fn a_request_is_held_until_the_script_says_something() {
    let mut site = site();
    let (sid, conn) = open(&mut site);
    post(&mut site, 2, &body(&sid, 101, ""));
    site.pass(seconds(19));
    assert_eq!(site.sent(2), b"");
    send(&mut site, conn, "<message xmlns='jabber:client'>hi</message>");
    assert_eq!(
        answer(&site, 2),
        format!("<body xmlns=\"{NS}\"><message xmlns='jabber:client'>hi</message></body>")
    );
    // The answer was lost: the same bytes again.
    post(&mut site, 3, &body(&sid, 101, ""));
    assert_eq!(answer(&site, 3), answer(&site, 2));
    // Nothing to say within `wait`.
    post(&mut site, 4, &body(&sid, 102, ""));
    site.pass(seconds(21));
    assert!(answer(&site, 4).ends_with("/>"), "{}", answer(&site, 4));
    // A text that is no element comes in one.
    post(&mut site, 5, &body(&sid, 103, ""));
    site.act(
        FIRST,
        &[
            Action::Send { conn, binary: false, payload: b"1 < 2" },
            Action::Send { conn, binary: true, payload: b"\0" },
        ],
    );
    let text = answer(&site, 5);
    assert!(
        text.contains(">1 &lt; 2</text>") && text.contains(">AA==</binary>"),
        "one answer for both: {text}"
    );
}

#[test]
fn the_first_answer_carries_what_open_sends() {
    let opening = format!("<body rid='100' wait='20' hold='1' ver='1.6' xmlns='{NS}'/>");
    // The connection and the job of its `open`, which runs.
    let told_of = |site: &mut Site| {
        let told = std::mem::take(&mut site.workers.get_mut(&FIRST).unwrap().live);
        let [Told::Open { conn, serial, .. }] = told[..] else { panic!("{told:?}") };
        (conn, serial)
    };
    // Sent to it, and to a room that it is in: all before `open` returns or pauses.
    let mut site = site();
    post(&mut site, 1, &opening);
    let (conn, serial) = told_of(&mut site);
    let send = Action::Send { conn, binary: false, payload: b"<features xmlns='x'/>" };
    let publish = Action::Publish { room: b"all", except: 0, binary: false, payload: b"<here xmlns='x'/>" };
    site.act(FIRST, &[Action::Join { conn, room: b"all" }, send, publish, Action::Done { serial }]);
    let first = answer(&site, 1);
    let inside = first.find("<features xmlns='x'/>").zip(first.find("<here xmlns='x'/>"));
    assert!(first.contains(" sid=") && inside.is_some_and(|(a, b)| a < b), "{first}");
    post(&mut site, 2, &body(&sid_in(&first), 101, ""));
    assert_eq!(site.sent(2), b"", "nothing is said twice");

    // A script that sends nothing, and one that takes long.
    let mut site = self::site();
    post(&mut site, 1, &opening);
    let (_, serial) = told_of(&mut site);
    site.act(FIRST, &[Action::Done { serial }]);
    assert!(answer(&site, 1).ends_with("/>"));
    post(&mut site, 2, &opening);
    let (_, serial) = told_of(&mut site);
    site.pass(seconds(1));
    assert_eq!(site.sent(2), b"");
    site.pass(millis(1100));
    assert!(answer(&site, 2).contains(" sid="), "{}", answer(&site, 2));
    site.act(FIRST, &[Action::Done { serial }]);

    // One that closes at once, whose worker dies, and whose client leaves.
    post(&mut site, 3, &opening);
    let (conn, serial) = told_of(&mut site);
    site.act(FIRST, &[Action::CloseConn { conn, code: 4000, reason: b"" }, Action::Done { serial }]);
    let sid = sid_in(&answer(&site, 3));
    post(&mut site, 4, &body(&sid, 101, ""));
    assert!(answer(&site, 4).contains("type=\"terminate\""), "{}", answer(&site, 4));
    post(&mut site, 5, &opening);
    site.disconnect(5);
    post(&mut site, 6, &opening);
    let told = std::mem::take(&mut site.workers.get_mut(&FIRST).unwrap().live);
    let last = told.iter().filter_map(Told::serial).max().unwrap();
    site.die(FIRST, last);
    assert!(answer(&site, 6).contains(" sid="), "{}", answer(&site, 6));
}

#[test]
fn each_element_is_a_message_in_the_order_of_requests() {
    let mut site = site();
    let (sid, conn) = open(&mut site);
    post(&mut site, 3, &body(&sid, 102, "<c xmlns=''/>"));
    post(&mut site, 2, &body(&sid, 101, "<a xmlns=''/><b xmlns=''/>"));
    let told = site.told(FIRST);
    let payloads: Vec<_> = told
        .iter()
        .map(|told| match told {
            Told::Message { conn: c, payload, .. } if *c == conn => {
                String::from_utf8(payload.clone()).unwrap()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(payloads, ["<a xmlns=''/>", "<b xmlns=''/>", "<c xmlns=''/>"]);
    assert!(site.statuses(2) == [200] && site.sent(3).is_empty(), "of two, one is held");
}

#[test]
fn a_client_that_drops_its_request_gets_the_answer_when_it_repeats() {
    let mut site = site();
    let (sid, conn) = open(&mut site);
    post(&mut site, 2, &body(&sid, 101, ""));
    site.disconnect(2);
    send(&mut site, conn, "<late xmlns='x'/>");
    post(&mut site, 3, &body(&sid, 101, ""));
    assert!(answer(&site, 3).contains("<late xmlns='x'/>"), "{}", answer(&site, 3));
    site.pass(seconds(61));
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1006, .. }]));
    post(&mut site, 4, &body(&sid, 102, ""));
    assert!(answer(&site, 4).contains("condition=\"item-not-found\""));
    site.settles();
}

#[test]
fn either_side_ends_it() {
    let mut site = site();
    let (sid, _) = open(&mut site);
    post(&mut site, 2, &body(&sid, 101, ""));
    let last = format!("<body rid='102' sid='{sid}' type='terminate' xmlns='{NS}'><bye xmlns='x'/></body>");
    post(&mut site, 3, &last);
    // The one that waited for longest takes the news (section 13).
    assert!(answer(&site, 2).contains("type=\"terminate\""), "{}", answer(&site, 2));
    assert_eq!(site.statuses(3), [200]);
    assert!(matches!(&site.told(FIRST)[..], [Told::Message { .. }, Told::Close { code: 1000, .. }]));
    site.settles();

    let mut site = self::site();
    let (sid, conn) = open(&mut site);
    site.act(
        FIRST,
        &[
            Action::Send { conn, binary: false, payload: b"<last xmlns='x'/>" },
            Action::CloseConn { conn, code: 4000, reason: b"enough" },
        ],
    );
    post(&mut site, 2, &body(&sid, 101, ""));
    let text = answer(&site, 2);
    assert!(text.contains("type=\"terminate\"") && text.contains("<last xmlns='x'/>"), "{text}");
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 4000, .. }]));
    site.settles();

    let mut site = self::site();
    let (sid, _) = open(&mut site);
    post(&mut site, 2, &body(&sid, 101, ""));
    site.hub.begin_stop(site.now);
    site.turn();
    assert!(answer(&site, 2).contains("condition=\"system-shutdown\""), "{}", answer(&site, 2));
}

#[test]
fn rooms_have_bosh_clients_as_members() {
    let mut site = site();
    let (sid, conn) = open(&mut site);
    site.handshake(9, "/bosh");
    let told = site.told(FIRST);
    let [Told::Open { conn: other, .. }] = told[..] else { panic!("{told:?}") };
    for conn in [conn, other] {
        site.act(FIRST, &[Action::Join { conn, room: b"all" }]);
    }
    post(&mut site, 2, &body(&sid, 101, ""));
    let publish = |payload| Action::Publish { room: b"all", except: 0, binary: false, payload };
    site.act(FIRST, &[publish(b"<a xmlns='x'/>"), publish(b"plain")]);
    let text = answer(&site, 2);
    assert!(text.contains("<a xmlns='x'/>") && text.contains(">plain</text>"), "{text}");
    assert_eq!(site.frames(9).len(), 2);
}

#[test]
fn what_is_no_body_of_a_session_is_refused() {
    let mut site = site();
    let (sid, _) = open(&mut site);
    post(&mut site, 2, "<body");
    assert_eq!(site.statuses(2), [400]);
    post(&mut site, 3, &body(&"A".repeat(32), 1, ""));
    assert!(answer(&site, 3).contains("condition=\"item-not-found\""));
    post(&mut site, 4, &format!("<body rid='1' hold='x' ver='1.6' xmlns='{NS}'/>"));
    assert!(answer(&site, 4).contains("condition=\"bad-request\""));
    let bomb =
        format!("<!DOCTYPE b [<!ENTITY a 'aaaa'>]><body rid='101' sid='{sid}' xmlns='{NS}'>&a;</body>");
    post(&mut site, 5, &bomb);
    assert_eq!(site.statuses(5), [400]);
    // A request far outside the window ends the session.
    post(&mut site, 6, &body(&sid, 500, ""));
    assert!(answer(&site, 6).contains("condition=\"item-not-found\""));
    assert!(matches!(site.told(FIRST)[..], [Told::Close { code: 1002, .. }]));
    site.settles();
}

#[test]
fn a_dead_workers_sessions_and_a_restarted_servers_go_on() {
    let mut site = site();
    let (sid, conn) = open(&mut site);
    post(&mut site, 2, &body(&sid, 101, ""));
    site.hub.handle_server_down(LINK, site.now);
    site.turn();
    site.hub.handle_server_up(LINK, b"");
    send(&mut site, conn, "<meanwhile xmlns='x'/>");
    post(&mut site, 3, &body(&sid, 101, ""));
    assert!(answer(&site, 3).contains("<meanwhile"), "{}", answer(&site, 3));
    assert!(site.told(FIRST).is_empty());
}
