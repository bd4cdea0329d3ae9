//! Programs in any language as handlers: the worker between the hub and their standard input and output.
//!
//! [`run`] is the whole life of such a worker. It speaks the worker protocol to the hub and JSON lines to processes of
//! the user's program, so that the hub knows no programs, only workers. `docs/exec-handlers.md` is the language of the lines.
//!
//! [`cgi`] is another kind of worker, for scripts that are started for each request.
//!
//! From the ground up: `lines` and `rate_limit` bound what a program writes, `input` makes lines for it, `output` reads
//! its own, `registration` is what it answers to as the hub is told, and `routes` until when it may say so; `program`
//! starts processes, `instance` is one of them with what it was given, `hub` is the other side, `conns` are the live
//! connections. `lifecycle` has the instances, `dispatch` what waits for them, `service` tells one of the other, `read`
//! feeds it what processes write, and `worker` is the loop.

pub mod cgi;
mod conns;
mod dispatch;
mod hub;
mod input;
mod instance;
mod lifecycle;
mod lines;
mod output;
mod program;
mod rate_limit;
mod read;
mod registration;
mod routes;
mod service;
mod settings;
mod worker;

pub use hub::WorkerError;
pub use settings::Settings;
pub use worker::run;
