//! Sessions: conversations that outlive each connection that carries them, by event streams, long polls, WebSockets of
//! `kennel.js` and BOSH.
//!
//! A session is a live connection without a connection of its own. What its script sends lies in a
//! [mailbox](crate::channel::mailbox) until a request comes that can carry it: a poll that is held until there is something,
//! or a stream of events or a WebSocket that stays open. Each ends at any time, and the session does not: it waits for the next one for
//! `limits.inactivity`, also when Mongrel2 itself was restarted meanwhile.
//!
//! * `answers`: answers to their requests; `deliver`: messages to polls and streams; `line`: the same for WebSockets
//! * `publish`: messages of a room to many sessions
//! * `bosh`: the same for BOSH, whose state is a protocol of its own
//! * `unused`: those that no client has come back to; `agenda`: what is due when

mod agenda;
mod answers;
mod bosh;
mod deliver;
mod line;
mod publish;
mod unused;

use crate::channel::mailbox::Bounds;
use crate::hub::context::Context;
use crate::hub::ids::{AppId, LiveId};
use crate::hub::live::Live;
use crate::hub::live::carrier::{ByBosh, ByHttp, Carrier};
use crate::hub::live::table::Stage;
use crate::worker::protocol::Slow;
use std::time::Duration;
use unused::{Shares, Unused};

use crate::channel::ticket::Tickets;
use agenda::Agenda;
use kennel_http::client_address::ClientAddress;
use std::time::Instant;

/// The least that may be handed out without an acknowledgement, bytes; `limits.resume` may allow more.
pub(in crate::hub::live) const LEAST_WINDOW: usize = 128 << 10;
/// When to look at a session for which nothing is due.
pub(in crate::hub::live) const FAR: Duration = Duration::from_secs(86_400);
/// What the client of a session that is over reads.
pub(in crate::hub::live) const GONE: &str = "this session has ended, or never was; open a new one";

/// What the hub keeps for all sessions.
#[derive(Debug, Default)]
pub(in crate::hub) struct Sessions {
    /// None: there are no sessions, since their names could be guessed.
    pub(in crate::hub::live) tickets: Option<Tickets>,
    /// How many are not over.
    pub(in crate::hub::live) open: usize,
    /// The same for each address.
    pub(in crate::hub::live) shares: Shares,
    pub(in crate::hub::live) agenda: Agenda,
    /// Those whose clients have not come back yet, and some others.
    pub(in crate::hub::live) unused: Unused,
    /// Those with a poll to answer at the end of the turn, and some others.
    pub(in crate::hub::live) ready: Vec<LiveId>,
    /// Those that nobody listens to any more, and some others: their time runs.
    pub(in crate::hub::live) alone: Vec<LiveId>,
    /// Requests of BOSH sessions that are gone, by their numbers.
    pub(in crate::hub::live) gone: Vec<(LiveId, u64)>,
}

impl Sessions {
    /// When there is something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.agenda.next()
    }

    /// A session begins. `client`: its address, if limits per client address count that.
    pub(in crate::hub::live) fn begin(&mut self, id: LiveId, client: Option<ClientAddress>) {
        self.open += 1;
        client.into_iter().for_each(|client| self.shares.begin(id, client));
    }

    /// A session is over.
    pub(in crate::hub::live) fn end(&mut self, id: LiveId) {
        self.open -= 1;
        self.shares.end(id);
    }
}

impl Live {
    /// How many entries there are of what is due for sessions.
    #[cfg(test)]
    pub(in crate::hub) fn planned_for_sessions(&self) -> usize {
        self.sessions.agenda.len()
    }

    /// Takes sessions of event streams and long polls from now on. `key`: bytes that nobody else knows, new for each start.
    pub(in crate::hub) fn set_session_key(&mut self, key: &[u8; 32]) {
        self.sessions.tickets = Some(Tickets::new(key));
    }
}

impl Live {
    /// The session of a live connection, if it is one.
    pub(in crate::hub::live) fn by_http(&self, id: LiveId) -> Option<&ByHttp> {
        match &self.lives.get(id)?.carrier {
            Carrier::Http(session) => Some(session),
            _ => None,
        }
    }

    pub(in crate::hub::live) fn by_http_mut(&mut self, id: LiveId) -> Option<&mut ByHttp> {
        match &mut self.lives.get_mut(id)?.carrier {
            Carrier::Http(session) => Some(session),
            _ => None,
        }
    }

    /// What a session's mailbox holds at most.
    pub(in crate::hub::live) fn bounds_of(&self, cx: &Context, id: LiveId) -> Bounds {
        let limit = cx.limits.connection_output;
        let channel = self.lives.get(id);
        let spec = channel.and_then(|c| cx.apps.channel(c.app, c.route));
        let (slow, buffer) = spec.map_or((Slow::Wait, limit), |spec| (spec.slow, spec.buffer));
        let bytes = if slow == Slow::Wait { limit } else { buffer.min(limit) };
        Bounds { letters: cx.limits.mailbox, bytes, slow }
    }

    /// The session with this ticket, if it is one of this channel and not over.
    pub(in crate::hub::live) fn session(&self, ticket: &[u8], place: (AppId, u16)) -> Option<LiveId> {
        let id = self.lives.by_number(self.sessions.tickets.as_ref()?.read(ticket)?)?;
        let channel = self.lives.get(id)?;
        let is_meant = matches!(channel.carrier, Carrier::Http(_)) && (channel.app, channel.route) == place;
        (is_meant && channel.stage != Stage::Over).then_some(id)
    }

    pub(in crate::hub::live) fn bosh(&mut self, id: LiveId) -> Option<&mut ByBosh> {
        match &mut self.lives.get_mut(id)?.carrier {
            Carrier::Bosh(bosh) => Some(bosh),
            _ => None,
        }
    }
}
