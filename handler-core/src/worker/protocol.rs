//! What hub and worker say to each other, as bytes.
//!
//! Both directions are streams of frames: one byte of kind, four bytes of size, the payload. All
//! numbers are little-endian; a field of varying size is preceded by four bytes of size. What a
//! worker writes is grouped in numbered batches (`size`, `number`, frames), and the hub applies a
//! batch whole or not at all: that is what makes the [page](super::page) able to say which
//! answers of a dead worker were ready but not yet sent.

use serde::{Deserialize, Serialize};
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

/// What a worker is told when it starts; travels as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The worker's number within its app, from 1.
    pub number: u32,
    /// The script's path, or the name of a module.
    pub source: String,
    /// The name within it of what is to be served; empty: the language's own default.
    #[serde(default)]
    pub object: String,
    /// What that is, where it is not to be detected: `kennel`, `asgi` or `wsgi`; empty otherwise.
    #[serde(default)]
    pub interface: String,
    /// Threads for handlers that block; 0: as the script says.
    #[serde(default)]
    pub threads: u32,
    /// The prefix of its routes.
    #[serde(default)]
    pub mount: String,
    /// The version of the hub's program.
    #[serde(default)]
    pub version: String,
    /// The app's own settings, a JSON object.
    pub config: serde_json::Value,
    /// Whether errors may be shown to the client.
    pub dev: bool,
    /// The memory that scripts may use, bytes.
    pub memory: usize,
}

/// One route that a script registered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteSpec {
    /// Methods in upper case.
    pub methods: Vec<String>,
    /// The path pattern, `/users/{id}`.
    pub path: String,
    /// The number that jobs for it carry.
    pub handler: u32,
    /// Where it was registered, `app.lua:12`.
    pub place: String,
}

/// What becomes of a message for a client that does not read as fast as it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slow {
    /// It waits, within `limits.connection_output`; beyond, the connection is closed.
    #[default]
    Wait,
    /// What waits longest is dropped when more than the channel's buffer waits.
    DropOldest,
    /// The connection is closed when more than the channel's buffer waits.
    Close,
}

/// One channel that a script registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelSpec {
    /// `/path` (with `{name}` parts as in routes) for WebSockets, `@name` for JSON sockets, `<tag` for XML
    /// sockets.
    pub path: String,
    /// The number that orders for it carry.
    pub handler: u32,
    /// Where it was registered, `app.lua:12`.
    pub place: String,
    /// Straight-line code: a new worker has to start it again from its top at once.
    pub straight: bool,
    /// Origins that browsers may come from; empty: the request's own host.
    pub origins: Vec<String>,
    /// Subprotocols that it speaks.
    pub protocols: Vec<String>,
    /// The largest message that a client may send, bytes.
    pub max_message: usize,
    /// Seconds between pings; 0: none.
    pub ping: f64,
    /// Whether permessage-deflate is agreed to.
    pub deflate: bool,
    /// What becomes of messages that a client does not read in time.
    pub slow: Slow,
    /// Bytes that may wait for one client, for the policies with a bound of their own.
    pub buffer: usize,
    /// Whether the script decides about each WebSocket handshake, with [`Action::Accept`] or [`Action::Refuse`].
    #[serde(default)]
    pub asks: bool,
}

impl Default for ChannelSpec {
    fn default() -> Self {
        Self {
            path: String::new(),
            handler: 0,
            place: String::new(),
            straight: false,
            origins: Vec::new(),
            protocols: Vec::new(),
            max_message: 1 << 20,
            ping: 30.0,
            deflate: false,
            slow: Slow::default(),
            buffer: 1 << 20,
            asks: false,
        }
    }
}

/// What a worker has to offer once its script is loaded; travels as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The HTTP routes, in the order of registration.
    pub routes: Vec<RouteSpec>,
    /// The channels, in the order of registration.
    #[serde(default)]
    pub channels: Vec<ChannelSpec>,
    /// Whether the script wants every response to pass by it, so that the hub must not answer 404
    /// and the like alone.
    pub hooks: bool,
    /// Whether the script replaces the page for paths without a route.
    pub not_found: bool,
    /// Whether the script takes the messages that no route takes.
    pub raw: bool,
}

