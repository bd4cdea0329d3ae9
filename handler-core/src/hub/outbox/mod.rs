//! Bytes to connections, within what Mongrel2 and the client bear.

pub(in crate::hub) mod batches;
pub(in crate::hub) mod connection;
pub(in crate::hub) mod flush;
pub(in crate::hub) mod output;
pub(in crate::hub) mod pacing;
pub(in crate::hub) mod stalled;
pub(in crate::hub) mod stream;

use connection::Connections;
use flush::Outgoing;

/// The only part that sends bytes to connections.
#[derive(Debug, Default)]
pub(in crate::hub) struct Outbox {
    pub conns: Connections,
    pub outgoing: Outgoing,
}
