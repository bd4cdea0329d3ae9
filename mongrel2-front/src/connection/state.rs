//! What is kept of a connection.

use super::tasks::{Inline, Socket, Stream, Upload};
use crate::context::Context;
use crate::effect::Effect;
use crate::head::Head;
use crate::ids::{ClientKey, HandlerId};
use crate::output::Output;
use crate::peer::Peer;
use crate::process::access_log;
use crate::progress::Progress;
use std::time::Instant;

/// The connection of one client.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) key: ClientKey,
    /// What handlers call it; `None`: no handler knows it.
    pub(crate) id: Option<u32>,
    pub(crate) peer: Peer,
    pub(super) life: Life,
    pub(super) state: State,
    /// Input that is not used yet.
    pub(super) input: Vec<u8>,
    /// Bytes of `input` in which no head ends.
    pub(super) searched: usize,
    /// What comes next has to wait: for room at its handler, or, when it asks for a file, for output to be written.
    pub(super) is_held: bool,
    /// The client shut its side down, and is owed something.
    pub(super) half_closed: bool,
    /// The last request says that no other follows.
    pub(super) says_last: bool,
    /// Such a request was taken: nothing behind it is.
    pub(super) was_last: bool,
    /// The client shut its side down as one does that leaves.
    pub(super) has_left: bool,
    /// The loop was told not to read.
    pub(super) is_paused: bool,
    /// The loop was told so since the last byte came, so the time of the client's end is not known.
    pub(super) was_paused: bool,
    pub(crate) output: Output,
    /// The loop was told that there is output.
    pub(super) is_marked: bool,
    /// Replies of handlers without `raw_payload` are written in base64: the last message was one of a JSON or XML socket.
    pub(super) is_socket: bool,
    /// The handlers that got a message of this connection and have not closed it.
    pub(super) known_by: Vec<HandlerId>,
    pub(super) progress: Progress,
    /// The handler was told what it may send.
    pub(super) has_credits: bool,
    pub(crate) activity: Activity,
    /// Since when a request is incomplete.
    pub(super) late_since: Option<Instant>,
}

/// Whether a connection lives. From `Open` to `Closing` to `Gone`, or at once to `Gone`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// What is queued is written, then it is closed. Input is thrown away.
    Closing,
    Gone,
}

/// What input means now.
#[derive(Debug)]
pub(super) enum State {
    /// A head or a message of a socket begins.
    Between,
    /// A body that will travel inside its message.
    Inline(Box<Inline>),
    /// A body that goes to a file.
    Upload(Box<Upload>),
    /// A body that goes to the handler in parts.
    Stream(Box<Stream>),
    /// WebSocket frames.
    Frames(Box<Socket>),
    /// A file is looked for: the request, as far as the access log wants it.
    File(Option<Box<Head>>),
    /// A request is refused with this status, as soon as those before it have their responses.
    Refused(u16),
}

/// When and how much a connection read and wrote.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activity {
    /// When something came last, or a handler said that it is alive.
    pub(crate) heard: Instant,
    pub(crate) read: Instant,
    pub(crate) wrote: Instant,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Activity {
    pub(super) fn received(&mut self, bytes: usize, now: Instant) {
        self.heard = now;
        self.read = now;
        self.bytes_in += bytes as u64;
    }
}

/// The most bytes of input that a connection keeps while it waits for something else.
const INPUT_WHILE_WAITING: usize = 64 << 10;

impl Connection {
    pub(crate) fn new(key: ClientKey, peer: Peer, now: Instant) -> Self {
        Self {
            key,
            id: None,
            peer,
            life: Life::Open,
            state: State::Between,
            input: Vec::new(),
            searched: 0,
            is_held: false,
            was_last: false,
            half_closed: false,
            says_last: false,
            has_left: false,
            is_paused: false,
            was_paused: false,
            output: Output::default(),
            is_marked: false,
            is_socket: false,
            known_by: Vec::new(),
            progress: Progress::default(),
            has_credits: false,
            activity: Activity { heard: now, read: now, wrote: now, bytes_in: 0, bytes_out: 0 },
            late_since: None,
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.life == Life::Gone
    }

    /// Whether input means anything.
    pub(super) fn takes_input(&self) -> bool {
        self.life == Life::Open && !matches!(self.state, State::Refused(_))
    }

    pub(super) fn is_http(&self) -> bool {
        !self.is_socket && !matches!(self.state, State::Frames(_))
    }

    /// What the control port calls its kind: 1 HTTP, 2 JSON or XML socket, 3 WebSocket.
    pub(crate) fn kind(&self) -> u8 {
        match self.state {
            State::Frames(_) => 3,
            _ if self.is_socket => 2,
            _ => 1,
        }
    }

    /// Whether the client owes the rest of a request.
    pub(super) fn is_inside_request(&self) -> bool {
        match self.state {
            State::Between => !self.input.is_empty(),
            State::Inline(_) => true,
            _ => false,
        }
    }

    /// Whether something else than input is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        match &self.state {
            State::File(_) => true,
            State::Upload(upload) => upload.is_waiting(),
            State::Stream(stream) => stream.credits == 0,
            State::Between | State::Frames(_) => self.is_held,
            State::Inline(_) | State::Refused(_) => false,
        }
    }

    pub(crate) fn wants_input(&self) -> bool {
        self.life != Life::Open || !self.is_waiting() || self.input.len() < INPUT_WHILE_WAITING
    }

    /// Reads again, if that was stopped.
    pub(super) fn resume(&mut self, cx: &mut Context) {
        if self.is_paused && self.wants_input() {
            self.is_paused = false;
            cx.effects.push_back(Effect::ReadAgain(self.key));
        }
    }

    /// What handlers call this connection from now on.
    pub(super) fn known_id(&mut self, cx: &mut Context, handler: HandlerId) -> u32 {
        if !self.known_by.contains(&handler) {
            self.known_by.push(handler);
        }
        *self.id.get_or_insert_with(|| cx.new_id(self.key))
    }
}

impl Connection {
    /// Writes a line of the access log. The loop adds the time.
    pub(super) fn log(&self, cx: &mut Context, head: &Head, status: u16, size: u64) {
        if cx.site.limits().logs_access {
            cx.effects.push_back(Effect::Access(access_log::Line {
                host: head.host().to_vec(),
                remote: self.peer.address.as_bytes().to_vec(),
                port: self.peer.port,
                time: 0,
                method: head.method().to_vec(),
                path: head.path().to_vec(),
                version: head.version().to_vec(),
                status,
                size,
            }));
        }
    }
}
