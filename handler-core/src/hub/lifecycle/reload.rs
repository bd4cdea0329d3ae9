//! Newer code: loaded beside what runs, in charge when all of it is ready.

use super::{choose_lead, drain, drop_incoming, is_ready, kill, start_worker};
use crate::hub::apps::app::{App, Incoming, Seat};
use crate::hub::apps::channels::Channels;
use crate::hub::apps::routes::{RouteError, Routes};
use crate::hub::context::Context;
use crate::hub::effect::Effect;
use crate::hub::event::Event;
use crate::hub::ids::{AppId, WorkerId};
use crate::hub::workers::worker::Stage;
use crate::worker::protocol::{LoadFailure, Registration};
use std::time::Instant;
use tracing::{error, warn};

/// Starts the newest code of an app, beside what runs: its first workers, or a reload.
pub(in crate::hub) fn load(cx: &mut Context, app: AppId, now: Instant) {
    if cx.stopping.is_some() {
        return;
    }
    drop_incoming(cx, app);
    let count = cx.apps[app].first_workers();
    let workers = (1..=count).map(|number| start_worker(cx, app, number, now)).collect();
    cx.apps[app].incoming = Some(Incoming { workers, registration: None });
}

/// A worker has loaded its script, or says late what that answers to.
pub(in crate::hub) fn ready(cx: &mut Context, id: WorkerId, registration: Registration, now: Instant) {
    let Some(worker) = cx.workers.get_mut(id) else { return };
    let is_new = matches!(worker.stage, Stage::Loading { .. });
    match worker.stage {
        Stage::Loading { .. } => {
            worker.stage = Stage::Ready { since: now };
            worker.served_since = Some(now);
        }
        Stage::Ready { .. } if !registration.provisional => {}
        _ => return,
    }
    let app_id = worker.app;
    let app = &mut cx.apps[app_id];
    if let Some(incoming) = app.incoming.as_mut().filter(|incoming| incoming.workers.contains(&id)) {
        let known = incoming.registration.get_or_insert_with(|| registration.clone());
        if known.provisional {
            *known = registration;
        } else if !registration.provisional && *known != registration {
            let message = "its workers registered different routes; every worker must register the same \
                           ones in the same order (a walk with pairs() has none)";
            let failure = LoadFailure { message: message.to_owned(), ..LoadFailure::default() };
            failed(cx, id, failure);
            return;
        }
        adjust_incoming(cx, app_id, now);
        let incoming = cx.apps[app_id].incoming.as_ref();
        if incoming.is_some_and(|incoming| incoming.workers.iter().all(|id| is_ready(cx, *id))) {
            cx.events.push(Event::TakeOver(app_id));
        }
        return;
    }
    if app.registration.provisional && !registration.provisional {
        cx.events.push(Event::RegisterLate(app_id, Box::new(registration)));
        cx.events.push(Event::Seated(app_id, id));
        return;
    }
    if registration != app.registration && !registration.provisional {
        warn!(app = app.spec.name, "the script has changed since it was loaded: loading it anew");
        if is_new {
            kill(cx, id);
        }
        load(cx, app_id, now);
        return;
    }
    seat(cx, app_id, id, now);
}

/// A worker that serves the code in charge is ready.
pub(in crate::hub) fn seat(cx: &mut Context, app: AppId, id: WorkerId, now: Instant) {
    succeed(cx, app, id, now);
    choose_lead(cx, app);
    cx.events.push(Event::AppHasRoom(app));
}

/// Starts the further workers of newer code, or ends those that it does not want, now that its kind is known.
fn adjust_incoming(cx: &mut Context, app_id: AppId, now: Instant) {
    let app = &mut cx.apps[app_id];
    let Some(incoming) = app.incoming.as_mut() else { return };
    let Some(registration) = &incoming.registration else { return };
    let count = app.sharing.workers(app.spec.workers.max(1), registration.interface);
    let workers = &cx.workers;
    let (kept, surplus): (Vec<_>, Vec<_>) = incoming
        .workers
        .iter()
        .partition(|id| workers.get(**id).is_some_and(|worker| worker.number <= count));
    let started = kept.len() as u32;
    incoming.workers = kept;
    surplus.into_iter().for_each(|id| kill(cx, id));
    let further: Vec<_> = (started + 1..=count).map(|number| start_worker(cx, app_id, number, now)).collect();
    if let Some(incoming) = &mut cx.apps[app_id].incoming {
        incoming.workers.extend(further);
    }
}

/// What an app answers to, before it is in charge.
#[derive(Debug)]
pub(in crate::hub) struct Prepared {
    routes: Routes,
    pub channels: Channels,
    registration: Registration,
}

impl Prepared {
    /// # Errors
    ///
    /// [`RouteError`]: what it says makes no sense.
    pub(in crate::hub) fn new(
        cx: &Context,
        app: AppId,
        registration: Registration,
    ) -> Result<Self, RouteError> {
        let mount = &cx.apps[app].spec.mount;
        let routes = Routes::new(mount, &registration.routes)?;
        let channels = Channels::new(mount, &registration.channels)?;
        Ok(Self { routes, channels, registration })
    }

