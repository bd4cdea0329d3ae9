//! `.kennel/PID/`: what one running kennel keeps on disk.
//!
//! Only this user may enter `.kennel`, whatever the umask: who can write there could take requests or stop the server.
//!
//! The file `lock` in it is locked as long as that kennel lives, whatever its end; so `kennel stop`
//! finds the living, and the next start clears away what the dead left.

use crate::exit::{plain, unreachable, wrong_input};
use anyhow::{Context, anyhow};
use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The folder, beside the working directory's other files.
pub(crate) const FOLDER: &str = ".kennel";

/// The console's socket in the folder of a process.
pub(crate) const CONSOLE: &str = "console.sock";

/// The files of this process; removed when dropped.
#[derive(Debug)]
pub(crate) struct RunFiles {
    folder: PathBuf,
    _lock: File,
}

impl RunFiles {
    /// Makes the folder of this process, after clearing away those of dead ones.
    ///
    /// # Errors
    ///
    /// When `.kennel` is not this user's own, or the system refuses.
    pub(crate) fn create() -> anyhow::Result<Self> {
        own_folder(Path::new(FOLDER))?;
        Self::make().context("cannot write to `.kennel` in this directory")
    }

    fn make() -> io::Result<Self> {
        clear_dead()?;
        let folder = ours();
        private_folder(&folder)?;
        let lock = private_file(&folder.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { folder, _lock: lock })
    }

    /// Makes a folder in it that only this user may enter, and gives its absolute path.
    pub(crate) fn make_folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = std::path::absolute(self.folder.join(name))?;
        private_folder(&folder)?;
        Ok(folder)
    }

    /// The folder, relative to the working directory: short enough for the addresses of sockets.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for RunFiles {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
        // Only when nobody else runs here, and no secret is kept.
        let _ = fs::remove_dir(FOLDER);
    }
}

/// Makes `.kennel`, or sees to it that only this user may enter the one that exists.
fn own_folder(folder: &Path) -> anyhow::Result<()> {
    let cannot = |problem: io::Error| {
        anyhow!("cannot write to `{}` in this directory: {}", folder.display(), plain(&problem))
    };
    match private_folder(folder) {
        Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map_err(cannot),
    }
    let us = geteuid().as_raw();
    // A link of somebody else's could lead elsewhere tomorrow.
    let owners = [folder.symlink_metadata().map_err(cannot)?, folder.metadata().map_err(cannot)?];
    if let Some(other) = owners.iter().map(MetadataExt::uid).find(|owner| *owner != us) {
        let shown = folder.display();
        return Err(wrong_input(format!(
            "`{shown}` in this directory belongs to another user (uid {other}), who could take this site's requests; \
             remove it, or run kennel as that user"
        )));
    }
    if !owners[1].is_dir() {
        let shown = folder.display();
        return Err(wrong_input(format!("`{shown}` in this directory is not a folder; remove it")));
    }
    if owners[1].permissions().mode() & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(cannot)?;
    }
    Ok(())
}

/// Makes a folder that only this user may enter, whatever the umask.
fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)?;
    // A umask may also take rights from this user.
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Makes a file that only this user may read, or empties one of its own.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// The folder of this process, whether it is there yet or not.
pub(crate) fn ours() -> PathBuf {
    Path::new(FOLDER).join(std::process::id().to_string())
}

/// Where the kennel of this process id has its console, unless it was told another place.
pub(crate) fn console(pid: i32) -> PathBuf {
    Path::new(FOLDER).join(pid.to_string()).join(CONSOLE)
}

/// The process ids of the kennels that run in this working directory.
pub(crate) fn running() -> io::Result<Vec<i32>> {
    Ok(folders()?.into_iter().filter(|(_, folder)| is_locked(folder)).map(|(pid, _)| pid).collect())
}

/// The kennel of this directory that is meant.
pub(crate) fn chosen(pid: Option<i32>) -> anyhow::Result<i32> {
    let running = running()?;
    match (pid, &running[..]) {
        (Some(pid), _) if running.contains(&pid) => Ok(pid),
        (Some(pid), _) => Err(unreachable(format!("no kennel with process id {pid} runs in this directory"))),
        (None, []) => Err(unreachable(
            "no kennel runs in this directory; start this command where `kennel run` was started",
        )),
        (None, [pid]) => Ok(*pid),
        (None, many) => {
            let list: Vec<_> = many.iter().map(i32::to_string).collect();
            Err(wrong_input(format!(
                "several kennels run in this directory; say which with --pid: {}",
                list.join(", ")
            )))
        }
    }
}

fn clear_dead() -> io::Result<()> {
    for (_, folder) in folders()? {
        if !is_locked(&folder) {
            fs::remove_dir_all(&folder)?;
        }
    }
    Ok(())
}

fn folders() -> io::Result<Vec<(i32, PathBuf)>> {
    let entries = match fs::read_dir(FOLDER) {
        Ok(entries) => entries,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(problem) => return Err(problem),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((pid, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn is_locked(folder: &Path) -> bool {
    let Ok(lock) = File::open(folder.join("lock")) else { return false };
    flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_may_enter_is_repaired_and_what_is_not_a_folder_is_refused() {
        let place = std::env::temp_dir().join(format!("kennel-run-files-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let folder = place.join(FOLDER);
        let mode = || folder.metadata().unwrap().permissions().mode() & 0o777;
        own_folder(&folder).unwrap();
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        own_folder(&folder).unwrap();
        assert_eq!(mode(), 0o700);
        fs::remove_dir(&folder).unwrap();
        fs::write(&folder, "").unwrap();
        let problem = own_folder(&folder).unwrap_err().to_string();
        assert!(problem.contains("is not a folder; remove it"), "{problem}");
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn a_file_is_for_this_user_alone_even_if_it_was_not() {
        let file = std::env::temp_dir().join(format!("kennel-private-{}", std::process::id()));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        private_file(&file).unwrap();
        let found = file.metadata().unwrap();
        assert_eq!((found.permissions().mode() & 0o777, found.len()), (0o600, 0));
        fs::remove_file(&file).unwrap();
    }
}
