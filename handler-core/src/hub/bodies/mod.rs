//! Bodies of requests that do not come whole in one message.
//!
//! A request says where its body is, [`Body`]:
//!
//! | from | by | to |
//! | --- | --- | --- |
//! | (arrives) | it is in the message, or whole in a file of known size | `Whole` |
//! | (arrives) | in parts or in chunks, for a handler that does not read it as it comes | `Collected` |
//! | (arrives) | in parts, for a handler that reads it as it comes | `Parts` |
//! | (arrives) | in a file of Mongrel2's, for a handler that reads it as it comes | `Growing` |
//! | `Collected`, `Parts` | the last part is written, or given to the worker; the file is measured | `Whole` |
//! | `Growing` | the file is complete | `Grown` |
//! | any | the body is refused before it is the request's turn | `Whole` |
//!
//! `streamed` has what comes in parts, `spooled` what Mongrel2 writes to files, `stored` counts the bytes of both, and
//! `progress` says how fast each comes. A request itself belongs to others: it is passed in where it is needed.

pub(in crate::hub) mod progress;
pub(in crate::hub) mod spooled;
pub(in crate::hub) mod stored;
pub(in crate::hub) mod streamed;
#[cfg(test)]
mod tests;

use crate::hub::context::Context;
use crate::hub::effect::Effect;
use crate::hub::event::Event;
use crate::hub::ids::{ConnKey, RequestId, WorkerId};
use crate::hub::outbox::connection::Ending;
use crate::hub::request::{Body, BodyEnd, Place, Plan, Request, Share};
use crate::worker::protocol::{encode_gone, encode_grown};
use kennel_http::Persistence;
use kennel_http::client_address::ClientAddress;
use mongrel2_wire::{Envelope, Head};
use progress::{LOOK, Pace};
use spooled::{Announced, Uploads};
use std::path::{Path, PathBuf};
use std::time::Instant;
use stored::Stored;
use streamed::Arriving;

/// All bodies of which more is to come, or that are in files.
#[derive(Debug, Default)]
pub(in crate::hub) struct Bodies {
    pub spooled: Uploads,
    pub streamed: Arriving,
    stored: Stored,
    /// When to look at all of them.
    next_look: Option<Instant>,
}

/// A request whose body is not there, or not measured.
#[derive(Debug)]
pub(in crate::hub) struct Beginning<'a> {
    pub key: ConnKey,
    pub envelope: &'a Envelope<'a>,
    pub head: &'a Head<'a>,
    /// How it arrives.
    pub arrives: Body,
    /// The file that it arrives in.
    pub spool: Option<&'a Path>,
    /// Where it will be for whoever answers, and the hub's own file for it.
    pub body: Body,
    pub file: Option<PathBuf>,
    /// What becomes of the connection if the body is read to its end.
    pub persistence: Persistence,
}

/// Why a body is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum NotIn {
    /// No body may be as large.
    BeyondUpload,
    /// It would be too much beside the others: what the log says.
    NoPlace(&'static str),
    /// It is one too many for its client's address.
    OfAddress(ClientAddress),
}

