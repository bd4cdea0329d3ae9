//! The commands.

use super::arguments;
use crate::hub::TapFilter;
use crate::hub::inspect::ConnectionFilter;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Say what there is to say.
    Help {
        /// About one command.
        about: Option<String>,
    },
    /// Say how it goes: since when, how much, what was counted.
    Status,
    /// List live connections.
    Connections(ConnectionFilter),
    /// Tell all of one connection.
    Connection {
        /// Its `conn.id`.
        id: String,
    },
    /// List rooms, the largest first.
    Rooms,
    /// List workers.
    Workers,
    /// Say how each app is.
    Stats {
        /// Only this one.
        app: Option<String>,
    },
    /// Say what waits where.
    Queues,
    /// Tell what is counted, in numbers.
    Metrics {
        /// Those with this in their name.
        name: Option<String>,
    },
    /// List all limits.
    Limits,
    /// Send a text to one connection.
    Send {
        /// Its `conn.id`.
        id: String,
        /// What it gets.
        text: String,
    },
    /// Send a text to a room, or to all.
    Broadcast {
        /// The room; all connections without.
        room: Option<String>,
        /// What they get.
        text: String,
    },
    /// Close a connection with a word to its client.
    Close {
        /// Its `conn.id`.
        id: String,
        /// The close code, 1000 unless given.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// End a connection without a word.
    Kick {
        /// Its `conn.id`.
        id: String,
    },
    /// Load the newest code.
    Reload {
        /// Of this app; of all without.
        app: Option<String>,
    },
    /// Replace a worker when it has done what it has.
    Drain(WorkerName),
    /// Show what passes, from now on.
    Tail(TapFilter),
    /// Show no more.
    Quiet,
    /// Run a made-up request.
    Request(SimulatedRequest),
    /// Run a made-up message of a live connection.
    Message {
        /// Its `conn.id`.
        id: String,
        /// What its client seems to have said.
        text: String,
    },
    /// Run code in a worker.
    Eval {
        /// Which worker.
        worker: u32,
        /// Its app, where several have one of this number.
        app: Option<String>,
        /// An expression or statements, in the script's language.
        code: String,
    },
    /// Log this much from now on.
    Log {
        /// `debug`, `info`, `warn` or `error`.
        level: LogLevel,
    },
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happens.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}

/// A made-up request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulatedRequest {
    /// The method.
    pub method: String,
    /// The path, perhaps with a query.
    pub path: String,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    pub body: String,
}

/// Which worker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerName {
    /// Its number.
    pub worker: u32,
    /// Its app, where several have one of this number.
    pub app: Option<String>,
}

/// A command for people to read of, and how it is read.
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// What it takes; what is in brackets may be left out. At the prompt these come in this order.
    pub arguments: &'static [&'static str],
    /// What it does.
    pub does: &'static str,
    /// A line that says it.
    pub example: &'static str,
    pub(super) read: fn(Map<String, Value>) -> Result<Command, String>,
}

/// What the address of one handler takes, where it is about that handler's app alone.
const FOR_HANDLERS: [&str; 15] = [
    "help",
    "stats",
    "connections",
    "connection",
    "rooms",
    "workers",
    "queues",
    "send",
    "broadcast",
    "publish",
    "close",
    "kick",
    "reload",
    "tail",
    "quiet",
];

impl Described {
    /// Whether the address of one handler takes it.
    pub fn is_for_handlers(&self) -> bool {
        FOR_HANDLERS.contains(&self.name)
    }
}