impl Registration {
    /// Whether the script has no routes because it takes every request under its mount point, with any method, as
    /// ASGI and WSGI applications do. Then its channels leave plain HTTP alone.
    pub fn is_all_page(&self) -> bool {
        self.routes.is_empty()
            && self.not_found
            && self.hooks
            && !self.raw
            && self.channels.iter().all(|c| c.asks)
    }
}

/// Why a script did not load; travels as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadFailure {
    /// What is wrong, in one line without the place.
    pub message: String,
    /// The script's file, when known.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// The language's own traceback, perhaps empty.
    pub traceback: String,
}

impl std::fmt::Display for LoadFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
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
        /// body. It is gone soon after the answer.
        spool: &'a [u8],
        /// Mongrel2's message, untouched.
        message: &'a [u8],
    },
    /// Run the app's timers from now on: one worker of an app does.
    Lead,
    /// Finish what runs, take nothing new, end.
    Stop,
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

/// Appends one frame, whose payload `fill` writes.
fn frame(out: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(out);
    let size = u32::try_from(out.len() - size_at - 4).expect("frames are far below 4 GiB");
    out[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    let size = u32::try_from(bytes.len()).expect("fields are far below 4 GiB");
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("these types are always JSON");
}

/// Appends a [`Order::Start`].
pub fn encode_start(out: &mut Vec<u8>, start: &Start) {
    frame(out, 1, |out| json(out, start));
}

/// Appends a [`Order::Job`].
pub fn encode_job<'p>(
    out: &mut Vec<u8>,
    serial: u64,
    handler: Handler,
    conn: &str,
    params: impl Iterator<Item = &'p [u8]>,
    spool: &[u8],
    message: &[u8],
) {
    frame(out, 2, |out| {
        out.extend_from_slice(&serial.to_le_bytes());
        out.extend_from_slice(&handler.to_number().to_le_bytes());
        field(out, conn.as_bytes());
        list(out, params);
        field(out, spool);
        out.extend_from_slice(message);
    });
}

/// Appends a [`Order::Lead`].
pub fn encode_lead(out: &mut Vec<u8>) {
    frame(out, 3, |_| {});
}

/// Appends a [`Order::Stop`].
pub fn encode_stop(out: &mut Vec<u8>) {
    frame(out, 4, |_| {});
}

/// Appends fields in a row, preceded by their size.
fn list<'p>(out: &mut Vec<u8>, values: impl Iterator<Item = &'p [u8]>) {
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    values.for_each(|value| field(out, value));
    let size = (out.len() - size_at - 4) as u32;
    out[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
}

/// Appends an [`Order::Open`], with `rooms` and `params` in place of those of `open`.
pub fn encode_open<'p>(
    out: &mut Vec<u8>,
    open: &Open<'_>,
    rooms: impl Iterator<Item = &'p [u8]>,
    params: impl Iterator<Item = &'p [u8]>,
) {
    frame(out, 5, |out| {
        out.extend_from_slice(&open.serial.to_le_bytes());
        out.extend_from_slice(&open.conn.to_le_bytes());
        out.extend_from_slice(&open.handler.to_le_bytes());
        out.push(u8::from(open.fresh) | u8::from(open.resumed) << 1 | u8::from(open.asked) << 2);
        field(out, open.transport.as_bytes());
        field(out, open.name);
        field(out, open.data);
        list(out, rooms);
        list(out, params);
        out.extend_from_slice(open.message);
    });
}

/// Appends an [`Order::Message`].
pub fn encode_message(out: &mut Vec<u8>, serial: u64, conn: u64, binary: bool, payload: &[u8]) {
    frame(out, 6, |out| {
        out.extend_from_slice(&serial.to_le_bytes());
        out.extend_from_slice(&conn.to_le_bytes());
        out.push(u8::from(binary));
        out.extend_from_slice(payload);
    });
}

/// Appends an [`Order::Close`].
pub fn encode_close(out: &mut Vec<u8>, serial: u64, conn: u64, code: u16, reason: &[u8]) {
    frame(out, 7, |out| {
        out.extend_from_slice(&serial.to_le_bytes());
        out.extend_from_slice(&conn.to_le_bytes());
        out.extend_from_slice(&code.to_le_bytes());
        out.extend_from_slice(reason);
    });
}