    /// An app answers to it from now on. Returns the channels that the app had.
    pub(in crate::hub) fn register(self, cx: &mut Context, app_id: AppId) -> Channels {
        let Self { routes, channels, registration } = self;
        let mount = &cx.apps[app_id].spec.mount;
        let meters = cx.ledger.traffic.learn_routes(app_id, mount, &registration);
        let channel_meters = cx.ledger.traffic.learn_channels(app_id, mount, &registration);
        let app = &mut cx.apps[app_id];
        let older = std::mem::replace(&mut app.channels, channels);
        app.meters = meters;
        app.channel_meters = channel_meters;
        app.routes = routes;
        app.streaming = registration.routes.iter().filter(|r| r.streams).map(|r| r.handler).collect();
        app.registration = registration;
        app.broken = None;
        cx.apps.has_channels = cx.apps.list.iter().any(App::has_channels);
        older
    }
}

/// The incoming workers are about to take the seats: they, and what their code answers to. `None`: it makes no sense, and
/// they are killed.
pub(in crate::hub) fn prepare(cx: &mut Context, app: AppId) -> Option<(Vec<WorkerId>, Prepared)> {
    let Incoming { workers, registration } = cx.apps[app].incoming.take()?;
    match Prepared::new(cx, app, registration.unwrap_or_default()) {
        Ok(prepared) => Some((workers, prepared)),
        Err(problem) => {
            let failure = LoadFailure { message: problem.to_string(), ..LoadFailure::default() };
            workers.into_iter().for_each(|worker| kill(cx, worker));
            cx.effects.push_back(Effect::AppFailed(app, failure));
            None
        }
    }
}

/// These workers take the seats; those who had them finish what they run. Returns the channels that the app had.
pub(in crate::hub) fn take_over(
    cx: &mut Context,
    app_id: AppId,
    (workers, prepared): (Vec<WorkerId>, Prepared),
    now: Instant,
) -> Channels {
    let older = prepared.register(cx, app_id);
    let app = &mut cx.apps[app_id];
    app.lead = None;
    let seats = workers.iter().map(|id| Seat { worker: Some(*id), ..Seat::default() }).collect();
    let old = std::mem::replace(&mut app.seats, seats);
    app.restarts.reloaded += old.iter().filter(|seat| seat.worker.is_some()).count() as u64;
    for id in old.into_iter().flat_map(|seat| [seat.worker, seat.successor]).flatten() {
        drain(cx, id, now);
    }
    choose_lead(cx, app_id);
    older
}

/// The code of a worker has not loaded.
pub(in crate::hub) fn failed(cx: &mut Context, id: WorkerId, failure: LoadFailure) {
    // If it is being killed, its fellow has said so already.
    let Some(worker) = cx.workers.get(id).filter(|worker| worker.stage != Stage::Killed) else { return };
    let app_id = worker.app;
    let app = &mut cx.apps[app_id];
    let name = &app.spec.name;
    match app.incoming.take() {
        Some(incoming) if incoming.workers.contains(&id) => {
            incoming.workers.into_iter().for_each(|worker| kill(cx, worker));
            cx.effects.push_back(Effect::AppFailed(app_id, failure));
        }
        other => {
            // A replacement: the script on disk is broken by now. Its seat is tried again.
            app.incoming = other;
            error!(app = name, "a replacement worker did not load: {failure}");
            kill(cx, id);
        }
    }
    cx.events.push(Event::AppHasRoom(app_id));
}

/// Starts another worker beside this one, which takes its seat when it is ready; then this one finishes what
/// it has and ends. When the other one does not load, all stays as it is.
pub(in crate::hub) fn replace(cx: &mut Context, id: WorkerId, now: Instant) {
    let Some(worker) = cx.workers.get(id) else { return };
    let (app, number) = (worker.app, worker.number);
    let Some(at) = cx.apps[app].seats.iter().position(|seat| seat.worker == Some(id)) else {
        return;
    };
    // One that loads is as new as any.
    let is_ready = matches!(worker.stage, Stage::Ready { .. });
    if is_ready && cx.apps[app].seats[at].successor.is_none() && cx.stopping.is_none() {
        let successor = start_worker(cx, app, number, now);
        cx.apps[app].seats[at].successor = Some(successor);
    }
}

/// A worker that was started beside another one takes its seat.
fn succeed(cx: &mut Context, app_id: AppId, successor: WorkerId, now: Instant) {
    let app = &mut cx.apps[app_id];
    let Some(seat) = app.seats.iter_mut().find(|seat| seat.successor == Some(successor)) else { return };
    seat.successor = None;
    let Some(old) = seat.worker.replace(successor) else { return };
    app.restarts.drained += 1;
    app.lead.take_if(|lead| *lead == old);
    drain(cx, old, now);
    choose_lead(cx, app_id);
    cx.events.push(Event::TakenOver(app_id));
}
