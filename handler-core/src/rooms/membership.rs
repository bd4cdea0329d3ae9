//! Who is in which room.

use super::MemberId;
use super::plan::{Place, Plan};
use super::seats::Seats;
use crate::channel::bounds::{BoundError, check_room};
use mongrel2_wire::Sender;
use slab::Slab;
use std::collections::HashMap;
use std::sync::Arc;
use thiserror::Error;

/// Why somebody cannot join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RoomError {
    /// The name is empty or too long.
    #[error(transparent)]
    BadName(#[from] BoundError),
    /// The connection is in as many rooms as one may be.
    #[error("this connection is in {limit} rooms, and may not be in more")]
    TooManyRooms {
        /// The bound in force.
        limit: usize,
    },
}

/// All rooms and their members. A room exists while it has members.
///
/// ```
/// use mongrel2_wire::{ConnId, Sender};
/// use handler_core::rooms::{Place, Rooms};
///
/// let mut rooms = Rooms::new(64);
/// rooms.join(b"lobby", 7)?;
/// rooms.join(b"lobby", 3)?;
/// let sender = Sender::new("m2")?;
/// let place = |member| {
///     Some(Place { link: 0, class: 0, id: ConnId::try_from(100 + i64::from(member)).ok()? })
/// };
/// let plan = rooms.plan(b"lobby", 128, place, |_| Some(&sender)).expect("two are in");
/// let chunks = plan.groups().flat_map(|group| group.chunks());
/// assert_eq!(chunks.map(|chunk| chunk.address()).collect::<Vec<_>>(), [b"m2 7:103 107, "]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Rooms {
    /// Its hasher is std's: names come from clients often enough, who must not choose collisions.
    /// Nothing depends on its order.
    by_name: HashMap<Arc<[u8]>, u32>,
    rooms: Slab<Room>,
    seats: Seats,
    limit: usize,
}

#[derive(Debug)]
struct Room {
    name: Arc<[u8]>,
    members: Vec<MemberId>,
    plan: Option<Box<Plan>>,
}

impl Rooms {
    /// No rooms yet; nobody will be in more than `max_rooms_per_member` at once.
    pub fn new(max_rooms_per_member: usize) -> Self {
        Self { by_name: HashMap::new(), rooms: Slab::new(), seats: Seats::new(), limit: max_rooms_per_member }
    }

    /// Puts `member` into the room called `name`; `false` when it was in already.
    ///
    /// # Errors
    ///
    /// [`RoomError`] when the name cannot be one, or the member is in too many rooms.
    pub fn join(&mut self, name: &[u8], member: MemberId) -> Result<bool, RoomError> {
        check_room(name.len())?;
        let known = self.by_name.get(name).copied();
        let mut seats = 0;
        for (room, _) in self.seats.of(member) {
            if Some(room) == known {
                return Ok(false);
            }
            seats += 1;
        }
        if seats >= self.limit {
            return Err(RoomError::TooManyRooms { limit: self.limit });
        }
        let number = known.unwrap_or_else(|| self.open(name));
        let room = &mut self.rooms[number as usize];
        self.seats.add(member, number, room.members.len() as u32);
        room.members.push(member);
        room.changed(member);
        Ok(true)
    }

    /// Takes `member` out of the room called `name`; `false` when it was not in.
    pub fn leave(&mut self, name: &[u8], member: MemberId) -> bool {
        let Some(&room) = self.by_name.get(name) else { return false };
        let Some(position) = self.seats.remove(member, room) else { return false };
        self.take_out(room, position);
        true
    }

    /// Takes `member` out of all rooms: its connection has ended.
    pub fn leave_all(&mut self, member: MemberId) {
        while let Some((room, position)) = self.seats.pop(member) {
            self.take_out(room, position);
        }
    }

    /// The names of the rooms that `member` is in, in the order of joining.
    pub fn rooms_of(&self, member: MemberId) -> impl Iterator<Item = &[u8]> {
        self.seats.of(member).map(|(room, _)| &*self.rooms[room as usize].name)
    }

    /// The number of members of a room, 0 when there is no such room.
    pub fn count(&self, name: &[u8]) -> usize {
        self.members(name).len()
    }

    /// The members of a room, in no order that means anything.
    pub fn members(&self, name: &[u8]) -> &[MemberId] {
        self.by_name.get(name).map_or(&[], |room| &self.rooms[*room as usize].members)
    }

    /// Whether `member` is in the room.
    pub fn contains(&self, name: &[u8], member: MemberId) -> bool {
        self.by_name.get(name).is_some_and(|room| self.seats.position(member, *room).is_some())
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// The names of all rooms, in no order that means anything.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.rooms.iter().map(|(_, room)| &*room.name)
    }

