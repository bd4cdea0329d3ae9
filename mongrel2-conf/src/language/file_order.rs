//! In which order to write a hash so that m2sh puts its rows in a given order.
//!
//! m2sh writes rows level by level of a tree whose shape depends on the order in the file (see
//! [`crate::routing::tree`]), and a file in the order of the rows mostly makes another tree. So this
//! looks for the shape: level by level, which byte is at the top of each group of keys that
//! agree so far. Every shape can be made: by inserting each node's key before those beside it.
//!
//! A choice is taken back when a key cannot come at its turn any more, by the bounds of the
//! levels on which it can still be. That is rare: in trials, one visit of each node was enough.

use crate::routing::tree::Tree;

/// The positions in `rows` in the order to write them. `None` if m2sh can write no file's rows
/// in this order, or it takes too long to find out.
pub(crate) fn file_order(rows: &[&[u8]]) -> Option<Vec<usize>> {
    // C sees an empty key as its closing NUL.
    let keys: Vec<&[u8]> = rows.iter().map(|key| if key.is_empty() { &[0][..] } else { key }).collect();
    if keys.is_empty() {
        return Some(Vec::new());
    }
    let mut search = Search { keys: &keys, groups: vec![Group::whole(keys.len())], at: 0, next: 0 };
    if !search.run() {
        return None;
    }
    let order = search.insertion_order();
    let mut tree = Tree::default();
    for &row in &order {
        tree.insert(keys[row], row);
    }
    tree.level_order().into_iter().eq(0..keys.len()).then_some(order)
}

/// Keys that agree before `depth`, below one node of the tree, and the choice of its byte.
struct Group {
    /// In the order of the rows.
    keys: Vec<usize>,
    depth: usize,
    level: usize,
    /// The key that ends at the node.
    ends: Option<usize>,
    low: Option<usize>,
    equal: Option<usize>,
    high: Option<usize>,
}

impl Group {
    fn new(keys: Vec<usize>, depth: usize, level: usize) -> Self {
        Self { keys, depth, level, ends: None, low: None, equal: None, high: None }
    }

    fn whole(count: usize) -> Self {
        Self::new((0..count).collect(), 0, 0)
    }
}

struct Search<'a> {
    keys: &'a [&'a [u8]],
    /// In the order of the levels. Those before `at` have their byte.
    groups: Vec<Group>,
    at: usize,
    /// The row that must come next.
    next: usize,
}

/// A choice that can be taken back.
struct Choice {
    at: usize,
    next: usize,
    groups: usize,
    /// The bytes that were not tried.
    left: Vec<i8>,
}

