//! A server that speaks Mongrel2's protocol: it terminates HTTP, WebSocket, JSON and XML socket connections, and hands
//! what arrives to handlers over ZeroMQ, as Mongrel2 does and from the same configuration.
//!
//! From the ground up:
//!
//! * `limits`, `described`, `ids`: bounds with names and defaults, for the server and for people; what connections and
//!   handlers are called.
//! * [`unsupported`]: what a configuration asks for in vain.
//! * `head`, `body`, `frames`, `socket_message`: what clients send, read strictly.
//! * `files`: files of a folder, with index, types, validators and ranges.
//! * `control`: the answers of the control port.
//! * `tls`: certificates, and TLS sessions as bytes in and bytes out; [`inspect_certificate`] looks at one beforehand.
//! * `sockets`: the ZeroMQ sockets that a server binds for its handlers and its control port.
//! * `process`: pid file, chroot, privileges, log files, signals.
//! * `site`: the configuration of one server, ready for requests: hosts, routes, handlers and folders.
//! * `message`, `output`, `progress`: what goes to handlers, what goes to clients, and how far responses have come.
//! * `connection`: one client; `front`: all of them. Bytes and the time come in, and effects come out.
//! * `serve`: the loop that drives it all.

mod body;
mod connection;
mod context;
mod control;
mod described;
mod effect;
mod files;
mod frames;
mod front;
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod ids;
mod limits;
mod message;
mod output;
mod peer;
mod process;
mod progress;
pub mod serve;
mod site;
mod socket_message;
mod sockets;
mod tls;
mod unsupported;

pub use described::{Amount, limits};
pub use tls::{Certificate, inspect as inspect_certificate};
pub use unsupported::{Unsupported, unsupported};
