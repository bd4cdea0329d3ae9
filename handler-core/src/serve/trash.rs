//! Files and folders to delete. A large one takes a file system longer than the loop may wait, so a thread of its own does it.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use tracing::warn;

/// The way to the thread, which is started for the first file and ends when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Trash(Option<(Sender<PathBuf>, JoinHandle<()>)>);

impl Trash {
    /// Deletes a file, or a folder with all that is in it, soon.
    pub(super) fn delete(&mut self, path: PathBuf) {
        let (files, _) = self.0.get_or_insert_with(|| {
            let (files, inbox) = channel();
            (files, std::thread::spawn(move || inbox.into_iter().for_each(|path| remove(&path))))
        });
        // The thread ends before this end of the channel only by a panic.
        let _ = files.send(path);
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        if let Some((files, thread)) = self.0.take() {
            drop(files);
            let _ = thread.join();
        }
    }
}

fn remove(path: &PathBuf) {
    let removed = match std::fs::remove_file(path) {
        Err(problem) if problem.kind() == ErrorKind::IsADirectory => std::fs::remove_dir_all(path),
        removed => removed,
    };
    match removed {
        Err(problem) if problem.kind() != ErrorKind::NotFound => {
            warn!("cannot delete {}: {problem}", path.display());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_thrown_away_is_gone_when_the_loop_has_ended() {
        let folder = std::env::temp_dir().join(format!("kennel-trash-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (file, scratch) = (folder.join("upload"), folder.join("scratch"));
        std::fs::write(&file, "body").unwrap();
        std::fs::create_dir(&scratch).unwrap();
        std::fs::write(scratch.join("1"), "part").unwrap();
        let mut trash = Trash::default();
        trash.delete(file.clone());
        trash.delete(scratch.clone());
        trash.delete(folder.join("never-there"));
        drop(trash);
        assert!(!file.exists() && !scratch.exists());
        std::fs::remove_dir(&folder).unwrap();
    }
}
