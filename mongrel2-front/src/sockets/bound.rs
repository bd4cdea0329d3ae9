//! A bound socket: a listener, and the connections that it has accepted.

use super::listener::Listener;
use super::peer::{Lost, Peer};
use super::tokens::Tokens;
use mongrel2_wire::address::{Address, AddressError};
use mongrel2_wire::zmtp::Role;
use rustix::event::epoll::{self, EventData, EventFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use thiserror::Error;
use tracing::{debug, warn};

/// Connections that one bound socket holds at most.
const MAX_PEERS: usize = 1024;
/// A peer that has not said all it must by then is given up.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a listener rests when the system has no descriptor left.
const REST: Duration = Duration::from_millis(100);

/// Why a socket cannot be bound.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum BindError {
    #[error("{place}: {cause}")]
    Address { place: String, cause: AddressError },
    #[error("{place}: `{address}` is in use; stop the server that listens there, or choose another address")]
    InUse { place: String, address: String },
    #[error("{place}: cannot listen at `{address}`: {cause}")]
    System { place: String, address: String, cause: io::Error },
}

/// A bound socket. `S` is what its owner remembers of each connection.
#[derive(Debug)]
pub(super) struct Bound<S> {
    /// The address as the configuration writes it.
    pub(super) address: String,
    /// What it is, for logs: `send_spec of handler `m2``.
    pub(super) place: String,
    pub(super) token: u64,
    pub(super) peers: Vec<Peer<S>>,
    listener: Listener,
    role: Role,
    identity: Vec<u8>,
    /// The largest message that is taken.
    max: usize,
    /// Not watched until then: the system had no descriptor.
    rests: Option<Instant>,
}

impl<S: Default> Bound<S> {
    /// Listens at `address`; `token` is the listener's.
    pub(super) fn bind(
        (place, address): (&str, &str),
        (role, identity, max): (Role, &str, usize),
        poller: &OwnedFd,
        token: u64,
    ) -> Result<Self, BindError> {
        let place = place.to_owned();
        let parsed: Address = match address.parse() {
            Ok(parsed) => parsed,
            Err(cause) => return Err(BindError::Address { place, cause }),
        };
        let address = address.to_owned();
        let bound = Listener::bind(&parsed).and_then(|listener| {
            epoll::add(poller, &listener.socket, EventData::new_u64(token), EventFlags::IN)?;
            Ok(listener)
        });
        let listener = match bound {
            Ok(listener) => listener,
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => {
                return Err(BindError::InUse { place, address });
            }
            Err(cause) => return Err(BindError::System { place, address, cause }),
        };
        let (identity, peers) = (identity.as_bytes().to_vec(), Vec::new());
        Ok(Self { address, place, token, peers, listener, role, identity, max, rests: None })
    }

    /// Takes the connections that wait.
    pub(super) fn accept<T: Copy>(
        &mut self,
        poller: &OwnedFd,
        tokens: &mut Tokens<T>,
        meaning: T,
        now: Instant,
    ) {
        loop {
            let socket = match self.listener.accept() {
                Ok(Some(socket)) => socket,
                Ok(None) => return,
                Err(problem) => {
                    let (place, address) = (&self.place, &self.address);
                    warn!("{place}: cannot accept a connection at {address}: {problem}");
                    if self.watch(poller, false) {
                        self.rests = Some(now + REST);
                    }
                    return;
                }
            };
            if self.peers.len() >= MAX_PEERS {
                let place = &self.place;
                warn!("{place}: {MAX_PEERS} connections, no further one is accepted");
                continue;
            }
            let token = tokens.take(meaning);
            let begins = (self.role, &self.identity[..]);
            match Peer::new(socket, begins, self.max, poller, token, now + HANDSHAKE) {
                Ok(peer) => self.peers.push(peer),
                Err(problem) => {
                    tokens.give_back(token);
                    debug!("{}: a connection ended at once: {problem}", self.place);
                }
            }
        }
    }

    /// The place of a connection among the peers.
    pub(super) fn find(&self, token: u64) -> Option<usize> {
        self.peers.iter().position(|peer| peer.token == token)
    }

    /// Ends a connection. What it has not written is in the peer that is returned.
    pub(super) fn lose<T: Copy>(&mut self, peer: usize, problem: &Lost, tokens: &mut Tokens<T>) -> Peer<S> {
        let peer = self.peers.remove(peer);
        tokens.give_back(peer.token);
        let (place, address) = (&self.place, &self.address);
        match problem {
            Lost::Protocol(_) | Lost::TooLarge { .. } | Lost::Overrun => {
                warn!("{place}: closed a connection at {address}: {problem}");
            }
            Lost::Closed | Lost::Silent | Lost::System(_) => {
                debug!("{place}: a connection at {address} ended: {problem}");
            }
        }
        peer
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let silent = self.peers.iter().filter(|peer| !peer.is_open()).map(|peer| peer.due);
        silent.chain(self.rests).min()
    }

    /// Gives up peers that are silent for too long, and lets a listener that rested listen again.
    pub(super) fn handle_timeout<T: Copy>(&mut self, poller: &OwnedFd, tokens: &mut Tokens<T>, now: Instant) {
        if self.rests.is_some_and(|due| due <= now) {
            self.rests = None;
            self.watch(poller, true);
        }
        while let Some(silent) = self.peers.iter().position(|peer| !peer.is_open() && peer.due <= now) {
            self.lose(silent, &Lost::Silent, tokens);
        }
    }

    /// The identity that later connections are told.
    pub(super) fn rename(&mut self, identity: &str) {
        self.identity = identity.as_bytes().to_vec();
    }

    /// Changes what the tokens of this socket stand for.
    pub(super) fn set_meaning<T: Copy>(&self, tokens: &mut Tokens<T>, meaning: T) {
        tokens.set(self.token, meaning);
        self.peers.iter().for_each(|peer| tokens.set(peer.token, meaning));
    }

    /// Gives all tokens back; the sockets close when this is dropped.
    pub(super) fn give_back<T: Copy>(&self, tokens: &mut Tokens<T>) {
        tokens.give_back(self.token);
        self.peers.iter().for_each(|peer| tokens.give_back(peer.token));
    }

    fn watch(&self, poller: &OwnedFd, is_watched: bool) -> bool {
        let flags = if is_watched { EventFlags::IN } else { EventFlags::empty() };
        epoll::modify(poller, &self.listener.socket, EventData::new_u64(self.token), flags).is_ok()
    }
}
