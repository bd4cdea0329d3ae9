//! The answers of the control port: what runs, and what an operator may do to it.
//!
//! A request is a tnetstring list of a name and a dict of arguments. The answer is a dict of `headers` and `rows`, or
//! of `code` and `error`, byte for byte as Mongrel2 writes it. [`answer`] takes bytes and returns bytes; it knows no
//! socket. `request` reads what is asked, `table` writes what is answered.

mod answer;
mod request;
mod table;
#[cfg(test)]
mod tests;

use mongrel2_conf::model;

pub(crate) use answer::answer;

/// The server, as the control port sees it.
pub(crate) trait Running {
    /// Its configuration.
    fn server(&self) -> &model::Server;

    /// Its live connections.
    fn connections(&self) -> Vec<ConnectionRow>;

    /// Ends the connection of this id without a notice to its handler. `false`: there is none.
    fn kill(&mut self, id: u32) -> bool;
}

/// One live connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionRow {
    /// Its id; -1 before its first message to a handler.
    pub(crate) id: i64,
    /// Its socket's descriptor.
    pub(crate) fd: i64,
    /// What it speaks: 0 nothing yet, 1 HTTP, 2 a message socket, 3 WebSocket.
    pub(crate) kind: u8,
    /// Seconds since it last was known to be alive.
    pub(crate) last_ping: u64,
    /// Seconds since bytes last came from it.
    pub(crate) last_read: u64,
    /// Seconds since bytes last went to it.
    pub(crate) last_write: u64,
    /// Bytes that came from it.
    pub(crate) bytes_read: u64,
    /// Bytes that went to it.
    pub(crate) bytes_written: u64,
}

/// What the server is to do once the answer is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As SIGHUP.
    Reload,
    /// As SIGINT.
    Stop,
    /// As SIGTERM.
    Terminate,
    /// Close the control port for as long as the server runs.
    CloseControlPort,
}
