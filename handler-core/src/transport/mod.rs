//! ZeroMQ to Mongrel2, as little of it as the hub needs: receive a batch, send one message, know that
//! the server listens or is gone, know what is still unsent. libzmq shows nowhere else.

mod link;
mod mongrel2;
mod spill;

pub use mongrel2::{Descriptor, Dropped, Endpoint, Event, Mongrel2s, TransportError};
