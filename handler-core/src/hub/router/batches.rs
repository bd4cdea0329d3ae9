//! What workers say.

use crate::hub::Hub;
use crate::hub::ids::{ConnKey, Job, WorkerId};
use crate::hub::workers::worker::Worker;
use crate::worker::protocol::{Action, Ids, Level, ProtocolError, split_frame};
use kennel_http::response::Response;
use std::time::Instant;
use tracing::{debug, error, info, warn};

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

    pub(in crate::hub) fn handle_action(&mut self, id: WorkerId, action: Action<'_>, now: Instant) {
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
                Some(Job::Live(live)) => {
                    self.with_live(now, |lives, cx| lives.live_done(cx, id, live, serial, now))
                }
                None => {}
            },
            Action::Done { serial } => match self.cx.take_job(id, serial) {
                Some(Job::Request(request)) => self.exchange.end_without_response(&mut self.cx, request, now),
                Some(Job::Live(live)) => {
                    self.with_live(now, |lives, cx| lives.live_done(cx, id, live, serial, now))
                }
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
                Some(Job::Live(live)) => {
                    self.with_live(now, |lives, cx| lives.live_done(cx, id, live, serial, now))
                }
                None => {}
            },
            Action::Pass { serial, worker, status, head, body } => match self.cx.take_job(id, serial) {
                Some(Job::Request(request)) => {
                    let otherwise = Response { status, head, body };
                    self.exchange.pass(&mut self.cx, (request, id), worker, otherwise, now);
                }
                Some(Job::Live(live)) => {
                    self.with_live(now, |lives, cx| lives.live_done(cx, id, live, serial, now))
                }
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
            | Action::Refuse { .. } => {
                self.with_live(now, |live, cx| live.handle_live_action(cx, id, action, now))
            }
        }
        self.settle(now);
    }

    pub(in crate::hub) fn deliver(&mut self, sender: &str, ids: Ids<'_>, payload: &[u8], now: Instant) {
        let keys = self.exchange.raw_targets(&mut self.cx, sender, ids, now);
        if !payload.is_empty() {
            self.multicast(&keys, payload, now);
        }
    }

    /// A line of a script, with the request or the connection that it was running for.
    pub(in crate::hub) fn log(&self, id: WorkerId, level: Level, serial: u64, text: &[u8], fields: &[u8]) {
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
    pub(in crate::hub) fn subject(&self, worker: &Worker, serial: u64) -> (Option<u64>, Option<ConnKey>) {
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
