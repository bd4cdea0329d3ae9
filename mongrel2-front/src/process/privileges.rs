//! Chroot, and dropping root's privileges to the owner of that folder.
//!
//! The kernel keeps user and groups per thread, and only libc carries a change to all threads of a process. So both
//! steps refuse to run once there is a second thread; threads that are started later inherit what is set here.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{chdir, chroot, getegid, geteuid, getgid, getgroups, getuid};
use rustix::thread::{
    Gid, Uid, set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use thiserror::Error;

/// Why the server cannot leave root's privileges behind. It must not run then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum PrivilegeError {
    /// The chroot is not a folder that can be looked at.
    #[error("cannot chroot to `{}`: {source}; set the server's `chroot` to a folder that exists", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system refuses the chroot: in a container without the capability, for example.
    #[error("cannot chroot to `{}`: {source}; start as root with CAP_SYS_CHROOT, or as another user", path.display())]
    Chroot {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system refuses another user or group.
    #[error("cannot become user {uid} and group {gid}, who own the chroot: {source}")]
    Drop {
        /// The owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// What the system says.
        source: io::Error,
    },
    /// Root's privileges are not gone.
    #[error("still has {what} after becoming user {uid} and group {gid}, who own the chroot")]
    NotGone {
        /// What is left.
        what: &'static str,
        /// The owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Threads exist already.
    #[error("privileges cannot be dropped while {count} threads run")]
    Threads {
        /// How many.
        count: usize,
    },
}

/// What the process stands on: where its configuration's paths lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// The server has no chroot.
    Plain,
    /// The process is inside the chroot, which belongs to this owner.
    Chrooted(Owner),
    /// The server has a chroot, but the process may not chroot. Mongrel2 takes that for a test, and puts a dot before
    /// paths that begin with `/`.
    Test,
}

impl Ground {
    /// A path of the configuration (log files, pid file, `ipc://` addresses) as this process has to open it.
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        match self {
            Self::Test if text.starts_with('/') => PathBuf::from(format!(".{text}")),
            _ => PathBuf::from(text),
        }
    }
}

/// Who owns the chroot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user.
    pub(crate) uid: Uid,
    /// The group.
    pub(crate) gid: Gid,
}

/// Enters the chroot as Mongrel2 does: as root only. The process still has root's privileges afterwards, so that it
/// can open log files; [`Owner::become_owner`] drops them.
///
/// `folder` is the server's chroot, seen from here; `None` or empty for none.
pub(crate) fn enter(folder: Option<&Path>) -> Result<Ground, PrivilegeError> {
    let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(Ground::Plain);
    };
    if !geteuid().is_root() {
        return Ok(Ground::Test);
    }
    must_be_alone()?;
    enter_as_root(folder)
}

fn enter_as_root(folder: &Path) -> Result<Ground, PrivilegeError> {
    let no_folder = |source| PrivilegeError::NoFolder { path: folder.to_owned(), source };
    let about = fs::metadata(folder).map_err(no_folder)?;
    if !about.is_dir() {
        return Err(no_folder(io::ErrorKind::NotADirectory.into()));
    }
    let refused =
        |source: rustix::io::Errno| PrivilegeError::Chroot { path: folder.to_owned(), source: source.into() };
    chroot(folder).map_err(refused)?;
    // A working directory outside would be a way out.
    chdir("/").map_err(refused)?;
    // Looked at again from inside: another folder may have taken the name since.
    let about = fs::metadata("/").map_err(no_folder)?;
    Ok(Ground::Chrooted(Owner::of(&about)))
}

impl Owner {
    fn of(about: &fs::Metadata) -> Self {
        Self { uid: Uid::from_raw(about.uid()), gid: Gid::from_raw(about.gid()) }
    }

