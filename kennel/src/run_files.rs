//! `.kennel/PID/`: what one running kennel keeps on disk.
//!
//! The file `lock` in it is locked as long as that kennel lives, whatever its end; so `kennel stop`
//! finds the living, and the next start clears away what the dead left.

use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
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
    pub(crate) fn create() -> io::Result<Self> {
        clear_dead()?;
        let folder = ours();
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { folder, _lock: lock })
    }

    /// Makes a folder in it that nobody else may enter, and gives its absolute path.
    pub(crate) fn make_folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = std::path::absolute(self.folder.join(name))?;
        DirBuilder::new().mode(0o700).create(&folder)?;
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
