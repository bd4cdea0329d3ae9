//! What comes from a Mongrel2: its messages, its arrival and its end.

use crate::hub::Hub;
use crate::hub::apps::affinity::Near;
use crate::hub::apps::app::App;
use crate::hub::apps::routes::Target;
use crate::hub::effect::Effect;
use crate::hub::exchange::answers;
use crate::hub::ids::{AppId, ConnKey, LinkId, RequestId};
use crate::hub::ledger::about::{About, log_about};
use crate::hub::ledger::counters::Complaint;
use crate::hub::ledger::taps::Arrived;
use crate::hub::ledger::traffic::{Beside, MeterId};
use crate::hub::outbox::connection::Conn;
use crate::hub::outbox::pacing::Pacer;
use crate::hub::request::Share;
use crate::hub::request::{Body, Place, Plan, Request};
use crate::worker::protocol::{Handler, encode_job};
use kennel_http::Persistence;
use kennel_http::percent::normal_path;
use kennel_http::websocket::Opcode;
use mongrel2_wire::{ConnId, Envelope, Head, Kind, Sender, Version, origin_form};
use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;
use tracing::{error, info, warn};

/// An HTTP request as it arrived.
#[derive(Debug)]
pub(in crate::hub) struct Asked<'a> {
    pub key: ConnKey,
    pub envelope: &'a Envelope<'a>,
    pub head: &'a Head<'a>,
    pub message: &'a [u8],
    /// The file with its body.
    pub spool: Option<PathBuf>,
    /// Whether the body is there, and if not, how it comes: `Parts` or `Growing`. `Collected`: it is in its file, whose
    /// size is not known yet.
    pub body: Body,
}

/// Who answers a request.
#[derive(Debug)]
pub(in crate::hub) struct Planned {
    pub plan: Plan,
    /// The raw handler does.
    pub raw: bool,
    /// Where the request is counted.
    pub meter: MeterId,
    /// Where the body is, for whoever answers.
    pub body: Body,
    /// The file that it is in, or will be, if that is the hub's to delete.
    pub spool: Option<PathBuf>,
}

impl Planned {
    /// The hub itself answers.
    pub fn own(plan: Plan, meter: MeterId) -> Self {
        Self { plan, raw: false, meter, body: Body::Whole, spool: None }
    }
}

/// The most bytes of a bad message that a log line shows.
const SHOWN: usize = 80;
/// Buffers larger than this are not kept for the next job.
const SPARE_SIZE: usize = 16 << 10;
const SPARE_COUNT: usize = 256;

impl Hub {
    /// Mongrel2 listens on this link: its subscription arrived, and from now on replies do too.
    pub fn handle_server_up(&mut self, link: LinkId, subscription: &[u8]) {
        let state = &mut self.cx.servers[link];
        state.begin(subscription);
        info!(link = link.0, recv_ident = %subscription.escape_ascii(), "mongrel2 listens");
        self.begin_search(link);
    }

    /// A reply could not be handed to a server, since that is gone. Its connections end when the hub hears of it.
    pub fn handle_undelivered(&mut self, link: LinkId, now: Instant) {
        if self.cx.ledger.complaints.pass(Complaint::Undelivered, now) {
            warn!(link = link.0, "dropped a reply: mongrel2 is gone");
        }
    }

    /// This number of bytes waits for a server because the system does not take them yet. While there are more than
    /// `limits.spill`, everything else waits with its connection.
    pub fn handle_backlog(&mut self, link: LinkId, bytes: usize) {
        self.cx.servers[link].backlog = bytes;
    }

