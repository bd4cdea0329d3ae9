//! Every bound of the hub, with its name and its default, in one place.

use super::servers::capacity::Capacity;
use kennel_http::forms::FormLimits;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The bounds in force. Names are those of `[limits]` in `kennel.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Limits {
    /// From a request's arrival to its answer, or to the beginning of one in pieces; then 504.
    pub request_timeout: Duration,
    /// How long a script may run without pause; then its worker is killed and the request gets 504.
    pub script_time: Duration,
    /// How long a script may take to load.
    pub load_time: Duration,
    /// How long running work may go on after a stop or a reload.
    pub stop_time: Duration,
    /// How long stop hooks and an ASGI lifespan's shutdown may take after `stop_time`; then the worker is killed.
    pub hook_time: Duration,
    /// Requests of one app that wait for a worker; one more gets 503.
    pub queue: usize,
    /// Unanswered jobs that one worker may hold.
    pub worker_jobs: usize,
    /// Requests that one connection may have waiting behind the one that runs (pipelining).
    pub pipeline: usize,
    /// Bytes of replies that one Mongrel2 was handed and has not taken yet. While there are more, what is to be sent
    /// waits with its connections.
    pub spill: usize,
    /// Bytes that wait for all connections of one Mongrel2 together. While there are more, clients that have read
    /// nothing for longest are dropped.
    pub server_output: usize,
    /// Bytes that wait for one connection, of messages, raw deliveries and answers in pieces; more closes it.
    pub connection_output: usize,
    /// Bytes of one live connection's messages that wait for the script; more closes it.
    pub channel_queue: usize,
    /// Bytes of a body that goes to a file, as announced; more gets 413.
    pub upload: usize,
    /// Bytes of all bodies in files or in parts together that have arrived and whose requests are not over. One more body
    /// gets 503; while there are more, those that began last do.
    pub upload_total: usize,
    /// The same for one client's address.
    pub upload_total_per_address: usize,
    /// Bytes per second that such a body brings at least, on average over 150 s; then 408.
    pub upload_rate: usize,
    /// Bodies of one client's address that arrive at once, in files or in parts; one more gets 503.
    pub bodies_per_address: usize,
    /// Rooms that one connection may be in.
    pub rooms: usize,
    /// How often Mongrel2 is told which connections are held; less than half of its `limits.min_ping`.
    pub keep_alive: Duration,
    /// Targets of one reply, Mongrel2's `limits.handler_targets`.
    pub handler_targets: usize,
    /// Conversations (`kennel.prompt`) that may wait for their visitors in one worker; one more ends the one that was silent
    /// for longest.
    pub conversations: usize,
    /// The same for one client's address, or one /64 network of IPv6.
    pub conversations_per_address: usize,
    /// Live connections at one Mongrel2, and clients that wait there; a new live connection beyond gets 503. Less where
    /// Mongrel2 holds less ([`Capacity`](super::Capacity)).
    pub connections: usize,
    /// Sessions by event streams, long polls, WebSockets of `kennel.js` and BOSH at once; one more gets 503.
    pub sessions: usize,
    /// The same for one client's address.
    pub sessions_per_address: usize,
    /// How long a client's poll of a session is held when nothing comes; less than what proxies and Mongrel2 bear.
    pub poll_wait: Duration,
    /// For how long a session lives without a poll, a stream or a WebSocket of its client.
    pub inactivity: Duration,
    /// Messages that wait for a session's client; more closes it, or drops the oldest, as the channel says.
    pub mailbox: usize,
    /// Bytes of what was written to a stream of events that are kept for a client that comes back; by a WebSocket of
    /// `kennel.js`, no more than this leaves before it is acknowledged.
    pub resume: usize,
    /// Memory of one worker's scripts, bytes.
    pub worker_memory: usize,
    /// The longest line that a program may write, bytes; one that writes a longer one is killed.
    pub exec_line: usize,
    /// Bytes of log lines that wait to be written; further lines are dropped and counted.
    pub log_queue: usize,
    /// What one form of a client may have; `form_parts` and so on in `kennel.toml`.
    pub form: FormLimits,
}

/// The value of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitValue {
    /// A time.
    Time(Duration),
    /// Bytes.
    Size(usize),
    /// A number of anything else.
    Count(usize),
}

impl LimitValue {
    /// For machines: seconds, bytes, or the number.
    pub fn as_json(self) -> serde_json::Value {
        match self {
            Self::Time(time) if time.subsec_nanos() == 0 => time.as_secs().into(),
            Self::Time(time) => time.as_secs_f64().into(),
            Self::Size(number) | Self::Count(number) => number.into(),
        }
    }
}

/// As it can be written in `kennel.toml`.
impl std::fmt::Display for LimitValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Time(time) => write!(f, "{time:?}"),
            Self::Size(bytes) if bytes.is_multiple_of(1 << 30) => write!(f, "{}GiB", bytes >> 30),
            Self::Size(bytes) if bytes.is_multiple_of(1 << 20) => write!(f, "{}MiB", bytes >> 20),
            Self::Size(bytes) if bytes.is_multiple_of(1 << 10) => write!(f, "{}KiB", bytes >> 10),
            Self::Size(number) | Self::Count(number) => write!(f, "{number}"),
        }
    }
}

impl Limits {
    /// Whether no body may have so many bytes, even alone.
    pub(super) fn is_too_large(&self, body: u64) -> bool {
        body > self.upload.min(self.upload_total).min(self.upload_total_per_address) as u64
    }

    /// Each with its name, its value for people to read, and what it means.
    pub fn described(&self) -> Vec<(&'static str, String, &'static str)> {
        let text = |(name, value, meaning): (_, LimitValue, _)| (name, value.to_string(), meaning);
        self.all().into_iter().map(text).collect()
    }

    /// Each with its name, its value and what it means.
    pub fn all(&self) -> Vec<(&'static str, LimitValue, &'static str)> {
        vec![
            (
                "request_timeout",
                LimitValue::Time(self.request_timeout),
                "from a request to its answer's beginning, then 504",
            ),
            (
                "script_time",
                LimitValue::Time(self.script_time),
                "a script may run without pause, then its worker is replaced",
            ),
            ("load_time", LimitValue::Time(self.load_time), "a script may take to load"),
            ("stop_time", LimitValue::Time(self.stop_time), "running work may go on after a stop or reload"),
            (
                "hook_time",
                LimitValue::Time(self.hook_time),
                "stop hooks may take after stop_time, then the worker is killed",
            ),
            ("queue", LimitValue::Count(self.queue), "requests of an app that wait for a worker, then 503"),
            (
                "worker_jobs",
                LimitValue::Count(self.worker_jobs),
                "unanswered requests that one worker may hold",
            ),
            ("pipeline", LimitValue::Count(self.pipeline), "requests waiting on one connection, then 503"),
            (
                "spill",
                LimitValue::Size(self.spill),
                "handed to one server and not taken yet, then the rest waits with its connections",
            ),
            (
                "server_output",
                LimitValue::Size(self.server_output),
                "what waits for all connections of one server, then the slowest are closed",
            ),
            (
                "connection_output",
                LimitValue::Size(self.connection_output),
                "messages, deliveries and pieces that wait for one connection, then close",
            ),
            (
                "channel_queue",
                LimitValue::Size(self.channel_queue),
                "messages of one connection that wait for the script",
            ),
            ("upload", LimitValue::Size(self.upload), "a body that comes as a file or in parts, then 413"),
            (
                "upload_total",
                LimitValue::Size(self.upload_total),
                "large bodies that have arrived and whose requests are not over, then 503",
            ),
            (
                "upload_total_per_address",
                LimitValue::Size(self.upload_total_per_address),
                "the same for one client address",
            ),
            (
                "upload_rate",
                LimitValue::Size(self.upload_rate),
                "bytes per second of a large body at least, on average over 150 s; then 408",
            ),
            (
                "bodies_per_address",
                LimitValue::Count(self.bodies_per_address),
                "large bodies of one client address that arrive at once, then 503",
            ),
            ("rooms", LimitValue::Count(self.rooms), "rooms that one connection may be in"),
            ("keep_alive", LimitValue::Time(self.keep_alive), "how often the server is told what is held"),
            (
                "handler_targets",
                LimitValue::Count(self.handler_targets),
                "connections that one reply may reach",
            ),
            (
                "conversations",
                LimitValue::Count(self.conversations),
                "conversations that wait for their visitors in one worker",
            ),
            (
                "conversations_per_address",
                LimitValue::Count(self.conversations_per_address),
                "the same for one client address",
            ),
            (
                "connections",
                LimitValue::Count(self.connections),
                "live connections at one server, or as many as that holds; then 503",
            ),
            (
                "sessions",
                LimitValue::Count(self.sessions),
                "sessions of clients that come back; then the oldest that was never polled ends, or 503",
            ),
            (
                "sessions_per_address",
                LimitValue::Count(self.sessions_per_address),
                "the same for one client address",
            ),
            ("poll_wait", LimitValue::Time(self.poll_wait), "a poll of a session is held when nothing comes"),
            ("inactivity", LimitValue::Time(self.inactivity), "a session lives without its client"),
            ("mailbox", LimitValue::Count(self.mailbox), "messages that wait for a session's client"),
            (
                "resume",
                LimitValue::Size(self.resume),
                "what was sent to a session and is kept until it has arrived",
            ),
            ("worker_memory", LimitValue::Size(self.worker_memory), "memory of one worker's scripts"),
            ("exec_line", LimitValue::Size(self.exec_line), "one line of a program, then it is killed"),
            (
                "log_queue",
                LimitValue::Size(self.log_queue),
                "log lines that wait to be written, then they are dropped",
            ),
            ("form_parts", LimitValue::Count(self.form.parts), "fields and files of one form, then 413"),
            ("form_field", LimitValue::Size(self.form.field), "one field of a form, then 413"),
            (
                "form_header",
                LimitValue::Size(self.form.header),
                "the headers of one part of a form, then 413",
            ),
            ("form_memory", LimitValue::Size(self.form.memory), "all fields of one form together, then 413"),
        ]
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            script_time: Duration::from_secs(10),
            load_time: Duration::from_secs(30),
            stop_time: Duration::from_secs(10),
            hook_time: Duration::from_secs(3),
            queue: 1000,
            worker_jobs: 1024,
            pipeline: 64,
            spill: 8 << 20,
            server_output: 512 << 20,
            connection_output: 16 << 20,
            channel_queue: 4 << 20,
            upload: 1 << 30,
            upload_total: 8 << 30,
            upload_total_per_address: 2 << 30,
            upload_rate: 100,
            bodies_per_address: 64,
            rooms: 1000,
            keep_alive: Duration::from_secs(45),
            handler_targets: 128,
            conversations: 1000,
            conversations_per_address: 100,
            connections: Capacity::MAX,
            sessions: 50_000,
            sessions_per_address: 1000,
            poll_wait: Duration::from_secs(25),
            inactivity: Duration::from_secs(60),
            mailbox: 16_384,
            resume: 1 << 20,
            worker_memory: 256 << 20,
            exec_line: 64 << 20,
            log_queue: 4 << 20,
            form: FormLimits::default(),
        }
    }
}
