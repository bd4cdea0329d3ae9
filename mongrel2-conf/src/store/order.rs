//! The order in which `m2sh` writes what stands between braces.
//!
//! It keeps the keys of a `{ }` in a tree of their characters (a ternary search tree) and writes
//! them as it meets them level by level. So an entry's place depends on its length, on its
//! characters and on what stands before it in the file. For routes the order has a meaning:
//! Mongrel2 tries the patterns under one prefix in the order of their rows.

use std::cmp::Ordering;
use std::collections::VecDeque;

/// A character of a key. Indices point into the tree; the root is the first node.
struct Node {
    byte: i8,
    /// Keys whose character here is smaller, equal (their next one), greater.
    below: [Option<usize>; 3],
    /// The key that ends here, by its index.
    key: Option<usize>,
}

impl Node {
    /// Characters compare as C's `char`, which is signed: those beyond ASCII come first.
    fn new(byte: u8) -> Self {
        Self { byte: byte.cast_signed(), below: [None; 3], key: None }
    }
}

/// The indices of `keys` in the order in which `m2sh` would write them.
///
/// Of a key that is there twice, only the last counts. Empty keys are left out, as `m2sh` has
/// none.
pub fn of_m2sh<'a>(keys: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
    let mut tree: Vec<Node> = Vec::new();
    for (index, key) in keys.into_iter().enumerate() {
        insert(&mut tree, key.as_bytes(), index);
    }
    let mut order = Vec::new();
    let mut waiting: VecDeque<usize> = VecDeque::new();
    if !tree.is_empty() {
        waiting.push_back(0);
    }
    while let Some(at) = waiting.pop_front() {
        order.extend(tree[at].key);
        waiting.extend(tree[at].below.into_iter().flatten());
    }
    order
}

fn insert(tree: &mut Vec<Node>, key: &[u8], index: usize) {
    let Some((&first, mut rest)) = key.split_first() else { return };
    if tree.is_empty() {
        tree.push(Node::new(first));
    }
    let (mut at, mut byte) = (0, first);
    loop {
        let branch = match byte.cast_signed().cmp(&tree[at].byte) {
            Ordering::Less => 0,
            Ordering::Greater => 2,
            Ordering::Equal => {
                let Some((&next, after)) = rest.split_first() else {
                    tree[at].key = Some(index);
                    return;
                };
                (byte, rest) = (next, after);
                1
            }
        };
        at = match tree[at].below[branch] {
            Some(next) => next,
            None => {
                tree.push(Node::new(byte));
                let new = tree.len() - 1;
                tree[at].below[branch] = Some(new);
                new
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered<'a>(keys: &[&'a str]) -> Vec<&'a str> {
        of_m2sh(keys.iter().copied()).into_iter().map(|index| keys[index]).collect()
    }

    /// `complex.conf` of mongrel2-core, as m2sh 1.12 loads it.
    #[test]
    fn routes_come_level_by_level() {
        let file = [
            "@chat",
            "<chat",
            "/handlertest",
            "/chat/",
            "/",
            "/tests/",
            "/testsmulti/(.*.json)",
            "/chatdemo/",
            "/static/",
            "/mp3stream",
        ];
        let database = [
            "/",
            "@chat",
            "<chat",
            "/chat/",
            "/tests/",
            "/static/",
            "/chatdemo/",
            "/handlertest",
            "/mp3stream",
            "/testsmulti/(.*.json)",
        ];
        assert_eq!(ordered(&file), database);
    }

    #[test]
    fn settings_too() {
        let file = ["zz.b", "b", "aa", "ab", "a", "zz", "limits.x", "zeromq.threads"];
        let database = ["b", "zz", "a", "aa", "zz.b", "ab", "limits.x", "zeromq.threads"];
        assert_eq!(ordered(&file), database);
    }

    #[test]
    fn of_a_double_key_the_last_counts() {
        assert_eq!(of_m2sh(["/", "/a", "/"]), [2, 1]);
    }

    #[test]
    fn nothing_and_empty_keys_give_nothing() {
        assert!(of_m2sh([]).is_empty());
        assert!(of_m2sh([""]).is_empty());
    }
}
