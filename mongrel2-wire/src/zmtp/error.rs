//! What can be wrong with a peer.

use thiserror::Error;

/// The largest message that is accepted, bytes. Mongrel2 holds a whole body in memory too.
pub(super) const MAX_MESSAGE: u64 = 512 << 20;

/// What a peer did that ZMTP does not allow, or that we cannot deal with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ZmtpError {
    /// Another protocol is spoken at this address.
    #[error("no ZeroMQ socket answers there")]
    NotZmtp,
    /// libzmq before version 4.
    #[error("the peer speaks ZMTP {major}, at least 3 (libzmq 4) is needed")]
    TooOld {
        /// Its version.
        major: u8,
    },
    /// A peer with passwords or keys.
    #[error("the peer wants the security mechanism `{mechanism}`, Mongrel2 knows none")]
    Mechanism {
        /// What it asked for.
        mechanism: String,
    },
    /// A socket of another type: probably the two addresses are swapped.
    #[error("the socket there is a {found}, expected a {expected}; are send_spec and recv_spec swapped?")]
    SocketType {
        /// What it says it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The peer refused us.
    #[error("the peer refused: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
    /// Bytes that are no frame.
    #[error("the peer sent a malformed frame")]
    BadFrame,
    /// A frame beyond the bound.
    #[error("a message of {size} bytes, at most {MAX_MESSAGE} are accepted")]
    TooLarge {
        /// The size announced.
        size: u64,
    },
}
