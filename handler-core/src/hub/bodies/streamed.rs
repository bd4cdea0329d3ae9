//! Bodies that come in parts (`upload.stream`), no faster than somebody takes them.
//!
//! Mongrel2 tells of such a body when the head is there, with what came along, and sends the rest against credits. A
//! route that streams gets the request at once, and credits are what its worker wants when the script reads: a handler
//! that does not read costs nothing, and one that has not begun can begin elsewhere. For all other routes the hub
//! grants by itself and has the parts written to a file of its own; the request waits for its end, and is from then on
//! one like those whose file Mongrel2 wrote.

use crate::hub::Hub;
use crate::hub::bodies::stored::{Coming, Pace, Progress, Stored};
use crate::hub::effect::Effect;
use crate::hub::ids::Job;
use crate::hub::ids::{ConnKey, RequestId, WorkerId};
use crate::hub::ledger::about::log_about;
use crate::hub::limits::Limits;
use crate::hub::request::Share;
use crate::hub::request::{Asked, Body, Place, Plan, Request};
use crate::worker::protocol::{BODY_WINDOW, encode_gone, encode_grown, encode_part};
use kennel_http::Persistence;
use kennel_http::client_address::ClientAddress;
use mongrel2_wire::reply::Control;
use mongrel2_wire::{Envelope, Head, Part};
use rustc_hash::FxHashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Fewer credits are granted only when none are left: each grant is a message.
const GRAIN: u64 = 64 << 10;
/// How often bodies that nobody hears of are looked at.
pub(in crate::hub) const LOOK: Duration = Duration::from_secs(1);
/// After this time without a byte Mongrel2 has cut the client off (`limits.min_ping` and a tick), of which it tells
/// nobody. A body has to bring `limits.upload_rate` on average over this time.
pub(in crate::hub) const LOST: Duration = Duration::from_secs(150);

/// A body that comes in parts.
#[derive(Debug)]
struct Parts {
    request: RequestId,
    /// The hub's own file that it goes to; none: to the worker.
    file: Option<PathBuf>,
    /// Bytes that have come: where the next part has to begin.
    received: u64,
    /// How many there will be, unless the client sends chunks.
    announced: Option<u64>,
    /// What was granted and has not come; below zero after a chunk that was larger.
    credits: i64,
    /// What the worker wants and was not granted.
    wanted: u64,
    /// Bytes, and number of pieces, that are not written to the file yet.
    unwritten: u64,
    writing: u32,
    /// The last part has come.
    whole: bool,
    /// When it began.
    since: Instant,
    /// How fast it comes while it may; begins again with each grant.
    progress: Progress,
    /// What becomes of the connection if the body is read to its end.
    persistence: Persistence,
    /// The address that limits per client address count.
    client: Option<ClientAddress>,
}

impl Parts {
    /// Counts a part that came.
    ///
    /// # Errors
    ///
    /// What is wrong with it: Mongrel2 would not have sent that.
    fn take(&mut self, part: Part, size: u64) -> Result<(), &'static str> {
        if self.whole || part.offset != self.received {
            return Err("a part of a body out of order");
        }
        let end = self.received + size;
        if self.announced.is_some_and(|all| end > all || part.last != (end == all)) {
            return Err("a part of a body beyond its Content-Length, or too few of them");
        }
        // A chunk comes whole as soon as there is one credit.
        if self.credits <= 0 || (self.announced.is_some() && size > self.credits as u64) {
            return Err("a part of a body beyond its credits");
        }
        self.received = end;
        self.credits -= size as i64;
        self.whole = part.last;
        Ok(())
    }

    /// What it holds: what is handed to a worker as it comes waits in memory, and not for long.
    fn share(&self) -> Share {
        let bytes = if self.file.is_some() { self.received } else { self.received.min(BODY_WINDOW as u64) };
        Share { bytes, client: self.client }
    }

    /// Takes what may be granted now.
    fn grant(&mut self, now: Instant) -> Option<u32> {
        let under_way = self.credits.max(0) as u64;
        let mut room = (BODY_WINDOW as u64).saturating_sub(under_way + self.unwritten);
        if self.file.is_none() {
            room = room.min(self.wanted);
        }
        if let Some(all) = self.announced {
            room = room.min(all - self.received - under_way);
        }
        if self.whole || room == 0 || (room < GRAIN && self.credits > 0) {
            return None;
        }
        self.wanted = self.wanted.saturating_sub(room);
        self.credits += room as i64;
        self.progress = Progress::new(self.received, now);
        Some(room as u32)
    }
}

