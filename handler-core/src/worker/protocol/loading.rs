//! What is said once, when a worker loads its script; it travels as JSON.

#[cfg(doc)]
use super::Action;
use crate::channel::Slow;
use crate::object;
use crate::sessions::Keys;
use kennel_http::forms::FormLimits;
use serde::{Deserialize, Serialize};

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
    /// Seconds that the script may take to load; 0: any.
    #[serde(default)]
    pub load_time: f64,
    /// The memory that scripts may use, bytes.
    pub memory: usize,
    /// Conversations that may wait for their visitors.
    #[serde(default)]
    pub conversations: usize,
    /// The same for one client's address.
    #[serde(default)]
    pub conversations_per_address: usize,
    /// Limits per client address count addresses of this machine and of private networks, too: proxies are known.
    #[serde(default)]
    pub counts_local: bool,
    /// What sessions and tokens are signed with.
    #[serde(default)]
    pub keys: Keys,
    /// What one form of a client may have.
    #[serde(default)]
    pub form: FormLimits,
    /// The folder in which a worker may keep files for as long as their requests last, each worker in a folder of its own that
    /// is called as its process id; the hub deletes what one leaves. Empty: there is none.
    #[serde(default)]
    pub scratch: String,
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
    /// Its handler starts as soon as the head of a request is there, and reads the body as it arrives.
    #[serde(default)]
    pub streams: bool,
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
    #[serde(deserialize_with = "object::list")]
    pub routes: Vec<RouteSpec>,
    /// The channels, in the order of registration.
    #[serde(default, deserialize_with = "object::list")]
    pub channels: Vec<ChannelSpec>,
    /// Whether the script wants every response to pass by it, so that the hub must not answer 404
    /// and the like alone.
    pub hooks: bool,
    /// Whether the script replaces the page for paths without a route.
    pub not_found: bool,
    /// Whether the script takes the messages that no route takes.
    pub raw: bool,
    /// Whether the page for paths without a route reads bodies as they arrive, as [`RouteSpec::streams`].
    #[serde(default)]
    pub streams: bool,
    /// Whether another registration may follow, in a second [`Action::Ready`]: a program that has said nothing yet
    /// serves everything, and may still say what it answers to.
    #[serde(default)]
    pub provisional: bool,
    /// What the script is.
    #[serde(default)]
    pub interface: Interface,
}

/// What a script is: an app of Kennel's own, or an application of one of Python's standards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// Kennel's own: routes and channels.
    #[default]
    Kennel,
    /// ASGI, which takes every request and WebSocket.
    Asgi,
    /// WSGI, which takes every request.
    Wsgi,
}

impl Interface {
    /// The name of the standard, for people; `None`: Kennel's own.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Kennel => None,
            Self::Asgi => Some("ASGI"),
            Self::Wsgi => Some("WSGI"),
        }
    }
}

impl Registration {
    /// Whether the script has no routes because it takes every request under its mount point, with any method, as
    /// ASGI and WSGI applications do. Then its channels leave plain HTTP alone.
    pub fn is_all_page(&self) -> bool {
        self.takes_everything() && !self.raw && self.channels.iter().all(|c| c.asks)
    }

    /// Whether it has no routes and gets all the same what no other app takes, with any method.
    pub fn takes_everything(&self) -> bool {
        self.routes.is_empty() && self.not_found && self.hooks
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
