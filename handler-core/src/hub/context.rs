//! What every part may use besides its own state.

use super::apps::Apps;
use super::effect::Effect;
use super::event::Event;
use super::exchange::clients::Clients;
use super::ledger::Ledger;
use super::limits::Limits;
use super::outbox::Outbox;
use super::servers::Servers;
use super::workers::Workers;
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
    /// Since when the hub stops.
    pub stopping: Option<Instant>,
    /// What is to be done outside the hub.
    pub effects: VecDeque<Effect>,
    /// What other parts have to do, in order.
    pub events: Vec<Event>,
}
