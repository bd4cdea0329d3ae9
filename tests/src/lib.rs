//! What tests from the outside need: a site that runs, clients that send exact bytes, and a Mongrel2
//! of any make.
//!
//! * [`site`]: a folder with scripts and a `kennel run` in it, from start to end.
//! * [`language`]: the languages in which a script may be, and tests for each of them.
//! * [`client`]: an HTTP client that sends exactly the bytes it is given.
//! * [`browser`]: a real browser, for what a page does; [`proxy`]: what may stand in its way.
//! * [`crowd`]: many WebSockets that check every byte they read.
//! * [`websocket`]: a WebSocket client that sends exactly the frames it is given; [`socket`]: a client of JSON and
//!   XML sockets.
//! * [`server`]: a real Mongrel2 that is not Kennel's own.
//! * [`fake`]: Mongrel2's two sockets in the hands of a test, for what a real one never sends.
//! * [`metrics`]: Prometheus' text format, strictly.
//! * [`slow_network`]: servers and clients far from each other, with losses and a rate.
//! * [`command`]: `kennel` run to its end, with what it printed.
//! * [`process`], [`log`], [`wait`]: processes, log lines and events, always with a deadline.
//! * [`venv`]: packages from PyPI, for what tests do with Python; [`npm`]: packages from npm, for pages.
//! * [`binary`], [`folder`], [`port`]: where the program is, and what a test has for itself alone.

pub mod binary;
pub mod browser;
pub mod client;
pub mod command;
pub mod cpu;
pub mod crowd;
pub mod events;
pub mod fake;
pub mod folder;
pub mod language;
pub mod log;
pub mod metrics;
pub mod npm;
pub mod port;
pub mod process;
pub mod proxy;
pub mod server;
pub mod site;
pub mod slow_network;
pub mod socket;
pub mod venv;
pub mod wait;
pub mod websocket;
