//! Between the hub and the processes that run scripts.
//!
//! A worker is a process that holds one end of a socket pair and a shared [`page`]. It reads jobs and
//! writes actions, as [`protocol`] lays them out; end of file tells each side of the other's
//! death. [`process`] starts one, [`link`] is its own side of the pair, [`restart`] says how soon a
//! dead one is replaced, [`probe`] loads a script just to see what it registers, [`body`] finds a
//! request's body, [`form`] reads it as a form, [`sent_file`] is what becomes of a file in that, [`files`] what answers have from files,
//! [`clock`] is the time that scripts live in, [`reader`] reads a body in pieces.
//! `docs/worker-protocol.md` is the same for people who write workers in other languages.

pub mod body;
pub mod clock;
pub mod error_page;
pub mod files;
pub mod form;
pub mod link;
pub mod page;
pub mod probe;
pub mod process;
pub mod protocol;
pub mod pulse;
pub mod reader;
pub mod restart;
pub mod sent_file;
pub(crate) mod standing;
pub mod surroundings;
