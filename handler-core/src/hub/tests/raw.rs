//! The raw handler: whole messages in, bytes to anybody out.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::hub::{Limits, LinkId};
use crate::worker::protocol::{Action, Handler, Ids, Registration, encode_ids};

fn raw_registration() -> Registration {
    Registration { raw: true, ..registration() }
}

fn raw() -> Site {
    Site::with(Limits::default(), 2, raw_registration())
}

#[test]
fn what_no_route_takes_reaches_the_raw_handler_in_order_and_one_at_a_time() {
    let mut site = raw();
    site.request(7, "GET /nowhere");
    site.json(7, "{1}");
    site.json(7, "{2}");
    site.disconnect(7);
    for serial in 1..=4 {
        let worker = [FIRST, SECOND].into_iter().max_by_key(|w| site.workers[w].jobs.len()).unwrap();
        assert_eq!(site.workers.values().map(|w| w.jobs.len()).sum::<usize>(), serial as usize);
        assert_eq!(site.workers[&worker].jobs.last().unwrap().handler, Handler::Raw);
        site.act(worker, &[Action::Done { serial }]);
    }
    let bodies: Vec<_> = site.jobs(0).iter().map(|j| String::from_utf8(j.body.clone()).unwrap()).collect();
    assert_eq!(bodies, ["", "{1}", "{2}", r#"{"type":"disconnect"}"#]);
    assert!(site.replies.is_empty());
    site.settles();
}

#[test]
fn a_delivery_to_many_is_split_at_what_the_server_takes() {
    let mut site = raw();
    site.request(1, "GET /nowhere");
    let ids: Vec<i64> = (1..=300).collect();
    site.deliver(FIRST, &ids, b"hello");
    assert_eq!(site.replies.iter().map(|r| r.ids.len()).collect::<Vec<_>>(), [128, 128, 44]);
    assert!((1..=300).all(|id| site.sent(id) == b"hello"));
    site.act(FIRST, &[Action::Done { serial: 1 }]);
    site.settles();
}

#[test]
fn those_who_got_too_much_lately_get_theirs_later_and_in_order() {
    let mut site = raw();
    site.request(1, "GET /nowhere");
    for n in 0..12 {
        site.deliver(FIRST, &[1], format!("{n} ").as_bytes());
    }
    assert_eq!(site.to(1).count(), 8);
    site.deliver(FIRST, &[1, 2, 3], b"all");
    assert_eq!(site.replies.last().unwrap().ids, [2, 3]);
    site.pass(millis(51));
    assert_eq!(site.text(1), "0 1 2 3 4 5 6 7 8 9 10 11 all");
    assert_eq!(site.to(1).count(), 9);
    site.act(FIRST, &[Action::Done { serial: 1 }]);
    site.settles();
}

#[test]
fn ids_that_cannot_be_addressed_are_counted_and_the_others_served() {
    let mut site = raw();
    site.request(1, "GET /nowhere");
    site.deliver(FIRST, &[-1, 2, 1 << 31, i64::MIN, i64::MAX], b"x");
    assert_eq!(site.hub.counters().bad_targets, 4);
    assert_eq!(site.replies.len(), 1);
    assert_eq!(site.replies[0].ids, [2]);
    let ids = encode_ids([1, 2, 3]);
    let deliver = Action::Deliver { sender: "stranger", ids: Ids::new(&ids), payload: b"x" };
    site.act(FIRST, &[deliver]);
    assert_eq!((site.hub.counters().bad_targets, site.replies.len()), (7, 1));
}

#[test]
fn an_empty_delivery_closes_nobody() {
    let mut site = raw();
    site.request(1, "GET /nowhere");
    site.deliver(FIRST, &[1, 2], b"");
    assert!(site.replies.is_empty());
}

fn disconnect(site: &mut Site, id: i64) {
    let ids = encode_ids([id]);
    site.act(FIRST, &[Action::Disconnect { sender: SENDER, ids: Ids::new(&ids) }]);
}

#[test]
fn a_disconnect_comes_after_what_was_delivered_and_nothing_follows_it() {
    let mut site = raw();
    site.request(1, "GET /nowhere");
    site.deliver(FIRST, &[1], b"bye");
    disconnect(&mut site, 1);
    site.deliver(FIRST, &[1], b"more");
    assert_eq!((site.text(1), site.closed(1)), ("bye".to_owned(), true));
    site.act(FIRST, &[Action::Done { serial: 1 }]);
    site.settles();
}

#[test]
fn a_disconnect_after_eight_deliveries_of_one_turn_is_sent_too() {
    let mut site = raw();
    site.request(1, "GET /nowhere");
    for _ in 0..8 {
        site.deliver(FIRST, &[1], b"x");
    }
    site.act(FIRST, &[Action::Done { serial: 1 }]);
    disconnect(&mut site, 1);
    site.pass(millis(100));
    assert_eq!((site.text(1), site.closed(1)), ("xxxxxxxx".to_owned(), true));
    site.settles();
}

#[test]
fn nothing_is_answered_on_a_connection_that_was_disconnected_meanwhile() {
    let mut site = raw();
    site.request(7, "GET /a");
    site.request(7, "GET /users/2");
    disconnect(&mut site, 7);
    assert!(site.closed(7));
    site.respond(FIRST, 1, "late");
    assert_eq!(site.to(7).count(), 1, "the close is the last word");
    assert_eq!(site.jobs(0).len() + site.jobs(1).len(), 1, "what waited is not run");
    site.settles();
}

#[test]
fn a_delivery_for_clients_of_an_earlier_run_reaches_nobody() {
    let mut site = raw();
    site.request(7, "GET /nowhere");
    site.hub.handle_server_down(LINK, site.now);
    site.hub.handle_server_up(LINK, b"");
    site.request(7, "GET /nowhere");
    site.deliver(FIRST, &[7], b"the old seven's secret");
    assert!(site.replies.is_empty(), "the new seven is somebody else");
}

#[test]
fn two_servers_with_one_ident_are_not_mixed_up() {
    let mut site = Site::empty(Limits::default(), 2, vec![app(1)]);
    site.load(APP, &raw_registration());
    for link in [LinkId(0), LinkId(1)] {
        site.hub.handle_server_up(link, b"");
        site.hub.handle_message(link, &mongrel2::json(Form::Json, SENDER, 7, b"{}"), site.now);
    }
    site.turn();
    site.deliver(FIRST, &[7], b"for the one at link 1, perhaps");
    assert!(site.replies.is_empty(), "nobody can say which seven is meant");
    assert_eq!(site.hub.counters().bad_targets, 1);
}

#[test]
fn a_raw_request_whose_worker_dies_gets_502_and_a_socket_message_nothing() {
    let mut site = raw();
    site.request(1, "GET /nowhere");
    site.die(FIRST, 1);
    assert_eq!((site.statuses(1), site.closed(1)), (vec![502], false));
    site.json(2, "{}");
    site.die(SECOND, 1);
    assert_eq!(site.to(2).count(), 0, "HTTP is not what a JSON socket speaks");
}

#[test]
fn an_answer_to_a_socket_message_is_not_written_as_http() {
    let mut site = raw();
    site.json(1, "{}");
    site.respond(FIRST, 1, "500 Internal Server Error");
    assert_eq!(site.to(1).count(), 0);
    site.settles();
}

#[test]
fn a_client_that_talks_faster_than_the_handler_is_bounded() {
    let limits = Limits { queue: 10, ..Limits::default() };
    let mut site = Site::with(limits, 1, raw_registration());
    for n in 0..1000 {
        site.json(7, &format!("{{{n}}}"));
    }
    assert!(site.hub.load().1 <= 12, "{} messages are kept for one connection", site.hub.load().1);
}

#[test]
fn a_notice_of_a_connection_that_we_closed_is_not_news() {
    let mut site = raw();
    site.request(1, "GET /nowhere");
    site.act(FIRST, &[Action::Done { serial: 1 }]);
    disconnect(&mut site, 1);
    site.disconnect(1);
    assert_eq!(site.jobs(0).len() + site.jobs(1).len(), 1);
    site.settles();
}
