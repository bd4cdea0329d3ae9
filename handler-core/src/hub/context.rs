//! What every part may use besides its own state.

use super::apps::Apps;
use super::apps::app::AppSpec;
use super::body_files::BodyFiles;
use super::effect::Effect;
use super::event::Event;
use super::ids::{AppId, ConnKey, Job, LinkId, WorkerId};
use super::ledger::Ledger;
use super::ledger::about::{About, log_about, message_of};
use super::ledger::counters::Complaint;
use super::ledger::traffic::MeterId;
use super::limits::Limits;
use super::outbox::Outbox;
use super::request::{Asked, Body, Place, Plan, Request};
use super::servers::Servers;
use super::servers::clients::Clients;
use super::workers::Workers;
use super::workers::worker::Worker;
use crate::worker::protocol::Handler;
use kennel_http::Persistence;
use mongrel2_wire::{ConnId, Envelope};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Instant;
use tracing::warn;

/// The most bytes of a bad message's path that a log line shows.
const SHOWN: usize = 80;

/// The parts below: a part above them is driven with `&mut Context`, calls these, and tells the other parts above by
/// [`events`](Self::events).
#[derive(Debug)]
pub(super) struct Context {
    pub limits: Limits,
    /// Makes connection names unique over restarts of the hub.
    pub boot: String,
    /// The Date header's value.
    pub date: String,
    pub servers: Servers,
    pub apps: Apps,
    pub workers: Workers,
    pub outbox: Outbox,
    pub ledger: Ledger,
    pub clients: Clients,
    pub body_files: BodyFiles,
    /// Clients without a connection of their own may open sessions.
    pub has_sessions: bool,
    /// Since when the hub stops.
    pub stopping: Option<Instant>,
    /// What is to be done outside the hub.
    pub effects: VecDeque<Effect>,
    /// What other parts have to do, in order.
    pub events: Vec<Event>,
}

impl Context {
    /// For so many Mongrel2 Handlers, and these apps.
    pub fn new(limits: Limits, boot: &str, links: usize, apps: Vec<AppSpec>) -> Self {
        Self {
            boot: boot.to_owned(),
            date: String::from("Thu, 01 Jan 1970 00:00:00 GMT"),
            servers: Servers::new(links),
            ledger: Ledger::new(apps.len() as u16),
            apps: Apps::new(apps),
            workers: Workers::default(),
            outbox: Outbox::new(&limits),
            clients: Clients::default(),
            body_files: BodyFiles::default(),
            has_sessions: false,
            stopping: None,
            effects: VecDeque::new(),
            events: Vec::new(),
            limits,
        }
    }

    /// With one server and one app without workers, for tests of a part alone.
    #[cfg(test)]
    pub fn for_tests() -> Self {
        let app = AppSpec { name: "app".to_owned(), mount: "/".to_owned(), workers: 1 };
        Self::new(Limits::default(), "boot", 1, vec![app])
    }

    /// What the log says about a request.
    pub fn about_request(&self, request: &Request) -> About {
        let message = match &request.plan {
            Plan::Run { job, .. } => message_of(job),
            Plan::Call(asking) => Some(&asking.message[..]),
            Plan::Held(_) | Plan::Answer { .. } | Plan::File { .. } => None,
        };
        let about = match message.map(Envelope::parse) {
            Some(Ok(envelope)) => About::message(request.conn, &envelope),
            _ => About::connection(request.conn),
        };
        let worker = match request.place {
            Place::Worker(worker, _) => self.workers.get(worker).map(|worker| worker.number),
            Place::Pipeline | Place::Queue => None,
        };
        let app = match &request.plan {
            Plan::Run { app, .. } => Some(*app),
            _ => self.ledger.traffic.app_of(request.meter),
        };
        let app = app.map(|app| self.apps[app].spec.name.clone());
        About { app, worker, request: request.shown(), ..about }
    }

    /// What the log says about a message that opens a live connection of an app, or would.
    pub fn about_opening(&self, key: ConnKey, envelope: &Envelope<'_>, app: AppId) -> About {
        About { app: Some(self.apps[app].spec.name.clone()), ..About::message(key, envelope) }
    }

    /// Whether an app's live connections may begin: there is somebody to open them, or will be soon.
    pub fn takes_clients(&self, app: AppId) -> bool {
        let state = &self.apps[app];
        let mut workers = state.seats.iter().filter_map(|seat| self.workers.get(seat.worker?));
        let mut works = || workers.any(Worker::takes_jobs);
        self.stopping.is_none() && state.is_loaded() && (!state.is_down() || works())
    }

