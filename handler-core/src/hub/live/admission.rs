//! Whether a new live connection may begin on a server that has many.

use super::heartbeat::waits;
use crate::hub::context::Context;
use crate::hub::ids::{ConnKey, LinkId};
use crate::hub::live::Live;
use crate::hub::request::Plan;
use crate::hub::servers::capacity::{Capacity, nearly};
use std::time::Instant;

/// What a client that is refused should wait, in seconds.
const RETRY_AFTER: u32 = 10;

impl Live {
    /// Whether a new live connection may begin that `asking` asks for. The log says once that the server is nearly full,
    /// and once that it is full, until it has been less full again.
    pub(in crate::hub) fn admits(&mut self, cx: &mut Context, asking: ConnKey, now: Instant) -> bool {
        let link = asking.link;
        if cx.servers.links.get(usize::from(link.0)).is_none() {
            return true;
        }
        let (most, held) = (cx.most_live(link), self.lives.held_by(link));
        let (state, conns) = (&mut cx.servers[link], &cx.outbox.conns.map);
        // Counting costs a look at each request, so it is done only where the sum may matter.
        let at_most = held + conns.len() + state.load.others();
        let count = if at_most < nearly(most) {
            at_most
        } else {
            let (room, incarnation) = (state.capacity.map_or(0, Capacity::room), state.incarnation);
            let is_other =
                |key: &ConnKey| key.link == link && key.incarnation == incarnation && *key != asking;
            let waiting = || {
                let waiting =
                    conns.iter().filter(|(key, conn)| is_other(key) && conn.live.is_none() && waits(conn));
                waiting.count()
            };
            held + state.load.count(room, now, waiting)
        };
        if !state.load.admits(link, count, most) {
            cx.ledger.counters.overloaded += 1;
            return false;
        }
        // A stream or a poll holds its connection from now on, as the next count finds.
        state.load.hold(usize::from(conns.get(&asking).is_some_and(waits)));
        true
    }

    /// A session's WebSocket holds its connection from now on, as the next count finds.
    pub(in crate::hub) fn count_line(&mut self, cx: &mut Context, link: LinkId) {
        cx.servers[link].load.hold(1);
    }
}

/// The answer to a client whose live connection does not begin; `head` has further header lines.
pub(in crate::hub::live) fn refusal(head: &str) -> Plan {
    let head = format!("Content-Type: text/plain; charset=utf-8\r\nRetry-After: {RETRY_AFTER}\r\n{head}");
    let body = "503 Service Unavailable: too many clients are connected. Try again later.\n".to_owned();
    Plan::Answer { status: 503, head, body }
}
