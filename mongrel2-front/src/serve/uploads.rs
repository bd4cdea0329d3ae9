//! Files of uploads. A disk may take longer than the loop may wait, so a thread writes them, one step after the other: a
//! file is not removed before what was to be written to it.

use super::bounds::UPLOAD_QUEUE;
use super::temp_store::TempStore;
use crate::ids::ClientKey;
use rustix::event::{EventfdFlags, eventfd};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tracing::warn;

/// What was done.
#[derive(Debug)]
pub(super) enum Done {
    /// The file is there, under this name.
    Created(io::Result<String>),
    /// This number of bytes was added to the file.
    Appended(usize),
    /// Bytes cannot be added.
    Failed(io::Error),
    Finished(io::Result<()>),
}

#[derive(Debug)]
enum Step {
    Create(Option<TempStore>),
    Append(Vec<u8>),
    Finish,
    Remove,
    /// The handler owns the file from here on.
    Release,
}

/// The way to the thread, which is started for the first upload and ends when this is dropped.
#[derive(Debug)]
pub(super) struct Uploads {
    store: Option<TempStore>,
    thread: Option<Thread>,
    /// Bytes that the disk has not taken yet, by client.
    waiting: HashMap<ClientKey, usize>,
    /// Readable when a step was done.
    wake: Arc<OwnedFd>,
}

#[derive(Debug)]
struct Thread {
    steps: Sender<(ClientKey, Step)>,
    done: Receiver<(ClientKey, Done)>,
    handle: JoinHandle<()>,
}

impl Uploads {
    pub(super) fn new(store: Option<TempStore>) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { store, thread: None, waiting: HashMap::new(), wake: Arc::new(wake) })
    }

    /// Where the next files are made.
    pub(super) fn set_store(&mut self, store: Option<TempStore>) {
        self.store = store;
    }

    /// Makes a file for the body that this client sends, soon.
    pub(super) fn create(&mut self, client: ClientKey) {
        let store = self.store.clone();
        self.give(client, Step::Create(store));
    }

    /// Appends to the client's file, soon.
    pub(super) fn append(&mut self, client: ClientKey, bytes: Vec<u8>) {
        *self.waiting.entry(client).or_default() += bytes.len();
        self.give(client, Step::Append(bytes));
    }

    /// Whether so much of the client's body waits for the disk that the client has to wait, too.
    pub(super) fn is_full(&self, client: ClientKey) -> bool {
        !self.waiting.is_empty() && self.waiting.get(&client).is_some_and(|bytes| *bytes >= UPLOAD_QUEUE)
    }

    /// The client's file is whole.
    pub(super) fn finish(&mut self, client: ClientKey) {
        self.give(client, Step::Finish);
    }

    /// Removes the client's file, soon.
    pub(super) fn remove(&mut self, client: ClientKey) {
        self.give(client, Step::Remove);
    }

    /// The client's file, which is whole, belongs to the handler, which removes it.
    pub(super) fn release(&mut self, client: ClientKey) {
        self.give(client, Step::Release);
    }

    fn give(&mut self, client: ClientKey, step: Step) {
        let thread = self.thread.get_or_insert_with(|| {
            let (steps, inbox) = channel();
            let (outbox, done) = channel();
            let wake = Arc::clone(&self.wake);
            let handle = std::thread::spawn(move || work(&inbox, &outbox, &wake));
            Thread { steps, done, handle }
        });
        // The thread ends before this end of the channel only by a panic.
        let _ = thread.steps.send((client, step));
    }

    /// What was done since the last time.
    pub(super) fn take_done(&mut self) -> Vec<(ClientKey, Done)> {
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        let all: Vec<_> = self.thread.iter().flat_map(|thread| thread.done.try_iter()).collect();
        for (client, done) in &all {
            let written = match done {
                Done::Appended(bytes) => *bytes,
                Done::Failed(_) => usize::MAX,
                Done::Created(_) | Done::Finished(_) => continue,
            };
            if let Some(waiting) = self.waiting.get_mut(client) {
                *waiting = waiting.saturating_sub(written);
                if *waiting == 0 {
                    self.waiting.remove(client);
                }
            }
        }
        all
    }
}

