//! Messages of JSON and XML sockets.

use super::Step;
use super::state::Connection;
use super::tasks::Route;
use crate::context::Context;
use crate::message::About;
use crate::socket_message::{self, Message, POLICY};
use std::time::Instant;

impl Connection {
    /// Takes the next message, up to its NUL.
    pub(super) fn take_socket_message(&mut self, cx: &mut Context, input: &[u8], now: Instant) -> Step {
        let most = cx.site.limits().head;
        let Some(end) = memchr::memchr(0, &input[..input.len().min(most + 1)]) else {
            if input.len() > most {
                self.refuse(cx, 400, now);
            }
            return Step::Waits;
        };
        let used = Step::Used(end + 1);
        let (path, body, method): (_, _, &[u8]) = match socket_message::parse(&input[..end]) {
            Ok(Message::Ping) => return used,
            // The policy ends the connection, so it comes behind the responses that are owed.
            Ok(Message::Policy) if self.is_http() && !self.progress.is_done() => {
                self.is_held = true;
                return Step::Waits;
            }
            Ok(Message::Policy) => {
                self.push(cx, POLICY, now);
                self.close(cx, None);
                return Step::Waits;
            }
            Ok(Message::Json { path, body }) => (path, body, b"JSON"),
            Ok(Message::Xml { path, body }) => (path, body, b"XML"),
            Err(_) => {
                self.refuse(cx, 400, now);
                return Step::Waits;
            }
        };
        let reached = cx.site.reach(b"", path);
        let Some(route) = reached.as_ref().and_then(Route::of) else {
            self.refuse(cx, 404, now);
            return Step::Waits;
        };
        if cx.is_congested(route.handler) {
            self.is_held = true;
            return Step::Waits;
        }
        self.is_socket = true;
        let id = self.known_id(cx, route.handler);
        let peer = &self.peer;
        cx.send(route.handler, id, |to, site| {
            let keeps_forwarded_for = site.limits().keeps_forwarded_for;
            let about =
                About { peer, pattern: route.pattern.as_bytes(), method, more: &[], keeps_forwarded_for };
            to.socket(&about, path, body)
        });
        used
    }
}
