//! The Mongrel2s that a kennel serves: its own, and those that somebody else has configured.

pub(crate) mod capacity;
pub(crate) mod existing;
pub(crate) mod handler_lock;
pub(crate) mod own;
pub(crate) mod servers;
pub(crate) mod tls;
