//! What comes to the hub, handed to the parts: messages of Mongrel2s, and batches of workers.

use crate::hub::Hub;
use crate::hub::effect::Effect;
use crate::hub::ids::{AppId, ConnKey, Job, LinkId, RequestId, WorkerId};
use crate::hub::ledger::counters::Complaint;
use crate::hub::outbox::pacing::Pacer;
use crate::hub::request::{Asked, Body, Planned};
use crate::hub::workers::worker::Worker;
use crate::worker::protocol::{Action, Ids, Level, ProtocolError, split_frame};
use kennel_http::Persistence;
use kennel_http::response::Response;
use kennel_http::websocket::Opcode;
use mongrel2_wire::{ConnId, Envelope, Head, Kind, Sender, origin_form};
use rustc_hash::FxHashSet;
use std::path::Path;
use std::time::Instant;
use tracing::{debug, error, info, warn};

/// The most bytes of a bad message that a log line shows.
const SHOWN: usize = 80;

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
            self.drop_connection(*key, now);
        }
        self.cx.ledger.counters.purged += keys.len() as u64;
        let connections = keys.len().max(lives);
        warn!(link = link.0, connections, "mongrel2 is gone; its connections are closed");
    }

    /// One message of a Mongrel2.
    pub fn handle_message(&mut self, link: LinkId, message: &[u8], now: Instant) {
        self.cx.ledger.counters.messages += 1;
        let restated = self.cx.clients.restated_request(message, self.cx.apps.raw().is_some());
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
            self.cx.refuse(link, &envelope, "a conn id that cannot be addressed", now);
            return;
        };
        let incarnation = self.cx.servers[link].incarnation;
        let key = ConnKey { link, incarnation, id };
        let head = match Head::read(&envelope) {
            Ok(head) => head,
            Err(problem) => {
                self.cx.ledger.counters.malformed += 1;
                self.cx.refuse(link, &envelope, &problem.to_string(), now);
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
                let body = Body::Whole;
                let (envelope, head) = (&envelope, &head);
                self.handle_http(Asked { key, envelope, head, message, spool: None, body }, now);
            }
            Kind::Disconnect => self.handle_disconnect(key, message, now),
            Kind::Credits { bytes } => self.handle_credits(key, bytes, now),
            Kind::Refused(refusal) => {
                self.cx.refuse(link, &envelope, refusal.reason(), now);
                if envelope.path != b"@*" {
                    self.answer_at_once(key, 400, now);
                }
            }
            Kind::UploadStart
                if head.part.is_some() && self.handle_stream_start(key, &envelope, &head, message, now) => {}
            Kind::UploadPart if self.handle_part(key, &envelope, &head, now) => {}
            Kind::UploadStart | Kind::UploadDone
                if self.handle_upload(key, &envelope, &head, message, now) => {}
            _ if self.cx.outbox.is_finished(key) => {
                let is_pong = matches!(head.kind, Kind::Frame { flags } if Opcode::of(flags) == Opcode::Pong);
                if is_pong && envelope.body == Pacer::PING {
                    self.cx.outbox.note_late_pong(key);
                }
            }
            Kind::Handshake if self.cx.refuses_host(link, &envelope, now) => {
                self.answer_at_once(key, 421, now)
            }
            Kind::Handshake if let Some(fault) = head.fault => {
                self.cx.refuse(link, &envelope, fault.reason(), now);
                self.answer_at_once(key, 400, now);
            }
            Kind::Handshake if self.handle_handshake(key, (&envelope, &head), message, now) => {}
            Kind::Frame { .. } | Kind::Json | Kind::Xml
                if self.handle_live_message(key, &envelope, &head, message, now) => {}
            _ if self.cx.apps.raw().is_some() => {
                self.exchange.enqueue_raw(&mut self.cx, key, &head, message, now);
                self.settle(now);
            }
            Kind::UploadStart => {
                self.cx.refuse(link, &envelope, "a body beyond limits.content_length", now);
                self.answer_at_once(key, 413, now);
            }
            Kind::UploadDone | Kind::UploadPart => {}
            Kind::Handshake => {
                let status = self.status_without_channel(envelope.path);
                self.answer_at_once(key, status, now);
            }
            Kind::Frame { .. } | Kind::Json | Kind::Xml => {
                self.cx.refuse(link, &envelope, "no channel takes it", now);
                self.exchange.close_in_turn(&mut self.cx, key);
                self.settle(now);
            }
        }
    }

    /// An HTTP request.
    pub(in crate::hub) fn handle_http(&mut self, asked: Asked<'_>, now: Instant) {
        let Some(has_place) = self.exchange.hear(&mut self.cx, &asked, now) else { return };
        let method = asked.head.method.bytes();
        let mut persistence = Persistence::of(asked.head);
        if asked.spool.is_some() && asked.head.spool_size.is_some() {
            // Mongrel2 writes what a client pipelines behind such a body to the file as well: that is never answered,
            // so the client is told that there is no more.
            persistence = Persistence::Close;
        }
        let planned = if !has_place {
            persistence = Persistence::Close;
            self.exchange.refuse_behind(&mut self.cx, &asked, now)
        } else if asked.body == Body::Parts
            && let Some(refused) = self.refuse_at_start(&asked, now)
        {
            refused
        } else {
            self.exchange.plan(&mut self.cx, &asked, &method, now)
        };
        self.admit(&asked, planned, &method, persistence, now);
    }

    /// Puts a request behind the others of its connection.
    pub(in crate::hub) fn admit(
        &mut self,
        asked: &Asked<'_>,
        planned: Planned,
        method: &[u8],
        persistence: Persistence,
        now: Instant,
    ) {
        let admitted = self.exchange.admit(&mut self.cx, asked, planned, method, persistence, now);
        if let Some(body) = admitted.body {
            self.begin_body(asked, body, admitted.request, persistence, now);
        }
        self.exchange.enqueue_known(&mut self.cx, asked.key, admitted.request, now);
        self.settle(now);
    }

    fn answer_at_once(&mut self, key: ConnKey, status: u16, now: Instant) {
        self.exchange.answer_at_once(&mut self.cx, key, status, now);
        self.settle(now);
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

    /// A client is gone.
    pub(in crate::hub) fn handle_disconnect(&mut self, key: ConnKey, message: &[u8], now: Instant) {
        let ours = self.cx.outbox.conns.map.get(&key).is_some_and(|conn| conn.closed);
        self.exchange.note_cut(&mut self.cx, key, now);
        self.note_broken_upload(key, now);
        if self.live_disconnected(key, now) {
            self.drop_connection(key, now);
            return;
        }
        self.drop_connection(key, now);
        if !ours && self.exchange.pass_disconnect(&mut self.cx, key, message, now).is_some() {
            self.exchange.advance(&mut self.cx, key, now);
            self.settle(now);
        }
        self.exchange.raw_clients.forget(key);
    }

    /// Forgets a connection whose client is gone. Requests that nobody started are dropped with
    /// it; what runs is left to end, and its answer is not sent. Raw messages still reach their script.
    pub(in crate::hub) fn drop_connection(&mut self, key: ConnKey, now: Instant) {
        self.bodies.spooled.forget(key);
        self.exchange.drop_requests(&mut self.cx, key);
        if let Some(id) = self.cx.outbox.conns.map.get(&key).and_then(|conn| conn.carries) {
            self.live.stream_gone(id, key);
        }
        self.exchange.forget_connection(&mut self.cx, key);
        self.settle(now);
    }

    /// What [`Effect::ReadFile`] came to: what is in the file, or why that cannot be had.
    pub fn handle_read(
        &mut self,
        request: RequestId,
        path: &Path,
        result: Result<Vec<u8>, String>,
        now: Instant,
    ) {
        self.exchange.take_file(&mut self.cx, request, path, result, now);
        self.settle(now);
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
}

impl Hub {
    /// One whole batch of a worker's actions, in order.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] when it makes no sense; the worker should be killed then. What came before
    /// the error is done.
    pub fn handle_batch(
        &mut self,
        id: WorkerId,
        mut frames: &[u8],
        now: Instant,
    ) -> Result<(), ProtocolError> {
        let mut skipped = Vec::new();
        let result = loop {
            let Some((kind, payload, rest)) = split_frame(frames) else { break Ok(()) };
            frames = rest;
            match Action::read(kind, payload) {
                Ok(Action::Skipped { serial }) => {
                    skipped.extend(self.cx.take_job(id, serial).map(|job| (serial, job)));
                }
                Ok(action) => self.handle_action(id, action, now),
                Err(problem) => break Err(problem),
            }
        };
        self.take_back_all(id, &skipped, now);
        result?;
        if !frames.is_empty() {
            return Err(ProtocolError::Truncated { kind: frames[0] });
        }
        if let Some(worker) = self.cx.workers.get_mut(id) {
            worker.spoke = true;
            let app = worker.app;
            self.fill(id, app, now);
        }
        Ok(())
    }

    /// A worker has not started these jobs, and will not; they are in the order in which it would have. What was next keeps its
    /// turn.
    pub(in crate::hub) fn take_back_all(&mut self, worker: WorkerId, jobs: &[(u64, Job)], now: Instant) {
        let Some((_, first)) = jobs.first() else { return };
        for (serial, job) in jobs.iter().rev() {
            match job {
                Job::Request(request) => {
                    self.exchange.requeue(&mut self.cx, *request, now);
                    self.settle(now);
                }
                Job::Live(live) => self.live_returned(worker, *live, *serial),
            }
        }
        let Some(state) = self.cx.workers.get_mut(worker) else { return };
        state.request_is_next = matches!(first, Job::Request(_));
        let lives = jobs.iter().filter_map(|(_, job)| match job {
            Job::Live(live) => Some(*live),
            Job::Request(_) => None,
        });
        let returned: FxHashSet<_> = lives.clone().collect();
        // Some have come to an end instead.
        let mut waiting = FxHashSet::default();
        state.listed.retain(|live| !(returned.contains(live) && waiting.insert(*live)));
        let first_ones: Vec<_> = lives.filter(|live| waiting.remove(live)).collect();
        first_ones.into_iter().rev().for_each(|live| state.listed.push_front(live));
    }

    fn handle_action(&mut self, id: WorkerId, action: Action<'_>, now: Instant) {
        if !self.cx.workers.contains(id) {
            return;
        }
        match action {
            Action::Ready(registration) => self.handle_ready(id, registration, now),
            Action::Failed(failure) => self.handle_failed(id, failure, now),
            Action::Respond { serial, status, head, body } => match self.cx.take_job(id, serial) {
                Some(Job::Request(request)) => {
                    self.exchange.respond(&mut self.cx, request, Response { status, head, body }, now);
                }
                Some(Job::Live(live)) => self.live_done(id, live, serial, now),
                None => {}
            },
            Action::Done { serial } => match self.cx.take_job(id, serial) {
                Some(Job::Request(request)) => self.exchange.end_without_response(&mut self.cx, request, now),
                Some(Job::Live(live)) => self.live_done(id, live, serial, now),
                None => {}
            },
            Action::Begin { serial, status, head } => {
                self.exchange.begin_stream(&mut self.cx, (id, serial), status, head, now);
            }
            Action::Piece { serial, bytes } => {
                self.exchange.stream_piece(&mut self.cx, (id, serial), bytes, now);
            }
            Action::End { serial } | Action::Abort { serial } => match self.cx.take_job(id, serial) {
                Some(Job::Request(request)) => {
                    let whole = matches!(action, Action::End { .. });
                    self.exchange.finish_stream(&mut self.cx, request, whole, now);
                }
                Some(Job::Live(live)) => self.live_done(id, live, serial, now),
                None => {}
            },
            Action::Pass { serial, worker, status, head, body } => match self.cx.take_job(id, serial) {
                Some(Job::Request(request)) => {
                    let otherwise = Response { status, head, body };
                    self.exchange.pass(&mut self.cx, (request, id), worker, otherwise, now);
                }
                Some(Job::Live(live)) => self.live_done(id, live, serial, now),
                None => {}
            },
            Action::Want { serial, bytes } => self.handle_want(id, serial, bytes),
            Action::Skipped { .. } => unreachable!("handled with the batch"),
            Action::Deliver { sender, ids, payload } => self.deliver(sender, ids, payload, now),
            Action::Disconnect { sender, ids } => {
                for key in self.exchange.raw_targets(&mut self.cx, sender, ids, now) {
                    self.cx.close(key);
                }
            }
            Action::Evaluated { query, ok, text } => self.handle_evaluated(id, query, ok, text),
            Action::Log { level, serial, text, fields } => self.log(id, level, serial, text, fields),
            Action::Send { .. }
            | Action::CloseConn { .. }
            | Action::Join { .. }
            | Action::Leave { .. }
            | Action::Publish { .. }
            | Action::CloseRoom { .. }
            | Action::SetData { .. }
            | Action::Query { .. }
            | Action::Accept { .. }
            | Action::Refuse { .. } => self.handle_live_action(id, action, now),
        }
        self.settle(now);
    }

    /// Gives waiting requests and live connections of an app to workers that have room.
    pub(in crate::hub) fn assign_waiting(&mut self, app: AppId, now: Instant) {
        if !self.cx.apps[app].orphans.is_empty() && self.cx.least_loaded(app).is_some() {
            self.live.adopt_orphans(&mut self.cx, app, now);
            self.settle(now);
        }
        self.exchange.assign_waiting(&mut self.cx, app, now);
        self.settle(now);
    }

    /// Gives a worker that has room again what waits for it. Requests and the messages of live connections take turns, and so
    /// do the connections, whatever time each takes.
    pub(in crate::hub) fn fill(&mut self, id: WorkerId, app: AppId, now: Instant) {
        while let Some(worker) = self.cx.workers.get_mut(id) {
            let has_both = !worker.listed.is_empty() && {
                let has_room = worker.has_room(self.cx.limits.worker_jobs) && !worker.is_leaving();
                has_room && self.exchange.has_waiting(&self.cx, app, id)
            };
            let Some(worker) = self.cx.workers.get_mut(id).filter(|_| has_both) else { break };
            let request_is_next = worker.request_is_next;
            worker.request_is_next = !request_is_next;
            if request_is_next {
                self.exchange.assign_next(&mut self.cx, app, id, now);
            } else {
                self.live.pump_next(&mut self.cx, id, now);
                self.settle(now);
            }
        }
        self.live.pump_listed(&mut self.cx, id, now);
        self.settle(now);
        self.assign_waiting(app, now);
    }

    /// Gives workers with room what waits, in case that nothing else has.
    pub(in crate::hub) fn fill_all(&mut self, now: Instant) {
        for app in self.app_ids() {
            for seat in 0..self.cx.apps[app].seats.len() {
                let state = &self.cx.apps[app];
                let Some(id) = state.seats.get(seat).and_then(|seat| seat.worker) else { continue };
                let has_listed = self.cx.workers.get(id).is_some_and(|worker| !worker.listed.is_empty());
                if !state.queue.is_empty() || has_listed {
                    self.fill(id, app, now);
                }
            }
        }
    }

    fn deliver(&mut self, sender: &str, ids: Ids<'_>, payload: &[u8], now: Instant) {
        let keys = self.exchange.raw_targets(&mut self.cx, sender, ids, now);
        if !payload.is_empty() {
            self.multicast(&keys, payload, now);
        }
    }

    /// A line of a script, with the request or the connection that it was running for.
    fn log(&self, id: WorkerId, level: Level, serial: u64, text: &[u8], fields: &[u8]) {
        let Some(worker) = self.cx.workers.get(id) else { return };
        let app = &self.cx.apps[worker.app].spec.name;
        // A line feed in what a script logs must not look like a line of the log.
        let text = String::from_utf8_lossy(text).replace('\n', "\n    ");
        let fields = String::from_utf8_lossy(fields);
        let fields = Some(&*fields).filter(|f| !f.is_empty()).map(tracing::field::display);
        let (worker, (request, key)) = (worker.number, self.subject(worker, serial));
        let (link, conn) = (key.map(|key| key.link.0), key.map(|key| key.id.get()));
        let about = match level {
            Level::Debug | Level::Info => None,
            Level::Warn | Level::Error => self.about_job(id, serial),
        };
        let (method, path) = about.map_or((None, None), |about| (about.method, about.path));
        let (method, path) = (method.as_deref(), path.as_deref());
        // What the line is about stands before a traceback, not behind it.
        let (first, details) = match text.split_once('\n') {
            Some((first, rest)) => (first, Some(tracing::field::display(rest))),
            None => (&*text, None),
        };
        match level {
            Level::Debug => debug!(target: "script", app, worker, link, conn, request, fields, "{text}"),
            Level::Info => info!(target: "script", app, worker, link, conn, request, fields, "{text}"),
            Level::Warn => {
                warn!(target: "script", app, worker, link, conn, request, method, path, fields, details, "{first}");
            }
            Level::Error => {
                error!(target: "script", app, worker, link, conn, request, method, path, fields, details, "{first}");
            }
        }
    }

    /// What a worker's job is about: the number of a request, a connection.
    fn subject(&self, worker: &Worker, serial: u64) -> (Option<u64>, Option<ConnKey>) {
        match worker.jobs.get(&serial) {
            Some(Job::Request(request)) => {
                let request = self.exchange.requests.get(*request);
                (request.and_then(|request| request.shown()), request.map(|request| request.conn))
            }
            Some(Job::Live(live)) => (None, self.live.glimpse(*live).map(|glimpse| glimpse.key)),
            None => (None, None),
        }
    }
}
