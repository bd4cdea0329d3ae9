//! A connection as all parts see it: its end, and answers that are the hub's own.

use crate::hub::Hub;
use crate::hub::ids::ConnKey;
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::outbox::connection::{Conn, Ending};
use std::time::Instant;

impl Hub {
    /// A client is gone.
    pub(in crate::hub) fn handle_disconnect(&mut self, key: ConnKey, message: &[u8], now: Instant) {
        let ours = self.cx.outbox.conns.map.get(&key).is_some_and(|conn| conn.ending == Ending::Closed);
        self.exchange.note_cut(&mut self.cx, key, now);
        self.note_broken_upload(key, now);
        if self.with_live(now, |live, cx| live.live_disconnected(cx, key, now)) {
            self.drop_connection(key, now);
            return;
        }
        self.drop_connection(key, now);
        if !ours && self.exchange.pass_disconnect(&mut self.cx, key, message, now).is_some() {
            self.exchange.advance(&mut self.cx, key, now);
            self.settle(now);
        }
        self.exchange.raw_clients.forget(key);
    }

    /// Forgets a connection whose client is gone. Requests that nobody started are dropped with
    /// it; what runs is left to end, and its answer is not sent. Raw messages still reach their script.
    pub(in crate::hub) fn drop_connection(&mut self, key: ConnKey, now: Instant) {
        self.bodies.spooled.forget(key);
        self.exchange.drop_requests(&mut self.cx, key);
        if let Some(id) = self.cx.outbox.conns.map.get(&key).and_then(|conn| conn.carries) {
            self.live.stream_gone(id, key);
        }
        self.exchange.forget_connection(&mut self.cx, key);
        self.settle(now);
    }

    pub(in crate::hub) fn answer_at_once(&mut self, key: ConnKey, status: u16, now: Instant) {
        self.exchange.answer_at_once(&mut self.cx, key, status, now);
        self.settle(now);
    }

    /// A connection ends: the log says so if an upload had begun there and is not whole.
    pub(in crate::hub) fn note_broken_upload(&mut self, key: ConnKey, now: Instant) {
        let is_ours = self.cx.outbox.conns.map.get(&key).is_some_and(|conn| conn.is_ending());
        let is_broken = self.bodies.is_incomplete(key);
        if is_broken && !is_ours && self.cx.ledger.complaints.pass(Complaint::Cut, now) {
            log_about!(
                warn,
                self.about_body(key),
                "an upload ended before it was whole: its client left, or was too slow for mongrel2 (see docs/deploying.md)"
            );
        }
    }

    /// Sends the same bytes to many connections of one server.
    pub(in crate::hub) fn multicast(&mut self, keys: &[ConnKey], payload: &[u8], now: Instant) {
        let (lives, cx) = (&mut self.live.lives, &mut self.cx);
        // What it is sent as a live connection counts too.
        let enter = |key, conn: &mut Conn| lives.enter(key, conn, now);
        for (key, waiting) in cx.outbox.multicast(&mut cx.servers, keys, payload, enter, now) {
            self.cx.ledger.counters.overflowed += 1;
            if self.cx.ledger.complaints.pass(Complaint::Overflow, now) {
                let about = self.about_connection(key);
                log_about!(warn, about, waiting, "closed: too much waits for this client");
            }
        }
    }
}
