//! What a channel does about clients that read slowly.

use serde::{Deserialize, Serialize};

/// What becomes of a message for a client that does not read as fast as it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slow {
    /// It waits, within `limits.connection_output`; beyond, the connection is closed.
    #[default]
    Wait,
    /// What waits longest is dropped when more than the channel's buffer waits.
    DropOldest,
    /// The connection is closed when more than the channel's buffer waits.
    Close,
}
