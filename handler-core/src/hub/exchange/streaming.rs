//! Answers in pieces: begun, gone on with, ended or cut short by their worker.

use crate::hub::Hub;
use crate::hub::ids::Job;
use crate::hub::ids::{ConnKey, LinkId, RequestId, WorkerId};
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::outbox::connection::Conn;
use crate::hub::outbox::stream::Stream;
use crate::hub::request::Place;
use crate::worker::protocol::{STREAM_WINDOW, encode_gone};
use kennel_http::Persistence;
use kennel_http::response::Form;
use kennel_http::stream::Opening;
use std::time::Instant;
use tracing::warn;

impl Hub {
    /// The request whose answer a worker goes on with, if the client still wants it.
    fn request_of(&self, id: WorkerId, serial: u64) -> Option<RequestId> {
        match self.cx.workers.get(id)?.jobs.get(&serial)? {
            Job::Request(key) => {
                let request = &self.exchange.requests[*key];
                (request.http && !request.gone).then_some(*key)
            }
            Job::Live(_) => None,
        }
    }

    /// The head of an answer whose body will follow. From now on it may take as long as it likes.
    pub(in crate::hub) fn begin_stream(
        &mut self,
        id: WorkerId,
        serial: u64,
        status: u16,
        head: &[u8],
        now: Instant,
    ) {
        let Some(key) = self.request_of(id, serial) else { return };
        if self.exchange.requests[key].begun {
            self.give_up(id, serial, "it was begun twice", now);
            return;
        }
        let with_cookie = self.head_with_cookie(key, head);
        let head = with_cookie.as_deref().unwrap_or(head);
        let request = &mut self.exchange.requests[key];
        let flow_control = self.cx.servers[request.conn.link].flow_control;
        let Some(conn) = self.cx.outbox.conns.map.get_mut(&request.conn).filter(|conn| !conn.is_ending())
        else {
            self.lose_client(key);
            return;
        };
        let persistence = match self.cx.stopping {
            Some(_) if request.persistence == Persistence::Open => Persistence::Close,
            _ => request.persistence,
        };
        let form = Form { head_only: request.head_only, persistence, date: &self.cx.date };
        let opening = Opening { status, head };
        match conn.out.append(|out| opening.encode(out, form, request.takes_chunks)) {
            Ok((framing, persistence)) => {
                request.persistence = persistence;
                request.begun = true;
                request.deadline = None;
                let conn = request.conn;
                let announced = if form.head_only { opening.content_length().ok().flatten() } else { None };
                self.start_body(conn, Stream::new(id, serial, framing, flow_control).announcing(announced));
                self.cx.ledger.traffic.answered(
                    self.exchange.requests[key].meter,
                    self.exchange.requests[key].since,
                    status,
                    now,
                );
                self.cx.ledger.taps.note_answer(key, status, now);
                self.cx.outbox.mark_dirty(conn);
                if let Some(worker) = self.cx.workers.get_mut(id) {
                    worker.has_answered = true;
                }
            }
            Err(problem) => self.give_up(id, serial, &problem.to_string(), now),
        }
    }