    /// Mongrel2 is gone. All its connections are, and whatever was on its way to them.
    pub fn handle_server_down(&mut self, link: LinkId, now: Instant) {
        let state = &mut self.cx.servers[link];
        if !state.up {
            return;
        }
        let incarnation = state.incarnation;
        if let Some(sender) = &state.sender {
            self.exchange.raw_clients.lose(link, sender.as_str());
        }
        let lives = self.live_server_down(link, now);
        self.cx.effects.extend(self.bodies.spooled.lose(link).map(Effect::DeleteFile));
        self.cx.servers[link].end();
        self.cx.outbox.outgoing.forget(link);
        let keys: Vec<_> = self
            .cx
            .outbox
            .conns
            .map
            .keys()
            .filter(|key| key.link == link && key.incarnation == incarnation)
            .copied()
            .collect();
        for key in &keys {
            self.drop_connection(*key);
        }
        self.cx.ledger.counters.purged += keys.len() as u64;
        let connections = keys.len().max(lives);
        warn!(link = link.0, connections, "mongrel2 is gone; its connections are closed");
    }

    /// One message of a Mongrel2.
    pub fn handle_message(&mut self, link: LinkId, message: &[u8], now: Instant) {
        self.cx.ledger.counters.messages += 1;
        let restated = self.cx.clients.restated_request(message, self.raw_app().is_some());
        self.read_message(link, restated.as_deref().unwrap_or(message), now);
    }

    fn read_message(&mut self, link: LinkId, message: &[u8], now: Instant) {
        let envelope = match Envelope::parse(message) {
            Ok(envelope) => envelope,
            Err(problem) => {
                self.cx.ledger.counters.malformed += 1;
                if self.cx.ledger.complaints.pass(Complaint::Malformed, now) {
                    let first = message[..message.len().min(SHOWN)].escape_ascii();
                    warn!(link = link.0, "dropped a message that cannot be read: {problem}: {first}");
                }
                return;
            }
        };
        if !self.accept_sender(link, envelope.sender, now) {
            return;
        }
        let Ok(id) = ConnId::try_from(envelope.conn_id) else {
            // A notice about an id that never was, or one from a counter gone past 31 bits: nobody
            // could be answered.
            self.refuse(link, &envelope, "a conn id that cannot be addressed", now);
            return;
        };
        let incarnation = self.cx.servers[link].incarnation;
        let key = ConnKey { link, incarnation, id };
        let head = match Head::read(&envelope) {
            Ok(head) => head,
            Err(problem) => {
                self.cx.ledger.counters.malformed += 1;
                self.refuse(link, &envelope, &problem.to_string(), now);
                self.answer_at_once(key, 400, now);
                return;
            }
        };
        let plain = origin_form(&envelope, &head);
        let reread = plain.as_deref().and_then(|message| {
            let envelope = Envelope::parse(message).ok()?;
            Some((message, envelope, Head::read(&envelope).ok()?))
        });
        let (message, envelope, head) = reread.unwrap_or((message, envelope, head));
        match head.kind {
            Kind::Http => {
                let asked =
                    Asked { key, envelope: &envelope, head: &head, message, spool: None, body: Body::Whole };
                self.handle_http(asked, now);
            }
            Kind::Disconnect => self.handle_disconnect(key, message, now),
            Kind::Credits { bytes } => self.handle_credits(key, bytes, now),
            Kind::Refused(refusal) => {
                self.refuse(link, &envelope, refusal.reason(), now);
                if envelope.path != b"@*" {
                    self.answer_at_once(key, 400, now);
                }
            }
            Kind::UploadStart
                if head.part.is_some() && self.handle_stream_start(key, &envelope, &head, message, now) => {}
            Kind::UploadPart if self.handle_part(key, &envelope, &head, now) => {}
            Kind::UploadStart | Kind::UploadDone
                if self.handle_upload(key, &envelope, &head, message, now) => {}
            _ if self.cx.outbox.is_finished(key) => self.note_late_pong(key, &head, envelope.body),
            Kind::Handshake if self.refuses_host(link, &envelope, now) => self.answer_at_once(key, 421, now),
            Kind::Handshake if let Some(fault) = head.fault => {
                self.refuse(link, &envelope, fault.reason(), now);
                self.answer_at_once(key, 400, now);
            }
            Kind::Handshake if self.handle_handshake(key, (&envelope, &head), message, now) => {}
            Kind::Frame { .. } | Kind::Json | Kind::Xml
                if self.handle_live_message(key, &envelope, &head, message, now) => {}
            _ if self.raw_app().is_some() => self.enqueue_raw(key, &head, message, now),
            Kind::UploadStart => {
                self.refuse(link, &envelope, "a body beyond limits.content_length", now);
                self.answer_at_once(key, 413, now);
            }
            Kind::UploadDone | Kind::UploadPart => {}
            Kind::Handshake => {
                let status = self.status_without_channel(envelope.path);
                self.answer_at_once(key, status, now);
            }
            Kind::Frame { .. } | Kind::Json | Kind::Xml => {
                self.refuse(link, &envelope, "no channel takes it", now);
                self.close_in_turn(key);
            }
        }
    }

