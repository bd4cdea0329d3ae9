//! What hub and worker say to each other, as bytes.
//!
//! Both directions are streams of frames: one byte of kind, four bytes of size, the payload. All
//! numbers are little-endian; a field of varying size is preceded by four bytes of size. What a
//! worker writes is grouped in numbered batches (`size`, `number`, frames), and the hub applies a
//! batch whole or not at all: that is what makes the [page](super::page) able to say which
//! answers of a dead worker were ready but not yet sent.
//!
//! Here is what there is to say; `write` makes bytes of it, and `read` makes it of bytes. What is said once, when a script
//! is loaded, is in `loading`.

#[cfg(test)]
mod contract;
mod loading;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use crate::channel::Slow;
pub use loading::{ChannelSpec, Interface, LoadFailure, Registration, RouteSpec, Start};
pub use read::{Batch, split_batch, split_frame};
pub use write::{
    encode_action, encode_answer, encode_close, encode_detach, encode_evaluate, encode_gone, encode_grown,
    encode_ids, encode_job, encode_lead, encode_message, encode_open, encode_part, encode_start, encode_stop,
    encode_taken,
};

use std::time::Duration;
use thiserror::Error;

/// Bytes before a frame's payload: kind and size.
pub const FRAME_HEAD: usize = 5;
/// Bytes before a batch's frames: size and number.
pub const BATCH_HEAD: usize = 8;
/// The largest batch that the hub accepts, bytes. A body has to fit one.
pub const MAX_BATCH: usize = 256 << 20;
/// Bytes of one job's [pieces](Action::Piece) that a worker sends before the hub has [taken](Order::Taken)
/// them. When nothing is under way a single piece may be larger.
pub const STREAM_WINDOW: usize = 256 << 10;
/// Bytes of one body in parts that are asked of Mongrel2 and not taken by a script or written to a file; for a body in
/// chunks one chunk more.
pub const BODY_WINDOW: u32 = 256 << 10;

/// Why bytes are no message between hub and worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A kind that this version does not know.
    #[error("unknown frame kind {kind}")]
    UnknownKind {
        /// The kind's number.
        kind: u8,
    },
    /// A frame that ends inside a field.
    #[error("frame of kind {kind} is cut short")]
    Truncated {
        /// The kind's number.
        kind: u8,
    },
    /// A field whose value has no meaning.
    #[error("frame of kind {kind} has an impossible {field}")]
    BadField {
        /// The kind's number.
        kind: u8,
        /// The field's name.
        field: &'static str,
    },
    /// A batch beyond [`MAX_BATCH`].
    #[error("a batch of {size} bytes, at most {MAX_BATCH} are accepted")]
    BatchTooLarge {
        /// The size announced.
        size: usize,
    },
}

/// What a job asks the worker to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handler {
    /// A registered route, by its number.
    Route(u32),
    /// The page for paths without a route.
    NotFound,
    /// The answer to a known path with an unknown method; the one parameter is the Allow list.
    MethodNotAllowed,
    /// The answer to OPTIONS; the one parameter is the Allow list.
    Options,
    /// The raw handler. It ends with [`Action::Done`].
    Raw,
}

impl Handler {
    const NOT_FOUND: u32 = u32::MAX;
    const METHOD_NOT_ALLOWED: u32 = u32::MAX - 1;
    const OPTIONS: u32 = u32::MAX - 2;
    const RAW: u32 = u32::MAX - 3;

    fn to_number(self) -> u32 {
        match self {
            Self::Route(number) => number,
            Self::NotFound => Self::NOT_FOUND,
            Self::MethodNotAllowed => Self::METHOD_NOT_ALLOWED,
            Self::Options => Self::OPTIONS,
            Self::Raw => Self::RAW,
        }
    }

    fn from_number(number: u32) -> Self {
        match number {
            Self::NOT_FOUND => Self::NotFound,
            Self::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            Self::OPTIONS => Self::Options,
            Self::RAW => Self::Raw,
            number => Self::Route(number),
        }
    }
}

