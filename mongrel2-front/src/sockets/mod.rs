//! The ZeroMQ sockets that the server binds: a PUSH and a SUB for each handler, a REP for the control port.
//!
//! From the ground up:
//!
//! * `listener`: a socket that listens at a `tcp://` or `ipc://` address.
//! * `frames`: messages in order, as bytes that go to a peer.
//! * `peer`: one connection of a handler.
//! * `bound`: a listener and its peers; `tokens` are how the loop tells them apart.
//! * `push`: requests, dealt to the consumers of one handler.
//! * `handlers`, `control`: what the loop sees.

mod bound;
mod control;
mod frames;
mod handlers;
mod listener;
mod peer;
mod push;
#[cfg(test)]
mod tests;
mod tokens;

pub(crate) use bound::BindError;
pub(crate) use control::ControlSocket;
pub(crate) use handlers::HandlerSockets;
pub(crate) use tokens::TOKENS;
