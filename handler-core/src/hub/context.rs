//! What every part may use besides its own state.

use super::apps::Apps;
use super::apps::app::AppSpec;
use super::body_files::BodyFiles;
use super::effect::Effect;
use super::event::Event;
use super::ids::{AppId, ConnKey, LinkId};
use super::ledger::Ledger;
use super::ledger::about::{About, message_of};
use super::ledger::traffic::MeterId;
use super::limits::Limits;
use super::outbox::Outbox;
use super::request::{Place, Plan, Request};
use super::servers::Servers;
use super::servers::clients::Clients;
use super::workers::Workers;
use super::workers::worker::Worker;
use crate::worker::protocol::Handler;
use kennel_http::Persistence;
use mongrel2_wire::{ConnId, Envelope};
use std::collections::VecDeque;
use std::time::Instant;

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
