//! The words of the page, and the order in which each side reads and writes them.
//!
//! `tests/page.rs` reads this same file with loom's atomics for `super::atomic`, and tries every order in which the two
//! sides may meet.

use super::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// What the page begins with, see the table of the page.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Words {
    started: AtomicU64,
    turn: AtomicU64,
    committed: AtomicU32,
    number: AtomicU32,
    running: AtomicU64,
    /// What the hub writes has a line of the processor's cache of its own.
    gap: [u64; 12],
    revoked: AtomicU64,
}

impl Words {
    /// Hub: the last job started, the turn, and the job that is running.
    pub(super) fn pulse(&self) -> (u64, u64, u64) {
        let started = self.started.load(Ordering::Acquire);
        let turn = self.turn.load(Ordering::Acquire);
        (started, turn, self.running.load(Ordering::Acquire))
    }

    /// Hub: takes back the jobs up to `serial`, and says which was the last one that had started.
    pub(super) fn revoke(&self, serial: u64) -> u64 {
        self.revoked.store(serial, Ordering::Release);
        // Of this fence and the one of `is_revoked`, one comes first, and what was written before it is seen behind the
        // other. (loom knows fences of all orders, but takes `SeqCst` of loads and stores for less.)
        fence(Ordering::SeqCst);
        self.started.load(Ordering::Acquire)
    }

    /// Hub: the number of the batch being built, and the bytes of its whole frames.
    pub(super) fn batch(&self) -> (u32, u32) {
        (self.number.load(Ordering::Acquire), self.committed.load(Ordering::Acquire))
    }

    /// Worker: says that job `serial` starts. `false`: the hub has taken it back.
    #[inline]
    pub(super) fn start(&self, serial: u64) -> bool {
        self.started.store(serial, Ordering::Release);
        !self.is_revoked(serial)
    }

    /// Worker: the same where jobs may start out of order: the highest serial stays.
    pub(super) fn start_any(&self, serial: u64) -> bool {
        self.started.fetch_max(serial, Ordering::AcqRel);
        !self.is_revoked(serial)
    }

    #[inline]
    fn is_revoked(&self, serial: u64) -> bool {
        fence(Ordering::SeqCst);
        serial <= self.revoked.load(Ordering::Acquire)
    }

    /// Worker: a script begins to run for job `running`, or ends to (0).
    #[inline]
    pub(super) fn turn(&self, running: u64) {
        self.running.store(running, Ordering::Relaxed);
        self.turn.store(self.turn.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Worker: whole frames of so many bytes lie in the outbox.
    #[inline]
    pub(super) fn commit(&self, size: u32) {
        self.committed.store(size, Ordering::Release);
    }

    /// Worker: begins the batch of this number.
    pub(super) fn begin(&self, number: u32) {
        // In this order, a death in between leaves an empty batch or an old number, never both new.
        self.committed.store(0, Ordering::Release);
        self.number.store(number, Ordering::Release);
    }
}