/// Appends an [`Order::Detach`].
pub fn encode_detach(out: &mut Vec<u8>, conn: u64) {
    frame(out, 8, |out| out.extend_from_slice(&conn.to_le_bytes()));
}

/// Appends an [`Order::Answer`].
pub fn encode_answer(out: &mut Vec<u8>, query: u64, json: &[u8]) {
    frame(out, 9, |out| {
        out.extend_from_slice(&query.to_le_bytes());
        out.extend_from_slice(json);
    });
}

/// Appends an [`Order::Evaluate`].
pub fn encode_evaluate(out: &mut Vec<u8>, query: u64, code: &[u8]) {
    frame(out, 12, |out| {
        out.extend_from_slice(&query.to_le_bytes());
        out.extend_from_slice(code);
    });
}

/// Appends an [`Order::Taken`].
pub fn encode_taken(out: &mut Vec<u8>, serial: u64, bytes: u32) {
    frame(out, 10, |out| {
        out.extend_from_slice(&serial.to_le_bytes());
        out.extend_from_slice(&bytes.to_le_bytes());
    });
}

/// Appends an [`Order::Gone`].
pub fn encode_gone(out: &mut Vec<u8>, serial: u64) {
    frame(out, 11, |out| out.extend_from_slice(&serial.to_le_bytes()));
}

/// Appends an action's frame.
pub fn encode_action(out: &mut Vec<u8>, action: &Action<'_>) {
    match action {
        Action::Ready(registration) => frame(out, 1, |out| json(out, registration)),
        Action::Failed(failure) => frame(out, 2, |out| json(out, failure)),
        Action::Respond { serial, status, head, body } => frame(out, 3, |out| {
            out.extend_from_slice(&serial.to_le_bytes());
            out.extend_from_slice(&status.to_le_bytes());
            field(out, head);
            out.extend_from_slice(body);
        }),
        Action::Done { serial } => frame(out, 4, |out| out.extend_from_slice(&serial.to_le_bytes())),
        Action::Skipped { serial } => frame(out, 5, |out| out.extend_from_slice(&serial.to_le_bytes())),
        Action::Deliver { sender, ids, payload } => frame(out, 6, |out| {
            field(out, sender.as_bytes());
            field(out, ids.0);
            out.extend_from_slice(payload);
        }),
        Action::Disconnect { sender, ids } => frame(out, 7, |out| {
            field(out, sender.as_bytes());
            out.extend_from_slice(ids.0);
        }),
        Action::Log { level, serial, text, fields } => frame(out, 8, |out| {
            out.push(*level as u8);
            out.extend_from_slice(&serial.to_le_bytes());
            field(out, text);
            out.extend_from_slice(fields);
        }),
        Action::Send { conn, binary, payload } => frame(out, 9, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            out.push(u8::from(*binary));
            out.extend_from_slice(payload);
        }),
        Action::CloseConn { conn, code, reason } => frame(out, 10, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            out.extend_from_slice(&code.to_le_bytes());
            out.extend_from_slice(reason);
        }),
        Action::Join { conn, room } => frame(out, 11, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            out.extend_from_slice(room);
        }),
        Action::Leave { conn, room } => frame(out, 12, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            out.extend_from_slice(room);
        }),
        Action::Publish { except, binary, room, payload } => frame(out, 13, |out| {
            out.extend_from_slice(&except.to_le_bytes());
            out.push(u8::from(*binary));
            field(out, room);
            out.extend_from_slice(payload);
        }),
        Action::CloseRoom { code, room, reason } => frame(out, 14, |out| {
            out.extend_from_slice(&code.to_le_bytes());
            field(out, room);
            out.extend_from_slice(reason);
        }),
        Action::SetData { conn, json } => frame(out, 15, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            out.extend_from_slice(json);
        }),
        Action::Query { query, question, subject } => frame(out, 16, |out| {
            out.extend_from_slice(&query.to_le_bytes());
            out.push(*question as u8);
            out.extend_from_slice(subject);
        }),
        Action::Evaluated { query, ok, text } => frame(out, 23, |out| {
            out.extend_from_slice(&query.to_le_bytes());
            out.push(u8::from(*ok));
            out.extend_from_slice(text);
        }),
        Action::Begin { serial, status, head } => frame(out, 17, |out| {
            out.extend_from_slice(&serial.to_le_bytes());
            out.extend_from_slice(&status.to_le_bytes());
            out.extend_from_slice(head);
        }),
        Action::Piece { serial, bytes } => frame(out, 18, |out| {
            out.extend_from_slice(&serial.to_le_bytes());
            out.extend_from_slice(bytes);
        }),
        Action::End { serial } => frame(out, 19, |out| out.extend_from_slice(&serial.to_le_bytes())),
        Action::Abort { serial } => frame(out, 20, |out| out.extend_from_slice(&serial.to_le_bytes())),
        Action::Accept { conn, protocol, head } => frame(out, 21, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            field(out, protocol.as_bytes());
            out.extend_from_slice(head);
        }),
        Action::Refuse { conn, status, head, body } => frame(out, 22, |out| {
            out.extend_from_slice(&conn.to_le_bytes());
            out.extend_from_slice(&status.to_le_bytes());
            field(out, head);
            out.extend_from_slice(body);
        }),
    }
}