impl Bodies {
    /// When there is something to look at.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.next_look
    }

    /// Why a body is refused at its start; none: it is not.
    pub fn refusal(
        &self,
        cx: &Context,
        key: ConnKey,
        (envelope, head): (&Envelope<'_>, &Head<'_>),
    ) -> Option<NotIn> {
        let announced = head.spool_size.map_or(0, u64::from);
        if cx.limits.is_too_large(announced) {
            return Some(NotIn::BeyondUpload);
        }
        let client = cx.clients.address(&envelope.headers);
        if let Some(bound) = self.stored.bound(&cx.limits, announced, client) {
            return Some(NotIn::NoPlace(bound));
        }
        let client = client?;
        let arriving = self.streamed.of_client(client) + self.spooled.of_client(client, key);
        (arriving >= cx.limits.bodies_per_address).then_some(NotIn::OfAddress(client))
    }

    /// A body begins to arrive in a file of Mongrel2's.
    pub fn announce(
        &mut self,
        cx: &Context,
        key: ConnKey,
        (envelope, head): (&Envelope<'_>, &Head<'_>),
        path: PathBuf,
        now: Instant,
    ) {
        let client = cx.clients.address(&envelope.headers);
        self.spooled.announce(key, (envelope, head), path, client, now);
        self.next_look.get_or_insert(now + LOOK);
    }

    /// A request whose body is not there, or not measured, is about to take its place.
    pub fn begin(&mut self, cx: &mut Context, begun: Beginning<'_>, request: RequestId, now: Instant) {
        let Beginning { key, envelope, head, persistence, .. } = begun;
        match (begun.arrives, begun.body, begun.spool) {
            (Body::Parts, ..) => {
                self.streamed.begin(cx, key, (envelope, head), (request, begun.file, persistence), now);
                self.next_look.get_or_insert(now + LOOK);
            }
            (_, Body::Growing, _) => self.spooled.begin(key, request, persistence),
            (_, Body::Collected, Some(path)) => {
                self.spooled.measure_whole(cx, (key, path.to_owned()), request, persistence);
            }
            _ => {}
        }
    }

    /// The file that a worker may be reading already is whole. One in chunks has to be measured first.
    pub fn file_is_whole(
        &mut self,
        cx: &mut Context,
        announced: Announced,
        request: Option<&mut Request>,
        now: Instant,
    ) {
        let Announced { path, length, persistence, request: id, size, client, .. } = announced;
        let Some((id, request)) = id.zip(request) else {
            cx.effects.push_back(Effect::DeleteFile(path));
            return;
        };
        let conn = request.conn;
        request.spool = Some(path.clone());
        request.stored = Share { bytes: length.unwrap_or(size), client };
        if length.is_none() {
            self.spooled.measure_whole(cx, (conn, path), id, persistence);
        } else {
            // What a client pipelines behind it is in the file as well, and never answered.
            finish_file(cx, id, request, Persistence::Close, now);
        }
    }

    /// The size of a request's whole file; none: it is not there.
    pub fn file_is_measured(
        &mut self,
        cx: &mut Context,
        (key, path): (ConnKey, &Path),
        (id, request): (RequestId, &mut Request),
        (size, persistence): (Option<u64>, Persistence),
        now: Instant,
    ) {
        if request.spool.as_deref() != Some(path) {
            return;
        }
        let size = size.unwrap_or(0);
        request.stored.bytes = size;
        match cx.limits.is_too_large(size) {
            true => cx.events.push(Event::BodyEnds(key, Some(id), BodyEnd::TooLarge)),
            false => finish_file(cx, id, request, persistence, now),
        }
    }

    /// A worker's script waits for more of a body.
    pub fn want(
        &mut self,
        cx: &mut Context,
        (worker, serial): (WorkerId, u64),
        request: &mut Request,
        bytes: u32,
    ) {
        let Some(worker) = cx.workers.get_mut(worker) else { return };
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
                self.streamed.want(request.conn, bytes);
            }
            Body::Growing => {
                let key = request.conn;
                let path = self.spooled.want(key);
                cx.effects.extend(path.map(|path| Effect::Measure { key, path, whole: false }));
            }
            Body::Whole | Body::Collected => {}
        }
    }

    /// Answers a request whose body is not taken to its end, wherever the request is, and closes its connection.
    pub fn refuse(&mut self, cx: &mut Context, id: RequestId, request: &mut Request, status: u16) {
        let key = request.conn;
        request.persistence = Persistence::Close;
        if request.gone {
            return;
        }
        let mut freed = None;
        match request.place {
            Place::Pipeline if cx.outbox.conns.map.get(&key).is_none_or(|conn| conn.current != Some(id)) => {
                // In its turn.
                request.body = Body::Whole;
                self.streamed.forget_of(id, key);
                if let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
                    conn.take_no_more();
                }
                cx.events.push(Event::FailInTurn(id, status));
                return;
            }
            Place::Pipeline => {}
            Place::Queue => {
                for app in &mut cx.apps.list {
                    app.queue.retain(|waiting| *waiting != id);
                }
            }
            Place::Worker(worker, serial) => {
                if let Some(state) = cx.workers.get_mut(worker) {
                    state.jobs.remove(&serial);
                    encode_gone(&mut state.orders, serial);
                    freed = Some(worker);
                }
            }
        }
        cx.events.push(Event::Fail(id, status));
        cx.events.extend(freed.map(Event::WorkerHasRoom));
    }

    /// Ends a body of which more would come, with an answer.
    pub fn refuse_coming(&mut self, cx: &mut Context, key: ConnKey, request: Option<RequestId>, status: u16) {
        self.spooled.give_up(key);
        cx.events.push(match request {
            Some(request) => Event::RefuseBody(request, status),
            None => Event::Refuse(key, status),
        });
    }

    /// A request is forgotten: nobody takes the rest of its body.
    pub fn forget_by(&mut self, id: RequestId, key: ConnKey) {
        self.streamed.forget_of(id, key);
        self.spooled.abandon(key, id);
    }

    /// Whether an upload had begun by this connection and is not whole.
    pub fn is_incomplete(&self, key: ConnKey) -> bool {
        self.spooled.is_wanted(key) || self.streamed.is_under_way(key)
    }

    /// Finds out which bodies have stopped to come though nobody said so, and which come too slowly. `false`: it is not
    /// time to look.
    pub fn look(&mut self, cx: &mut Context, now: Instant) -> bool {
        let Some(due) = self.next_look.filter(|due| *due <= now) else { return false };
        let pause = now - due;
        if pause > LOOK {
            // The hub did not run, and did not hear what came meanwhile.
            self.streamed.excuse(pause);
            self.spooled.excuse(pause);
        }
        for (key, request, pace) in self.streamed.tardy(cx.limits.upload_rate, now) {
            let why = if pace == Pace::Slow { BodyEnd::TooSlow } else { BodyEnd::Lost };
            cx.events.push(Event::BodyEnds(key, Some(request), why));
        }
        true
    }

    /// Counts the bytes of all bodies, with those in the files of requests. While there are too many, the bodies that began
    /// last get 503.
    pub fn count(&mut self, cx: &mut Context, in_files: impl Iterator<Item = Share>) {
        self.stored = Stored::default();
        let mut coming = Vec::new();
        self.spooled.count(&mut self.stored, &mut coming);
        self.streamed.count(&mut self.stored, &mut coming);
        in_files.for_each(|share| self.stored.add(share));
        for (body, why) in self.stored.surplus(&cx.limits, coming) {
            cx.events.push(Event::BodyEnds(body.key, body.request, BodyEnd::NoPlace(why)));
        }
    }

    /// Has all files measured, and says when to look next.
    pub fn end_look(&mut self, cx: &mut Context, now: Instant) {
        self.spooled.measure_all(cx);
        let is_needed = !self.streamed.is_empty() || !self.spooled.is_empty() || !self.stored.is_empty();
        self.next_look = is_needed.then(|| now + LOOK);
    }
}

