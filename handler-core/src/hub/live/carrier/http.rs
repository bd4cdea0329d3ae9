//! A session that requests carry, one after the other.

use super::line::Line;
use crate::channel::mailbox::Mailbox;
use crate::hub::ids::{ConnKey, RequestId};
use std::time::Instant;

/// A poll that waits for something to be said.
#[derive(Debug)]
pub(in crate::hub::live) struct Poll {
    pub request: RequestId,
    /// The connection that it came by.
    pub conn: ConnKey,
    /// Header lines for pages of other hosts.
    pub cors: String,
}

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub::live) enum Carried {
    WebSocket,
    Stream,
    Polls,
}

/// A session.
#[derive(Debug)]
pub(in crate::hub::live) struct ByHttp {
    pub ticket: Box<str>,
    pub mailbox: Mailbox,
    /// The number of the last message that its client has numbered.
    pub received: u64,
    pub poll: Option<Poll>,
    /// The connection that has its events, or is its WebSocket.
    pub stream: Option<ConnKey>,
    /// Its client has come back with its ticket.
    pub used: bool,
    /// The WebSocket, if it is one.
    pub line: Option<Line>,
    /// A sign of life for a WebSocket of it is planned.
    pub beats: bool,
    /// What it was opened by.
    pub opened_by: Carried,
    /// The client was told that it is over: until then it may come again and be told once more, since it may have missed it.
    pub told: Option<Instant>,
    /// When something is to be done for it if nothing comes.
    pub due: Instant,
    /// When the agenda looks at it next.
    pub planned: Option<Instant>,
}

impl ByHttp {
    pub fn new(ticket: String, opened_by: Carried, due: Instant) -> Self {
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
