//! Requests whose bodies do not come whole in one message: what exchange and bodies have to do with each other.

use crate::hub::Hub;
use crate::hub::bodies::progress::LOST;
use crate::hub::bodies::streamed::Taken;
use crate::hub::effect::Effect;
use crate::hub::event::Event;
use crate::hub::exchange::complain_of_overload;
use crate::hub::ids::{ConnKey, Job, LinkId, RequestId, WorkerId};
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::request::{Asked, Body, BodyEnd, Plan, Request};
use kennel_http::Persistence;
use mongrel2_wire::reply::Control;
use mongrel2_wire::{Envelope, Head, Kind};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the loop says.
impl Hub {
    /// Takes uploads of this server from now on: the folder of its `upload.temp_store`, as seen from here and by
    /// workers.
    pub fn set_upload_store(&mut self, link: LinkId, folder: PathBuf) {
        self.bodies.spooled.set_store(link, folder);
    }

    /// Takes bodies that come in parts from now on, and puts those that are not read as they come into this folder, which
    /// is nobody else's.
    pub fn set_body_folder(&mut self, folder: PathBuf) {
        self.cx.body_files.folder = Some(folder);
    }

    /// What [`Effect::WriteFile`] came to: how many bytes were written, or why not.
    pub fn handle_written(&mut self, key: ConnKey, path: &Path, result: Result<usize, String>, now: Instant) {
        let outcome = result.as_ref().map(|bytes| *bytes).map_err(String::as_str);
        let failed = self.bodies.streamed.written(&mut self.cx, key, path, outcome);
        if let (Some(request), Err(problem)) = (failed, result) {
            if self.exchange.requests.contains_key(request) {
                let about = self.about(request);
                let path = path.display();
                log_about!(error, about, status = 500, "cannot write a body to {path}: {problem}");
            }
            self.refuse_body(request, 500, now);
        }
        self.settle(now);
    }

    /// What [`Effect::Measure`] came to: the size of the file, bytes; none: it is not there.
    pub fn handle_measured(
        &mut self,
        key: ConnKey,
        path: &Path,
        whole: bool,
        size: Option<u64>,
        now: Instant,
    ) {
        if whole {
            let Some((id, persistence)) = self.bodies.spooled.take_unmeasured(path) else { return };
            let Some(request) = self.exchange.requests.get_mut(id) else { return };
            let (file, measured) = ((key, path), (size, persistence));
            self.bodies.file_is_measured(&mut self.cx, file, (id, request), measured, now);
        } else {
            let id = self.bodies.spooled.request(key);
            let request = id.and_then(|id| self.exchange.requests.get(id));
            self.bodies.spooled.measured(&mut self.cx, (key, path), size, request, now);
        }
        self.settle(now);
    }

    /// How many uploads are kept in mind.
    #[cfg(test)]
    pub(in crate::hub) fn remembered_uploads(&self) -> usize {
        self.bodies.spooled.remembered()
    }
}

/// What Mongrel2 says.
impl Hub {
    /// A body begins to arrive in a file, or is whole. `false`: this server has no store for that.
    pub(in crate::hub) fn handle_upload(
        &mut self,
        key: ConnKey,
        envelope: &Envelope<'_>,
        head: &Head<'_>,
        message: &[u8],
        now: Instant,
    ) -> bool {
        let Some(name) = head.spool_file else { return false };
        let Some(path) = self.bodies.spooled.path(key.link, &name.bytes()) else { return false };
        let is_start = head.kind == Kind::UploadStart;
        let body = if is_start { Body::Growing } else { Body::Whole };
        let mut asked = Asked { key, envelope, head, message, spool: Some(path.clone()), body };
        self.exchange.make_room_for_next(&mut self.cx, key);
        if is_start {
            self.upload_started(&asked, path, now);
            return true;
        }
        match self.bodies.spooled.complete(key, &path) {
            None => {
                // It began before this hub did, or somebody guessed the name of a file.
                self.cx.refuse(key.link, envelope, "an upload that nobody saw begin", now);
                self.cx.events.push(Event::Refuse(key, 503));
                self.settle(now);
            }
            Some(announced) if announced.request.is_some() => {
                let request = announced.request.and_then(|id| self.exchange.requests.get_mut(id));
                self.bodies.file_is_whole(&mut self.cx, announced, request, now);
                self.settle(now);
            }
            Some(announced) if announced.abandoned || self.cx.outbox.is_finished(key) => {
                self.cx.effects.push_back(Effect::DeleteFile(path));
            }
            Some(announced) => {
                if announced.length.is_none() {
                    asked.body = Body::Collected;
                }
                self.handle_http(asked, now);
            }
        }
        true
    }

