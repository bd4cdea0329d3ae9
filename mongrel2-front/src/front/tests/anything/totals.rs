//! How much of everything a run has seen, so that a test notices when chance leaves something out.

/// What was seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) requests: u64,
    pub(super) parts: u64,
    pub(super) files: u64,
    pub(super) frames: u64,
    pub(super) sockets: u64,
    pub(super) notices: u64,
    pub(super) read_again: u64,
    pub(super) closed: u64,
    pub(super) removed: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.parts += other.parts;
        self.files += other.files;
        self.frames += other.frames;
        self.sockets += other.sockets;
        self.notices += other.notices;
        self.read_again += other.read_again;
        self.closed += other.closed;
        self.removed += other.removed;
    }
}
