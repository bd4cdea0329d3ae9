//! The rooms of each member: short linked lists in one table.
//!
//! A membership costs one seat of 12 bytes here, a member 4 bytes more, however many rooms they
//! are in; a vector for each member would cost more than that before it holds anything.

use super::MemberId;

/// No seat: the end of a list.
const NONE: u32 = u32::MAX;

/// One member in one room.
#[derive(Debug, Clone, Copy)]
struct Seat {
    room: u32,
    /// Where the member is in the room's own list.
    position: u32,
    /// The member's next seat, or the next free one.
    next: u32,
}

/// All seats. Finding one takes as long as its member has rooms.
#[derive(Debug)]
pub(super) struct Seats {
    /// By member: its first seat.
    first: Vec<u32>,
    seats: Vec<Seat>,
    free: u32,
}

impl Seats {
    pub(super) fn new() -> Self {
        Self { first: Vec::new(), seats: Vec::new(), free: NONE }
    }

    /// The rooms of a member and its positions there, in the order of joining.
    pub(super) fn of(&self, member: MemberId) -> impl Iterator<Item = (u32, u32)> {
        let mut at = self.first(member);
        std::iter::from_fn(move || {
            let seat = self.seats.get(at as usize)?;
            at = seat.next;
            Some((seat.room, seat.position))
        })
    }

    /// The member's position in `room`.
    pub(super) fn position(&self, member: MemberId, room: u32) -> Option<u32> {
        self.of(member).find(|seat| seat.0 == room).map(|seat| seat.1)
    }

    /// Adds a seat that the member does not have yet.
    pub(super) fn add(&mut self, member: MemberId, room: u32, position: u32) {
        let seat = Seat { room, position, next: NONE };
        let new = match self.seats.get_mut(self.free as usize) {
            Some(slot) => {
                let new = self.free;
                self.free = slot.next;
                *slot = seat;
                new
            }
            None => {
                self.seats.push(seat);
                self.seats.len() as u32 - 1
            }
        };
        let index = member as usize;
        if index >= self.first.len() {
            self.first.resize(index + 1, NONE);
        }
        let mut at = self.first[index];
        if at == NONE {
            self.first[index] = new;
            return;
        }
        while self.seats[at as usize].next != NONE {
            at = self.seats[at as usize].next;
        }
        self.seats[at as usize].next = new;
    }

    /// Says that the member is elsewhere in the list of `room` now.
    pub(super) fn set_position(&mut self, member: MemberId, room: u32, position: u32) {
        let mut at = self.first(member);
        while let Some(seat) = self.seats.get_mut(at as usize) {
            if seat.room == room {
                seat.position = position;
                return;
            }
            at = seat.next;
        }
    }

    /// Takes the member's seat in `room` away; `None` when there is none.
    pub(super) fn remove(&mut self, member: MemberId, room: u32) -> Option<u32> {
        let (mut before, mut at) = (NONE, self.first(member));
        while let Some(seat) = self.seats.get(at as usize).copied() {
            if seat.room != room {
                (before, at) = (at, seat.next);
                continue;
            }
            match self.seats.get_mut(before as usize) {
                Some(before) => before.next = seat.next,
                None => self.first[member as usize] = seat.next,
            }
            self.seats[at as usize].next = self.free;
            self.free = at;
            return Some(seat.position);
        }
        None
    }

    /// Takes the member's first seat away.
    pub(super) fn pop(&mut self, member: MemberId) -> Option<(u32, u32)> {
        let at = self.first(member);
        let seat = *self.seats.get(at as usize)?;
        self.first[member as usize] = seat.next;
        self.seats[at as usize].next = self.free;
        self.free = at;
        Some((seat.room, seat.position))
    }

    fn first(&self, member: MemberId) -> u32 {
        self.first.get(member as usize).copied().unwrap_or(NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_its_seats_in_order_and_seats_are_used_again() {
        let mut seats = Seats::new();
        for room in 0..4 {
            seats.add(9, room, room * 10);
        }
        seats.add(2, 1, 11);
        assert_eq!(seats.of(9).collect::<Vec<_>>(), [(0, 0), (1, 10), (2, 20), (3, 30)]);
        assert_eq!(seats.remove(9, 1), Some(10));
        assert_eq!(seats.remove(9, 1), None);
        assert_eq!(seats.remove(9, 0), Some(0));
        seats.set_position(9, 3, 31);
        seats.add(9, 7, 70);
        assert_eq!(seats.of(9).collect::<Vec<_>>(), [(2, 20), (3, 31), (7, 70)]);
        assert_eq!(
            (seats.position(2, 1), seats.position(2, 7), seats.position(500, 1)),
            (Some(11), None, None)
        );
        assert_eq!(seats.pop(9), Some((2, 20)));
        assert_eq!(seats.of(9).count(), 2);
        assert_eq!(seats.seats.len(), 5);
    }
}