/// Hub to worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Order<'a> {
    /// The first message: load this script.
    Start(Start),
    /// Run a handler.
    Job {
        /// Counts the jobs of this worker from 1.
        serial: u64,
        /// What to run.
        handler: Handler,
        /// The connection's name, unique over servers and their restarts.
        conn: &'a [u8],
        /// The path's values as sent, not percent-decoded, in path order.
        params: Params<'a>,
        /// The file that has the body of the request, as the hub's machine names it; empty when the message has the
        /// body. It is gone soon after the answer. Behind a `+` the file still grows; a `+` alone: the message has
        /// the beginning, and [parts](Order::Part) follow. [`BodyAt`](super::body::BodyAt) reads it.
        spool: &'a [u8],
        /// Mongrel2's message, untouched.
        message: &'a [u8],
    },
    /// Run the app's timers from now on: one worker of an app does.
    Lead,
    /// Finish what runs, take nothing new, end.
    Stop {
        /// How long what runs may take; what still runs then is cut off.
        work: Duration,
        /// How long stop hooks may take after that.
        hooks: Duration,
    },
    /// A live connection is this worker's from now on. Ends with [`Action::Done`].
    Open(Open<'a>),
    /// A message of a client. Those of one connection run one after the other, in order; each ends with
    /// [`Action::Done`].
    Message {
        /// Counts on with the jobs.
        serial: u64,
        /// The connection's number.
        conn: u64,
        /// Not a text.
        binary: bool,
        /// The message; a text is UTF-8.
        payload: &'a [u8],
    },
    /// A connection is at its end, behind all its messages. Ends with [`Action::Done`]; the connection is
    /// forgotten then.
    Close {
        /// Counts on with the jobs.
        serial: u64,
        /// The connection's number.
        conn: u64,
        /// Why, as a WebSocket close code.
        code: u16,
        /// Why, in words: UTF-8.
        reason: &'a [u8],
    },
    /// A connection is another worker's from now on: forget it without a word to the script.
    Detach {
        /// The connection's number.
        conn: u64,
    },
    /// Run this code of the operator's; [`Action::Evaluated`] tells what it gave.
    Evaluate {
        /// The hub's number for it.
        query: u64,
        /// The code, UTF-8: an expression, or statements.
        code: &'a [u8],
    },
    /// The answer to an [`Action::Query`].
    Answer {
        /// The query's number.
        query: u64,
        /// JSON, see [`Question`].
        json: &'a [u8],
    },
    /// Bytes of a job's [pieces](Action::Piece) have left the hub for the client: there is room for as many more.
    Taken {
        /// The job's number.
        serial: u64,
        /// How many.
        bytes: u32,
    },
    /// The client of an HTTP job that was not answered yet is gone. What is still sent for it is dropped; the worker
    /// ends it all the same.
    Gone {
        /// The job's number.
        serial: u64,
    },
    /// The next part of a body that was still arriving when its job was given.
    Part {
        /// The job's number.
        serial: u64,
        /// The body ends with it.
        last: bool,
        /// The part, perhaps empty.
        bytes: &'a [u8],
    },
    /// The file with a body that was still arriving has grown.
    Grown {
        /// The job's number.
        serial: u64,
        /// It is whole.
        whole: bool,
        /// How many bytes it has; when it is whole it has as many as it has.
        size: u64,
    },
}

/// All that a worker needs to know of a live connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open<'a> {
    /// Counts on with the jobs.
    pub serial: u64,
    /// The connection's number: unique in the life of the hub, from 1, far below 2^53.
    pub conn: u64,
    /// The channel's handler number.
    pub handler: u32,
    /// The script has not seen this connection: `open` runs. Otherwise it comes from another worker, and
    /// only straight-line code starts.
    pub fresh: bool,
    /// `conn.resumed`.
    pub resumed: bool,
    /// Its handshake waits for [`Action::Accept`] or [`Action::Refuse`].
    pub asked: bool,
    /// `conn.transport`: `websocket`, `json`, `xml`.
    pub transport: &'a str,
    /// `conn.id`: unique over restarts of hub and servers.
    pub name: &'a [u8],
    /// `conn.data` as JSON; empty for none.
    pub data: &'a [u8],
    /// The rooms that it is in.
    pub rooms: Params<'a>,
    /// The path's values as sent, not percent-decoded, in path order.
    pub params: Params<'a>,
    /// The opening message of Mongrel2, untouched.
    pub message: &'a [u8],
}

/// What a worker may ask of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// How many are in a room: a number.
    Count = 0,
    /// Who is in a room: a list of `[number, name, transport]`.
    Members = 1,
    /// A connection by its name: `[number, name, transport]`, or null when there is none.
    Connection = 2,
    /// The data of a connection, by its number in decimal: the value, or null.
    Data = 3,
    /// The rooms of a connection, by its number in decimal: a list of texts.
    Rooms = 4,
}

/// A job's path values: fields in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params<'a>(&'a [u8]);

impl Params<'_> {
    /// No fields.
    pub const EMPTY: Self = Self(&[]);
}

impl<'a> Iterator for Params<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let size = u32::from_le_bytes(*self.0.first_chunk()?) as usize;
        let (value, rest) = self.0[4..].split_at_checked(size)?;
        self.0 = rest;
        Some(value)
    }
}

/// How grave a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For whoever looks for a bug.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
}

