//! Reading a database back, whoever made it.
//!
//! Mongrel2 asks little of a database and `m2sh` checks little, so there are ones with NULL where
//! the server needs text, with rows that lead nowhere, with tables or columns that came later.
//! All of it is read, and what a configuration cannot say becomes a [`Flaw`].

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rusqlite::types::{Value as Cell, ValueRef};

use super::module_settings;
use super::place::{self, Existing};
use super::schema::Schema;
use super::{HandlerRow, StoreError};
use crate::model::{Config, Dir, Handler, Host, Module, Protocol, Proxy, Route, Server, Target};

/// What a database says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Its servers, settings and content types. Routes that lead to one row share a target.
    pub config: Config,
    /// The row of each host in the table `host`: for each server, for each of its hosts.
    pub host_ids: Vec<Vec<i64>>,
    /// For which Mongrel2 it was made.
    pub schema: Schema,
    /// What is wrong in it, in the order of its tables.
    pub flaws: Vec<Flaw>,
}

/// Something in a row that a configuration cannot say, or that Mongrel2 does not survive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The table.
    pub table: &'static str,
    /// The row's id.
    pub row: i64,
    /// What is wrong with it, to be read after the row.
    pub what: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} of table `{}` {}", self.row, self.table, self.what)
    }
}

/// Reads all of a database.
///
/// # Errors
///
/// [`StoreError`] when there is none, or when it is not one of Mongrel2. Single wrong rows are no
/// error; they are in [`Contents::flaws`].
pub fn read(path: &Path) -> Result<Contents, StoreError> {
    let existing = place::open_to_read(path)?;
    let mut reader = Reader { existing: &existing, host_ids: Vec::new(), flaws: Vec::new() };
    let config = reader.config().map_err(|source| place::not_open(path, source))?;
    let Reader { host_ids, flaws, .. } = reader;
    Ok(Contents { config, host_ids, schema: existing.shape.schema(), flaws })
}

/// The handlers that the routes of a database lead to, in the order of Mongrel2.
///
/// # Errors
///
/// [`StoreError`] as [`read`], and [`StoreError::Flawed`] when a row of a handler is wrong.
pub fn handlers(path: &Path) -> Result<Vec<HandlerRow>, StoreError> {
    let Contents { config, flaws, .. } = read(path)?;
    if let Some(flaw) = flaws.into_iter().find(|flaw| flaw.table == "handler") {
        return Err(StoreError::Flawed { path: path.into(), flaw });
    }
    let mut rows = Vec::new();
    for server in &config.servers {
        for host in &server.hosts {
            for route in &host.routes {
                if let Target::Handler(handler) = &*route.target {
                    rows.push(HandlerRow {
                        server_uuid: server.uuid.clone(),
                        server_name: server.name.clone(),
                        host_name: host.name.clone(),
                        route: route.path.clone(),
                        handler: handler.clone(),
                    });
                }
            }
        }
    }
    Ok(rows)
}

/// The settings of a database as `(key, value)`, for who must keep inside its limits.
///
/// # Errors
///
/// [`StoreError`] as [`read`].
pub fn settings(path: &Path) -> Result<Vec<(String, String)>, StoreError> {
    Ok(read(path)?.config.settings)
}

/// A row, its cells in the order of the columns that were asked for.
struct Row {
    table: &'static str,
    id: i64,
    /// `None` where the table has no such column.
    cells: Vec<(&'static str, Option<Cell>)>,
}

impl Row {
    fn cell(&self, column: &str) -> Option<&Cell> {
        let found = self.cells.iter().find(|(name, _)| *name == column);
        found.expect("a column that was asked for").1.as_ref()
    }

