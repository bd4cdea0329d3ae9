//! One client's connection: takes its bytes, hands on what they mean, and keeps what is to be written.
//!
//! From the ground up: `tasks` is what it is in the middle of, `state` what it keeps; `ending` closes it; `sending`
//! queues output; `lateness` ends what takes too long; `stream`, `upload`, `frames`, `sockets` and `requests` take input
//! of their kind; this file decides whose turn it is.

mod ending;
mod frames;
mod lateness;
mod requests;
mod sending;
mod sockets;
mod state;
mod stream;
mod tasks;
#[cfg(test)]
mod testing;
mod upload;

pub(crate) use sending::Reply;
pub(crate) use state::Connection;

use crate::context::Context;
use crate::files;
use crate::limits::Limits;
use state::{Life, State};
use std::io;
use std::time::Instant;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Bytes that it used. The next step may follow.
    Used(usize),
    /// It waits: for more input, or for something else.
    Waits,
}

impl Connection {
    /// Bytes came in.
    pub(crate) fn receive(&mut self, cx: &mut Context, bytes: &[u8], now: Instant) {
        self.activity.received(bytes.len(), now);
        self.was_paused = false;
        // What comes behind the end, or while the server stops, means nothing.
        if self.life != Life::Open || self.half_closed {
            return;
        }
        if self.is_held {
            // Only room changes that, and a look at a held request costs as much as the request.
            self.input.extend_from_slice(bytes);
        } else if self.input.is_empty() {
            let used = self.advance(cx, bytes, now);
            if self.takes_input() {
                self.input.extend_from_slice(&bytes[used..]);
            }
        } else {
            self.input.extend_from_slice(bytes);
            self.use_input(cx, now);
        }
        self.settle_input(cx, now);
    }

    /// Goes on with input that waits.
    pub(crate) fn go_on(&mut self, cx: &mut Context, now: Instant) {
        self.use_input(cx, now);
        self.settle_input(cx, now);
    }

    fn use_input(&mut self, cx: &mut Context, now: Instant) {
        let input = std::mem::take(&mut self.input);
        let used = self.advance(cx, &input, now);
        if self.takes_input() && used < input.len() {
            self.input = input;
            self.input.drain(..used);
        }
    }

    /// Looks at what is left: whether the client is awaited, and whether it is read from.
    fn settle_input(&mut self, cx: &mut Context, now: Instant) {
        self.check_half_closed(cx);
        self.late_since = self.is_inside_request().then(|| self.late_since.unwrap_or(now));
        self.resume(cx);
        self.is_paused = !self.wants_input();
        self.was_paused |= self.is_paused;
    }

    fn advance(&mut self, cx: &mut Context, input: &[u8], now: Instant) -> usize {
        let mut used = 0;
        self.is_held = false;
        while self.takes_input() {
            let rest = &input[used..];
            let step = match &self.state {
                State::Between => self.begin_next(cx, rest, now),
                State::Inline(_) => self.take_inline(cx, rest, now),
                State::Upload(_) => self.store(cx, rest, now),
                State::Stream(_) => self.take_parts(cx, rest, now),
                State::Frames(_) => self.take_frame(cx, rest, now),
                State::File(_) | State::Refused(_) => Step::Waits,
            };
            match step {
                Step::Used(size) => {
                    used += size;
                    // The next request has its own time; a body that travels inside its message shares that of its head.
                    if !matches!(self.state, State::Inline(_)) {
                        self.late_since = None;
                    }
                }
                Step::Waits => break,
            }
        }
        used
    }

    /// What comes next is told from its first byte.
    fn begin_next(&mut self, cx: &mut Context, input: &[u8], now: Instant) -> Step {
        match input {
            [] => Step::Waits,
            // The client said that its last request was the last one (RFC 9112, 9.6).
            _ if self.was_last => Step::Used(input.len()),
            [b'\r'] => Step::Waits,
            // An empty line before a request (RFC 9112, 2.2).
            [b'\r', b'\n', ..] => Step::Used(2),
            [b'@' | b'<', ..] => self.take_socket_message(cx, input, now),
            _ => self.take_head(cx, input, now),
        }
    }

    /// The client has shut its sending side down. A client that has left looks the same as one that still reads. It is
    /// taken to read only when it does so right behind a request that it calls its last. Browsers do not call any request
    /// their last, and leave at any time: handlers hear of that at once.
    pub(crate) fn end_of_input(&mut self, cx: &mut Context, now: Instant) {
        if self.life == Life::Open {
            self.half_closed = true;
            let silence = now.saturating_duration_since(self.activity.read);
            self.has_left = !self.says_last || (!self.was_paused && silence > Limits::HALF_CLOSE);
            self.check_half_closed(cx);
        }
    }

    /// What [`Effect::CreateUpload`](crate::effect::Effect::CreateUpload) came to.
    pub(crate) fn upload_created(&mut self, cx: &mut Context, name: io::Result<String>, now: Instant) {
        self.begin_upload(cx, name, now);
        self.go_on(cx, now);
    }

    /// What [`Effect::FinishUpload`](crate::effect::Effect::FinishUpload) came to, or an append that failed.
    pub(crate) fn upload_finished(&mut self, cx: &mut Context, result: io::Result<()>, now: Instant) {
        self.end_upload(cx, result, now);
        self.go_on(cx, now);
    }

    /// What [`Effect::File`](crate::effect::Effect::File) came to.
    pub(crate) fn file_answer(&mut self, cx: &mut Context, answer: files::Answer, now: Instant) {
        self.send_file(cx, answer, now);
        self.go_on(cx, now);
    }

    /// A handler sends something, or closes.
    pub(crate) fn handle_reply(&mut self, cx: &mut Context, reply: &Reply<'_>, now: Instant) {
        self.deliver(cx, reply, now);
        if self.progress.is_done() {
            self.refuse_at_last(cx, now);
        }
    }

    /// A handler grants bytes of a streamed body.
    pub(crate) fn grant(&mut self, cx: &mut Context, bytes: u64, now: Instant) {
        if let State::Stream(stream) = &mut self.state {
            stream.credits = stream.credits.saturating_add(bytes);
            self.go_on(cx, now);
        }
    }

    /// Output was written.
    pub(crate) fn written(&mut self, cx: &mut Context, now: Instant) {
        self.settle_output(cx, now);
        if self.is_held && self.output.is_empty() {
            self.go_on(cx, now);
        }
        self.check_half_closed(cx);
    }
}
