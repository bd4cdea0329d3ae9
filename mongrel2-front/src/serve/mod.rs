//! The loop that drives the server: sockets, time and signals.
//!
//! From the ground up:
//!
//! * `bounds`: every bound of the loop.
//! * `choice`: the configuration, and which of its servers to be.
//! * `listener`, `descriptors`: sockets that listen, and what happens when no descriptor is left for a client.
//! * `temp_store`, `uploads`: files of bodies.
//! * `passage`, `secure`, `transport`, `clients`: what reads and writes come to, sockets with TLS, sockets of both kinds, and all
//!   of them by key.
//! * `signals`, `supervisor`: SIGHUP, SIGTERM and SIGINT, and what systemd is told.
//! * `server`: the loop; `start` is how it comes to run, `traffic` what it does with clients' sockets, `orders` what it
//!   does for operators.

mod bounds;
mod choice;
mod clients;
mod descriptors;
mod listener;
mod orders;
mod passage;
mod secure;
mod server;
mod signals;
mod start;
mod supervisor;
mod temp_store;
#[cfg(test)]
mod tests;
mod traffic;
mod transport;
mod uploads;

pub use crate::process::error_log::ErrorLog;
pub use choice::ChoiceError;
pub use listener::ListenError;

use server::Server;
use signals::Signals;
use std::path::PathBuf;
use thiserror::Error;

/// Which server to be, of which configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// Mongrel2's configuration database.
    pub config: PathBuf,
    /// The server's uuid; `None`: the only one in the database.
    pub server: Option<String>,
    /// A certificate with its chain and its key, two PEM files, for TLS whatever the database says.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Why the server cannot start, or ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The configuration has no such server, or cannot be read.
    #[error("{0}")]
    Choice(#[from] ChoiceError),
    /// The server's configuration asks for something that this program does not have, or is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The server cannot listen.
    #[error("{0}")]
    Listen(#[from] ListenError),
    /// A ZeroMQ address of the configuration cannot be bound.
    #[error("{0}")]
    Bind(String),
    /// The pid file, a log file, the chroot or its owner.
    #[error("{0}")]
    Process(String),
    /// The system refused something.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Errors of private modules, in their words.
macro_rules! in_words {
    ($($error:ty => $variant:ident),* $(,)?) => {$(
        impl From<$error> for ServeError {
            fn from(problem: $error) -> Self {
                Self::$variant(problem.to_string())
            }
        }
    )*};
}

in_words! {
    crate::site::SiteError => Configuration,
    crate::tls::TlsError => Configuration,
    crate::sockets::BindError => Bind,
    crate::process::pid_file::PidFileError => Process,
    crate::process::log_file::LogFileError => Process,
    crate::process::privileges::PrivilegeError => Process,
}

/// A server that listens and does not serve yet.
#[derive(Debug)]
pub struct Started(Server);

/// Listens, enters the chroot and becomes its owner. The process must have one thread: threads that are started
/// afterwards have the owner's rights.
///
/// # Errors
///
/// [`ServeError`] when the configuration or the system do not allow it.
pub fn start(options: &Options) -> Result<Started, ServeError> {
    Ok(Started(Server::start(options, Signals::register()?)?))
}

impl Started {
    /// The file for warnings and errors that the configuration names; none: it names none.
    pub fn error_log(&self) -> Option<ErrorLog> {
        self.0.error_log.clone()
    }

    /// Serves until SIGTERM or SIGINT ends it. SIGHUP reads the configuration again.
    ///
    /// # Errors
    ///
    /// [`ServeError::System`] when the system refuses to wait for events.
    pub fn run(self) -> Result<(), ServeError> {
        self.0.run()
    }
}
