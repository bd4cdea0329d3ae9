//! The page of memory that a worker shares with the hub, for what must outlive the worker.
//!
//! When a worker dies, three questions decide the fate of its jobs, and only memory that does not
//! die with it can answer them: which job was the last that it *started* (those after it run
//! elsewhere; it and its unanswered elders are not run twice); which answers were *ready* but had not been written
//! to the socket pair (they are taken from the outbox below and nobody gets a 502 for them);
//! and, while it lives, whether it is *inside a script* right now. None of it costs a system call.
//!
//! ```text
//!    0  u64  started    serial of the last job started           worker writes
//!    8  u64  turn       odd while a script runs                   worker writes
//!   16  u32  committed  bytes of whole frames in the outbox       worker writes
//!   20  u32  number     number of the batch in the outbox         worker writes
//!   24  u64  running    serial of the job inside a script, or 0    worker writes
//!  128  u64  revoked    jobs up to this serial, if not started, are taken back    hub writes
//! 4088  u32, u32        the batch's head (size, number) once it is sent
//! 4096                  the outbox: frames of the batch being built
//! 4096 + OUTBOX_SIZE    where the script stands while it is loaded, a text up to the first zero byte   worker writes
//! ```
#![allow(unsafe_code, reason = "memory shared with another process can only be reached through raw pointers")]

mod words;

use super::pulse::Pulse;
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic;
use words::Words;

/// Bytes of frames that the outbox holds; larger ones go to the socket pair directly.
pub const OUTBOX_SIZE: usize = 128 << 10;

const OUTBOX: usize = 4096;
/// Where in the page's file a worker writes where the script stands, see `standing::Standing`. The
/// file ends behind it and cannot grow, so what writes to its descriptor can write nowhere else.
pub const STANDING: usize = OUTBOX + OUTBOX_SIZE;
const STANDING_SIZE: usize = 64 << 10;
const SIZE: usize = STANDING + STANDING_SIZE;

/// A mapping of the shared page, on either side.
#[derive(Debug)]
pub struct Page {
    map: MmapRaw,
}

impl Page {
    /// Makes a new page and the descriptor by which the worker maps it too.
    ///
    /// # Errors
    ///
    /// When the system has no memory or no descriptor left.
    pub fn create() -> io::Result<(Self, OwnedFd)> {
        let fd = memfd_create("kennel-worker", MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, SIZE as u64)?;
        // A worker that cut it short would take the hub along at its next look.
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok((Self::map(&fd)?, fd))
    }

