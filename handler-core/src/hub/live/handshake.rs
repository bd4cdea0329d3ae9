//! Who comes: handshakes, first messages of sockets, and frames of WebSockets that another hub has opened.

use super::admission::refusal;
use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::{AppId, ConnKey, LiveId};
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::opening::{Beginning, without_body};
use crate::hub::outbox::connection::Conn;
use crate::worker::protocol::ChannelSpec;
use kennel_http::websocket::{Offer, Opcode, Policy, Refusal, Session, handshake};
use mongrel2_wire::{Envelope, Head, Kind};
use std::time::Instant;

/// Bytes of a Sec-WebSocket-Accept value.
const ACCEPT: usize = 28;

impl Live {
    /// A WebSocket handshake. `false`: no channel takes it.
    pub(in crate::hub) fn handle_handshake(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        envelope: &Envelope<'_>,
        head: &Head<'_>,
        message: &[u8],
        now: Instant,
    ) -> bool {
        let Some((app, route)) = cx.apps.channel_for(envelope, head) else { return false };
        if head.first_credits.is_some() {
            cx.servers[key.link].flow_control = true;
        }
        let Some(spec) = cx.apps.channel(app, route) else { return false };
        let offer = judge(spec, envelope);
        // A session that goes on is there already.
        let resumes = offer.as_ref().is_ok_and(|offer| self.resumes(cx, (app, route), offer, envelope));
        if !resumes && !cx.takes_clients(app) {
            cx.events.push(Event::Refuse(key, 503));
            return true;
        }
        if !resumes && !self.admits(cx, key, now) {
            cx.events.push(Event::RefuseWith(key, refusal("")));
            return true;
        }
        let asks = |conn: &Conn| conn.current.is_some() || !conn.waiting.is_empty();
        if cx.outbox.conns.map.get(&key).is_some_and(asks) {
            // The answer to what it asked before would come out among the frames.
            cx.ledger.counters.refused += 1;
            cx.events.push(Event::Refuse(key, 400));
            return true;
        }
        let offer = match offer {
            Ok(offer) => offer,
            Err(refusal) => {
                cx.ledger.counters.refused += 1;
                if cx.ledger.complaints.pass(Complaint::Refused, now) {
                    let about = cx.about_opening(key, envelope, app);
                    log_about!(warn, about, "handshake refused: {}", refusal.reason);
                }
                self.send_last_words(cx, key, &refusal.response);
                return true;
            }
        };
        let opening = without_body(message, envelope);
        if self.is_for_session(cx, (app, route), &offer) {
            self.begin_line(cx, key, (app, route), offer, (envelope, &opening), now);
        } else if cx.apps.channel(app, route).is_some_and(|spec| spec.asks) {
            self.ask(cx, key, (app, route), offer, &opening, now);
        } else {
            let spec = cx.apps.channel(app, route);
            let protocol = spec.and_then(|spec| offer.preferred(&spec.protocols));
            let accepted = offer.accept(protocol.as_deref(), b"");
            let carrier = Carrier::WebSocket(Session::new(accepted.deflate));
            let beginning = Beginning::Accepted;
            let opened = self.open_live(cx, Some(key), (app, route), |_| carrier, (&opening, beginning), now);
            let Some(id) = opened else {
                return true;
            };
            self.send_bytes(cx, id, &accepted.response, now);
            self.begin_work(cx, id, now);
        }
        true
    }

    /// The script decides about a handshake that keeps the rules.
    fn ask(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        place: (AppId, u16),
        offer: Offer,
        opening: &[u8],
        now: Instant,
    ) {
        let carrier = Carrier::WebSocket(Session::new(None));
        let opened = self.open_live(cx, Some(key), place, |_| carrier, (opening, Beginning::Asked), now);
        let Some(id) = opened else { return };
        let Some(channel) = self.lives.get(id) else { return };
        let due = now + cx.limits.request_timeout;
        self.decisions.expect(channel.number, id, offer, due);
        self.begin_work(cx, id, now);
    }

    /// A message of a client that the hub does not know: a socket's first, or a frame on a WebSocket that was
    /// opened when another hub ran. `None`: no channel takes it.
    pub(in crate::hub) fn open_by_message(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        envelope: &Envelope<'_>,
        head: &Head<'_>,
        message: &[u8],
        now: Instant,
    ) -> Option<LiveId> {
        if let Kind::Frame { .. } = head.kind
            && let Some(restated) = cx.clients.restated(message)
        {
            // Its headers are those of its handshake as that came.
            let envelope = Envelope::parse(&restated).ok()?;
            let head = Head::read(&envelope).ok()?;
            return self.open_unknown(cx, key, &envelope, &head, &restated, now);
        }
        self.open_unknown(cx, key, envelope, head, message, now)
    }

    fn open_unknown(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        envelope: &Envelope<'_>,
        head: &Head<'_>,
        message: &[u8],
        now: Instant,
    ) -> Option<LiveId> {
        let (app, route) = cx.apps.channel_for(envelope, head)?;
        if matches!(head.kind, Kind::Frame { flags } if Opcode::of(flags) == Opcode::Close) {
            // The answer to the close of a hub that has ended: there is nothing to open.
            cx.close(key);
            return None;
        }
        // A frame is of a WebSocket that is open already.
        let is_new = !matches!(head.kind, Kind::Frame { .. });
        if !cx.takes_clients(app) || (is_new && !self.admits(cx, key, now)) {
            cx.close(key);
            return None;
        }
        let (carrier, beginning) = match head.kind {
            Kind::Frame { .. } => {
                // Every frame carries the handshake's headers, so what was agreed can be found again.
                let spec = cx.apps.channel(app, route)?;
                let Ok(offer) = judge(spec, envelope) else {
                    cx.close(key);
                    return None;
                };
                if self.is_for_session(cx, (app, route), &offer) {
                    self.end_strange_line(cx, key, envelope.body);
                    return None;
                }
                cx.ledger.counters.adopted += 1;
                (Carrier::WebSocket(Session::new(offer.deflate())), Beginning::Adopted)
            }
            Kind::Xml => (Carrier::Xml, Beginning::Accepted),
            _ => (Carrier::Json, Beginning::Accepted),
        };
        // What the message says is a message of its own; the opening is only who says it.
        let opening = without_body(message, envelope);
        let id = self.open_live(cx, Some(key), (app, route), |_| carrier, (&opening, beginning), now)?;
        self.begin_work(cx, id, now);
        Some(id)
    }
}

/// What a handshake offers, by the rules of its channel.
fn judge(spec: &ChannelSpec, envelope: &Envelope<'_>) -> Result<Offer, Refusal> {
    let policy = Policy { origins: &spec.origins, protocols: &spec.protocols, deflate: spec.deflate };
    // Only a handshake's body is its answer's key; a frame that is adopted gets no answer.
    let key = if envelope.body.len() == ACCEPT { envelope.body } else { b"" };
    handshake::check(&envelope.headers, b"GET", key, &policy)
}
