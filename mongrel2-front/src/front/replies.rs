//! Replies of handlers, to each of their targets.

use super::Front;
use crate::connection::Reply;
use crate::ids::HandlerId;
use mongrel2_wire::reply::{self, Order};
use std::sync::Arc;
use std::time::Instant;
use tracing::warn;

/// The most bytes of a bad reply that a log line shows.
const SHOWN: usize = 80;

impl Front {
    /// A message of a handler. One that cannot be read is counted and logged, and nothing else is held up by it.
    pub(crate) fn handle_reply(&mut self, handler: HandlerId, message: &[u8], now: Instant) {
        // As a subscription of ZeroMQ: what does not begin with `recv_ident` is for others.
        let subscription =
            self.cx.site.handlers().get(handler.0).map(|handler| handler.recv_ident.as_bytes());
        if subscription.is_none_or(|topic| !message.starts_with(topic)) {
            return;
        }
        self.cx.counters.replies += 1;
        let reply = match reply::parse(message) {
            Ok(reply) => reply,
            Err(problem) => return self.note_malformed(handler, message, &problem.to_string()),
        };
        let most = self.cx.site.limits().targets;
        if reply.ids.len() > most {
            let problem = format!("{} connection ids, at most {most} are allowed", reply.ids.len());
            return self.note_malformed(handler, message, &problem);
        }
        if reply.is_extended {
            match Order::parse(reply.payload) {
                Ok(order) => reply.ids.for_each(|id| self.obey(handler, id, &order, now)),
                Err(problem) => self.note_malformed(handler, message, &problem.to_string()),
            }
            return;
        }
        let is_raw = self.cx.site.handlers().get(handler.0).is_some_and(|handler| handler.raw_payload);
        let payload: Arc<[u8]> = reply.payload.into();
        let answer = Reply { handler, payload: &payload, is_raw };
        for id in reply.ids {
            match self.cx.ids.get(&id).copied() {
                Some(client) => self.with(client, |connection, cx| connection.handle_reply(cx, &answer, now)),
                None => self.cx.send(handler, id, |to, _| to.disconnect()),
            }
        }
    }

    fn obey(&mut self, handler: HandlerId, id: u32, order: &Order<'_>, now: Instant) {
        let client = self.cx.ids.get(&id).copied();
        match (client, order) {
            (Some(client), Order::Ctl { keep_alive, credits, cancel }) => {
                self.with(client, |connection, cx| {
                    if *keep_alive {
                        connection.activity.heard = now;
                    }
                    if let Some(bytes) = credits {
                        connection.grant(cx, *bytes, now);
                    }
                    if *cancel {
                        connection.cancel(cx, handler);
                    }
                })
            }
            // There are no plugins here: nothing has this key.
            (Some(client), Order::Other(_)) => {
                self.with(client, |connection, cx| connection.cancel(cx, handler))
            }
            (None, Order::Ctl { cancel: true, .. }) => {}
            (None, _) => self.cx.send(handler, id, |to, _| to.disconnect()),
        }
    }

    fn note_malformed(&mut self, handler: HandlerId, message: &[u8], problem: &str) {
        self.cx.counters.malformed += 1;
        let name = self.cx.site.handlers().get(handler.0).map_or("", |handler| &handler.send_ident);
        let first = message[..message.len().min(SHOWN)].escape_ascii();
        warn!("dropped a reply of the handler `{name}` that cannot be read: {problem}: {first}");
    }
}
