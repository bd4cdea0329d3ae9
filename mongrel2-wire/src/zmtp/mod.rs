//! ZMTP 3.0, ZeroMQ's wire protocol (rfc.zeromq.org/spec/23), as far as Mongrel2, its handlers and its control port need
//! it: greeting, the NULL mechanism, frames. Bytes only; the sockets belong to the caller.
//!
//! Both sides of a connection say the same: a [`Conversation`] begins alike on the side that has connected and on the
//! side that listens. We announce version 3.0, so that a newer peer sends subscriptions as messages, not as commands, and
//! accepts ours as messages.

mod conversation;
mod error;
mod frame;
mod role;

pub use conversation::{Conversation, Incoming};
pub use error::ZmtpError;
pub use frame::{encode, encode_part, encode_pong, frame_size, is_command};
pub use role::Role;
