//! What comes from a live connection.

use crate::hub::context::Context;
use crate::hub::ids::{ConnKey, LiveId};
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::ledger::taps::Passing;
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::pending::Pending;
use crate::hub::live::table::Stage;
use crate::hub::outbox::pacing::Pacer;
use kennel_http::websocket::Event;
use mongrel2_wire::{Envelope, Head, Kind};
use std::time::Instant;

impl Live {
    /// A frame of a WebSocket or a message of a socket. `false`: no channel takes it.
    pub(in crate::hub) fn handle_live_message(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        envelope: &Envelope<'_>,
        head: &Head<'_>,
        message: &[u8],
        now: Instant,
    ) -> bool {
        let id = match self.lives.at(key) {
            Some(id) => id,
            None if cx.outbox.is_finished(key) => return true,
            None if let Some(id) = cx.outbox.conns.map.get(&key).and_then(|conn| conn.carries) => {
                if let Kind::Frame { flags } = head.kind {
                    self.receive_on_line(cx, id, key, flags, envelope.body, now);
                }
                return true;
            }
            None => match self.open_by_message(cx, key, envelope, head, message, now) {
                Some(id) => id,
                None => return cx.apps.channel_at(envelope.path).is_some(),
            },
        };
        let second = self.lives.second(now);
        if let Some(channel) = self.lives.get_mut(id) {
            channel.heard = second;
        }
        match head.kind {
            Kind::Frame { flags } => self.receive_frame(cx, id, flags, envelope.body, now),
            _ => self.receive_socket(cx, id, envelope, now),
        }
        true
    }

    fn receive_socket(&mut self, cx: &mut Context, id: LiveId, envelope: &Envelope<'_>, now: Instant) {
        let Some(channel) = self.lives.get(id).filter(|channel| channel.stage == Stage::Open) else {
            return;
        };
        let spec = cx.apps.channel(channel.app, channel.route);
        let Some(max) = spec.filter(|spec| spec.path.as_bytes() == envelope.path).map(|s| s.max_message)
        else {
            let key = channel.key;
            cx.ledger.counters.refused += 1;
            if cx.ledger.complaints.pass(Complaint::Refused, now) {
                let (about, to) = (self.about_by(cx, id, key), envelope.path.escape_ascii());
                log_about!(warn, about, %to, "refused: this connection speaks to another channel");
            }
            return;
        };
        if envelope.body.len() > max {
            self.close_live(cx, id, 1009, "message too big", now);
        } else if std::str::from_utf8(envelope.body).is_err() {
            self.close_live(cx, id, 1007, "not UTF-8", now);
        } else {
            self.note(cx, id, Passing::In { binary: false, payload: envelope.body });
            self.count_received(cx, id);
            self.give(cx, id, Pending::Message { binary: false, payload: envelope.body.into() }, now);
        }
    }

    fn receive_frame(&mut self, cx: &mut Context, id: LiveId, flags: u8, payload: &[u8], now: Instant) {
        if self.is_undecided(id) {
            self.refuse_early_frame(cx, id, now);
            return;
        }
        let second = self.lives.second(now);
        let Some(channel) = self.lives.get_mut(id) else { return };
        let max = cx.apps.channel(channel.app, channel.route);
        let max = max.map_or(0, |spec| spec.max_message);
        let Carrier::WebSocket(session) = &mut channel.carrier else { return };
        let mut replies = Vec::new();
        let event = session.receive(flags, payload, max, &mut self.codec, second, &mut replies);
        let key = channel.key;
        if !replies.is_empty() {
            // The client must not see our close, say, before what was published earlier.
            self.flush_publishing(cx, now);
            self.send_bytes(cx, id, &replies, now);
        }
        let next = match event {
            Event::Text(text) => {
                Some(Pending::Message { binary: false, payload: text.into_owned().into_bytes().into() })
            }
            Event::Binary(bytes) => {
                Some(Pending::Message { binary: true, payload: bytes.into_owned().into() })
            }
            Event::Pong if payload == Pacer::PING => {
                if let Some(conn) = cx.outbox.conns.map.get_mut(&key) {
                    conn.pacer.arrived();
                    cx.outbox.mark_dirty(key);
                }
                None
            }
            Event::Ping | Event::Pong | Event::Ignored => None,
            Event::Closed { code, reason } => {
                self.finish_live(cx, id, code.0, &reason, now);
                return;
            }
            Event::Violation { code, reason } => {
                cx.ledger.counters.violations += 1;
                if cx.ledger.complaints.pass(Complaint::Refused, now) {
                    log_about!(warn, self.about_by(cx, id, key), code = code.0, "closed: {reason}");
                }
                self.finish_live(cx, id, code.0, reason, now);
                return;
            }
        };
        if let Some(message) = next {
            if let Pending::Message { binary, payload } = &message {
                self.note(cx, id, Passing::In { binary: *binary, payload });
            }
            self.count_received(cx, id);
            self.give(cx, id, message, now);
        }
    }
}
