//! The addresses of a site's handlers: sockets in its folder `run`, one of each handler's name.
//!
//! They are there while a kennel serves the site, and the folder is locked as long, whatever that kennel's end: so the next start knows
//! that what it finds there is dead.

use super::SiteFolder;
use crate::exit::{plain, unreachable, wrong_input};
use crate::private_socket::{self, Found};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// What to do when one cannot be made.
const ADVICE: &str =
    "serve the site from its own folder (`kennel run .`), or give the handler a shorter name";

/// The sockets that were made; gone when dropped.
#[derive(Debug)]
pub(crate) struct Addresses {
    folder: PathBuf,
    made: Vec<PathBuf>,
    _lock: File,
}

impl Addresses {
    /// Makes one for each handler, in their order, after clearing away those of a dead kennel.
    ///
    /// # Errors
    ///
    /// Another kennel serves this site, or the system refuses.
    pub(crate) fn make(site: &SiteFolder) -> anyhow::Result<(Self, Vec<UnixListener>)> {
        let folder = site.run();
        let lock = open(&folder).map_err(|problem| {
            wrong_input(format!(
                "the folder of the handlers' addresses cannot be made at {}: {}",
                folder.display(),
                plain(&problem)
            ))
        })?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(unreachable(format!(
                "another kennel serves this site: the addresses in {} are its; stop that one first",
                folder.display()
            )));
        }
        let mut addresses = Self { folder, made: Vec::new(), _lock: lock };
        addresses.clear_dead();
        let mut listeners = Vec::new();
        for handler in &site.handlers {
            let path = site.address(&handler.name);
            listeners.push(private_socket::listen(&path, "the address of a handler", ADVICE)?);
            addresses.made.push(path);
        }
        Ok((addresses, listeners))
    }

    /// Removes what a killed kennel left, of handlers that are no more, too.
    fn clear_dead(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if private_socket::look(&path) == Found::Dead {
                // What cannot be removed cannot be made anew, which says why.
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Makes the folder for this user alone, if need be, and opens it.
fn open(folder: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => {
            if folder.metadata()?.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(folder, Permissions::from_mode(0o700))?;
            }
        }
        made => made?,
    }
    File::open(folder)
}

impl Drop for Addresses {
    fn drop(&mut self) {
        for path in &self.made {
            let _ = fs::remove_file(path);
        }
        // Unless somebody else keeps something there.
        let _ = fs::remove_dir(&self.folder);
    }
}