/// The bodies that come in parts.
#[derive(Debug, Default)]
pub(in crate::hub) struct Arriving {
    /// Where the hub puts bodies that are not read as they come.
    folder: Option<PathBuf>,
    last_file: u64,
    parts: FxHashMap<ConnKey, Parts>,
    /// Those that have come and are not written yet, by their files: the next may be coming by their connection.
    finishing: FxHashMap<PathBuf, Parts>,
    /// Those that credits may be due to.
    due: Vec<ConnKey>,
    /// When to look at all, of Mongrel2's files too.
    pub next_look: Option<Instant>,
}

impl Arriving {
    /// Whether a body comes by this connection and is not whole.
    pub fn is_under_way(&self, key: ConnKey) -> bool {
        self.parts.get(&key).is_some_and(|parts| !parts.whole)
    }

    /// The request whose body comes by this connection.
    pub fn request(&self, key: ConnKey) -> Option<RequestId> {
        self.parts.get(&key).map(|parts| parts.request)
    }

    /// Nobody waits for the rest of this request's body.
    pub fn forget_of(&mut self, request: RequestId, conn: ConnKey) {
        if self.parts.get(&conn).is_some_and(|parts| parts.request == request) {
            self.parts.remove(&conn);
        }
        self.finishing.retain(|_, parts| parts.request != request);
    }

    /// How many bodies of a client's address are not whole.
    pub fn of_client(&self, client: ClientAddress) -> usize {
        self.parts.values().filter(|parts| parts.client == Some(client) && !parts.whole).count()
    }

    /// Counts the bytes of these bodies, and lists those of which more is to come.
    pub fn count(&self, stored: &mut Stored, coming: &mut Vec<Coming>) {
        for (key, parts) in &self.parts {
            stored.add(parts.share());
            if !parts.whole {
                let request = Some(parts.request);
                coming.push(Coming { since: parts.since, key: *key, request, share: parts.share() });
            }
        }
        self.finishing.values().for_each(|parts| stored.add(parts.share()));
    }

    fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes that each body has under way: granted and not come, or not written.
    #[cfg(test)]
    pub fn under_way(&self) -> impl Iterator<Item = u64> {
        self.parts
            .values()
            .chain(self.finishing.values())
            .map(|parts| parts.credits.max(0) as u64 + parts.unwritten)
    }
}

impl Hub {
    /// Takes bodies that come in parts from now on, and puts those that are not read as they come into this folder, which
    /// is nobody else's.
    pub fn set_body_folder(&mut self, folder: PathBuf) {
        self.bodies.streamed.folder = Some(folder);
    }

    /// Whether no body may be as large as this one, even alone.
    pub(in crate::hub) fn is_too_large(&self, body: u64) -> bool {
        let Limits { upload, upload_total, upload_total_per_address, .. } = self.cx.limits;
        body > upload.min(upload_total).min(upload_total_per_address) as u64
    }

    /// The beginning of a body in parts. `false`: the raw handler has to see to it.
    pub(in crate::hub) fn handle_stream_start(
        &mut self,
        key: ConnKey,
        envelope: &Envelope<'_>,
        head: &Head<'_>,
        message: &[u8],
        now: Instant,
    ) -> bool {
        if self.bodies.streamed.folder.is_none() && self.raw_app().is_some() {
            return false;
        }
        if self.bodies.streamed.parts.contains_key(&key) {
            self.refuse(key.link, envelope, "a body within a body", now);
            self.break_off(key, now);
            return true;
        }
        let new_file = self.next_body_file();
        let asked = Asked { key, envelope, head, message, spool: None, body: Body::Parts, new_file };
        self.handle_http(asked, now);
        true
    }

    /// A new file for a body; `None`: there is no folder for them.
    pub(in crate::hub) fn next_body_file(&mut self) -> Option<PathBuf> {
        let folder = self.bodies.streamed.folder.as_ref()?;
        self.bodies.streamed.last_file += 1;
        Some(folder.join(format!("{}-{}", self.cx.boot, self.bodies.streamed.last_file)))
    }

