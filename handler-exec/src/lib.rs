//! Programs in any language as handlers: the worker between the hub and their standard input and output.
//!
//! [`run`] is the whole life of such a worker. It speaks the worker protocol to the hub and JSON lines to processes of
//! the user's program, so that the hub knows no programs, only workers. `docs/exec-handlers.md` is the language of the lines.
//!
//! [`cgi`] is another kind of worker, for scripts that are started for each request.
//!
//! From the ground up: `lines` and `allowance` bound what a program writes, `ask` makes lines for it, `said` reads its
//! own, `registration` is what it answers to; `program` starts processes, `copy` is one of them with what it was given,
//! `conns` are the live connections, `hub` is the other side. `worker` is the loop, whose work is in `loading`,
//! `giving`, `hearing` and `ending`.

mod allowance;
mod ask;
pub mod cgi;
mod conns;
mod copy;
mod ending;
mod giving;
mod hearing;
mod hub;
mod lines;
mod loading;
mod program;
mod registration;
mod said;
mod settings;
mod worker;

pub use settings::Settings;
pub use worker::{WorkerError, run};
