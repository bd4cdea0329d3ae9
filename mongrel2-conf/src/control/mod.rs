//! A client of Mongrel2's control port: what runs, who is connected, and commands to the server.
//!
//! The port is a ZeroMQ REP socket. A request is a tnetstring list of a name and a dict of arguments; the
//! answer is a [`Table`], or a word of refusal. `request` says what can be asked, `connect` and `wire`
//! carry bytes there and back before a deadline, `answer` reads what came, `rows` gives it types.
//!
//! Each request has a connection of its own: a port that died, or was stopped by `control_stop`, cannot
//! hold up the next one.
//!
//! ```no_run
//! use mongrel2_conf::control::Control;
//!
//! let control = Control::new("ipc:///srv/site/run/control".parse()?);
//! for row in control.status_net()? {
//!     println!("{:?} has written {} bytes", row.id, row.bytes_read);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod connect;
mod error;
mod request;
mod rows;
mod wire;

#[cfg(test)]
mod fake_port;

use std::time::Duration;

use mongrel2_wire::address::Address;

pub use answer::{Cell, Table};
pub use error::{ControlError, Refusal};
pub use request::{Request, What};
pub use rows::{ConnectionKind, Info, NetRow, TaskRow};

/// The largest answer that is read, bytes: some 100,000 connections have room in it.
const MAX_ANSWER: usize = 8 << 20;

/// A control port, to be asked. Nothing is connected between two requests.
#[derive(Debug, Clone)]
pub struct Control {
    address: Address,
    patience: Duration,
}

impl Control {
    /// How long one request may take in all, unless told otherwise. A live port answers within
    /// milliseconds.
    pub const PATIENCE: Duration = Duration::from_secs(1);

    /// The port at this address, as seen from here; nothing is connected yet.
    pub fn new(address: Address) -> Self {
        Self { address, patience: Self::PATIENCE }
    }

    /// With another bound for each request, from the first byte to the last.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Asks, and returns the answer as it came, with columns that this version does not know.
    /// [`Request::Terminate`] is answered by the connection's end, which gives an empty table.
    ///
    /// # Errors
    ///
    /// [`ControlError`], before the patience is at its end.
    pub fn ask(&self, request: &Request) -> Result<Table, ControlError> {
        let answer = wire::exchange(&self.address, &request.encode(), self.patience);
        match answer {
            Err(ControlError::Closed { asked: true, .. }) if *request == Request::Terminate => {
                Ok(Table::default())
            }
            Err(problem) => Err(problem),
            Ok(bytes) => Table::parse(&bytes, &self.address),
        }
    }

    /// The live connections.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn status_net(&self) -> Result<Vec<NetRow>, ControlError> {
        NetRow::all(&self.ask(&Request::Status(What::Net))?, &self.address)
    }

    /// The server's tasks.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn status_tasks(&self) -> Result<Vec<TaskRow>, ControlError> {
        TaskRow::all(&self.ask(&Request::Status(What::Tasks))?, &self.address)
    }

    /// Which server this is, as its configuration says.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn info(&self) -> Result<Info, ControlError> {
        Info::read(&self.ask(&Request::Info)?, &self.address)
    }

    /// The server's clock, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn time(&self) -> Result<i64, ControlError> {
        rows::time(&self.ask(&Request::Time)?, &self.address)
    }

    /// The server's uuid.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn uuid(&self) -> Result<String, ControlError> {
        rows::only_text(&self.ask(&Request::Uuid)?, "uuid", &self.address)
    }

    /// Ends a connection, of which its handler hears nothing. Mongrel2 does it for ids below 65,536 only.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask); [`ControlError::Refused`] when there is no such connection.
    pub fn kill(&self, id: u32) -> Result<(), ControlError> {
        let status = rows::only_text(&self.ask(&Request::Kill(id))?, "status", &self.address)?;
        match status.as_str() {
            "OK" => Ok(()),
            _ => Err(ControlError::refused(&self.address, None, status)),
        }
    }

    /// Tells the server to end when its connections have; as SIGINT does.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn stop(&self) -> Result<(), ControlError> {
        self.ask(&Request::Stop).map(drop)
    }

    /// Tells the server to open its logs anew and to forget its certificates; as SIGHUP does. It does not
    /// read its configuration again.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn reload(&self) -> Result<(), ControlError> {
        self.ask(&Request::Reload).map(drop)
    }

    /// Tells the server to end at once; as SIGTERM does.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn terminate(&self) -> Result<(), ControlError> {
        self.ask(&Request::Terminate).map(drop)
    }

    /// Closes the control port for as long as the server runs.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn control_stop(&self) -> Result<(), ControlError> {
        self.ask(&Request::ControlStop).map(drop)
    }

    /// What the server can be asked, as `(name, what it does)`.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn help(&self) -> Result<Vec<(String, String)>, ControlError> {
        let table = self.ask(&Request::Help)?;
        rows::pairs(&table, "name", "help", &self.address)
    }
}

#[cfg(test)]
mod mutations;
#[cfg(test)]
mod tests;