    /// Whether a message's sender is the one of this link; the first message says which that is.
    fn accept_sender(&mut self, link: LinkId, sender: &str, now: Instant) -> bool {
        let state = &mut self.cx.servers[link];
        if state.sender.as_ref().is_some_and(|known| known.as_str() == sender) {
            return true;
        }
        if let Some(known) = &state.sender {
            self.cx.ledger.counters.refused += 1;
            if self.cx.ledger.complaints.pass(Complaint::Sender, now) {
                warn!(link = link.0, "dropped a message from `{sender}`, this server is `{known}`");
            }
            return false;
        }
        let Ok(known) = Sender::new(sender) else { return false };
        if !sender.as_bytes().starts_with(&state.subscription) {
            error!(
                link = link.0,
                "replies to `{sender}` will not arrive: Mongrel2 listens for `{}`; recv_ident must be empty or a \
                 prefix of send_ident",
                state.subscription.escape_ascii()
            );
        }
        state.sender = Some(known);
        true
    }

    pub(in crate::hub) fn refuse(
        &mut self,
        link: LinkId,
        envelope: &Envelope<'_>,
        reason: &str,
        now: Instant,
    ) {
        self.cx.ledger.counters.refused += 1;
        if self.cx.ledger.complaints.pass(Complaint::Refused, now) {
            let incarnation = self.cx.servers[link].incarnation;
            match ConnId::try_from(envelope.conn_id) {
                Ok(id) => {
                    let about = About::message(ConnKey { link, incarnation, id }, envelope);
                    log_about!(warn, about, "refused: {reason}");
                }
                Err(_) => {
                    let path = String::from_utf8_lossy(&envelope.path[..envelope.path.len().min(SHOWN)]);
                    warn!(link = link.0, conn = envelope.conn_id, path = &*path, "refused: {reason}");
                }
            }
        }
    }

    /// The last words to a client may wait for its answer to a ping of the hub.
    fn note_late_pong(&mut self, key: ConnKey, head: &Head<'_>, payload: &[u8]) {
        if let Kind::Frame { flags } = head.kind
            && Opcode::of(flags) == Opcode::Pong
            && payload == Pacer::PING
            && let Some(conn) = self.cx.outbox.conns.map.get_mut(&key)
        {
            conn.pacer.arrived();
            self.cx.outbox.mark_dirty(key);
        }
    }

    /// Whether a message names a host that this site does not answer to. The log says so.
    fn refuses_host(&mut self, link: LinkId, envelope: &Envelope<'_>, now: Instant) -> bool {
        let Some(hosts) = self.cx.servers.hosts.as_ref().filter(|_| self.cx.servers.own_link != Some(link))
        else {
            return false;
        };
        if hosts.allow(envelope) {
            return false;
        }
        self.refuse(link, envelope, hosts.complaint(), now);
        true
    }

    pub(in crate::hub) fn raw_app(&self) -> Option<AppId> {
        self.cx.apps.list.iter().position(|app| app.registration.raw).map(|n| AppId(n as u16))
    }