    /// Becomes this user for good: group list, group, user, in this order, since only root may change the first two.
    /// Then tries to come back, which must fail.
    ///
    /// Returns whether the process is unprivileged now. It stays root if root owns the chroot, as in Mongrel2.
    pub(crate) fn become_owner(&self) -> Result<bool, PrivilegeError> {
        let (uid, gid) = (self.uid.as_raw(), self.gid.as_raw());
        let refused = |source: rustix::io::Errno| PrivilegeError::Drop { uid, gid, source: source.into() };
        // In a chroot without `/proc` only `enter` could tell that there are threads.
        must_be_alone()?;
        set_thread_groups(&[self.gid]).map_err(refused)?;
        set_thread_res_gid(self.gid, self.gid, self.gid).map_err(refused)?;
        set_thread_res_uid(self.uid, self.uid, self.uid).map_err(refused)?;
        // A set-uid program that a later fault could start must not be a way back either.
        set_no_new_privs(true).map_err(refused)?;
        self.verify()?;
        Ok(!self.uid.is_root())
    }

    fn verify(&self) -> Result<(), PrivilegeError> {
        let not_gone =
            |what| PrivilegeError::NotGone { what, uid: self.uid.as_raw(), gid: self.gid.as_raw() };
        let check = |gone: bool, what| if gone { Ok(()) } else { Err(not_gone(what)) };
        check(getuid() == self.uid && geteuid() == self.uid, "another user")?;
        check(getgid() == self.gid && getegid() == self.gid, "another group")?;
        check(getgroups().is_ok_and(|groups| groups == [self.gid]), "other groups")?;
        if self.uid.is_root() {
            return Ok(());
        }
        check(set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_err(), "a way back to root")?;
        check(set_thread_groups(&[]).is_err(), "the right to choose groups")?;
        check(self.gid.is_root() || set_thread_gid(Gid::ROOT).is_err(), "a way back to root's group")
    }
}

