//! Requests and responses of HTTP, as scripts see them.
//!
//! [`request`] is a view of the raw message, with [`headers`], [`form`], [`session`] and [`body`] as parts of it; [`raw`] is
//! all of it. [`response`] makes bytes of what a handler returned, [`files`] and [`stream`] answer in pieces. [`refused`]
//! says what is wrong with what a client sent.

pub(crate) mod body;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod form;
pub(crate) mod headers;
pub(crate) mod raw;
pub(crate) mod refused;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod session;
pub(crate) mod stream;
