//! Live connections in a Lua worker: a thread runs it, the test plays the hub on the other end of the socket pair. What is the
//! same in every language is in `kennel/tests/connections`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod callbacks;
mod fast_path;
mod handles;
mod hub;
mod linear;
mod mixture;
mod registration;
mod rooms;
