//! Methods of the hub that the other parts still call.

use crate::hub::Hub;
use crate::hub::answers::own_page;
use crate::hub::exchange::complain_of_overload;
use crate::hub::ids::{AppId, ConnKey, LinkId, RequestId, WorkerId};
use crate::hub::ledger::about::About;
use crate::hub::ledger::counters::Complaint;
use crate::hub::request::{Asked, Plan, Planned};
use mongrel2_wire::Envelope;
use std::time::Instant;

impl Hub {
    pub(in crate::hub) fn refuse(
        &mut self,
        link: LinkId,
        envelope: &Envelope<'_>,
        reason: &str,
        now: Instant,
    ) {
        self.cx.refuse(link, envelope, reason, now);
    }

    pub(in crate::hub) fn raw_app(&self) -> Option<AppId> {
        self.cx.apps.raw()
    }

    pub(in crate::hub) fn make_room_for_next(&mut self, key: ConnKey) {
        self.exchange.make_room_for_next(&mut self.cx, key);
    }

    pub(in crate::hub) fn plan(&mut self, asked: &Asked<'_>, method: &[u8], now: Instant) -> Planned {
        self.exchange.plan(&mut self.cx, asked, method, now)
    }

    pub(in crate::hub) fn recycle(&mut self, plan: Plan) {
        self.exchange.recycle(plan);
    }

    pub(in crate::hub) fn answer_at_once(&mut self, key: ConnKey, status: u16, now: Instant) {
        self.exchange.answer_at_once(&mut self.cx, key, status, now);
        self.settle(now);
    }

    pub(in crate::hub) fn own_page(&self, status: u16) -> Plan {
        own_page(&self.cx, status)
    }

    pub(in crate::hub) fn submit(&mut self, request: RequestId, app: AppId, now: Instant) {
        self.exchange.submit(&mut self.cx, request, app, now);
        self.settle(now);
    }

    pub(in crate::hub) fn handle_call(&mut self, request: RequestId, now: Instant) {
        self.exchange.begin_call(&mut self.cx, request);
        self.settle(now);
    }

    pub(in crate::hub) fn refuse_overload(&mut self, request: RequestId, why: &str, now: Instant) {
        self.exchange.refuse_overload(&mut self.cx, request, why, now);
        self.settle(now);
    }

    pub(in crate::hub) fn complain_of_overload(
        &mut self,
        about: impl FnOnce(&Self) -> About,
        why: &str,
        now: Instant,
    ) {
        if self.cx.ledger.complaints.pass(Complaint::Overload, now) {
            complain_of_overload(&about(self), why);
        }
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