    /// A request whose body is not there, or not measured, is about to take its place.
    pub(in crate::hub) fn begin_body(
        &mut self,
        asked: &Asked<'_>,
        (body, file): (Body, Option<PathBuf>),
        request: RequestId,
        persistence: Persistence,
        now: Instant,
    ) {
        let key = asked.key;
        if asked.body != Body::Parts {
            self.begin_file(asked, body, request, persistence);
            return;
        }
        let bytes = asked.envelope.body;
        let mut parts = Parts {
            request,
            file,
            received: bytes.len() as u64,
            announced: asked.head.spool_size.map(u64::from),
            credits: 0,
            wanted: 0,
            unwritten: 0,
            writing: 0,
            whole: false,
            since: now,
            progress: Progress::new(bytes.len() as u64, now),
            persistence,
            client: self.cx.clients.address(&asked.envelope.headers),
        };
        if let Some(path) = parts.file.clone() {
            parts.unwritten = bytes.len() as u64;
            parts.writing = 1;
            self.cx.effects.push_back(Effect::WriteFile { key, path, bytes: bytes.to_vec(), last: false });
        }
        self.bodies.streamed.parts.insert(key, parts);
        self.bodies.streamed.due.push(key);
        self.bodies.streamed.next_look.get_or_insert(now + LOOK);
    }

    /// The next part of a body. `false`: the raw handler has to see to it.
    pub(in crate::hub) fn handle_part(
        &mut self,
        key: ConnKey,
        envelope: &Envelope<'_>,
        head: &Head<'_>,
        now: Instant,
    ) -> bool {
        let Some(part) = head.part else { return false };
        let Some(parts) = self.bodies.streamed.parts.get_mut(&key) else {
            if self.cx.outbox.is_finished(key) {
                return true;
            }
            if self.raw_app().is_some() {
                return false;
            }
            self.refuse(key.link, envelope, "a part of a body that nobody waits for", now);
            self.cancel(key);
            return true;
        };
        let bytes = envelope.body;
        if let Err(problem) = parts.take(part, bytes.len() as u64) {
            self.refuse(key.link, envelope, problem, now);
            self.break_off(key, now);
            return true;
        }
        let (request, received) = (parts.request, parts.received);
        if self.is_too_large(received) {
            self.refuse(key.link, envelope, "a body beyond limits.upload", now);
            self.refuse_body(request, 413, now);
            return true;
        }
        let Some(parts) = self.bodies.streamed.parts.get_mut(&key) else { return true };
        if let Some(path) = parts.file.clone() {
            if part.last || !bytes.is_empty() {
                parts.unwritten += bytes.len() as u64;
                parts.writing += 1;
                let bytes = bytes.to_vec();
                self.cx.effects.push_back(Effect::WriteFile {
                    key,
                    path: path.clone(),
                    bytes,
                    last: part.last,
                });
            }
            if part.last
                && let Some(parts) = self.bodies.streamed.parts.remove(&key)
            {
                self.bodies.streamed.finishing.insert(path, parts);
            }
        } else {
            self.pass_part(key, part.last, bytes, now);
        }
        self.bodies.streamed.due.push(key);
        true
    }

    /// Hands a part to the worker that has wanted it.
    fn pass_part(&mut self, key: ConnKey, last: bool, bytes: &[u8], now: Instant) {
        let Some(parts) = self.bodies.streamed.parts.get(&key) else { return };
        let is_starved = parts.credits <= 0;
        let request = &mut self.exchange.requests[parts.request];
        if let Place::Worker(id, serial) = request.place
            && let Some(worker) = self.cx.workers.get_mut(id)
        {
            encode_part(&mut worker.orders, serial, last, bytes);
        }
        if !request.begun && is_starved {
            // It is the script's turn.
            request.deadline = Some(now + self.cx.limits.request_timeout);
        }
        if last && let Some(parts) = self.bodies.streamed.parts.remove(&key) {
            self.complete_body(parts.request, parts.persistence, now);
        }
    }

