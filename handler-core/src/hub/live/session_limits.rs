//! Room for one more session, of all clients or of one address.

use crate::hub::context::Context;
use crate::hub::ids::LiveId;
use crate::hub::ledger::counters::Complaint;
use crate::hub::live::Live;
use kennel_http::client_address::ClientAddress;
use std::time::Instant;
use tracing::warn;

impl Live {
    /// Whether there is room for a session of this client, if need be by ending one that no client has come back to.
    /// Nothing is kept for a client that comes after all: it gets 410, and opens another one.
    pub(in crate::hub::live) fn makes_room_for_session(
        &mut self,
        cx: &mut Context,
        client: Option<ClientAddress>,
        now: Instant,
    ) -> bool {
        let most = cx.limits.sessions_per_address;
        let sessions = &mut self.sessions;
        let share = client.and_then(|client| sessions.shares.shares.get_mut(&client));
        if let Some(share) = share.filter(|share| share.open >= most) {
            let oldest = share.unused.take_oldest(&self.lives);
            if cx.ledger.complaints.pass(Complaint::Overflow, now) {
                let becomes = becomes_of(oldest);
                let client = client.map(tracing::field::display);
                warn!(
                    client,
                    "{most} sessions of this address are open: {becomes}: limits.sessions_per_address"
                );
            }
            // That is room for one of all clients, too.
            return self.end_for_room(cx, oldest, now);
        }
        let most = cx.limits.sessions;
        if self.sessions.open < most {
            return true;
        }
        let oldest = self.sessions.unused.take_oldest(&self.lives);
        if cx.ledger.complaints.pass(Complaint::Overflow, now) {
            warn!("{most} sessions are open: {}: limits.sessions", becomes_of(oldest));
        }
        self.end_for_room(cx, oldest, now)
    }

    fn end_for_room(&mut self, cx: &mut Context, oldest: Option<LiveId>, now: Instant) -> bool {
        match oldest {
            Some(id) => self.end_live(cx, id, 1013, "too many sessions", now),
            None => cx.ledger.counters.overloaded += 1,
        }
        oldest.is_some()
    }
}

fn becomes_of(oldest: Option<LiveId>) -> &'static str {
    match oldest {
        Some(_) => "one that was never polled is ended for a new one",
        None => "a new one gets 503",
    }
}
