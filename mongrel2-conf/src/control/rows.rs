//! The rows of answers, with types. Columns are found by name, so that others may come between.

use std::time::Duration;

use mongrel2_wire::address::Address;

use super::answer::{Cell, Table};
use super::error::{AnswerError, ControlError};

/// One live connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetRow {
    /// Its number; none before its first request.
    pub id: Option<u32>,
    /// Its descriptor in the server.
    pub fd: i64,
    /// What it speaks.
    pub kind: ConnectionKind,
    /// Since the last ping, in whole seconds.
    pub last_ping: Duration,
    /// Since it was last read from, in whole seconds.
    pub last_read: Duration,
    /// Since it was last written to, in whole seconds.
    pub last_write: Duration,
    /// Bytes that came from the client.
    pub bytes_read: u64,
    /// Bytes that went to the client.
    pub bytes_written: u64,
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionKind {
    /// It has said nothing yet.
    New,
    /// HTTP.
    Http,
    /// A JSON or XML socket.
    Message,
    /// A WebSocket.
    WebSocket,
    /// A number of a version to come.
    Other(i64),
}

impl ConnectionKind {
    /// Reads Mongrel2's number.
    pub fn from_number(number: i64) -> Self {
        match number {
            0 => Self::New,
            1 => Self::Http,
            2 => Self::Message,
            3 => Self::WebSocket,
            other => Self::Other(other),
        }
    }
}

/// One of Mongrel2's own tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// Its number.
    pub id: i64,
    /// Whether it belongs to the server rather than to a connection.
    pub system: bool,
    /// What it is.
    pub name: String,
    /// What it does.
    pub state: String,
    /// Whether it runs or waits.
    pub status: String,
}

/// Which server this is, as its configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its port.
    pub port: u16,
    /// The address on which it listens.
    pub bind_addr: String,
    /// Its uuid.
    pub uuid: String,
    /// Its chroot, perhaps empty.
    pub chroot: String,
    /// Its access log.
    pub access_log: String,
    /// Its error log.
    pub error_log: String,
    /// Its pid file, inside the chroot.
    pub pid_file: String,
    /// Its default host.
    pub default_hostname: String,
}

impl NetRow {
    pub(super) fn all(table: &Table, address: &Address) -> Result<Vec<Self>, ControlError> {
        each(table, address, |row| {
            let seconds =
                |name| Ok::<_, AnswerError>(Duration::from_secs(row.int(name)?.try_into().unwrap_or(0)));
            Ok(Self {
                id: row.int("id")?.try_into().ok(),
                fd: row.int("fd")?,
                kind: ConnectionKind::from_number(row.int("type")?),
                last_ping: seconds("last_ping")?,
                last_read: seconds("last_read")?,
                last_write: seconds("last_write")?,
                bytes_read: row.int("bytes_read")?.try_into().unwrap_or(0),
                bytes_written: row.int("bytes_written")?.try_into().unwrap_or(0),
            })
        })
    }
}

impl TaskRow {
    pub(super) fn all(table: &Table, address: &Address) -> Result<Vec<Self>, ControlError> {
        each(table, address, |row| {
            Ok(Self {
                id: row.int("id")?,
                system: row.yes("system")?,
                name: row.text("name")?,
                state: row.text("state")?,
                status: row.text("status")?,
            })
        })
    }
}

impl Info {
    pub(super) fn read(table: &Table, address: &Address) -> Result<Self, ControlError> {
        let mut all = each(table, address, |row| {
            let port = row.int("port")?.try_into().ok();
            Ok(Self {
                port: port.ok_or(row.wrong("port", "port"))?,
                bind_addr: row.text("bind_addr")?,
                uuid: row.text("uuid")?,
                chroot: row.text("chroot")?,
                access_log: row.text("access_log")?,
                error_log: row.text("error_log")?,
                pid_file: row.text("pid_file")?,
                default_hostname: row.text("default_hostname")?,
            })
        })?;
        all.pop().ok_or_else(|| no_row(address))
    }
}

/// The clock, which Mongrel2 writes as text.
pub(super) fn time(table: &Table, address: &Address) -> Result<i64, ControlError> {
    let mut all = each(table, address, |row| row.int("time"))?;
    all.pop().ok_or_else(|| no_row(address))
}

/// The one text of an answer.
pub(super) fn only_text(
    table: &Table,
    column: &'static str,
    address: &Address,
) -> Result<String, ControlError> {
    let mut all = each(table, address, |row| row.text(column))?;
    all.pop().ok_or_else(|| no_row(address))
}

