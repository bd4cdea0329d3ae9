//! The end of workers, and of the hub: nothing new is taken, what runs may finish, and all has its time.

use super::{drain, drop_incoming, has_hope, kill};
use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::{AppId, RequestId};
use crate::hub::outbox::connection::Conn;
use crate::hub::workers::worker::{Stage, Worker};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Begins to stop: nothing new is taken, what runs may finish.
pub(in crate::hub) fn begin(cx: &mut Context, now: Instant) {
    if cx.stopping.is_some() {
        return;
    }
    cx.stopping = Some(now);
    for app in cx.apps.ids() {
        drop_incoming(cx, app);
        let seats = cx.apps[app].seats.iter_mut();
        let successors: Vec<_> = seats
            .filter_map(|seat| {
                seat.due = None;
                seat.successor.take()
            })
            .collect();
        successors.into_iter().for_each(|worker| kill(cx, worker));
    }
    cx.events.push(Event::Stopping);
    cx.events.push(Event::StopIdle);
}

/// Tells the workers of an app to end.
pub(in crate::hub) fn drain_seated(cx: &mut Context, app: AppId, now: Instant) {
    let seated: Vec<_> = cx.apps[app].seats.iter().filter_map(|seat| seat.worker).collect();
    seated.into_iter().for_each(|worker| drain(cx, worker, now));
}

/// Under a stop, takes the next request from a queue that no worker will ever take it from.
pub(in crate::hub) fn next_hopeless(cx: &mut Context) -> Option<RequestId> {
    cx.stopping?;
    let app = cx.apps.ids().find(|app| !cx.apps[*app].queue.is_empty() && !has_hope(cx, *app))?;
    cx.apps[app].queue.pop_front()
}

/// Whether a stop is complete. `is_answered`: no request waits for a response.
pub(in crate::hub) fn is_over(cx: &Context, is_answered: bool, now: Instant) -> bool {
    let Some(since) = cx.stopping.filter(|_| cx.workers.is_empty()) else { return false };
    let out_of_time = now >= since + cx.limits.stop_time + cx.limits.hook_time;
    out_of_time || (is_answered && cx.outbox.conns.map.values().all(Conn::is_delivered))
}

/// Time in which the hub itself stood still counts for no deadline of a worker: workers may have stood still with it.
pub(in crate::hub) fn excuse_pause(cx: &mut Context, late: Duration) {
    if late <= Worker::LOOK {
        return;
    }
    for (_, worker) in cx.workers.iter_mut() {
        if let Stage::Loading { since } | Stage::Draining { since } = &mut worker.stage {
            *since += late;
        }
    }
    if let Some(since) = &mut cx.stopping {
        *since += late;
    }
}

/// Deadlines of workers: loading, draining, stopping.
pub(in crate::hub) fn check_workers(cx: &mut Context, now: Instant) {
    let (load_time, stop_time) = (cx.limits.load_time, cx.limits.stop_time);
    let end = stop_time + cx.limits.hook_time;
    let is_over = |worker: &Worker| match worker.stage {
        Stage::Loading { since } => now >= since + load_time,
        Stage::Draining { since } => now >= since + end,
        Stage::Ready { .. } | Stage::Killed => false,
    };
    let over: Vec<_> = cx.workers.iter().filter(|(_, worker)| is_over(worker)).map(|(id, _)| id).collect();
    for id in over {
        let Some(worker) = cx.workers.get(id) else { continue };
        let app = &cx.apps[worker.app].spec.name;
        match worker.stage {
            Stage::Loading { .. } => {
                let patience = load_time;
                warn!(
                    app,
                    worker = worker.number,
                    "a worker did not load within {patience:?} (limits.load_time): killed"
                );
            }
            _ => {
                warn!(app, worker = worker.number, "a worker did not end within limits.stop_time: killed");
            }
        }
        kill(cx, id);
    }
    match cx.stopping {
        Some(since) if now >= since + stop_time => {
            let is_over = now >= since + end;
            let all: Vec<_> = cx.workers.iter().map(|(id, _)| id).collect();
            for worker in all {
                // What still waits for a worker comes too late; its stop hooks run all the same.
                if is_over { kill(cx, worker) } else { drain(cx, worker, now) }
            }
        }
        Some(_) => cx.events.push(Event::StopIdle),
        None => {}
    }
}

/// Kills every worker now.
pub(in crate::hub) fn at_once(cx: &mut Context) {
    info!("stopping at once");
    let all: Vec<_> = cx.workers.iter().map(|(id, _)| id).collect();
    all.into_iter().for_each(|worker| kill(cx, worker));
}
