//! Workers and the code that they run: started, ready, in charge, draining, gone.
//!
//! Each app has seats. A dead worker's seat is filled again, at once if it had served. A reload
//! starts a worker for every seat beside those in charge; only when all of them are ready do they
//! take the seats, and the old ones finish what they run. Code that does not load changes nothing.
//!
//! A worker's [`Stage`]:
//!
//! | from | by | to |
//! | --- | --- | --- |
//! | (started) | | `Loading` |
//! | `Loading` | it says that it is ready | `Ready` |
//! | `Ready` | others take its seat, or the hub stops | `Draining` |
//! | any | it is late, hangs, does not load, or is not needed while it loads | `Killed` |
//! | any | its process is dead | (forgotten) |
//!
//! `reload` brings code into charge, `deaths` fills seats again, `pulse` finds workers that stand still, and `stop` ends
//! them in time. None of them has a state of its own: it is the workers' and the apps'.

pub(in crate::hub) mod deaths;
pub(in crate::hub) mod pulse;
pub(in crate::hub) mod reload;
pub(in crate::hub) mod stop;

use crate::hub::context::Context;
use crate::hub::effect::Effect;
use crate::hub::ids::{AppId, WorkerId};
use crate::hub::workers::worker::{Stage, Worker};
use crate::worker::protocol::{encode_lead, encode_stop};
use std::time::Instant;

/// Starts a worker of an app.
fn start_worker(cx: &mut Context, app: AppId, number: u32, now: Instant) -> WorkerId {
    let worker = cx.workers.insert(Worker::new(app, number, now));
    cx.effects.push_back(Effect::StartWorker { worker, app, number });
    worker
}

/// Kills a worker, unless that has been done.
pub(in crate::hub) fn kill(cx: &mut Context, id: WorkerId) {
    let Some(worker) = cx.workers.get_mut(id) else { return };
    if worker.stage != Stage::Killed {
        worker.stage = Stage::Killed;
        cx.effects.push_back(Effect::KillWorker(id));
    }
}

/// Lets a worker finish what it has and end.
fn drain(cx: &mut Context, id: WorkerId, now: Instant) {
    let Some(worker) = cx.workers.get_mut(id) else { return };
    if let Stage::Ready { .. } = worker.stage {
        worker.stage = Stage::Draining { since: now };
        let end = cx.stopping.unwrap_or(now) + cx.limits.stop_time;
        worker.work_ends = Some(end);
        let work = end.saturating_duration_since(now);
        encode_stop(&mut worker.orders, work, cx.limits.hook_time);
    } else if let Stage::Loading { .. } = worker.stage {
        kill(cx, id);
    }
}

/// Kills the workers of newer code that is not in charge yet.
fn drop_incoming(cx: &mut Context, app: AppId) {
    if let Some(incoming) = cx.apps[app].incoming.take() {
        incoming.workers.into_iter().for_each(|worker| kill(cx, worker));
    }
}

fn is_ready(cx: &Context, id: WorkerId) -> bool {
    cx.workers.get(id).is_some_and(|worker| matches!(worker.stage, Stage::Ready { .. }))
}

/// One of an app's workers runs the timers.
fn choose_lead(cx: &mut Context, app: AppId) {
    if cx.apps[app].lead.is_some() {
        return;
    }
    let mut seated = cx.apps[app].seats.iter().filter_map(|seat| seat.worker);
    if let Some(id) = seated.find(|id| is_ready(cx, *id)) {
        cx.apps[app].lead = Some(id);
        if let Some(worker) = cx.workers.get_mut(id) {
            encode_lead(&mut worker.orders);
        }
    }
}

/// Whether a worker of this app takes jobs, or may do so yet.
pub(in crate::hub) fn has_hope(cx: &Context, app: AppId) -> bool {
    let seated = cx.apps[app].seats.iter().filter_map(|seat| seat.worker);
    let mut seated = seated.filter_map(|id| cx.workers.get(id));
    seated.any(|worker| matches!(worker.stage, Stage::Loading { .. } | Stage::Ready { .. }))
}