    /// The replies by which the members of a room are reached, at most `max_targets` in each;
    /// `None` when there is no such room.
    ///
    /// `describe` says where a member is. Members for which it knows no place, or whose link has no
    /// `sender`, are left out. The answers are remembered: when they change for one member, say so
    /// by [`forget_place`](Self::forget_place), when a server comes or goes by
    /// [`forget_plans`](Self::forget_plans).
    pub fn plan<'s>(
        &mut self,
        name: &[u8],
        max_targets: usize,
        describe: impl FnMut(MemberId) -> Option<Place>,
        sender: impl Fn(u16) -> Option<&'s Sender>,
    ) -> Option<&Plan> {
        let number = *self.by_name.get(name)?;
        let room = &mut self.rooms[number as usize];
        let max_targets = max_targets.max(1);
        let plan = match room.plan.take() {
            Some(mut plan) if plan.max_targets() == max_targets => {
                let seats = &self.seats;
                plan.update(|member| seats.position(member, number).is_some(), describe, sender);
                plan
            }
            _ => Box::new(Plan::build(&room.members, max_targets, describe, sender)),
        };
        Some(room.plan.insert(plan))
    }

    /// What was said of this member's place holds no more: it is asked for again.
    pub fn forget_place(&mut self, member: MemberId) {
        for (room, _) in self.seats.of(member) {
            self.rooms[room as usize].changed(member);
        }
    }

    /// What was said of places and senders holds no more: a server came or went.
    pub fn forget_plans(&mut self) {
        for (_, room) in &mut self.rooms {
            room.plan = None;
        }
    }

    fn open(&mut self, name: &[u8]) -> u32 {
        let name: Arc<[u8]> = name.into();
        let room = Room { name: name.clone(), members: Vec::new(), plan: None };
        let number = self.rooms.insert(room) as u32;
        self.by_name.insert(name, number);
        number
    }

    /// Takes the one at `position` off a room's list; their seat is gone already.
    fn take_out(&mut self, number: u32, position: u32) {
        let room = &mut self.rooms[number as usize];
        let member = room.members.swap_remove(position as usize);
        if room.members.is_empty() {
            let room = self.rooms.remove(number as usize);
            self.by_name.remove(&room.name);
            return;
        }
        room.changed(member);
        if let Some(moved) = room.members.get(position as usize) {
            self.seats.set_position(*moved, number, position);
        }
    }
}

impl Room {
    /// The plan is to be changed for `member`, or is no longer worth it.
    fn changed(&mut self, member: MemberId) {
        if let Some(plan) = &mut self.plan
            && !plan.note(member, self.members.len())
        {
            self.plan = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_exists_while_it_has_members() {
        let mut rooms = Rooms::new(8);
        assert_eq!(rooms.join(b"a", 1), Ok(true));
        assert_eq!(rooms.join(b"a", 1), Ok(false));
        assert_eq!(rooms.join(b"b", 1), Ok(true));
        assert_eq!(rooms.join(b"a", 2), Ok(true));
        assert_eq!(rooms.rooms_of(1).collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!((rooms.count(b"a"), rooms.count(b"b"), rooms.count(b"c")), (2, 1, 0));
        assert!(rooms.contains(b"b", 1) && !rooms.contains(b"b", 2));
        assert!(rooms.leave(b"a", 1));
        assert!(!rooms.leave(b"a", 1) && !rooms.leave(b"c", 1));
        assert_eq!(rooms.members(b"a"), [2]);
        rooms.leave_all(1);
        rooms.leave_all(1000);
        assert_eq!(rooms.names().collect::<Vec<_>>(), [b"a"]);
        assert!(rooms.plan(b"b", 128, |_| None, |_| None).is_none());
    }

    #[test]
    fn names_and_numbers_of_rooms_are_bounded() {
        let mut rooms = Rooms::new(2);
        for bad in [&b""[..], &[b'x'; 256]] {
            assert_eq!(rooms.join(bad, 1), Err(RoomError::BadName(BoundError::Room { size: bad.len() })));
        }
        assert_eq!(rooms.join(&[b'x'; 255], 1), Ok(true));
        assert_eq!(rooms.join(b"\0\xff", 1), Ok(true));
        assert_eq!(rooms.join(b"third", 1), Err(RoomError::TooManyRooms { limit: 2 }));
        assert_eq!(rooms.join(b"\0\xff", 1), Ok(false));
        assert_eq!(rooms.names().count(), 2);
    }
}
