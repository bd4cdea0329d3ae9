//! A site whose worker is a few lines of Rust.

use super::*;
use crate::hub::{Limits, WorkerId};
use crate::worker::link::{Actions, Orders};
use crate::worker::protocol::{Action, ChannelSpec, Order, Registration, RouteSpec, Start};
use std::time::{Duration, Instant};

/// Answers `/echo` with the body, `/late` after 5 s, `/never` never, and sends back what `/ws` and `@json` say.
#[derive(Default)]
struct Echo {
    worker: Option<(WorkerId, Orders, Actions, Clock)>,
    is_ready: bool,
    late: Option<(Instant, u64)>,
    opened: Vec<bool>,
    closed: Vec<u16>,
}

fn registration() -> Registration {
    let route = |path: &str, handler| RouteSpec {
        methods: vec!["GET".into(), "POST".into()],
        path: path.into(),
        handler,
        ..RouteSpec::default()
    };
    let channel = |path: &str, handler| ChannelSpec { path: path.into(), handler, ..ChannelSpec::default() };
    Registration {
        routes: vec![route("/echo", 0), route("/late", 1), route("/never", 2)],
        channels: vec![channel("/ws", 0), channel("@json", 1)],
        ..Registration::default()
    }
}

impl Workers for Echo {
    type Error = SiteError;

    fn start(
        &mut self,
        id: WorkerId,
        _: Start,
        link: (Orders, Actions),
        clock: Clock,
    ) -> Result<(), SiteError> {
        (self.worker, self.is_ready) = (Some((id, link.0, link.1, clock)), false);
        Ok(())
    }

    fn turn(&mut self, id: WorkerId) -> Result<Turn, SiteError> {
        let Some((_, orders, actions, clock)) = self.worker.as_mut().filter(|worker| worker.0 == id) else {
            return Ok(Turn { alive: false, next: None });
        };
        if !std::mem::replace(&mut self.is_ready, true) {
            actions.push(&Action::Ready(registration()))?;
        }
        orders.wait(Some(Duration::ZERO))?;
        while let Some((kind, payload)) = orders.next_order() {
            match Order::read(kind, payload).unwrap() {
                Order::Job { serial, handler, message, .. } => {
                    actions.page().start(serial);
                    let body = mongrel2_wire::Envelope::parse(message).unwrap().body;
                    match handler {
                        crate::worker::protocol::Handler::Route(0) => {
                            actions.push(&Action::Respond {
                                serial,
                                status: 200,
                                head: b"X-A: 1\r\n",
                                body,
                            })?;
                        }
                        crate::worker::protocol::Handler::Route(1) => {
                            self.late = Some((clock.now() + Duration::from_secs(5), serial));
                        }
                        _ => {}
                    }
                }
                Order::Open(open) => {
                    self.opened.push(open.resumed);
                    actions.push(&Action::Done { serial: open.serial })?;
                }
                Order::Message { serial, conn, binary, payload } => {
                    actions.push(&Action::Send { conn, binary, payload })?;
                    actions.push(&Action::Done { serial })?;
                }
                Order::Close { serial, code, .. } => {
                    self.closed.push(code);
                    actions.push(&Action::Done { serial })?;
                }
                _ => {}
            }
        }
        if let Some((_, serial)) = self.late.take_if(|(due, _)| *due <= clock.now()) {
            actions.push(&Action::Respond { serial, status: 200, head: b"", body: b"late" })?;
        }
        actions.flush()?;
        Ok(Turn { alive: true, next: self.late.map(|(due, _)| due) })
    }

    fn end(&mut self, id: WorkerId) {
        self.worker.take_if(|worker| worker.0 == id);
    }
}

fn site() -> (Site, Echo) {
    let mut echo = Echo::default();
    let start = Start { source: "app".into(), mount: "/".into(), ..Start::default() };
    let plan = Plan { start, limits: Limits::default(), begin: Instant::now() };
    (Site::open(plan, &mut echo).unwrap(), echo)
}

fn get(site: &mut Site, echo: &mut Echo, path: &str) -> Answer {
    site.request(&Ask::new("GET", path), &Manner::default(), echo).unwrap()
}

#[test]
fn a_request_goes_through_the_hub_and_back() {
    let (mut site, mut echo) = site();
    let ask = Ask { body: Body::Bytes(b"hello".to_vec()), ..Ask::new("POST", "/echo") };
    let answer = site.request(&ask, &Manner::default(), &mut echo).unwrap();
    assert_eq!((answer.status, &*answer.body, answer.complete), (200, &b"hello"[..], true));
    assert_eq!(answer.header("x-a"), Some(&b"1"[..]));
    assert_eq!(get(&mut site, &mut echo, "/nothing").status, 404);
    assert_eq!(site.time(), Duration::ZERO);
}

