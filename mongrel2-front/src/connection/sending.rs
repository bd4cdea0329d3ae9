//! What goes out: replies of handlers, files, errors.

use super::state::{Connection, Life, State};
use crate::context::Context;
use crate::effect::Effect;
use crate::files::{self, Piece};
use crate::ids::HandlerId;
use crate::limits::Limits;
use base64::prelude::*;
use std::sync::Arc;
use std::time::Instant;

/// A reply of a handler to one connection.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) handler: HandlerId,
    /// The payload; empty: close.
    pub(crate) payload: &'a Arc<[u8]>,
    /// It goes out as it is, whatever the connection is.
    pub(crate) is_raw: bool,
}

impl Connection {
    /// Tells the loop that there is output.
    fn mark(&mut self, cx: &mut Context) {
        if !std::mem::replace(&mut self.is_marked, true) {
            cx.effects.push_back(Effect::Write(self.key));
        }
    }

    /// Queues bytes of our own.
    pub(super) fn push(&mut self, cx: &mut Context, bytes: &[u8], now: Instant) {
        if bytes.is_empty() {
            return;
        }
        self.note_first_output(now);
        if self.output.queued() > cx.site.limits().output && self.output.len() > Limits::REPLIES {
            cx.counters.overflowed += 1;
            return self.lose(cx);
        }
        self.output.push(bytes.into(), None);
        self.mark(cx);
    }

    /// From when a client that reads nothing is measured.
    fn note_first_output(&mut self, now: Instant) {
        if self.output.is_empty() {
            self.activity.wrote = now;
        }
    }

    /// Queues what a handler sends.
    pub(super) fn deliver(&mut self, cx: &mut Context, reply: &Reply<'_>, now: Instant) {
        if reply.payload.is_empty() {
            return self.close(cx, Some(reply.handler));
        }
        if self.life != Life::Open {
            return;
        }
        if self.output.queued() > cx.site.limits().output && self.output.len() > Limits::REPLIES {
            cx.counters.overflowed += 1;
            return self.lose(cx);
        }
        let credit = cx.site.limits().flow_control.then_some(reply.handler);
        self.note_first_output(now);
        if self.is_socket && !reply.is_raw {
            let payload = reply.payload.strip_suffix(b"\0").unwrap_or(reply.payload);
            self.output.push(BASE64_STANDARD.encode(payload).into_bytes().into(), credit);
        } else {
            if self.is_http() {
                self.progress.sent(reply.payload);
            }
            self.output.push(Arc::clone(reply.payload), credit);
        }
        self.mark(cx);
    }

    /// Queues a file or a page about it.
    pub(super) fn send_file(&mut self, cx: &mut Context, answer: files::Answer, now: Instant) {
        if !matches!(self.state, State::File(_)) || self.life != Life::Open {
            return;
        }
        if let State::File(Some(head)) = std::mem::replace(&mut self.state, State::Between) {
            self.log(cx, &head, answer.status, answer.size);
        }
        self.push(cx, &answer.head, now);
        for piece in answer.body {
            match piece {
                Piece::Bytes(bytes) => self.output.push(bytes.into(), None),
                Piece::File { file, offset, length } => self.output.push_file(file, offset, length),
            }
        }
        if answer.closes {
            self.close(cx, None);
        }
    }

    /// Refuses what the client sent, and closes: at once, or behind the responses that it is owed.
    pub(super) fn refuse(&mut self, cx: &mut Context, status: u16, now: Instant) {
        cx.counters.refused += 1;
        self.input = Vec::new();
        self.late_since = None;
        self.state = State::Refused(status);
        if self.progress.is_done() {
            self.refuse_at_last(cx, now);
        }
    }

    /// Sends the page of a refusal that waited for the responses before it.
    pub(super) fn refuse_at_last(&mut self, cx: &mut Context, now: Instant) {
        if let State::Refused(status) = self.state
            && self.life == Life::Open
        {
            let answer = files::error(status);
            self.push(cx, &answer.head, now);
            for piece in answer.body {
                if let Piece::Bytes(bytes) = piece {
                    self.push(cx, &bytes, now);
                }
            }
            self.close(cx, None);
        }
    }

    /// What the loop writes from.
    pub(crate) fn begin_writing(&mut self) {
        self.is_marked = false;
    }

    /// Something was written: handlers hear of their replies, and a connection that was to be closed is.
    pub(super) fn settle_output(&mut self, cx: &mut Context, now: Instant) {
        self.activity.wrote = now;
        if let Some(id) = self.id {
            for (handler, bytes) in self.output.take_credits() {
                cx.send(handler, id, |to, _| to.credits(bytes));
            }
        }
        self.check_closed(cx);
    }
}
