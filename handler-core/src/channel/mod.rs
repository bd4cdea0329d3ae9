//! One live conversation, whatever carries it.
//!
//! Mongrel2 holds sockets that stay open: WebSockets, and JSON and XML sockets of TCP and Flash clients.
//! Here is what differs between them: how a
//! message is written for it ([`framing`]), and how its opening request is kept small ([`opening`]). A session over plain
//! HTTP requests is [`bosh`].

pub mod bosh;
pub mod framing;
pub mod opening;
