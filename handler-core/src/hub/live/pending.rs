//! What a connection's worker has to do.

use std::collections::VecDeque;

/// Something that a connection's worker has to do.
#[derive(Debug, Clone)]
pub(crate) enum Pending {
    /// Take the connection; `fresh`: run the script's `open`.
    Open { fresh: bool },
    /// Run `message`.
    Message { binary: bool, payload: Box<[u8]> },
    /// Run `close`, and forget it.
    Close { code: u16, reason: Box<str> },
}

impl Pending {
    /// What it counts for in the bound of what may wait.
    pub fn size(&self) -> usize {
        match self {
            Self::Message { payload, .. } => payload.len() + 64,
            Self::Open { .. } | Self::Close { .. } => 0,
        }
    }
}

/// What a worker has of a connection, and what waits.
#[derive(Debug, Default)]
pub(in crate::hub::live) struct Work {
    /// Given to the worker and not done, by serial.
    pub flight: VecDeque<(u64, Pending)>,
    /// Not given yet.
    pub waiting: VecDeque<Pending>,
    /// Bytes of both.
    pub bytes: usize,
    /// It is on its worker's list of connections to go on with.
    pub listed: bool,
    /// Something in `waiting` was given before and came back, while what was given before that may
    /// come back too: nothing is given until `flight` is empty, or the order would be lost.
    pub returned: bool,
}
