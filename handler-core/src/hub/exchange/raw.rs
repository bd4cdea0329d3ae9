//! Messages for the raw handler, and the connections that it addresses.

use super::Exchange;
use crate::hub::context::Context;
use crate::hub::ids::{ConnKey, LinkId, RequestId};
use crate::hub::ledger::counters::Complaint;
use crate::hub::outbox::connection::{Conn, Ending};
use crate::hub::request::Request;
use crate::hub::servers::link::Link;
use crate::worker::protocol::{Handler, Ids};
use mongrel2_wire::{ConnId, Head, Kind};
use std::time::Instant;
use tracing::warn;

impl Exchange {
    /// Puts a message that no route takes behind the others of its connection.
    pub(in crate::hub) fn enqueue_raw(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        head: &Head<'_>,
        message: &[u8],
        now: Instant,
    ) {
        let Some(app) = cx.apps.raw() else { return };
        if cx.outbox.conns.map.get(&key).is_some_and(|conn| conn.waiting.len() >= cx.limits.queue) {
            // What comes next could not be told to follow what is missing.
            cx.ledger.counters.overloaded += 1;
            self.close_in_turn(cx, key);
            return;
        }
        let plan = self.job(cx, (app, Handler::Raw), key, [].into_iter(), b"", message);
        let request = Request {
            meter: cx.meter_of(app, Handler::Raw),
            http: matches!(head.kind, Kind::Handshake | Kind::UploadStart | Kind::UploadDone),
            raw: true,
            ..Request::new(key, plan, now, cx.limits.request_timeout)
        };
        self.enqueue(cx, key, request, now);
    }

    /// Tells the raw handler of clients that went with their server.
    pub(in crate::hub) fn tell_raw_handler(&mut self, cx: &mut Context, now: Instant) {
        while let Some((key, notice)) = self.raw_clients.next_notice() {
            if let Some(request) = self.pass_disconnect(cx, key, &notice, now) {
                self.raw_clients.begin_telling(request, key.link);
                self.advance(cx, key, now);
            }
            self.raw_clients.forget(key);
        }
    }

    /// Puts a disconnect behind what the raw handler still gets of its connection.
    pub(in crate::hub) fn pass_disconnect(
        &mut self,
        cx: &mut Context,
        key: ConnKey,
        message: &[u8],
        now: Instant,
    ) -> Option<RequestId> {
        let app = cx.apps.raw()?;
        let plan = self.job(cx, (app, Handler::Raw), key, [].into_iter(), b"", message);
        let request =
            Request { http: false, raw: true, ..Request::new(key, plan, now, cx.limits.request_timeout) };
        let conn = cx
            .outbox
            .conns
            .map
            .entry(key)
            .or_insert_with(|| Conn { ending: Ending::Gone, ..Conn::default() });
        let request = self.requests.insert(request);
        conn.waiting.push_back(request);
        Some(request)
    }

    /// The connections that a script addresses, unless it may mean others than it says.
    pub(in crate::hub) fn raw_targets(
        &mut self,
        cx: &mut Context,
        sender: &str,
        ids: Ids<'_>,
        now: Instant,
    ) -> Vec<ConnKey> {
        let is_meant = |l: &Link| l.up && l.sender.as_ref().is_some_and(|s| s.as_str() == sender);
        let mut links = cx.servers.links.iter().enumerate().filter(|(_, l)| is_meant(l)).map(|(n, _)| n);
        let (Some(link), None) = (links.next(), links.next()) else {
            cx.ledger.counters.bad_targets += ids.count() as u64;
            if cx.ledger.complaints.pass(Complaint::Target, now) {
                warn!("a script addressed `{sender}`, but no server or more than one is called so");
            }
            return Vec::new();
        };
        let incarnation = cx.servers.links[link].incarnation;
        let link = LinkId(link as u16);
        if self.raw_clients.is_outdated(link) {
            cx.ledger.counters.bad_targets += ids.count() as u64;
            if cx.ledger.complaints.pass(Complaint::Target, now) {
                warn!(
                    "a script addressed clients of `{sender}` before it knew that the server had restarted"
                );
            }
            return Vec::new();
        }
        let mut keys = Vec::new();
        for id in ids {
            match ConnId::try_from(id) {
                Ok(id) => keys.push(ConnKey { link, incarnation, id }),
                Err(problem) => {
                    cx.ledger.counters.bad_targets += 1;
                    if cx.ledger.complaints.pass(Complaint::Target, now) {
                        warn!("a script addressed a connection that cannot be: {problem}");
                    }
                }
            }
        }
        keys
    }
}
