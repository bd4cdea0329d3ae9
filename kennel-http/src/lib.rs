//! HTTP as far as a handler needs it: responses to bytes, and views of what a client sent. Bytes in, bytes out.
//!
//! Mongrel2 adds, checks and rewrites nothing in a response, so all of it is made here. [`websocket`] has the frames,
//! handshakes and compression of WebSockets, and the rules of one conversation.

pub mod charset;
pub mod client_address;
pub mod compression;
pub mod cookies;
pub mod dates;
pub mod events;
pub mod fields;
pub mod file;
pub mod forms;
pub mod json;
pub mod media_types;
pub mod multipart;
pub mod parameters;
pub mod part;
pub mod percent;
mod persistence;
pub mod preconditions;
pub mod proxies;
pub mod query;
pub mod ranges;
pub mod response;
pub mod status;
pub mod stream;
pub mod validators;
pub mod websocket;

pub use fields::{FieldError, HeadLines};
pub use mongrel2_wire::host;
pub use persistence::Persistence;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
