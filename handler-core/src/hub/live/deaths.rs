//! What becomes of live connections whose worker has died.

use crate::hub::context::Context;
use crate::hub::ids::{LiveId, WorkerId};
use crate::hub::ledger::about::{About, log_about};
use crate::hub::live::Live;
use crate::hub::live::pending::Pending;
use crate::hub::live::table::{Attached, Channel, Stage};
use std::time::Instant;

impl Live {
    /// A worker died while it ran this. It is not run again.
    pub(in crate::hub) fn live_lost(
        &mut self,
        cx: &mut Context,
        (worker, number): (WorkerId, u32),
        id: LiveId,
        serial: u64,
        hung: bool,
        now: Instant,
    ) {
        let Some((channel, pending)) = self.lives.land(worker, id, serial) else { return };
        let (key, undecided) = (channel.key, channel.stage == Stage::Asked);
        if let Some(work) = &mut channel.work {
            work.bytes -= pending.size().min(work.bytes);
        }
        let what = match pending {
            Pending::Open { .. } => {
                channel.opened = true;
                "open"
            }
            Pending::Message { .. } => "message",
            Pending::Close { .. } => "close",
        };
        if undecided {
            // Another worker is asked, unless that would end the same way.
            if hung {
                self.end_hung(cx, id, now);
            }
            return;
        }
        cx.ledger.counters.worker_died += 1;
        let about = self.about(cx, id).unwrap_or_else(|| About::connection(key));
        let about = About { worker: Some(number), ..about };
        log_about!(warn, about, "dropped with its worker, which was running it: {what}");
        if what == "close" {
            self.forget_live(cx, id);
            return;
        }
        if what == "open" {
            self.opened(cx, id);
        }
        if hung {
            self.to_close(cx, id, 1011, "the script took too long");
        }
    }

    /// A worker is gone: its connections find another one when there is something to do.
    pub(in crate::hub) fn live_worker_gone(&mut self, cx: &mut Context, worker: WorkerId, now: Instant) {
        let of_worker =
            |(id, channel): (LiveId, &Channel)| (channel.worker == Attached::to(worker)).then_some(id);
        let ids: Vec<_> = self.lives.iter().filter_map(of_worker).collect();
        for id in ids {
            let Some(channel) = self.lives.get_mut(id) else { continue };
            channel.worker = Attached::NONE;
            if channel.asked && !self.may_ask_again(cx, id, now) {
                continue;
            }
            let Some(channel) = self.lives.get_mut(id) else { continue };
            channel.resumed |= channel.opened;
            if let Some(work) = &mut channel.work {
                work.listed = false;
                while let Some((_, pending)) = work.flight.pop_back() {
                    work.waiting.push_front(pending);
                }
            }
            self.restart_straight(cx, id, now);
        }
    }
}
