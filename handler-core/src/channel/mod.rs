//! One live conversation, whatever carries it.
//!
//! Mongrel2 holds sockets that stay open: WebSockets, and JSON and XML sockets of TCP and Flash clients. Of these, here
//! is what differs: how a message is written for it (`framing`), and how its opening request is kept small
//! (`opening`).
//!
//! Whoever can only ask and be answered holds a conversation too: a session, which outlives each of its connections.
//! `call` reads what a request wants of one, [`ticket`] names it, `mailbox` keeps what its client has still to get,
//! and `event_stream`, `poll` and `line`, a WebSocket of `kennel.js`, write that. [`bosh`] is the same as a
//! protocol of its own. [`bounds`] has what scripts may say to any of them.

pub mod bosh;
pub mod bounds;
pub(crate) mod call;
pub(crate) mod event_stream;
pub(crate) mod framing;
pub(crate) mod line;
pub(crate) mod mailbox;
pub(crate) mod opening;
pub(crate) mod poll;
mod slow;
pub mod ticket;

pub use slow::Slow;
