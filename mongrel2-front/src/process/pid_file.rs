//! The pid file: at most one server of a name runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fchown, flock};
use rustix::process::{Pid, test_kill_process};
use thiserror::Error;

use super::privileges::Owner;

/// Why a pid file cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum PidFileError {
    /// The server runs already.
    #[error("the server runs already: process {pid}, says `{}`; stop it first with `kill {pid}`", path.display())]
    Running {
        /// The file.
        path: PathBuf,
        /// The process that it names.
        pid: i32,
    },
    /// Another server with this pid file starts at this moment.
    #[error("another server that uses `{}` is being started; try again", path.display())]
    Starting {
        /// The file.
        path: PathBuf,
    },
    /// Its folder does not exist.
    #[error("cannot write pid file `{}`: its folder does not exist; create it with `mkdir -p {}`",
            path.display(), folder.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// The folder that is missing.
        folder: PathBuf,
    },
    /// The system refuses.
    #[error("cannot write pid file `{}`: {source}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// A pid file that names this process.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
    pid: u32,
}

impl PidFile {
    /// Writes the file in one step. One of a server that has ended is replaced.
    ///
    /// To be called before a chroot, where `/proc` can be seen.
    pub(crate) fn create(path: impl Into<PathBuf>) -> Result<Self, PidFileError> {
        let path = path.into();
        let refused = |source| PidFileError::System { path: path.clone(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let guard = match File::open(folder) {
            Ok(guard) => guard,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => {
                return Err(PidFileError::NoFolder { folder: folder.to_owned(), path });
            }
            Err(problem) => return Err(refused(problem)),
        };
        // Two servers that start at once must not both find the same stale file.
        // Some network file systems know no locks, hence only this error counts.
        if flock(&guard, FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK) {
            return Err(PidFileError::Starting { path });
        }
        if let Some(pid) = running(&path).map_err(refused)? {
            return Err(PidFileError::Running { path, pid });
        }
        let pid = std::process::id();
        let beside = beside(&path, pid);
        let made = write_new(&beside, pid).and_then(|file| fs::rename(&beside, &path).map(|()| file));
        match made {
            Ok(file) => Ok(Self { path, file, pid }),
            Err(problem) => {
                let _ = fs::remove_file(&beside);
                Err(refused(problem))
            }
        }
    }

    /// Says what the file is called from now on: after a chroot.
    pub(crate) fn is_now_at(&mut self, path: impl Into<PathBuf>) {
        self.path = path.into();
    }

    /// Makes `owner` the owner of the file, so that it can be removed after the privileges are gone.
    pub(crate) fn give_to(&self, owner: &Owner) -> io::Result<()> {
        Ok(fchown(self.file.as_fd(), Some(owner.uid), Some(owner.gid))?)
    }

    /// Removes the file, unless it names another process by now. One whose folder this process may not write is
    /// emptied instead.
    pub(crate) fn remove(self) -> io::Result<()> {
        match fs::read_to_string(&self.path) {
            Ok(text) if text.trim().parse() == Ok(self.pid) => {}
            Ok(_) => return Ok(()),
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) => return self.file.set_len(0),
        }
        fs::remove_file(&self.path).or_else(|_| self.file.set_len(0))
    }
}

/// A hidden name in the same folder.
fn beside(path: &Path, pid: u32) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{pid}"))
}

/// As Mongrel2 writes it: the number alone, without a line end.
fn write_new(path: &Path, pid: u32) -> io::Result<File> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(pid.to_string().as_bytes())?;
    file.sync_all()?;
    Ok(file)
}

/// The process that a pid file names, if that is a server and lives.
fn running(path: &Path) -> io::Result<Option<i32>> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(problem) => return Err(problem),
    };
    let number = text.trim().parse().ok().filter(|pid: &i32| *pid > 0).and_then(Pid::from_raw);
    let Some(process) = number else { return Ok(None) };
    let pid = process.as_raw_nonzero().get();
    // In a container, a server gets the number again that it had before.
    let is_own = u32::try_from(pid) == Ok(std::process::id());
    let lives =
        !is_own && !matches!(test_kill_process(process), Err(rustix::io::Errno::SRCH)) && !is_zombie(pid);
    Ok((lives && is_server(pid)).then_some(pid))
}

/// Whether a process may be a Mongrel2 or a server of ours. Where its name cannot be read, the pid file is believed.
fn is_server(pid: i32) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return true };
    let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let program = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    [program, &name].iter().any(|text| text.starts_with(b"mongrel2") || text.starts_with(b"kennel"))
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before may hold anything, parentheses too.
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::test_folder::TestFolder;
    use std::process::{Child, Command, Stdio};

    /// A process of this name, which waits for its input.
    fn start(folder: &TestFolder, name: &str) -> Child {
        let program = folder.path(name);
        std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
        Command::new(program).stdin(Stdio::piped()).spawn().unwrap()
    }

    fn stop(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_file_names_this_process_until_it_is_removed() {
        let folder = TestFolder::new("pid-new");
        let path = folder.path("mongrel2.pid");
        let file = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
        file.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_server_that_lives_is_not_replaced() {
        let folder = TestFolder::new("pid-lives");
        let path = folder.path("mongrel2.pid");
        for name in ["mongrel2", "kennel"] {
            let server = start(&folder, name);
            fs::write(&path, server.id().to_string()).unwrap();
            let problem = PidFile::create(&path).unwrap_err();
            assert!(
                matches!(problem, PidFileError::Running { pid, .. } if pid == server.id() as i32),
                "{problem}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), server.id().to_string());
            stop(server);
            PidFile::create(&path).unwrap().remove().unwrap();
        }
    }

    #[test]
    fn a_stale_file_is_replaced() {
        let folder = TestFolder::new("pid-stale");
        let path = folder.path("mongrel2.pid");
        let other = start(&folder, "other");
        let own = std::process::id().to_string();
        for content in ["", "x", "-1", "0", "99999999999999", &own, &other.id().to_string()] {
            fs::write(&path, content).unwrap();
            PidFile::create(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), own, "{content}");
        }
        stop(other);
    }

    #[test]
    fn the_file_of_a_successor_is_not_removed() {
        let folder = TestFolder::new("pid-successor");
        let path = folder.path("mongrel2.pid");
        let file = PidFile::create(&path).unwrap();
        fs::write(&path, "1").unwrap();
        file.remove().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1");
    }

    #[test]
    fn of_two_that_start_at_once_one_is_refused() {
        let folder = TestFolder::new("pid-race");
        let path = folder.path("mongrel2.pid");
        let other = File::open(&folder.0).unwrap();
        flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(matches!(PidFile::create(&path), Err(PidFileError::Starting { .. })));
        drop(other);
        PidFile::create(&path).unwrap();
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = TestFolder::new("pid-missing");
        let problem = PidFile::create(folder.path("run/mongrel2.pid")).unwrap_err().to_string();
        assert!(problem.contains("create it with `mkdir -p "), "{problem}");
    }
}
