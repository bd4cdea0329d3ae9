//! The file at a database's path, before anything is done with it.
//!
//! Whatever is there and is no database of Mongrel2 is left alone, byte for byte: the source of
//! the configuration, another program's database, a folder, something damaged. A link is
//! followed, so the file that it leads to is the one that is read or replaced.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::StoreError;
use super::schema::Shape;

/// Every SQLite database begins with these bytes.
const SQLITE_HEADER: &[u8] = b"SQLite format 3\0";

/// How long somebody else may keep the database locked. `m2sh` needs some milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// A database of Mongrel2 that is open.
#[derive(Debug)]
pub(super) struct Existing {
    pub(super) db: Connection,
    pub(super) shape: Shape,
}

/// Where a database is to be written.
#[derive(Debug)]
pub(super) struct Place {
    /// The file itself, links followed.
    pub(super) file: PathBuf,
    /// The database that is there, locked until this is dropped, and what the system knows of it.
    pub(super) old: Option<(Existing, Metadata)>,
}

impl Place {
    /// Finds out whether `path` may be replaced, and locks what is there.
    pub(super) fn to_replace(path: &Path) -> Result<Self, StoreError> {
        let Some((file, metadata)) = find(path)? else {
            if let Some(leftover) = leftover(path) {
                return Err(StoreError::Leftover { path: path.into(), leftover });
            }
            return Ok(Self { file: path.into(), old: None });
        };
        let existing = open_to_write(path, &file, &metadata)?;
        let lock = || {
            let db = &existing.db;
            let mode: String = db.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
            if mode.eq_ignore_ascii_case("wal") {
                // What is in its log would be taken for changes of the new database. This empties it.
                db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
            }
            db.execute_batch("BEGIN EXCLUSIVE")?;
            db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        };
        let found = lock().map_err(|source| not_open(path, source))?;
        if found != "ok" {
            return Err(StoreError::Damaged { path: path.into(), what: found });
        }
        Ok(Self { file, old: Some((existing, metadata)) })
    }
}

/// Opens a database to change rows of it.
pub(super) fn open_to_change(path: &Path) -> Result<Existing, StoreError> {
    let (file, metadata) = find(path)?.ok_or_else(|| StoreError::NotThere { path: path.into() })?;
    open_to_write(path, &file, &metadata)
}

/// Opens a database to read it.
pub(super) fn open_to_read(path: &Path) -> Result<Existing, StoreError> {
    let (file, _) = find(path)?.ok_or_else(|| StoreError::NotThere { path: path.into() })?;
    open(path, &file, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open_to_write(path: &Path, file: &Path, metadata: &Metadata) -> Result<Existing, StoreError> {
    let existing = open(path, file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if let Some(what) = existing.shape.strange() {
        return Err(StoreError::Foreign { path: path.into(), what: what.to_owned() });
    }
    // The superuser may write it all the same, but whoever took the right away meant something.
    let is_protected = existing.db.is_readonly("main").unwrap_or(true);
    if is_protected || metadata.permissions().readonly() {
        return Err(StoreError::Protected { path: path.into() });
    }
    Ok(existing)
}

fn open(path: &Path, file: &Path, flags: OpenFlags) -> Result<Existing, StoreError> {
    let open = || {
        let db = Connection::open_with_flags(file, flags)?;
        db.busy_timeout(PATIENCE)?;
        let shape = Shape::of(&db)?;
        Ok((db, shape))
    };
    let (db, shape) = open().map_err(|source| not_open(path, source))?;
    let shape = shape.map_err(|what| StoreError::Foreign { path: path.into(), what })?;
    Ok(Existing { db, shape })
}

/// What SQLite's refusal to open, read or lock a database means.
pub(super) fn not_open(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path, what: source.to_string() }
        }
        _ => StoreError::Read { path, source },
    }
}

/// The file that `path` leads to; `None` if there is none but could be.
fn find(path: &Path) -> Result<Option<(PathBuf, Metadata)>, StoreError> {
    let system = |source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied => StoreError::Denied { path: path.into() },
        _ => StoreError::System { path: path.into(), source },
    };
    match fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            let folder = folder(path);
            return match fs::metadata(folder) {
                Ok(metadata) if metadata.is_dir() => Ok(None),
                Ok(_) => Err(StoreError::NoFolder { path: path.into(), folder: folder.into() }),
                Err(err) if err.kind() == io::ErrorKind::NotFound => {
                    Err(StoreError::NoFolder { path: path.into(), folder: folder.into() })
                }
                Err(err) => Err(system(err)),
            };
        }
        Err(err) if err.kind() == io::ErrorKind::NotADirectory => {
            return Err(StoreError::NoFolder { path: path.into(), folder: folder(path).into() });
        }
        Err(err) => return Err(system(err)),
    }
    let file = match fs::canonicalize(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            let target = fs::read_link(path).unwrap_or_default();
            return Err(StoreError::DeadLink { path: path.into(), target });
        }
        Err(err) => return Err(system(err)),
    };
    let metadata = fs::metadata(&file).map_err(system)?;
    if metadata.is_dir() {
        return Err(StoreError::Folder { path: path.into() });
    }
    // Opening a pipe would wait for its other end.
    if !metadata.is_file() || !starts_like_a_database(&file).map_err(system)? {
        return Err(StoreError::NotADatabase { path: path.into() });
    }
    Ok(Some((file, metadata)))
}

/// The folder that holds `path`.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An empty file counts: SQLite takes it for an empty database.
fn starts_like_a_database(file: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(file)?.take(SQLITE_HEADER.len() as u64).read_to_end(&mut start)?;
    Ok(start.is_empty() || start == SQLITE_HEADER)
}

/// What is left of a database that is gone, and would be played into a new one of its name.
fn leftover(path: &Path) -> Option<PathBuf> {
    ["-journal", "-wal"].into_iter().find_map(|end| {
        let mut name = OsString::from(path.file_name()?);
        name.push(end);
        let leftover = path.with_file_name(name);
        fs::symlink_metadata(&leftover).ok().map(|_| leftover)
    })
}
