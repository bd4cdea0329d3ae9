//! Methods of the hub that the other parts still call.

use crate::hub::Hub;
use crate::hub::ids::{AppId, RequestId, WorkerId};
use std::time::Instant;

impl Hub {
    pub(in crate::hub) fn refuse_overload(&mut self, request: RequestId, why: &str, now: Instant) {
        self.exchange.refuse_overload(&mut self.cx, request, why, now);
        self.settle(now);
    }

    pub(in crate::hub) fn least_loaded(&self, app: AppId) -> Option<WorkerId> {
        self.cx.least_loaded(app)
    }

    pub(in crate::hub) fn requeue(&mut self, request: RequestId, now: Instant) {
        self.exchange.requeue(&mut self.cx, request, now);
        self.settle(now);
    }

    pub(in crate::hub) fn answer_with(&mut self, request: RequestId, status: u16, now: Instant) {
        self.exchange.answer_with(&mut self.cx, request, status, now);
        self.settle(now);
    }
}
