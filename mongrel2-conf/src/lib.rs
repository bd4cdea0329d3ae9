//! Mongrel2's configuration: a typed model of it, and the SQLite database that the server reads.
//!
//! In reading order:
//!
//! * [`model`]: servers, hosts, routes and their targets, as Mongrel2 knows them.
//! * [`invalid`]: what Mongrel2 would punish; [`model::Config::check`] finds it.
//! * [`store`]: the database, written whole or not at all, and read back.
//! * [`public_files`]: routes that let Mongrel2 serve a folder next to a Handler that owns `/`.
//! * [`mimetypes`]: the content types of common file name extensions.
//! * [`deployed`]: the servers of a database as they run here: their processes, sockets and files.
//! * [`control`]: a client of the control port of a server that runs.
//!
//! ```
//! use mongrel2_conf::model::{Config, Handler, Host, Protocol, Route, Server, Target};
//! use mongrel2_conf::{mimetypes, store};
//!
//! let app = Handler {
//!     send_spec: "ipc://run/requests".into(),
//!     send_ident: "app-1".into(),
//!     recv_spec: "ipc://run/replies".into(),
//!     recv_ident: "app-".into(),
//!     raw_payload: true,
//!     protocol: Protocol::Tnetstring,
//! };
//! let config = Config {
//!     servers: vec![Server {
//!         uuid: "main".into(),
//!         port: 6767,
//!         hosts: vec![Host::new("localhost", vec![Route::new("/", Target::Handler(app))])],
//!         ..Server::default()
//!     }],
//!     settings: vec![("server.daemonize".into(), "0".into())],
//!     mimetypes: mimetypes::defaults(),
//! };
//! # let folder = std::env::temp_dir().join(format!("mongrel2-conf-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("config.sqlite");
//! store::write(&config, &path)?;
//! assert_eq!(store::handlers(&path)?[0].handler.send_ident, "app-1");
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
pub mod control;
pub mod deployed;
pub mod invalid;
pub mod mimetypes;
pub mod model;
pub mod public_files;
pub mod store;
