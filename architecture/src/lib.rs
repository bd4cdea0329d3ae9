//! The rules for how Kennel's code is laid out. Tests enforce them:
//!
//! ```text
//! cargo test -p architecture
//! ```
//!
//! They read the sources and run nothing, so they take a second. When one fails, its message says what to do.
//!
//! | rule | lists in `rules/` |
//! | --- | --- |
//! | A crate uses only the crates that [`rules`] allows; the arrows between crates point down. | |
//! | Among the modules at the top of a crate, each uses only those before it. | `order.txt`, `upward.txt` |
//! | Sibling modules do not use each other in a circle, at any level. Parent and child may. | `circles.txt` |
//! | Methods of one type in several sibling modules do not call each other in a circle. | `calls.txt` |
//! | `impl Hub` stands in few files: a part of the hub has state and methods of its own. | `hub.txt` |
//! | Sans-IO modules take bytes and `now`, and return values: no clock, file, socket or sleep. | `sans-io.txt`, `outside.txt` |
//! | A file has at most 600 lines. | `long.txt` |
//!
//! `order.txt` and `sans-io.txt` say what is wanted. The other lists are **exceptions**: what was wrong when the rules were
//! made. These lists only shrink. A new exception fails, and one that is no longer needed fails, too, so that it cannot come
//! back. `UPDATE_SNAPSHOTS=1 cargo test -p architecture` deletes exceptions that are no longer needed; it never adds one.
//!
//! Code under `#[cfg(test)]` is free of all these rules except the last.
//!
//! The contract of the log is here as well (`snapshots/log.txt`), since it is read from the sources of all crates.

pub mod arrows;
pub mod exceptions;
pub mod log;
pub mod python;
pub mod rules;
pub mod sources;
