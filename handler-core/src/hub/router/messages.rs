//! What comes to the hub, handed to the parts: messages of Mongrel2s, and batches of workers.

use crate::hub::Hub;
use crate::hub::ids::{ConnKey, LinkId};
use crate::hub::ledger::counters::Complaint;
use crate::hub::outbox::pacing::Pacer;
use crate::hub::request::{Asked, Body};
use kennel_http::websocket::Opcode;
use mongrel2_wire::{ConnId, Envelope, Head, Kind, Sender, origin_form};
use std::time::Instant;
use tracing::{error, warn};

/// The most bytes of a bad message that a log line shows.
const SHOWN: usize = 80;

impl Hub {
    /// One message of a Mongrel2.
    pub fn handle_message(&mut self, link: LinkId, message: &[u8], now: Instant) {
        self.cx.ledger.counters.messages += 1;
        let restated = self.cx.clients.restated_request(message, || self.cx.apps.raw().is_some());
        self.read_message(link, restated.as_deref().unwrap_or(message), now);
    }

    pub(in crate::hub) fn read_message(&mut self, link: LinkId, message: &[u8], now: Instant) {
        let envelope = match Envelope::parse(message) {
            Ok(envelope) => envelope,
            Err(problem) => {
                self.cx.ledger.counters.malformed += 1;
                if self.cx.ledger.complaints.pass(Complaint::Malformed, now) {
                    let first = message[..message.len().min(SHOWN)].escape_ascii();
                    warn!(link = link.0, "dropped a message that cannot be read: {problem}: {first}");
                }
                return;
            }
        };
        if !self.accept_sender(link, envelope.sender, now) {
            return;
        }
        let Ok(id) = ConnId::try_from(envelope.conn_id) else {
            // A notice about an id that never was, or one from a counter gone past 31 bits: nobody
            // could be answered.
            self.cx.refuse(link, &envelope, "a conn id that cannot be addressed", now);
            return;
        };
        let incarnation = self.cx.servers[link].incarnation;
        let key = ConnKey { link, incarnation, id };
        let head = match Head::read(&envelope) {
            Ok(head) => head,
            Err(problem) => {
                self.cx.ledger.counters.malformed += 1;
                self.cx.refuse(link, &envelope, &problem.to_string(), now);
                self.answer_at_once(key, 400, now);
                return;
            }
        };
        let plain = origin_form(&envelope, &head);
        let reread = plain.as_deref().and_then(|message| {
            let envelope = Envelope::parse(message).ok()?;
            Some((message, envelope, Head::read(&envelope).ok()?))
        });
        let (message, envelope, head) = reread.unwrap_or((message, envelope, head));
        match head.kind {
            Kind::Http => {
                let body = Body::Whole;
                let (envelope, head) = (&envelope, &head);
                self.handle_http(Asked { key, envelope, head, message, spool: None, body }, now);
            }
            Kind::Disconnect => self.handle_disconnect(key, message, now),
            Kind::Credits { bytes } => self.handle_credits(key, bytes, now),
            Kind::Refused(refusal) => {
                self.cx.refuse(link, &envelope, refusal.reason(), now);
                if envelope.path != b"@*" {
                    self.answer_at_once(key, 400, now);
                }
            }
            Kind::UploadStart
                if head.part.is_some() && self.handle_stream_start(key, &envelope, &head, message, now) => {}
            Kind::UploadPart if self.handle_part(key, &envelope, &head, now) => {}
            Kind::UploadStart | Kind::UploadDone
                if self.handle_upload(key, &envelope, &head, message, now) => {}
            _ if self.cx.outbox.is_finished(key) => {
                let is_pong = matches!(head.kind, Kind::Frame { flags } if Opcode::of(flags) == Opcode::Pong);
                if is_pong && envelope.body == Pacer::PING {
                    self.cx.outbox.note_late_pong(key);
                }
            }
            Kind::Handshake if self.cx.refuses_host(link, &envelope, now) => {
                self.answer_at_once(key, 421, now)
            }
            Kind::Handshake if let Some(fault) = head.fault => {
                self.cx.refuse(link, &envelope, fault.reason(), now);
                self.answer_at_once(key, 400, now);
            }
            Kind::Handshake if self.handle_handshake(key, (&envelope, &head), message, now) => {}
            Kind::Frame { .. } | Kind::Json | Kind::Xml
                if self.with_live(now, |live, cx| {
                    live.handle_live_message(cx, key, &envelope, &head, message, now)
                }) => {}
            _ if self.cx.apps.raw().is_some() => {
                self.exchange.enqueue_raw(&mut self.cx, key, &head, message, now);
                self.settle(now);
            }
            Kind::UploadStart => {
                self.cx.refuse(link, &envelope, "a body beyond limits.content_length", now);
                self.answer_at_once(key, 413, now);
            }
            Kind::UploadDone | Kind::UploadPart => {}
            Kind::Handshake => {
                let status = self.status_without_channel(envelope.path);
                self.answer_at_once(key, status, now);
            }
            Kind::Frame { .. } | Kind::Json | Kind::Xml => {
                self.cx.refuse(link, &envelope, "no channel takes it", now);
                self.exchange.close_in_turn(&mut self.cx, key);
                self.settle(now);
            }
        }
    }

    /// Whether a message's sender is the one of this link; the first message says which that is.
    pub(in crate::hub) fn accept_sender(&mut self, link: LinkId, sender: &str, now: Instant) -> bool {
        let state = &mut self.cx.servers[link];
        if state.sender.as_ref().is_some_and(|known| known.as_str() == sender) {
            return true;
        }
        if let Some(known) = &state.sender {
            self.cx.ledger.counters.refused += 1;
            if self.cx.ledger.complaints.pass(Complaint::Sender, now) {
                warn!(link = link.0, "dropped a message from `{sender}`, this server is `{known}`");
            }
            return false;
        }
        let Ok(known) = Sender::new(sender) else { return false };
        if !sender.as_bytes().starts_with(&state.subscription) {
            error!(
                link = link.0,
                "replies to `{sender}` will not arrive: Mongrel2 listens for `{}`; recv_ident must be empty or a \
                 prefix of send_ident",
                state.subscription.escape_ascii()
            );
        }
        state.sender = Some(known);
        true
    }

    pub(in crate::hub) fn handle_credits(&mut self, key: ConnKey, bytes: u64, now: Instant) {
        let link = &mut self.cx.servers[key.link];
        link.flow_control = true;
        link.under_way.credited(bytes);
        if let Some(conn) = self.cx.outbox.conns.map.get_mut(&key) {
            conn.credited(bytes, now);
            if !conn.out.is_empty() || conn.has_pieces() || conn.is_closing() {
                self.cx.outbox.mark_dirty(key);
            }
        }
    }
}
