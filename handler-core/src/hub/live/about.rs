//! What the log says about a live connection.

use super::Live;
use crate::hub::context::Context;
use crate::hub::ids::{ConnKey, LiveId};
use crate::hub::ledger::about::{About, log_about};
use crate::hub::ledger::counters::Complaint;
use mongrel2_wire::Envelope;
use std::time::Instant;

impl Live {
    /// What the log says about a live connection: method and path are those by which it was opened.
    pub(in crate::hub) fn about(&self, cx: &Context, id: LiveId) -> Option<About> {
        let glimpse = self.glimpse(id)?;
        let opening = self.opening_message(id);
        let about = match opening.as_deref().map(Envelope::parse) {
            Some(Ok(envelope)) => About::message(glimpse.key, &envelope),
            _ => About::connection(glimpse.key),
        };
        let worker = glimpse.worker.and_then(|worker| Some(cx.workers.get(worker)?.number));
        Some(About { app: Some(cx.apps[glimpse.app].spec.name.clone()), worker, ..about })
    }

    /// The same for one that uses a Mongrel2 connection: its own, or the one that carries its session now.
    pub(in crate::hub) fn about_by(&self, cx: &Context, id: LiveId, key: ConnKey) -> About {
        let about = self.about(cx, id).unwrap_or_else(|| About::connection(key));
        About { link: key.link.0, conn: key.id.get(), ..about }
    }
}

impl Live {
    /// A script wants what cannot be.
    pub(in crate::hub::live) fn refuse_order(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        problem: &str,
        now: Instant,
    ) {
        cx.ledger.counters.refused_orders += 1;
        let Some(key) = self.key_of(id) else { return };
        if cx.ledger.complaints.pass(Complaint::Refused, now) {
            log_about!(warn, self.about_by(cx, id, key), "{problem}");
        }
    }
}
