//! Mongrel2's configuration: the language in which people write it, a typed model of it, and the
//! SQLite database that the server reads.
//!
//! In reading order:
//!
//! * [`model`]: servers, hosts, routes and their targets, as Mongrel2 knows them.
//! * [`language`]: configuration files, as m2sh reads them.
//! * [`diagnostic`]: what is wrong with a file and where; [`span`] says where.
//! * [`invalid`]: what Mongrel2 would punish; [`model::Config::problems`] finds it.
//! * [`print`](mod@print): a model as the text of a configuration file.
//! * [`routing`]: which route a request reaches; [`pattern`] is the language of their keys.
//! * [`store`]: the database, written whole or not at all, and read back.
//! * [`diff`](mod@diff): what two configurations do not have in common.
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
pub mod diagnostic;
pub mod language;
pub mod model;
pub mod public_files;
pub mod routing;
pub mod store;

pub use check::invalid;
pub use diagnostic::span;
pub use language::print;
pub use model::{diff, mimetypes};
pub use routing::pattern;
