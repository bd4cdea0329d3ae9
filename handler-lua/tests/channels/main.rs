//! Live connections in a Lua worker: a thread runs it, the test plays the hub on the other end of the socket pair.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod callbacks;
mod handles;
mod hub;
mod mixture;
mod registration;
mod rooms;
mod straight;
