//! The ternary search tree that m2sh keeps hashes in and Mongrel2 its routes.
//!
//! It decides more than it should. m2sh writes rows in the order in which it walks the tree,
//! level by level, and Mongrel2 answers a path that ends inside a key with the route that
//! happens to be below: see [`Tree::reach`]. So this one has the same shape, for the same order
//! of insertion. Characters are compared as C's `char`, which has a sign on the usual machines.

use std::collections::VecDeque;

/// Keys and, with each, the number it was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
struct Node {
    byte: i8,
    low: Option<usize>,
    equal: Option<usize>,
    high: Option<usize>,
    value: Option<usize>,
}

/// A key that takes paths which are not below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The path, which ends inside the key of `by`.
    pub path: Vec<u8>,
    /// The longest key that is a prefix of the path.
    pub from: usize,
    /// The key that takes it.
    pub by: usize,
}

impl Tree {
    /// Adds a key. A key that is there already keeps its value, which is returned.
    pub(crate) fn insert(&mut self, key: &[u8], value: usize) -> Option<usize> {
        // An empty key is C's empty string, so its closing NUL.
        let key = if key.is_empty() { &[0][..] } else { key };
        let (mut at, mut parent, mut i) = (self.first(), None, 0);
        loop {
            let byte = key[i].cast_signed();
            let node = at.unwrap_or_else(|| self.add(byte, parent));
            let here = &self.nodes[node];
            let side = match byte.cmp(&here.byte) {
                std::cmp::Ordering::Less => Side::Low,
                std::cmp::Ordering::Greater => Side::High,
                std::cmp::Ordering::Equal if i + 1 == key.len() => {
                    let old = here.value;
                    self.nodes[node].value = old.or(Some(value));
                    return old;
                }
                std::cmp::Ordering::Equal => {
                    i += 1;
                    Side::Equal
                }
            };
            at = self.child(node, side);
            parent = Some((node, side));
        }
    }

    /// All values in the order in which m2sh writes them.
    pub(crate) fn level_order(&self) -> Vec<usize> {
        let mut values = Vec::new();
        let mut queue: VecDeque<usize> = self.first().into_iter().collect();
        while let Some(at) = queue.pop_front() {
            let node = &self.nodes[at];
            values.extend(node.value);
            queue.extend([node.low, node.equal, node.high].into_iter().flatten());
        }
        values
    }

    /// Which key Mongrel2 finds for `path`: the longest that is a prefix of it, but if the path
    /// ends inside of keys, the one that is reached by going straight on.
    pub(crate) fn reach(&self, path: &[u8]) -> Option<usize> {
        let (mut at, mut last, mut i) = (self.first(), None, 0);
        while let Some(node) = at.filter(|_| i < path.len()) {
            let here = &self.nodes[node];
            match path[i].cast_signed().cmp(&here.byte) {
                std::cmp::Ordering::Less => at = here.low,
                std::cmp::Ordering::Greater => at = here.high,
                std::cmp::Ordering::Equal => {
                    i += 1;
                    if i < path.len() {
                        last = if here.value.is_some() { at } else { last };
                        at = here.equal;
                    }
                }
            }
        }
        if path.is_empty() { None } else { self.below(at.or(last)?) }
    }

