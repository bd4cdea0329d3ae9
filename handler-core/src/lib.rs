//! Mongrel2 handlers: everything between the server's ZeroMQ sockets and somebody's script.
//!
//! Below it are two crates: `mongrel2-wire` for what travels between Mongrel2 and a handler, and `kennel-http` for HTTP and
//! WebSockets. From there up, each part knows only those before it:
//!
//! * [`sessions`]: what a visitor carries between requests, signed; for workers and the test kits of apps;
//! * [`channel`]: what differs between the carriers of live conversations; others need its bounds of what a program may say;
//! * [`worker`]: the processes that run scripts, and what hub and worker say to each other; most of it is for workers;
//! * [`metrics`]: numbers for operators, and the forms in which they are read; public for the benches alone;
//! * [`rooms`]: who is in which room, and how one message reaches them all in the fewest replies; for the benches, too;
//! * [`hub`]: the state machine between the two, without any input or output of its own; for `kennel`, which sets it up;
//! * [`console`]: what people who operate the hub say to it; for `kennel`, which reads it from a keyboard;
//! * [`transport`]: ZeroMQ to the servers; others need its addresses;
//! * [`serve`]: the poll loop, where sockets, clocks and processes meet the hub; for `kennel`, which starts it;
//! * [`rehearsal`]: the hub, clients and workers in one thread, on made-up time, for tests of apps.
//!
//! Any of these may use two more: [`object`] reads structs from what comes from outside, and so does `kennel` with
//! `kennel.toml`; [`mount`] knows which paths are below the place of an app, and `kennel` shows them.
//!
//! `templates` (with the feature of that name) makes pages for workers; the hub makes none.
//!
//! A worker in another language needs [`worker`] and `mongrel2-wire` alone.

pub mod channel;
pub mod console;
// Its items that are `pub` and only used here are made private when it is divided; no other module has this exception.
#[allow(unreachable_pub)]
pub mod hub;
pub mod metrics;
pub mod mount;
pub mod object;
pub mod rehearsal;
pub mod rooms;
pub mod serve;
pub mod sessions;
#[cfg(feature = "templates")]
pub mod templates;
pub mod transport;
pub mod worker;
