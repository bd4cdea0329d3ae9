//! The error log: warnings and errors of the server, for those who look for them where the configuration says.

use super::log_file::{LogFile, LogFileError};
use super::privileges::Owner;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The file that a server's `error_log` names. It is one file for all copies, and opened again by its name on SIGHUP.
///
/// The program's log adds lines by [`Write`], a whole line at a time. A full disk costs lines and nothing else.
#[derive(Debug, Clone)]
pub struct ErrorLog {
    file: Arc<Mutex<LogFile>>,
}

impl ErrorLog {
    pub(crate) fn open(path: PathBuf) -> Result<Self, LogFileError> {
        Ok(Self { file: Arc::new(Mutex::new(LogFile::open(path)?)) })
    }

    /// Opens the file again by its name, after a rotation. The old one stays in use if that fails.
    pub(crate) fn reopen(&self) -> Result<(), LogFileError> {
        self.with(LogFile::reopen)
    }

    pub(crate) fn give_to(&self, owner: &Owner) -> io::Result<()> {
        self.with(|file| file.give_to(owner))
    }

    fn with<T>(&self, act: impl FnOnce(&mut LogFile) -> T) -> T {
        // A file has no state that a panic could leave half changed.
        act(&mut self.file.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for ErrorLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.with(|file| file.write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