    pub(in crate::hub) fn handle_http(&mut self, asked: Asked<'_>, now: Instant) {
        let (key, head) = (asked.key, asked.head);
        self.cx.ledger.counters.requests += 1;
        if head.spoofed_upload {
            self.cx.ledger.counters.spoofed_uploads += 1;
        }
        if head.first_credits.is_some() {
            self.cx.servers[key.link].flow_control = true;
        }
        self.make_room_for_next(key);
        let behind = match self.cx.outbox.conns.map.get_mut(&key) {
            Some(conn) if conn.is_finished() => return,
            Some(conn) => {
                if !conn.is_idle() {
                    conn.pipelines = true;
                } else if !conn.pipelines {
                    conn.pacer.heard(now);
                }
                conn.waiting.len()
            }
            None => 0,
        };
        let method = head.method.bytes();
        let mut persistence = Persistence::of(head);
        if asked.spool.is_some() && head.spool_size.is_some() {
            // Mongrel2 writes what a client pipelines behind such a body to the file as well: that is never answered,
            // so the client is told that there is no more.
            persistence = Persistence::Close;
        }
        let planned = if behind >= self.cx.limits.pipeline {
            self.cx.ledger.counters.overloaded += 1;
            let about = |_: &Self| About::message(key, asked.envelope);
            self.complain_of_overload(about, "limits.pipeline requests wait on this connection", now);
            persistence = Persistence::Close;
            Planned::own(own_answer(503, None), MeterId::NOBODY)
        } else if asked.body == Body::Parts
            && let Some(refused) = self.refuse_at_start(&asked, now)
        {
            refused
        } else {
            self.plan(&asked, &method, now)
        };
        self.admit(&asked, planned, &method, persistence, now);
    }

    /// Puts a request behind the others of its connection.
    pub(in crate::hub) fn admit(
        &mut self,
        asked: &Asked<'_>,
        planned: Planned,
        method: &[u8],
        mut persistence: Persistence,
        now: Instant,
    ) {
        let (key, number) = (asked.key, self.cx.ledger.traffic.begin());
        let app = self.cx.ledger.traffic.app_of(planned.meter);
        let mut body = planned.body;
        let mut deadline = Some(now + self.cx.limits.request_timeout);
        let begins = matches!(planned.plan, Plan::Run { .. } | Plan::Call(_));
        let (file, if_read) = (planned.spool.clone(), persistence);
        if begins {
            if let Body::Collected | Body::Growing = body {
                // The client's time is not the script's.
                deadline = None;
            }
        } else {
            body = Body::Whole;
        }
        if body.is_arriving() || matches!(asked.body, Body::Parts | Body::Growing) {
            // Whoever is answered before all of it is there has not read the rest.
            persistence = Persistence::Close;
        }
        // Whatever became of the plan, a file that is whole goes with the request.
        let spool = planned.spool.or_else(|| asked.spool.clone().filter(|_| asked.body != Body::Growing));
        // That of chunks is not known yet, and one of which more is to come is counted as it comes.
        let is_whole = spool.is_some() && asked.spool.is_some() && asked.body == Body::Whole;
        let stored = Share {
            bytes: asked.head.spool_size.filter(|_| is_whole).map_or(0, u64::from),
            client: spool.as_ref().and_then(|_| self.cx.clients.address(&asked.envelope.headers)),
        };
        let request = Request {
            number,
            meter: planned.meter,
            spool,
            stored,
            body,
            raw: planned.raw,
            head_only: method == b"HEAD",
            persistence,
            takes_chunks: asked.head.version == Some(Version::Http11),
            deadline,
            ..Request::new(key, planned.plan, now, self.cx.limits.request_timeout)
        };
        let request = self.exchange.requests.insert(request);
        let path = asked.envelope.path;
        let arrived = Arrived { request, number, app, key, method, path };
        self.cx.ledger.taps.note_request(&arrived, now);
        if begins {
            self.begin_body(asked, (planned.body, file), request, if_read, now);
        }
        self.enqueue_known(key, request, now);
    }

