//! Requests that a hub before this one has taken.

use super::mongrel2::{self, Form};
use super::site::*;
use crate::hub::{Effect, Limits, Present};
use crate::worker::protocol::{Action, Registration};

fn waiting(id: u32) -> Present {
    Present { id, waits: true, received: 50, sent: 0 }
}

fn quiet(id: u32) -> Present {
    Present { waits: false, ..waiting(id) }
}

/// A hub that gets all requests of its server, which has just begun to listen.
fn site() -> Site {
    let mut site = Site::empty(Limits::default(), 1, vec![app(1)]);
    site.hub.set_sole_handler(LINK);
    site.load(APP, &registration());
    site.hub.handle_server_up(LINK, b"");
    site.turn();
    site
}

fn asked(site: &Site) -> usize {
    site.effects.iter().filter(|effect| **effect == Effect::AskWhoIsThere(LINK)).count()
}

#[test]
fn clients_whose_requests_an_earlier_hub_took_are_closed_and_no_others() {
    let mut site = site();
    assert_eq!(asked(&site), 1);
    let sent_more = |id| Present { received: 60, ..waiting(id) };
    let answered = |id| Present { sent: 60, ..waiting(id) };
    site.hub.handle_present(LINK, &[1, 2, 3, 4, 70_000].map(waiting), site.now);
    site.turn();
    assert!(site.replies.is_empty(), "requests that waited for a hub may be under way");
    // 2 did: its request arrives.
    site.request(2, "GET /a");
    site.pass(millis(300));
    assert_eq!(asked(&site), 2);
    let present = [waiting(1), waiting(2), sent_more(3), answered(4), waiting(5), quiet(6), waiting(70_000)];
    site.hub.handle_present(LINK, &present, site.now);
    site.turn();
    assert!(site.closed(1) && site.closed(70_000), "{:?}", site.replies);
    for id in [2, 3, 4, 5, 6] {
        assert!(!site.closed(id), "{id}");
    }
    assert_eq!(site.hub.counters().orphaned, 2);
    site.respond(FIRST, 1, "x");
    assert_eq!(site.statuses(2), [200]);
    // It is over: later answers are about something else.
    site.hub.handle_present(LINK, &[waiting(5)], site.now);
    site.turn();
    assert!(!site.closed(5));
    site.settles();
}

#[test]
fn clients_that_a_raw_handler_or_an_upload_knows_are_not_closed() {
    let registration = Registration { raw: true, ..registration() };
    let mut site = Site::empty(Limits::default(), 1, vec![app(1)]);
    site.hub.set_sole_handler(LINK);
    site.hub.set_upload_store(LINK, "/var/spool".into());
    site.load(APP, &registration);
    site.hub.handle_server_up(LINK, b"");
    site.turn();
    // The script keeps this number to deliver to it later.
    site.request(1, "GET /elsewhere");
    site.act(FIRST, &[Action::Done { serial: 1 }]);
    site.request_with(2, "POST /b", &[("content-length", "70000"), ("x-mongrel2-upload-start", "up.1")]);
    site.pass(seconds(5));
    for _ in 0..2 {
        site.hub.handle_present(LINK, &[1, 2, 3].map(waiting), site.now);
        site.pass(millis(300));
    }
    assert_eq!([1, 2, 3].map(|id| site.closed(id)), [false, false, true]);
}

#[test]
fn the_next_sender_is_not_mistaken_because_of_a_close_before_its_first_message() {
    let mut site = site();
    site.hub.handle_present(LINK, &[waiting(1)], site.now);
    site.pass(millis(300));
    site.hub.handle_present(LINK, &[waiting(1)], site.now);
    site.turn();
    assert_eq!(site.replies[0].sender, "kennel");
    site.message(&mongrel2::http(Form::Json, "other", 2, "GET /nowhere", &[], b""));
    assert_eq!(site.statuses(2), [404]);
}

#[test]
fn where_others_have_requests_too_nothing_is_closed_and_nothing_is_asked() {
    let mut site = Site::new(1);
    for _ in 0..3 {
        site.hub.handle_present(LINK, &[waiting(1)], site.now);
        site.pass(millis(300));
    }
    assert!(asked(&site) == 0 && site.replies.is_empty());
}

#[test]
fn a_server_that_is_gone_meanwhile_is_searched_anew() {
    let mut site = site();
    site.hub.handle_present(LINK, &[waiting(1)], site.now);
    site.hub.handle_server_down(LINK, site.now);
    site.hub.handle_server_up(LINK, b"");
    site.pass(millis(300));
    site.hub.handle_present(LINK, &[waiting(1)], site.now);
    site.turn();
    assert!(site.replies.is_empty(), "that is the first answer of this run");
    assert_eq!(asked(&site), 2);
}