    /// A number without a word about what is none: for ids.
    fn id_in(&self, column: &str) -> Option<i64> {
        match self.cell(column)? {
            Cell::Integer(number) => Some(*number),
            Cell::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

struct Reader<'a> {
    existing: &'a Existing,
    host_ids: Vec<Vec<i64>>,
    flaws: Vec<Flaw>,
}

impl Reader<'_> {
    fn config(&mut self) -> rusqlite::Result<Config> {
        let mut config = Config::default();
        let mut servers: HashMap<i64, usize> = HashMap::new();
        for row in self.rows(
            "server",
            &[
                "uuid",
                "access_log",
                "error_log",
                "error_log_level",
                "chroot",
                "pid_file",
                "control_port",
                "default_host",
                "name",
                "bind_addr",
                "port",
                "use_ssl",
            ],
        )? {
            servers.insert(row.id, config.servers.len());
            config.servers.push(self.server(&row));
        }
        self.host_ids = vec![Vec::new(); config.servers.len()];
        let mut targets = self.targets()?;
        let hosts = self.rows("host", &["server_id", "maintenance", "name", "matching"])?;
        let mut of_host = self.routes(&mut targets, &hosts)?;
        for row in &hosts {
            let host = self.host(row, of_host.remove(&row.id).unwrap_or_default());
            match row.id_in("server_id").and_then(|id| servers.get(&id)) {
                Some(&at) => {
                    config.servers[at].hosts.push(host);
                    self.host_ids[at].push(row.id);
                }
                None => self.flaw(row, "belongs to no server"),
            }
        }
        for (table, is_filter) in [("filter", true), ("xrequest", false)] {
            for row in self.rows(table, &["server_id", "name", "settings"])? {
                let module = self.module(&row);
                let Some(&at) = row.id_in("server_id").and_then(|id| servers.get(&id)) else {
                    self.flaw(&row, "belongs to no server");
                    continue;
                };
                let server = &mut config.servers[at];
                if is_filter { server.filters.push(module) } else { server.xrequests.push(module) }
            }
        }
        for row in self.rows("setting", &["key", "value"])? {
            config.settings.push((self.text(&row, "key", ""), self.text(&row, "value", "")));
        }
        for row in self.rows("mimetype", &["extension", "mimetype"])? {
            config.mimetypes.push((self.text(&row, "extension", ""), self.text(&row, "mimetype", "")));
        }
        Ok(config)
    }

    fn server(&mut self, row: &Row) -> Server {
        let level = row.cell("error_log_level").map(|_| self.number(row, "error_log_level", 0));
        Server {
            uuid: self.text(row, "uuid", ""),
            name: self.text(row, "name", ""),
            access_log: self.text(row, "access_log", ""),
            error_log: self.text(row, "error_log", ""),
            error_log_level: level,
            chroot: self.text(row, "chroot", ""),
            pid_file: self.text(row, "pid_file", ""),
            control_port: self.text(row, "control_port", ""),
            default_host: self.text(row, "default_host", ""),
            bind_addr: self.text(row, "bind_addr", "0.0.0.0"),
            port: self.number(row, "port", 0),
            use_ssl: self.flag(row, "use_ssl"),
            hosts: Vec::new(),
            filters: Vec::new(),
            xrequests: Vec::new(),
        }
    }

    fn host(&mut self, row: &Row, routes: Vec<Route>) -> Host {
        self.must_be_zero(row, "maintenance");
        let name = self.text(row, "name", "");
        let matching = self.text(row, "matching", &name);
        Host { name, matching, routes }
    }

    /// The routes of each host.
    fn routes(&mut self, targets: &mut Targets, hosts: &[Row]) -> rusqlite::Result<HashMap<i64, Vec<Route>>> {
        let mut of_host: HashMap<i64, Vec<Route>> = hosts.iter().map(|host| (host.id, Vec::new())).collect();
        let mut used = BTreeSet::new();
        for row in self.rows("route", &["path", "reversed", "host_id", "target_id", "target_type"])? {
            self.must_be_zero(&row, "reversed");
            let path = self.text(&row, "path", "");
            let kind = self.text(&row, "target_type", "");
            let Some(table) = Targets::table(&kind) else {
                self.flaw(&row, format!("leads to `{kind}`, which is neither `handler`, `dir` nor `proxy`"));
                continue;
            };
            let Some((id, target)) = row
                .id_in("target_id")
                .and_then(|id| Some((id, targets.rows.get(&(table, id)).map(|(_, target)| target)?)))
            else {
                let id = row.id_in("target_id").map_or("NULL".to_owned(), |id| id.to_string());
                self.flaw(&row, format!("leads to row {id} of `{table}`, which is not there"));
                continue;
            };
            match row.id_in("host_id").and_then(|id| of_host.get_mut(&id)) {
                Some(routes) => routes.push(Route { path, target: Arc::clone(target) }),
                None => self.flaw(&row, "belongs to no host"),
            }
            used.insert((table, id));
        }
        for (table, id) in targets.order.iter().filter(|key| !used.contains(key)) {
            self.flaws.push(Flaw { table, row: *id, what: "is used by no route".to_owned() });
        }
        // A target that nothing leads to hurts nobody, so its flaws would only frighten.
        for (key, (flaws, _)) in targets.rows.drain() {
            if used.contains(&key) {
                self.flaws.extend(flaws);
            }
        }
        self.flaws.sort_by_key(|flaw| (rank(flaw.table), flaw.row));
        Ok(of_host)
    }

    fn targets(&mut self) -> rusqlite::Result<Targets> {
        let mut targets = Targets::default();
        let before = std::mem::take(&mut self.flaws);
        let columns = ["send_spec", "send_ident", "recv_spec", "recv_ident", "raw_payload", "protocol"];
        for row in self.rows("handler", &columns)? {
            let handler = Handler {
                send_spec: self.text(&row, "send_spec", ""),
                send_ident: self.text(&row, "send_ident", ""),
                recv_spec: self.text(&row, "recv_spec", ""),
                recv_ident: self.text(&row, "recv_ident", ""),
                raw_payload: self.flag(&row, "raw_payload"),
                protocol: self.protocol(&row),
            };
            targets.insert(&row, &mut self.flaws, Target::Handler(handler));
        }
        for row in self.rows("directory", &["base", "index_file", "default_ctype", "cache_ttl"])? {
            let dir = Dir {
                base: self.text(&row, "base", ""),
                index_file: self.text(&row, "index_file", ""),
                default_ctype: self.text(&row, "default_ctype", ""),
                cache_ttl: self.number(&row, "cache_ttl", 0),
            };
            targets.insert(&row, &mut self.flaws, Target::Dir(dir));
        }
        for row in self.rows("proxy", &["addr", "port"])? {
            let proxy = Proxy { addr: self.text(&row, "addr", ""), port: self.number(&row, "port", 0) };
            targets.insert(&row, &mut self.flaws, Target::Proxy(proxy));
        }
        self.flaws = before;
        Ok(targets)
    }

    fn module(&mut self, row: &Row) -> Module {
        let name = self.text(row, "name", "");
        let text = self.text(row, "settings", "");
        let settings = module_settings::decode(text.as_bytes()).unwrap_or_else(|problem| {
            // NULL was told already.
            if row.cell("settings") != Some(&Cell::Null) {
                self.flaw(row, format!("has settings that cannot be read: the text {problem}"));
            }
            Vec::new()
        });
        Module { name, settings }
    }

    /// All rows of a table in the order of their ids; none where there is no such table.
    fn rows(&self, table: &'static str, columns: &[&'static str]) -> rusqlite::Result<Vec<Row>> {
        let Existing { db, shape } = self.existing;
        if !shape.has_table(table) {
            return Ok(Vec::new());
        }
        let there: Vec<_> = columns.iter().map(|column| shape.has_column(table, column)).collect();
        let names: Vec<_> = columns
            .iter()
            .zip(&there)
            .map(|(column, is_there)| if *is_there { format!("\"{column}\"") } else { "NULL".into() })
            .collect();
        // `id` is the row's number even where somebody made the table without it.
        let sql = format!("SELECT rowid, {} FROM {table} ORDER BY rowid", names.join(", "));
        let mut query = db.prepare(&sql)?;
        let rows = query.query_map([], |row| {
            let cells = columns.iter().zip(&there).enumerate().map(|(at, (column, is_there))| {
                let cell = is_there.then(|| row.get_ref(at + 1).map(lossy)).transpose()?;
                Ok((*column, cell))
            });
            Ok(Row { table, id: row.get(0)?, cells: cells.collect::<rusqlite::Result<_>>()? })
        })?;
        rows.collect()
    }