impl AsFd for Uploads {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        if let Some(Thread { steps, handle, .. }) = self.thread.take() {
            drop(steps);
            let _ = handle.join();
        }
    }
}

/// A file that belongs to this process; `None` once it is whole.
struct Upload {
    name: String,
    file: Option<File>,
    /// Not all could be written.
    has_failed: bool,
}

fn work(steps: &Receiver<(ClientKey, Step)>, done: &Sender<(ClientKey, Done)>, wake: &OwnedFd) {
    let mut uploads: HashMap<ClientKey, Upload> = HashMap::new();
    for (client, step) in steps {
        let result = match step {
            Step::Create(store) => Done::Created(create(&mut uploads, client, store.as_ref())),
            Step::Append(bytes) => match append(&mut uploads, client, &bytes) {
                Ok(()) => Done::Appended(bytes.len()),
                Err(problem) => Done::Failed(problem),
            },
            Step::Finish => Done::Finished(finish(&mut uploads, client)),
            Step::Remove => {
                uploads.remove(&client).iter().for_each(remove);
                continue;
            }
            Step::Release => {
                // The client's next upload may have begun before the loop came to this.
                if uploads.get(&client).is_some_and(|upload| upload.file.is_none()) {
                    uploads.remove(&client);
                }
                continue;
            }
        };
        let _ = done.send((client, result));
        let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
    }
    // The server ends: what is not whole is of no use to a handler.
    uploads.values().filter(|upload| upload.file.is_some()).for_each(remove);
}

fn create(
    uploads: &mut HashMap<ClientKey, Upload>,
    client: ClientKey,
    store: Option<&TempStore>,
) -> io::Result<String> {
    let store =
        store.ok_or_else(|| io::Error::new(ErrorKind::Unsupported, "`upload.temp_store` is not set"))?;
    let (name, file) = store.create()?;
    uploads.insert(client, Upload { name: name.clone(), file: Some(file), has_failed: false });
    Ok(name)
}

/// What comes behind a failure, or for a file that is removed, is of no use and counts as written.
fn append(uploads: &mut HashMap<ClientKey, Upload>, client: ClientKey, bytes: &[u8]) -> io::Result<()> {
    let Some(upload) = uploads.get_mut(&client) else { return Ok(()) };
    let Some(file) = upload.file.as_mut().filter(|_| !upload.has_failed) else { return Ok(()) };
    let written = file.write_all(bytes);
    upload.has_failed = written.is_err();
    written
}

/// Closing may tell of an error, too, but the file's length is known by now: nothing is synced, as Mongrel2 does it.
fn finish(uploads: &mut HashMap<ClientKey, Upload>, client: ClientKey) -> io::Result<()> {
    let upload = uploads.get_mut(&client).filter(|upload| !upload.has_failed).ok_or(ErrorKind::NotFound)?;
    upload.file.take().map(drop).ok_or_else(|| ErrorKind::NotFound.into())
}

