//! Requests to a channel's path, and WebSockets of `kennel.js`: what they do to sessions.
//!
//! * `apply`: what a request asks for, done; `lines`: the same for WebSockets; `bosh`: for BOSH
//! * `expiry`: how a session's time goes by, and ends

mod apply;
mod bosh;
mod expiry;
mod lines;
