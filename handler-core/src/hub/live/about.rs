//! What the log says about a live connection.

use super::Live;
use crate::hub::context::Context;
use crate::hub::ids::{ConnKey, LiveId};
use crate::hub::ledger::about::About;
use mongrel2_wire::Envelope;

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
