//! Files that were made of what came with forms, and how much a form may have.

use handler_core::worker::sent_file::Scratch;
use kennel_http::forms::FormLimits;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The limits of a worker's forms, and the files of which scripts asked for a path.
pub(crate) struct FormFiles {
    limits: FormLimits,
    scratch: Mutex<Scratch>,
    /// There is something to forget.
    is_used: AtomicBool,
}

impl Default for FormFiles {
    fn default() -> Self {
        Self::new(&FormLimits::default(), "")
    }
}

impl FormFiles {
    pub(crate) fn new(limits: &FormLimits, folder: &str) -> Self {
        let scratch = Mutex::new(Scratch::new(folder));
        Self { limits: limits.clone(), scratch, is_used: AtomicBool::new(false) }
    }

    pub(crate) fn limits(&self) -> &FormLimits {
        &self.limits
    }

    fn scratch(&self) -> MutexGuard<'_, Scratch> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a file of what is at a place in a job's body. If the job ended meanwhile, the caller forgets the file.
    pub(crate) fn make(
        &self,
        serial: u64,
        frame: &[u8],
        place: &Range<u64>,
        beat: impl FnMut(),
    ) -> io::Result<PathBuf> {
        let mut scratch = self.scratch();
        let made = scratch.make(serial, frame, place, beat);
        self.is_used.store(true, Ordering::Relaxed);
        made
    }

    /// Deletes the files of a job that has ended.
    pub(crate) fn forget(&self, serial: u64) {
        if self.is_used.load(Ordering::Relaxed) {
            let mut scratch = self.scratch();
            scratch.forget(serial);
            self.is_used.store(!scratch.is_empty(), Ordering::Relaxed);
        }
    }
}