/// Worker to hub.
#[derive(Debug, Clone, PartialEq)]
pub enum Action<'a> {
    /// The script is loaded.
    Ready(Registration),
    /// The script did not load; the worker ends.
    Failed(LoadFailure),
    /// The answer to an HTTP job.
    Respond {
        /// The job's number.
        serial: u64,
        /// 200 to 999.
        status: u16,
        /// Header lines, each ended by CR LF, without Content-Length and Connection.
        head: &'a [u8],
        /// The body, whole.
        body: &'a [u8],
    },
    /// A raw job has ended.
    Done {
        /// The job's number.
        serial: u64,
    },
    /// A job was left alone because the hub had taken it back.
    Skipped {
        /// The job's number.
        serial: u64,
    },
    /// An HTTP job that is another worker's of the same app: what it goes on with is there. It is given to that one, unless
    /// there is none; then this is its answer.
    Pass {
        /// The job's number.
        serial: u64,
        /// The other worker's number within the app.
        worker: u32,
        /// 200 to 999.
        status: u16,
        /// Header lines, as in [`Action::Respond`].
        head: &'a [u8],
        /// The body, whole.
        body: &'a [u8],
    },
    /// Bytes for connections of the server whose ident is `sender`.
    Deliver {
        /// The Handler's ident, from the message that brought the ids.
        sender: &'a str,
        /// Conn ids.
        ids: Ids<'a>,
        /// What they get.
        payload: &'a [u8],
    },
    /// Close connections of the server whose ident is `sender`.
    Disconnect {
        /// The Handler's ident.
        sender: &'a str,
        /// Conn ids.
        ids: Ids<'a>,
    },
    /// A message to one live connection.
    Send {
        /// The connection's number.
        conn: u64,
        /// Not a text.
        binary: bool,
        /// The message.
        payload: &'a [u8],
    },
    /// Close a live connection, behind what was sent to it.
    CloseConn {
        /// The connection's number.
        conn: u64,
        /// A WebSocket close code.
        code: u16,
        /// Why, for the client: UTF-8.
        reason: &'a [u8],
    },
    /// Put a connection into a room.
    Join {
        /// The connection's number.
        conn: u64,
        /// The room's name.
        room: &'a [u8],
    },
    /// Take a connection out of a room.
    Leave {
        /// The connection's number.
        conn: u64,
        /// The room's name.
        room: &'a [u8],
    },
    /// A message to all in a room.
    Publish {
        /// The number of a connection that does not get it; 0 for none.
        except: u64,
        /// Not a text.
        binary: bool,
        /// The room's name.
        room: &'a [u8],
        /// The message.
        payload: &'a [u8],
    },
    /// Close all connections in a room.
    CloseRoom {
        /// A WebSocket close code.
        code: u16,
        /// The room's name.
        room: &'a [u8],
        /// Why, for the clients: UTF-8.
        reason: &'a [u8],
    },
    /// Keep data for a connection.
    SetData {
        /// The connection's number.
        conn: u64,
        /// JSON, at most 4 KiB.
        json: &'a [u8],
    },
    /// Ask something; [`Order::Answer`] comes.
    Query {
        /// The query's number, the worker's own.
        query: u64,
        /// What.
        question: Question,
        /// About which room or connection.
        subject: &'a [u8],
    },
    /// What the code of an [`Order::Evaluate`] gave.
    Evaluated {
        /// The order's number.
        query: u64,
        /// Whether it ran to its end.
        ok: bool,
        /// Its value, or what went wrong, UTF-8.
        text: &'a [u8],
    },
    /// The beginning of an answer whose body comes in pieces.
    Begin {
        /// The job's number.
        serial: u64,
        /// 200 to 999.
        status: u16,
        /// Header lines, each ended by CR LF. A Content-Length among them is kept to; without one the hub finds a
        /// way to mark the end.
        head: &'a [u8],
    },
    /// A piece of the body.
    Piece {
        /// The job's number.
        serial: u64,
        /// The piece; an empty one is nothing.
        bytes: &'a [u8],
    },
    /// The body is whole. Ends the job.
    End {
        /// The job's number.
        serial: u64,
    },
    /// The answer cannot be completed, and the client is to see that. Ends the job; before [`Action::Begin`] it is
    /// a 500.
    Abort {
        /// The job's number.
        serial: u64,
    },
    /// Complete a handshake that was asked about: from now on it is a WebSocket.
    Accept {
        /// The connection's number.
        conn: u64,
        /// The subprotocol, one of those that the client offers; empty for none.
        protocol: &'a str,
        /// Further header lines of the 101, each ended by CR LF.
        head: &'a [u8],
    },
    /// Answer a handshake that was asked about as any HTTP request. No [`Order::Close`] follows.
    Refuse {
        /// The connection's number.
        conn: u64,
        /// 200 to 999.
        status: u16,
        /// Header lines, each ended by CR LF, without Content-Length and Connection.
        head: &'a [u8],
        /// The body, whole.
        body: &'a [u8],
    },
    /// The script waits for more of a body that is arriving: there is room for so many bytes beyond those that
    /// were asked for before. Without this none come. For a file the number means nothing: it asks to be told
    /// how far it has grown.
    Want {
        /// The job's number.
        serial: u64,
        /// How many.
        bytes: u32,
    },
    /// A line for the log.
    Log {
        /// How grave.
        level: Level,
        /// The job that was running, if its request or connection is to be named; 0 for none.
        serial: u64,
        /// The text, UTF-8 or not.
        text: &'a [u8],
        /// Further fields as a JSON object; empty for none.
        fields: &'a [u8],
    },
}

/// Conn ids in a row, eight bytes each, signed: the hub judges them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids<'a>(&'a [u8]);

impl Iterator for Ids<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        let (id, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_le_bytes(*id))
    }
}

impl<'a> Ids<'a> {
    /// Reads ids from what [`encode_ids`] made.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}