    /// A number that Mongrel2 gives to a new client while its last owner's request still runs: the old
    /// one is known to be gone, so only its worker has to end that, and the number is free.
    pub(in crate::hub) fn make_room_for_next(&mut self, key: ConnKey) {
        let Some(conn) = self.cx.outbox.conns.map.get(&key).filter(|conn| {
            // One that was broken off is not gone: its number is not given again so soon.
            conn.gone && !conn.closed && conn.waiting.is_empty()
        }) else {
            return;
        };
        if conn.current.is_none_or(|current| !self.exchange.requests[current].raw) {
            self.cx.outbox.conns.map.remove(&key);
        }
    }

    /// Finds who answers an HTTP request, and writes the job or the answer.
    pub(in crate::hub) fn plan(&mut self, asked: &Asked<'_>, method: &[u8], now: Instant) -> Planned {
        let (key, envelope, head) = (asked.key, asked.envelope, asked.head);
        let answer = Planned::own;
        if let Some(fault) = head.fault {
            self.refuse(key.link, envelope, fault.reason(), now);
            return answer(own_answer(400, None), MeterId::NOBODY);
        }
        if self.cx.stopping.is_some() {
            return answer(self.own_page(503), MeterId::NOBODY);
        }
        if self.refuses_host(key.link, envelope, now) {
            return answer(self.own_page(421), MeterId::NOBODY);
        }
        if self.is_call(envelope)
            && let Some(planned) = self.plan_call(asked, method, now)
        {
            return planned;
        }
        let path = normal_path(envelope.path);
        // Mongrel2 also hands over paths that end inside a route's key.
        let below_route = head.pattern.is_none_or(|pattern| {
            let pattern = pattern.bytes();
            let literal = pattern.split(|b| *b == b'(').next().unwrap_or_default();
            envelope.path.starts_with(literal)
        });
        let mut owner: Option<AppId> = None;
        if below_route {
            let mut allowed = None;
            for app in self.cx.apps.order.iter().copied() {
                let found = &self.cx.apps[app];
                if !found.routes.is_under_mount(&path) {
                    continue;
                }
                // Of several apps with the mount point that fits best, the one that has a page.
                let has_page = |app: &App| app.registration.not_found || app.registration.hooks;
                owner = match owner.map(|owner| &self.cx.apps[owner]) {
                    Some(first) if first.spec.mount != found.spec.mount || has_page(first) => owner,
                    Some(_) if !has_page(found) => owner,
                    _ => Some(app),
                };
                if !found.is_loaded() && found.broken.is_none() {
                    return answer(own_answer(503, None), self.cx.ledger.traffic.beside(app, Beside::Other));
                }
                if let Some(page) = &found.broken {
                    let head = "Content-Type: text/html; charset=utf-8\r\n".to_owned();
                    let plan = Plan::Answer { status: 500, head, body: page.clone() };
                    return answer(plan, self.cx.ledger.traffic.beside(app, Beside::Other));
                }
                match found.routes.find(method, &path) {
                    Target::Handler(handler, values) => {
                        let values = values.iter().map(|v| v.as_bytes());
                        return self.run(app, Handler::Route(handler), asked, values, now);
                    }
                    Target::Options(allow) => allowed = allowed.or(Some((app, Handler::Options, allow))),
                    Target::MethodNotAllowed(allow) => {
                        allowed = allowed.or(Some((app, Handler::MethodNotAllowed, allow)));
                    }
                    Target::NotFound if allowed.is_none() && found.registration.is_all_page() => {
                        return self.run(app, Handler::NotFound, asked, [].into_iter(), now);
                    }
                    Target::NotFound => {}
                }
            }
            if let Some(planned) = self.plan_call(asked, method, now) {
                return planned;
            }
            if let Some((app, handler, allow)) = allowed {
                if self.cx.apps[app].registration.hooks {
                    return self.run(app, handler, asked, [allow.as_bytes()].into_iter(), now);
                }
                let status = if handler == Handler::Options { 204 } else { 405 };
                return answer(own_answer(status, Some(&allow)), self.cx.meter_of(app, handler));
            }
            if let Some(planned) = self.plan_client_library(envelope, method, &path) {
                return planned;
            }
        } else {
            self.refuse(key.link, envelope, "the path ends inside its route's key", now);
        }
        if let Some(app) = self.raw_app() {
            return self.run(app, Handler::Raw, asked, [].into_iter(), now);
        }
        if below_route && self.cx.apps.channel_at(envelope.path).is_some() {
            return answer(own_answer(426, None), MeterId::NOBODY);
        }
        // The page for "nothing here" is the app's whose mount point fits best, if it wants to.
        let Some(app) = owner else { return answer(own_answer(404, None), MeterId::NOBODY) };
        let registration = &self.cx.apps[app].registration;
        if registration.not_found || registration.hooks {
            return self.run(app, Handler::NotFound, asked, [].into_iter(), now);
        }
        answer(own_answer(404, None), self.cx.meter_of(app, Handler::NotFound))
    }

