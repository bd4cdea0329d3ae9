//! A connection's messages to the worker that has it: in order, each once.
//!
//! A connection keeps its worker. When that dies, what it had not started goes to another one, behind an
//! `open` that tells the new worker who this is; what it had started is not run twice. While a
//! worker cannot take anything, messages wait here.

use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::{AppId, Job, LiveId, WorkerId};
use crate::hub::ledger::about::{About, log_about};
use crate::hub::live::Live;
use crate::hub::live::pending::Pending;
use crate::hub::live::table::{Attached, Channel, Lives, Stage};
use crate::hub::workers::worker::Worker;
use crate::worker::protocol::{self, Open};
use mongrel2_wire::Envelope;
use std::time::Instant;

/// Messages of one connection that its worker may hold at once.
const FLIGHT: usize = 32;

impl Lives {
    /// What a worker was given for a connection under this serial: it is with the worker no longer. A worker that
    /// breaks the rules may mean one that is over, whose place another connection has by now: nothing.
    pub(in crate::hub::live) fn land(
        &mut self,
        worker: WorkerId,
        id: LiveId,
        serial: u64,
    ) -> Option<(&mut Channel, Pending)> {
        let channel = self.get_mut(id).filter(|channel| channel.worker == Attached::to(worker))?;
        let flight = &mut channel.work.as_mut()?.flight;
        let at = flight.iter().position(|(sent, _)| *sent == serial)?;
        let (_, pending) = flight.remove(at)?;
        Some((channel, pending))
    }
}

impl Live {
    /// Something for the script, behind all that is under way.
    pub(in crate::hub) fn give(&mut self, cx: &mut Context, id: LiveId, pending: Pending, now: Instant) {
        let limit = cx.limits.channel_queue;
        let Some(channel) = self.lives.get_mut(id) else { return };
        let work = channel.work.get_or_insert_default();
        let size = pending.size();
        if size > 0 && work.bytes + size > limit && !work.waiting.is_empty() {
            let (key, waiting) = (channel.key, work.waiting.len());
            cx.ledger.counters.overloaded += 1;
            let about = self.about(cx, id).unwrap_or_else(|| About::connection(key));
            log_about!(warn, about, waiting, "closed: its messages come faster than the script takes them");
            self.to_close(cx, id, 1008, "too many messages");
            return;
        }
        work.bytes += size;
        work.waiting.push_back(pending);
        self.pump(cx, id, now);
    }

    /// Gives a connection's worker what it can take, unless others wait for that.
    pub(in crate::hub) fn pump(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        self.pump_within(cx, id, usize::MAX, true, now);
    }

    /// Gives a connection's worker at most `most` things that it can take; if it is `queued`, behind those that wait for that.
    fn pump_within(&mut self, cx: &mut Context, id: LiveId, most: usize, queued: bool, now: Instant) {
        let mut given = 0;
        loop {
            let Some(channel) = self.lives.get_mut(id) else { return };
            let Some(work) = channel.work.as_mut().filter(|work| !work.waiting.is_empty()) else { return };
            let Some(worker_id) = channel.worker.worker() else {
                if !self.attach(cx, id) {
                    return;
                }
                continue;
            };
            let Some(worker) = cx.workers.get_mut(worker_id) else { return };
            if work.flight.is_empty() {
                work.returned = false;
                if worker.is_leaving() {
                    Self::detach(channel, worker);
                    if channel.asked && channel.stage == Stage::Over {
                        // To the next worker it would be a stranger that never came in.
                        self.forget_live(cx, id);
                        return;
                    }
                    continue;
                }
            } else if work.returned
                // It may yet say that it has left those alone: what follows would overtake them.
                || work.flight.front().is_some_and(|(serial, _)| *serial <= worker.revoked)
                || worker.is_leaving()
                || work.flight.len() >= FLIGHT
                || work.bytes > cx.limits.channel_queue
            {
                // It goes on when the worker has done what it has.
                return;
            }
            let others_wait = || !worker.listed.is_empty() || !cx.apps[worker.app].queue.is_empty();
            if given >= most || !worker.has_room(cx.limits.worker_jobs) || (queued && others_wait()) {
                if !work.listed {
                    work.listed = true;
                    worker.listed.push_back(id);
                }
                return;
            }
            let Some(pending) = work.waiting.pop_front() else { return };
            worker.serial += 1;
            let serial = worker.serial;
            if worker.jobs.is_empty() {
                worker.begin_watch(now);
            }
            worker.jobs.insert(serial, Job::Live(id));
            match &pending {
                Pending::Message { binary, payload } => {
                    protocol::encode_message(&mut worker.orders, serial, channel.number, *binary, payload);
                }
                Pending::Close { code, reason } => {
                    protocol::encode_close(
                        &mut worker.orders,
                        serial,
                        channel.number,
                        *code,
                        reason.as_bytes(),
                    );
                }
                Pending::Open { .. } => {}
            }
            let open = match pending {
                Pending::Open { fresh } => Some(fresh),
                _ => None,
            };
            work.flight.push_back((serial, pending));
            given += 1;
            if let Some(fresh) = open {
                self.write_open(cx, id, worker_id, serial, fresh);
            }
        }
    }

