//! What goes on about a job while it runs: how much of its streamed answer is under way, how much of its body has
//! come, and whether its client is still there.

use handler_core::worker::protocol::STREAM_WINDOW;
use handler_core::worker::reader::BodyReader;
use pyo3::prelude::*;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The flow of one job's answer.
#[derive(Default)]
pub(crate) struct Flow {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes of pieces that the hub has not passed on.
    in_flight: usize,
    /// The client has left.
    gone: bool,
    /// Called in the loop's thread when room comes or the client leaves.
    watcher: Option<Py<PyAny>>,
    /// The body, once somebody has begun to read it in pieces.
    body: Option<BodyReader>,
    /// Called in the loop's thread when something is said about the body.
    body_watcher: Option<Py<PyAny>>,
    /// Counts what was said about it.
    said: u64,
}

impl Flow {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the client has left.
    pub(crate) fn is_gone(&self) -> bool {
        self.state().gone
    }

    /// Whether a piece may be sent now.
    pub(crate) fn has_room(&self) -> bool {
        self.state().in_flight < STREAM_WINDOW
    }

    /// A piece was sent. `true`: another may follow at once.
    pub(crate) fn sent(&self, bytes: usize) -> bool {
        let mut state = self.state();
        state.in_flight += bytes;
        state.in_flight < STREAM_WINDOW
    }

    /// The hub has passed bytes on. Gives whom to tell.
    pub(crate) fn taken(&self, py: Python<'_>, bytes: usize) -> Option<Py<PyAny>> {
        let mut state = self.state();
        let had_room = state.in_flight < STREAM_WINDOW;
        state.in_flight = state.in_flight.saturating_sub(bytes);
        if had_room || state.in_flight >= STREAM_WINDOW {
            return None;
        }
        self.changed.notify_all();
        state.watcher.as_ref().map(|watcher| watcher.clone_ref(py))
    }

    /// The client has left. Gives whom to tell.
    pub(crate) fn gone(&self, py: Python<'_>) -> [Option<Py<PyAny>>; 2] {
        let reads = self.tell_reader(py, BodyReader::handle_gone);
        let mut state = self.state();
        state.gone = true;
        self.changed.notify_all();
        [state.watcher.as_ref().map(|watcher| watcher.clone_ref(py)), reads]
    }

    /// Does something with the reader of the body of a job, the payload of its order.
    ///
    /// # Errors
    ///
    /// When the body is in a file that cannot be opened.
    pub(crate) fn with_reader<T>(
        &self,
        job: &[u8],
        f: impl FnOnce(&mut BodyReader) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state();
        if state.body.is_none() {
            state.body = Some(BodyReader::new(job)?);
        }
        state.body.as_mut().map_or_else(|| unreachable!("it was made"), f)
    }

    /// The hub says something about the body. Gives whom to tell.
    pub(crate) fn tell_reader(
        &self,
        py: Python<'_>,
        tell: impl FnOnce(&mut BodyReader),
    ) -> Option<Py<PyAny>> {
        let mut state = self.state();
        tell(state.body.as_mut()?);
        state.said += 1;
        self.changed.notify_all();
        state.body_watcher.as_ref().map(|watcher| watcher.clone_ref(py))
    }

    /// From now on `watcher()` is called when something is said about the body.
    pub(crate) fn watch_body(&self, watcher: Option<Py<PyAny>>) {
        self.state().body_watcher = watcher;
    }

    /// How often something was said about the body.
    pub(crate) fn said(&self) -> u64 {
        self.state().said
    }

    /// Blocks a thread until more was said about the body than so often.
    pub(crate) fn wait_for_word(&self, known: u64) {
        let mut state = self.state();
        while state.said == known {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// From now on `watcher()` is called when something changes.
    pub(crate) fn watch(&self, watcher: Option<Py<PyAny>>) {
        self.state().watcher = watcher;
    }

    /// Blocks a thread until a piece may be sent; `false`: the client has left.
    pub(crate) fn wait(&self) -> bool {
        let mut state = self.state();
        while !state.gone && state.in_flight >= STREAM_WINDOW {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.gone
    }
}
