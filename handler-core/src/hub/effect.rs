//! What the hub wants done: everything that touches the world.

use super::ids::{AppId, ConnKey, LinkId, RequestId, WorkerId};
use crate::worker::protocol::LoadFailure;
use std::path::PathBuf;

/// One thing to do. Replies and worker orders are not among them, they are fetched as bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start a process for this worker.
    StartWorker {
        /// Under which number the hub will know it.
        worker: WorkerId,
        /// Whose script it runs.
        app: AppId,
        /// Its number within the app, from 1.
        number: u32,
    },
    /// Kill the process, with SIGKILL.
    KillWorker(WorkerId),
    /// Take back from the worker, by its page, the jobs up to `serial` that it has not started; then
    /// tell [`handle_revoked`](super::Hub::handle_revoked).
    Revoke {
        /// From which worker.
        worker: WorkerId,
        /// Up to which job.
        serial: u64,
    },
    /// All workers of the app's newest code are ready, and it serves.
    AppReady(AppId),
    /// The app's newest code did not load. What served before goes on serving.
    AppFailed(AppId, LoadFailure),
    /// What an operator's code gave, or why it gave nothing.
    Evaluated {
        /// The caller's number for it.
        query: u64,
        /// Its value as text; or what went wrong.
        result: Result<String, String>,
    },
    /// Ask this server for `status net`, if it has a control port, and tell
    /// [`handle_roll_call`](super::Hub::handle_roll_call).
    AskWhoIsThere(LinkId),
    /// Delete this file, if it is there.
    DeleteFile(PathBuf),
    /// Append these bytes to a file of the hub's own, and tell [`handle_written`](super::Hub::handle_written). The first
    /// for a path makes the file, which must be new and nobody else's.
    WriteFile {
        /// Whose body it is.
        key: ConnKey,
        /// The file.
        path: PathBuf,
        /// What to append.
        bytes: Vec<u8>,
        /// Nothing follows.
        last: bool,
    },
    /// Look how large this file is, and tell [`handle_measured`](super::Hub::handle_measured).
    Measure {
        /// Whose body it has.
        key: ConnKey,
        /// The file.
        path: PathBuf,
        /// Nothing is added to it any more. A size from before does not count then.
        whole: bool,
    },
    /// Read at most so many bytes of this file, and tell [`handle_read`](super::Hub::handle_read).
    ReadFile {
        /// Whose body it is.
        request: RequestId,
        /// The file.
        path: PathBuf,
        /// The most bytes.
        max: usize,
    },
    /// A stop is complete: no worker is left.
    Stopped,
}
