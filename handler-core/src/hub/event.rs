//! What one part of the hub tells another.

/// Something that happened in one part and concerns another. [`Hub::settle`](super::Hub) gives it there.
#[derive(Debug)]
pub(super) enum Event {}