fn remove(upload: &Upload) {
    match std::fs::remove_file(&upload.name) {
        // The handler may have moved it already.
        Err(problem) if problem.kind() != ErrorKind::NotFound => {
            warn!("cannot remove the upload `{}`: {problem}", upload.name);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use slotmap::SlotMap;
    use std::path::PathBuf;

    struct Bench {
        folder: PathBuf,
        uploads: Uploads,
        clients: SlotMap<ClientKey, ()>,
    }

    impl Bench {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("front-uploads-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let store = TempStore::new(&format!("{}/XXXXXX", folder.display()), None).unwrap();
            Self { folder, uploads: Uploads::new(Some(store)).unwrap(), clients: SlotMap::with_key() }
        }

        fn next(&mut self) -> Done {
            let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
            let ready = poll(&mut [PollFd::new(&self.uploads, PollFlags::IN)], Some(&patience)).unwrap();
            assert_eq!(ready, 1);
            let mut done = self.uploads.take_done();
            assert_eq!(done.len(), 1);
            done.remove(0).1
        }

        fn create(&mut self) -> (ClientKey, String) {
            let client = self.clients.insert(());
            self.uploads.create(client);
            match self.next() {
                Done::Created(Ok(name)) => (client, name),
                other => panic!("{other:?}"),
            }
        }

        fn append(&mut self, client: ClientKey, bytes: &[u8]) -> io::Result<()> {
            self.uploads.append(client, bytes.to_vec());
            match self.next() {
                Done::Appended(size) if size == bytes.len() => Ok(()),
                Done::Failed(problem) => Err(problem),
                other => panic!("{other:?}"),
            }
        }

        /// Takes this many appends that were done, and finishes the file.
        fn finish_behind(&mut self, appends: usize, client: ClientKey) {
            self.uploads.finish(client);
            let mut done = Vec::new();
            while done.len() <= appends {
                let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
                poll(&mut [PollFd::new(&self.uploads, PollFlags::IN)], Some(&patience)).unwrap();
                done.extend(self.uploads.take_done());
            }
            assert!(matches!(done.last(), Some((_, Done::Finished(Ok(()))))));
        }

        fn finish(&mut self, client: ClientKey) {
            self.uploads.finish(client);
            assert!(matches!(self.next(), Done::Finished(Ok(()))));
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    #[test]
    fn a_body_arrives_in_its_file_and_the_handler_keeps_it() {
        let mut bench = Bench::new("whole");
        let (client, name) = bench.create();
        bench.append(client, b"abc").unwrap();
        bench.append(client, b"def").unwrap();
        bench.finish(client);
        bench.uploads.release(client);
        bench.uploads.remove(client);
        // Waits for the thread.
        bench.uploads = Uploads::new(None).unwrap();
        assert_eq!(std::fs::read(name).unwrap(), b"abcdef");
    }

    #[test]
    fn a_client_waits_while_too_much_of_its_body_waits_for_the_disk() {
        let mut bench = Bench::new("slow");
        let (client, name) = bench.create();
        let other = bench.clients.insert(());
        bench.uploads.append(client, vec![b'x'; UPLOAD_QUEUE - 1]);
        assert!(!bench.uploads.is_full(client));
        bench.uploads.append(client, b"y".to_vec());
        assert!(bench.uploads.is_full(client) && !bench.uploads.is_full(other));
        bench.finish_behind(2, client);
        assert!(!bench.uploads.is_full(client));
        assert_eq!(std::fs::metadata(name).unwrap().len(), UPLOAD_QUEUE as u64);
    }

    #[test]
    fn a_file_that_is_released_late_takes_nothing_from_the_next_upload_of_its_client() {
        let mut bench = Bench::new("next");
        let (client, first) = bench.create();
        bench.append(client, b"abc").unwrap();
        bench.finish(client);
        bench.uploads.create(client);
        let Done::Created(Ok(second)) = bench.next() else { panic!("no file") };
        bench.uploads.release(client);
        bench.append(client, b"def").unwrap();
        bench.finish(client);
        assert_eq!(
            (std::fs::read(first).unwrap(), std::fs::read(second).unwrap()),
            (b"abc".into(), b"def".into())
        );
    }

    #[test]
    fn a_file_is_removed_whether_it_is_whole_or_not() {
        let mut bench = Bench::new("removed");
        let (half, first) = bench.create();
        bench.append(half, b"abc").unwrap();
        bench.uploads.remove(half);
        let (whole, second) = bench.create();
        bench.finish(whole);
        bench.uploads.remove(whole);
        // One step after the other: this one is behind those.
        bench.append(half, b"def").unwrap();
        assert!(!PathBuf::from(first).exists() && !PathBuf::from(second).exists());
    }

    #[test]
    fn the_end_of_the_server_removes_what_is_not_whole() {
        let mut bench = Bench::new("end");
        let (_, half) = bench.create();
        let (client, whole) = bench.create();
        bench.finish(client);
        bench.uploads = Uploads::new(None).unwrap();
        assert!(!PathBuf::from(half).exists() && PathBuf::from(whole).exists());
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_of_the_upload_only() {
        let mut bench = Bench::new("full");
        let (client, name) = bench.create();
        std::fs::remove_dir_all(&bench.folder).unwrap();
        bench.append(client, b"abc").unwrap();
        bench.uploads.create(client);
        assert!(matches!(bench.next(), Done::Created(Err(_))));
        assert!(!PathBuf::from(name).exists());
        bench.uploads.set_store(None);
        bench.uploads.create(client);
        assert!(
            matches!(bench.next(), Done::Created(Err(problem)) if problem.kind() == ErrorKind::Unsupported)
        );
    }
}
