//! The names by which the hub's parts speak of each other's things.

use mongrel2_wire::ConnId;

/// One of the Mongrel2 Handlers that the hub serves, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u16);

/// A connection that is never mistaken for another: Mongrel2 counts from 1 again after each start,
/// so its number means something only together with the link and the run of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnKey {
    /// Which server.
    pub link: LinkId,
    /// Which run of it, as seen from here.
    pub incarnation: u32,
    /// Its number there.
    pub id: ConnId,
}

/// One of the hub's apps, counted from 0 in the order of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(pub u16);

/// A worker process. The number is used again after the worker is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub usize);

slotmap::new_key_type! {
    /// A request that has no answer yet. No other request ever has it.
    pub struct RequestId;
}

/// A live connection's place in the table. Used again when it has ended.
pub(super) type LiveId = u32;

/// The link of connections that no server holds: their clients come and go.
pub(super) const NO_LINK: LinkId = LinkId(u16::MAX);

/// What a worker's serial stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// A request.
    Request(RequestId),
    /// Something to do for a live connection.
    Live(LiveId),
}
