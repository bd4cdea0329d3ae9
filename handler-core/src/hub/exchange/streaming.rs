//! Answers in pieces: begun, gone on with, ended or cut short by their worker.

use super::Exchange;
use super::respond::head_with_cookie;
use crate::hub::context::Context;
use crate::hub::ids::{ConnKey, Job, LinkId, RequestId, WorkerId};
use crate::hub::ledger::about::{About, log_about};
use crate::hub::ledger::counters::Complaint;
use crate::hub::outbox::connection::Conn;
use crate::hub::outbox::stream::Stream;
use crate::worker::protocol::STREAM_WINDOW;
use kennel_http::response::Form;
use kennel_http::stream::Opening;
use std::time::Instant;
use tracing::warn;

impl Exchange {
    /// The request whose answer a worker goes on with, if the client still wants it.
    fn request_of(&self, cx: &Context, id: WorkerId, serial: u64) -> Option<RequestId> {
        match cx.workers.get(id)?.jobs.get(&serial)? {
            Job::Request(key) => {
                let request = self.requests.get(*key)?;
                (request.http && !request.gone).then_some(*key)
            }
            Job::Live(_) => None,
        }
    }

    /// The head of an answer whose body will follow. From now on it may take as long as it likes.
    pub(in crate::hub) fn begin_stream(
        &mut self,
        cx: &mut Context,
        (id, serial): (WorkerId, u64),
        status: u16,
        head: &[u8],
        now: Instant,
    ) {
        let Some(key) = self.request_of(cx, id, serial) else { return };
        let Some(request) = self.requests.get_mut(key) else { return };
        if request.begun {
            self.give_up(cx, (id, serial), "it was begun twice", now);
            return;
        }
        let with_cookie = head_with_cookie(cx, request, head);
        let head = with_cookie.as_deref().unwrap_or(head);
        let flow_control = cx.servers[request.conn.link].flow_control;
        let persistence = cx.persistence(request.persistence);
        let Some(conn) = cx.outbox.conns.map.get_mut(&request.conn).filter(|conn| !conn.is_ending()) else {
            self.lose_client(cx, key);
            return;
        };
        let form = Form { head_only: request.head_only, persistence, date: &cx.date };
        let opening = Opening { status, head };
        match conn.out.append(|out| opening.encode(out, form, request.takes_chunks)) {
            Ok((framing, persistence)) => {
                request.persistence = persistence;
                request.begun = true;
                request.deadline = None;
                let announced = if form.head_only { opening.content_length().ok().flatten() } else { None };
                let stream = Stream::new(id, serial, framing, flow_control).announcing(announced);
                let may_be_cut = stream.may_be_cut();
                conn.stream = Some(Box::new(stream));
                if may_be_cut {
                    warn_of_cuts(cx, request.conn.link);
                }
                cx.ledger.traffic.answered(request.meter, request.since, status, now);
                cx.ledger.taps.note_answer(key, status, now);
                cx.outbox.mark_dirty(request.conn);
                if let Some(worker) = cx.workers.get_mut(id) {
                    worker.has_answered = true;
                }
            }
            Err(problem) => self.give_up(cx, (id, serial), &problem.to_string(), now),
        }
    }

    /// A client is gone. When it had a part of a response, the server may have cut it off.
    pub(in crate::hub) fn note_cut(&self, cx: &mut Context, key: ConnKey, now: Instant) {
        let has_part = |conn: &&Conn| conn.stream.is_some() && !conn.is_over();
        let Some(conn) = cx.outbox.conns.map.get(&key).filter(has_part) else { return };
        if !cx.servers[key.link].flow_control && cx.ledger.complaints.pass(Complaint::Cut, now) {
            let request = conn.current.and_then(|current| self.requests.get(current));
            let about = request.map_or_else(|| About::connection(key), |request| cx.about_request(request));
            log_about!(
                warn,
                about,
                "a client is gone in the middle of a response: it has left, or mongrel2 cut it off for reading slowly, as it does without download.flow_control"
            );
        }
    }

    /// A piece of a body.
    pub(in crate::hub) fn stream_piece(
        &mut self,
        cx: &mut Context,
        (id, serial): (WorkerId, u64),
        piece: &[u8],
        now: Instant,
    ) {
        let request = self.request_of(cx, id, serial).and_then(|key| self.requests.get(key));
        let Some(request) = request else { return };
        if !request.begun {
            self.give_up(cx, (id, serial), "a piece came before its beginning", now);
            return;
        }
        let key = request.conn;
        let Some(conn) = cx.outbox.conns.map.get_mut(&key) else { return };
        let Some(stream) = &mut conn.stream else { return };
        let (waiting, overlong) = (stream.waiting(), stream.overlong);
        let bound = cx.limits.connection_output.max(STREAM_WINDOW);
        // A worker that keeps to its window may send a piece of any size when nothing waits.
        if waiting > 0 && waiting + piece.len() > bound {
            conn.out = Default::default();
            cx.ledger.counters.overflowed += 1;
            cx.ledger.counters.cut_short += 1;
            if cx.ledger.complaints.pass(Complaint::Overflow, now) {
                let about = cx.about_request(request);
                log_about!(
                    warn,
                    about,
                    waiting,
                    "a response is cut short: its worker does not wait for the client"
                );
            }
            cx.close(key);
            return;
        }
        stream.push(piece);
        if stream.overlong && !overlong {
            let about = cx.about_request(request);
            log_about!(warn, about, "a response is longer than its Content-Length: the rest is left out");
        }
        cx.outbox.mark_dirty(key);
    }

    /// The worker has said all about a request, which it holds no longer. `whole`: it says that this is the answer;
    /// otherwise the client is to see that it is not.
    pub(in crate::hub) fn finish_stream(
        &mut self,
        cx: &mut Context,
        key: RequestId,
        whole: bool,
        now: Instant,
    ) {
        match self.requests.get(key) {
            Some(request) if request.begun => self.end_stream(cx, key, whole),
            _ => self.answer_with(cx, key, 500, now),
        }
    }

    /// The answer of a worker that has lost its way is no answer.
    fn give_up(&mut self, cx: &mut Context, (id, serial): (WorkerId, u64), problem: &str, now: Instant) {
        if let Some(Job::Request(key)) = cx.take_job(id, serial)
            && let Some(request) = self.requests.get(key)
        {
            let about = cx.about_request(request);
            log_about!(warn, about, status = 500, "a response in pieces is given up: {problem}");
            self.answer_with(cx, key, 500, now);
        }
    }
}

/// Says once in a run of a server that it may cut long responses off.
fn warn_of_cuts(cx: &mut Context, link: LinkId) {
    let state = &mut cx.servers[link];
    if !state.flow_control && !std::mem::replace(&mut state.warned, true) {
        warn!(
            link = link.0,
            "this mongrel2 runs without download.flow_control: it cuts off clients that read long streams slowly; set it to 1"
        );
    }
}
