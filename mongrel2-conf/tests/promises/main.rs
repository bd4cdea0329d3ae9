//! What this crate promises, as its users see it.

#![allow(clippy::unwrap_used, reason = "allowed in tests, and clippy counts only test functions")]

/// A written database, table by table, and what happens to the one that was there.
mod database;
/// Configuration files: valid ones, and each mistake with what a person reads about it.
mod language;
/// A real Mongrel2 serves a folder at `/` and leaves the rest to the Handler.
mod public_files;
/// A real Mongrel2 to ask.
mod server;
/// A real Mongrel2 runs on what we write.
mod start;