    /// A worker of this app is to answer.
    fn run<'p>(
        &mut self,
        app: AppId,
        handler: Handler,
        asked: &Asked<'_>,
        values: impl Iterator<Item = &'p [u8]>,
        now: Instant,
    ) -> Planned {
        let meter = self.cx.meter_of(app, handler);
        let Some((body, spool)) = self.place_body(app, handler, asked) else {
            self.refuse(asked.key.link, asked.envelope, "there is no folder for a body in parts", now);
            return Planned::own(own_answer(413, None), meter);
        };
        let mut plan = match (body, &spool, &asked.spool) {
            (Body::Parts, ..) => self.job(app, handler, asked.key, values, b"+", asked.message),
            (Body::Growing, _, Some(path)) => {
                let marked = [b"+", path.as_os_str().as_bytes()].concat();
                self.job(app, handler, asked.key, values, &marked, asked.message)
            }
            (_, Some(path), _) => {
                self.job(app, handler, asked.key, values, path.as_os_str().as_bytes(), asked.message)
            }
            _ => self.job(app, handler, asked.key, values, b"", asked.message),
        };
        if let Plan::Run { near, .. } = &mut plan {
            *near = self.cx.apps[app].near(asked.envelope);
        }
        Planned { plan, raw: handler == Handler::Raw, meter, body, spool }
    }

    fn job<'p>(
        &mut self,
        app: AppId,
        handler: Handler,
        key: ConnKey,
        values: impl Iterator<Item = &'p [u8]>,
        spool: &[u8],
        message: &[u8],
    ) -> Plan {
        let mut job = self.exchange.spare.pop().unwrap_or_default();
        let mut name = std::mem::take(&mut self.exchange.name);
        name.truncate(self.cx.boot.len());
        let mut digits = itoa::Buffer::new();
        for (mark, number) in [('-', key.link.0.into()), ('.', key.incarnation), ('.', key.id.get())] {
            name.push(mark);
            name.push_str(digits.format(number));
        }
        if handler == Handler::Raw {
            self.exchange.raw_clients.learn(key);
        }
        encode_job(&mut job, 0, handler, &name, values, spool, message);
        self.exchange.name = name;
        Plan::Run { app, job, near: Near::Any }
    }

    /// Forgets a request that will have no answer, or no further one.
    pub(in crate::hub) fn remove_request(&mut self, key: RequestId) -> Request {
        let request = self.take_request(key);
        if request.http && !request.begun {
            self.cx.ledger.traffic.lost(request.meter);
        }
        request
    }

    /// Forgets a request, and what was kept for it. Whoever calls it says what became of it.
    pub(in crate::hub) fn take_request(&mut self, key: RequestId) -> Request {
        let mut request = self.exchange.requests.remove(key).expect("a request is taken once");
        let plan = std::mem::replace(&mut request.plan, Plan::NONE);
        if let Plan::Held(session) = plan {
            self.poll_gone(session, key);
        }
        self.recycle(plan);
        self.cx.effects.extend(request.spool.take().map(Effect::DeleteFile));
        self.forget_body(key, &request);
        request
    }

    pub(in crate::hub) fn recycle(&mut self, plan: Plan) {
        if let Plan::Run { mut job, .. } = plan
            && job.capacity() <= SPARE_SIZE
            && self.exchange.spare.len() < SPARE_COUNT
        {
            job.clear();
            self.exchange.spare.push(job);
        }
    }

    /// Puts a message that no route takes behind the others of its connection.
    fn enqueue_raw(&mut self, key: ConnKey, head: &Head<'_>, message: &[u8], now: Instant) {
        let Some(app) = self.raw_app() else { return };
        if self.cx.outbox.conns.map.get(&key).is_some_and(|conn| conn.waiting.len() >= self.cx.limits.queue) {
            // What comes next could not be told to follow what is missing.
            self.cx.ledger.counters.overloaded += 1;
            self.close_in_turn(key);
            return;
        }
        let plan = self.job(app, Handler::Raw, key, [].into_iter(), b"", message);
        let request = Request {
            meter: self.cx.meter_of(app, Handler::Raw),
            http: matches!(head.kind, Kind::Handshake | Kind::UploadStart | Kind::UploadDone),
            raw: true,
            ..Request::new(key, plan, now, self.cx.limits.request_timeout)
        };
        self.enqueue(key, request, now);
    }

    pub(in crate::hub) fn enqueue(&mut self, key: ConnKey, mut request: Request, now: Instant) {
        if request.http && request.number == 0 {
            request.number = self.cx.ledger.traffic.begin();
        }
        let request = self.exchange.requests.insert(request);
        self.enqueue_known(key, request, now);
    }

    /// Puts a request that is in the table behind the others of its connection.
    fn enqueue_known(&mut self, key: ConnKey, request: RequestId, now: Instant) {
        let last = self.exchange.requests.get(request).is_some_and(Request::is_last);
        self.cx.hold(now);
        let conn = self.cx.outbox.conns.map.entry(key).or_default();
        conn.deaf |= last;
        conn.waiting.push_back(request);
        self.advance(key, now);
    }

    /// Answers at once and closes, whatever waits on the connection: it does not speak our language.
    pub(in crate::hub) fn answer_at_once(&mut self, key: ConnKey, status: u16, now: Instant) {
        if !self.cx.outbox.is_finished(key) {
            let plan = self.own_page(status);
            self.enqueue(key, Request::new(key, plan, now, self.cx.limits.request_timeout), now);
        }
    }

    pub(in crate::hub) fn handle_disconnect(&mut self, key: ConnKey, message: &[u8], now: Instant) {
        let ours = self.cx.outbox.conns.map.get(&key).is_some_and(|conn| conn.closed);
        self.note_cut(key, now);
        self.note_broken_upload(key, now);
        if self.live_disconnected(key, now) {
            self.drop_connection(key);
            return;
        }
        self.drop_connection(key);
        if !ours && self.pass_disconnect(key, message, now).is_some() {
            self.advance(key, now);
        }
        self.exchange.raw_clients.forget(key);
    }

    /// Tells the raw handler of clients that went with their server.
    pub(in crate::hub) fn tell_raw_handler(&mut self, now: Instant) {
        while let Some((key, notice)) = self.exchange.raw_clients.next_notice() {
            if let Some(request) = self.pass_disconnect(key, &notice, now) {
                self.exchange.raw_clients.begin_telling(request, key.link);
                self.advance(key, now);
            }
            self.exchange.raw_clients.forget(key);
        }
    }

    /// Puts a disconnect behind what the raw handler still gets of its connection.
    fn pass_disconnect(&mut self, key: ConnKey, message: &[u8], now: Instant) -> Option<RequestId> {
        let app = self.raw_app()?;
        let plan = self.job(app, Handler::Raw, key, [].into_iter(), b"", message);
        let request = Request {
            http: false,
            raw: true,
            ..Request::new(key, plan, now, self.cx.limits.request_timeout)
        };
        let conn =
            self.cx.outbox.conns.map.entry(key).or_insert_with(|| Conn { gone: true, ..Conn::default() });
        let request = self.exchange.requests.insert(request);
        conn.waiting.push_back(request);
        Some(request)
    }

    fn handle_credits(&mut self, key: ConnKey, bytes: u64, now: Instant) {
        let link = &mut self.cx.servers[key.link];
        link.flow_control = true;
        link.under_way.credited(bytes);
        if let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) {
            conn.credited(bytes, now);
            if !conn.out.is_empty() || conn.has_pieces() || conn.closing {
                self.cx.outbox.mark_dirty(key);
            }
        }
    }

    /// Forgets a connection whose client is gone. Requests that nobody started are dropped with
    /// it; what runs is left to end, and its answer is not sent. Raw messages still reach their script.
    pub(in crate::hub) fn drop_connection(&mut self, key: ConnKey) {
        self.bodies.spooled.forget(key);
        self.drop_requests(key);
        if let Some(id) = self.cx.outbox.conns.map.get(&key).and_then(|conn| conn.carries) {
            self.stream_gone(id, key);
        }
        let Some(conn) = self.cx.outbox.conns.map.remove(&key) else { return };
        self.cx.outbox.conns.released.extend(conn.live.map(|id| (id, 0)));
        if conn.current.is_some() || !conn.waiting.is_empty() {
            let (current, waiting, advancing) = (conn.current, conn.waiting, conn.advancing);
            let rest = Conn { current, waiting, advancing, gone: true, ..Conn::default() };
            self.cx.outbox.conns.map.insert(key, rest);
            // What waited for its turn to be written to need not wait any more.
            self.cx.outbox.mark_dirty(key);
        }
    }

    /// Whether no worker has it, and none needs to.
    fn is_unbegun(&self, request: RequestId) -> bool {
        let request = &self.exchange.requests[request];
        request.body == Body::Collected || (request.place == Place::Queue && !request.raw)
    }

    /// Forgets the requests of a connection that can get no answer. Raw messages are kept.
    pub(in crate::hub) fn drop_requests(&mut self, key: ConnKey) {
        let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) else { return };
        conn.stream = None;
        self.bodies.streamed.forget(key);
        let (raw, dropped): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut conn.waiting).into_iter().partition(|request| {
                let request = &self.exchange.requests[*request];
                request.raw && request.body != Body::Collected
            });
        conn.waiting = raw;
        let current = conn.current;
        for request in dropped {
            self.remove_request(request);
        }
        let Some(current) = current else { return };
        match self.exchange.requests[current].plan {
            Plan::Run { app, .. } if self.is_unbegun(current) => {
                if let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) {
                    conn.current = None;
                }
                self.cx.apps[app].queue.retain(|waiting| *waiting != current);
                self.remove_request(current);
            }
            Plan::Call(_) | Plan::Held(_) => {
                if let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) {
                    conn.current = None;
                }
                self.remove_request(current);
            }
            _ => self.lose_client(current),
        }
    }
}

impl Hub {
    /// A page of the hub's own. While the server stops, a 503 says so, and a 421 says which hosts there are.
    pub(in crate::hub) fn own_page(&self, status: u16) -> Plan {
        let mut plan = own_answer(status, None);
        if status == 503
            && self.cx.stopping.is_some()
            && let Plan::Answer { body, .. } = &mut plan
        {
            answers::STOPPING.clone_into(body);
        }
        if status == 421
            && let (Some(hosts), Plan::Answer { body, .. }) = (&self.cx.servers.hosts, &mut plan)
        {
            hosts.page().clone_into(body);
        }
        plan
    }
}

/// An answer that needs no script.
pub(in crate::hub) fn own_answer(status: u16, allow: Option<&str>) -> Plan {
    let (head, body) = match status {
        204 => (format!("Allow: {}\r\n", allow.unwrap_or_default()), String::new()),
        status => (answers::head(status, allow), answers::text(status).to_owned()),
    };
    Plan::Answer { status, head, body }
}