impl Search<'_> {
    fn run(&mut self) -> bool {
        let mut choices: Vec<Choice> = Vec::new();
        let mut budget = 200_000 + self.keys.iter().map(|key| key.len() + 8).sum::<usize>() * 4;
        while self.at < self.groups.len() {
            let mut options = self.options();
            // The last one first, since it is popped from the end.
            options.reverse();
            choices.push(Choice { at: self.at, next: self.next, groups: self.groups.len(), left: options });
            loop {
                budget = match budget.checked_sub(1) {
                    Some(left) => left,
                    None => return false,
                };
                let Some(choice) = choices.last_mut() else { return false };
                (self.at, self.next) = (choice.at, choice.next);
                self.groups.truncate(choice.groups);
                let Some(byte) = choice.left.pop() else {
                    choices.pop();
                    continue;
                };
                let only = choice.left.is_empty();
                let several = self.groups[self.at].keys.len() > 1;
                self.take(byte);
                if only && choices.last().is_some_and(|last| last.left.is_empty()) && !several {
                    // Nothing to come back to.
                    choices.pop();
                    break;
                }
                if !several || self.possible() {
                    break;
                }
            }
        }
        self.next == self.keys.len()
    }

    fn byte(&self, key: usize, depth: usize) -> i8 {
        self.keys[key][depth].cast_signed()
    }

    /// The bytes that may be at the top of the group at hand.
    fn options(&self) -> Vec<i8> {
        let group = &self.groups[self.at];
        let mut bytes = Vec::new();
        for &key in &group.keys {
            let byte = self.byte(key, group.depth);
            if !bytes.contains(&byte) {
                bytes.push(byte);
            }
        }
        bytes.retain(|byte| self.ending(*byte).is_none_or(|key| key == self.next));
        bytes
    }

    /// The key of the group at hand that ends with this byte.
    fn ending(&self, byte: i8) -> Option<usize> {
        let Group { keys, depth, .. } = &self.groups[self.at];
        let ends = |key: &&usize| self.keys[**key].len() == depth + 1 && self.byte(**key, *depth) == byte;
        keys.iter().find(ends).copied()
    }

    /// Puts a byte at the top of the group at hand, and goes on to the next group.
    fn take(&mut self, byte: i8) {
        let ends = self.ending(byte);
        let Group { keys, depth, level, .. } = &self.groups[self.at];
        let (depth, level) = (*depth, *level);
        let (mut low, mut equal, mut high) = (Vec::new(), Vec::new(), Vec::new());
        for &key in keys {
            match self.byte(key, depth).cmp(&byte) {
                std::cmp::Ordering::Less => low.push(key),
                std::cmp::Ordering::Greater => high.push(key),
                std::cmp::Ordering::Equal if Some(key) != ends => equal.push(key),
                std::cmp::Ordering::Equal => {}
            }
        }
        let mut add = |keys: Vec<usize>, depth| {
            (!keys.is_empty()).then(|| {
                self.groups.push(Group::new(keys, depth, level + 1));
                self.groups.len() - 1
            })
        };
        let (low, equal, high) = (add(low, depth), add(equal, depth + 1), add(high, depth));
        let group = &mut self.groups[self.at];
        (group.ends, group.low, group.equal, group.high) = (ends, low, equal, high);
        self.next += usize::from(ends.is_some());
        self.at += 1;
    }

    /// Whether all rows can still come in their order. A key is as many levels below its group
    /// as it has bytes left, and at most one more for each other key of the group.
    fn possible(&self) -> bool {
        let mut levels = vec![(0, 0); self.keys.len()];
        for group in &self.groups[self.at..] {
            for &key in &group.keys {
                let least = group.level + self.keys[key].len() - group.depth - 1;
                levels[key] = (least, least + group.keys.len() - 1);
            }
        }
        let mut reached = 0;
        levels[self.next..].iter().all(|(least, most)| {
            reached = reached.max(*least);
            reached <= *most
        })
    }

    /// Each node's key before those of the nodes beside it, which so find it there.
    fn insertion_order(&self) -> Vec<usize> {
        let mut order = Vec::new();
        let mut stack = vec![0];
        while let Some(at) = stack.pop() {
            let group = &self.groups[at];
            order.extend(group.ends);
            stack.extend([group.high, group.low, group.equal].into_iter().flatten());
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level_order(keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut tree = Tree::default();
        for (at, key) in keys.iter().enumerate() {
            tree.insert(key, at);
        }
        tree.level_order().into_iter().map(|at| keys[at].clone()).collect()
    }

    /// Numbers that are the same in every run.
    fn random(seed: &mut u64) -> usize {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) as usize
    }

    #[test]
    fn whatever_order_m2sh_makes_can_be_made_again() {
        let mut seed = 5;
        for round in 0..300 {
            let mut keys: Vec<Vec<u8>> = Vec::new();
            for _ in 0..1 + random(&mut seed) % 40 {
                let length = random(&mut seed) % 7;
                let word = (0..length).map(|_| b"abcd/\xc3\xa9(*"[random(&mut seed) % 9]);
                let key: Vec<u8> = std::iter::once(b'/').chain(word).collect();
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            let rows = level_order(&keys);
            let slices: Vec<_> = rows.iter().map(Vec::as_slice).collect();
            let order = file_order(&slices).unwrap_or_else(|| panic!("round {round}: {rows:?}"));
            let file: Vec<_> = order.iter().map(|&at| rows[at].clone()).collect();
            assert_eq!(level_order(&file), rows);
        }
    }

    #[test]
    fn an_order_that_no_file_makes_is_known_as_such() {
        assert_eq!(file_order(&[b"/long", b"/"]), None);
        assert_eq!(file_order(&[]), Some(Vec::new()));
    }
}
