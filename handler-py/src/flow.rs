//! How much of a streamed answer is under way, and whether its client is still there.

use handler_core::worker::protocol::STREAM_WINDOW;
use pyo3::prelude::*;
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
    pub(crate) fn gone(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let mut state = self.state();
        state.gone = true;
        self.changed.notify_all();
        state.watcher.as_ref().map(|watcher| watcher.clone_ref(py))
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
