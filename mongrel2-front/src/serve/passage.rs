//! What reading from a client and writing to it come to.

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// So many bytes; with TLS perhaps none yet. `is_last`: the socket had no more.
    Bytes { size: usize, is_last: bool },
    /// Nothing more for now.
    Nothing,
    /// The client has shut its side down.
    End,
}

/// What a write came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Bytes of the output, which was advanced by them.
    pub(super) bytes: u64,
    /// The system takes no more for now.
    pub(super) is_blocked: bool,
}