    /// What [`Effect::WriteFile`] came to: how many bytes were written, or why not.
    pub fn handle_written(&mut self, key: ConnKey, path: &Path, result: Result<usize, String>, now: Instant) {
        let arriving = &mut self.bodies.streamed;
        let parts = arriving.parts.get_mut(&key).filter(|parts| parts.file.as_deref() == Some(path));
        let Some(parts) = parts.or_else(|| arriving.finishing.get_mut(path)) else { return };
        let request = parts.request;
        match result {
            Ok(bytes) => {
                parts.unwritten = parts.unwritten.saturating_sub(bytes as u64);
                parts.writing = parts.writing.saturating_sub(1);
                if !parts.whole || parts.writing > 0 {
                    self.bodies.streamed.due.push(key);
                } else if let Some(parts) = self.bodies.streamed.finishing.remove(path) {
                    if let Some(request) = self.exchange.requests.get_mut(request) {
                        request.stored = parts.share();
                    }
                    self.complete_body(request, parts.persistence, now);
                }
            }
            Err(problem) => {
                let about = self.about(request);
                let path = path.display();
                log_about!(error, about, status = 500, "cannot write a body to {path}: {problem}");
                self.refuse_body(request, 500, now);
            }
        }
    }

    /// The body of a request is whole, wherever it is: its time runs, and its worker may have it.
    pub(in crate::hub) fn complete_body(&mut self, key: RequestId, persistence: Persistence, now: Instant) {
        let Some(request) = self.exchange.requests.get_mut(key) else { return };
        let waited = std::mem::replace(&mut request.body, Body::Whole) == Body::Collected;
        let conn_key = request.conn;
        let Some(conn) = self.cx.outbox.conns.map.get_mut(&conn_key) else { return };
        if !request.begun {
            request.deadline = Some(now + self.cx.limits.request_timeout);
            if !conn.deaf {
                request.persistence = persistence;
                conn.deaf = persistence == Persistence::Close && !request.raw;
            }
        }
        if waited && conn.current == Some(key) && request.place == Place::Pipeline {
            match request.plan {
                Plan::Run { app, .. } => self.submit(key, app, now),
                Plan::Call(_) => self.handle_call(key, now),
                Plan::Answer { .. } | Plan::File { .. } | Plan::Held(_) => {}
            }
        }
    }

    /// A worker's script waits for more of a body.
    pub(in crate::hub) fn handle_want(&mut self, id: WorkerId, serial: u64, bytes: u32) {
        let Some(worker) = self.cx.workers.get_mut(id) else { return };
        let Some(Job::Request(key)) = worker.jobs.get(&serial) else { return };
        let request = &mut self.exchange.requests[*key];
        if request.gone {
            // It may not have known this body when it was told.
            encode_gone(&mut worker.orders, serial);
            return;
        }
        match request.body {
            Body::Grown => encode_grown(&mut worker.orders, serial, true, 0),
            Body::Parts => {
                request.parts_taken = true;
                if !request.begun {
                    request.deadline = None;
                }
                if let Some(parts) = self.bodies.streamed.parts.get_mut(&request.conn) {
                    parts.wanted += u64::from(bytes);
                    self.bodies.streamed.due.push(request.conn);
                }
            }
            Body::Growing => {
                let conn = request.conn;
                if let Some(path) = self.bodies.spooled.want(conn) {
                    self.cx.effects.push_back(Effect::Measure { key: conn, path, whole: false });
                }
            }
            Body::Whole | Body::Collected => {}
        }
    }

