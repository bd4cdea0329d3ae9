//! The requests of one connection, which are answered in their order.

use super::Exchange;
use crate::hub::answers::own_page;
use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::{ConnKey, RequestId};
use crate::hub::outbox::connection::{Conn, Ending};
use crate::hub::request::{Body, Place, Plan, Request};
use kennel_http::Persistence;
use std::collections::VecDeque;
use std::time::Instant;

/// A connection with so many bytes unsent gets no further answer before they are gone.
const OUT_HIGH: usize = 64 << 10;

impl Exchange {
    /// Starts the next request of a connection, if the one before is answered.
    pub(in crate::hub) fn advance(&mut self, cx: &mut Context, key: ConnKey, now: Instant) {
        while let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
            let full = conn.is_closing() || conn.out.len() > OUT_HIGH;
            if conn.current.is_some() || full {
                return;
            }
            let Some(next) = conn.waiting.pop_front() else { break };
            let Some(request) = self.requests.get(next) else { continue };
            conn.current = Some(next);
            match request.plan {
                // It goes on when its body is in its file.
                Plan::Run { .. } | Plan::Call(_) if request.body == Body::Collected => {}
                Plan::Run { app, .. } => self.submit(cx, next, app, now),
                Plan::Answer { .. } | Plan::File { .. } => self.answer_by_plan(cx, next, now),
                Plan::Call(_) => self.begin_call(cx, next),
                Plan::Held(_) => {}
            }
        }
        cx.outbox.conns.list_if_idle(key, now);
    }

    /// It is the turn of a request, and the body is there that it has waited for.
    pub(in crate::hub) fn go_on_with_body(&mut self, cx: &mut Context, key: RequestId, now: Instant) {
        match self.requests.get(key).map(|request| &request.plan) {
            Some(Plan::Run { app, .. }) => self.submit(cx, key, *app, now),
            Some(Plan::Call(_)) => self.begin_call(cx, key),
            _ => {}
        }
    }

    /// Puts a new request behind the others of its connection.
    pub(in crate::hub) fn enqueue(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        mut request: Request,
        now: Instant,
    ) {
        if request.http && request.number == 0 {
            request.number = cx.ledger.traffic.begin();
        }
        let request = self.requests.insert(request);
        self.enqueue_known(cx, key, request, now);
    }

    /// Puts a request that is in the table behind the others of its connection.
    pub(in crate::hub) fn enqueue_known(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        request: RequestId,
        now: Instant,
    ) {
        let last = self.requests.get(request).is_some_and(Request::is_last);
        cx.hold(now);
        let conn = cx.outbox.conns.map.entry(key).or_default();
        if last {
            conn.take_no_more();
        }
        conn.waiting.push_back(request);
        self.advance(cx, key, now);
    }

    /// Answers at once and closes, whatever waits on the connection: it does not speak our language.
    pub(in crate::hub) fn answer_at_once(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        status: u16,
        now: Instant,
    ) {
        self.refuse_with(cx, key, own_page(cx, status), now);
    }

    /// The same with this answer.
    pub(in crate::hub) fn refuse_with(&mut self, cx: &mut Context, key: ConnKey, plan: Plan, now: Instant) {
        if !cx.outbox.is_finished(key) {
            self.enqueue(cx, key, Request::new(key, plan, now, cx.limits.request_timeout), now);
        }
    }

    /// Closes a connection after the answers to what it has asked so far.
    pub(in crate::hub) fn close_in_turn(&mut self, cx: &mut Context, key: ConnKey) {
        let conn = cx.outbox.conns.map.entry(key).or_default();
        let last = conn.waiting.back().copied().or(conn.current);
        match last.and_then(|last| self.requests.get_mut(last)).filter(|last| last.http) {
            Some(last) => {
                last.persistence = Persistence::Close;
                conn.take_no_more();
            }
            None => cx.close(key),
        }
    }

    /// A number that Mongrel2 gives to a new client while its last owner's request still runs: the old
    /// one is known to be gone, so only its worker has to end that, and the number is free.
    pub(in crate::hub) fn make_room_for_next(&self, cx: &mut Context, key: ConnKey) {
        let Some(conn) = cx.outbox.conns.map.get(&key).filter(|conn| {
            // One that was broken off is not gone: its number is not given again so soon.
            conn.ending == Ending::Gone && conn.waiting.is_empty()
        }) else {
            return;
        };
        let current = conn.current.and_then(|current| self.requests.get(current));
        if current.is_none_or(|current| !current.raw) {
            cx.outbox.conns.map.remove(&key);
        }
    }

    /// Forgets the requests of a connection that can get no answer. Raw messages are kept.
    pub(in crate::hub) fn drop_requests(&mut self, cx: &mut Context, key: ConnKey) {
        let Some(conn) = cx.outbox.conns.map.get_mut(&key) else { return };
        conn.stream = None;
        let is_kept = |request: &Request| request.raw && request.body != Body::Collected;
        let (raw, dropped): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut conn.waiting)
            .into_iter()
            .partition(|request| self.requests.get(*request).is_some_and(is_kept));
        conn.waiting = raw;
        let current = conn.current;
        for request in dropped {
            self.remove_request(cx, request);
        }
        let Some((current, request)) = current.and_then(|key| Some((key, self.requests.get(key)?))) else {
            return;
        };
        match request.plan {
            // No worker has it, and none needs to.
            Plan::Run { app, .. }
                if request.body == Body::Collected || (request.place == Place::Queue && !request.raw) =>
            {
                if let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
                    conn.current = None;
                }
                cx.apps[app].queue.retain(|waiting| *waiting != current);
                self.remove_request(cx, current);
            }
            Plan::Call(_) | Plan::Held(_) => {
                if let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
                    conn.current = None;
                }
                self.remove_request(cx, current);
            }
            _ => {
                if request.body == Body::Parts {
                    cx.events.push(Event::BodyUnwanted(current, key));
                }
                self.lose_client(cx, current);
            }
        }
    }

    /// Forgets a connection whose client is gone, and whose requests are dropped. What runs is left to end, and raw messages
    /// still reach their script.
    pub(in crate::hub) fn forget_connection(&self, cx: &mut Context, key: ConnKey) {
        let Some(conn) = cx.outbox.conns.map.remove(&key) else { return };
        cx.outbox.conns.released.extend(conn.live.map(|id| (id, 0)));
        if conn.current.is_some() || !conn.waiting.is_empty() {
            let rest = Conn {
                current: conn.current,
                waiting: conn.waiting,
                ending: Ending::Gone,
                ..Conn::default()
            };
            cx.outbox.conns.map.insert(key, rest);
            // What waited for its turn to be written to need not wait any more.
            cx.outbox.mark_dirty(key);
        }
    }
}
