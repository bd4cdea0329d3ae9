//! One connection of a handler, on a socket that does not block.

use super::frames::Frames;
use mongrel2_wire::zmtp::{self, Conversation, Incoming, Role, ZmtpError};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::{Errno, read};
use rustix::net::{SendFlags, send};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;
use thiserror::Error;

/// Bytes read at a time. Larger than any usual burst, so that one call empties the socket.
pub(super) const READ: usize = 256 << 10;
/// Room that is made for a large message at once.
const LARGE: usize = 16 << 20;

/// The largest frame of a handshake, bytes.
const HANDSHAKE: usize = 64 << 10;
/// The first byte of a greeting, which a frame never begins with.
const GREETING: u8 = 0xff;
/// What a frame has beside its message at most, bytes.
const FRAME_HEAD: usize = 9;

/// Why a connection is at its end.
#[derive(Debug, Error)]
pub(super) enum Lost {
    #[error("nothing came in time")]
    Silent,
    #[error("the connection was closed")]
    Closed,
    #[error("{0}")]
    System(#[from] io::Error),
    #[error("{0}")]
    Protocol(#[from] ZmtpError),
    #[error("it asks without reading the answers")]
    Overrun,
    #[error("a message of {size} bytes, at most {max} are accepted here")]
    TooLarge { size: usize, max: usize },
}

impl From<Errno> for Lost {
    fn from(problem: Errno) -> Self {
        match problem {
            Errno::CONNRESET | Errno::PIPE => Self::Closed,
            problem => Self::System(problem.into()),
        }
    }
}

/// A connection that was accepted, with what its owner remembers of it.
#[derive(Debug)]
pub(super) struct Peer<S> {
    pub(super) socket: OwnedFd,
    pub(super) token: u64,
    conversation: Conversation,
    /// The beginning of a frame whose end is still to come.
    inbox: Vec<u8>,
    /// The largest message that is taken.
    max: usize,
    pub(super) outbox: Frames,
    /// Bytes of the first frame in the outbox that the system has taken.
    written: usize,
    watched: EventFlags,
    /// When the handshake must be over.
    pub(super) due: Instant,
    pub(super) state: S,
}

impl<S: Default> Peer<S> {
    /// Begins the conversation and puts the socket under watch.
    pub(super) fn new(
        socket: OwnedFd,
        (role, identity): (Role, &[u8]),
        max: usize,
        poller: &OwnedFd,
        token: u64,
        due: Instant,
    ) -> Result<Self, Lost> {
        let properties: &[(&str, &[u8])] = if identity.is_empty() { &[] } else { &[("Identity", identity)] };
        let (conversation, opening) = Conversation::begin_with(role, properties);
        // The buffer of a new socket has room for it.
        if send(&socket, &opening, SendFlags::NOSIGNAL)? < opening.len() {
            return Err(Lost::Closed);
        }
        epoll::add(poller, &socket, EventData::new_u64(token), EventFlags::IN)?;
        Ok(Self {
            socket,
            token,
            conversation,
            inbox: Vec::new(),
            max,
            outbox: Frames::default(),
            written: 0,
            watched: EventFlags::IN,
            due,
            state: S::default(),
        })
    }

    /// Whether the handshake is over.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.conversation.is_open()
    }

    /// Bytes that the system has not taken yet.
    #[inline]
    pub(super) fn unsent(&self) -> usize {
        self.outbox.len() - self.written
    }

    /// Reads once, and hands parts of messages to `sink`, with the outbox and whether a part is the last one. Heartbeats
    /// are answered here. `scratch` is room of [`READ`] bytes that all peers share. `true`: the handshake is over now.
    pub(super) fn read(
        &mut self,
        scratch: &mut Vec<u8>,
        mut sink: impl FnMut(&mut S, &mut Frames, &[u8], bool),
    ) -> Result<bool, Lost> {
        let was_open = self.is_open();
        scratch.clear();
        scratch.reserve(READ);
        let is_new = self.inbox.is_empty();
        let input = if is_new { &mut *scratch } else { &mut self.inbox };
        if !is_new {
            // A message larger than a read gets its room at once, instead of doubling there.
            let wanted = zmtp::frame_size(input).unwrap_or(0).saturating_sub(input.len());
            input.reserve(wanted.clamp(READ, LARGE));
        }
        match read(&self.socket, spare_capacity(input)) {
            Ok(0) => return Err(Lost::Closed),
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(problem) => return Err(problem.into()),
        }
        let (state, outbox, max, mut size) = (&mut self.state, &mut self.outbox, self.max, 0);
        let used = self.conversation.read_all(input, |incoming| match incoming {
            Incoming::Part { bytes, .. } if bytes.len() > max => size = bytes.len(),
            Incoming::Part { bytes, is_last } => sink(state, outbox, bytes, is_last),
            // What waits for a peer that does not read is a sign of life, too.
            Incoming::Ping { context } if outbox.len() < READ => outbox.push_pong(context),
            Incoming::Ping { .. } => {}
        })?;
        let left = &input[used..];
        let max = if self.conversation.is_open() { max } else { max.min(HANDSHAKE) };
        if left.first().is_some_and(|flags| *flags != GREETING) {
            size = size.max(zmtp::frame_size(left).unwrap_or(0).saturating_sub(FRAME_HEAD));
        }
        if size > max {
            return Err(Lost::TooLarge { size, max });
        }
        if is_new {
            self.inbox.extend_from_slice(&scratch[used..]);
        } else {
            self.inbox.drain(..used);
            if self.inbox.is_empty() {
                self.inbox = Vec::new();
            }
        }
        Ok(!was_open && self.is_open())
    }

    /// Writes what waits, once. How many bytes the system has taken.
    pub(super) fn write(&mut self) -> Result<usize, Lost> {
        if self.unsent() == 0 {
            return Ok(0);
        }
        match send(&self.socket, &self.outbox.bytes()[self.written..], SendFlags::NOSIGNAL) {
            Ok(count) => {
                self.written += count;
                self.written -= self.outbox.remove_whole(self.written);
                Ok(count)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(problem) => Err(problem.into()),
        }
    }

    /// Watches for what is wanted. `writes`: there is something to write.
    pub(super) fn watch(&mut self, poller: &OwnedFd, reads: bool, writes: bool) -> Result<(), Lost> {
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, reads);
        wanted.set(EventFlags::OUT, writes);
        if wanted != self.watched {
            self.watched = wanted;
            epoll::modify(poller, &self.socket, EventData::new_u64(self.token), wanted)?;
        }
        Ok(())
    }
}
