//! Exchanges without a hub: what becomes of requests, and which events they cause.

use super::Exchange;
use crate::channel::call::Call;
use crate::hub::answers::own_answer;
use crate::hub::apps::affinity::Near;
use crate::hub::apps::app::Seat;
use crate::hub::context::Context;
use crate::hub::effect::Effect;
use crate::hub::event::Event;
use crate::hub::ids::{AppId, ConnKey, Job, LinkId, RequestId, WorkerId};
use crate::hub::request::{Asking, Body, Place, Plan, Request};
use crate::hub::workers::worker::{Stage, Worker};
use crate::worker::protocol::{Handler, encode_job};
use kennel_http::Persistence;
use kennel_http::response::Response;
use mongrel2_wire::ConnId;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const APP: AppId = AppId(0);

struct Part {
    exchange: Exchange,
    cx: Context,
    now: Instant,
}

impl Part {
    fn new() -> Self {
        Self { exchange: Exchange::new("boot"), cx: Context::for_tests(), now: Instant::now() }
    }

    /// A worker in a seat of its own.
    fn worker(&mut self) -> WorkerId {
        let number = self.cx.apps[APP].seats.len() as u32 + 1;
        let mut worker = Worker::new(APP, number, self.now);
        worker.stage = Stage::Ready { since: self.now };
        let id = self.cx.workers.insert(worker);
        self.cx.apps[APP].seats.push(Seat { worker: Some(id), ..Seat::default() });
        id
    }

    /// A request by connection `conn` comes, for this plan; its id.
    fn ask(&mut self, conn: i64, plan: Plan) -> RequestId {
        self.ask_as(conn, plan, |_| {})
    }

    fn ask_as(&mut self, conn: i64, plan: Plan, change: impl FnOnce(&mut Request)) -> RequestId {
        let mut request = Request::new(key(conn), plan, self.now, Duration::from_secs(60));
        request.persistence = Persistence::Open;
        change(&mut request);
        let request = self.exchange.requests.insert(request);
        self.exchange.enqueue_known(&mut self.cx, key(conn), request, self.now);
        request
    }

    fn place(&self, request: RequestId) -> Option<Place> {
        self.exchange.requests.get(request).map(|request| request.place)
    }

    /// The status lines of what is written to a connection.
    fn written(&mut self, conn: i64) -> Vec<String> {
        let Some(conn) = self.cx.outbox.conns.map.get_mut(&key(conn)) else { return Vec::new() };
        let text = conn.out.append(|own| String::from_utf8_lossy(own).into_owned());
        text.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")).map(str::to_owned).collect()
    }

    fn events(&mut self) -> Vec<String> {
        self.cx.events.drain(..).map(|event| format!("{event:?}")).collect()
    }
}

fn key(conn: i64) -> ConnKey {
    ConnKey { link: LinkId(0), incarnation: 0, id: ConnId::try_from(conn).unwrap() }
}

fn run() -> Plan {
    let mut job = Vec::new();
    let message = b"m2 1 / 15:{\"METHOD\":\"GET\"},0:,";
    encode_job(&mut job, 0, Handler::Route(0), "boot-0.0.1", [].into_iter(), b"", message);
    Plan::Run { app: APP, job, near: Near::Any }
}

fn call() -> Plan {
    let asking = Asking { call: Call::Open, cors: String::new(), message: Vec::new(), body: None };
    Plan::Call(Box::new(asking))
}

#[test]
fn a_response_says_that_its_connection_may_go_on_and_the_next_request_waits_for_that() {
    let mut part = Part::new();
    let first = part.ask(1, run());
    part.ask(1, own_answer(404, None));
    assert_eq!(part.place(first), Some(Place::Queue), "there is no worker yet");
    assert!(part.events().is_empty() && part.written(1).is_empty());
    part.exchange.answer_with(&mut part.cx, first, 504, part.now);
    assert_eq!(part.written(1), ["504 Gateway Timeout"]);
    assert!(matches!(part.cx.events[..], [Event::Ready(conn)] if conn == key(1)), "{:?}", part.cx.events);
    part.exchange.advance(&mut part.cx, key(1), part.now);
    assert_eq!(part.written(1), ["504 Gateway Timeout", "404 Not Found"]);
    assert!(part.exchange.requests.is_empty());
}

#[test]
fn pipelined_answers_of_the_hub_are_written_in_one_go() {
    let mut part = Part::new();
    let first = part.ask(1, run());
    (0..3).for_each(|_| _ = part.ask(1, own_answer(404, None)));
    part.exchange.remove_request(&mut part.cx, first);
    super::table::leave(&mut part.cx, key(1), first);
    part.exchange.advance(&mut part.cx, key(1), part.now);
    assert_eq!(part.written(1).len(), 3);
}

#[test]
fn a_request_waits_for_a_worker_with_room_and_comes_back_to_the_head_of_the_queue() {
    let mut part = Part::new();
    let (first, second) = (part.ask(1, run()), part.ask(2, run()));
    let worker = part.worker();
    part.exchange.assign_waiting(&mut part.cx, APP, part.now);
    assert_eq!(part.place(first), Some(Place::Worker(worker, 1)));
    assert_eq!(part.place(second), Some(Place::Worker(worker, 2)));
    part.cx.workers.get_mut(worker).unwrap().stuck = true;
    let third = part.ask(3, run());
    assert_eq!(part.cx.take_job(worker, 2), Some(Job::Request(second)));
    part.exchange.requeue(&mut part.cx, second, part.now);
    assert_eq!(part.cx.apps[APP].queue, [second, third]);
}

