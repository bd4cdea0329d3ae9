//! A session that requests carry, one after the other.

use super::line::Line;
use crate::channel::line;
use crate::channel::mailbox::Mailbox;
use crate::hub::ids::{ConnKey, RequestId};
use kennel_http::websocket::Codec;
use std::time::Instant;

/// Signs of life that a client may leave unanswered. More than those of a plain WebSocket: a client that sends a large message
/// over a slow line answers behind it, and to be cut off would make it begin again.
const UNANSWERED: u8 = 4;

/// What a session's sign of life came to.
pub(in crate::hub::live) enum Beat {
    /// No WebSocket carries it now, or one that is being closed.
    None,
    /// The client has left several unanswered.
    Dead(ConnKey),
    /// It is to be sent there.
    Due(ConnKey),
}

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

impl ByHttp {
    /// Appends a ping and a sign of life, where a WebSocket carries the session.
    pub fn beat(&mut self, out: &mut Vec<u8>, codec: &mut Codec) -> Beat {
        let (Some(key), Some(line)) = (self.stream, &mut self.line) else {
            self.beats = false;
            return Beat::None;
        };
        if line.socket.unanswered() >= UNANSWERED {
            self.beats = false;
            return Beat::Dead(key);
        }
        if !line.socket.ping(out) {
            self.beats = false;
            return Beat::None;
        }
        line::steer(line::ALIVE, codec, out);
        Beat::Due(key)
    }

    /// The WebSocket that carries the session.
    pub fn line_key(&self) -> Option<ConnKey> {
        self.stream.filter(|_| self.line.is_some())
    }

    /// Whether a sign of life has to be planned: none is yet.
    pub fn plan_beats(&mut self) -> bool {
        !std::mem::replace(&mut self.beats, true)
    }

    /// Counts a ping that asks whether messages have arrived. `false`: no WebSocket carries the session.
    pub fn asks(&mut self) -> bool {
        let Some(line) = &mut self.line else { return false };
        line.socket.asks();
        true
    }
}
