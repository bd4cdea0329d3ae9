//! The SQLite database that Mongrel2 reads: written whole or not at all, and read back.
//!
//! * [`write()`] checks a configuration and makes its database; [`save`] does so for one that was
//!   checked as a file, and says who made it.
//! * [`read()`] gives the configuration of any database, `m2sh`'s too, with what is wrong in it.
//! * [`log()`] and [`commit`]: the database's own log.
//!
//! What is no database of Mongrel2 is left alone, byte for byte; [`StoreError`] says what it is.

mod log;
mod module_settings;
mod place;
mod read;
mod schema;
mod write;

use std::io;
use std::path::{Path, PathBuf};

use crate::check::invalid::Invalid;
use crate::model::Handler;

pub use log::{Entry, LogRow, commit, log};
pub use read::{Contents, Flaw, handlers, read, settings};
pub use schema::Schema;
pub use write::{save, write};

/// Why a database was not written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Mongrel2 would not run with this configuration as it was meant.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// Nothing is there.
    #[error("there is no database `{}`", path.display())]
    NotThere {
        /// As given.
        path: PathBuf,
    },
    /// The folder that it would be in is missing, or is a file.
    #[error("cannot use `{}`: there is no folder `{}`", path.display(), folder.display())]
    NoFolder {
        /// As given.
        path: PathBuf,
        /// The folder of it.
        folder: PathBuf,
    },
    /// It is a folder itself.
    #[error("`{}` is a folder, not a database", path.display())]
    Folder {
        /// As given.
        path: PathBuf,
    },
    /// A symbolic link to nothing.
    #[error("`{}` is a link to `{}`, which is not there", path.display(), target.display())]
    DeadLink {
        /// As given.
        path: PathBuf,
        /// What the link says.
        target: PathBuf,
    },
    /// Something else is there, perhaps the configuration's source. It was left alone.
    #[error("`{}` is not a database, so it is left alone", path.display())]
    NotADatabase {
        /// The file in the way.
        path: PathBuf,
    },
    /// A database of another program, or of a Mongrel2 that is not known here.
    #[error("`{}` is not a database of Mongrel2: it has {what}", path.display())]
    Foreign {
        /// As given.
        path: PathBuf,
        /// The first thing in it that Mongrel2 has not.
        what: String,
    },
    /// SQLite cannot read all of it.
    #[error("the database `{}` is damaged: {what}", path.display())]
    Damaged {
        /// As given.
        path: PathBuf,
        /// What SQLite says.
        what: String,
    },
    /// Somebody else is writing it, or has kept it open in the middle of a change.
    #[error("the database `{}` is locked by another program", path.display())]
    Locked {
        /// As given.
        path: PathBuf,
    },
    /// It may be read only.
    #[error("the database `{}` is write-protected", path.display())]
    Protected {
        /// As given.
        path: PathBuf,
    },
    /// The file or its folder belongs to somebody else.
    #[error("permission denied for `{}`", path.display())]
    Denied {
        /// As given.
        path: PathBuf,
    },
    /// Part of a database that is gone, which would be played into a new one of its name.
    #[error(
        "`{}` is left of a database that is gone; remove it, or bring `{}` back",
        leftover.display(),
        path.display()
    )]
    Leftover {
        /// The database.
        path: PathBuf,
        /// Its journal.
        leftover: PathBuf,
    },
    /// A row that is needed makes no sense.
    #[error("`{}`: {flaw}", path.display())]
    Flawed {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        flaw: Flaw,
    },
    /// The database that was there is unchanged.
    #[error("cannot write `{}`: the disk is full", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The database that was there is unchanged.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The database that was there is unchanged.
    #[error("cannot replace `{}`", path.display())]
    Replace {
        /// The database.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The operating system refuses something else.
    #[error("cannot use `{}`", path.display())]
    System {
        /// As given.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// SQLite refuses something else.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// SQLite could not write.
    fn writing(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full { path },
            _ => Self::Write { path, source },
        }
    }
}

/// What [`save`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// For which Mongrel2 the database is.
    pub schema: Schema,
    /// Whether there was one before.
    pub replaced: bool,
}

/// A handler of a database, once for each route that leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerRow {
    /// The server's uuid.
    pub server_uuid: String,
    /// The server's name, which may be empty.
    pub server_name: String,
    /// The host's name.
    pub host_name: String,
    /// The route's key, which requests carry as PATTERN.
    pub route: String,
    /// Where its requests come from and its replies go.
    pub handler: Handler,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_without_sqlites_words() {
        let failure = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        let full = StoreError::writing(Path::new("x.sqlite"), failure(rusqlite::ffi::SQLITE_FULL));
        assert_eq!(full.to_string(), "cannot write `x.sqlite`: the disk is full");
        let other = StoreError::writing(Path::new("x.sqlite"), failure(rusqlite::ffi::SQLITE_IOERR));
        assert!(matches!(other, StoreError::Write { .. }));
    }
}