/// All commands, in the order of `help`.
pub const COMMANDS: &[Described] = &[
    Described {
        name: "help",
        arguments: &["[about]"],
        does: "what there is, or more about one command",
        example: r#"{"do": "help", "about": "connections"}"#,
        read: |object| {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Help {
                about: Option<String>,
            }
            arguments(object).map(|Help { about }| Command::Help { about })
        },
    },
    Described {
        name: "status",
        arguments: &[],
        does: "how long it has run, how much it has to do, and all counters",
        example: r#"{"do": "status"}"#,
        read: |object| arguments(object).map(|Nothing {}| Command::Status),
    },
    Described {
        name: "stats",
        arguments: &["[app]"],
        does: "apps: whether they serve, what they have to do and what they have done",
        example: r#"{"do": "stats"}"#,
        read: |object| {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Stats {
                app: Option<String>,
            }
            arguments(object).map(|Stats { app }| Command::Stats { app })
        },
    },
    Described {
        name: "connections",
        arguments: &["[room=]", "[path=]", "[address=]", "[idle=SECONDS]", "[limit=]", "[after=]"],
        does: "live connections: WebSockets and sockets, in pages",
        example: r#"{"do": "connections", "room": "lobby", "idle": 60}"#,
        read: |object| arguments(object).map(Command::Connections),
    },
    Described {
        name: "connection",
        arguments: &["id"],
        does: "all that is known of one connection",
        example: r#"{"do": "connection", "id": "18f3-0.0.7"}"#,
        read: |object| arguments(object).map(|Id { id }| Command::Connection { id }),
    },
    Described {
        name: "rooms",
        arguments: &[],
        does: "rooms and how many are in each, the largest first",
        example: r#"{"do": "rooms"}"#,
        read: |object| arguments(object).map(|Nothing {}| Command::Rooms),
    },
    Described {
        name: "workers",
        arguments: &[],
        does: "workers: process, state, what they have",
        example: r#"{"do": "workers"}"#,
        read: |object| arguments(object).map(|Nothing {}| Command::Workers),
    },
    Described {
        name: "queues",
        arguments: &[],
        does: "what waits where",
        example: r#"{"do": "queues"}"#,
        read: |object| arguments(object).map(|Nothing {}| Command::Queues),
    },
    Described {
        name: "metrics",
        arguments: &["[name]"],
        does: "all numbers that a Prometheus would get, or those with this in their name",
        example: r#"{"do": "metrics", "name": "requests"}"#,
        read: |object| {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Metrics {
                name: Option<String>,
            }
            arguments(object).map(|Metrics { name }| Command::Metrics { name })
        },
    },
    Described {
        name: "limits",
        arguments: &[],
        does: "every limit in force",
        example: r#"{"do": "limits"}"#,
        read: |object| arguments(object).map(|Nothing {}| Command::Limits),
    },
    Described {
        name: "send",
        arguments: &["id", "text"],
        does: "sends a text to one connection",
        example: r#"{"do": "send", "id": "18f3-0.0.7", "text": "hello"}"#,
        read: |object| {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Send {
                #[serde(alias = "conn")]
                id: String,
                #[serde(alias = "data", deserialize_with = "text")]
                text: String,
            }
            arguments(object).map(|Send { id, text }| Command::Send { id, text })
        },
    },
    Described {
        name: "broadcast",
        arguments: &["[room=]", "text"],
        does: "sends a text to all in a room, or to every live connection",
        example: r#"{"do": "broadcast", "room": "lobby", "text": "back in a minute"}"#,
        read: |object| {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Broadcast {
                room: Option<String>,
                #[serde(alias = "data", deserialize_with = "text")]
                text: String,
            }
            arguments(object).map(|Broadcast { room, text }| Command::Broadcast { room, text })
        },
    },
    Described {
        name: "publish",
        arguments: &["room", "text"],
        does: "sends a text to all in a room",
        example: r#"{"do": "publish", "room": "lobby", "data": "back in a minute"}"#,
        read: |object| {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Publish {
                room: String,
                #[serde(alias = "data", deserialize_with = "text")]
                text: String,
            }
            let read = |Publish { room, text }| Command::Broadcast { room: Some(room), text };
            arguments(object).map(read)
        },
    },
    Described {
        name: "close",
        arguments: &["id", "[code]", "[reason]"],
        does: "closes a connection; its client gets code and reason",
        example: r#"{"do": "close", "id": "18f3-0.0.7", "code": 4000, "reason": "enough"}"#,
        read: |object| {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Close {
                #[serde(alias = "conn")]
                id: String,
                #[serde(default = "normal")]
                code: u16,
                #[serde(default)]
                reason: String,
            }
            fn normal() -> u16 {
                1000
            }
            arguments(object).map(|Close { id, code, reason }| Command::Close { id, code, reason })
        },
    },
    Described {
        name: "kick",
        arguments: &["id"],
        does: "ends a connection at once, without a word to its client",
        example: r#"{"do": "kick", "id": "18f3-0.0.7"}"#,
        read: |object| arguments(object).map(|Id { id }| Command::Kick { id }),
    },
    Described {
        name: "reload",
        arguments: &["[app]"],
        does: "loads the newest code of an app, or of all, and says what became of it",
        example: r#"{"do": "reload"}"#,
        read: |object| {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Reload {
                app: Option<String>,
            }
            arguments(object).map(|Reload { app }| Command::Reload { app })
        },
    },
    Described {
        name: "drain",
        arguments: &["worker", "[app=]"],
        does: "starts another worker, and when that is ready lets this one finish what it has and end",
        example: r#"{"do": "drain", "worker": 1}"#,
        read: |object| arguments(object).map(Command::Drain),
    },
    Described {
        name: "tail",
        arguments: &["[id=]", "[room=]", "[path=]"],
        does: "shows requests, answers and messages as they pass, until told to be quiet",
        example: r#"{"do": "tail", "room": "lobby"}"#,
        read: |object| arguments(object).map(Command::Tail),
    },
    Described {
        name: "quiet",
        arguments: &[],
        does: "ends what `tail` has begun",
        example: r#"{"do": "quiet"}"#,
        read: |object| arguments(object).map(|Nothing {}| Command::Quiet),
    },
    Described {
        name: "request",
        arguments: &["method", "path", "[body]"],
        does: "runs a made-up request and shows its answer",
        example: r#"{"do": "request", "method": "GET", "path": "/", "headers": {"accept": "text/html"}}"#,
        read: |object| arguments(object).map(Command::Request),
    },
    Described {
        name: "message",
        arguments: &["id", "text"],
        does: "gives the script a message as if this connection's client had sent it",
        example: r#"{"do": "message", "id": "18f3-0.0.7", "text": "hello"}"#,
        read: |object| {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Message {
                #[serde(alias = "conn")]
                id: String,
                #[serde(alias = "data", deserialize_with = "text")]
                text: String,
            }
            arguments(object).map(|Message { id, text }| Command::Message { id, text })
        },
    },
    Described {
        name: "eval",
        arguments: &["worker", "[app=]", "code"],
        does: "runs code in a worker, in its language; `kennel` and `app` are there",
        example: r#"{"do": "eval", "worker": 1, "code": "kennel.room('lobby'):count()"}"#,
        read: |object| {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Eval {
                worker: u32,
                app: Option<String>,
                code: String,
            }
            arguments(object).map(|Eval { worker, app, code }| Command::Eval { worker, app, code })
        },
    },
    Described {
        name: "log",
        arguments: &["level"],
        does: "logs this much from now on: debug, info, warn or error",
        example: r#"{"do": "log", "level": "debug"}"#,
        read: |object| {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Log {
                level: LogLevel,
            }
            arguments(object).map(|Log { level }| Command::Log { level })
        },
    },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Id {
    #[serde(alias = "conn")]
    id: String,
}

/// A text; of anything else its JSON is the text.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}
