//! ZeroMQ to Mongrel2, as little of it as the hub needs: receive what there is, send one message, know
//! that the server listens or is gone, know what is still unsent.
//!
//! It speaks ZMTP 3.0 itself ([`mongrel2_wire::zmtp`]) over sockets that the hub's own loop waits for. libzmq would
//! put a thread and two signals between the hub and each message, which cost more than all of the
//! hub's work, and its sockets outlive the connections below them: here a connection is one run
//! of the server, and nothing of one run can reach the next.

mod connect;
mod connection;
mod mongrel2;
mod names;

pub use connect::process_at;
pub use mongrel2::{Endpoint, Event, Gone, Mongrel2s, Passed};
pub use names::{Resolver, system_resolver};
