//! HTTP as far as a handler needs it: responses to bytes, and views of what a client sent.
//!
//! Mongrel2 adds, checks and rewrites nothing in a response, so all of it is made here.

pub mod charset;
pub mod client_address;
pub mod compression;
pub mod conditions;
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
pub mod preconditions;
pub mod proxies;
pub mod query;
pub mod ranges;
pub mod response;
pub mod stream;
pub mod validators;

pub use crate::protocol::host;
pub use conditions::Persistence;
pub use fields::{FieldError, HeadLines};
