//! What a connection is in the middle of: a request whose body is not whole, or a WebSocket.

use crate::body::Decoder;
use crate::frames::Frames;
use crate::head::Head;
use crate::ids::HandlerId;
use crate::message::About;
use crate::peer::Peer;
use crate::site::{Goal, Reached, Site};
use std::sync::Arc;

/// A request whose body is not whole.
#[derive(Debug)]
pub(super) struct Inline {
    pub(super) head: Head,
    pub(super) route: Route,
    pub(super) length: usize,
}

/// A WebSocket.
#[derive(Debug)]
pub(super) struct Socket {
    /// The handshake, whose headers go with each frame.
    pub(super) head: Head,
    pub(super) route: Route,
    pub(super) frames: Frames,
}

/// The way of a request to a handler.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) handler: HandlerId,
    pub(super) pattern: Arc<str>,
}

impl Route {
    /// `None`: the route leads to a folder.
    pub(super) fn of(reached: &Reached) -> Option<Self> {
        match reached.goal {
            Goal::Handler(handler) => Some(Self { handler, pattern: Arc::clone(&reached.pattern) }),
            Goal::Dir(_) => None,
        }
    }
}

impl Route {
    /// What a message says of a request on this way.
    pub(super) fn about<'a>(
        &'a self,
        peer: &'a Peer,
        site: &Site,
        method: &'a [u8],
        more: &'a [(&'a [u8], &'a [u8])],
    ) -> About<'a> {
        let keeps_forwarded_for = site.limits().keeps_forwarded_for;
        About { peer, pattern: self.pattern.as_bytes(), method, more, keeps_forwarded_for }
    }
}

/// A body that goes to its handler in parts.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) decoder: Decoder,
    pub(super) route: Route,
    pub(super) path: Box<[u8]>,
    /// Bytes that have gone to the handler.
    pub(super) offset: u64,
    /// Bytes that may go.
    pub(super) credits: u64,
}

/// A body that goes to a file.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) head: Head,
    pub(super) route: Route,
    pub(super) decoder: Decoder,
    pub(super) phase: Phase,
    /// The client waits for a 100.
    pub(super) expects: bool,
}

/// How far the file is: from `Creating` to `Storing` to `Finishing`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Creating,
    Storing { name: String },
    Finishing { name: String },
}

impl Upload {
    /// Whether the file system is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        !matches!(self.phase, Phase::Storing { .. })
    }
}
