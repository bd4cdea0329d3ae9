//! What is read of a database. NULL counts as empty: a database that Mongrel2 refuses can still be asked
//! what is wrong with it.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

use crate::model::{Handler, Protocol};

/// One server, as far as who wants to reach it must know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerRow {
    /// Mongrel2's second argument.
    pub uuid: String,
    /// What people call it; perhaps empty.
    pub name: String,
    /// Name of its default host.
    pub default_host: String,
    /// Where it chroots when started as root; empty for nowhere.
    pub chroot: String,
    /// Its pid file, inside the chroot.
    pub pid_file: String,
    /// Its control port; empty for that of the settings.
    pub control_port: String,
    /// Its error log, inside the chroot.
    pub error_log: String,
    /// The address on which it listens.
    pub bind_addr: String,
    /// The port on which it listens; 0 when the database has none.
    pub port: u16,
}

impl ServerRow {
    /// What to call it: its name, or its uuid if it has none.
    pub fn label(&self) -> &str {
        if self.name.is_empty() { &self.uuid } else { &self.name }
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRow {
    /// Its server, as an index of the servers.
    pub server: usize,
    /// Its host's name.
    pub host: String,
    /// Its key: a prefix, and perhaps a pattern.
    pub path: String,
    /// Its handler, as an index of the handlers; `None` for a Dir or Proxy.
    pub handler: Option<usize>,
}

pub(super) struct Rows {
    pub(super) servers: Vec<ServerRow>,
    pub(super) handlers: Vec<Handler>,
    pub(super) routes: Vec<RouteRow>,
    pub(super) settings: Vec<(String, String)>,
}

pub(super) fn read(database: &Path) -> rusqlite::Result<Rows> {
    let db = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let servers = all(
        &db,
        "SELECT id, uuid, name, default_host, chroot, pid_file, control_port, error_log, bind_addr, port
        FROM server ORDER BY id",
        |row| {
            let server = ServerRow {
                uuid: text(row, 1)?,
                name: text(row, 2)?,
                default_host: text(row, 3)?,
                chroot: text(row, 4)?,
                pid_file: text(row, 5)?,
                control_port: text(row, 6)?,
                error_log: text(row, 7)?,
                bind_addr: text(row, 8)?,
                port: number(row, 9)?.try_into().unwrap_or(0),
            };
            Ok((number(row, 0)?, server))
        },
    )?;
    let handlers = all(
        &db,
        "SELECT id, send_spec, send_ident, recv_spec, recv_ident, raw_payload, protocol
        FROM handler ORDER BY id",
        |row| {
            let handler = Handler {
                send_spec: text(row, 1)?,
                send_ident: text(row, 2)?,
                recv_spec: text(row, 3)?,
                recv_ident: text(row, 4)?,
                raw_payload: number(row, 5)? == 1,
                protocol: Protocol::from_word(&text(row, 6)?),
            };
            Ok((number(row, 0)?, handler))
        },
    )?;
    let index = |ids: Vec<i64>| ids.into_iter().enumerate().map(|(at, id)| (id, at)).collect();
    let server_index: HashMap<i64, usize> = index(servers.iter().map(|(id, _)| *id).collect());
    let handler_index: HashMap<i64, usize> = index(handlers.iter().map(|(id, _)| *id).collect());
    let routes = all(
        &db,
        "SELECT host.server_id, host.name, route.path, route.target_type, route.target_id
        FROM route JOIN host ON host.id = route.host_id ORDER BY host.server_id, host.id, route.id",
        |row| {
            let Some(server) = server_index.get(&number(row, 0)?).copied() else { return Ok(None) };
            let handler = match text(row, 3)?.as_str() {
                "handler" => handler_index.get(&number(row, 4)?).copied(),
                _ => None,
            };
            Ok(Some(RouteRow { server, host: text(row, 1)?, path: text(row, 2)?, handler }))
        },
    )?;
    let settings =
        all(&db, "SELECT key, value FROM setting ORDER BY id", |row| Ok((text(row, 0)?, text(row, 1)?)))?;
    Ok(Rows {
        servers: servers.into_iter().map(|(_, server)| server).collect(),
        handlers: handlers.into_iter().map(|(_, handler)| handler).collect(),
        routes: routes.into_iter().flatten().collect(),
        settings,
    })
}

fn all<T>(
    db: &Connection,
    query: &str,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    db.prepare(query)?.query_map([], row)?.collect()
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    use rusqlite::types::ValueRef;
    Ok(match row.get_ref(column)? {
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Null => String::new(),
    })
}

/// As SQLite's own loose types have it: `'80'` is a number too.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<i64> {
    Ok(text(row, column)?.trim().parse().unwrap_or(0))
}
