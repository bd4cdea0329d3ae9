//! What this crate promises, as its users see it.

#![allow(clippy::unwrap_used, reason = "allowed in tests, and clippy counts only test functions")]

/// Whatever is read, chance too, is a value or an error: no panic, no hang, nothing changed.
mod anything;
/// A written database, table by table, and what happens to the one that was there.
mod database;
/// Configuration files: valid ones, and each mistake with what a person reads about it.
mod language;
/// What is no database of Mongrel2, or cannot be used, is left alone.
mod left_alone;
/// What `m2sh` makes of a file, we make of it too, and what is printed loads to the same.
mod m2sh;
/// A real Mongrel2 serves a folder at `/` and leaves the rest to the Handler.
mod public_files;
/// Any database is read, with what is wrong in it.
mod read_back;
/// A real Mongrel2 to ask.
mod server;
/// A real Mongrel2 runs on what we write.
mod start;
