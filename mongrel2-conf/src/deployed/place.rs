//! From a server's names to ours: relative ones count from its working directory, absolute ones from its
//! chroot.

use std::fs;
use std::path::{Path, PathBuf};

use mongrel2_wire::address::{Address, AddressError};

use super::process::{Process, pid_files};
use super::tidy::tidy;
use crate::model::Server;

/// Where a server's names begin, as seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    root: PathBuf,
    working: PathBuf,
}

impl Place {
    /// The kernel knows it of a server that runs, and tells its user and root. Otherwise: Mongrel2 makes its
    /// chroot its working directory, and that it was allowed to is assumed, unless its pid file is where
    /// one writes it that was not.
    pub(super) fn of(server: &Server, folder: &Path, process: &Process) -> Self {
        let link = |pid, name| fs::read_link(format!("/proc/{pid}/{name}")).ok();
        if let Some((root, working)) =
            process.pid().and_then(|pid| Some((link(pid, "root")?, link(pid, "cwd")?)))
        {
            return Self { root, working };
        }
        let in_test = match process {
            Process::Running { pid_file, .. } => *pid_file != pid_files(server, folder).0,
            _ => false,
        };
        if server.chroot.is_empty() || in_test {
            return Self { root: "/".into(), working: folder.to_owned() };
        }
        let root = tidy(&folder.join(&server.chroot));
        Self { working: root.clone(), root }
    }

    /// A file or folder of the server's.
    pub fn path(&self, name: &str) -> PathBuf {
        match name.strip_prefix('/') {
            Some(inside) => tidy(&self.root.join(inside.trim_start_matches('/'))),
            None => tidy(&self.working.join(name)),
        }
    }

    /// An address of the server's. A path that is too long for a socket is tried from the working
    /// directory of this process.
    ///
    /// # Errors
    ///
    /// [`AddressError`].
    pub fn address(&self, spec: &str) -> Result<Address, AddressError> {
        let Some(name) = spec.strip_prefix("ipc://").filter(|name| !name.starts_with('@')) else {
            return spec.parse();
        };
        if name.is_empty() {
            return spec.parse();
        }
        let path = self.path(name);
        let absolute = format!("ipc://{}", path.display()).parse();
        let here = std::env::current_dir().ok();
        match (absolute, here.as_deref().and_then(|here| path.strip_prefix(here).ok())) {
            (Err(AddressError::PathTooLong { .. }), Some(below)) => {
                format!("ipc://{}", below.display()).parse()
            }
            (result, _) => result,
        }
    }

    /// Whether the server sees another root than this process.
    pub fn is_chrooted(&self) -> bool {
        self.root != Path::new("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(chroot: &str) -> Place {
        let server = Server { chroot: chroot.into(), ..Server::default() };
        Place::of(&server, Path::new("/etc/m2"), &Process::Absent { pid_file: "x".into() })
    }

    #[test]
    fn names_inside_a_chroot_are_below_it() {
        assert_eq!(place("/srv").path("run/a"), Path::new("/srv/run/a"));
        assert_eq!(place("/srv").path("/run/a"), Path::new("/srv/run/a"));
        assert_eq!(place("./").path("//run/./a"), Path::new("/etc/m2/run/a"));
        assert!(place("/srv").is_chrooted());
    }

    #[test]
    fn without_a_chroot_relative_names_count_from_the_working_directory() {
        assert_eq!(place("").path("run/a"), Path::new("/etc/m2/run/a"));
        assert_eq!(place("").path("/run/a"), Path::new("/run/a"));
        assert!(!place("").is_chrooted());
    }

    #[test]
    fn a_server_that_was_not_allowed_to_chroot_is_where_it_was_started() {
        let server = Server { chroot: "/srv".into(), pid_file: "/run/m2.pid".into(), ..Server::default() };
        // No process can have this number, so the kernel knows nothing of it.
        let running = |pid_file: &str| Process::Running { pid: i32::MAX, pid_file: pid_file.into() };
        let place = Place::of(&server, Path::new("/etc/m2"), &running("/etc/m2/run/m2.pid"));
        assert_eq!(place.path("run/a"), Path::new("/etc/m2/run/a"));
        let place = Place::of(&server, Path::new("/etc/m2"), &running("/srv/run/m2.pid"));
        assert_eq!(place.path("run/a"), Path::new("/srv/run/a"));
    }

    #[test]
    fn only_paths_depend_on_the_place() {
        let seen = |spec: &str| place("/srv").address(spec).map(|address| address.to_string());
        assert_eq!(seen("ipc://run/a").unwrap(), "ipc:///srv/run/a");
        assert_eq!(seen("tcp://127.0.0.1:9999").unwrap(), "tcp://127.0.0.1:9999");
        assert_eq!(seen("ipc://@name").unwrap(), "ipc://@name");
        assert!(matches!(seen("inproc://x"), Err(AddressError::BadForm { .. })));
        assert!(matches!(seen("ipc://"), Err(AddressError::BadForm { .. })));
        let long = format!("ipc://{}", "x".repeat(105));
        assert!(matches!(seen(&long), Err(AddressError::PathTooLong { .. })));
    }

    #[test]
    fn a_path_that_is_too_long_is_taken_from_here() {
        let here = std::env::current_dir().unwrap();
        let name = "x".repeat(100);
        let place = Place { root: "/".into(), working: here };
        let address = place.address(&format!("ipc://{name}")).unwrap();
        assert!(address.to_string().ends_with(&name));
    }
}
