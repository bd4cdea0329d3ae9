//! The SQLite database that Mongrel2 reads: written whole or not at all, and read back.
//!
//! A new database is made beside the old one and renamed over it, so a Mongrel2 that starts at
//! that moment sees either. The rows of `log` outlive it, as they outlive `m2sh load`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::Hash;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row, Transaction, params};

use crate::invalid::Invalid;
use crate::model::{Config, Dir, Handler, Host, Protocol, Proxy, Route, Server, Target};

const SCHEMA: &str = include_str!("schema.sql");

/// Every SQLite database begins with these bytes.
const SQLITE_HEADER: &[u8] = b"SQLite format 3\0";

/// Why a database was not written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Mongrel2 would not run with this configuration as it was meant.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// Something else is there, perhaps the configuration's source. It was left alone.
    #[error("`{}` is not a database, so it is not replaced by one", path.display())]
    NotADatabase {
        /// The file in the way.
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
    /// No such file, or not a database of Mongrel2.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
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

/// Writes `config` as the database at `path`, replacing the one that is there.
///
/// A running Mongrel2 does not notice: it reads its database at the start only.
///
/// # Errors
///
/// [`StoreError`]; whatever was at `path` before is still there then.
pub fn write(config: &Config, path: &Path) -> Result<(), StoreError> {
    config.check()?;
    let replace = |source| StoreError::Replace { path: path.into(), source };
    let old = match starts_like_a_database(path) {
        Ok(Some(true)) => Some(path),
        Ok(Some(false)) => return Err(StoreError::NotADatabase { path: path.into() }),
        Ok(None) => None,
        Err(source) => return Err(replace(source)),
    };
    let new = Unfinished::beside(path);
    match fs::remove_file(&new.0) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(replace(err)),
        _ => {}
    }
    fill(config, &new.0, old).map_err(|source| StoreError::Write { path: path.into(), source })?;
    File::open(&new.0).and_then(|file| file.sync_all()).map_err(replace)?;
    fs::rename(&new.0, path).map_err(replace)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Without this a power cut may bring the old database back.
    File::open(folder.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(replace)
}

/// The handlers that the routes of a database lead to, in the order of Mongrel2.
///
/// # Errors
///
/// [`StoreError::Read`], also when a column is NULL, which Mongrel2 would refuse too.
pub fn handlers(path: &Path) -> Result<Vec<HandlerRow>, StoreError> {
    read(
        path,
        "SELECT server.uuid, server.name, host.name, route.path,
            handler.send_spec, handler.send_ident, handler.recv_spec, handler.recv_ident,
            handler.raw_payload, handler.protocol
        FROM route
        JOIN host ON host.id = route.host_id
        JOIN server ON server.id = host.server_id
        JOIN handler ON handler.id = route.target_id
        WHERE route.target_type = 'handler'
        ORDER BY server.id, host.id, route.id",
        |row| {
            Ok(HandlerRow {
                server_uuid: row.get(0)?,
                server_name: row.get(1)?,
                host_name: row.get(2)?,
                route: row.get(3)?,
                handler: Handler {
                    send_spec: row.get(4)?,
                    send_ident: row.get(5)?,
                    recv_spec: row.get(6)?,
                    recv_ident: row.get(7)?,
                    raw_payload: row.get::<_, i64>(8)? == 1,
                    protocol: Protocol::from_word(&row.get::<_, String>(9)?),
                },
            })
        },
    )
}

/// The settings of a database as `(key, value)`, for who must keep inside its limits.
///
/// # Errors
///
/// [`StoreError::Read`].
pub fn settings(path: &Path) -> Result<Vec<(String, String)>, StoreError> {
    read(path, "SELECT key, value FROM setting ORDER BY id", |row| Ok((row.get(0)?, row.get(1)?)))
}

fn read<T>(
    path: &Path,
    query: &str,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let rows = || {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut query = db.prepare(query)?;
        query.query_map([], row)?.collect::<rusqlite::Result<Vec<T>>>()
    };
    rows().map_err(|source| StoreError::Read { path: path.into(), source })
}

/// The new database's file until it is renamed; gone if that never happens.
struct Unfinished(PathBuf);

impl Unfinished {
    fn beside(path: &Path) -> Self {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.new", std::process::id()));
        Self(path.with_file_name(name))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the rename there is nothing left, and an error here would hide the first one.
        let _ = fs::remove_file(&self.0);
    }
}

/// `None` if nothing is there. An empty file counts: SQLite takes it for an empty database.
fn starts_like_a_database(path: &Path) -> io::Result<Option<bool>> {
    let mut start = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(SQLITE_HEADER.len() as u64).read_to_end(&mut start)?,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err),
    };
    Ok(Some(start.is_empty() || start == SQLITE_HEADER))
}

