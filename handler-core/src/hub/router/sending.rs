//! What leaves at the end of a turn.

use crate::hub::Hub;
use crate::hub::event::Event;
use crate::hub::ids::{LinkId, LiveId};
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::limits::Limits;
use crate::hub::live::Live;
use crate::hub::outbox::Outbox;
use crate::hub::outbox::connection::Conn;
use crate::hub::outbox::flush::{Outcome, Sending, Source};
use crate::hub::outbox::stalled::{GivenUp, Why};
use std::time::Instant;

/// Live connections as the source of what is written when it can leave.
struct FromLive<'a> {
    live: &'a mut Live,
    limits: &'a Limits,
}

impl Source for FromLive<'_> {
    fn fill(&mut self, conn: &mut Conn, now: Instant) {
        self.live.fill_stream(conn, self.limits, now);
    }

    fn pinged(&self, conn: &Conn) -> Option<LiveId> {
        conn.live.or(conn.carries.filter(|id| self.live.lives.is_on_line(*id)))
    }

    fn begin_ping(&mut self, live: LiveId) -> bool {
        self.live.lives.begin_ping(live)
    }
}

impl Hub {
    /// Hands out the replies of this turn, each with its link, in order.
    pub fn drain_replies(&mut self, send: impl FnMut(LinkId, &[u8])) {
        self.cx.outbox.drain_replies(send);
    }

    /// Whether connections wait for a server that takes more now: another turn is worth it, though nothing happened.
    pub fn has_work(&mut self, now: Instant) -> bool {
        self.cx.outbox.has_work(&mut self.cx.servers, now) || self.live.has_polls_to_answer(&mut self.cx)
    }

    /// Puts together what connections have to send.
    pub(in crate::hub) fn flush(&mut self, now: Instant) {
        self.cx.outbox.wake_paced(now);
        loop {
            // Flushing may let a connection go on, and its next answer may be the hub's own.
            while self.cx.outbox.is_dirty() {
                self.flush_with(|outbox, with, now| outbox.flush_dirty(with, now), now);
            }
            self.flush_with(|outbox, with, now| outbox.flush_waiting(with, now), now);
            if !self.cx.outbox.is_dirty() {
                break;
            }
        }
        self.cx.outbox.end_flush(&self.cx.servers);
    }

    fn flush_with(
        &mut self,
        flush: impl FnOnce(&mut Outbox, &mut Sending<'_, FromLive<'_>>, Instant),
        now: Instant,
    ) {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let mut with = Sending {
            servers: &mut self.cx.servers,
            workers: &mut self.cx.workers,
            source: FromLive { live: &mut self.live, limits: &self.cx.limits },
            outcomes: &mut outcomes,
        };
        flush(&mut self.cx.outbox, &mut with, now);
        for outcome in outcomes.drain(..) {
            self.handle_outcome(outcome, now);
        }
        self.outcomes = outcomes;
    }

    fn handle_outcome(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Ready(key) => self.cx.events.push(Event::Ready(key)),
            Outcome::Closed(key) => {
                // A live connection ends before its close is sent; but others can close it too: an answer to HTTP that
                // came by the same connection, a raw script.
                self.exchange.raw_clients.forget(key);
                self.with_live(now, |live, cx| live.live_disconnected(cx, key, now));
                if let Some(id) = self.cx.outbox.conns.map.get(&key).and_then(|conn| conn.carries) {
                    self.live.stream_gone(id, key);
                }
                self.exchange.drop_requests(&mut self.cx, key);
                // Raw messages that came before the close still reach their script.
                self.cx.events.push(Event::Ready(key));
            }
            Outcome::Dropped(key, dropped) => {
                let about = self.about_connection(key);
                log_about!(warn, about, "dropped {dropped} messages in all: the client did not read");
            }
        }
        self.settle(now);
    }

    /// Gives up clients that take nothing, and forgets connections of which nothing is left to do.
    pub(in crate::hub) fn look_at_idle(&mut self, now: Instant) {
        for GivenUp { key, waiting, why } in self.cx.outbox.look_at_idle(&self.cx.servers, now) {
            if waiting > 0 {
                self.cx.ledger.counters.overflowed += 1;
                if self.cx.ledger.complaints.pass(Complaint::Overflow, now) {
                    let about = self.about_connection(key);
                    match why {
                        Why::ReadsNothing => log_about!(
                            warn,
                            about,
                            waiting,
                            "dropped and closed: the client has read nothing for minutes"
                        ),
                        Why::ServerIsFull => log_about!(
                            warn,
                            about,
                            waiting,
                            "dropped and closed: too much waits for this server's clients, and this one does not read"
                        ),
                    }
                }
            }
            self.with_live(now, |live, cx| live.live_disconnected(cx, key, now));
            self.drop_connection(key, now);
        }
        for (id, unproven) in self.cx.outbox.conns.released.drain(..) {
            self.live.lives.stop_waiting(id, unproven);
        }
    }
}
