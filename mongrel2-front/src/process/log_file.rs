//! A log file: opened to append, opened again after a rotation.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fchown};
use thiserror::Error;

use super::privileges::Owner;

/// Why a log file cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum LogFileError {
    /// Its folder does not exist.
    #[error("cannot write log file `{}`: its folder does not exist; create it with `mkdir -p {}`",
            path.display(), folder.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// The folder that is missing.
        folder: PathBuf,
    },
    /// The user of this process may not write it.
    #[error("cannot write log file `{}`: permission denied; let the user of this process write the file and its \
             folder", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses for another reason.
    #[error("cannot write log file `{}`: {source}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// An open log file. What is written goes to its end.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens the file, and creates it if it does not exist.
    pub(crate) fn open(path: impl Into<PathBuf>) -> Result<Self, LogFileError> {
        let path = path.into();
        let file = append_to(&path)?;
        Ok(Self { path, file })
    }

    /// Opens the file again by its name, after a rotation. The old one stays in use if that fails.
    pub(crate) fn reopen(&mut self) -> Result<(), LogFileError> {
        self.file = append_to(&self.path)?;
        Ok(())
    }

    /// Makes `owner` the owner of the file, so that it can be opened again after the privileges are gone.
    pub(crate) fn give_to(&self, owner: &Owner) -> io::Result<()> {
        Ok(fchown(self.file.as_fd(), Some(owner.uid), Some(owner.gid))?)
    }

    /// What the file is called.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A named pipe whose reader is slow must not stop the server, hence `NONBLOCK`. Regular files do not heed it.
fn append_to(path: &Path) -> Result<File, LogFileError> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = OpenOptions::new().append(true).create(true).custom_flags(flags.bits() as i32).open(path);
    opened.map_err(|source| {
        let path = path.to_owned();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
        match (folder, source.kind()) {
            (Some(folder), io::ErrorKind::NotFound) => {
                LogFileError::NoFolder { folder: folder.to_owned(), path }
            }
            (_, io::ErrorKind::PermissionDenied) => LogFileError::Denied { path },
            _ => LogFileError::System { path, source },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::test_folder::TestFolder;
    use std::fs;

    #[test]
    fn a_log_file_is_appended_to() {
        let folder = TestFolder::new("log-append");
        let path = folder.path("error.log");
        fs::write(&path, "before\n").unwrap();
        LogFile::open(&path).unwrap().write_all(b"after\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before\nafter\n");
    }

    #[test]
    fn reopening_after_a_rotation_writes_to_a_new_file() {
        let folder = TestFolder::new("log-rotate");
        let (path, rotated) = (folder.path("error.log"), folder.path("error.log.1"));
        let mut log = LogFile::open(&path).unwrap();
        log.write_all(b"one\n").unwrap();
        fs::rename(&path, &rotated).unwrap();
        log.write_all(b"two\n").unwrap();
        log.reopen().unwrap();
        log.write_all(b"three\n").unwrap();
        assert_eq!(fs::read(&rotated).unwrap(), b"one\ntwo\n");
        assert_eq!(fs::read(&path).unwrap(), b"three\n");
    }

    #[test]
    fn the_old_file_stays_in_use_when_the_new_one_cannot_be_opened() {
        let folder = TestFolder::new("log-gone");
        fs::create_dir(folder.path("logs")).unwrap();
        let mut log = LogFile::open(folder.path("logs/error.log")).unwrap();
        fs::rename(folder.path("logs"), folder.path("old")).unwrap();
        let problem = log.reopen().unwrap_err().to_string();
        assert!(problem.contains("create it with `mkdir -p "), "{problem}");
        log.write_all(b"still\n").unwrap();
        assert_eq!(fs::read(folder.path("old/error.log")).unwrap(), b"still\n");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = TestFolder::new("log-missing");
        let problem = LogFile::open(folder.path("logs/error.log")).unwrap_err();
        assert!(
            matches!(&problem, LogFileError::NoFolder { folder: named, .. } if *named == folder.path("logs"))
        );
    }

    #[test]
    fn a_pipe_without_a_reader_does_not_block() {
        let folder = TestFolder::new("log-pipe");
        let path = folder.path("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(matches!(LogFile::open(&path), Err(LogFileError::System { .. })));
    }
}
