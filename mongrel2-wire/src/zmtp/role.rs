//! The types of ZeroMQ sockets that are needed, and which of them fit together.

/// What we are, and so what the peer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes messages from a PUSH.
    Pull,
    /// Sends messages to a SUB and hears its subscriptions.
    Xpub,
    /// Asks a REP, one question at a time. Each message is an empty part, then the content.
    Req,
    /// Sends messages to a PULL. With several PULLs, each message goes to one of them.
    Push,
    /// Takes messages from a PUB or XPUB, which it sends its subscription: a message of the byte 1 and the topic.
    Sub,
    /// Answers a REQ or DEALER: what comes up to an empty part comes back in front of the answer.
    Rep,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pull => "PULL",
            Self::Xpub => "XPUB",
            Self::Req => "REQ",
            Self::Push => "PUSH",
            Self::Sub => "SUB",
            Self::Rep => "REP",
        }
    }

    /// The peer that is expected, as errors call it.
    pub(super) fn peer(self) -> &'static str {
        match self {
            Self::Pull => "PUSH",
            Self::Xpub => "SUB",
            Self::Req => "REP",
            Self::Push => "PULL",
            Self::Sub => "PUB",
            Self::Rep => "REQ",
        }
    }

    /// Whether a socket of the type that a peer announces can be the other side.
    pub(super) fn fits(self, peer: &[u8]) -> bool {
        peer == self.peer().as_bytes()
            || matches!(
                (self, peer),
                (Self::Xpub, b"XSUB")
                    | (Self::Req, b"ROUTER")
                    | (Self::Sub, b"XPUB")
                    | (Self::Rep, b"DEALER")
            )
    }
}
