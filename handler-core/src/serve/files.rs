//! Files of bodies: written, read and deleted. A disk may take longer than the loop may wait, so a thread of its own does
//! it, one thing after the other; so a file is not deleted before what was written to it.

use crate::hub::{ConnKey, RequestId};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{read, write};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tracing::warn;

/// What was done.
#[derive(Debug)]
pub(super) enum Done {
    /// Bytes were to be written: how many were, or why not.
    Written { key: ConnKey, path: PathBuf, result: Result<usize, String> },
    /// A file was to be measured: its size; none: it is not there.
    Measured { key: ConnKey, path: PathBuf, whole: bool, size: Option<u64> },
    /// A file was to be read: its bytes, or why there are none.
    Read { request: RequestId, path: PathBuf, result: Result<Vec<u8>, String> },
}

#[derive(Debug)]
enum Task {
    Write { key: ConnKey, path: PathBuf, bytes: Vec<u8>, last: bool },
    Read { request: RequestId, path: PathBuf, max: usize },
    Measure { key: ConnKey, path: PathBuf, whole: bool },
    Delete(PathBuf),
}

/// The way to the thread, which is started for the first file and ends when this is dropped.
#[derive(Debug)]
pub(super) struct Files {
    thread: Option<Thread>,
    /// Readable when something was done.
    wake: Arc<OwnedFd>,
}

#[derive(Debug)]
struct Thread {
    tasks: Sender<Task>,
    done: Receiver<Done>,
    handle: JoinHandle<()>,
}

impl Files {
    /// # Errors
    ///
    /// When there is no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { thread: None, wake: Arc::new(wake) })
    }

    /// Readable when [`take_done`](Self::take_done) has something.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Deletes a file, or a folder with all that is in it, soon.
    pub(super) fn delete(&mut self, path: PathBuf) {
        self.give(Task::Delete(path));
    }

    /// Appends to a file, soon; the first bytes make it.
    pub(super) fn write(&mut self, key: ConnKey, path: PathBuf, bytes: Vec<u8>, last: bool) {
        self.give(Task::Write { key, path, bytes, last });
    }

    /// Reads at most so many bytes of a file, soon.
    pub(super) fn read(&mut self, request: RequestId, path: PathBuf, max: usize) {
        self.give(Task::Read { request, path, max });
    }

    /// Looks how large a file is, soon. `whole`: nothing is added to it any more.
    pub(super) fn measure(&mut self, key: ConnKey, path: PathBuf, whole: bool) {
        self.give(Task::Measure { key, path, whole });
    }

    fn give(&mut self, task: Task) {
        let thread = self.thread.get_or_insert_with(|| {
            let (tasks, inbox) = channel();
            let (outbox, done) = channel();
            let wake = Arc::clone(&self.wake);
            let handle = std::thread::spawn(move || work(inbox, &outbox, &wake));
            Thread { tasks, done, handle }
        });
        // The thread ends before this end of the channel only by a panic.
        let _ = thread.tasks.send(task);
    }

    /// What was done since the last time.
    pub(super) fn take_done(&self) -> impl Iterator<Item = Done> {
        let _ = read(&*self.wake, &mut [0; 8]);
        self.thread.iter().flat_map(|thread| thread.done.try_iter())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(Thread { tasks, handle, .. }) = self.thread.take() {
            drop(tasks);
            let _ = handle.join();
        }
    }
}

/// Does what there is to do until nobody can ask for more.
fn work(tasks: Receiver<Task>, done: &Sender<Done>, wake: &OwnedFd) {
    let mut open_files: HashMap<PathBuf, File> = HashMap::new();
    for task in tasks {
        match task {
            Task::Delete(path) => {
                open_files.remove(&path);
                remove(&path);
            }
            Task::Write { key, path, bytes, last } => {
                let result = append(&mut open_files, &path, &bytes).map_err(|problem| problem.to_string());
                if last || result.is_err() {
                    open_files.remove(&path);
                }
                let _ = done.send(Done::Written { key, path, result });
                let _ = write(wake, &1_u64.to_ne_bytes());
            }
            Task::Measure { key, path, whole } => {
                let size = measured(&path);
                let _ = done.send(Done::Measured { key, path, whole, size });
                let _ = write(wake, &1_u64.to_ne_bytes());
            }
            Task::Read { request, path, max } => {
                let result = whole(&path, max).map_err(|problem| problem.to_string());
                let _ = done.send(Done::Read { request, path, result });
                let _ = write(wake, &1_u64.to_ne_bytes());
            }
        }
    }
}

fn append(files: &mut HashMap<PathBuf, File>, path: &PathBuf, bytes: &[u8]) -> io::Result<usize> {
    let file = match files.get_mut(path) {
        Some(file) => file,
        None => files.entry(path.clone()).or_insert(create(path)?),
    };
    file.write_all(bytes)?;
    Ok(bytes.len())
}

/// Makes a file that was not there, for nobody else to read.
fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

