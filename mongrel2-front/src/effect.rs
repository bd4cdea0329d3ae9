//! What the loop has to do.

use crate::files;
use crate::ids::{ClientKey, HandlerId};
use crate::process::access_log;

/// One thing to do, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Send a message to a handler.
    Message(HandlerId, Vec<u8>),
    /// The client has output.
    Write(ClientKey),
    /// Input of the client is wanted again.
    ReadAgain(ClientKey),
    /// Close the client's socket. What was written is to arrive. The key means nothing from now on.
    Close(ClientKey),
    /// Make a file for a body, and tell its name to [`Front::upload_created`](crate::front::Front::upload_created).
    CreateUpload(ClientKey),
    /// Append to the file.
    AppendUpload(ClientKey, Vec<u8>),
    /// The body is whole. Answered by [`Front::upload_finished`](crate::front::Front::upload_finished).
    FinishUpload(ClientKey),
    /// Remove the file: the upload was aborted.
    RemoveUpload(ClientKey),
    /// Look for a file. Answered by [`Front::file_answer`](crate::front::Front::file_answer).
    File(ClientKey, files::Request),
    /// A line for the access log.
    Access(access_log::Line),
}
