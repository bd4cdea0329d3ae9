//! The members of a room that can share replies, cut into chunks.
//!
//! A new plan has the fewest chunks that can be. Someone who joins is put in order into the chunk
//! where they belong; if that is full, its last or first moves on to a chunk nearby that has room.
//! One chunk in sixteen may be more than needed, so that this seldom goes far; when there are more
//! than that, the group is cut anew.

use super::MemberId;
use super::chunk::Chunk;
use mongrel2_wire::{ConnId, Sender};
use std::slice;

/// Members on one server that get the same bytes.
#[derive(Debug)]
pub struct Group {
    link: u16,
    class: u8,
    count: usize,
    /// None is empty; ascending, within each and from one to the next.
    chunks: Vec<Chunk>,
}

impl Group {
    /// How many full chunks are pushed through at most before a chunk is cut in two instead.
    const NEAR: usize = 4;

    /// Cuts ascending members into chunks of at most `max`.
    pub(super) fn new(
        link: u16,
        class: u8,
        max: usize,
        mut targets: impl ExactSizeIterator<Item = (MemberId, ConnId)>,
    ) -> Self {
        let count = targets.len();
        let mut chunks = Vec::with_capacity(count.div_ceil(max));
        while targets.len() > 0 {
            chunks.push(Chunk::new(targets.by_ref().take(max)));
        }
        Self { link, class, count, chunks }
    }

    /// The number of the server's link.
    pub fn link(&self) -> u16 {
        self.link
    }

    /// What sort of bytes they get.
    pub fn class(&self) -> u8 {
        self.class
    }

    /// The number of members, over all chunks.
    pub fn count(&self) -> usize {
        self.count
    }

