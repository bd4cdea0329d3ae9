//! Bodies that come in parts (`upload.stream`), no faster than somebody takes them.
//!
//! Mongrel2 tells of such a body when the head is there, with what came along, and sends the rest against credits. A
//! route that streams gets the request at once, and credits are what its worker wants when the script reads: a handler
//! that does not read costs nothing, and one that has not begun can begin elsewhere. For all other routes the hub
//! grants by itself and has the parts written to a file of its own; the request waits for its end, and is from then on
//! one like those whose file Mongrel2 wrote.

use crate::hub::bodies::progress::{Pace, Progress};
use crate::hub::bodies::stored::{Coming, Stored};
use crate::hub::context::Context;
use crate::hub::effect::Effect;
use crate::hub::event::Event;
use crate::hub::ids::{ConnKey, RequestId};
use crate::hub::request::{Place, Request, Share};
use crate::worker::protocol::{BODY_WINDOW, encode_part};
use kennel_http::Persistence;
use kennel_http::client_address::ClientAddress;
use mongrel2_wire::reply::Control;
use mongrel2_wire::{Envelope, Head, Part};
use rustc_hash::FxHashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Fewer credits are granted only when none are left: each grant is a message.
const GRAIN: u64 = 64 << 10;
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
    parts: FxHashMap<ConnKey, Parts>,
    /// Those that have come and are not written yet, by their files: the next may be coming by their connection.
    finishing: FxHashMap<PathBuf, Parts>,
    /// Those that credits may be due to.
    due: Vec<ConnKey>,
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

    pub fn is_empty(&self) -> bool {
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

/// What came of a part of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Taken {
    /// Its body goes on, or is whole.
    Fits,
    /// No body comes by this connection.
    Unexpected,
    /// Mongrel2 would not have sent that: why.
    Wrong(&'static str),
    /// The body of this request has become too large.
    TooLarge(RequestId),
}

impl Arriving {
    /// Whether a body comes by this connection, or has come and is not forgotten.
    pub fn is_known(&self, key: ConnKey) -> bool {
        self.parts.contains_key(&key)
    }

    /// The body of a request begins, with what came along.
    pub fn begin(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        (envelope, head): (&Envelope<'_>, &Head<'_>),
        (request, file, persistence): (RequestId, Option<PathBuf>, Persistence),
        now: Instant,
    ) {
        let bytes = envelope.body;
        let mut parts = Parts {
            request,
            file,
            received: bytes.len() as u64,
            announced: head.spool_size.map(u64::from),
            credits: 0,
            wanted: 0,
            unwritten: 0,
            writing: 0,
            whole: false,
            since: now,
            progress: Progress::new(bytes.len() as u64, now),
            persistence,
            client: cx.clients.address(&envelope.headers),
        };
        if let Some(path) = parts.file.clone() {
            parts.unwritten = bytes.len() as u64;
            parts.writing = 1;
            cx.effects.push_back(Effect::WriteFile { key, path, bytes: bytes.to_vec(), last: false });
        }
        self.parts.insert(key, parts);
        self.due.push(key);
    }

    /// The next part of a body. `request`: the one whose body it is.
    pub fn take(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        (part, bytes): (Part, &[u8]),
        request: Option<&mut Request>,
        now: Instant,
    ) -> Taken {
        let Some(parts) = self.parts.get_mut(&key) else { return Taken::Unexpected };
        if let Err(problem) = parts.take(part, bytes.len() as u64) {
            return Taken::Wrong(problem);
        }
        if cx.limits.is_too_large(parts.received) {
            return Taken::TooLarge(parts.request);
        }
        if let Some(path) = parts.file.clone() {
            if part.last || !bytes.is_empty() {
                parts.unwritten += bytes.len() as u64;
                parts.writing += 1;
                let (path, bytes) = (path.clone(), bytes.to_vec());
                cx.effects.push_back(Effect::WriteFile { key, path, bytes, last: part.last });
            }
            if part.last
                && let Some(parts) = self.parts.remove(&key)
            {
                self.finishing.insert(path, parts);
            }
        } else {
            let is_starved = parts.credits <= 0;
            if let Some(request) = request {
                pass_part(cx, request, (part.last, bytes), is_starved, now);
            }
            if part.last
                && let Some(parts) = self.parts.remove(&key)
            {
                cx.events.push(Event::BodyWhole(parts.request, parts.persistence, None));
            }
        }
        self.due.push(key);
        Taken::Fits
    }

    /// So many bytes were written to a file; or writing failed. Returns the request whose body cannot be written.
    pub fn written(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        path: &Path,
        result: Result<usize, &str>,
    ) -> Option<RequestId> {
        let parts = self.parts.get_mut(&key).filter(|parts| parts.file.as_deref() == Some(path));
        let parts = parts.or_else(|| self.finishing.get_mut(path))?;
        let Ok(bytes) = result else { return Some(parts.request) };
        parts.unwritten = parts.unwritten.saturating_sub(bytes as u64);
        parts.writing = parts.writing.saturating_sub(1);
        if !parts.whole || parts.writing > 0 {
            self.due.push(key);
        } else if let Some(parts) = self.finishing.remove(path) {
            cx.events.push(Event::BodyWhole(parts.request, parts.persistence, Some(parts.share())));
        }
        None
    }

    /// A worker's script waits for so many bytes more.
    pub fn want(&mut self, key: ConnKey, bytes: u32) {
        if let Some(parts) = self.parts.get_mut(&key) {
            parts.wanted += u64::from(bytes);
            self.due.push(key);
        }
    }

    /// Grants what the takers of bodies have room for.
    pub fn grant_credits(&mut self, cx: &mut Context, now: Instant) {
        for key in self.due.drain(..) {
            let Some(bytes) = self.parts.get_mut(&key).and_then(|parts| parts.grant(now)) else { continue };
            let flow_control = cx.servers[key.link].flow_control;
            cx.outbox.control_one(&cx.servers, key, Control::UploadCredits(bytes));
            if let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
                // It takes a place among those that Mongrel2 holds for the connection. No more than a few are under
                // way at a time: what they grant has to come first.
                conn.pacer.sent(0, flow_control, now);
            }
        }
    }

    /// Nobody has looked for this long.
    pub fn excuse(&mut self, pause: Duration) {
        self.parts.values_mut().for_each(|parts| parts.progress.excuse(pause));
    }

    /// Looks at the bodies that may come, which have to bring `rate` bytes per second: those that do not.
    pub fn tardy(&mut self, rate: usize, now: Instant) -> Vec<(ConnKey, RequestId, Pace)> {
        let may_come = self.parts.iter_mut().filter(|(_, parts)| parts.credits > 0);
        let looked = may_come
            .map(|(key, parts)| (*key, parts.request, parts.progress.look(parts.received, rate, now)));
        looked.filter(|(.., pace)| *pace != Pace::Fine).collect()
    }
}

/// Hands a part to the worker that has wanted it.
fn pass_part(
    cx: &mut Context,
    request: &mut Request,
    (last, bytes): (bool, &[u8]),
    is_starved: bool,
    now: Instant,
) {
    if let Place::Worker(id, serial) = request.place
        && let Some(worker) = cx.workers.get_mut(id)
    {
        encode_part(&mut worker.orders, serial, last, bytes);
    }
    if !request.begun && is_starved {
        // It is the script's turn.
        request.deadline = Some(now + cx.limits.request_timeout);
    }
}