#[test]
fn a_request_whose_body_a_worker_has_read_from_runs_nowhere_else() {
    let mut part = Part::new();
    let worker = part.worker();
    let request = part.ask_as(1, run(), |request| {
        request.body = Body::Parts;
        request.parts_taken = true;
    });
    part.cx.take_job(worker, 1);
    part.exchange.requeue(&mut part.cx, request, part.now);
    assert_eq!(part.written(1), ["502 Bad Gateway"]);
    let events = part.events();
    assert!(
        matches!(&events[..], [lost, ready] if lost.starts_with("BodyUnwanted") && ready.starts_with("Ready"))
    );
}

#[test]
fn a_worker_that_does_not_answer_in_time_has_room_again() {
    let mut part = Part::new();
    let worker = part.worker();
    let request = part.ask(1, run());
    part.exchange.expire_requests(&mut part.cx, part.now + Duration::from_secs(59));
    assert_eq!(part.place(request), Some(Place::Worker(worker, 1)));
    part.exchange.expire_requests(&mut part.cx, part.now + Duration::from_secs(60));
    assert_eq!(part.written(1), ["504 Gateway Timeout"]);
    assert!(matches!(part.cx.events[..], [Event::Ready(_), Event::WorkerHasRoom(room)] if room == worker));
    assert!(part.cx.workers.get(worker).unwrap().jobs.is_empty());
}

#[test]
fn requests_of_a_client_that_left_are_forgotten_but_for_raw_messages_and_what_runs() {
    let mut part = Part::new();
    let worker = part.worker();
    let runs = part.ask(2, run());
    part.cx.workers.get_mut(worker).unwrap().stuck = true;
    let (waits, behind) = (part.ask(1, run()), part.ask(1, own_answer(404, None)));
    let raw = part.ask_as(1, run(), |request| request.raw = true);
    part.exchange.drop_requests(&mut part.cx, key(1));
    part.exchange.drop_requests(&mut part.cx, key(2));
    assert_eq!([part.place(waits), part.place(behind)], [None, None]);
    assert!(part.cx.apps[APP].queue.is_empty());
    assert_eq!(part.place(raw), Some(Place::Pipeline));
    assert_eq!(part.place(runs), Some(Place::Worker(worker, 1)), "its worker is told, and ends it");
    let response = Response { status: 200, head: b"", body: b"late" };
    part.exchange.respond(&mut part.cx, runs, response, part.now);
    assert!(part.written(2).is_empty());
    assert_eq!(part.cx.ledger.counters.answers_too_late, 1);
}

#[test]
fn a_held_request_that_is_dropped_is_told_to_its_session() {
    let mut part = Part::new();
    let request = part.ask(1, call());
    assert!(matches!(&part.cx.events[..], [Event::Call(called, _)] if called.request == request));
    part.cx.events.clear();
    part.exchange.hold(request, 7);
    part.exchange.drop_requests(&mut part.cx, key(1));
    assert!(matches!(part.cx.events[..], [Event::HeldGone(7, gone)] if gone == request));
}

#[test]
fn a_call_with_its_body_in_a_file_is_made_when_that_is_read() {
    let mut part = Part::new();
    let path = PathBuf::from("/bodies/1");
    let request = part.ask_as(1, call(), |request| request.spool = Some(path.clone()));
    assert!(
        matches!(part.cx.effects.pop_front(), Some(Effect::ReadFile { request: read, .. }) if read == request)
    );
    part.exchange.take_file(&mut part.cx, request, Path::new("/bodies/2"), Ok(Vec::new()), part.now);
    assert!(part.cx.events.is_empty(), "that is another file");
    part.exchange.take_file(&mut part.cx, request, &path, Ok(b"hello".to_vec()), part.now);
    assert!(
        matches!(&part.cx.events[..], [Event::Call(_, asking)] if asking.body.as_deref() == Some(&b"hello"[..]))
    );
}

#[test]
fn an_id_of_a_request_that_is_over_does_nothing() {
    let mut part = Part::new();
    let worker = part.worker();
    let old = part.ask(1, own_answer(404, None));
    part.events();
    let (cx, now) = (&mut part.cx, part.now);
    let response = || Response { status: 200, head: b"", body: b"" };
    part.exchange.answer_with(cx, old, 500, now);
    part.exchange.respond(cx, old, response(), now);
    part.exchange.end_without_response(cx, old, now);
    part.exchange.finish_stream(cx, old, true, now);
    part.exchange.pass(cx, (old, worker), 1, response(), now);
    part.exchange.requeue(cx, old, now);
    part.exchange.refuse_overload(cx, old, "", now);
    part.exchange.hold(old, 1);
    part.exchange.begin_call(cx, old);
    assert!(part.exchange.take_request(cx, old).is_none());
    assert_eq!(part.written(1), ["404 Not Found"]);
    assert!(part.events().is_empty() && part.cx.apps[APP].queue.is_empty());
}