    /// Closes a connection once everything that was written for it is sent. What it still sends is ignored, and requests
    /// without an answer get none.
    pub fn close(&mut self, key: ConnKey) {
        if self.outbox.close(key) {
            self.events.push(Event::Closing(key));
        }
    }

    /// The most live connections that the hub opens on a link.
    pub fn most_live(&self, link: LinkId) -> usize {
        let most = self.limits.connections;
        self.servers[link].capacity.map_or(most, |capacity| capacity.live().min(most))
    }

    /// Something begins that may take long: Mongrel2 is to be told that its client is held.
    pub fn hold(&mut self, now: Instant) {
        let due = now + self.limits.keep_alive;
        self.servers.keep_alive.get_or_insert(due);
    }

    /// A message is refused. The log says why, unless that has been said too often.
    pub fn refuse(&mut self, link: LinkId, envelope: &Envelope<'_>, reason: &str, now: Instant) {
        self.ledger.counters.refused += 1;
        if self.ledger.complaints.pass(Complaint::Refused, now) {
            let incarnation = self.servers[link].incarnation;
            match ConnId::try_from(envelope.conn_id) {
                Ok(id) => {
                    let about = About::message(ConnKey { link, incarnation, id }, envelope);
                    log_about!(warn, about, "refused: {reason}");
                }
                Err(_) => {
                    let path = String::from_utf8_lossy(&envelope.path[..envelope.path.len().min(SHOWN)]);
                    warn!(link = link.0, conn = envelope.conn_id, path = &*path, "refused: {reason}");
                }
            }
        }
    }

    /// Whether a message names a host that this site does not answer to. The log says so.
    pub fn refuses_host(&mut self, link: LinkId, envelope: &Envelope<'_>, now: Instant) -> bool {
        let Some(hosts) = self.servers.hosts.as_ref().filter(|_| self.servers.own_link != Some(link)) else {
            return false;
        };
        if hosts.allow(envelope) {
            return false;
        }
        let complaint = hosts.complaint();
        self.refuse(link, envelope, complaint, now);
        true
    }

    /// What is behind a worker's serial, which the worker holds no longer.
    pub fn take_job(&mut self, id: WorkerId, serial: u64) -> Option<Job> {
        let worker = self.workers.get_mut(id)?;
        let job = worker.jobs.remove(&serial);
        if job.is_some() {
            worker.pace.note_begun(serial);
        }
        worker.has_answered = true;
        if job.is_none() {
            self.ledger.counters.answers_too_late += 1;
        }
        job
    }

    /// The worker of an app with the fewest unanswered jobs, if one has room.
    pub fn least_loaded(&self, app: AppId) -> Option<WorkerId> {
        self.apps[app].least_loaded(&self.workers, self.limits.worker_jobs)
    }

    /// Where the body of a request will be for whoever answers it, who `streams` it or not, and the file that is the hub's to
    /// delete. `None`: there is no place for it.
    pub fn place_body(&mut self, asked: &Asked<'_>, streams: bool) -> Option<(Body, Option<PathBuf>)> {
        self.body_files.place(&self.boot, streams, (asked.body, asked.spool.as_deref()))
    }

    /// Where requests for this handler of an app are counted.
    pub fn meter_of(&self, app: AppId, handler: Handler) -> MeterId {
        self.apps[app].meter_of(handler).unwrap_or_else(|beside| self.ledger.traffic.beside(app, beside))
    }

    /// The name of a connection: `conn.id`.
    pub fn conn_name(&self, key: ConnKey) -> String {
        format!("{}-{}.{}.{}", self.boot, key.link.0, key.incarnation, key.id.get())
    }

    /// The connection of that name.
    pub fn key_by_name(&self, name: &[u8]) -> Option<ConnKey> {
        let name = std::str::from_utf8(name).ok()?;
        let mut parts = name.strip_prefix(&self.boot)?.strip_prefix('-')?.split('.');
        let link = LinkId(parts.next()?.parse().ok()?);
        let incarnation = parts.next()?.parse().ok()?;
        let id = ConnId::try_from(parts.next()?.parse::<i64>().ok()?).ok()?;
        parts.next().is_none().then_some(ConnKey { link, incarnation, id })
    }

    /// The response's persistence: under a stop, no connection stays open behind it.
    pub fn persistence(&self, wanted: Persistence) -> Persistence {
        match self.stopping {
            Some(_) if wanted == Persistence::Open => Persistence::Close,
            _ => wanted,
        }
    }
}
