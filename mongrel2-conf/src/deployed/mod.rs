//! The servers of a database as they run on this machine: whether they do, and where their sockets and
//! files are, seen from here.
//!
//! A database says `ipc://run/requests` and `/run/mongrel2.pid`; what these mean depends on the working
//! directory of the process that reads it, on its chroot, and on whether it was allowed to chroot.
//! [`Deployment`] reads the database, `process` judges pid files, `place` turns the server's names into
//! ours, `choice` finds the server or handler that somebody named. Everything is read, nothing changed.

mod choice;
mod place;
mod process;
mod tidy;

use std::path::{Path, PathBuf};

use mongrel2_wire::address::{Address, AddressError};

pub use choice::{ChoiceError, Selection, Wanted};
pub use place::Place;
pub use process::{Process, Stale, is_front};

use crate::model::{Config, Server};
use crate::store::{self, Contents, StoreError};

/// The control port of a server whose database names none.
pub const DEFAULT_CONTROL_PORT: &str = "ipc://run/control";

/// A database, and the folder in which its servers are started.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The database, as it was named.
    pub database: PathBuf,
    /// The working directory of its servers, absolute.
    pub folder: PathBuf,
    /// What it says, and what is wrong in it: one that Mongrel2 refuses can still be asked why.
    pub contents: Contents,
}

impl Deployment {
    /// Reads a database. Its servers are started in `folder`; in the database's own unless told.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when there is none, or when it is not one of Mongrel2.
    pub fn open(database: &Path, folder: Option<&Path>) -> Result<Self, StoreError> {
        let contents = store::read(database)?;
        let own = database.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = std::path::absolute(folder.or(own).unwrap_or(Path::new(".")))
            .map_err(|source| StoreError::System { path: database.into(), source })?;
        Ok(Self { database: database.into(), folder: tidy::tidy(&folder), contents })
    }

    /// Its servers, settings and content types.
    pub fn config(&self) -> &Config {
        &self.contents.config
    }

    /// In the order of the database.
    pub fn servers(&self) -> &[Server] {
        &self.contents.config.servers
    }

    /// The value of a setting, if the database has one.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.contents.config.setting(key)
    }

    /// Whether a server runs, by its pid file.
    pub fn process(&self, server: &Server) -> Process {
        process::find(server, &self.folder)
    }

    /// Where a server's names lead, seen from here.
    pub fn place(&self, server: &Server) -> Place {
        Place::of(server, &self.folder, &self.process(server))
    }

    /// An address of a server's, seen from here.
    ///
    /// # Errors
    ///
    /// [`AddressError`]: it is none, or its path is too long from here.
    pub fn address(&self, server: &Server, spec: &str) -> Result<Address, AddressError> {
        self.place(server).address(spec)
    }

    /// A server's control port, seen from here: its own, or that of the settings, or Mongrel2's default.
    ///
    /// # Errors
    ///
    /// As [`address`](Self::address).
    pub fn control_port(&self, server: &Server) -> Result<Address, AddressError> {
        let named = Some(server.control_port.as_str()).filter(|spec| !spec.is_empty());
        let spec = named.or(self.setting("control_port")).unwrap_or(DEFAULT_CONTROL_PORT);
        self.address(server, spec)
    }

    /// The folder of `upload.temp_store`, if there is one, seen from here.
    pub fn upload_store(&self, server: &Server) -> Option<PathBuf> {
        let template = self.setting("upload.temp_store").filter(|template| !template.is_empty())?;
        let file = self.place(server).path(template);
        file.parent().map(Path::to_owned)
    }

    /// Whether servers leave the terminal at their start.
    pub fn daemonizes(&self) -> bool {
        self.setting("server.daemonize").is_none_or(|value| value.trim() != "0")
    }
}
