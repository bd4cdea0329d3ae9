//! Writing a database: whole or not at all.
//!
//! The new one is made beside the old one and renamed over it, so a Mongrel2 that starts at that
//! moment sees either. The old one is locked all the while: a row that somebody adds to its log
//! is either copied or refused, never lost.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};

use super::log::{self, Entry};
use super::module_settings;
use super::place::{self, Existing, Place};
use super::schema::Schema;
use super::{Saved, StoreError};
use crate::model::{Config, Host, Module, Server, Target};

/// What Mongrel2 1.13 takes without an `error_log_level`.
const ERROR_LOG_LEVEL: u32 = 2;

/// Checks `config` and writes it as the database at `path`, replacing the one that is there.
///
/// A running Mongrel2 does not notice: it reads its database at the start only.
///
/// # Errors
///
/// [`StoreError`]; whatever was at `path` before is still there then.
pub fn write(config: &Config, path: &Path) -> Result<(), StoreError> {
    config.check()?;
    let entry = Entry {
        who: "kennel".into(),
        what: "load".into(),
        location: String::new(),
        how: String::new(),
        why: Some(String::new()),
    };
    save(config, path, None, &entry).map(|_| ())
}

/// Writes `config` as it is, replacing the database at `path`, and says so in its log.
///
/// `config` is not checked, since a configuration file has been when it was read. Without a
/// `schema` it is that of 1.13 if a server has an `error_log_level` or the old database has the
/// column, else that of 1.12; either version of Mongrel2 reads both.
///
/// # Errors
///
/// [`StoreError`]; whatever was at `path` before is still there then.
pub fn save(
    config: &Config,
    path: &Path,
    schema: Option<Schema>,
    entry: &Entry,
) -> Result<Saved, StoreError> {
    let place = Place::to_replace(path)?;
    let schema = schema.unwrap_or_else(|| {
        let old = place.old.as_ref().map_or(Schema::V1_12, |(old, _)| old.shape.schema());
        if config.servers.iter().any(|server| server.error_log_level.is_some()) { Schema::V1_13 } else { old }
    });
    let replace = |source| StoreError::Replace { path: path.into(), source };
    let new = Unfinished::beside(&place.file);
    match fs::remove_file(&new.0) {
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
            return Err(StoreError::Denied { path: path.into() });
        }
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(replace(err)),
        _ => {}
    }
    // SQLite only says that it cannot; the system knows why.
    File::create_new(&new.0).map_err(|err| match err.kind() {
        io::ErrorKind::PermissionDenied => StoreError::Denied { path: path.into() },
        _ => replace(err),
    })?;
    let old = place.old.as_ref().map(|(old, _)| old);
    fill(config, &new.0, schema, entry, old).map_err(|source| StoreError::writing(path, source))?;
    if let Some((_, metadata)) = &place.old {
        inherit(&new.0, metadata).map_err(replace)?;
    }
    File::open(&new.0).and_then(|file| file.sync_all()).map_err(replace)?;
    fs::rename(&new.0, &place.file).map_err(replace)?;
    // Without this a power cut may bring the old database back.
    File::open(place::folder(&place.file)).and_then(|dir| dir.sync_all()).map_err(replace)?;
    Ok(Saved { schema, replaced: place.old.as_ref().is_some_and(|(old, _)| !old.shape.is_empty()) })
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

/// Gives the new file the rights of the old one: whoever could read it still can.
fn inherit(new: &Path, old: &Metadata) -> io::Result<()> {
    let own = fs::metadata(new)?;
    if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
        // Only the superuser may, and for others the file is theirs from now on, as a copy would be.
        let _ = chown(new, Some(old.uid()), Some(old.gid()));
    }
    fs::set_permissions(new, old.permissions())
}