/// Two columns of text.
pub(super) fn pairs(
    table: &Table,
    first: &'static str,
    second: &'static str,
    address: &Address,
) -> Result<Vec<(String, String)>, ControlError> {
    each(table, address, |row| Ok((row.text(first)?, row.text(second)?)))
}

fn no_row(address: &Address) -> ControlError {
    ControlError::Nonsense { address: address.clone(), cause: AnswerError::Shape { expected: "a row" } }
}

fn each<T>(
    table: &Table,
    address: &Address,
    read: impl Fn(Row<'_>) -> Result<T, AnswerError>,
) -> Result<Vec<T>, ControlError> {
    let rows = table.rows.iter().enumerate();
    rows.map(|(number, cells)| read(Row { table, cells, number: number + 1 }))
        .collect::<Result<_, _>>()
        .map_err(|cause| ControlError::Nonsense { address: address.clone(), cause })
}

/// A row whose cells are asked for by name.
#[derive(Clone, Copy)]
struct Row<'a> {
    table: &'a Table,
    cells: &'a [Cell],
    number: usize,
}

impl Row<'_> {
    fn cell(&self, column: &'static str) -> Result<&Cell, AnswerError> {
        let at = self.table.column(column).ok_or(AnswerError::NoColumn { column })?;
        self.cells.get(at).ok_or(AnswerError::NoColumn { column })
    }

    fn wrong(&self, column: &'static str, expected: &'static str) -> AnswerError {
        AnswerError::CellType { column, row: self.number, expected }
    }

    /// A number, also as text.
    fn int(&self, column: &'static str) -> Result<i64, AnswerError> {
        match self.cell(column)? {
            Cell::Int(number) => Some(*number),
            Cell::Text(text) => text.parse().ok(),
            _ => None,
        }
        .ok_or_else(|| self.wrong(column, "number"))
    }

    fn text(&self, column: &'static str) -> Result<String, AnswerError> {
        match self.cell(column)? {
            Cell::Text(text) => Ok(text.clone()),
            _ => Err(self.wrong(column, "text")),
        }
    }

    fn yes(&self, column: &'static str) -> Result<bool, AnswerError> {
        match self.cell(column)? {
            Cell::Bool(yes) => Ok(*yes),
            Cell::Int(number) => Ok(*number != 0),
            _ => Err(self.wrong(column, "yes or no")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        "ipc://run/control".parse().unwrap()
    }

    fn net(headers: &[&str], row: &[i64]) -> Result<Vec<NetRow>, ControlError> {
        let headers = headers.iter().map(|name| (*name).to_owned()).collect();
        let rows = vec![row.iter().map(|number| Cell::Int(*number)).collect()];
        NetRow::all(&Table { headers, rows }, &address())
    }

    const NET: [&str; 8] =
        ["id", "fd", "type", "last_ping", "last_read", "last_write", "bytes_read", "bytes_written"];

    #[test]
    fn a_connection_without_a_request_has_no_number_yet() {
        let rows = net(&NET, &[-1, 27, 1, 1, 0, 0, 36, 0]).unwrap();
        assert_eq!((rows[0].id, rows[0].fd, rows[0].kind), (None, 27, ConnectionKind::Http));
        assert_eq!((rows[0].last_ping, rows[0].bytes_read), (Duration::from_secs(1), 36));
    }

    #[test]
    fn unknown_columns_and_kinds_break_nothing() {
        let more: Vec<_> = ["colour"].into_iter().chain(NET).chain(["weight"]).collect();
        let rows = net(&more, &[5, 7, 27, 9, 1, 0, 0, 36, 12, 3]).unwrap();
        assert_eq!((rows[0].id, rows[0].kind), (Some(7), ConnectionKind::Other(9)));
        assert_eq!(rows[0].bytes_written, 12);
    }

    #[test]
    fn a_missing_column_and_a_cell_of_another_type_are_named() {
        let text = net(&NET[..7], &[1, 27, 1, 1, 0, 0, 36]).unwrap_err().to_string();
        assert!(text.ends_with("there is no column `bytes_written`"), "{text}");
        let table = Table { headers: vec!["time".into()], rows: vec![vec![Cell::Text("noon".into())]] };
        let text = time(&table, &address()).unwrap_err().to_string();
        assert!(text.ends_with("`time` of row 1 is no number"), "{text}");
        let empty = Table { headers: vec!["time".into()], rows: vec![] };
        assert!(time(&empty, &address()).is_err());
    }
}