    /// The paths that a shorter key loses because they end inside a longer one: how many, and
    /// the first of each longer key.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        let mut found = Vec::new();
        // (node, the path to it without its own byte, the longest key on it)
        let mut queue = VecDeque::from_iter(self.first().map(|at| (at, Vec::new(), None)));
        let mut takers = std::collections::HashSet::new();
        while let Some((at, path, from)) = queue.pop_front() {
            let node = &self.nodes[at];
            for side in [node.low, node.high].into_iter().flatten() {
                queue.push_back((side, path.clone(), from));
            }
            let mut here = path;
            here.push(node.byte.cast_unsigned());
            if let (None, Some(from)) = (node.value, from)
                && let Some(by) = self.below(at)
                && takers.insert(by)
            {
                found.push(Taken { path: here.clone(), from, by });
            }
            if let Some(equal) = node.equal {
                queue.push_back((equal, here, node.value.or(from)));
            }
        }
        found
    }

    /// For each key, the longest other key that is a prefix of it.
    pub(crate) fn parents(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut queue: Vec<(usize, Option<usize>)> = self.first().map(|at| (at, None)).into_iter().collect();
        while let Some((at, from)) = queue.pop() {
            let node = &self.nodes[at];
            queue.extend([node.low, node.high].into_iter().flatten().map(|side| (side, from)));
            if let (Some(value), Some(from)) = (node.value, from) {
                found.push((value, from));
            }
            queue.extend(node.equal.map(|equal| (equal, node.value.or(from))));
        }
        found
    }

    /// The first value straight on from a node.
    fn below(&self, mut at: usize) -> Option<usize> {
        while self.nodes[at].value.is_none() {
            at = self.nodes[at].equal?;
        }
        self.nodes[at].value
    }

    fn first(&self) -> Option<usize> {
        if self.nodes.is_empty() { None } else { Some(0) }
    }

    fn child(&self, node: usize, side: Side) -> Option<usize> {
        let node = &self.nodes[node];
        match side {
            Side::Low => node.low,
            Side::Equal => node.equal,
            Side::High => node.high,
        }
    }

    fn add(&mut self, byte: i8, parent: Option<(usize, Side)>) -> usize {
        let at = self.nodes.len();
        self.nodes.push(Node { byte, low: None, equal: None, high: None, value: None });
        if let Some((parent, side)) = parent {
            let parent = &mut self.nodes[parent];
            match side {
                Side::Low => parent.low = Some(at),
                Side::Equal => parent.equal = Some(at),
                Side::High => parent.high = Some(at),
            }
        }
        at
    }
}

#[derive(Clone, Copy)]
enum Side {
    Low,
    Equal,
    High,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(keys: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(tree.insert(key.as_bytes(), at), None);
        }
        tree
    }

    fn reach<'a>(keys: &[&'a str], path: &str) -> Option<&'a str> {
        tree(keys).reach(path.as_bytes()).map(|at| keys[at])
    }

    #[test]
    fn values_come_level_by_level_as_m2sh_writes_them() {
        let keys = ["@bbs", "/x", "/y", ""];
        let order: Vec<_> = tree(&keys).level_order().into_iter().map(|at| keys[at]).collect();
        // Seen in a database that m2sh made of these routes.
        assert_eq!(order, ["", "/x", "/y", "@bbs"]);
    }

    #[test]
    fn the_longest_key_that_begins_a_path_is_found() {
        let keys = ["/", "/a", "/a/b"];
        assert_eq!(reach(&keys, "/a/b/c"), Some("/a/b"));
        assert_eq!(reach(&keys, "/abc"), Some("/a"));
        assert_eq!(reach(&keys, "/z"), Some("/"));
        assert_eq!(reach(&keys, "/a"), Some("/a"));
        assert_eq!(reach(&keys, "x"), None);
        assert_eq!(reach(&keys, ""), None);
    }

    #[test]
    fn a_path_that_ends_inside_a_key_is_taken_by_it() {
        assert_eq!(reach(&["/", "/static/"], "/st"), Some("/static/"));
        assert_eq!(reach(&["/", "/static/"], "/sx"), Some("/"));
        assert_eq!(reach(&["/long/route/here"], "/l"), Some("/long/route/here"));
        let taken = tree(&["/", "/static/", "/static/a/"]).taken();
        assert_eq!(taken.len(), 2);
        assert_eq!(taken[0], Taken { path: b"/s".to_vec(), from: 0, by: 1 });
        assert_eq!(taken[1], Taken { path: b"/static/a".to_vec(), from: 1, by: 2 });
        assert_eq!(tree(&["/a", "@chat"]).taken(), []);
    }

    #[test]
    fn a_key_knows_the_shorter_one_around_it() {
        let mut found = tree(&["/", "/a/b", "/a", "@x"]).parents();
        found.sort();
        assert_eq!(found, [(1, 2), (2, 0)]);
    }

    #[test]
    fn a_key_is_there_once() {
        let mut tree = tree(&["/a", "/b"]);
        assert_eq!(tree.insert(b"/b", 7), Some(1));
        assert_eq!(tree.level_order(), [0, 1]);
    }
}
