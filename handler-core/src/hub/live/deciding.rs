//! Handshakes that the script decides.
//!
//! The hub checks what the RFC demands, asks, and waits: until the script accepts, nothing is agreed, nothing can be
//! sent, and nothing may come. Whatever becomes of it, the client gets one answer: the 101, the script's
//! refusal, or a page of ours. The script hears of an end that it did not choose; of its own refusal it does not.

use crate::hub::answers;
use crate::hub::context::Context;
use crate::hub::ids::LiveId;
use crate::hub::ledger::about::{About, log_about};
use crate::hub::ledger::counters::Complaint;
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::table::Stage;
use kennel_http::Persistence;
use kennel_http::response::{Form, Response};
use kennel_http::websocket::{Offer, Session};
use std::collections::BTreeMap;
use std::time::Instant;

/// A handshake that waits for its decision.
#[derive(Debug)]
struct Asked {
    id: LiveId,
    offer: Offer,
    due: Instant,
    /// A worker took it and died.
    lost: bool,
}

/// All that wait, by the connection's number: numbers grow, so the first one is due first.
#[derive(Debug, Default)]
pub(crate) struct Decisions(BTreeMap<u64, Asked>);

impl Decisions {
    pub(in crate::hub::live) fn expect(&mut self, number: u64, id: LiveId, offer: Offer, due: Instant) {
        self.0.insert(number, Asked { id, offer, due, lost: false });
    }

    /// It is decided, or over.
    pub(in crate::hub::live) fn settle(&mut self, number: u64) -> Option<Offer> {
        self.0.remove(&number).map(|asked| asked.offer)
    }

    fn next_overdue(&mut self, now: Instant) -> Option<LiveId> {
        let first = self.0.first_entry()?;
        (first.get().due <= now).then(|| first.remove().id)
    }

    /// The worker that was asked is dead. Whether another one may be: once.
    fn may_ask_again(&mut self, number: u64) -> bool {
        self.0.get_mut(&number).is_some_and(|asked| !std::mem::replace(&mut asked.lost, true))
    }

    /// When there is something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.0.values().next().map(|asked| asked.due)
    }
}

/// What the client of a script that closes before it accepts gets.
const FORBIDDEN: Response<'static> = Response { status: 403, head: b"", body: b"" };

impl Live {
    /// The script accepts: from now on it is a WebSocket.
    pub(in crate::hub::live) fn accept_handshake(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        protocol: &str,
        head: &[u8],
        now: Instant,
    ) {
        // What was published before is not for it.
        self.flush_publishing(cx, now);
        let Some(channel) = self.lives.get_mut(id).filter(|channel| channel.stage == Stage::Asked) else {
            self.complain_of_decision(cx, id, now);
            return;
        };
        let Some(offer) = self.decisions.settle(channel.number) else { return };
        let accepted = offer.accept(Some(protocol), head);
        channel.carrier = Carrier::WebSocket(Session::new(accepted.deflate));
        channel.stage = Stage::Open;
        channel.asked = false;
        let key = channel.key;
        if !protocol.is_empty()
            && accepted.protocol.is_none()
            && cx.ledger.complaints.pass(Complaint::Refused, now)
        {
            log_about!(
                warn,
                self.about_by(cx, id, key),
                protocol,
                "accepted without a subprotocol: the client does not offer this one"
            );
        }
        self.rooms.forget_place(id);
        self.send_bytes(cx, id, &accepted.response, now);
        self.begin_heartbeat(cx, id, now);
        self.leave_worker_that_ends(cx, id, now);
    }

    /// The script refuses, in its own words.
    pub(in crate::hub::live) fn refuse_handshake(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        response: Response<'_>,
        now: Instant,
    ) {
        if self.is_undecided(id) {
            self.turn_down(cx, id, response, None, now);
        } else {
            self.complain_of_decision(cx, id, now);
        }
    }

    /// The script closes what it has not accepted.
    pub(in crate::hub::live) fn forbid_handshake(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        self.turn_down(cx, id, FORBIDDEN, None, now);
    }

