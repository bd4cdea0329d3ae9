//! What Kennel promises, tried from the outside: a real Mongrel2, a real `kennel`, scripts and clients.
//!
//! Run all with `cargo test -p tests --test promises`, one theme with `... --test promises crashes::`.
//! `KENNEL_LONG=1` makes the tests of endurance last as long as the promises say. `KENNEL_BIN` names
//! another program to test. With `KENNEL_TEST_COLLECT=1` the cycle collector of each Python runs at every second
//! allocation.
//!
//! What a script sees is promised in each language, so one test of it becomes `name::lua` and `name::python`; tests of the
//! hub, of Mongrel2 and of the clients' side have a script in Lua alone.

/// Adoption: a killed kennel's connections live on with the next one.
mod adoption;
/// Answers: what a handler returns becomes HTTP.
mod answers;
/// Tests of apps: `kennel test`, and what it drives without a server.
mod app_tests;
/// Bodies that are still arriving, in files and in parts.
mod arriving;
/// ASGI: the standard for asynchronous applications in Python.
mod asgi;
/// WebSockets of ASGI applications.
mod asgi_websockets;
/// BOSH: channels for XMPP clients, whose connections may break, and the example with strophe.js.
mod bosh;
/// Capacity: a Mongrel2 is never given more connections than it holds without harm.
mod capacity;
/// Carriers: channels by event streams and long polls, whose connections may break.
mod carriers;
/// CGI: scripts that are started for each request.
mod cgi;
/// Channels: open, messages, close, and what a script can do with a live connection.
mod channels;
/// The chat example: pages that talk to each other, in a real browser.
mod chat;
/// The client library: the same conversation by each carrier, in a real browser.
mod client_library;
/// Python's cycle collector: it may run at any moment, and no worker dies of it.
mod collector;
/// The command line: exit codes, errors, listings.
mod command_line;
/// `kennel conf`: Mongrel2's configuration, files and databases.
mod conf;
/// A real Mongrel2 on every valid configuration that there is.
mod configurations;
/// Connections: keep-alive, close, order, bodies of any size.
mod connections;
/// `kennel console`: asking and telling a running kennel.
mod console;
/// Control frames: pings and pongs of WebSockets, as many as clients and the hub want.
mod control_frames;
/// Conversations: several pages as one function, in Lua.
mod conversations;
/// Crashes: workers die, and nobody but the running requests notices.
mod crashes;
/// Crowds: much for many clients at once, each gets it whole and in order.
mod crowds;
/// `kennel ctl`: Mongrel2's control port.
mod ctl;
/// `kennel decode`: every captured message, as its index says.
mod dead_lines;
mod decode;
/// `kennel dev`: errors in the browser, new code, and no strangers.
mod dev;
/// Stop and reload finish what was begun, or name what they cut off.
mod endings;
/// Examples: each one starts and answers.
mod examples;
/// Programs in any language: JSON lines, and what becomes of bad ones.
mod exec;
/// Programs with live connections.
mod exec_channels;
/// An existing Mongrel2 and its database: started, stopped, served behind, and checked.
mod existing_server;
/// Fairness: requests and live connections share a worker's time.
mod fairness;
/// Files: types, conditions, ranges, roots that nobody leaves, large ones, compression.
mod files;
/// Forged upload headers: no file is opened, none deleted.
mod forged;
/// Forms: fields and files, whatever sends them.
mod forms;
/// Frameworks: Django, FastAPI and Starlette, with their packages from PyPI.
mod frameworks;
/// `kennel front` and `--front`: which server is started, and what it does not support.
mod front;
/// Handlers of others behind the front, over libzmq.
mod front_handlers;
/// `kennel front` as a process: its chroot and its user.
mod front_process;
/// The front's robustness: slow clients, too few descriptors, its start.
mod front_robustness;
/// The guard: a preloaded library keeps Mongrel2 from writing one client's bytes to another client.
mod guard;
/// Heartbeats: idle connections stay open, dead ones are found.
mod heartbeats;
/// Hooks: before, after, not_found, error.
mod hooks;
/// Hostile input: whatever arrives, the hub lives and answers the next good request.
mod hostile;
/// Hosts: a site may answer to its own names only.
mod hosts;
/// Installation: what a fresh system gets, with stand-ins for apt and for Rust's installer.
mod install_missing;
/// Limits: time, memory and queues are bounded, and the bound is felt by its cause alone.
mod limits;
/// Logs: what is logged, and that nothing waits for its reader.
mod logs;
/// Lua's modules: native ones, and where they are found.
mod lua_modules;
/// Memory: the hub stays small.
mod memory;
/// Metrics: numbers for Prometheus and the console, and ids in log lines.
mod metrics;
/// New code: reload, and `kennel dev`.
mod new_code;
/// Pacing: whatever a script sends at once arrives in order, and slow readers are dealt with as it says.
mod pacing;
/// What Python alone can do wrong, and which interpreter runs it.
mod proxies;
/// Python apps: packages, factories, standards, and which worker gets what.
mod python_apps;
mod python_only;
mod python_threads;
/// The raw level: messages as they are, bytes to anybody.
mod raw;
/// Requests: what scripts see of them.
mod requests;
/// Rooms: everybody in them gets everything once, in the same order.
mod rooms;
/// Routes: who answers which path and method.
mod routes;
/// Script errors: one request fails, the log says where, all others go on.
mod script_errors;
/// Servers: other people's Mongrel2, several of them, their end and return.
mod servers;
/// Sessions: what a visitor carries in a signed cookie, and nobody else can write.
mod sessions;
/// Workers that do not work: stopped, hung outside of handlers, dead behind a child, out of step.
mod silent_workers;
/// A directory of handlers, and an address for each.
mod site_folder;
/// Slips: what is typed by mistake is told when the script is loaded.
mod slips;
/// Slow lines: what clients get whole from a Mongrel2 without flow control.
mod slow_lines;
/// JSON and XML sockets: the same channels over other wires.
mod sockets;
/// Standards: requests that Mongrel2 lets through and HTTP, WebSocket or JSON do not, and what every client may spell.
mod standards;
/// The end: what runs is finished, nothing is left behind.
mod stopping;
/// Streams: answers in pieces, and server-sent events.
mod streams;
/// The script's surroundings: modules, configuration, log.
mod surroundings;
/// Tasks: sleeping, spawned and repeated work, the app's own start and stop.
mod tasks;
/// Templates: pages made of the files beside the app, and of nothing else.
mod templates;
/// Test runs: what `scripts/run-tests` says of tests that fail, with a stand-in for cargo.
mod test_runs;
/// Uploads: bodies that Mongrel2 puts into files.
mod uploads;
/// WebSocket input: whatever a client sends, the protocol's answer to it is given.
mod websocket_input;
/// A handler in Rust on `mongrel2-wire` alone.
mod wire_crate;
/// Wrong inputs: command lines, settings and scripts, and what is said of each.
mod wrong_inputs;
/// WSGI: the older standard for applications in Python.
mod wsgi;
