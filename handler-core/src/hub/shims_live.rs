//! Methods of the hub that the other parts still call.

use crate::hub::Hub;
use crate::hub::apps::channels::Channels;
use crate::hub::ids::*;
use crate::hub::live::Pending;
use crate::worker::protocol::Action;
use mongrel2_wire::{Envelope, Head};
use std::time::Instant;

impl Hub {
    pub(in crate::hub) fn answer_ready_polls(&mut self, now: Instant) {
        let result = self.live.answer_ready_polls(&mut self.cx, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn beat(&mut self, has_requests: bool, now: Instant) {
        let result = self.live.beat(&mut self.cx, has_requests, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn close_all_live(&mut self, now: Instant) {
        let result = self.live.close_all_live(&mut self.cx, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn close_live(&mut self, id: LiveId, code: u16, reason: &str, now: Instant) {
        let result = self.live.close_live(&mut self.cx, id, code, reason, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn end_live(&mut self, id: LiveId, code: u16, reason: &str, now: Instant) {
        let result = self.live.end_live(&mut self.cx, id, code, reason, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn end_lost_channels(&mut self, app: AppId, new: &Channels, now: Instant) {
        let result = self.live.end_lost_channels(&mut self.cx, app, new, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn flush_publishing(&mut self, now: Instant) {
        let result = self.live.flush_publishing(&mut self.cx, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn give(&mut self, id: LiveId, pending: Pending, now: Instant) {
        let result = self.live.give(&mut self.cx, id, pending, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn handle_live_action(&mut self, worker: WorkerId, action: Action<'_>, now: Instant) {
        let result = self.live.handle_live_action(&mut self.cx, worker, action, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn handle_live_message(
        &mut self,
        key: ConnKey,
        envelope: &Envelope<'_>,
        head: &Head<'_>,
        message: &[u8],
        now: Instant,
    ) -> bool {
        let result = self.live.handle_live_message(&mut self.cx, key, envelope, head, message, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn has_live_work(&self, app: AppId, hope: bool) -> bool {
        self.live.has_live_work(app, hope)
    }

    pub(in crate::hub) fn has_polls_to_answer(&mut self) -> bool {
        self.live.has_polls_to_answer(&mut self.cx)
    }

    pub(in crate::hub) fn live_by_name(&self, name: &str) -> Option<LiveId> {
        self.live.live_by_name(&self.cx, name)
    }

    pub(in crate::hub) fn live_disconnected(&mut self, key: ConnKey, now: Instant) -> bool {
        let result = self.live.live_disconnected(&mut self.cx, key, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn live_done(&mut self, worker: WorkerId, id: LiveId, serial: u64, now: Instant) {
        let result = self.live.live_done(&mut self.cx, worker, id, serial, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn live_lost(
        &mut self,
        arg0: (WorkerId, u32),
        id: LiveId,
        serial: u64,
        hung: bool,
        now: Instant,
    ) {
        let result = self.live.live_lost(&mut self.cx, arg0, id, serial, hung, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn live_returned(&mut self, worker: WorkerId, id: LiveId, serial: u64) {
        self.live.live_returned(&mut self.cx, worker, id, serial)
    }

    pub(in crate::hub) fn live_server_down(&mut self, link: LinkId, now: Instant) -> usize {
        let result = self.live.live_server_down(&mut self.cx, link, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn live_taken_over(&mut self, app: AppId, now: Instant) {
        let result = self.live.live_taken_over(&mut self.cx, app, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn live_worker_gone(&mut self, worker: WorkerId, now: Instant) {
        let result = self.live.live_worker_gone(&mut self.cx, worker, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn pass_time_of_sessions(&mut self, now: Instant) {
        let result = self.live.pass_time_of_sessions(&mut self.cx, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn publish(
        &mut self,
        room: &[u8],
        except: Option<LiveId>,
        binary: bool,
        payload: &[u8],
        now: Instant,
    ) {
        let result = self.live.publish(&mut self.cx, room, except, binary, payload, now);
        self.settle(now);
        result
    }

    pub(in crate::hub) fn remap_live(&mut self, app: AppId, old: &Channels) {
        self.live.remap_live(&mut self.cx, app, old)
    }

    pub(in crate::hub) fn send_live(&mut self, id: LiveId, binary: bool, payload: &[u8], now: Instant) {
        let result = self.live.send_live(&mut self.cx, id, binary, payload, now);
        self.settle(now);
        result
    }
}