    /// Closes, from wherever it comes, what is not accepted. The script is told.
    pub(in crate::hub::live) fn close_undecided(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        code: u16,
        reason: &str,
        now: Instant,
    ) {
        match code {
            // We go away, or the channel does.
            1001 => self.turn_down_with(cx, id, 503, (code, reason), now),
            _ => self.turn_down(cx, id, FORBIDDEN, Some((code, reason)), now),
        }
    }

    /// Mongrel2 reads frames from the first byte behind a handshake on, but a client has to wait for its answer.
    pub(in crate::hub::live) fn refuse_early_frame(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        cx.ledger.counters.violations += 1;
        if let Some(key) = self.key_of(id).filter(|_| cx.ledger.complaints.pass(Complaint::Refused, now)) {
            log_about!(
                warn,
                self.about_by(cx, id, key),
                "refused: it sends before its handshake is answered"
            );
        }
        self.turn_down_with(cx, id, 400, (1002, "sent before the handshake was answered"), now);
    }

    /// Handshakes for whose decision the time is over.
    pub(in crate::hub::live) fn end_undecided(&mut self, cx: &mut Context, now: Instant) {
        while let Some(id) = self.decisions.next_overdue(now) {
            let Some(key) = self.key_of(id) else { continue };
            let (about, time) = (self.about(cx, id), cx.limits.request_timeout);
            let about = about.unwrap_or_else(|| About::connection(key));
            log_about!(warn, about, status = 504, "no decision about a handshake within {time:?}: 504");
            cx.ledger.counters.timed_out += 1;
            self.turn_down_with(cx, id, 504, (1006, ""), now);
        }
    }

    /// The worker that was asked ran for too long without pause, and is dead. Another one would do the same.
    pub(in crate::hub::live) fn end_hung(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        cx.ledger.counters.timed_out += 1;
        self.turn_down_with(cx, id, 504, (1006, ""), now);
    }

    /// The worker that had it is dead. `false`: nobody else needs to hear of it.
    pub(in crate::hub::live) fn may_ask_again(&mut self, cx: &mut Context, id: LiveId, now: Instant) -> bool {
        let Some(channel) = self.lives.get_mut(id) else { return false };
        if channel.stage == Stage::Over {
            // Nobody is left who knows it.
            self.forget_live(cx, id);
            return false;
        }
        // One that was not started does not count.
        let was_seen = std::mem::take(&mut channel.opened);
        if !was_seen || self.decisions.may_ask_again(channel.number) {
            return true;
        }
        let key = channel.key;
        let about = self.about(cx, id).unwrap_or_else(|| About::connection(key));
        log_about!(warn, about, status = 502, "two workers died before they decided about a handshake: 502");
        cx.ledger.counters.worker_died += 1;
        self.turn_down_with(cx, id, 502, (1006, ""), now);
        false
    }

    /// One of our own pages in place of the handshake; the script hears the close.
    fn turn_down_with(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        status: u16,
        close: (u16, &str),
        now: Instant,
    ) {
        let head = answers::head(status, None);
        let text =
            if status == 503 && cx.stopping.is_some() { answers::STOPPING } else { answers::text(status) };
        let response = Response { status, head: head.as_bytes(), body: text.as_bytes() };
        self.turn_down(cx, id, response, Some(close), now);
    }

    /// An HTTP answer in place of the handshake. It is the last one: Mongrel2 reads frames from this connection by now.
    fn turn_down(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        response: Response<'_>,
        close: Option<(u16, &str)>,
        now: Instant,
    ) {
        let Some(key) = self.key_of(id).filter(|_| self.is_undecided(id)) else { return };
        let mut written = Vec::new();
        response
            .encode(&mut written, Form { head_only: false, persistence: Persistence::Close, date: &cx.date });
        match close {
            Some((code, reason)) => self.end_live(cx, id, code, reason, now),
            None => {
                self.take_off(cx, id);
                self.forget_live(cx, id);
            }
        }
        self.send_last_words(cx, key, &written);
    }

    fn complain_of_decision(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        self.refuse_order(
            cx,
            id,
            "dropped a decision about a handshake: it is decided, or nobody asked",
            now,
        );
    }
}
