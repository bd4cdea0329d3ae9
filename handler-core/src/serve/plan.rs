//! What the loop serves, and the sockets by which the program and others speak to it.

use crate::hub::{AppId, AppSpec, Hosts, Limits, Sharing};
use crate::transport::Endpoint;
use crate::worker::process::WorkerCommand;
use crate::worker::protocol::Start;
use kennel_http::proxies::TrustedProxies;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// An app to serve.
#[derive(Debug, Clone)]
pub struct App {
    /// What the hub knows of it.
    pub spec: AppSpec,
    /// How its workers share its requests.
    pub sharing: Sharing,
    /// How its workers are started.
    pub command: WorkerCommand,
    /// What they are told; each gets its own number.
    pub start: Start,
}

/// What to serve.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The bounds.
    pub limits: Limits,
    /// The servers.
    pub endpoints: Vec<Endpoint>,
    /// The apps.
    pub apps: Vec<App>,
    /// A folder of its own for bodies that Mongrel2 sends in parts (`upload.stream`) and no script reads as they come;
    /// none: such bodies get 413.
    pub bodies: Option<PathBuf>,
    /// Proxies that name the client of a request.
    pub proxies: Option<TrustedProxies>,
    /// Apps whose first code does not load hold up nobody: all is ready when that of each has loaded or failed, and those that
    /// have loaded wait some seconds at most for one that does neither.
    pub partial: bool,
    /// The hosts that clients may ask by; none: any.
    pub hosts: Option<Hosts>,
}

/// The program's ways to say something to the loop: each byte read is one word.
#[derive(Debug)]
pub struct Inputs {
    /// Stop; a second byte stops at once.
    pub stop: UnixStream,
    /// Load the apps' newest code.
    pub reload: UnixStream,
    /// Where [consoles](crate::console) connect.
    pub consoles: Vec<ConsoleSocket>,
    /// Where [metrics](crate::metrics) are read, by HTTP.
    pub metrics: Option<TcpListener>,
    /// Where workers write what they do not give the hub; none: to standard error.
    pub output: Option<Arc<OwnedFd>>,
    /// Lines of the log that the program dropped.
    pub dropped_log_lines: Arc<AtomicU64>,
}

/// A socket that takes the [console's](crate::console) lines.
#[derive(Debug)]
pub struct ConsoleSocket {
    /// It listens.
    pub listener: UnixListener,
    /// Which app alone can be seen and touched there; none: everything.
    pub only: Option<AppId>,
}
