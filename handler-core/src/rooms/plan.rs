//! How one message reaches all members of a room: the replies, with their addresses written.

use super::MemberId;
use super::group::Group;
use mongrel2_wire::{ConnId, Sender};
use std::slice;

/// Where a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The number of the server's link.
    pub link: u16,
    /// What sort of bytes it gets: members of one class on one link share replies.
    pub class: u8,
    /// Its number there.
    pub id: ConnId,
}

/// The members of a room, as replies: by link and class, in chunks of what Mongrel2 takes at once.
/// Within a group they ascend, so that whoever walks it goes through tables of members in order.
#[derive(Debug)]
pub struct Plan {
    max_targets: usize,
    /// None is empty; ascending by link and class.
    groups: Vec<Group>,
    /// Who came, went or moved since the last update; some of them several times.
    changed: Vec<MemberId>,
}

impl Plan {
    /// The groups, ascending by link and class.
    pub fn groups(&self) -> slice::Iter<'_, Group> {
        self.groups.iter()
    }

    /// How many members it reaches.
    pub fn recipients(&self) -> usize {
        self.groups.iter().map(Group::count).sum()
    }

    pub(super) fn max_targets(&self) -> usize {
        self.max_targets
    }

    /// Plans for all `members` anew.
    pub(super) fn build<'s>(
        members: &[MemberId],
        max_targets: usize,
        mut describe: impl FnMut(MemberId) -> Option<Place>,
        sender: impl Fn(u16) -> Option<&'s Sender>,
    ) -> Self {
        let mut sorted = Vec::with_capacity(members.len());
        sorted.extend(members.iter().filter_map(|member| {
            let Place { link, class, id } = describe(*member)?;
            let group = u64::from(link) << 8 | u64::from(class);
            Some((group << 32 | u64::from(*member), id))
        }));
        sorted.sort_unstable_by_key(|(key, _)| *key);
        let mut plan = Self { max_targets, groups: Vec::new(), changed: Vec::new() };
        for group in sorted.chunk_by(|a, b| a.0 >> 32 == b.0 >> 32) {
            let (link, class) = ((group[0].0 >> 40) as u16, (group[0].0 >> 32) as u8);
            let targets = group.iter().map(|(key, id)| (*key as MemberId, *id));
            plan.groups.push(Group::new(link, class, max_targets, targets));
        }
        plan.write_addresses(sender);
        plan
    }

    /// Keeps in mind that `member` came, went or moved, in a room of now so many members; `false`
    /// when there are so many of them that a new plan costs less.
    pub(super) fn note(&mut self, member: MemberId, members: usize) -> bool {
        self.changed.push(member);
        self.changed.len() <= members / 16 + 8
    }

    /// Does what was noted since the last time.
    pub(super) fn update<'s>(
        &mut self,
        is_member: impl Fn(MemberId) -> bool,
        mut describe: impl FnMut(MemberId) -> Option<Place>,
        sender: impl Fn(u16) -> Option<&'s Sender>,
    ) {
        if self.changed.is_empty() {
            return;
        }
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        for member in changed.drain(..) {
            // Where they were is not known: the groups are few.
            let max = self.max_targets;
            self.groups.iter_mut().any(|group| group.remove(member, max));
            if is_member(member)
                && let Some(place) = describe(member)
            {
                self.insert(member, place);
            }
        }
        self.changed = changed;
        self.write_addresses(sender);
    }

    fn insert(&mut self, member: MemberId, Place { link, class, id }: Place) {
        let at = match self.groups.binary_search_by_key(&(link, class), |g| (g.link(), g.class())) {
            Ok(at) => at,
            Err(at) => {
                self.groups.insert(at, Group::new(link, class, self.max_targets, std::iter::empty()));
                at
            }
        };
        self.groups[at].insert((member, id), self.max_targets);
    }

    /// Writes the addresses that are not written yet, and drops groups that have none.
    fn write_addresses<'s>(&mut self, sender: impl Fn(u16) -> Option<&'s Sender>) {
        let mut scratch = Vec::new();
        self.groups.retain_mut(|group| match sender(group.link()) {
            Some(sender) if group.count() > 0 => {
                group.write_addresses(&mut scratch, sender);
                true
            }
            _ => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(member: MemberId) -> Option<Place> {
        // Odd members are on link 1; every fifth is of class 2; the seventh is nowhere.
        let id = ConnId::try_from(i64::from(member) + 1000).unwrap();
        (member != 7).then_some(Place {
            link: (member % 2) as u16,
            class: if member.is_multiple_of(5) { 2 } else { 0 },
            id,
        })
    }

    fn written(plan: &Plan) -> Vec<(u16, u8, String)> {
        let chunks = plan.groups().flat_map(|g| g.chunks().map(move |c| (g.link(), g.class(), c)));
        chunks.map(|(l, c, chunk)| (l, c, String::from_utf8(chunk.address().to_vec()).unwrap())).collect()
    }

    fn expected(lines: &[(u16, u8, &str)]) -> Vec<(u16, u8, String)> {
        lines.iter().map(|(link, class, address)| (*link, *class, (*address).to_owned())).collect()
    }

    #[test]
    fn members_are_grouped_by_link_and_class_in_order() {
        let senders = [Sender::new("a").unwrap(), Sender::new("b").unwrap()];
        let sender = |link: u16| senders.get(usize::from(link));
        let mut plan = Plan::build(&[9, 8, 7, 6, 5, 4, 3, 2, 1, 0], 3, place, sender);
        assert_eq!(
            written(&plan),
            expected(&[
                (0, 0, "a 14:1002 1004 1006, "),
                (0, 0, "a 4:1008, "),
                (0, 2, "a 4:1000, "),
                (1, 0, "b 14:1001 1003 1009, "),
                (1, 2, "b 4:1005, "),
            ])
        );
        assert_eq!(plan.recipients(), 9);
        for member in [0, 4, 11, 7] {
            assert!(plan.note(member, 10));
        }
        plan.update(|member| ![0, 4].contains(&member), place, sender);
        assert_eq!(
            written(&plan),
            expected(&[
                (0, 0, "a 14:1002 1006 1008, "),
                (1, 0, "b 14:1001 1003 1009, "),
                (1, 0, "b 4:1011, "),
                (1, 2, "b 4:1005, "),
            ])
        );
    }

    #[test]
    fn a_link_without_a_sender_is_left_out() {
        let sender = Sender::new("a").unwrap();
        let plan = Plan::build(&[1, 2, 3], 128, place, |link| (link == 0).then_some(&sender));
        assert_eq!(written(&plan), expected(&[(0, 0, "a 4:1002, ")]));
    }
}
