//! The tables of Mongrel2's database, in the two forms that there are.
//!
//! Mongrel2 1.13 has one column more than 1.12, `server.error_log_level`. Each reads the
//! database of the other: 1.12 asks for columns by name, and 1.13 takes level 2 where the column
//! is missing.

use std::collections::BTreeMap;

use rusqlite::Connection;

const TABLES_1_12: &str = include_str!("schema.sql");

/// What makes the tables of 1.12 those of 1.13.
const AFTER: &str = "    error_log TEXT,\n";
const COLUMN_OF_1_13: &str = "    error_log_level INTEGER DEFAULT 2,\n";

/// Every table with every column that some version of Mongrel2 knows.
const TABLES: [(&str, &[&str]); 12] = [
    (
        "server",
        &[
            "id",
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
    ),
    ("host", &["id", "server_id", "maintenance", "name", "matching"]),
    ("handler", &["id", "send_spec", "send_ident", "recv_spec", "recv_ident", "raw_payload", "protocol"]),
    ("proxy", &["id", "addr", "port"]),
    ("directory", &["id", "base", "index_file", "default_ctype", "cache_ttl"]),
    ("route", &["id", "path", "reversed", "host_id", "target_id", "target_type"]),
    ("setting", &["id", "key", "value"]),
    ("mimetype", &["id", "mimetype", "extension"]),
    ("filter", &["id", "server_id", "name", "settings"]),
    ("xrequest", &["id", "server_id", "name", "settings"]),
    ("statistic", &["id", "other_type", "other_id", "name", "sum", "sumsq", "n", "min", "max", "mean", "sd"]),
    ("log", &["id", "who", "what", "location", "happened_at", "how", "why"]),
];

/// Which Mongrel2 a database is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// Without `server.error_log_level`, as `m2sh` 1.12 makes it.
    V1_12,
    /// With it.
    V1_13,
}

impl Schema {
    /// The statements that make the tables.
    pub(super) fn sql(self) -> String {
        match self {
            Self::V1_12 => TABLES_1_12.to_owned(),
            Self::V1_13 => TABLES_1_12.replacen(AFTER, &[AFTER, COLUMN_OF_1_13].concat(), 1),
        }
    }
}

/// The tables that a database has, each with its columns.
#[derive(Debug)]
pub(super) struct Shape {
    tables: BTreeMap<String, Vec<String>>,
    /// The first thing in it that is not Mongrel2's.
    strange: Option<String>,
}

impl Shape {
    /// Looks at a database. Says by what it is another program's, if it is.
    pub(super) fn of(db: &Connection) -> rusqlite::Result<Result<Self, String>> {
        let mut query = db.prepare(
            "SELECT type, name FROM sqlite_master
            WHERE type <> 'index' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
        )?;
        let things = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (mut tables, mut strange) = (BTreeMap::new(), None);
        for thing in things {
            let (kind, name): (String, String) = thing?;
            let Some((_, known)) = TABLES.iter().find(|(table, _)| *table == name && kind == "table") else {
                strange.get_or_insert_with(|| format!("a {kind} `{name}`"));
                continue;
            };
            let mut query = db.prepare("SELECT name FROM pragma_table_info(?)")?;
            let columns =
                query.query_map([&name], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
            if let Some(column) = columns.iter().find(|column| !known.contains(&column.as_str())) {
                strange.get_or_insert_with(|| format!("a column `{column}` in the table `{name}`"));
            }
            tables.insert(name, columns);
        }
        // Names such as `setting` are anybody's, and `server` too.
        let has_servers =
            tables.get("server").is_some_and(|columns: &Vec<_>| columns.iter().any(|name| name == "uuid"));
        if !has_servers && (strange.is_some() || tables.keys().any(|table| table != "log")) {
            return Ok(Err(strange.unwrap_or_else(|| "tables, but no `server` among them".to_owned())));
        }
        Ok(Ok(Self { tables, strange }))
    }

    /// What somebody has put beside Mongrel2's tables, who may want to keep it: Mongrel2 and readers do not mind.
    pub(super) fn strange(&self) -> Option<&str> {
        self.strange.as_deref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    pub(super) fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    pub(super) fn has_column(&self, table: &str, column: &str) -> bool {
        self.tables.get(table).is_some_and(|columns| columns.iter().any(|name| name == column))
    }

    /// For which Mongrel2 it was made.
    pub(super) fn schema(&self) -> Schema {
        if self.has_column("server", "error_log_level") { Schema::V1_13 } else { Schema::V1_12 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(sql: &str) -> Result<Shape, String> {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(sql).unwrap();
        Shape::of(&db).unwrap()
    }

    #[test]
    fn what_is_made_is_recognised() {
        for schema in [Schema::V1_12, Schema::V1_13] {
            let shape = shape(&schema.sql()).unwrap();
            assert_eq!(shape.schema(), schema);
            assert!(TABLES.iter().all(|(table, _)| shape.has_table(table)));
        }
        assert!(shape("").unwrap().is_empty());
    }

    #[test]
    fn the_new_column_comes_after_error_log() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(&Schema::V1_13.sql()).unwrap();
        let mut query = db.prepare("SELECT name FROM pragma_table_info('server')").unwrap();
        let names: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(names[3..6], ["error_log", "error_log_level", "chroot"]);
    }

    #[test]
    fn an_older_database_with_less_is_recognised_too() {
        let shape = shape("CREATE TABLE server (id INTEGER PRIMARY KEY, uuid TEXT)").unwrap();
        assert!(shape.has_column("server", "uuid"));
        assert!(!shape.has_column("server", "use_ssl"));
        assert!(!shape.has_table("filter"));
    }

    #[test]
    fn what_is_not_mongrel2s_is_named() {
        assert_eq!(shape("CREATE TABLE users (id, name)").unwrap_err(), "a table `users`");
        assert_eq!(
            shape("CREATE TABLE server (id, host_address)").unwrap_err(),
            "a column `host_address` in the table `server`"
        );
        let view = "CREATE TABLE host (id); CREATE VIEW names AS SELECT id FROM host";
        assert_eq!(shape(view).unwrap_err(), "a view `names`");
        let beside = [Schema::V1_12.sql(), "CREATE TABLE users (id, name)".to_owned()].concat();
        assert_eq!(shape(&beside).unwrap().strange(), Some("a table `users`"));
        let settings = "CREATE TABLE setting (key, value)";
        assert_eq!(shape(settings).unwrap_err(), "tables, but no `server` among them");
    }
}
