//! A whole site in one thread, on made-up time, for tests of apps: no server, no socket, no other process.
//!
//! The hub is the real one, and so is the code of the workers. What is made up is what surrounds them: `server` is a
//! Mongrel2 that exists in memory, `answer` and `socket` are its clients, with cookies in `jar`, which go along where a
//! `redirect` leads, and the [clock](Clock) stands still until the test lets time pass: `scheduler` says who has a turn when.
//! A [`Site`] is driven from outside; the language's own side starts
//! the workers and gives them their turns ([`Workers`]). [`report`] is what becomes known of the tests.

mod answer;
mod ask;
mod jar;
mod message;
mod redirect;
pub mod report;
mod scheduler;
mod server;
mod site;
mod socket;
mod stage;
#[cfg(test)]
mod tests;
mod workers;

pub use crate::worker::clock::Clock;
pub use answer::Answer;
pub use ask::{Ask, AskError, Body, FilePart};
pub use jar::Jar;
pub use site::{Manner, Plan, Site};
pub use socket::{ClientId, Ended, Message};
pub use stage::LogLine;
pub use workers::{SiteError, Turn, Workers};
