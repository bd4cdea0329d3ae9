//! Bodies without a hub: what becomes of them, and which events they cause.

use super::*;
use crate::hub::ids::{AppId, LinkId};
use crate::hub::workers::worker::Worker;
use mongrel2_wire::{ConnId, Part};
use slotmap::SlotMap;
use std::time::Duration;
use streamed::Taken;

const TIMEOUT: Duration = Duration::from_secs(30);

struct Site {
    bodies: Bodies,
    cx: Context,
    requests: SlotMap<RequestId, Request>,
    now: Instant,
}

impl Site {
    fn new() -> Self {
        let (bodies, requests) = (Bodies::default(), SlotMap::default());
        Self { bodies, cx: Context::for_tests(), requests, now: Instant::now() }
    }

    /// A request whose body of 10 bytes begins to come in parts, with nothing of it.
    fn begin(&mut self, id: i64, body: Body, file: Option<&str>) -> RequestId {
        let message = format!(
            "s {id} /up {}",
            headers(&[
                ("METHOD", "POST"),
                ("VERSION", "HTTP/1.1"),
                ("content-length", "10"),
                ("UPLOAD_STREAM", "0"),
            ])
        );
        let envelope = Envelope::parse(message.as_bytes()).unwrap();
        let head = Head::read(&envelope).unwrap();
        let request = Request { body, ..Request::new(key(id), Plan::NONE, self.now, TIMEOUT) };
        let request = self.requests.insert(request);
        let begun = Beginning {
            key: key(id),
            envelope: &envelope,
            head: &head,
            arrives: Body::Parts,
            spool: None,
            body,
            file: file.map(PathBuf::from),
            persistence: Persistence::Open,
        };
        self.bodies.begin(&mut self.cx, begun, request, self.now);
        request
    }

    fn part(&mut self, id: i64, offset: u64, bytes: &[u8], last: bool) -> Taken {
        let request = self.bodies.streamed.request(key(id));
        let request = request.and_then(|request| self.requests.get_mut(request));
        let part = (Part { offset, last }, bytes);
        self.bodies.streamed.take(&mut self.cx, key(id), part, request, self.now)
    }

    fn events(&mut self) -> Vec<String> {
        self.cx.events.drain(..).map(|event| format!("{event:?}")).collect()
    }
}

fn key(id: i64) -> ConnKey {
    ConnKey { link: LinkId(0), incarnation: 0, id: ConnId::try_from(id).unwrap() }
}

/// Headers in JSON and the empty body behind them, as netstrings.
fn headers(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    let text = format!("{{{}}}", pairs.join(","));
    format!("{}:{text},0:,", text.len())
}

#[test]
fn a_collected_body_is_whole_when_its_last_byte_is_written() {
    let mut site = Site::new();
    let request = site.begin(1, Body::Collected, Some("/f"));
    site.bodies.streamed.grant_credits(&mut site.cx, site.now);
    assert_eq!(site.part(1, 3, b"abc", false), Taken::Wrong("a part of a body out of order"));
    assert_eq!(site.part(1, 0, b"abcde", false), Taken::Fits);
    assert_eq!(site.part(1, 5, b"abcde", true), Taken::Fits);
    assert_eq!(site.part(1, 10, b"", true), Taken::Unexpected);
    for bytes in [0, 5] {
        let failed = site.bodies.streamed.written(&mut site.cx, key(1), Path::new("/f"), Ok(bytes));
        assert_eq!((failed, site.cx.events.len()), (None, 0));
    }
    site.bodies.streamed.written(&mut site.cx, key(1), Path::new("/f"), Ok(5));
    let Some(Event::BodyWhole(whole, Persistence::Open, Some(share))) = site.cx.events.pop() else {
        panic!("the body is whole");
    };
    assert_eq!((whole, share.bytes), (request, 10));
    // It was waited for, and it is its turn.
    site.cx.outbox.conns.map.entry(key(1)).or_default().current = Some(request);
    let state = &mut site.requests[request];
    state.plan = Plan::Run { app: AppId(0), job: Vec::new(), near: Default::default() };
    complete(&mut site.cx, request, state, Persistence::Open, site.now);
    assert_eq!((state.body, state.persistence), (Body::Whole, Persistence::Open));
    assert_eq!(site.events(), [format!("BodyIsThere({request:?})")]);
}

#[test]
fn parts_for_a_worker_count_as_lost_once_it_wanted_some() {
    let mut site = Site::new();
    let worker = site.cx.workers.insert(Worker::new(AppId(0), 1, site.now));
    let request = site.begin(1, Body::Parts, None);
    let state = &mut site.requests[request];
    state.place = Place::Worker(worker, 1);
    site.bodies.want(&mut site.cx, (worker, 1), state, 100);
    assert_eq!(state.deadline, None, "the time is the client's");
    assert!(site.requests[request].parts_taken);
    site.bodies.streamed.grant_credits(&mut site.cx, site.now);
    assert_eq!(site.part(1, 0, b"0123456789", true), Taken::Fits);
    assert_eq!(site.requests[request].deadline, Some(site.now + TIMEOUT), "it is the script's turn");
    assert!(!site.cx.workers.get(worker).unwrap().orders.is_empty());
    assert_eq!(site.events(), [format!("BodyWhole({request:?}, Open, None)")]);
}

#[test]
fn a_body_that_stands_still_is_lost_and_a_refused_request_leaves_its_queue() {
    let mut site = Site::new();
    let request = site.begin(1, Body::Collected, Some("/f"));
    site.bodies.streamed.grant_credits(&mut site.cx, site.now);
    assert_eq!(site.bodies.next_timeout(), Some(site.now + LOOK));
    for _ in 0..progress::LOST.as_secs() {
        assert!(site.cx.events.is_empty());
        site.now += LOOK;
        assert!(site.bodies.look(&mut site.cx, site.now));
        site.bodies.end_look(&mut site.cx, site.now);
    }
    assert_eq!(site.events(), [format!("BodyEnds({:?}, Some({request:?}), Lost)", key(1))]);
    site.cx.apps[AppId(0)].queue.push_back(request);
    let state = &mut site.requests[request];
    state.place = Place::Queue;
    site.bodies.refuse(&mut site.cx, request, state, 408);
    assert!(site.cx.apps[AppId(0)].queue.is_empty());
    assert_eq!(site.events(), [format!("Fail({request:?}, 408)")]);
    site.bodies.forget_by(request, key(1));
    assert!(!site.bodies.streamed.is_known(key(1)));
}
