//! The log of a database: who changed the configuration, when and why.
//!
//! Nobody but people reads it. A load replaces all other tables and adds a row here.

use std::path::Path;

use rusqlite::{Connection, params};

use super::StoreError;
use super::place::{self, Existing};
use super::schema::Schema;

/// What a new row of the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The login name of whoever changes the configuration.
    pub who: String,
    /// What happens: `load` for a load, anything for a commit.
    pub what: String,
    /// Where: the machine's name.
    pub location: String,
    /// By what means: `m2sh` puts the configuration file's name here when it loads one.
    pub how: String,
    /// For what reason: `command` for a load by `m2sh`. `None` leaves it NULL.
    pub why: Option<String>,
}

/// A row of the log. Columns are empty where they are NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Number of the row, rising.
    pub id: i64,
    /// Login name.
    pub who: String,
    /// `load`, or what was committed.
    pub what: String,
    /// The machine's name.
    pub location: String,
    /// UTC, as `YYYY-MM-DD HH:MM:SS`.
    pub happened_at: String,
    /// By what means.
    pub how: String,
    /// For what reason.
    pub why: String,
}

/// The log of a database, oldest row first.
///
/// # Errors
///
/// [`StoreError`] when there is no such database, or it cannot be read.
pub fn log(path: &Path) -> Result<Vec<LogRow>, StoreError> {
    let Existing { db, shape } = place::open_to_read(path)?;
    if !shape.has_table("log") {
        return Ok(Vec::new());
    }
    let rows = || {
        let mut query = db.prepare(
            "SELECT id, CAST(who AS TEXT), CAST(what AS TEXT), CAST(location AS TEXT),
                CAST(happened_at AS TEXT), CAST(how AS TEXT), CAST(why AS TEXT)
            FROM log ORDER BY id",
        )?;
        let rows = query.query_map([], |row| {
            let text = |at| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(at)?.unwrap_or_default());
            Ok(LogRow {
                id: row.get(0)?,
                who: text(1)?,
                what: text(2)?,
                location: text(3)?,
                happened_at: text(4)?,
                how: text(5)?,
                why: text(6)?,
            })
        })?;
        rows.collect::<rusqlite::Result<_>>()
    };
    rows().map_err(|source| place::not_open(path, source))
}

/// Adds a row to the log of a database, and changes nothing else.
///
/// # Errors
///
/// [`StoreError`]; then nothing was changed.
pub fn commit(path: &Path, entry: &Entry) -> Result<(), StoreError> {
    let Existing { mut db, shape } = place::open_to_change(path)?;
    let mut write = || {
        let tx = db.transaction()?;
        if !shape.has_table("log") {
            tx.execute_batch(&table())?;
        }
        insert(&tx, entry)?;
        tx.commit()
    };
    write().map_err(|source| match place::not_open(path, source) {
        StoreError::Read { path, source } => StoreError::writing(&path, source),
        other => other,
    })
}

/// Adds a row; the time is now.
pub(super) fn insert(db: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO log (who, what, location, how, why) VALUES (?, ?, ?, ?, ?)",
        params![entry.who, entry.what, entry.location, entry.how, entry.why],
    )?;
    Ok(())
}

/// Copies the rows of an old database's log, ids and all.
pub(super) fn keep(new: &Connection, old: &Existing) -> rusqlite::Result<()> {
    if !old.shape.has_table("log") {
        return Ok(());
    }
    let mut query =
        old.db.prepare("SELECT id, who, what, location, happened_at, how, why FROM log ORDER BY id")?;
    let mut insert = new.prepare(
        "INSERT INTO log (id, who, what, location, happened_at, how, why) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let cell = |column| row.get::<usize, rusqlite::types::Value>(column);
        insert.execute(params![cell(0)?, cell(1)?, cell(2)?, cell(3)?, cell(4)?, cell(5)?, cell(6)?])?;
    }
    Ok(())
}

/// The statement that makes the table alone.
fn table() -> String {
    let all = Schema::V1_12.sql();
    let from = all.find("CREATE TABLE log").expect("the schema has a log");
    all[from..].to_owned()
}
