//! The requests that have no response yet.

use super::Exchange;
use crate::hub::context::Context;
use crate::hub::effect::Effect;
use crate::hub::event::Event;
use crate::hub::ids::{ConnKey, RequestId};
use crate::hub::request::{Place, Plan, Request};
use crate::worker::protocol::encode_gone;

/// Buffers larger than this are not kept for the next job.
const SPARE_SIZE: usize = 16 << 10;
const SPARE_COUNT: usize = 256;

impl Exchange {
    /// Forgets a request that will have no answer, or no further one.
    pub(in crate::hub) fn remove_request(&mut self, cx: &mut Context, key: RequestId) -> Option<Request> {
        let request = self.take_request(cx, key)?;
        if request.http && !request.begun {
            cx.ledger.traffic.lost(request.meter);
        }
        Some(request)
    }

    /// Forgets a request, and what was kept for it. The caller says what became of it.
    pub(in crate::hub) fn take_request(&mut self, cx: &mut Context, key: RequestId) -> Option<Request> {
        let mut request = self.requests.remove(key)?;
        let plan = std::mem::replace(&mut request.plan, Plan::NONE);
        if let Plan::Held(session) = plan {
            cx.events.push(Event::HeldGone(session, key));
        }
        self.recycle(plan);
        cx.effects.extend(request.spool.take().map(Effect::DeleteFile));
        if request.body.is_arriving() {
            cx.events.push(Event::BodyUnwanted(key, request.conn));
        }
        Some(request)
    }

    /// Keeps the buffer of a plan that is not carried out any more.
    pub(in crate::hub) fn recycle(&mut self, plan: Plan) {
        if let Plan::Run { mut job, .. } = plan
            && job.capacity() <= SPARE_SIZE
            && self.spare.len() < SPARE_COUNT
        {
            job.clear();
            self.spare.push(job);
        }
    }

    /// Nobody waits for the answer of a request any more: its worker may want to know.
    pub(super) fn lose_client(&mut self, cx: &mut Context, key: RequestId) {
        let Some(request) = self.requests.get_mut(key) else { return };
        if std::mem::replace(&mut request.gone, true) || !request.http || request.raw {
            return;
        }
        if let Place::Worker(id, serial) = request.place
            && let Some(worker) = cx.workers.get_mut(id)
        {
            encode_gone(&mut worker.orders, serial);
        }
    }
}

/// A request is over: its connection may go on with the next one.
pub(in crate::hub) fn leave(cx: &mut Context, conn: ConnKey, request: RequestId) {
    if let Some(state) = cx.outbox.conns.map.get_mut(&conn)
        && state.current == Some(request)
    {
        state.current = None;
        cx.events.push(Event::Ready(conn));
    }
}
