//! Workers that are dead: what they had goes to others, and their seats are filled again.

use super::{choose_lead, kill, start_worker};
use crate::hub::context::Context;
use crate::hub::effect::Effect;
use crate::hub::event::Event;
use crate::hub::ids::{Job, WorkerId};
use crate::hub::workers::worker::Stage;
use crate::worker::restart::Backoff;
use crate::worker::standing::{died_while_loading, not_loaded};
use rustc_hash::FxHashSet;
use std::time::Instant;
use tracing::warn;

/// A worker is dead, and all its batches have been handled, the unsent one too. `started` is the
/// serial of the last job that it began.
pub(in crate::hub) fn gone(cx: &mut Context, id: WorkerId, started: u64, now: Instant) {
    let Some(worker) = cx.workers.remove(id) else { return };
    let app_id = worker.app;
    let ended = |query: &u64| Effect::Evaluated { query: *query, result: Err("the worker has ended".into()) };
    cx.effects.extend(worker.evaluating.iter().map(ended));
    let mut jobs: Vec<_> = worker.jobs.into_iter().collect();
    jobs.sort_unstable_by_key(|(serial, _)| *serial);
    let (begun, fresh) = jobs.split_at(jobs.partition_point(|(serial, _)| *serial <= started));
    for (_, job) in fresh.iter().rev() {
        // Those of live connections go with their connection, below.
        if let Job::Request(request) = job {
            cx.events.push(Event::Requeue(*request));
        }
    }

    let app = &mut cx.apps[app_id];
    let name = app.spec.name.clone();
    if app.lead == Some(id) {
        app.lead = None;
    }
    let mut failure = None;
    if let Some(incoming) = app.incoming.take_if(|incoming| incoming.workers.contains(&id)) {
        // It died while loading, without a word of its own.
        let others: Vec<_> = incoming.workers.into_iter().filter(|other| *other != id).collect();
        others.into_iter().for_each(|other| kill(cx, other));
        let standing = worker.standing.clone();
        failure = Some(match worker.stage {
            Stage::Killed => not_loaded(&name, cx.limits.load_time, standing),
            _ => died_while_loading(&name, worker.ended.as_deref(), standing),
        });
    }
    let stopping = cx.stopping.is_some();
    let app = &mut cx.apps[app_id];
    for seat in &mut app.seats {
        seat.successor.take_if(|successor| *successor == id);
    }
    if let Some(seat) = app.seats.iter_mut().find(|seat| seat.worker == Some(id)) {
        // One that was to take its seat anyway has it now.
        seat.worker = seat.successor.take();
        let served = match worker.has_answered {
            true => Some(Backoff::GRACE),
            false => worker.served_since.map(|since| now.saturating_duration_since(since)),
        };
        if !stopping {
            let reason = match worker.stage {
                _ if worker.hung_job.is_some() => &mut app.restarts.hung,
                Stage::Killed => &mut app.restarts.not_loaded,
                _ => &mut app.restarts.died,
            };
            *reason += 1;
        }
        if seat.worker.is_some() {
            warn!(
                app = name,
                worker = worker.number,
                "a worker died; the one that was to replace it has its seat"
            );
        } else if !stopping {
            let pause = seat.backoff.after_death(served);
            seat.due = Some(now + pause);
            let stood =
                worker.standing.filter(|_| worker.served_since.is_none() && worker.stage == Stage::Killed);
            warn!(
                app = name,
                worker = worker.number,
                running = begun.len(),
                given_to_others = fresh.len(),
                status = worker.ended,
                loading = stood.map(|at| format!("{}:{}", at.file, at.line)),
                "a worker died; {}",
                match pause.is_zero() {
                    true => "a replacement starts now".to_owned(),
                    false => format!("a replacement starts in {pause:?}"),
                }
            );
        }
    }
    let mut lives = FxHashSet::default();
    for (serial, job) in begun {
        let hung = worker.hung_job == Some(*serial);
        match job {
            Job::Request(request) => {
                let is_cut_off = worker.work_ends.is_some_and(|end| now >= end);
                cx.events.push(Event::RequestLost {
                    number: worker.number,
                    request: *request,
                    hung,
                    is_cut_off,
                });
            }
            // A connection's jobs run one after the other: behind the first there is none that ran.
            Job::Live(live) if lives.insert(*live) => {
                let (live, serial) = (*live, *serial);
                cx.events.push(Event::LiveLost { worker: id, number: worker.number, live, serial, hung });
            }
            Job::Live(_) => {}
        }
    }
    if worker.channels > 0 {
        cx.events.push(Event::WorkerGone(id));
    }
    if let Some(failure) = failure {
        cx.effects.push_back(Effect::AppFailed(app_id, failure));
    }
    choose_lead(cx, app_id);
    cx.events.push(Event::AppHasRoom(app_id));
    if cx.apps[app_id].is_down() {
        cx.events.push(Event::AppIsDown(app_id));
    }
    if stopping {
        cx.events.push(Event::StopIdle);
    }
}

/// Fills seats whose pause is over.
pub(in crate::hub) fn fill_seats(cx: &mut Context, now: Instant) {
    for app in cx.apps.ids() {
        for number in 0..cx.apps[app].seats.len() {
            let seat = &mut cx.apps[app].seats[number];
            if seat.due.is_some_and(|due| due <= now) {
                seat.due = None;
                let worker = start_worker(cx, app, number as u32 + 1, now);
                cx.apps[app].seats[number].worker = Some(worker);
            }
        }
    }
}