/// Conn ids as the bytes of [`Ids`].
pub fn encode_ids(ids: impl IntoIterator<Item = i64>) -> Vec<u8> {
    ids.into_iter().flat_map(i64::to_le_bytes).collect()
}

impl<'a> Ids<'a> {
    /// Reads ids from what [`encode_ids`] made.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

/// Splits the first whole frame off `input`: `(kind, payload, rest)`. `None`: more is to come.
pub fn split_frame(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&kind, rest) = input.split_first()?;
    let (size, rest) = rest.split_first_chunk()?;
    let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
    Some((kind, payload, rest))
}

/// A batch's number, its frames, and what follows it.
pub type Batch<'a> = (u32, &'a [u8], &'a [u8]);

/// Splits the first whole batch off `input`. `None`: more is to come.
///
/// # Errors
///
/// [`ProtocolError::BatchTooLarge`].
pub fn split_batch(input: &[u8]) -> Result<Option<Batch<'_>>, ProtocolError> {
    let Some((head, rest)) = input.split_first_chunk::<BATCH_HEAD>() else { return Ok(None) };
    let [a, b, c, d, number @ ..] = *head;
    let size = u32::from_le_bytes([a, b, c, d]) as usize;
    if size > MAX_BATCH {
        return Err(ProtocolError::BatchTooLarge { size });
    }
    let number = u32::from_le_bytes(number);
    Ok(rest.split_at_checked(size).map(|(frames, rest)| (number, frames, rest)))
}

/// Takes fields off a frame's payload.
struct Fields<'a> {
    kind: u8,
    left: &'a [u8],
}

impl<'a> Fields<'a> {
    fn short(&self) -> ProtocolError {
        ProtocolError::Truncated { kind: self.kind }
    }

    fn bad(&self, field: &'static str) -> ProtocolError {
        ProtocolError::BadField { kind: self.kind, field }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (array, rest) = self.left.split_first_chunk().ok_or(self.short())?;
        self.left = rest;
        Ok(*array)
    }

    fn bytes(&mut self) -> Result<&'a [u8], ProtocolError> {
        let size = u32::from_le_bytes(self.array()?) as usize;
        let (bytes, rest) = self.left.split_at_checked(size).ok_or(self.short())?;
        self.left = rest;
        Ok(bytes)
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, ProtocolError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.bad(field))
    }

    fn u64(&mut self) -> Result<u64, ProtocolError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The status of a response.
    fn status(&mut self) -> Result<u16, ProtocolError> {
        let status = u16::from_le_bytes(self.array()?);
        if (200..1000).contains(&status) { Ok(status) } else { Err(self.bad("status")) }
    }

    fn flag(&mut self) -> Result<bool, ProtocolError> {
        let [byte] = self.array()?;
        Ok(byte != 0)
    }

    fn json<T: Deserialize<'a>>(&self) -> Result<T, ProtocolError> {
        serde_json::from_slice(self.left).map_err(|_| self.bad("JSON object"))
    }
}

