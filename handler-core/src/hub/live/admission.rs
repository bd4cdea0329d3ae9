//! Whether a new live connection may begin on a server that has many.

use super::heartbeat::waits;
use crate::hub::context::Context;
use crate::hub::ids::{ConnKey, LinkId};
use crate::hub::live::Live;
use crate::hub::request::Plan;
use crate::hub::servers::capacity::Capacity;
use std::time::{Duration, Instant};
use tracing::warn;

/// How old a count of waiting requests may be. It looks at each of them.
const RECOUNT: Duration = Duration::from_millis(100);
/// What a client that is refused should wait, in seconds.
const RETRY_AFTER: u32 = 10;

impl Live {
    /// The connections of a link as far as the hub knows, without `asking`: live ones, requests that wait, and others
    /// beyond the room for them.
    fn count_connections(&mut self, cx: &mut Context, asking: ConnKey, now: Instant) -> usize {
        let link = asking.link;
        let (live, state) = (self.lives.held_by(link), &mut cx.servers[link]);
        let load = &mut state.load;
        if load.counted.is_none_or(|at| now.saturating_duration_since(at) >= RECOUNT) {
            let incarnation = state.incarnation;
            let waiting = cx.outbox.conns.map.iter().filter(|(key, conn)| {
                key.link == link
                    && key.incarnation == incarnation
                    && **key != asking
                    && conn.live.is_none()
                    && waits(conn)
            });
            (load.waiting, load.counted) = (waiting.count(), Some(now));
        }
        let room = state.capacity.map_or(0, Capacity::room);
        live + load.waiting + load.others.saturating_sub(room)
    }

    /// Whether a new live connection may begin that `asking` asks for. The log says once that the server is nearly full,
    /// and once that it is full, until it has been less full again.
    pub(in crate::hub) fn admits(&mut self, cx: &mut Context, asking: ConnKey, now: Instant) -> bool {
        let link = asking.link;
        let Some(state) = cx.servers.links.get(usize::from(link.0)) else { return true };
        let most = cx.most_live(link);
        let many = most - most / 10;
        // Counting costs a look at each request, so it is done only where the sum may matter.
        let at_most = self.lives.held_by(link) + cx.outbox.conns.map.len() + state.load.others;
        let count = if at_most < many { at_most } else { self.count_connections(cx, asking, now) };
        let load = &mut cx.servers[link].load;
        if count < most - most / 5 {
            load.warned = false;
        }
        if count < many {
            load.refused = false;
        } else if !load.warned {
            load.warned = true;
            warn!(
                link = link.0,
                connections = count,
                bound = most,
                "mongrel2 is nearly full: beyond the bound, new live connections get 503 (see `connections` in docs/config.md)"
            );
        }
        if count < most {
            // A stream or a poll holds its connection from now on, as the next count finds.
            load.waiting += usize::from(cx.outbox.conns.map.get(&asking).is_some_and(waits));
            return true;
        }
        if !load.refused {
            load.refused = true;
            warn!(
                link = link.0,
                connections = count,
                bound = most,
                "mongrel2 is full: new live connections get 503"
            );
        }
        cx.ledger.counters.overloaded += 1;
        false
    }

    /// A session's WebSocket holds its connection from now on, as the next count finds.
    pub(in crate::hub) fn count_line(&mut self, cx: &mut Context, link: LinkId) {
        cx.servers[link].load.waiting += 1;
    }
}

/// The answer to a client whose live connection does not begin; `head` has further header lines.
pub(in crate::hub::live) fn refusal(head: &str) -> Plan {
    let head = format!("Content-Type: text/plain; charset=utf-8\r\nRetry-After: {RETRY_AFTER}\r\n{head}");
    let body = "503 Service Unavailable: too many clients are connected. Try again later.\n".to_owned();
    Plan::Answer { status: 503, head, body }
}
