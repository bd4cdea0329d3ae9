//! The ends of requests: responses, whole or in pieces, and raw jobs that are done.

use super::Exchange;
use super::table::leave;
use crate::hub::answers::own_page;
use crate::hub::apps::affinity::{Near, cookie_line};
use crate::hub::context::Context;
use crate::hub::ids::RequestId;
use crate::hub::ledger::about::{About, log_about};
use crate::hub::ledger::counters::Complaint;
use crate::hub::outbox::connection::Ending;
use crate::hub::request::{Called, Place, Plan, Request};
use kennel_http::Persistence;
use kennel_http::response::{Form, Response};
use std::time::Instant;

impl Exchange {
    /// 503 for a request that no worker will take. The log says why.
    pub(in crate::hub) fn refuse_overload(
        &mut self,
        cx: &mut Context,
        key: RequestId,
        why: &str,
        now: Instant,
    ) {
        let Some(request) = self.requests.get(key) else { return };
        cx.ledger.counters.overloaded += 1;
        if cx.ledger.complaints.pass(Complaint::Overload, now) {
            complain_of_overload(&cx.about_request(request), why);
        }
        self.answer_with(cx, key, 503, now);
    }

    /// Answers a request with one of the hub's own pages. An answer that has begun is cut short instead.
    pub(in crate::hub) fn answer_with(
        &mut self,
        cx: &mut Context,
        key: RequestId,
        status: u16,
        now: Instant,
    ) {
        let Some(request) = self.requests.get(key) else { return };
        if !request.http {
            self.finish_raw(cx, key, now);
        } else if request.begun {
            self.end_stream(cx, key, false);
        } else {
            self.answer_plan(cx, key, own_page(cx, status), now);
        }
    }

    /// A request whose turn has not come gets one of the hub's own pages when it comes.
    pub(in crate::hub) fn fail_in_turn(&mut self, cx: &Context, key: RequestId, status: u16) {
        if let Some(request) = self.requests.get_mut(key) {
            let before = std::mem::replace(&mut request.plan, own_page(cx, status));
            self.recycle(before);
        }
    }

