//! Tests of apps: a file of tests in a Lua state of its own, and the apps that it drives, each in theirs.
//!
//! [`run_file`] is the whole life of a process that `kennel test` starts. `site` is what tests call (`runtime/testing/*.lua`
//! gives it its manners), `workers` runs the apps' workers for the rehearsal of `handler_core`, `file` loads the tests and
//! tells what came of each.

mod file;
mod site;
mod workers;

pub use file::{TestFileError, run_file};
