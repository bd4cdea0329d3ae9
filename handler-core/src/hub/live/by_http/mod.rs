//! Sessions: conversations that outlive each connection that carries them, by event streams, long polls, WebSockets of
//! `kennel.js` and BOSH.
//!
//! A session is a live connection without a connection of its own. What its script sends lies in a
//! [mailbox](crate::channel::mailbox) until a request comes that can carry it: a poll that is held until there is something,
//! or a stream of events or a WebSocket that stays open. Each ends at any time, and the session does not: it waits for the next one for
//! `limits.inactivity`, also when Mongrel2 itself was restarted meanwhile.
//!
//! * `calls`: requests to a channel's path, read and checked; `asking`: what they do to a session
//! * `delivering`: messages to polls and streams; `lines`: the same for WebSockets, and what comes from them
//! * `publishing`: messages of a room to many sessions
//! * `bosh`: the same for BOSH, whose state is a protocol of its own
//! * `unused`: those that no client has come back to
//! * `agenda`: what is due when; `passing`: how a session's time goes by, and ends

mod agenda;
mod asking;
mod bosh;
mod calls;
mod delivering;
mod lines;
mod passing;
mod publishing;
mod unused;

use crate::hub::ids::LiveId;
pub(super) use agenda::Agenda;
pub(super) use bosh::{ByBosh, element_of};
pub(super) use lines::Beat;
use unused::{Shares, Unused};

use crate::channel::mailbox::Mailbox;
use crate::channel::ticket::Tickets;
use crate::hub::ids::{ConnKey, RequestId};
use kennel_http::client_address::ClientAddress;
use lines::Line;
use std::time::Instant;

/// A poll that waits for something to be said.
#[derive(Debug)]
struct Poll {
    request: RequestId,
    /// The connection that it came by.
    conn: ConnKey,
    /// Header lines for pages of other hosts.
    cors: String,
}

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    WebSocket,
    Stream,
    Polls,
}

/// A session.
#[derive(Debug)]
pub(in crate::hub) struct ByHttp {
    ticket: Box<str>,
    mailbox: Mailbox,
    /// The number of the last message that its client has numbered.
    received: u64,
    poll: Option<Poll>,
    /// The connection that has its events, or is its WebSocket.
    stream: Option<ConnKey>,
    /// Its client has come back with its ticket.
    used: bool,
    /// The WebSocket, if it is one.
    line: Option<Line>,
    /// A sign of life for a WebSocket of it is planned.
    beats: bool,
    /// What it was opened by.
    opened_by: Carried,
    /// The client was told that it is over: until then it may come again and be told once more, since it may have missed it.
    told: Option<Instant>,
    /// When something is to be done for it if nothing comes.
    due: Instant,
    /// When the agenda looks at it next.
    planned: Option<Instant>,
}

impl ByHttp {
    fn new(ticket: String, opened_by: Carried, due: Instant) -> Self {
        Self {
            ticket: ticket.into(),
            mailbox: Mailbox::default(),
            received: 0,
            poll: None,
            stream: None,
            used: opened_by != Carried::Polls,
            line: None,
            beats: false,
            opened_by,
            told: None,
            due,
            planned: None,
        }
    }

    /// `conn.transport`.
    pub fn name(&self) -> &'static str {
        match self.opened_by {
            Carried::WebSocket => "websocket",
            Carried::Stream => "sse",
            Carried::Polls => "poll",
        }
    }

    /// Bytes that wait for the client.
    pub fn unsent(&self) -> usize {
        self.mailbox.size().1
    }
}

/// What the hub keeps for all sessions.
#[derive(Debug, Default)]
pub(in crate::hub) struct Sessions {
    /// None: there are no sessions, since their names could be guessed.
    tickets: Option<Tickets>,
    /// How many are not over.
    open: usize,
    /// The same for each address.
    shares: Shares,
    agenda: Agenda,
    /// Those whose clients have not come back yet, and some others.
    unused: Unused,
    /// Those with a poll to answer at the end of the turn, and some others.
    ready: Vec<LiveId>,
    /// Those that nobody listens to any more, and some others: their time runs.
    alone: Vec<LiveId>,
    /// Requests of BOSH sessions that are gone, by their numbers.
    gone: Vec<(LiveId, u64)>,
}

impl Sessions {
    /// When there is something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.agenda.next()
    }

    /// A session begins. `client`: its address, if limits per client address count that.
    pub(super) fn begin(&mut self, id: LiveId, client: Option<ClientAddress>) {
        self.open += 1;
        client.into_iter().for_each(|client| self.shares.begin(id, client));
    }

    /// A session is over.
    pub(super) fn end(&mut self, id: LiveId) {
        self.open -= 1;
        self.shares.end(id);
    }
}

impl super::Live {
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
