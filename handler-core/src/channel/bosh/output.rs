//! What a session wants done, and how it ends.

use super::condition::Condition;
use std::borrow::Cow;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The answer to an HTTP request.
    Answer {
        /// The caller's number of it.
        request: u64,
        /// 200; 400, 403 or 404 for errors of clients without `ver`.
        status: u16,
        /// The value of its Content-Type.
        content_type: Cow<'static, str>,
        /// The `<body/>`; nothing beside another status than 200.
        body: Vec<u8>,
    },
    /// A message of the client.
    Message {
        /// Whether it was sent as bytes rather than text.
        binary: bool,
        /// The message: an element, or what an element of ours wrapped.
        payload: Vec<u8>,
    },
    /// The session is over; it is the last output. What still comes for it is answered as for a session that is unknown.
    Ended {
        /// How.
        how: End,
    },
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client ended it.
    Client,
    /// We did.
    Closed,
    /// The client did not come again.
    Inactive,
    /// The client broke a rule.
    Error(Condition),
}
