//! HTTP as far as a handler needs it: responses to bytes, and views of what a client sent.
//!
//! Mongrel2 adds, checks and rewrites nothing in a response, so all of it is made here.

pub mod charset;
pub mod conditions;
pub mod cookies;
pub mod fields;
pub mod forms;
pub mod host;
pub mod multipart;
pub mod parameters;
pub mod part;
pub mod percent;
pub mod query;
pub mod response;
pub mod stream;

pub use conditions::Persistence;
pub use fields::{FieldError, HeadLines};
