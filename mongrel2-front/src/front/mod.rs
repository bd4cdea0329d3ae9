//! All clients of one server: takes what happens to them, and says what is to be done. No socket, no clock.

mod replies;
#[cfg(test)]
mod tests;

use crate::connection::Connection;
use crate::context::{Context, Counters};
use crate::control::ConnectionRow;
use crate::effect::Effect;
use crate::files;
use crate::ids::{ClientKey, HandlerId};
use crate::output::Output;
use crate::peer::Peer;
use crate::site::Site;
use slotmap::SlotMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tracing::{info, warn};

/// The state of one server.
#[derive(Debug)]
pub(crate) struct Front {
    cx: Context,
    clients: SlotMap<ClientKey, Connection>,
    next_tick: Option<Instant>,
    /// What the log has been told.
    told: Counters,
}

impl Front {
    pub(crate) fn new(site: Site) -> Self {
        Self {
            cx: Context::new(Arc::new(site)),
            clients: SlotMap::with_key(),
            next_tick: None,
            told: Counters::default(),
        }
    }

    /// The configuration in force.
    pub(crate) fn site(&self) -> &Arc<Site> {
        &self.cx.site
    }

    /// Another configuration, made by [`Site::after`]. Connections stay; requests that come from now on are of it.
    pub(crate) fn replace_site(&mut self, site: Site, now: Instant) {
        self.cx.site = Arc::new(site);
        // A request that was held for a handler may lead to another one now.
        let held: Vec<_> =
            self.clients.iter().filter(|(_, client)| client.is_held()).map(|(key, _)| key).collect();
        for client in held {
            self.with(client, |connection, cx| connection.go_on(cx, now));
        }
    }

    #[cfg(test)]
    pub(crate) fn counters(&self) -> Counters {
        self.cx.counters
    }

    /// A client connected.
    pub(crate) fn accept(&mut self, peer: Peer, now: Instant) -> ClientKey {
        let tick = self.cx.site.limits().tick;
        self.next_tick.get_or_insert(now + tick);
        self.clients.insert_with_key(|key| Connection::new(key, peer, now))
    }

    /// Bytes of a client.
    pub(crate) fn receive(&mut self, client: ClientKey, bytes: &[u8], now: Instant) {
        self.with(client, |connection, cx| connection.receive(cx, bytes, now));
    }

    /// A client has shut its side down: it sends nothing more, and may still read.
    pub(crate) fn end_of_input(&mut self, client: ClientKey, now: Instant) {
        self.with(client, |connection, cx| connection.end_of_input(cx, now));
    }

    /// A client is gone: its connection was reset, or cannot be written to.
    pub(crate) fn lost(&mut self, client: ClientKey) {
        self.with(client, |connection, cx| connection.lose(cx));
    }

    /// Whether bytes of this client are wanted now. If not, [`Effect::ReadAgain`] says when.
    pub(crate) fn wants_input(&self, client: ClientKey) -> bool {
        self.clients.get(client).is_some_and(Connection::wants_input)
    }

    /// Whether the client's connection is one of these.
    pub(crate) fn has(&self, client: ClientKey) -> bool {
        self.clients.contains_key(client)
    }

    /// What waits to be written to a client. Tell [`written`](Self::written) when some of it is.
    pub(crate) fn output(&mut self, client: ClientKey) -> Option<&mut Output> {
        let connection = self.clients.get_mut(client)?;
        connection.begin_writing();
        Some(&mut connection.output)
    }

    /// This number of bytes was written. The caller has told the [`Output`].
    pub(crate) fn written(&mut self, client: ClientKey, bytes: u64, now: Instant) {
        self.with(client, |connection, cx| {
            connection.activity.bytes_out += bytes;
            connection.written(cx, now);
        });
    }

    /// What [`Effect::CreateUpload`] came to: the name of the file.
    pub(crate) fn upload_created(&mut self, client: ClientKey, name: io::Result<String>, now: Instant) {
        self.with(client, |connection, cx| connection.upload_created(cx, name, now));
    }

