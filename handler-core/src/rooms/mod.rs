//! Who gets what: rooms, and the replies by which one message reaches all members of one.
//!
//! [`Rooms`] knows connections by their index in the hub's table and nothing else of them. When a
//! room is sent something, [`Rooms::plan`] asks where each member is and groups the members into
//! replies; the [`Plan`] is kept, and later joins and leaves change only the replies they concern.

mod chunk;
mod group;
mod membership;
#[cfg(test)]
mod model;
mod plan;
mod seats;

pub use chunk::Chunk;
pub use group::Group;
pub use membership::{RoomError, Rooms};
pub use plan::{Place, Plan};

/// A live connection's index in the hub's table. Memory is taken for each number up to the highest
/// that joined, so they are to be small and used again.
pub type MemberId = u32;
