//! What Mongrel2 and its handlers say to each other, as types. Bytes in, bytes out: no socket is opened here.
//!
//! A request is one ZeroMQ frame, `SENDER CONN_ID PATH HEADERS BODY`: [`Envelope`] cuts it into slices, [`Headers`]
//! reads its header block in either form without copying, and [`Head`] says what kind of message it is. [`reply`]
//! writes replies, from a [`Sender`] and [`Targets`] only, so that a reply which Mongrel2 would punish cannot be
//! written. [`zmtp`] carries both between the sockets, and an
//! [`Address`](address::Address) says where those are. A server in Mongrel2's place writes requests with [`compose`]
//! and reads replies with [`reply::parse`].
//!
//! ```
//! use mongrel2_wire::{ConnId, Envelope, Head, Kind, Sender, Targets, reply};
//!
//! let message = br#"m2 7 /hello 37:{"METHOD":"GET","VERSION":"HTTP/1.0"},0:,"#;
//! let request = Envelope::parse(message)?;
//! assert_eq!(Head::read(&request)?.kind, Kind::Http);
//!
//! let (sender, id) = (Sender::new(request.sender)?, ConnId::try_from(request.conn_id)?);
//! let mut out = Vec::new();
//! reply::encode(&mut out, &sender, Targets::one(&id), b"HTTP/1.1 204 No Content\r\n\r\n");
//! assert_eq!(out, b"m2 1:7, HTTP/1.1 204 No Content\r\n\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/hello.rs` is a whole handler.

pub mod address;
pub mod compose;
mod envelope;
mod faults;
mod headers;
pub mod host;
mod ids;
mod kind;
pub mod netstring;
mod origin_form;
pub mod reply;
mod request;
pub mod rewrite;
pub mod tnetstring;
pub mod zmtp;

pub use envelope::{Envelope, EnvelopeError};
pub use faults::Fault;
pub use headers::{HeaderError, Headers, Protocol, Text, Values};
pub use ids::{ConnId, IdError, Sender, Targets};
pub use kind::{Kind, Refusal, Version};
pub use origin_form::origin_form;
pub use request::{Head, Part};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod captures;