    /// Text, or a number as text. What is not there is `default`.
    fn text(&mut self, row: &Row, column: &'static str, default: &str) -> String {
        match row.cell(column) {
            None => default.to_owned(),
            Some(Cell::Text(text)) => {
                if text.contains(char::REPLACEMENT_CHARACTER) {
                    self.flaw(row, format!("has `{column}` that is not UTF-8"));
                }
                text.clone()
            }
            Some(Cell::Integer(number)) => number.to_string(),
            Some(Cell::Real(number)) => number.to_string(),
            Some(Cell::Blob(bytes)) => {
                self.flaw(row, format!("has bytes instead of text as `{column}`"));
                String::from_utf8_lossy(bytes).into_owned()
            }
            Some(Cell::Null) => {
                self.null(row, column);
                String::new()
            }
        }
    }

    /// A number that fits, or text that reads as one. What is not there is `default`.
    fn number<T: TryFrom<i64> + Copy>(&mut self, row: &Row, column: &'static str, default: T) -> T {
        let found = match row.cell(column) {
            None => return default,
            Some(Cell::Null) => {
                self.null(row, column);
                return default;
            }
            Some(Cell::Integer(number)) => Some(*number),
            Some(Cell::Text(text)) => text.trim().parse().ok(),
            Some(Cell::Real(_) | Cell::Blob(_)) => None,
        };
        found.and_then(|number| T::try_from(number).ok()).unwrap_or_else(|| {
            let text = match row.cell(column) {
                Some(Cell::Integer(number)) => number.to_string(),
                Some(Cell::Text(text)) => format!("`{text}`"),
                Some(Cell::Real(number)) => number.to_string(),
                _ => "bytes".to_owned(),
            };
            self.flaw(row, format!("has {text} as `{column}`, which is no number that it may be"));
            default
        })
    }