    /// Says at once what the body would not change. A file that is refused is remembered too: if it is completed
    /// before the connection is closed it has to be deleted.
    pub(in crate::hub) fn upload_started(&mut self, asked: &Asked<'_>, path: PathBuf, now: Instant) {
        let key = asked.key;
        if asked.head.first_credits.is_some() {
            self.cx.servers[key.link].flow_control = true;
        }
        self.bodies.announce(&self.cx, key, (asked.envelope, asked.head), path, now);
        if self.cx.outbox.is_finished(key) {
            return;
        }
        let method = asked.head.method.bytes();
        let planned = match self.refuse_at_start(asked, now) {
            Some(refused) => refused,
            None => self.exchange.plan(&mut self.cx, asked, &method, now),
        };
        if let Plan::Run { .. } | Plan::Call(_) = planned.plan {
            if planned.body != Body::Growing {
                self.exchange.recycle(planned.plan);
                return;
            }
            self.cx.ledger.counters.requests += 1;
        } else {
            self.bodies.spooled.give_up(key);
        }
        self.admit(asked, planned, &method, Persistence::of(asked.head), now);
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
        if self.cx.body_files.folder.is_none() && self.cx.apps.raw().is_some() {
            return false;
        }
        if self.bodies.streamed.is_known(key) {
            self.cx.refuse(key.link, envelope, "a body within a body", now);
            self.break_off(key, now);
            return true;
        }
        let asked = Asked { key, envelope, head, message, spool: None, body: Body::Parts };
        self.handle_http(asked, now);
        true
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
        let request = self.bodies.streamed.request(key);
        let request = request.and_then(|id| self.exchange.requests.get_mut(id));
        match self.bodies.streamed.take(&mut self.cx, key, (part, envelope.body), request, now) {
            Taken::Fits => self.settle(now),
            Taken::Unexpected if self.cx.outbox.is_finished(key) => {}
            Taken::Unexpected if self.cx.apps.raw().is_some() => return false,
            Taken::Unexpected => {
                self.cx.refuse(key.link, envelope, "a part of a body that nobody waits for", now);
                self.cx.outbox.control_one(&self.cx.servers, key, Control::Cancel);
            }
            Taken::Wrong(problem) => {
                self.cx.refuse(key.link, envelope, problem, now);
                self.break_off(key, now);
            }
            Taken::TooLarge(request) => {
                self.cx.refuse(key.link, envelope, "a body beyond limits.upload", now);
                self.refuse_body(request, 413, now);
            }
        }
        true
    }
}

/// What requests and bodies say to each other.
impl Hub {
    /// A worker's script waits for more of a body.
    pub(in crate::hub) fn handle_want(&mut self, id: WorkerId, serial: u64, bytes: u32) {
        let job = self.cx.workers.get(id).and_then(|worker| worker.jobs.get(&serial));
        let Some(Job::Request(request)) = job else { return };
        let Some(request) = self.exchange.requests.get_mut(*request) else { return };
        self.bodies.want(&mut self.cx, (id, serial), request, bytes);
    }

    /// Grants what the takers of bodies have room for.
    pub(in crate::hub) fn grant_credits(&mut self, now: Instant) {
        self.bodies.streamed.grant_credits(&mut self.cx, now);
    }

    /// Finds out which bodies have stopped to come though nobody said so, which come too slowly, and which have become too
    /// large, alone or all together.
    pub(in crate::hub) fn look_at_bodies(&mut self, now: Instant) {
        if !self.bodies.look(&mut self.cx, now) {
            return;
        }
        self.settle(now);
        let in_files = self.exchange.requests.values().map(|request| request.stored);
        self.bodies.count(&mut self.cx, in_files);
        self.settle(now);
        self.bodies.end_look(&mut self.cx, now);
    }

    /// A body has come to its end before it was whole: the log says why, and the client gets its response.
    pub(in crate::hub) fn end_body(
        &mut self,
        key: ConnKey,
        request: Option<RequestId>,
        why: BodyEnd,
        now: Instant,
    ) {
        let status = match why {
            BodyEnd::TooLarge => {
                self.cx.ledger.counters.refused += 1;
                if self.cx.ledger.complaints.pass(Complaint::Refused, now) {
                    let about = self.about_body(key);
                    log_about!(warn, about, status = 413, "refused: a body beyond limits.upload");
                }
                413
            }
            BodyEnd::TooSlow => {
                self.cx.ledger.counters.refused += 1;
                if self.cx.ledger.complaints.pass(Complaint::Cut, now) {
                    let about = self.about_body(key);
                    log_about!(
                        warn,
                        about,
                        status = 408,
                        "408 Request Timeout: a body brought less than limits.upload_rate for {LOST:?}"
                    );
                }
                408
            }
            BodyEnd::NoPlace(bound) => {
                self.cx.ledger.counters.overloaded += 1;
                if self.cx.ledger.complaints.pass(Complaint::Overload, now) {
                    complain_of_overload(&self.about_body(key), bound);
                }
                503
            }
            BodyEnd::Lost => {
                let about = self.about_body(key);
                log_about!(warn, about, "a body has not gone on for {LOST:?}: its client is given up");
                self.break_off(key, now);
                return;
            }
        };
        self.bodies.refuse_coming(&mut self.cx, key, request, status);
    }

    /// Answers a request whose body is not taken to its end, wherever the request is, and closes its connection.
    pub(in crate::hub) fn refuse_body(&mut self, id: RequestId, status: u16, now: Instant) {
        if let Some(request) = self.exchange.requests.get_mut(id) {
            self.bodies.refuse(&mut self.cx, id, request, status);
            self.settle(now);
        }
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

    /// Ends a connection whose body makes no sense any more, as if its client had left.
    pub(in crate::hub) fn break_off(&mut self, key: ConnKey, now: Instant) {
        self.cx.outbox.control_one(&self.cx.servers, key, Control::Cancel);
        self.drop_connection(key, now);
        self.exchange.raw_clients.forget(key);
        self.cx.outbox.conns.end(key, now);
    }
}