#[test]
fn a_body_that_no_socket_would_take_at_once_passes() {
    let (mut site, mut echo) = site();
    let body = vec![b'x'; 20 << 20];
    let ask = Ask { body: Body::Bytes(body.clone()), ..Ask::new("POST", "/echo") };
    let answer = site.request(&ask, &Manner::default(), &mut echo).unwrap();
    assert!(answer.body == body && answer.complete);
    assert_eq!(site.time(), Duration::ZERO);
}

#[test]
fn waiting_for_an_answer_lets_time_pass_and_no_more_than_the_hub_allows() {
    let (mut site, mut echo) = site();
    assert_eq!(get(&mut site, &mut echo, "/late").body, b"late");
    assert_eq!(site.time(), Duration::from_secs(5));
    assert_eq!(get(&mut site, &mut echo, "/never").status, 504);
    let waited = (site.time() - Duration::from_secs(5)).as_secs_f64();
    assert!((30.0..31.0).contains(&waited), "{waited}");
}

#[test]
fn a_websocket_talks_and_closes_and_stays_for_a_day_if_nobody_does() {
    let (mut site, mut echo) = site();
    let (client, answer) = site.connect(&Ask::new("GET", "/ws"), &mut echo).unwrap();
    assert_eq!(answer.unwrap().status, 101);
    site.send(client, false, b"hi", &mut echo).unwrap();
    site.send(client, true, &[0xff], &mut echo).unwrap();
    assert_eq!(site.receive(client), Some(Message { binary: false, payload: b"hi".to_vec() }));
    assert_eq!(site.receive(client), Some(Message { binary: true, payload: vec![0xff] }));
    assert_eq!(site.receive(client), None);
    site.advance(Duration::from_secs(86_400), &mut echo).unwrap();
    assert!(site.is_open(client) && echo.closed.is_empty());
    site.close(client, 4000, "enough", &mut echo).unwrap();
    assert_eq!((echo.closed, site.is_open(client)), (vec![4000], false));
}

#[test]
fn a_client_that_leaves_pings_unanswered_is_closed_in_time() {
    let (mut site, mut echo) = site();
    let (client, _) = site.connect(&Ask::new("GET", "/ws"), &mut echo).unwrap();
    site.set_silent(true);
    site.advance(Duration::from_secs(600), &mut echo).unwrap();
    assert!(!site.is_open(client) && echo.closed.len() == 1);
}

#[test]
fn a_handshake_may_be_refused() {
    let (mut site, mut echo) = site();
    let (client, answer) = site.connect(&Ask::new("GET", "/nothing"), &mut echo).unwrap();
    assert_eq!((answer.unwrap().status, site.is_open(client)), (404, false));
    assert!(matches!(site.send(client, false, b"x", &mut echo), Err(SiteError::Closed { .. })));
    let ask =
        Ask { headers: vec![(b"Origin".to_vec(), b"http://elsewhere".to_vec())], ..Ask::new("GET", "/ws") };
    assert_eq!(site.connect(&ask, &mut echo).unwrap().1.unwrap().status, 403);
}

#[test]
fn a_json_socket_opens_with_its_first_message() {
    let (mut site, mut echo) = site();
    let (client, answer) = site.connect(&Ask::new("GET", "@json"), &mut echo).unwrap();
    assert!(answer.is_none() && echo.opened.is_empty());
    site.send(client, false, b"{}", &mut echo).unwrap();
    assert_eq!(site.receive(client).unwrap().payload, b"{}");
    site.vanish(client, &mut echo).unwrap();
    assert_eq!((echo.opened, echo.closed), (vec![false], vec![1006]));
}

#[test]
fn newer_code_gets_the_connections() {
    let (mut site, mut echo) = site();
    let (client, _) = site.connect(&Ask::new("GET", "/ws"), &mut echo).unwrap();
    site.reload(&mut echo).unwrap();
    site.send(client, false, b"hi", &mut echo).unwrap();
    assert_eq!((site.receive(client).unwrap().payload, echo.opened), (b"hi".to_vec(), vec![false, true]));
}

#[test]
fn an_ended_site_leaves_nothing_in_the_hub() {
    let (mut site, mut echo) = site();
    for _ in 0..100 {
        get(&mut site, &mut echo, "/echo");
    }
    assert_eq!(site.connections(None).len(), 0);
}