    fn protocol(&mut self, row: &Row) -> Protocol {
        let word = self.text(row, "protocol", Protocol::Json.as_str());
        let protocol = Protocol::from_word(&word);
        if word != protocol.as_str() && row.cell("protocol") != Some(&Cell::Null) {
            self.flaw(row, format!("has `{word}` as `protocol`, which Mongrel2 takes for `json`"));
        }
        protocol
    }

    fn flag(&mut self, row: &Row, column: &'static str) -> bool {
        self.number::<i64>(row, column, 0) != 0
    }

    /// For columns that Mongrel2 never reads, and that a configuration has no word for.
    fn must_be_zero(&mut self, row: &Row, column: &'static str) {
        let is_zero = match row.cell(column) {
            None | Some(Cell::Null | Cell::Integer(0)) => true,
            Some(Cell::Text(text)) => matches!(text.as_str(), "" | "0"),
            _ => false,
        };
        if !is_zero {
            self.flaw(row, format!("has something as `{column}`, which Mongrel2 never looks at"));
        }
    }

    fn null(&mut self, row: &Row, column: &'static str) {
        let unread = matches!((row.table, column), ("server", "name" | "control_port" | "error_log_level"));
        let what = match unread {
            true => format!("has NULL as `{column}`"),
            false => format!("has NULL as `{column}`, and Mongrel2 does not start with that"),
        };
        self.flaw(row, what);
    }

    fn flaw(&mut self, row: &Row, what: impl Into<String>) {
        self.flaws.push(Flaw { table: row.table, row: row.id, what: what.into() });
    }
}

/// A table and the id of one of its rows.
type Key = (&'static str, i64);

/// Handlers, directories and proxies by their rows, each with what is wrong with it.
#[derive(Default)]
struct Targets {
    rows: HashMap<Key, (Vec<Flaw>, Arc<Target>)>,
    order: Vec<Key>,
}

impl Targets {
    fn insert(&mut self, row: &Row, flaws: &mut Vec<Flaw>, target: Target) {
        let key = (row.table, row.id);
        self.rows.insert(key, (std::mem::take(flaws), Arc::new(target)));
        self.order.push(key);
    }

    fn table(target_type: &str) -> Option<&'static str> {
        match target_type {
            "handler" => Some("handler"),
            "dir" => Some("directory"),
            "proxy" => Some("proxy"),
            _ => None,
        }
    }
}

/// Where a table stands among the others when flaws are told.
fn rank(table: &str) -> usize {
    let order = ["server", "host", "route", "handler", "directory", "proxy"];
    order.iter().position(|name| *name == table).unwrap_or(order.len())
}

/// A cell whose text is UTF-8, whatever it was.
fn lossy(cell: ValueRef<'_>) -> Cell {
    match cell {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(bytes) => Cell::Text(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
    }
}