    /// Grants what the takers of bodies have room for.
    pub(in crate::hub) fn grant_credits(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.bodies.streamed.due);
        for key in due.drain(..) {
            let Some(bytes) = self.bodies.streamed.parts.get_mut(&key).and_then(|parts| parts.grant(now))
            else {
                continue;
            };
            let flow_control = self.cx.servers[key.link].flow_control;
            self.control_one(key, Control::UploadCredits(bytes));
            if let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) {
                // It takes a place among those that Mongrel2 holds for the connection. No more than a few are under
                // way at a time: what they grant has to come first.
                conn.pacer.sent(0, flow_control, now);
            }
        }
        self.bodies.streamed.due = due;
    }

    /// Drops a connection at once, with what is under way to it.
    fn cancel(&mut self, key: ConnKey) {
        self.control_one(key, Control::Cancel);
    }

    fn control_one(&mut self, key: ConnKey, control: Control) {
        if self.cx.servers[key.link].incarnation == key.incarnation {
            self.cx.outbox.control(&self.cx.servers, key.link, &[key.id], control);
        }
    }

    /// Ends a connection whose body makes no sense any more, as if its client had left.
    pub(in crate::hub) fn break_off(&mut self, key: ConnKey, now: Instant) {
        self.cancel(key);
        self.drop_connection(key, now);
        self.exchange.raw_clients.forget(key);
        // What is under way from it says nothing any more.
        let conn = self.cx.outbox.conns.map.entry(key).or_default();
        conn.closed = true;
        conn.pacer.sent(0, false, now);
        self.cx.outbox.conns.list_if_idle(key, now);
    }

    /// Answers a request whose body is not taken to its end, wherever the request is, and closes its connection.
    pub(in crate::hub) fn refuse_body(&mut self, key: RequestId, status: u16, now: Instant) {
        let page = self.own_page(status);
        let Some(request) = self.exchange.requests.get_mut(key) else { return };
        let conn = request.conn;
        request.persistence = Persistence::Close;
        if request.gone {
            return;
        }
        let mut freed = None;
        match request.place {
            Place::Pipeline
                if self.cx.outbox.conns.map.get(&conn).is_none_or(|conn| conn.current != Some(key)) =>
            {
                // In its turn.
                request.body = Body::Whole;
                let plan = std::mem::replace(&mut request.plan, page);
                self.recycle(plan);
                self.bodies.streamed.forget_of(key, conn);
                if let Some(conn) = self.cx.outbox.conns.map.get_mut(&conn) {
                    conn.deaf = true;
                }
                return;
            }
            Place::Pipeline => {}
            Place::Queue => {
                for app in &mut self.cx.apps.list {
                    app.queue.retain(|waiting| *waiting != key);
                }
            }
            Place::Worker(id, serial) => {
                if let Some(worker) = self.cx.workers.get_mut(id) {
                    worker.jobs.remove(&serial);
                    encode_gone(&mut worker.orders, serial);
                    freed = Some((id, worker.app));
                }
            }
        }
        self.answer_with(key, status, now);
        if let Some((id, app)) = freed {
            self.fill(id, app, now);
        }
    }

    /// Finds out which bodies have stopped to come though nobody said so, which come too slowly, and which have become too
    /// large, alone or all together.
    pub(in crate::hub) fn look_at_bodies(&mut self, now: Instant) {
        let Some(due) = self.bodies.streamed.next_look.filter(|due| *due <= now) else { return };
        let pause = now - due;
        if pause > LOOK {
            // The hub did not run, and did not hear what came meanwhile.
            self.bodies.streamed.parts.values_mut().for_each(|parts| parts.progress.excuse(pause));
            self.bodies.spooled.excuse(pause);
        }
        let rate = self.cx.limits.upload_rate;
        let mut tardy = Vec::new();
        for (key, parts) in self.bodies.streamed.parts.iter_mut().filter(|(_, parts)| parts.credits > 0) {
            let pace = parts.progress.look(parts.received, rate, now);
            tardy.push((*key, parts.request, pace));
        }
        for (key, request, pace) in tardy {
            match pace {
                Pace::Fine => {}
                Pace::Slow => self.refuse_slow_body(key, Some(request), now),
                Pace::Lost => self.give_up_body(key, now),
            }
        }
        self.count_bodies(now);
        self.measure_all();
        let is_needed = !self.bodies.streamed.is_empty()
            || !self.bodies.spooled.is_empty()
            || !self.bodies.stored.is_empty();
        self.bodies.streamed.next_look = is_needed.then(|| now + LOOK);
    }

    /// Nothing has come of a body for so long that its client must be gone.
    pub(in crate::hub) fn give_up_body(&mut self, key: ConnKey, now: Instant) {
        let about = self.about_body(key);
        log_about!(warn, about, "a body has not gone on for {LOST:?}: its client is given up");
        self.break_off(key, now);
    }

    /// Under a stop no more comes of what has not come.
    pub(in crate::hub) fn give_up_bodies(&mut self, now: Instant) {
        let is_arriving = |(_, request): &(RequestId, &Request)| request.body.is_arriving();
        let waiting: Vec<_> = self.exchange.requests.iter().filter(is_arriving).map(|(key, _)| key).collect();
        for key in waiting {
            self.cx.ledger.counters.overloaded += 1;
            self.refuse_body(key, 503, now);
        }
    }
}
