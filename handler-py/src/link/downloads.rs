//! Files on their way to clients: what the hub says about them, from whatever thread.

use handler_core::worker::files::Download;
use handler_core::worker::protocol::Action;
use rustc_hash::FxHashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Takes the next action of an answer.
type Push<'a> = &'a mut dyn FnMut(&Action<'_>);

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

impl Downloads {
    /// Begins to answer a job. `send` sends the whole file, or its beginning and gives the rest.
    ///
    /// # Errors
    ///
    /// Those of `send`.
    pub(crate) fn begin(
        &self,
        serial: u64,
        send: impl FnOnce(Push<'_>) -> io::Result<Option<Download>>,
        push: Push<'_>,
    ) -> io::Result<()> {
        let slot = Arc::new(Slot::default());
        lock(&self.0).insert(serial, Arc::clone(&slot));
        let mut place = lock(&slot.download);
        let sent = send(push);
        let goes_on = matches!(sent, Ok(Some(_)));
        *place = sent.inspect_err(|_| self.forget(serial))?;
        drop(place);
        match goes_on {
            true => self.go_on(serial, &slot, push),
            false => self.forget(serial),
        }
        Ok(())
    }

    /// The hub has passed on so many bytes of a job's answer. `false`: that is no file.
    pub(crate) fn taken(&self, serial: u64, bytes: u32, push: Push<'_>) -> bool {
        let Some(slot) = self.slot(serial) else { return false };
        slot.taken.fetch_add(bytes, Ordering::SeqCst);
        self.go_on(serial, &slot, push);
        true
    }

    /// The client of a job has left. `false`: its answer is no file.
    pub(crate) fn gone(&self, serial: u64, push: Push<'_>) -> bool {
        let Some(slot) = self.slot(serial) else { return false };
        slot.gone.store(true, Ordering::SeqCst);
        self.go_on(serial, &slot, push);
        true
    }

    fn slot(&self, serial: u64) -> Option<Arc<Slot>> {
        lock(&self.0).get(&serial).cloned()
    }

    fn forget(&self, serial: u64) {
        lock(&self.0).remove(&serial);
    }

    fn go_on(&self, serial: u64, slot: &Slot, push: Push<'_>) {
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
                        download.give_up(push);
                    }
                    true
                }
                false => download.taken(slot.taken.swap(0, Ordering::SeqCst), push),
            };
            if over {
                *place = None;
                self.forget(serial);
                return;
            }
        }
    }
}
