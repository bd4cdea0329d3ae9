//! Keys: a chain of hashes, each request giving the value of which the one before was the hash (XEP-0124, 15).
//!
//! Who reads along knows the numbers of a session but not the next key, so it cannot speak for the client, nor ask for
//! answers again.

use sha1::{Digest, Sha1};
use std::collections::VecDeque;

type Hash = [u8; 20];

/// What the next keys of a session must hash to.
#[derive(Debug)]
pub(super) struct Keys {
    next: Hash,
    /// The numbers of the last requests and what their keys hashed to.
    past: VecDeque<(u64, Hash)>,
}

impl Keys {
    /// Begins with `newkey`, the last value of the client's chain; `None` when it is no hash in hexadecimal.
    pub(super) fn begin(newkey: &str) -> Option<Self> {
        Some(Self { next: read(newkey)?, past: VecDeque::new() })
    }

    /// Whether the key of the next request is right; then the following is expected, of which `newkey` may begin
    /// another chain. The last `keep` keys are remembered for repeats.
    pub(super) fn accept(&mut self, rid: u64, key: Option<&str>, newkey: Option<&str>, keep: usize) -> bool {
        let Some(key) = key.filter(|key| hash(key) == self.next) else { return false };
        let Some(next) = read(newkey.unwrap_or(key)) else { return false };
        self.past.push_back((rid, self.next));
        let surplus = self.past.len().saturating_sub(keep);
        self.past.drain(..surplus);
        self.next = next;
        true
    }

    /// Whether a repeated request has the key that it had the first time.
    pub(super) fn is_repeated(&self, rid: u64, key: Option<&str>) -> bool {
        let known = self.past.iter().find(|(past, _)| *past == rid);
        key.is_some_and(|key| known.is_some_and(|(_, known)| hash(key) == *known))
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.past.capacity() * size_of::<(u64, Hash)>()
    }
}

fn hash(key: &str) -> Hash {
    Sha1::digest(key).into()
}

/// Reads a hash in hexadecimal, of either case.
fn read(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if text.len() != 2 * hash.len() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        hash(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn each_key_hashes_to_the_one_before() {
        let chain: Vec<_> = std::iter::successors(Some(hex("seed")), |key| Some(hex(key))).take(4).collect();
        let mut keys = Keys::begin(&chain[3].to_uppercase()).unwrap();
        assert!(!keys.accept(2, None, None, 2) && !keys.accept(2, Some(&chain[3]), None, 2));
        assert!(keys.accept(2, Some(&chain[2]), None, 2));
        assert!(!keys.accept(3, Some(&chain[2]), None, 2));
        assert!(keys.is_repeated(2, Some(&chain[2])) && !keys.is_repeated(2, Some(&chain[1])));
        assert!(!keys.is_repeated(2, None) && !keys.is_repeated(3, Some(&chain[2])));
        assert!(keys.accept(3, Some(&chain[1]), Some(&hex(&hex("other"))), 2));
        assert!(keys.accept(4, Some(&hex("other")), None, 2));
        assert!(!keys.is_repeated(2, Some(&chain[2])), "only the last two are kept");
    }

    #[test]
    fn what_is_no_hash_begins_no_chain() {
        for text in ["", "abc", &"g".repeat(40), &"\u{e9}".repeat(20)] {
            assert!(Keys::begin(text).is_none(), "{text}");
        }
    }
}