    /// Maps the page behind a descriptor that [`Page::create`] made.
    ///
    /// # Errors
    ///
    /// When it cannot be mapped, or is no such page.
    pub fn map(fd: &impl AsFd) -> io::Result<Self> {
        let size = rustix::fs::fstat(fd)?.st_size;
        if size != SIZE as i64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a worker's page"));
        }
        let map = MmapOptions::new().len(SIZE).map_raw(&fd.as_fd())?;
        Ok(Self { map })
    }

    #[inline]
    fn words(&self) -> &Words {
        // SAFETY: the map is SIZE bytes, aligned to a memory page, and lives as long as `self`; `Words` has a fixed layout
        // and is far smaller; both processes use atomics for these words, and for the gap between them nothing.
        unsafe { &*self.map.as_mut_ptr().cast() }
    }

    /// Hub: what the worker is doing.
    pub fn pulse(&self) -> Pulse {
        let (started, turn, running) = self.words().pulse();
        Pulse { started, turn, running }
    }

    /// Hub: takes back the jobs up to `serial` that have not started, and says which was the last
    /// one that had. A worker that was just about to start one either sees this and reports it
    /// as skipped, or its start is seen here, or both.
    pub fn revoke(&self, serial: u64) -> u64 {
        self.words().revoke(serial)
    }

    /// Hub: the frames of a dead worker's last batch, when the socket pair ended before it.
    /// `received` is the number of the last batch that arrived whole, 0 for none.
    pub fn unsent(&self, received: u32) -> Vec<u8> {
        let (number, size) = self.words().batch();
        let size = size as usize;
        if number == received || size > OUTBOX_SIZE {
            return Vec::new();
        }
        let mut frames = vec![0; size];
        // SAFETY: the range lies inside the map, and the process that wrote it is dead.
        unsafe {
            let outbox = self.map.as_ptr().add(OUTBOX);
            std::ptr::copy_nonoverlapping(outbox, frames.as_mut_ptr(), size);
        }
        frames
    }

    /// Hub: what a dead worker wrote last about where its script stood while it was loaded; empty: nothing.
    pub fn standing(&self) -> Vec<u8> {
        let mut text = vec![0; STANDING_SIZE];
        // SAFETY: the range lies inside the map, and the process that wrote it is dead.
        unsafe {
            std::ptr::copy_nonoverlapping(self.map.as_ptr().add(STANDING), text.as_mut_ptr(), STANDING_SIZE);
        }
        text.truncate(text.iter().position(|byte| *byte == 0).unwrap_or(STANDING_SIZE));
        text
    }

    /// Worker: the script stands at a line of a file. What does not fit is cut off.
    pub fn stand_at(&self, file: &str, line: usize) {
        self.set_standing(format!("  File \"{file}\", line {line}\n").as_bytes());
    }

    /// Worker: the script is loaded.
    pub fn stand_nowhere(&self) {
        self.set_standing(b"");
    }

    fn set_standing(&self, text: &[u8]) {
        let text = &text[..text.len().min(STANDING_SIZE - 1)];
        // SAFETY: the range and the zero byte behind it lie inside the map; the hub reads it only after this process
        // is dead.
        unsafe {
            let standing = self.map.as_mut_ptr().add(STANDING);
            std::ptr::copy_nonoverlapping(text.as_ptr(), standing, text.len());
            standing.add(text.len()).write(0);
        }
    }

    /// Worker: says that job `serial` starts. `false`: the hub has taken it back, leave it alone.
    #[inline]
    pub fn start(&self, serial: u64) -> bool {
        self.words().start(serial)
    }

    /// Worker: the same where jobs may start out of order, in threads: the page keeps the highest serial, so that a
    /// death never lets one run twice.
    pub fn start_any(&self, serial: u64) -> bool {
        self.words().start_any(serial)
    }

    /// Worker: a script begins to run for job `running`, or ends to (0). Calls come in pairs.
    #[inline]
    pub fn turn(&self, running: u64) {
        self.words().turn(running);
    }
}

/// A worker's side of the outbox: the batch that it is building.
#[derive(Debug)]
pub struct Outbox {
    page: Page,
    size: usize,
    number: u32,
}

impl Outbox {
    /// Takes over the page's outbox; the first batch is number 1.
    pub fn new(page: Page) -> Self {
        page.words().begin(1);
        Self { page, size: 0, number: 1 }
    }

    /// The page, for its other words.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// Whether nothing waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Appends one whole frame; from now on it survives this process. `false`: there is no room,
    /// send what is here first.
    #[inline]
    pub fn push(&mut self, frame: &[u8]) -> bool {
        let end = self.size + frame.len();
        if end > OUTBOX_SIZE {
            return false;
        }
        // SAFETY: the range lies inside the map; the hub reads it only after this process is dead.
        unsafe {
            let outbox = self.page.map.as_mut_ptr().add(OUTBOX + self.size);
            std::ptr::copy_nonoverlapping(frame.as_ptr(), outbox, frame.len());
        }
        self.size = end;
        self.page.words().commit(end as u32);
        true
    }

    /// The head for a batch of `size` bytes that bypasses the outbox.
    pub fn head(&self, size: usize) -> [u8; 8] {
        let mut head = [0; 8];
        head[..4].copy_from_slice(&(size as u32).to_le_bytes());
        head[4..].copy_from_slice(&self.number.to_le_bytes());
        head
    }

    /// The batch as it goes over the socket pair: head and frames in one piece.
    pub fn batch(&mut self) -> &[u8] {
        let head = self.head(self.size);
        // SAFETY: head and frames lie inside the map, next to each other; nothing writes there
        // while the slice lives, since that would need `&mut self`.
        unsafe {
            let start = self.page.map.as_mut_ptr().add(OUTBOX - head.len());
            std::ptr::copy_nonoverlapping(head.as_ptr(), start, head.len());
            std::slice::from_raw_parts(start, head.len() + self.size)
        }
    }

