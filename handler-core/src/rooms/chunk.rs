//! One reply's share of a room's members, with the address already written.

use super::MemberId;
use mongrel2_wire::{ConnId, Sender, reply};

/// Members that get one reply together: at least one, at most what Mongrel2 takes.
#[derive(Debug)]
pub struct Chunk {
    /// Ascending.
    members: Vec<MemberId>,
    ids: Vec<ConnId>,
    /// Empty when members came or went since it was written.
    address: Vec<u8>,
}

impl Chunk {
    pub(super) fn new(targets: impl ExactSizeIterator<Item = (MemberId, ConnId)>) -> Self {
        let mut members = Vec::with_capacity(targets.len());
        let mut ids = Vec::with_capacity(targets.len());
        for (member, id) in targets {
            members.push(member);
            ids.push(id);
        }
        Self { members, ids, address: Vec::new() }
    }

    /// What comes before the payload, `SENDER SIZE:ID ID ID, `. The payload must not be empty: that
    /// would close them all.
    pub fn address(&self) -> &[u8] {
        &self.address
    }

    /// The members, ascending.
    pub fn members(&self) -> &[MemberId] {
        &self.members
    }

    /// The conn id of each of the members, in the same order.
    pub fn ids(&self) -> &[ConnId] {
        &self.ids
    }

    /// Appends the address of this chunk's members but for those whom `leave_out` names, and says
    /// how many remain. When it is none, nothing is written.
    pub fn encode_without(
        &self,
        out: &mut Vec<u8>,
        sender: &Sender,
        leave_out: impl Fn(MemberId) -> bool,
    ) -> usize {
        let pairs = self.members.iter().zip(&self.ids);
        let ids = pairs.filter(|(member, _)| !leave_out(**member)).map(|(_, id)| *id);
        reply::encode_ids(out, sender, b"", ids)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn first(&self) -> MemberId {
        self.members.first().copied().unwrap_or(0)
    }

    pub(super) fn last(&self) -> MemberId {
        self.members.last().copied().unwrap_or(0)
    }

    /// The members and their ids.
    pub(super) fn targets(&self) -> impl Iterator<Item = (MemberId, ConnId)> {
        self.members.iter().copied().zip(self.ids.iter().copied())
    }

    /// Writes the address if it does not fit the members. `scratch` is any buffer: an address is
    /// kept in no more memory than it needs.
    pub(super) fn write_address(&mut self, scratch: &mut Vec<u8>, sender: &Sender) {
        if self.address.is_empty() {
            scratch.clear();
            reply::encode_ids(scratch, sender, b"", self.ids.iter().copied());
            if scratch.len() > self.address.capacity() {
                self.address.reserve_exact(scratch.len());
            }
            self.address.extend_from_slice(scratch);
        }
    }

    /// Adds one, in its place.
    pub(super) fn insert(&mut self, (member, id): (MemberId, ConnId), max: usize) {
        let at = self.members.partition_point(|m| *m < member);
        if self.members.len() == self.members.capacity() {
            let more = self.members.len().clamp(1, max.saturating_sub(self.members.len()).max(1));
            self.members.reserve_exact(more);
            self.ids.reserve_exact(more);
        }
        self.members.insert(at, member);
        self.ids.insert(at, id);
        self.address.clear();
    }

    /// Adds one to a full chunk and takes its last out.
    pub(super) fn push_out_last(&mut self, new: (MemberId, ConnId), max: usize) -> (MemberId, ConnId) {
        match (self.members.pop(), self.ids.pop()) {
            (Some(member), Some(id)) if member > new.0 => {
                self.insert(new, max);
                (member, id)
            }
            (Some(member), Some(id)) => {
                self.members.push(member);
                self.ids.push(id);
                new
            }
            _ => new,
        }
    }

    /// Adds one to a full chunk and takes its first out.
    pub(super) fn push_out_first(&mut self, new: (MemberId, ConnId), max: usize) -> (MemberId, ConnId) {
        if self.members.is_empty() || self.first() > new.0 {
            return new;
        }
        let old = (self.members.remove(0), self.ids.remove(0));
        self.insert(new, max);
        old
    }

    /// Takes one out; `false` when it is not here.
    pub(super) fn remove(&mut self, member: MemberId) -> bool {
        let Ok(at) = self.members.binary_search(&member) else { return false };
        self.members.remove(at);
        self.ids.remove(at);
        self.address.clear();
        true
    }

    /// Cuts the upper half off.
    pub(super) fn split(&mut self) -> Self {
        let half = self.members.len() / 2;
        self.address.clear();
        Self { members: self.members.split_off(half), ids: self.ids.split_off(half), address: Vec::new() }
    }

    /// Takes in the members of the next chunk.
    pub(super) fn append(&mut self, next: Self) {
        self.members.reserve_exact(next.len());
        self.members.extend_from_slice(&next.members);
        self.ids.reserve_exact(next.len());
        self.ids.extend_from_slice(&next.ids);
        self.address.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(numbers: &[u32]) -> Chunk {
        Chunk::new(numbers.iter().map(|n| (*n, ConnId::try_from(i64::from(n + 1000)).unwrap())))
    }

    #[test]
    fn an_address_can_leave_some_out() {
        let sender = Sender::new("m2").unwrap();
        let mut chunk = chunk(&[1, 2, 3]);
        chunk.write_address(&mut Vec::new(), &sender);
        assert_eq!(chunk.address(), b"m2 14:1001 1002 1003, ");
        let mut out = b"x".to_vec();
        assert_eq!(chunk.encode_without(&mut out, &sender, |member| member == 2), 2);
        assert_eq!(out, b"xm2 9:1001 1003, ");
        assert_eq!(chunk.encode_without(&mut out, &sender, |_| true), 0);
        assert_eq!(out, b"xm2 9:1001 1003, ");
        assert_eq!(chunk.encode_without(&mut out, &sender, |_| false), 3);
    }

    #[test]
    fn members_stay_in_order_beside_their_ids() {
        let mut some = chunk(&[2, 4, 6]);
        let id = |n: i64| ConnId::try_from(n + 1000).unwrap();
        assert_eq!(some.push_out_last((9, id(9)), 3), (9, id(9)));
        assert_eq!(some.push_out_last((3, id(3)), 3), (6, id(6)));
        assert_eq!(some.push_out_first((1, id(1)), 3), (1, id(1)));
        assert_eq!(some.push_out_first((5, id(5)), 3), (2, id(2)));
        assert_eq!(some.members(), [3, 4, 5]);
        assert_eq!(some.ids(), [id(3), id(4), id(5)]);
        assert!(some.remove(4) && !some.remove(4));
        let upper = some.split();
        assert_eq!((some.members(), upper.members()), (&[3][..], &[5][..]));
        some.append(upper);
        assert_eq!(some.ids(), [id(3), id(5)]);
    }
}