    /// An [`Effect::AppendUpload`] failed.
    pub(crate) fn upload_failed(&mut self, client: ClientKey, error: io::Error, now: Instant) {
        self.with(client, |connection, cx| connection.upload_finished(cx, Err(error), now));
    }

    /// What [`Effect::FinishUpload`] came to.
    pub(crate) fn upload_finished(&mut self, client: ClientKey, result: io::Result<()>, now: Instant) {
        self.with(client, |connection, cx| connection.upload_finished(cx, result, now));
    }

    /// What [`Effect::File`] came to.
    pub(crate) fn file_answer(&mut self, client: ClientKey, answer: files::Answer, now: Instant) {
        self.with(client, |connection, cx| connection.file_answer(cx, answer, now));
    }

    /// A handler takes no more messages for now, or takes them again.
    pub(crate) fn set_congested(&mut self, handler: HandlerId, is: bool, now: Instant) {
        self.cx.set_congested(handler, is);
        if !is {
            for client in self.clients.keys().collect::<Vec<_>>() {
                self.with(client, |connection, cx| connection.go_on(cx, now));
            }
        }
    }

    /// The next thing to do.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.cx.effects.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.next_tick
    }

    /// Looks for clients that are too slow.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.next_tick.is_none_or(|due| due > now) {
            return;
        }
        for client in self.clients.keys().collect::<Vec<_>>() {
            self.with(client, |connection, cx| connection.check_time(cx, now));
        }
        self.tell();
        let tick = self.cx.site.limits().tick;
        self.next_tick = (!self.clients.is_empty()).then(|| now + tick);
    }

    /// Logs how many clients were disconnected since the last time.
    fn tell(&mut self) {
        let told = std::mem::replace(&mut self.told, self.cx.counters);
        let (slow, idle) = (self.told.overflowed - told.overflowed, self.told.timed_out - told.timed_out);
        if slow > 0 {
            warn!("disconnected {slow} clients that do not read what is sent to them");
        }
        if idle > 0 {
            info!("disconnected {idle} clients that were idle or too slow for the limits");
        }
    }

    /// The server is to end: connections end as soon as they have the responses that they wait for.
    pub(crate) fn stop(&mut self) {
        self.cx.is_stopping = true;
        for client in self.clients.keys().collect::<Vec<_>>() {
            self.with(client, |connection, cx| connection.wind_up(cx));
        }
    }

    /// The server ends: all connections do.
    pub(crate) fn stop_now(&mut self) {
        for client in self.clients.keys().collect::<Vec<_>>() {
            self.with(client, |connection, cx| connection.lose(cx));
        }
    }

    /// The number of clients.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// The clients, for the control port.
    pub(crate) fn connections(
        &self,
        now: Instant,
        descriptor: impl Fn(ClientKey) -> i64,
    ) -> impl Iterator<Item = ConnectionRow> {
        let since = move |then: Instant| now.saturating_duration_since(then).as_secs();
        self.clients.iter().map(move |(client, connection)| ConnectionRow {
            id: connection.id.map_or(-1, i64::from),
            fd: descriptor(client),
            kind: connection.kind(),
            last_ping: since(connection.activity.heard),
            last_read: since(connection.activity.read),
            last_write: since(connection.activity.wrote),
            bytes_read: connection.activity.bytes_in,
            bytes_written: connection.activity.bytes_out,
        })
    }

    /// Ends the connection with this id.
    pub(crate) fn kill(&mut self, id: u32) -> bool {
        let client = self.cx.ids.get(&id).copied();
        client.into_iter().for_each(|client| self.with(client, |connection, cx| connection.lose(cx)));
        client.is_some()
    }

    fn with(&mut self, client: ClientKey, act: impl FnOnce(&mut Connection, &mut Context)) {
        let Some(connection) = self.clients.get_mut(client) else { return };
        act(connection, &mut self.cx);
        if connection.is_gone() {
            self.clients.remove(client);
        }
    }
}