    /// Takes a connection of which nothing runs from its worker.
    fn detach(channel: &mut Channel, worker: &mut Worker) {
        protocol::encode_detach(&mut worker.orders, channel.number);
        worker.channels -= 1;
        channel.worker = Attached::NONE;
        channel.resumed |= channel.opened;
        if let Some(work) = &mut channel.work {
            work.listed = false;
        }
    }

    /// Finds a worker for a connection that has none, and tells it who that is.
    fn attach(&mut self, cx: &mut Context, id: LiveId) -> bool {
        let Some(channel) = self.lives.get_mut(id) else { return false };
        let (app, key) = (channel.app, channel.key);
        let state = &cx.apps[app];
        if state.channels.get(channel.route).is_none() {
            log_about!(
                warn,
                self.about_by(cx, id, key),
                "dropped with its channel, of which no worker is left: close"
            );
            self.forget_live(cx, id);
            return false;
        }
        // A connection belongs to the worker of its client's requests.
        let bound = state.sharing.affinity.as_ref().and_then(|_| {
            let message = self.keeper.read(&channel.opening);
            state.bound_seat(state.near(&Envelope::parse(&message).ok()?))
        });
        let worker = state
            .seats
            .iter()
            .enumerate()
            .filter(|(at, _)| bound.is_none_or(|bound| bound == *at))
            .filter_map(|(_, seat)| seat.worker)
            .filter_map(|id| Some((id, cx.workers.get(id).filter(|worker| worker.takes_jobs())?)))
            .min_by_key(|(_, worker)| (worker.channels, worker.jobs.len()))
            .map(|(id, _)| id);
        let Some((id_of_worker, worker)) = worker.and_then(|id| Some((id, cx.workers.get_mut(id)?))) else {
            if !std::mem::replace(&mut channel.orphan, true) {
                cx.apps[app].orphans.push(id);
            }
            return false;
        };
        channel.worker = Attached::to(id_of_worker);
        worker.channels += 1;
        let work = channel.work.get_or_insert_default();
        if !matches!(work.waiting.front(), Some(Pending::Open { .. })) {
            work.waiting.push_front(Pending::Open { fresh: !channel.opened });
        }
        true
    }

    fn write_open(&mut self, cx: &mut Context, id: LiveId, worker: WorkerId, serial: u64, fresh: bool) {
        let Some(channel) = self.lives.get(id) else { return };
        let message = self.keeper.read(&channel.opening);
        let app = &cx.apps[channel.app];
        let handler = app.channels.get(channel.route).map_or(0, |spec| spec.handler);
        let path = Envelope::parse(&message).map_or(&b""[..], |envelope| envelope.path);
        let params = app.channels.find(path).map(|(_, params)| params).unwrap_or_default();
        let name = cx.conn_name(channel.key);
        let open = Open {
            serial,
            conn: channel.number,
            handler,
            fresh,
            resumed: channel.resumed,
            asked: channel.stage == Stage::Asked,
            transport: channel.carrier.name(),
            name: name.as_bytes(),
            data: self.data.get(&id).map_or(&b""[..], |json| json),
            rooms: protocol::Params::EMPTY,
            params: protocol::Params::EMPTY,
            message: &message,
        };
        let rooms = self.rooms.rooms_of(id);
        let params = params.iter().map(|value| value.as_bytes());
        if let Some(worker) = cx.workers.get_mut(worker) {
            protocol::encode_open(&mut worker.orders, &open, rooms, params);
        }
    }

    /// A worker has done what it was given under this serial.
    pub(in crate::hub) fn live_done(
        &mut self,
        cx: &mut Context,
        worker: WorkerId,
        id: LiveId,
        serial: u64,
        now: Instant,
    ) {
        let Some((channel, done)) = self.lives.land(worker, id, serial) else { return };
        let Some(work) = channel.work.as_mut() else { return };
        work.bytes -= done.size().min(work.bytes);
        match done {
            Pending::Open { .. } => {
                channel.opened = true;
                cx.events.push(Event::Opened(channel.number));
            }
            Pending::Message { .. } => {}
            Pending::Close { .. } => {
                self.forget_live(cx, id);
                return;
            }
        }
        let Some(channel) = self.lives.get_mut(id) else { return };
        if channel.work.as_ref().is_none_or(|work| work.flight.is_empty() && work.waiting.is_empty()) {
            channel.work = None;
            self.leave_worker_that_ends(cx, id, now);
        } else {
            self.pump(cx, id, now);
        }
    }

