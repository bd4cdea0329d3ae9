//! What a worker of programs is told beyond what every worker is told.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How an app's program is run; travels as the JSON of one argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Copies of the program in each worker, at least 1.
    pub processes: u32,
    /// Unanswered requests that one copy is given, at least 1.
    pub at_once: u32,
    /// The longest line that a program may write, bytes.
    pub line: usize,
    /// How long after its start a program may still say what it answers to, if it has answered nothing by then.
    pub load: Duration,
    /// From the moment at which a program is given a request to the one from which its answer is not waited for.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            processes: 1,
            at_once: 16,
            line: 64 << 20,
            load: Duration::from_secs(10),
            patience: Duration::from_secs(30),
        }
    }
}
