//! An app: a script, its workers, its routes and its queue.

use crate::hub::apps::channels::Channels;
use crate::hub::apps::routes::Routes;
use crate::hub::apps::sharing::Sharing;
use crate::hub::ids::{LiveId, RequestId, WorkerId};
use crate::hub::ledger::traffic::{Beside, ChannelMeterId, MeterId};
use crate::worker::protocol::{Handler, Registration};
use crate::worker::restart::Backoff;
use rustc_hash::FxHashSet;
use std::collections::VecDeque;
use std::time::Instant;

/// What the hub needs to know of an app before its script is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    /// A name for messages: the script's path.
    pub name: String,
    /// The prefix of its routes, `/` for none.
    pub mount: String,
    /// How many workers run it.
    pub workers: u32,
}

/// The place of one worker, which outlives the workers in it.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::hub) struct Seat {
    pub worker: Option<WorkerId>,
    /// Who takes the seat when its script is loaded, while the other one still works.
    pub successor: Option<WorkerId>,
    pub backoff: Backoff,
    /// Visitors that were told that they belong here.
    pub visitors: u64,
    /// When an empty seat is filled again.
    pub due: Option<Instant>,
}

/// How many workers others took the place of, by why.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::hub) struct Restarts {
    /// They died by themselves, or were killed from outside.
    pub died: u64,
    /// A script ran for too long without pause.
    pub hung: u64,
    /// They did not load, or not as those before them did.
    pub not_loaded: u64,
    /// The operator wanted it.
    pub drained: u64,
    /// Newer code took over.
    pub reloaded: u64,
}

/// Workers of newer code that are not in charge yet.
#[derive(Debug, Default)]
pub(in crate::hub) struct Incoming {
    pub workers: Vec<WorkerId>,
    pub registration: Option<Registration>,
}

/// An app in the hub.
#[derive(Debug)]
pub(in crate::hub) struct App {
    pub spec: AppSpec,
    pub sharing: Sharing,
    pub seats: Vec<Seat>,
    pub incoming: Option<Incoming>,
    pub registration: Registration,
    pub routes: Routes,
    /// Where requests of its routes are counted, by the numbers of handlers.
    pub meters: Vec<MeterId>,
    pub channels: Channels,
    /// Where their connections are counted, in their order.
    pub channel_meters: Vec<ChannelMeterId>,
    /// Workers that others took the place of.
    pub restarts: Restarts,
    /// Live connections for which no worker was there.
    pub orphans: Vec<LiveId>,
    /// The numbers of handlers that read bodies as they arrive.
    pub streaming: FxHashSet<u32>,
    /// Requests that no worker could take yet.
    pub queue: VecDeque<RequestId>,
    /// The worker that runs the timers.
    pub lead: Option<WorkerId>,
    /// Shown to every client instead of answers while the code does not load.
    pub broken: Option<String>,
}

impl App {
    /// Whether there are channels that clients of plain HTTP may come to.
    pub fn has_channels(&self) -> bool {
        self.registration.channels.iter().any(|channel| channel.path.starts_with('/') && !channel.asks)
    }

    pub fn new(spec: AppSpec) -> Self {
        Self {
            routes: Routes::below(&spec.mount),
            spec,
            sharing: Sharing::default(),
            seats: Vec::new(),
            incoming: None,
            registration: Registration::default(),
            meters: Vec::new(),
            channels: Channels::default(),
            channel_meters: Vec::new(),
            restarts: Restarts::default(),
            orphans: Vec::new(),
            streaming: FxHashSet::default(),
            queue: VecDeque::new(),
            lead: None,
            broken: None,
        }
    }

    /// Where requests for this handler are counted; `Err`: beside all routes, as this word says.
    pub fn meter_of(&self, handler: Handler) -> Result<MeterId, Beside> {
        match handler {
            Handler::Route(number) => self.meters.get(number as usize).copied().ok_or(Beside::Other),
            Handler::NotFound if self.registration.is_all_page() => Err(Beside::Any),
            Handler::NotFound => Err(Beside::NotFound),
            Handler::MethodNotAllowed => Err(Beside::MethodNotAllowed),
            Handler::Options => Err(Beside::Options),
            Handler::Raw => Err(Beside::Raw),
        }
    }

    /// Where connections of a channel are counted.
    pub fn channel_meter(&self, route: u16) -> ChannelMeterId {
        self.channel_meters.get(usize::from(route)).copied().unwrap_or(ChannelMeterId::OTHER)
    }

    /// Whether this handler reads bodies as they arrive.
    pub fn streams(&self, handler: Handler) -> bool {
        match handler {
            Handler::Route(number) => self.streaming.contains(&number),
            Handler::NotFound => self.registration.streams,
            Handler::MethodNotAllowed | Handler::Options | Handler::Raw => false,
        }
    }

    /// How many workers of newer code start at once. When the code is in charge for the first time, one tells whether it
    /// is to have others.
    pub fn first_workers(&self) -> u32 {
        let wanted = self.spec.workers.max(1);
        match self.is_loaded() {
            true => self.sharing.workers(wanted, self.registration.interface),
            false if self.sharing.one_if_standard => 1,
            false => wanted,
        }
    }

    /// Whether its code has been in charge at all.
    pub fn is_loaded(&self) -> bool {
        !self.seats.is_empty()
    }

    /// Whether every worker keeps dying at once, so that waiting for one is pointless.
    pub fn is_down(&self) -> bool {
        self.is_loaded() && self.seats.iter().all(|seat| seat.backoff.is_hopeless())
    }

    /// Says in the log who serves an app now.
    pub fn describe(&self) -> String {
        let count = |number: usize, thing| format!("{number} {thing}{}", if number == 1 { "" } else { "s" });
        let workers = count(self.seats.len(), "worker");
        let affinity = self.sharing.affinity.as_ref().filter(|_| self.seats.len() > 1);
        let affinity = affinity.map(|affinity| format!(", affinity {affinity}")).unwrap_or_default();
        if let Some(standard) = self.registration.interface.name() {
            return format!("{} ({workers}, {standard}{affinity})", self.spec.name);
        }
        let routes = count(self.registration.routes.len(), "route");
        let channels = match self.registration.channels.len() {
            0 => String::new(),
            number => format!(", {}", count(number, "channel")),
        };
        format!("{} ({workers}, {routes}{channels}{affinity})", self.spec.name)
    }
}