    /// An idle connection of a worker that takes nothing more is another's from now on.
    pub(in crate::hub::live) fn leave_worker_that_ends(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        now: Instant,
    ) {
        let Some(channel) = self.lives.get_mut(id) else { return };
        let Some(worker) = channel.worker.worker().and_then(|worker| cx.workers.get_mut(worker)) else {
            return;
        };
        // Who was asked about a handshake decides.
        if !worker.is_leaving() || channel.work.is_some() || channel.stage == Stage::Asked {
            return;
        }
        Self::detach(channel, worker);
        self.restart_straight(cx, id, now);
    }

    /// Straight-line code runs all the time, so it is started again at once, and somebody has to decide about a
    /// handshake; callbacks are when something comes.
    pub(in crate::hub::live) fn restart_straight(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        let Some(channel) = self.lives.get(id) else { return };
        let spec = cx.apps.channel(channel.app, channel.route);
        let at_once = channel.stage == Stage::Asked || spec.is_some_and(|spec| spec.straight);
        if channel.stage != Stage::Over && at_once && channel.worker == Attached::NONE {
            self.attach(cx, id);
        }
        self.pump(cx, id, now);
    }

    /// A worker has not started what it was given under this serial, and will not. The connection stays with
    /// its worker, and goes on when that does. Several are to be returned with the last one first.
    pub(in crate::hub) fn live_returned(
        &mut self,
        cx: &mut Context,
        worker: WorkerId,
        id: LiveId,
        serial: u64,
    ) {
        let Some((channel, pending)) = self.lives.land(worker, id, serial) else { return };
        let Some(work) = channel.work.as_mut() else { return };
        if channel.asked && channel.stage == Stage::Over && matches!(pending, Pending::Open { .. }) {
            // It never began, and the script has not seen it.
            self.forget_live(cx, id);
            return;
        }
        work.waiting.push_front(pending);
        work.returned = true;
        cx.ledger.counters.rerun += 1;
        if let Some(worker) = cx.workers.get_mut(worker).filter(|_| !work.listed) {
            work.listed = true;
            worker.listed.push_back(id);
        }
    }

    /// Older workers of an app make way: its idle connections leave them now, the others when they are idle.
    pub(in crate::hub) fn live_taken_over(&mut self, cx: &mut Context, app: AppId, now: Instant) {
        let ids: Vec<_> = self.lives.iter().filter(|(_, c)| c.app == app).map(|(id, _)| id).collect();
        for id in ids {
            self.leave_worker_that_ends(cx, id, now);
        }
        self.adopt_orphans(cx, app, now);
    }

    /// Goes on with connections for which no worker was there.
    pub(in crate::hub) fn adopt_orphans(&mut self, cx: &mut Context, app: AppId, now: Instant) {
        for id in std::mem::take(&mut cx.apps[app].orphans) {
            if let Some(channel) = self.lives.get_mut(id).filter(|channel| channel.app == app) {
                channel.orphan = false;
                self.restart_straight(cx, id, now);
            }
        }
    }

    /// Goes on with the connections that wait for a worker to take more, one thing of each in turn.
    pub(in crate::hub) fn pump_listed(&mut self, cx: &mut Context, worker: WorkerId, now: Instant) {
        while let Some(state) = cx.workers.get(worker)
            && !state.listed.is_empty()
            && (state.is_leaving() || state.has_room(cx.limits.worker_jobs))
        {
            self.pump_next(cx, worker, now);
        }
    }

    /// Gives a worker that has room one thing of the connection that has waited for longest.
    pub(in crate::hub) fn pump_next(&mut self, cx: &mut Context, worker: WorkerId, now: Instant) {
        let Some(id) = cx.workers.get_mut(worker).and_then(|state| state.listed.pop_front()) else {
            return;
        };
        // Connections that left the worker meanwhile, or came to an end, are on the list in vain.
        let channel = self.lives.get_mut(id).filter(|c| c.worker == Attached::to(worker));
        if let Some(work) = channel.and_then(|channel| channel.work.as_mut()) {
            work.listed = false;
            self.pump_within(cx, id, 1, false, now);
        }
    }

    /// Whether a worker of this app still has something to do for live connections, or will have: `hope` says
    /// that those without a worker may find one.
    pub(in crate::hub) fn has_live_work(&self, app: AppId, hope: bool) -> bool {
        let waits = |c: &Channel| c.app == app && c.work.is_some() && (hope || c.worker != Attached::NONE);
        self.lives.iter().any(|(_, channel)| waits(channel))
    }
}

impl Live {
    /// The script's `close` has run, or need not.
    pub(in crate::hub::live) fn forget_live(&mut self, cx: &mut Context, id: LiveId) {
        if let Some(channel) = self.lives.get(id)
            && let Some(worker) = channel.worker.worker().and_then(|worker| cx.workers.get_mut(worker))
        {
            worker.channels -= 1;
            // A bad worker says that the close is done before what came first. That stands for nobody from now
            // on, least of all for the connection that gets this place next.
            for (serial, _) in channel.work.iter().flat_map(|work| &work.flight) {
                worker.jobs.remove(serial);
            }
        }
        self.data.remove(&id);
        self.our_closes.remove(&id);
        self.lives.remove(id);
    }
}