    /// Answers a request with this, whatever it was to be answered with.
    pub(in crate::hub) fn answer_plan(&mut self, cx: &mut Context, key: RequestId, plan: Plan, now: Instant) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let before = std::mem::replace(&mut request.plan, plan);
        self.recycle(before);
        self.answer_by_plan(cx, key, now);
    }

    /// The same, and closes its connection.
    pub(in crate::hub) fn answer_and_close(
        &mut self,
        cx: &mut Context,
        key: RequestId,
        plan: Plan,
        now: Instant,
    ) {
        if let Some(request) = self.requests.get_mut(key) {
            request.persistence = Persistence::Close;
            self.answer_plan(cx, key, plan, now);
        }
    }

    /// A request is held for the session with this number, which answers it when it likes.
    pub(in crate::hub) fn hold(&mut self, key: RequestId, session: u64) {
        if let Some(request) = self.requests.get_mut(key) {
            // The client's time is not the script's.
            request.deadline = None;
            request.plan = Plan::Held(session);
        }
    }

    /// The response to a request is a session's stream of events: that is written already.
    pub(in crate::hub) fn carry(&mut self, cx: &mut Context, called: Called, now: Instant) {
        let Called { request: key, conn, .. } = called;
        if self.requests.contains_key(key) {
            cx.ledger.taps.note_answer(key, 200, now);
        }
        let Some(request) = self.take_request(cx, key) else { return };
        cx.ledger.counters.answers += 1;
        cx.ledger.traffic.answered(request.meter, request.since, 200, now);
        if let Some(state) = cx.outbox.conns.map.get_mut(&conn).filter(|state| state.carries.is_some()) {
            for waiting in std::mem::take(&mut state.waiting) {
                self.remove_request(cx, waiting);
            }
        }
        leave(cx, conn, key);
    }

    /// Answers a request with what is planned.
    pub(in crate::hub) fn answer_by_plan(&mut self, cx: &mut Context, key: RequestId, now: Instant) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let plan = std::mem::replace(&mut request.plan, Plan::NONE);
        let (status, head, body) = match &plan {
            Plan::Answer { status, head, body } => (*status, head, body.as_bytes()),
            Plan::File { head, body } => (200, head, *body),
            Plan::Run { .. } | Plan::Call(_) | Plan::Held(_) => return,
        };
        self.answer(cx, key, Response { status, head: head.as_bytes(), body }, now);
    }

    /// A worker's response to a request, whose job it holds no longer.
    pub(in crate::hub) fn respond(
        &mut self,
        cx: &mut Context,
        key: RequestId,
        response: Response<'_>,
        now: Instant,
    ) {
        match self.requests.get(key) {
            Some(request) if request.begun => self.end_stream(cx, key, false),
            Some(request) if request.http => self.answer(cx, key, response, now),
            // HTTP is not what a socket speaks.
            _ => self.finish_raw(cx, key, now),
        }
    }

    /// A worker is done with a request, and has no response.
    pub(in crate::hub) fn end_without_response(&mut self, cx: &mut Context, key: RequestId, now: Instant) {
        match self.requests.get(key) {
            Some(request) if request.raw => self.finish_raw(cx, key, now),
            _ => self.answer_with(cx, key, 500, now),
        }
    }

    /// Writes a request's answer. Its connection may go on.
    pub(in crate::hub) fn answer(
        &mut self,
        cx: &mut Context,
        key: RequestId,
        response: Response<'_>,
        now: Instant,
    ) {
        cx.ledger.taps.note_answer(key, response.status, now);
        let with_cookie =
            self.requests.get(key).and_then(|request| head_with_cookie(cx, request, response.head));
        let response = Response { head: with_cookie.as_deref().unwrap_or(response.head), ..response };
        let Some(request) = self.take_request(cx, key) else { return };
        if request.gone {
            cx.ledger.counters.answers_too_late += 1;
            cx.ledger.traffic.lost(request.meter);
            leave(cx, request.conn, key);
            return;
        }
        cx.ledger.counters.answers += 1;
        cx.ledger.traffic.answered(request.meter, request.since, response.status, now);
        let persistence = cx.persistence(request.persistence);
        let conn = cx.outbox.conns.map.get_mut(&request.conn).filter(|conn| !conn.is_over());
        if let Some(conn) = conn {
            let form = Form { head_only: request.head_only, persistence, date: &cx.date };
            if conn.out.append(|out| response.encode(out, form)) == Persistence::Close {
                conn.ending = Ending::Closing;
                for waiting in std::mem::take(&mut conn.waiting) {
                    self.remove_request(cx, waiting);
                }
            }
            cx.outbox.mark_dirty(request.conn);
        }
        leave(cx, request.conn, key);
    }

    /// Ends a raw job, which has no answer of its own.
    pub(in crate::hub) fn finish_raw(&mut self, cx: &mut Context, key: RequestId, now: Instant) {
        self.raw_clients.end_telling(key);
        let Some(request) = self.take_request(cx, key) else { return };
        if request.http {
            cx.ledger.traffic.done(request.meter, request.since, now);
        }
        leave(cx, request.conn, key);
    }

    /// Ends a begun answer, whose job no worker holds any longer.
    pub(in crate::hub) fn end_stream(&mut self, cx: &mut Context, key: RequestId, whole: bool) {
        let Some(request) = self.requests.get(key) else { return };
        let conn = cx.outbox.conns.map.get(&request.conn).filter(|_| whole);
        let stream = conn.and_then(|conn| conn.stream.as_ref());
        // Whether a worker ends it before all of its announced length is there.
        let short = stream.is_some_and(|stream| stream.is_short()).then(|| cx.about_request(request));
        // For HEAD: a Content-Length that is not that of its body: both.
        if let Some((announced, body)) = stream.and_then(|stream| stream.misfit()) {
            let about = cx.about_request(request);
            log_about!(
                warn,
                about,
                announced,
                body,
                "a response to HEAD announces another Content-Length than its body has"
            );
        }
        let Some(request) = self.remove_request(cx, key) else { return };
        let conn = cx.outbox.conns.map.get_mut(&request.conn).filter(|_| !request.gone);
        let Some((conn, stream)) = conn.and_then(|conn| conn.stream.take().map(|stream| (conn, stream)))
        else {
            cx.ledger.counters.answers_too_late += 1;
            leave(cx, request.conn, key);
            return;
        };
        let complete = conn.out.append(|out| stream.finish(out, whole));
        if complete {
            cx.ledger.counters.answers += 1;
        } else {
            cx.ledger.counters.cut_short += 1;
            if let Some(about) = short {
                log_about!(warn, about, "a response is shorter than its Content-Length");
            }
        }
        if !complete || request.persistence == Persistence::Close || cx.stopping.is_some() {
            conn.ending = Ending::Closing;
            for waiting in std::mem::take(&mut conn.waiting) {
                self.remove_request(cx, waiting);
            }
        }
        cx.outbox.mark_dirty(request.conn);
        leave(cx, request.conn, key);
    }
}

/// Says in the log that a request gets 503. How often that is said, the complaints of the ledger decide.
pub(in crate::hub) fn complain_of_overload(about: &About, why: &str) {
    log_about!(warn, about, status = 503, "503 Service Unavailable: {why}");
}

/// The head of a response, with the cookie that names its worker if the client is to learn that.
pub(super) fn head_with_cookie(cx: &Context, request: &Request, head: &[u8]) -> Option<Vec<u8>> {
    let (Plan::Run { app, near: Near::Tell, .. }, Place::Worker(worker, _)) = (&request.plan, request.place)
    else {
        return None;
    };
    let line = cookie_line(cx.workers.get(worker)?.number, &cx.apps[*app].spec.mount);
    Some([head, line.as_bytes()].concat())
}
