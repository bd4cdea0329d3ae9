//! Files as answers, which go on by themselves once they have begun.

use crate::job::Job;
use crate::link::Link;
use handler_core::worker::files::{self, Asked, Download, FileAnswer, FileError};
use handler_core::worker::protocol::Action;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustc_hash::FxHashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

fn os_error(problem: &impl std::fmt::Display) -> PyErr {
    PyOSError::new_err(problem.to_string())
}

/// A file between opening and sending it.
#[pyclass(frozen, module = "kennel._native")]
pub(crate) struct FoundFile {
    answer: Mutex<Option<FileAnswer>>,
    /// 200, 206, 304, 412 or 416.
    #[pyo3(get)]
    status: u16,
    head: Vec<(&'static str, Vec<u8>)>,
}

#[pymethods]
impl FoundFile {
    /// Pairs of header name and value.
    #[getter]
    fn head<'py>(&self, py: Python<'py>) -> Vec<(&'static str, Bound<'py, PyBytes>)> {
        self.head.iter().map(|(name, value)| (*name, PyBytes::new(py, value))).collect()
    }
}

impl FoundFile {
    /// Opens what a script asks for; `None`: there is no such file.
    pub(crate) fn find(py: Python<'_>, job: &Job, asked: &Asked<'_>) -> PyResult<Option<Self>> {
        let Some(envelope) = job.envelope() else { return Ok(None) };
        match py.detach(|| files::find(asked, &envelope)) {
            Ok(answer) => {
                let (status, head) = (answer.status(), answer.head().to_vec());
                Ok(Some(Self { answer: Mutex::new(Some(answer)), status, head }))
            }
            Err(FileError::NotThere) => Ok(None),
            Err(problem) => Err(os_error(&problem)),
        }
    }

    pub(crate) fn send(
        &self,
        py: Python<'_>,
        job: &Job,
        status: u16,
        head: &[u8],
        compress: bool,
    ) -> PyResult<()> {
        let Some(answer) = lock(&self.answer).take() else {
            return Err(PyRuntimeError::new_err("a file that kennel.file gave is sent once"));
        };
        job.link
            .send_file(py, job.serial, answer, status, head, compress)
            .map_err(|problem| os_error(&format!("the file cannot be read: {problem}")))
    }
}

/// The files that are on their way, by the serials of their jobs.
#[derive(Default)]
pub(crate) struct Downloads(Mutex<FxHashMap<u64, Arc<Slot>>>);

/// One of them. The hub's word may come while a thread is still sending: that thread then looks again.
#[derive(Default)]
struct Slot {
    download: Mutex<Option<Download>>,
    /// Bytes that the hub has passed on since the last look.
    taken: AtomicU32,
    gone: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// Answers a job with a file: all of it, or its beginning, and the rest as the client reads.
    pub(crate) fn send_file(
        &self,
        py: Python<'_>,
        serial: u64,
        answer: FileAnswer,
        status: u16,
        head: &[u8],
        compress: bool,
    ) -> io::Result<()> {
        if !self.is_unanswered(serial) {
            return Ok(());
        }
        let slot = Arc::new(Slot::default());
        lock(&self.downloads.0).insert(serial, Arc::clone(&slot));
        let mut place = lock(&slot.download);
        let sent =
            answer.send(serial, status, head, compress, &mut |action| self.push_answer(py, serial, action));
        let goes_on = matches!(sent, Ok(Some(_)));
        *place = sent.inspect_err(|_| self.forget_file(serial))?;
        drop(place);
        match goes_on {
            true => self.go_on(py, serial, &slot),
            false => self.forget_file(serial),
        }
        Ok(())
    }

    /// The hub has passed on so many bytes of a job's answer. `false`: that is no file.
    pub(crate) fn file_taken(&self, py: Python<'_>, serial: u64, bytes: u32) -> bool {
        let Some(slot) = self.slot_of(serial) else { return false };
        slot.taken.fetch_add(bytes, Ordering::SeqCst);
        self.go_on(py, serial, &slot);
        true
    }

    /// The client of a job has left. `false`: its answer is no file.
    pub(crate) fn file_gone(&self, py: Python<'_>, serial: u64) -> bool {
        let Some(slot) = self.slot_of(serial) else { return false };
        slot.gone.store(true, Ordering::SeqCst);
        self.go_on(py, serial, &slot);
        true
    }

    fn slot_of(&self, serial: u64) -> Option<Arc<Slot>> {
        lock(&self.downloads.0).get(&serial).cloned()
    }

    fn forget_file(&self, serial: u64) {
        lock(&self.downloads.0).remove(&serial);
    }

    fn go_on(&self, py: Python<'_>, serial: u64, slot: &Slot) {
        let mut push = |action: &Action<'_>| self.push_answer(py, serial, action);
        while slot.gone.load(Ordering::SeqCst) || slot.taken.load(Ordering::SeqCst) > 0 {
            let mut place = match slot.download.try_lock() {
                Ok(place) => place,
                Err(TryLockError::Poisoned(place)) => place.into_inner(),
                // Whoever sends looks when that is done.
                Err(TryLockError::WouldBlock) => return,
            };
            let Some(download) = place.as_mut() else { return };
            let over = match slot.gone.load(Ordering::SeqCst) {
                true => {
                    if let Some(download) = place.take() {
                        download.give_up(&mut push);
                    }
                    true
                }
                false => download.taken(slot.taken.swap(0, Ordering::SeqCst), &mut push),
            };
            if over {
                *place = None;
                self.forget_file(serial);
                return;
            }
        }
    }

    fn push_answer(&self, py: Python<'_>, serial: u64, action: &Action<'_>) {
        match action {
            Action::Begin { .. } | Action::Piece { .. } => drop(self.push_for(py, serial, action)),
            _ => drop(self.end(py, serial, action)),
        }
    }
}