/// Where `/proc` is not there to be read, as inside a chroot, the caller's order has to do.
fn must_be_alone() -> Result<(), PrivilegeError> {
    let count = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if count > 1 { Err(PrivilegeError::Threads { count }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::log_file::LogFile;
    use crate::process::pid_file::PidFile;
    use crate::process::test_folder::TestFolder;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const FOLDER: &str = "KENNEL_TEST_CHROOT";

    #[test]
    fn without_a_chroot_nothing_changes() {
        assert_eq!(enter(None).unwrap(), Ground::Plain);
        assert_eq!(enter(Some(Path::new(""))).unwrap(), Ground::Plain);
        assert_eq!(Ground::Plain.path("/run/x.pid"), Path::new("/run/x.pid"));
    }

    #[test]
    fn in_a_test_without_the_right_to_chroot_paths_get_a_dot() {
        assert_eq!(Ground::Test.path("/run/x.pid"), Path::new("./run/x.pid"));
        assert_eq!(Ground::Test.path("run/x.pid"), Path::new("run/x.pid"));
    }

    #[test]
    fn threads_are_refused() {
        if !geteuid().is_root() {
            eprintln!("not run: only root may chroot");
            return;
        }
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv().is_ok());
        assert!(matches!(enter(Some(Path::new("/"))), Err(PrivilegeError::Threads { .. })));
        drop(done);
        other.join().unwrap();
    }

    /// Runs this test program again with one test, which may change the process. The test has a thread of its own
    /// there, hence `enter_as_root`.
    fn run_alone(test: &str, folder: &Path) {
        let program = std::env::current_exe().unwrap();
        run(Command::new(program), test, folder);
    }

    fn run(mut program: Command, test: &str, folder: &Path) {
        program.args([&format!("process::privileges::tests::{test}"), "--exact", "--ignored", "--nocapture"]);
        program.arg("--test-threads=1").env(FOLDER, folder).current_dir("/");
        let output = loop {
            match program.output() {
                // Another test's child may still hold a copied program open for writing, until it begins its own.
                Err(problem) if problem.kind() == io::ErrorKind::ExecutableFileBusy => {
                    std::thread::yield_now()
                }
                output => break output.unwrap(),
            }
        };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    fn jail(name: &str, uid: u32, gid: u32) -> TestFolder {
        let folder = TestFolder::new(name);
        for below in ["logs", "run"] {
            fs::create_dir(folder.path(below)).unwrap();
            chown(folder.path(below), Some(uid), Some(gid)).unwrap();
        }
        chown(&folder.0, Some(uid), Some(gid)).unwrap();
        folder
    }

    #[test]
    fn root_enters_the_chroot_and_becomes_its_owner() {
        if !geteuid().is_root() {
            eprintln!("not run: only root may chroot");
            return;
        }
        let folder = jail("jail", 4321, 8765);
        let secret = folder.path("run/secret");
        fs::write(&secret, "x").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        run_alone("alone_chroot_and_drop", &folder.0);
        let log = fs::metadata(folder.path("logs/error.log")).unwrap();
        assert_eq!((log.uid(), log.gid()), (4321, 8765));
        assert_eq!(fs::read_to_string(folder.path("logs/error.log")).unwrap(), "before\nafter\n");
        assert!(!folder.path("run/mongrel2.pid").exists(), "the pid file is removed at the end");
    }

    #[test]
    #[ignore = "run by root_enters_the_chroot_and_becomes_its_owner, in a process of its own"]
    fn alone_chroot_and_drop() {
        let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
        let mut pid_file = PidFile::create(folder.join("run/mongrel2.pid")).unwrap();
        let ground = enter_as_root(&folder).unwrap();
        let Ground::Chrooted(owner) = ground else { panic!("{ground:?}") };
        pid_file.is_now_at(ground.path("/run/mongrel2.pid"));
        pid_file.give_to(&owner).unwrap();
        assert_eq!(std::env::current_dir().unwrap(), Path::new("/"));
        assert!(!Path::new("/etc/passwd").exists() && !Path::new("../../../etc/passwd").exists());
        let mut log = LogFile::open(ground.path("/logs/error.log")).unwrap();
        log.give_to(&owner).unwrap();
        log.write_all(b"before\n").unwrap();
        assert!(owner.become_owner().unwrap());
        assert_eq!((getuid().as_raw(), geteuid().as_raw()), (4321, 4321));
        assert_eq!((getgid().as_raw(), getegid().as_raw()), (8765, 8765));
        assert_eq!(getgroups().unwrap(), [Gid::from_raw(8765)]);
        assert!(set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_err());
        assert!(chroot("/run").is_err());
        let secret = fs::read("/run/secret").unwrap_err();
        assert_eq!(secret.kind(), io::ErrorKind::PermissionDenied);
        log.reopen().unwrap();
        log.write_all(b"after\n").unwrap();
        // Threads that are started later are the owner, too.
        let later = std::thread::spawn(|| getuid().as_raw()).join().unwrap();
        assert_eq!(later, 4321);
        pid_file.remove().unwrap();
    }

    #[test]
    fn root_stays_root_when_it_owns_the_chroot() {
        if !geteuid().is_root() {
            eprintln!("not run: only root may chroot");
            return;
        }
        let folder = jail("jail-of-root", 0, 0);
        run_alone("alone_owned_by_root", &folder.0);
    }

    #[test]
    #[ignore = "run by root_stays_root_when_it_owns_the_chroot, in a process of its own"]
    fn alone_owned_by_root() {
        let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
        let Ground::Chrooted(owner) = enter_as_root(&folder).unwrap() else { panic!("not chrooted") };
        assert!(!owner.become_owner().unwrap());
        assert!(getuid().is_root());
    }

    #[test]
    fn a_chroot_that_does_not_exist_is_named() {
        if !geteuid().is_root() {
            eprintln!("not run: only root may chroot");
            return;
        }
        let folder = TestFolder::new("no-jail");
        run_alone("alone_missing_chroot", &folder.path("missing"));
    }

    #[test]
    #[ignore = "run by a_chroot_that_does_not_exist_is_named, in a process of its own"]
    fn alone_missing_chroot() {
        let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
        let problem = enter_as_root(&folder).unwrap_err();
        assert!(matches!(&problem, PrivilegeError::NoFolder { path, .. } if *path == folder), "{problem}");
    }

    #[test]
    fn another_user_does_not_chroot() {
        if !geteuid().is_root() {
            assert_eq!(enter(Some(Path::new("/"))).unwrap(), Ground::Test);
            return;
        }
        // Another user can run the test program only if it may read its folder.
        let folder = TestFolder::new("jail-of-other");
        let program = folder.path("program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let mut other = Command::new(&program);
        other.uid(4321);
        run(other, "alone_other_user", &folder.0);
    }

    #[test]
    #[ignore = "run by another_user_does_not_chroot, in a process of its own"]
    fn alone_other_user() {
        let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
        assert_eq!(enter(Some(&folder)).unwrap(), Ground::Test);
    }
}
