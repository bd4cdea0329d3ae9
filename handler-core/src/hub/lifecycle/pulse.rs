//! Workers that stand still: what they have not started goes to others, and one that hangs is killed.

use super::kill;
use crate::hub::context::Context;
use crate::hub::effect::Effect;
use crate::hub::event::Event;
use crate::hub::ids::{Job, WorkerId};
use crate::hub::workers::worker::{Stage, Worker};
use crate::worker::pulse::Pulse;
use std::time::Instant;
use tracing::error;

/// The workers whose pulse is worth looking at now.
pub(in crate::hub) fn busy_workers(cx: &Context) -> impl Iterator<Item = WorkerId> {
    cx.workers.iter().filter(|(_, w)| !w.jobs.is_empty() || w.stuck).map(|(id, _)| id)
}

/// What a worker's page shows.
pub(in crate::hub) fn look(cx: &mut Context, id: WorkerId, pulse: Pulse, now: Instant) {
    let Some(worker) = cx.workers.get_mut(id) else { return };
    let moved = worker.look(pulse, now);
    let is_behind = worker.pace.look(worker.serial);
    let script_time = cx.limits.script_time;
    if moved {
        worker.stuck = false;
        let others_wait = !worker.listed.is_empty() || !cx.apps[worker.app].queue.is_empty();
        if is_behind && (others_wait || worker.jobs.values().any(|job| matches!(job, Job::Live(_)))) {
            // What it was given ahead goes back to take its turn with what waits.
            cx.effects.push_back(revoke(worker, id));
        }
        cx.events.push(Event::WorkerHasRoom(id));
        return;
    }
    let patience = if worker.is_inside() { Worker::STUCK } else { Worker::SILENT.min(script_time / 2) };
    if worker.still >= patience && !worker.stuck {
        worker.stuck = true;
        worker.pace.slow_down();
        if worker.jobs.keys().any(|serial| *serial > pulse.started) {
            cx.effects.push_back(revoke(worker, id));
        }
    }
    if worker.still >= script_time && !matches!(worker.stage, Stage::Killed | Stage::Loading { .. }) {
        if worker.is_inside() {
            worker.hung_job = Some(pulse.running);
            cx.events.push(Event::Hung { worker: id, running: pulse.running });
        } else {
            worker.hung_job = Some(0);
            error!(
                app = cx.apps[worker.app].spec.name,
                worker = worker.number,
                "a worker began nothing of what it was given for {script_time:?}: it is killed"
            );
        }
        kill(cx, id);
    }
}

/// Takes back what a worker has not started.
fn revoke(worker: &mut Worker, id: WorkerId) -> Effect {
    worker.revoked = worker.serial;
    Effect::Revoke { worker: id, serial: worker.serial }
}

/// The answer to [`Effect::Revoke`]: `started` is the serial of the last job that the worker keeps. The others run
/// elsewhere.
pub(in crate::hub) fn revoked(cx: &mut Context, id: WorkerId, started: u64) {
    let Some(worker) = cx.workers.get_mut(id) else { return };
    // It may have got more since, which it keeps.
    let revoked = worker.revoked;
    let mut fresh: Vec<_> = worker
        .jobs
        .iter()
        .filter(|(serial, _)| **serial > started && **serial <= revoked)
        .map(|(serial, job)| (*serial, *job))
        .collect();
    fresh.sort_unstable_by_key(|(serial, _)| *serial);
    for (serial, _) in &fresh {
        worker.jobs.remove(serial);
    }
    worker.pace.note_begun(revoked);
    cx.events.push(Event::TakenBack(id, fresh));
    cx.events.push(Event::WorkerHasRoom(id));
}