impl<'a> Order<'a> {
    /// The kind of a job's frame.
    pub const JOB: u8 = 2;
    /// The kind of a message's frame.
    pub const MESSAGE: u8 = 6;
    /// The kind of an answer's frame.
    pub const ANSWER: u8 = 9;

    /// Reads the payload of a job's frame.
    ///
    /// # Errors
    ///
    /// As [`Order::read`].
    #[inline]
    pub fn read_job(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields { kind: Self::JOB, left: payload };
        Ok(Self::Job {
            serial: u64::from_le_bytes(fields.array()?),
            handler: Handler::from_number(u32::from_le_bytes(fields.array()?)),
            conn: fields.bytes()?,
            params: Params(fields.bytes()?),
            spool: fields.bytes()?,
            message: fields.left,
        })
    }

    /// Reads a frame of the hub.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] when hub and worker are of different versions.
    pub fn read(kind: u8, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields { kind, left: payload };
        Ok(match kind {
            1 => Self::Start(fields.json()?),
            Self::JOB => Self::read_job(payload)?,
            3 => Self::Lead,
            4 => Self::Stop,
            5 => {
                let (serial, conn) = (fields.u64()?, fields.u64()?);
                let handler = u32::from_le_bytes(fields.array()?);
                let [flags] = fields.array()?;
                Self::Open(Open {
                    serial,
                    conn,
                    handler,
                    fresh: flags & 1 != 0,
                    resumed: flags & 2 != 0,
                    asked: flags & 4 != 0,
                    transport: fields.text("transport")?,
                    name: fields.bytes()?,
                    data: fields.bytes()?,
                    rooms: Params(fields.bytes()?),
                    params: Params(fields.bytes()?),
                    message: fields.left,
                })
            }
            Self::MESSAGE => Self::Message {
                serial: fields.u64()?,
                conn: fields.u64()?,
                binary: fields.flag()?,
                payload: fields.left,
            },
            7 => Self::Close {
                serial: fields.u64()?,
                conn: fields.u64()?,
                code: u16::from_le_bytes(fields.array()?),
                reason: fields.left,
            },
            8 => Self::Detach { conn: fields.u64()? },
            Self::ANSWER => Self::Answer { query: fields.u64()?, json: fields.left },
            10 => Self::Taken { serial: fields.u64()?, bytes: u32::from_le_bytes(fields.array()?) },
            11 => Self::Gone { serial: fields.u64()? },
            12 => Self::Evaluate { query: fields.u64()?, code: fields.left },
            kind => return Err(ProtocolError::UnknownKind { kind }),
        })
    }
}