    /// Says that the socket pair has the whole batch, and begins the next one.
    pub fn sent(&mut self) {
        self.number = self.number.wrapping_add(1);
        self.page.words().begin(self.number);
        self.size = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn both_sides() -> (Page, Outbox) {
        let (hub, fd) = Page::create().unwrap();
        let worker = Page::map(&fd).unwrap();
        (hub, Outbox::new(worker))
    }

    #[test]
    fn frames_that_were_not_sent_are_found_after_death() {
        let (hub, mut outbox) = both_sides();
        assert!(outbox.push(b"one"));
        assert_eq!(outbox.batch(), b"\x03\0\0\0\x01\0\0\0one");
        outbox.sent();
        assert_eq!(hub.unsent(1), b"");
        assert!(outbox.push(b"two"));
        assert!(outbox.push(b"three"));
        assert_eq!(hub.unsent(1), b"twothree");
        assert_eq!(hub.unsent(2), b"", "the batch arrived, but its sender died before it could say so");
    }

    #[test]
    fn a_full_outbox_says_so() {
        let (_hub, mut outbox) = both_sides();
        assert!(outbox.push(&vec![0; OUTBOX_SIZE]));
        assert!(!outbox.push(b"x"));
    }

    #[test]
    fn a_revoked_job_does_not_start() {
        let (hub, outbox) = both_sides();
        assert!(outbox.page().start(1));
        assert_eq!(hub.revoke(3), 1);
        assert!(!outbox.page().start(2));
        assert!(!outbox.page().start(3));
        assert!(outbox.page().start(4));
        outbox.page().turn(4);
        assert_eq!(hub.pulse(), Pulse { started: 4, turn: 1, running: 4 });
    }

    #[test]
    fn each_word_has_its_place() {
        let (hub, fd) = Page::create().unwrap();
        let mut outbox = Outbox::new(Page::map(&fd).unwrap());
        assert!(outbox.page().start(0x11) && outbox.push(b"four"));
        outbox.page().turn(0x22);
        hub.revoke(0x33);
        let mut page = [0; 136];
        std::fs::File::from(fd).read_exact_at(&mut page, 0).unwrap();
        let found: Vec<_> = page.iter().enumerate().filter(|(_, byte)| **byte != 0).collect();
        assert_eq!(found, [(0, &0x11), (8, &1), (16, &4), (20, &1), (24, &0x22), (128, &0x33)]);
    }

    #[test]
    fn jobs_that_start_out_of_order_leave_the_highest_serial() {
        let (hub, outbox) = both_sides();
        assert!(outbox.page().start_any(2));
        assert!(outbox.page().start_any(1));
        assert_eq!(hub.revoke(4), 2);
        assert!(!outbox.page().start_any(3));
    }

    #[test]
    fn what_a_worker_wrote_last_about_its_load_is_found_after_death() {
        let (hub, fd) = Page::create().unwrap();
        let worker = Page::map(&fd).unwrap();
        assert_eq!(hub.standing(), b"");
        worker.stand_at("a/long/name.lua", 7);
        worker.stand_at("b.lua", 12);
        assert_eq!(hub.standing(), b"  File \"b.lua\", line 12\n");
        worker.stand_at(&"x".repeat(2 * STANDING_SIZE), 1);
        assert_eq!(hub.standing().len(), STANDING_SIZE - 1);
        worker.stand_nowhere();
        assert_eq!(hub.standing(), b"");
        // Python's own watchdog writes to the descriptor, and cannot write beyond the page.
        let fd = std::fs::File::from(fd);
        fd.write_all_at(b"text\0", STANDING as u64).unwrap();
        assert_eq!(hub.standing(), b"text");
        assert!(fd.write_all_at(&[1; STANDING_SIZE + 1], STANDING as u64).is_err());
    }

    #[test]
    fn another_file_is_no_page() {
        let fd = memfd_create("other", MemfdFlags::empty()).unwrap();
        assert!(Page::map(&fd).is_err());
    }
}
