//! What travels between Mongrel2 and a handler, as types.
//!
//! A request is one ZeroMQ frame, `SENDER CONN_ID PATH HEADERS BODY`: [`Envelope`] cuts it into
//! slices, [`Headers`] reads its header block in either form without copying, [`Head`] says what
//! kind of message it is. A reply is [`reply`]'s business; it is built from [`Sender`] and
//! [`Targets`] only, so that one which Mongrel2 would punish cannot be written.

pub mod address;
pub mod envelope;
mod faults;
pub mod headers;
pub mod host;
pub mod netstring;
mod origin_form;
pub mod reply;
pub mod request;
pub mod restate;
pub mod tnetstring;

pub use address::{AddressError, ConnId, Sender, Targets};
pub use envelope::{Envelope, EnvelopeError};
pub use faults::Fault;
pub use headers::{HeaderError, Headers, Protocol, Text, Values};
pub use origin_form::origin_form;
pub use request::{Head, Kind, Part, Refusal, Version};

#[cfg(test)]
mod captures;
