//! What comes to the hub, handed to the parts that it concerns, and what leaves it.
//!
//! * `messages`: each message of a Mongrel2; `servers`: Mongrel2s that come and go
//! * `requests`, `uploads`, `live`: those that concern several parts; `connections`: the end of a connection
//! * `batches`: what workers say; `jobs`: what they are given; `processes`: their coming and going
//! * `sending`: what leaves at the end of a turn
//!
//! Here and in [`operator`](super::operator) alone there are methods of [`Hub`](super::Hub) besides its own file.

mod batches;
mod connections;
mod jobs;
mod live;
mod messages;
mod processes;
mod requests;
mod sending;
mod servers;
mod uploads;
