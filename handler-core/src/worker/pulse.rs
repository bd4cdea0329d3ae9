//! What a living worker shows of its work.

/// What the hub can see of a living worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pulse {
    /// The serial of the last job started.
    pub started: u64,
    /// Odd while a script runs; grows with every turn.
    pub turn: u64,
    /// The serial of the job that is running, 0 for none (a timer, say).
    pub running: u64,
}
