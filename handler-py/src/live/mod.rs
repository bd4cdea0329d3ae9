//! Live connections: the wire of each, and rooms.

pub(crate) mod conn;
pub(crate) mod room;