/// The body of a request is whole, wherever it is: its time runs, and its worker may have it.
pub(in crate::hub) fn complete(
    cx: &mut Context,
    id: RequestId,
    request: &mut Request,
    persistence: Persistence,
    now: Instant,
) {
    let waited = std::mem::replace(&mut request.body, Body::Whole) == Body::Collected;
    let Some(conn) = cx.outbox.conns.map.get_mut(&request.conn) else { return };
    if !request.begun {
        request.deadline = Some(now + cx.limits.request_timeout);
        if conn.ending == Ending::Open {
            request.persistence = persistence;
            if persistence == Persistence::Close && !request.raw {
                conn.take_no_more();
            }
        }
    }
    let goes_on = matches!(request.plan, Plan::Run { .. } | Plan::Call(_));
    if waited && goes_on && conn.current == Some(id) && request.place == Place::Pipeline {
        cx.events.push(Event::BodyIsThere(id));
    }
}

/// The file of a request is whole and not too large.
fn finish_file(
    cx: &mut Context,
    id: RequestId,
    request: &mut Request,
    persistence: Persistence,
    now: Instant,
) {
    let grows = request.body == Body::Growing;
    complete(cx, id, request, persistence, now);
    if !grows {
        return;
    }
    request.body = Body::Grown;
    if let Place::Worker(worker, serial) = request.place
        && !request.gone
        && let Some(worker) = cx.workers.get_mut(worker)
    {
        encode_grown(&mut worker.orders, serial, true, 0);
    }
}
