//! One ZMTP connection on a socket that does not block.

use super::connect::{connect, peer_process};
use mongrel2_wire::address::Address;
use mongrel2_wire::zmtp::{self, Conversation, Role, ZmtpError};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Bytes read at a time. Larger than any usual burst, so that one call empties the socket.
const READ: usize = 256 << 10;

/// Why a connection is at its end.
#[derive(Debug, Error)]
pub(super) enum Lost {
    /// The peer closed it, or is gone.
    #[error("the connection was closed")]
    Closed,
    /// The peer says nothing, or not all it must.
    #[error("nothing came for {0:?}")]
    Silent(Duration),
    /// The system says so.
    #[error("{0}")]
    System(#[from] io::Error),
    /// The peer does not speak as it should.
    #[error("{0}")]
    Protocol(#[from] ZmtpError),
}

/// A connection, from the first attempt to its end.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    connected: bool,
    conversation: Conversation,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// How much of the outbox is written.
    written: usize,
    token: u64,
    watches_writing: bool,
}

impl Connection {
    /// Begins to connect and puts the socket under watch. `at`: where a TCP port is.
    pub(super) fn open(
        address: &Address,
        at: Option<SocketAddr>,
        role: Role,
        poller: &OwnedFd,
        token: u64,
    ) -> Result<Self, Lost> {
        let socket = connect(address, at)?;
        let (conversation, outbox) = Conversation::begin(role);
        let flags = EventFlags::IN | EventFlags::OUT;
        epoll::add(poller, &socket, EventData::new_u64(token), flags).map_err(io::Error::from)?;
        Ok(Self {
            socket,
            connected: false,
            conversation,
            inbox: Vec::new(),
            outbox,
            written: 0,
            token,
            watches_writing: true,
        })
    }

    /// Whether the handshake is over.
    pub(super) fn is_open(&self) -> bool {
        self.conversation.is_open()
    }

    /// The process that listens at the other end, if the socket is a Unix one and the process can be seen from here.
    pub(super) fn peer(&self) -> Option<u32> {
        peer_process(&self.socket)
    }

    /// Bytes that the system has not taken yet.
    pub(super) fn unsent(&self) -> usize {
        self.outbox.len() - self.written
    }

    /// Appends a message; [`write`](Self::write) sends it.
    #[inline]
    pub(super) fn push(&mut self, message: &[u8]) {
        zmtp::encode(&mut self.outbox, message);
    }

    /// Reads what there is and hands each message to `sink`. `false`: there was nothing.
    pub(super) fn read(&mut self, mut sink: impl FnMut(&[u8])) -> Result<bool, Lost> {
        if !self.connected {
            match sockopt::socket_error(&self.socket).map_err(io::Error::from)? {
                Ok(()) => self.connected = true,
                Err(problem) => return Err(Lost::System(problem.into())),
            }
        }
        // A message larger than a read gets its room at once, instead of doubling there.
        let wanted = zmtp::frame_size(&self.inbox).unwrap_or(0).saturating_sub(self.inbox.len());
        self.inbox.reserve(wanted.clamp(READ, 16 << 20));
        match rustix::io::read(&self.socket, spare_capacity(&mut self.inbox)) {
            Ok(0) => return Err(Lost::Closed),
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(problem) => return Err(Lost::System(problem.into())),
        }
        let used = self.conversation.read(&self.inbox, &mut sink)?;
        self.inbox.drain(..used);
        if self.inbox.is_empty() {
            self.inbox.shrink_to(2 * READ);
        }
        Ok(true)
    }

    /// Reads until nothing is left, for the last time.
    pub(super) fn read_rest(&mut self, mut sink: impl FnMut(&[u8])) {
        while let Ok(true) = self.read(&mut sink) {}
    }

    /// Writes what waits, and watches for room if the system does not take it all.
    pub(super) fn write(&mut self, poller: &OwnedFd) -> Result<(), Lost> {
        if self.connected && self.unsent() > 0 {
            match send(&self.socket, &self.outbox[self.written..], SendFlags::NOSIGNAL) {
                Ok(count) => self.written += count,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(problem) => return Err(Lost::System(problem.into())),
            }
            if self.unsent() == 0 {
                self.outbox.clear();
                self.outbox.shrink_to(4 << 20);
                self.written = 0;
            } else if self.written > 1 << 20 && self.written > self.outbox.len() / 2 {
                self.outbox.drain(..self.written);
                self.written = 0;
            }
        }
        let waits = !self.connected || self.unsent() > 0;
        if waits != self.watches_writing {
            self.watches_writing = waits;
            let flags = if waits { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(poller, &self.socket, EventData::new_u64(self.token), flags)
                .map_err(io::Error::from)?;
        }
        Ok(())
    }

    /// Writes the rest, waiting for room, until `deadline`.
    pub(super) fn write_rest(&mut self, poller: &OwnedFd, deadline: Instant) {
        while self.unsent() > 0 && self.write(poller).is_ok() {
            let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
            if left.is_zero() {
                return;
            }
            let mut sockets = [PollFd::new(&self.socket, PollFlags::OUT)];
            let _ = poll(&mut sockets, Timespec::try_from(left).ok().as_ref());
        }
    }
}