    fn start_body(&mut self, key: ConnKey, stream: Stream) {
        if stream.may_be_cut() {
            self.warn_of_cuts(key.link);
        }
        if let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) {
            conn.stream = Some(Box::new(stream));
        }
    }

    /// Says once in a run of a server that it may cut long responses off.
    fn warn_of_cuts(&mut self, link: LinkId) {
        let state = &mut self.cx.servers[link];
        if !state.flow_control && !std::mem::replace(&mut state.warned, true) {
            warn!(
                link = link.0,
                "this mongrel2 runs without download.flow_control: it cuts off clients that read long streams slowly; set it to 1"
            );
        }
    }

    /// A client is gone. When it had a part of a response, the server may have cut it off.
    pub(in crate::hub) fn note_cut(&mut self, key: ConnKey, now: Instant) {
        let state = &self.cx.servers[key.link];
        let has_part = |conn: &Conn| conn.stream.is_some() && !conn.gone && !conn.closed;
        if !state.flow_control
            && self.cx.outbox.conns.map.get(&key).is_some_and(has_part)
            && self.cx.ledger.complaints.pass(Complaint::Cut, now)
        {
            let about = self.about_connection(key);
            log_about!(
                warn,
                about,
                "a client is gone in the middle of a response: it has left, or mongrel2 cut it off for reading slowly, as it does without download.flow_control"
            );
        }
    }

    /// A piece of a body.
    pub(in crate::hub) fn stream_piece(&mut self, id: WorkerId, serial: u64, piece: &[u8], now: Instant) {
        let Some(key) = self.request_of(id, serial) else { return };
        let (request, request_key) = (&self.exchange.requests[key], key);
        if !request.begun {
            self.give_up(id, serial, "a piece came before its beginning", now);
            return;
        }
        let key = request.conn;
        let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) else { return };
        let Some(stream) = &mut conn.stream else { return };
        let (waiting, overlong) = (stream.waiting(), stream.overlong);
        let bound = self.cx.limits.connection_output.max(STREAM_WINDOW);
        // A worker that keeps to its window may send a piece of any size when nothing waits.
        if waiting > 0 && waiting + piece.len() > bound {
            conn.out = Default::default();
            self.cx.ledger.counters.overflowed += 1;
            self.cx.ledger.counters.cut_short += 1;
            if self.cx.ledger.complaints.pass(Complaint::Overflow, now) {
                let about = self.about(request_key);
                log_about!(
                    warn,
                    about,
                    waiting,
                    "a response is cut short: its worker does not wait for the client"
                );
            }
            self.close_connection(key);
            return;
        }
        stream.push(piece);
        if stream.overlong && !overlong {
            let about = self.about(request_key);
            log_about!(warn, about, "a response is longer than its Content-Length: the rest is left out");
        }
        self.cx.outbox.mark_dirty(key);
    }

    /// The worker has said all. `whole`: it says that this is the answer; otherwise the client is to see that it
    /// is not.
    pub(in crate::hub) fn finish_stream(&mut self, id: WorkerId, serial: u64, whole: bool, now: Instant) {
        match self.take_job(id, serial) {
            Some(Job::Request(request)) if self.exchange.requests[request].begun => {
                self.end_stream(request, whole, now);
            }
            Some(Job::Request(request)) => self.answer_with(request, 500, now),
            Some(Job::Live(live)) => self.live_done(id, live, serial, now),
            None => {}
        }
    }

    /// The answer of a worker that has lost its way is no answer.
    fn give_up(&mut self, id: WorkerId, serial: u64, problem: &str, now: Instant) {
        if let Some(Job::Request(request)) = self.take_job(id, serial) {
            let about = self.about(request);
            log_about!(warn, about, status = 500, "a response in pieces is given up: {problem}");
            self.answer_with(request, 500, now);
        }
    }

    /// Ends a begun answer, whose job no worker holds any longer.
    pub(in crate::hub) fn end_stream(&mut self, key: RequestId, whole: bool, now: Instant) {
        let about = self.is_short(key, whole).then(|| self.about(key));
        if let Some((announced, body)) = self.misfit(key, whole) {
            let about = self.about(key);
            log_about!(
                warn,
                about,
                announced,
                body,
                "a response to HEAD announces another Content-Length than its body has"
            );
        }
        let request = self.remove_request(key);
        let conn = self.cx.outbox.conns.map.get_mut(&request.conn).filter(|_| !request.gone);
        let Some((conn, stream)) = conn.and_then(|conn| conn.stream.take().map(|stream| (conn, stream)))
        else {
            self.cx.ledger.counters.answers_too_late += 1;
            self.leave(request.conn, key, now);
            return;
        };
        let complete = conn.out.append(|out| stream.finish(out, whole));
        if complete {
            self.cx.ledger.counters.answers += 1;
        } else {
            self.cx.ledger.counters.cut_short += 1;
            if let Some(about) = about {
                log_about!(warn, about, "a response is shorter than its Content-Length");
            }
        }
        if !complete || request.persistence == Persistence::Close || self.cx.stopping.is_some() {
            conn.closing = true;
            for waiting in std::mem::take(&mut conn.waiting) {
                self.remove_request(waiting);
            }
        }
        self.cx.outbox.mark_dirty(request.conn);
        self.leave(request.conn, key, now);
    }

    /// Whether a worker ends a response before all of its announced length is there.
    fn is_short(&self, key: RequestId, whole: bool) -> bool {
        let conn = self.cx.outbox.conns.map.get(&self.exchange.requests[key].conn);
        whole && conn.and_then(|conn| conn.stream.as_ref()).is_some_and(|stream| stream.is_short())
    }

    /// A whole response to HEAD whose Content-Length is not that of its body: both.
    fn misfit(&self, key: RequestId, whole: bool) -> Option<(u64, u64)> {
        let conn = self.cx.outbox.conns.map.get(&self.exchange.requests[key].conn).filter(|_| whole)?;
        conn.stream.as_ref()?.misfit()
    }

    /// Nobody waits for the answer of a request any more: its worker may want to know.
    pub(in crate::hub) fn lose_client(&mut self, key: RequestId) {
        let request = &mut self.exchange.requests[key];
        if std::mem::replace(&mut request.gone, true) || !request.http || request.raw {
            return;
        }
        if let Place::Worker(id, serial) = request.place
            && let Some(worker) = self.cx.workers.get_mut(id)
        {
            encode_gone(&mut worker.orders, serial);
        }
    }
}