impl<'a> Action<'a> {
    /// Reads a frame of a worker.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] when the worker is of another version or out of its mind.
    pub fn read(kind: u8, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields { kind, left: payload };
        Ok(match kind {
            1 => Self::Ready(fields.json()?),
            2 => Self::Failed(fields.json()?),
            3 => Self::Respond {
                serial: fields.u64()?,
                status: fields.status()?,
                head: fields.bytes()?,
                body: fields.left,
            },
            4 => Self::Done { serial: u64::from_le_bytes(fields.array()?) },
            5 => Self::Skipped { serial: u64::from_le_bytes(fields.array()?) },
            6 => Self::Deliver {
                sender: fields.text("sender")?,
                ids: Ids(fields.bytes()?),
                payload: fields.left,
            },
            7 => Self::Disconnect { sender: fields.text("sender")?, ids: Ids(fields.left) },
            8 => Self::Log {
                level: match fields.array()? {
                    [0] => Level::Debug,
                    [1] => Level::Info,
                    [2] => Level::Warn,
                    [3] => Level::Error,
                    _ => return Err(fields.bad("level")),
                },
                serial: fields.u64()?,
                text: fields.bytes()?,
                fields: fields.left,
            },
            9 => Self::Send { conn: fields.u64()?, binary: fields.flag()?, payload: fields.left },
            10 => Self::CloseConn {
                conn: fields.u64()?,
                code: u16::from_le_bytes(fields.array()?),
                reason: fields.left,
            },
            11 => Self::Join { conn: fields.u64()?, room: fields.left },
            12 => Self::Leave { conn: fields.u64()?, room: fields.left },
            13 => Self::Publish {
                except: fields.u64()?,
                binary: fields.flag()?,
                room: fields.bytes()?,
                payload: fields.left,
            },
            14 => Self::CloseRoom {
                code: u16::from_le_bytes(fields.array()?),
                room: fields.bytes()?,
                reason: fields.left,
            },
            15 => Self::SetData { conn: fields.u64()?, json: fields.left },
            16 => Self::Query {
                query: fields.u64()?,
                question: match fields.array()? {
                    [0] => Question::Count,
                    [1] => Question::Members,
                    [2] => Question::Connection,
                    [3] => Question::Data,
                    [4] => Question::Rooms,
                    _ => return Err(fields.bad("question")),
                },
                subject: fields.left,
            },
            17 => Self::Begin { serial: fields.u64()?, status: fields.status()?, head: fields.left },
            18 => Self::Piece { serial: fields.u64()?, bytes: fields.left },
            19 => Self::End { serial: fields.u64()? },
            20 => Self::Abort { serial: fields.u64()? },
            23 => Self::Evaluated { query: fields.u64()?, ok: fields.flag()?, text: fields.left },
            21 => {
                Self::Accept { conn: fields.u64()?, protocol: fields.text("subprotocol")?, head: fields.left }
            }
            22 => {
                let (conn, status) = (fields.u64()?, fields.status()?);
                Self::Refuse { conn, status, head: fields.bytes()?, body: fields.left }
            }
            kind => return Err(ProtocolError::UnknownKind { kind }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_arrives_as_it_was_sent() {
        let mut bytes = Vec::new();
        let values = [&b"a%20b"[..], b""];
        encode_job(&mut bytes, 7, Handler::Route(3), "0.1.9", values.into_iter(), b"/spool/a", b"raw");
        let (kind, payload, rest) = split_frame(&bytes).unwrap();
        assert!(rest.is_empty());
        match Order::read(kind, payload).unwrap() {
            Order::Job { serial: 7, handler: Handler::Route(3), conn, params, spool, message } => {
                assert_eq!(params.collect::<Vec<_>>(), values);
                assert_eq!((conn, spool, message), (&b"0.1.9"[..], &b"/spool/a"[..], &b"raw"[..]));
            }
            other => panic!("{other:?}"),
        }
        for end in 0..payload.len() - 3 {
            assert!(Order::read(kind, &payload[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn orders_about_live_connections_arrive_as_they_were_sent() {
        let rooms = [&b"lobby"[..], b"x"];
        let open = Open {
            serial: 4,
            conn: 9,
            handler: 2,
            fresh: true,
            resumed: false,
            asked: true,
            transport: "json",
            name: b"boot-0.1.9",
            data: b"{}",
            rooms: Params(b""),
            params: Params(b""),
            message: b"raw",
        };
        let mut bytes = Vec::new();
        encode_open(&mut bytes, &open, rooms.into_iter(), [].into_iter());
        let (kind, payload, _) = split_frame(&bytes).unwrap();
        let Ok(Order::Open(read)) = Order::read(kind, payload) else { panic!("no open") };
        assert_eq!(read.rooms.collect::<Vec<_>>(), rooms);
        assert_eq!(Open { rooms: open.rooms, ..read }, open);
        for end in 0..payload.len() - 3 {
            assert!(Order::read(kind, &payload[..end]).is_err(), "{end}");
        }

        let mut bytes = Vec::new();
        encode_message(&mut bytes, 5, 9, true, b"\xff");
        encode_close(&mut bytes, 6, 9, 1006, b"gone");
        encode_detach(&mut bytes, 9);
        encode_answer(&mut bytes, 1, b"[]");
        encode_taken(&mut bytes, 1 << 40, u32::MAX);
        encode_gone(&mut bytes, 7);
        encode_evaluate(&mut bytes, 3, b"1 + 1");
        let mut rest = &bytes[..];
        let mut orders = Vec::new();
        while let Some((kind, payload, after)) = split_frame(rest) {
            orders.push(Order::read(kind, payload).unwrap());
            rest = after;
        }
        let expected = [
            Order::Message { serial: 5, conn: 9, binary: true, payload: b"\xff" },
            Order::Close { serial: 6, conn: 9, code: 1006, reason: b"gone" },
            Order::Detach { conn: 9 },
            Order::Answer { query: 1, json: b"[]" },
            Order::Taken { serial: 1 << 40, bytes: u32::MAX },
            Order::Gone { serial: 7 },
            Order::Evaluate { query: 3, code: b"1 + 1" },
        ];
        assert_eq!(orders, expected);
    }

    #[test]
    fn every_action_survives_the_round_trip_and_no_prefix_panics() {
        let ids = encode_ids([1, -1, i64::MAX]);
        let actions = [
            Action::Ready(Registration { hooks: true, ..Default::default() }),
            Action::Failed(LoadFailure { message: "no".into(), line: Some(3), ..Default::default() }),
            Action::Respond { serial: 1, status: 200, head: b"a: b\r\n", body: b"body" },
            Action::Done { serial: u64::MAX },
            Action::Skipped { serial: 2 },
            Action::Deliver { sender: "m2", ids: Ids::new(&ids), payload: b"x" },
            Action::Disconnect { sender: "m2", ids: Ids::new(&ids) },
            Action::Log { level: Level::Warn, serial: 7, text: b"\xff", fields: b"{}" },
            Action::Send { conn: 1, binary: true, payload: b"" },
            Action::CloseConn { conn: 1 << 40, code: 1000, reason: b"bye" },
            Action::Join { conn: 3, room: b"lobby" },
            Action::Leave { conn: 3, room: b"lobby" },
            Action::Publish { except: 0, binary: false, room: b"lobby", payload: b"hi" },
            Action::CloseRoom { code: 1001, room: b"lobby", reason: b"" },
            Action::SetData { conn: 3, json: b"{}" },
            Action::Query { query: 9, question: Question::Rooms, subject: b"3" },
            Action::Evaluated { query: 3, ok: true, text: b"2" },
            Action::Begin { serial: 4, status: 206, head: b"a: b\r\n" },
            Action::Piece { serial: 4, bytes: b"piece" },
            Action::End { serial: 4 },
            Action::Abort { serial: 4 },
            Action::Accept { conn: 3, protocol: "chat", head: b"a: b\r\n" },
            Action::Refuse { conn: 3, status: 401, head: b"a: b\r\n", body: b"who?" },
        ];
        for action in actions {
            let mut bytes = Vec::new();
            encode_action(&mut bytes, &action);
            let (kind, payload, _) = split_frame(&bytes).unwrap();
            assert_eq!(Action::read(kind, payload), Ok(action));
            for end in 0..bytes.len() {
                assert!(split_frame(&bytes[..end]).is_none());
            }
            for end in 0..payload.len() {
                let _ = Action::read(kind, &payload[..end]);
            }
        }
    }

    #[test]
    fn a_refusal_is_an_answer_and_no_upgrade() {
        for status in [0, 101, 199, 1000] {
            let mut bytes = Vec::new();
            encode_action(&mut bytes, &Action::Refuse { conn: 3, status, head: b"", body: b"" });
            let (kind, payload, _) = split_frame(&bytes).unwrap();
            let expected = ProtocolError::BadField { kind: 22, field: "status" };
            assert_eq!(Action::read(kind, payload), Err(expected), "{status}");
        }
    }

    #[test]
    fn a_channel_that_says_nothing_about_handshakes_does_not_ask() {
        let mut spec = serde_json::to_value(ChannelSpec::default()).unwrap();
        spec.as_object_mut().unwrap().remove("asks");
        assert_eq!(serde_json::from_value::<ChannelSpec>(spec).unwrap(), ChannelSpec::default());
    }

    #[test]
    fn a_batch_is_whole_or_not_there() {
        let bytes = [3, 0, 0, 0, 9, 0, 0, 0, 1, 2, 3, 4];
        assert_eq!(split_batch(&bytes), Ok(Some((9, &[1, 2, 3][..], &[4][..]))));
        assert_eq!(split_batch(&bytes[..10]), Ok(None));
        assert!(split_batch(&[0xff; 8]).is_err());
    }
}