/// The beginning of a file that is one, without following links.
fn whole(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn remove(path: &Path) {
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

/// The size of an upload's file; none: it is not there.
pub(super) fn measured(path: &Path) -> Option<u64> {
    size(path).unwrap_or_else(|problem| {
        warn!("cannot see the upload {}: {problem}", path.display());
        Some(0)
    })
}

/// The size of a file that is one, without following links; none: it is not there.
///
/// # Errors
///
/// When that cannot be known.
fn size(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found.len()).filter(|_| found.is_file())),
        Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::LinkId;
    use mongrel2_wire::ConnId;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, Instant};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("kennel-files-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn key() -> ConnKey {
        ConnKey { link: LinkId(0), incarnation: 0, id: ConnId::try_from(1).unwrap() }
    }

    fn written(files: &Files, count: usize) -> Vec<Result<usize, String>> {
        let (mut all, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(10));
        while all.len() < count {
            assert!(Instant::now() < deadline, "only {all:?}");
            let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
            let _ = poll(&mut [PollFd::from_borrowed_fd(files.descriptor(), PollFlags::IN)], Some(&timeout));
            all.extend(files.take_done().filter_map(|done| match done {
                Done::Written { result, .. } => Some(result),
                Done::Read { .. } | Done::Measured { .. } => None,
            }));
        }
        all
    }

    #[test]
    fn what_is_thrown_away_is_gone_when_the_loop_has_ended() {
        let folder = Folder::new("deleted");
        let (file, scratch) = (folder.0.join("upload"), folder.0.join("scratch"));
        std::fs::write(&file, "body").unwrap();
        std::fs::create_dir(&scratch).unwrap();
        std::fs::write(scratch.join("1"), "part").unwrap();
        let mut files = Files::new().unwrap();
        files.delete(file.clone());
        files.delete(scratch.clone());
        files.delete(folder.0.join("never-there"));
        drop(files);
        assert!(!file.exists() && !scratch.exists());
    }

    #[test]
    fn a_body_is_written_piece_by_piece_to_a_file_that_nobody_else_may_read() {
        let folder = Folder::new("written");
        let file = folder.0.join("body");
        let mut files = Files::new().unwrap();
        for (bytes, last) in [("one ", false), ("", false), ("two", true)] {
            files.write(key(), file.clone(), bytes.into(), last);
        }
        assert_eq!(written(&files, 3), [Ok(4), Ok(0), Ok(3)]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one two");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(size(&file).unwrap(), Some(7));
        files.delete(file.clone());
        drop(files);
        assert_eq!(size(&file).unwrap(), None);
    }

    #[test]
    fn a_file_is_measured_behind_what_was_written_to_it() {
        let folder = Folder::new("measured");
        let file = folder.0.join("body");
        let mut files = Files::new().unwrap();
        files.write(key(), file.clone(), b"hello".to_vec(), false);
        files.measure(key(), file.clone(), false);
        files.delete(file.clone());
        files.measure(key(), file, true);
        let (mut sizes, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(10));
        while sizes.len() < 2 {
            assert!(Instant::now() < deadline, "only {sizes:?}");
            let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
            let _ = poll(&mut [PollFd::from_borrowed_fd(files.descriptor(), PollFlags::IN)], Some(&timeout));
            sizes.extend(files.take_done().filter_map(|done| match done {
                Done::Measured { whole, size, .. } => Some((whole, size)),
                _ => None,
            }));
        }
        assert_eq!(sizes, [(false, Some(5)), (true, None)]);
    }

    #[test]
    fn a_body_is_read_behind_what_was_written_to_it_and_only_from_a_file() {
        let folder = Folder::new("read");
        let (file, link) = (folder.0.join("body"), folder.0.join("link"));
        symlink(&file, &link).unwrap();
        let mut files = Files::new().unwrap();
        files.write(key(), file.clone(), b"hello".to_vec(), true);
        for (path, max) in [(&file, 5), (&file, 4), (&link, 5), (&folder.0, 5)] {
            files.read(RequestId::default(), path.clone(), max);
        }
        let (mut all, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(10));
        while all.len() < 4 {
            assert!(Instant::now() < deadline, "only {all:?}");
            let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
            let _ = poll(&mut [PollFd::from_borrowed_fd(files.descriptor(), PollFlags::IN)], Some(&timeout));
            all.extend(files.take_done().filter_map(|done| match done {
                Done::Read { result, .. } => Some(result),
                _ => None,
            }));
        }
        assert_eq!(all[0], Ok(b"hello".to_vec()));
        assert_eq!(all[1], Ok(b"hell".to_vec()));
        assert!(all[2..].iter().all(Result::is_err), "{all:?}");
    }

    #[test]
    fn a_file_or_a_link_that_was_there_is_neither_written_nor_followed() {
        let folder = Folder::new("taken");
        let (file, link) = (folder.0.join("file"), folder.0.join("link"));
        std::fs::write(&file, "mine").unwrap();
        symlink(&file, &link).unwrap();
        let mut files = Files::new().unwrap();
        files.write(key(), file.clone(), b"x".to_vec(), false);
        files.write(key(), link.clone(), b"x".to_vec(), false);
        files.write(key(), folder.0.join("none/file"), b"x".to_vec(), false);
        assert!(written(&files, 3).iter().all(Result::is_err));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
        assert_eq!(size(&link).unwrap(), None, "a link is no upload");
    }
}
