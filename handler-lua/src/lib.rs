//! The Lua worker: one LuaJIT state in a process of its own, driven by the hub.
//!
//! [`run`] is the whole life of such a process. The parts: `load` brings a script in, `worker` is
//! the loop between hub and script, `api` is what scripts can call (in Rust where bytes are
//! concerned, in `runtime/**.lua` where Lua is the better language), `convert` takes values across
//! the border, `traceback` makes errors readable, [`testing`] runs tests of apps.

mod api;
mod convert;
mod load;
pub mod testing;
mod traceback;
mod worker;

pub use worker::{WorkerError, run, serve};
