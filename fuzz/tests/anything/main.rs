//! Bytes from outside, as they come and with something changed by chance: whatever they are, a value or an error
//! comes back, never a panic, and never more than went in.
//!
//! What is looked at stands once, in this crate's library, where guided inputs go through it, too. Every run tries the same
//! changes; `KENNEL_FUZZ_ROUNDS=1000` tries a thousand times as many.

#![allow(clippy::unwrap_used, reason = "tests")]

mod bosh;
mod chance;
mod front;
mod talk;
mod visitors;
mod web;
mod wire;
mod work;

/// The check of the target of this name.
fn check(target: &str) -> fn(&[u8]) {
    fuzz::target(target).unwrap_or_else(|| panic!("there is no target {target}")).check
}
