//! How a live connection begins.

use crate::hub::context::Context;
use crate::hub::ids::{AppId, ConnKey, LiveId};
use crate::hub::ledger::taps::Passing;
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::pending::Pending;
use crate::hub::live::table::{Attached, Channel, Lives, Stage};
use mongrel2_wire::Envelope;
use std::time::Instant;
use tracing::warn;

/// How a live connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub::live) enum Beginning {
    /// Both sides speak from now on.
    Accepted,
    /// The script decides whether it does.
    Asked,
    /// It began in another life of the hub.
    Adopted,
}

impl Live {
    /// `key`: the connection that it is; none for a session.
    pub(in crate::hub::live) fn open_live(
        &mut self,
        cx: &mut Context,
        key: Option<ConnKey>,
        (app, route): (AppId, u16),
        carrier: impl FnOnce(u64) -> Carrier,
        (message, beginning): (&[u8], Beginning),
        now: Instant,
    ) -> Option<LiveId> {
        let asked = beginning == Beginning::Asked;
        let client = key.is_none().then(|| Envelope::parse(message).ok()).flatten();
        let client = client.and_then(|opening| cx.clients.address(&opening.headers));
        if key.is_none() && !self.makes_room_for_session(cx, client, now) {
            return None;
        }
        let opening = self.keeper.keep(message);
        let heard = self.lives.second(now);
        let meter = cx.apps[app].channel_meter(route);
        let made = self.lives.insert(|number, own| Channel {
            key: key.unwrap_or(own),
            app,
            route,
            meter,
            number,
            heard,
            carrier: carrier(number),
            stage: if asked { Stage::Asked } else { Stage::Open },
            asked,
            opened: false,
            resumed: beginning == Beginning::Adopted,
            orphan: false,
            worker: Attached::NONE,
            work: None,
            opening,
        });
        let Some(id) = made else {
            cx.ledger.counters.overloaded += 1;
            warn!("{} live connections are open, no more fit", Lives::MAX);
            if let Some(key) = key {
                cx.close(key);
            }
            return None;
        };
        if key.is_none() {
            self.sessions.begin(id, client);
        }
        cx.ledger.counters.opened += 1;
        if let Some(meter) = self.meter_of(id).and_then(|meter| cx.ledger.traffic.channel(meter)) {
            meter.opened += 1;
        }
        self.note(cx, id, Passing::Opened);
        // An entry may remain from requests of the same connection; it sends for this one now.
        if key.is_some_and(|key| cx.outbox.conns.map.contains_key(&key)) {
            let _ = self.live_conn(cx, id, now);
        }
        if asked {
            cx.hold(now);
        } else {
            self.begin_heartbeat(cx, id, now);
        }
        Some(id)
    }

    /// Its first order for a worker: open.
    pub(in crate::hub::live) fn begin_work(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        self.give(cx, id, Pending::Open { fresh: true }, now);
    }
}

/// A message without its body: what a script sees as the opening request. A socket's is a message of its own, a
/// handshake's is Mongrel2's answer to the client's key.
pub(in crate::hub::live) fn without_body(message: &[u8], envelope: &Envelope<'_>) -> Vec<u8> {
    let body = envelope.body.len();
    if body == 0 {
        return message.to_vec();
    }
    let digits = body.checked_ilog10().map_or(1, |log| log as usize + 1);
    let head = message.len().saturating_sub(digits + 1 + body + 1);
    [&message[..head], b"0:,"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_without_its_body_is_a_message() {
        let message = b"m2 7 @chat 16:6:METHOD,4:JSON,}13:{\"text\":\"hi\"},";
        let envelope = Envelope::parse(message).unwrap();
        let bare = without_body(message, &envelope);
        assert_eq!(bare, b"m2 7 @chat 16:6:METHOD,4:JSON,}0:,");
        assert!(Envelope::parse(&bare).is_ok());
    }
}