    /// One reply each.
    pub fn chunks(&self) -> slice::Iter<'_, Chunk> {
        self.chunks.iter()
    }

    pub(super) fn write_addresses(&mut self, scratch: &mut Vec<u8>, sender: &Sender) {
        for chunk in &mut self.chunks {
            chunk.write_address(scratch, sender);
        }
    }

    /// Adds one who is not in yet.
    pub(super) fn insert(&mut self, target: (MemberId, ConnId), max: usize) {
        self.count += 1;
        let at = self.chunk_of(target.0);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Chunk::new(std::iter::once(target)));
            return;
        };
        if chunk.len() < max {
            return chunk.insert(target, max);
        }
        let above_all = target.0 > chunk.last() && at + 1 == self.chunks.len();
        let may_grow = self.chunks.len() < Self::most_chunks(self.count, max);
        match self.nearest_with_room(at, max) {
            Some(free) if !may_grow || free.abs_diff(at) <= Self::NEAR => self.push_on(target, at, free, max),
            _ if above_all || max == 1 => {
                let new = if target.0 > self.chunks[at].last() { at + 1 } else { at };
                self.chunks.insert(new, Chunk::new(std::iter::once(target)));
            }
            _ => {
                let upper = self.chunks[at].split();
                let half = if target.0 > upper.first() { at + 1 } else { at };
                self.chunks.insert(at + 1, upper);
                self.chunks[half].insert(target, max);
            }
        }
    }

    /// Takes one out; `false` when they are not in.
    pub(super) fn remove(&mut self, member: MemberId, max: usize) -> bool {
        let at = self.chunk_of(member);
        if !self.chunks.get_mut(at).is_some_and(|chunk| chunk.remove(member)) {
            return false;
        }
        self.count -= 1;
        if self.chunks[at].len() == 0 {
            self.chunks.remove(at);
        } else if at + 1 < self.chunks.len() && self.chunks[at].len() + self.chunks[at + 1].len() <= max {
            let next = self.chunks.remove(at + 1);
            self.chunks[at].append(next);
        } else if at > 0 && self.chunks[at - 1].len() + self.chunks[at].len() <= max {
            let next = self.chunks.remove(at);
            self.chunks[at - 1].append(next);
        }
        if self.chunks.len() > Self::most_chunks(self.count, max) {
            let targets: Vec<_> = self.chunks.iter().flat_map(Chunk::targets).collect();
            *self = Self::new(self.link, self.class, max, targets.into_iter());
        }
        true
    }

    /// How many chunks there may be for so many members.
    fn most_chunks(count: usize, max: usize) -> usize {
        let fewest = count.div_ceil(max);
        fewest + fewest / 16
    }

    /// Where a member is if they are in, and belong if not.
    fn chunk_of(&self, member: MemberId) -> usize {
        self.chunks.partition_point(|chunk| chunk.first() <= member).saturating_sub(1)
    }

    fn nearest_with_room(&self, at: usize, max: usize) -> Option<usize> {
        let has_room = |chunk: &Chunk| chunk.len() < max;
        let above = self.chunks[at..].iter().position(has_room).map(|distance| at + distance);
        let below = self.chunks[..at].iter().rposition(has_room);
        match (below, above) {
            (Some(below), Some(above)) => Some(if at - below < above - at { below } else { above }),
            _ => below.or(above),
        }
    }

    /// Adds one at the full chunk `at` and moves one from each to the next, up to `free`.
    fn push_on(&mut self, target: (MemberId, ConnId), at: usize, free: usize, max: usize) {
        let mut moving = target;
        if free > at {
            for chunk in &mut self.chunks[at..free] {
                moving = chunk.push_out_last(moving, max);
            }
        } else {
            for chunk in self.chunks[free + 1..=at].iter_mut().rev() {
                moving = chunk.push_out_first(moving, max);
            }
        }
        self.chunks[free].insert(moving, max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(n: u32) -> (MemberId, ConnId) {
        (n, ConnId::try_from(i64::from(n)).unwrap())
    }

    fn sizes(group: &Group) -> Vec<usize> {
        group.chunks().map(Chunk::len).collect()
    }

    fn members(group: &Group) -> Vec<MemberId> {
        group.chunks().flat_map(|chunk| chunk.members().iter().copied()).collect()
    }

    #[test]
    fn a_small_group_is_always_cut_into_the_fewest_chunks() {
        let mut group = Group::new(0, 0, 4, std::iter::empty());
        for n in [50, 10, 30, 20, 40, 0, 60, 70, 5, 15, 25, 35] {
            group.insert(target(n), 4);
            assert_eq!(sizes(&group).len(), group.count().div_ceil(4), "{:?}", sizes(&group));
            assert!(members(&group).is_sorted());
        }
        for n in [30, 0, 70, 15, 20, 35, 5, 10, 50, 40, 60, 25] {
            assert!(group.remove(n, 4) && !group.remove(n, 4));
            assert_eq!(sizes(&group).len(), group.count().div_ceil(4), "{:?}", sizes(&group));
            assert!(members(&group).is_sorted());
        }
    }

    #[test]
    fn those_who_come_in_order_fill_chunk_after_chunk() {
        let mut group = Group::new(0, 0, 8, std::iter::empty());
        for n in 0..8 * 40 {
            group.insert(target(n), 8);
        }
        assert_eq!(sizes(&group), [8; 40]);
        group.insert(target(1000), 8);
        assert_eq!(sizes(&group).len(), 41);
    }

    #[test]
    fn one_target_a_reply_works_too() {
        let mut group = Group::new(0, 0, 1, std::iter::empty());
        for n in [5, 1, 9, 3, 7, 0] {
            group.insert(target(n), 1);
        }
        assert_eq!(members(&group), [0, 1, 3, 5, 7, 9]);
        assert!(group.remove(5, 1));
        assert_eq!(sizes(&group), [1; 5]);
    }

    #[test]
    fn a_big_group_changes_in_few_places() {
        let mut group = Group::new(0, 0, 128, (0..12_800_u16).map(|n| target(u32::from(n) * 2)));
        group.write_addresses(&mut Vec::new(), &Sender::new("m2").unwrap());
        group.insert(target(101), 128);
        let stale = group.chunks().filter(|chunk| chunk.address().is_empty()).count();
        assert!(stale <= 2, "{stale} to be written again");
    }
}
