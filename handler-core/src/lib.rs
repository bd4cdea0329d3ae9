//! Mongrel2 handlers: everything between the server's ZeroMQ sockets and somebody's script.
//!
//! From the ground up; each part knows only those before it:
//!
//! * [`protocol`]: what travels between Mongrel2 and a handler, as types;
//! * [`http`]: responses to bytes, and views of what a client sent;
//! * [`sessions`]: what a visitor carries between requests, signed;
//! * [`websocket`]: frames, handshakes and compression, and the rules of one conversation;
//! * [`channel`]: what differs between the carriers of live conversations;
//! * [`worker`]: the processes that run scripts, and what hub and worker say to each other;
//! * [`metrics`]: numbers for operators, and the forms in which they are read;
//! * [`rooms`]: who is in which room, and how one message reaches them all in the fewest replies;
//! * [`hub`]: the state machine between the two, without any input or output of its own;
//! * [`console`]: what people who operate the hub say to it;
//! * [`transport`]: ZeroMQ to the servers;
//! * [`serve`]: the poll loop, where sockets, clocks and processes meet the hub;
//! * [`rehearsal`]: the hub, clients and workers in one thread, on made-up time, for tests of apps.
//!
//! [`object`] reads structs from what comes from outside, in any of these.
//!
//! `templates` (with the feature of that name) makes pages for workers; the hub makes none.
//!
//! A worker in another language needs `worker` and `protocol` alone.

// 302 items are `pub` and only used here. This goes when the crate is divided; other crates have no such exception.
#![allow(unreachable_pub)]

pub mod channel;
pub mod console;
pub mod http;
pub mod hub;
pub mod metrics;
pub mod object;
pub mod protocol;
pub mod rehearsal;
pub mod rooms;
pub mod serve;
pub mod sessions;
#[cfg(feature = "templates")]
pub mod templates;
pub mod transport;
pub mod websocket;
pub mod worker;