fn fill(config: &Config, path: &Path, old: Option<&Path>) -> rusqlite::Result<()> {
    let mut db = Connection::open(path)?;
    // Nobody sees this file before the rename, so a journal beside it would protect nothing.
    db.pragma_update(None, "journal_mode", "MEMORY")?;
    let tx = db.transaction()?;
    tx.execute_batch(SCHEMA)?;
    let mut targets = Targets::default();
    for server in &config.servers {
        let server_id = insert_server(&tx, server)?;
        for host in &server.hosts {
            let host_id = insert_host(&tx, server_id, host)?;
            for route in &host.routes {
                insert_route(&tx, host_id, route, &mut targets)?;
            }
        }
    }
    for (key, value) in &config.settings {
        tx.execute("INSERT INTO setting (key, value) VALUES (?, ?)", [key, value])?;
    }
    for (extension, kind) in &config.mimetypes {
        tx.execute("INSERT INTO mimetype (mimetype, extension) VALUES (?, ?)", [kind, extension])?;
    }
    if let Some(old) = old {
        keep_log(&tx, old)?;
    }
    tx.execute("INSERT INTO log (who, what, location, how, why) VALUES ('kennel', 'load', '', '', '')", [])?;
    tx.commit()?;
    db.close().map_err(|(_, err)| err)
}

fn insert_server(tx: &Transaction<'_>, server: &Server) -> rusqlite::Result<i64> {
    tx.execute(
        "INSERT INTO server (uuid, access_log, error_log, chroot, pid_file, control_port,
            default_host, name, bind_addr, port, use_ssl)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            server.uuid,
            server.access_log,
            server.error_log,
            server.chroot,
            server.pid_file,
            server.control_port,
            server.default_host,
            server.name,
            server.bind_addr,
            server.port,
            server.use_ssl,
        ],
    )?;
    Ok(tx.last_insert_rowid())
}

fn insert_host(tx: &Transaction<'_>, server_id: i64, host: &Host) -> rusqlite::Result<i64> {
    tx.execute(
        "INSERT INTO host (server_id, name, matching) VALUES (?, ?, ?)",
        params![server_id, host.name, host.matching],
    )?;
    Ok(tx.last_insert_rowid())
}

fn insert_route<'a>(
    tx: &Transaction<'_>,
    host_id: i64,
    route: &'a Route,
    targets: &mut Targets<'a>,
) -> rusqlite::Result<()> {
    let (target_id, target_type) = targets.id(tx, &route.target)?;
    tx.execute(
        "INSERT INTO route (path, host_id, target_id, target_type) VALUES (?, ?, ?, ?)",
        params![route.path, host_id, target_id, target_type],
    )?;
    Ok(())
}

/// Targets that have a row already, so that equal ones share it.
#[derive(Default)]
struct Targets<'a> {
    handlers: HashMap<&'a Handler, i64>,
    dirs: HashMap<&'a Dir, i64>,
    proxies: HashMap<&'a Proxy, i64>,
}

impl<'a> Targets<'a> {
    fn id(&mut self, tx: &Transaction<'_>, target: &'a Target) -> rusqlite::Result<(i64, &'static str)> {
        Ok(match target {
            Target::Handler(handler) => {
                (share(&mut self.handlers, handler, || insert_handler(tx, handler))?, "handler")
            }
            Target::Dir(dir) => (share(&mut self.dirs, dir, || insert_dir(tx, dir))?, "dir"),
            Target::Proxy(proxy) => (share(&mut self.proxies, proxy, || insert_proxy(tx, proxy))?, "proxy"),
        })
    }
}

fn share<'a, T: Eq + Hash>(
    rows: &mut HashMap<&'a T, i64>,
    target: &'a T,
    insert: impl FnOnce() -> rusqlite::Result<i64>,
) -> rusqlite::Result<i64> {
    if let Some(&id) = rows.get(target) {
        return Ok(id);
    }
    let id = insert()?;
    rows.insert(target, id);
    Ok(id)
}

fn insert_handler(tx: &Transaction<'_>, handler: &Handler) -> rusqlite::Result<i64> {
    tx.execute(
        "INSERT INTO handler (send_spec, send_ident, recv_spec, recv_ident, raw_payload, protocol)
        VALUES (?, ?, ?, ?, ?, ?)",
        params![
            handler.send_spec,
            handler.send_ident,
            handler.recv_spec,
            handler.recv_ident,
            handler.raw_payload,
            handler.protocol.as_str(),
        ],
    )?;
    Ok(tx.last_insert_rowid())
}

fn insert_dir(tx: &Transaction<'_>, dir: &Dir) -> rusqlite::Result<i64> {
    tx.execute(
        "INSERT INTO directory (base, index_file, default_ctype, cache_ttl) VALUES (?, ?, ?, ?)",
        params![dir.base, dir.index_file, dir.default_ctype, dir.cache_ttl],
    )?;
    Ok(tx.last_insert_rowid())
}

fn insert_proxy(tx: &Transaction<'_>, proxy: &Proxy) -> rusqlite::Result<i64> {
    tx.execute("INSERT INTO proxy (addr, port) VALUES (?, ?)", params![proxy.addr, proxy.port])?;
    Ok(tx.last_insert_rowid())
}

/// Copies the log of the old database, if it has one.
fn keep_log(tx: &Transaction<'_>, old: &Path) -> rusqlite::Result<()> {
    let old = Connection::open_with_flags(old, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    if !old.table_exists(None, "log")? {
        return Ok(());
    }
    let mut query =
        old.prepare("SELECT id, who, what, location, happened_at, how, why FROM log ORDER BY id")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let cell = |column| row.get::<usize, rusqlite::types::Value>(column);
        tx.execute(
            "INSERT INTO log (id, who, what, location, happened_at, how, why)
            VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![cell(0)?, cell(1)?, cell(2)?, cell(3)?, cell(4)?, cell(5)?, cell(6)?],
        )?;
    }
    Ok(())
}