fn fill(
    config: &Config,
    path: &Path,
    schema: Schema,
    entry: &Entry,
    old: Option<&Existing>,
) -> rusqlite::Result<()> {
    let mut db = Connection::open(path)?;
    // Nobody sees this file before the rename, and it is synced then: until then a journal beside it
    // or an earlier sync would protect nothing.
    db.pragma_update(None, "journal_mode", "MEMORY")?;
    db.pragma_update(None, "synchronous", "OFF")?;
    let tx = db.transaction()?;
    tx.execute_batch(&schema.sql())?;
    let mut targets = Targets::default();
    for server in &config.servers {
        let server_id = insert_server(&tx, schema, server)?;
        for host in &server.hosts {
            insert_host(&tx, server_id, host, &mut targets)?;
        }
        insert_modules(&tx, "filter", server_id, &server.filters)?;
        insert_modules(&tx, "xrequest", server_id, &server.xrequests)?;
    }
    for (key, value) in &config.settings {
        cached(&tx, "INSERT INTO setting (key, value) VALUES (?, ?)", params![key, value])?;
    }
    for (extension, kind) in &config.mimetypes {
        cached(&tx, "INSERT INTO mimetype (mimetype, extension) VALUES (?, ?)", params![kind, extension])?;
    }
    if let Some(old) = old {
        log::keep(&tx, old)?;
    }
    log::insert(&tx, entry)?;
    tx.commit()?;
    db.close().map_err(|(_, err)| err)
}

/// Runs an INSERT that is prepared once, and gives the row's id.
fn cached(tx: &Transaction<'_>, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<i64> {
    tx.prepare_cached(sql)?.insert(values)
}

fn insert_server(tx: &Transaction<'_>, schema: Schema, server: &Server) -> rusqlite::Result<i64> {
    let id = cached(
        tx,
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
    if schema == Schema::V1_13 {
        let level = server.error_log_level.unwrap_or(ERROR_LOG_LEVEL);
        tx.execute("UPDATE server SET error_log_level = ? WHERE id = ?", params![level, id])?;
    }
    Ok(id)
}

fn insert_host<'a>(
    tx: &Transaction<'_>,
    server_id: i64,
    host: &'a Host,
    targets: &mut Targets<'a>,
) -> rusqlite::Result<()> {
    let host_id = cached(
        tx,
        "INSERT INTO host (server_id, name, matching) VALUES (?, ?, ?)",
        params![server_id, host.name, host.matching],
    )?;
    for route in &host.routes {
        let (target_id, target_type) = targets.id(tx, &route.target)?;
        cached(
            tx,
            "INSERT INTO route (path, host_id, target_id, target_type) VALUES (?, ?, ?, ?)",
            params![route.path, host_id, target_id, target_type],
        )?;
    }
    Ok(())
}

/// The rows of targets that more than one route may lead to: those of one allocation share one,
/// as the routes of a configuration file do that name one variable.
#[derive(Default)]
struct Targets<'a> {
    rows: HashMap<*const Target, i64>,
    /// A pointer is only good as a key as long as what it points to lives.
    lives: std::marker::PhantomData<&'a Target>,
}

impl<'a> Targets<'a> {
    fn id(&mut self, tx: &Transaction<'_>, target: &'a Arc<Target>) -> rusqlite::Result<(i64, &'static str)> {
        let target_type = match **target {
            Target::Handler(_) => "handler",
            Target::Dir(_) => "dir",
            Target::Proxy(_) => "proxy",
        };
        let key = Arc::as_ptr(target);
        let id = match self.rows.get(&key) {
            Some(&id) => id,
            None => {
                let id = insert_target(tx, target)?;
                self.rows.insert(key, id);
                id
            }
        };
        Ok((id, target_type))
    }
}

fn insert_target(tx: &Transaction<'_>, target: &Target) -> rusqlite::Result<i64> {
    match target {
        Target::Handler(handler) => cached(
            tx,
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
        ),
        Target::Dir(dir) => cached(
            tx,
            "INSERT INTO directory (base, index_file, default_ctype, cache_ttl) VALUES (?, ?, ?, ?)",
            params![dir.base, dir.index_file, dir.default_ctype, dir.cache_ttl],
        ),
        Target::Proxy(proxy) => {
            cached(tx, "INSERT INTO proxy (addr, port) VALUES (?, ?)", params![proxy.addr, proxy.port])
        }
    }
}

fn insert_modules(
    tx: &Transaction<'_>,
    table: &str,
    server_id: i64,
    modules: &[Module],
) -> rusqlite::Result<()> {
    for module in modules {
        let settings = module_settings::encode(&module.settings);
        let sql = format!("INSERT INTO {table} (server_id, name, settings) VALUES (?, ?, ?)");
        cached(tx, &sql, params![server_id, module.name, settings])?;
    }
    Ok(())
}
