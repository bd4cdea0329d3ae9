//! The configuration of a server that Kennel starts: one database, which Mongrel2 and Kennel's front both read.

use crate::args::Front;
use crate::mongrel2::capacity::Places;
use handler_core::hub::LimitValue;
use mongrel2_conf::model::{Config, Dir, Handler, Host, Protocol, Route, Server, Target};
use mongrel2_conf::{mimetypes, public_files, store};
use mongrel2_front::Amount;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tracing::warn;

/// The server's uuid in the database.
pub(super) const UUID: &str = "kennel";
/// The folder of bodies that come as files.
pub(super) const UPLOADS: &str = "uploads";
/// The database's file.
pub(super) const DATABASE: &str = "config.sqlite";

/// The settings of the server, with the reason for each.
const SETTINGS: [(&str, &str); 6] = [
    // It is a child process that is watched.
    ("server.daemonize", "0"),
    // Browsers send more than 4 KiB of headers when sites set many cookies.
    ("limits.buffer_size", "16384"),
    // Headers may come in this many pieces, less two; slow lines make many.
    ("limits.client_read_retries", "64"),
    // Bodies come whole, up to here; larger ones and those in chunks come as files. This is also the size of the
    // buffer for a chunk, and has to be: Mongrel2 makes its buffer as large as the one or the other, and when it makes
    // it smaller with more than that in it, it crashes (a body of 5 MiB with its length, then one of 300 KiB in
    // chunks).
    ("limits.content_length", "103424"),
    ("upload.temp_store_mode", "0600"),
    ("disable.access_logging", "1"),
];

/// What fits the paths of CGI scripts, in all the ways in which they can be encoded (an encoded dot never reaches a
/// folder anyway): clients must not read their source, whether they are run or not.
const SCRIPTS: [&str; 6] =
    [r"/(cgi\-bin)", r"/(cgi%2[dD]bin)", r"/(.*\.cgi)", r"/(.*\.%)", r"/(.*\.c%)", r"/(.*\.cg%)"];

/// What may be chosen about the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ways {
    /// Which server it is.
    pub(crate) front: Front,
    /// It counts what its clients have not read.
    pub(crate) flow_control: bool,
    /// It sends large bodies in parts, rather than to put them into files.
    pub(crate) stream_uploads: bool,
    /// It leaves the X-Forwarded-For of its peers as it is.
    pub(crate) keep_forwarded: bool,
}

/// Descriptors that this process and its workers may have, if the hard limit allows it.
const DESCRIPTORS: u64 = 20_480;

/// Writes the database of a server that listens on `address` and has its sockets and files in `folder`.
pub(super) fn write(
    folder: &str,
    address: SocketAddr,
    ways: Ways,
    public: Option<&Path>,
) -> anyhow::Result<()> {
    let handler = Handler {
        send_spec: format!("ipc://{folder}/requests"),
        send_ident: "kennel".into(),
        recv_spec: format!("ipc://{folder}/replies"),
        recv_ident: "kennel".into(),
        raw_payload: true,
        protocol: Protocol::Tnetstring,
    };
    // JSON sockets name their route `@...`, XML sockets are their tag `<...`.
    let sockets = ["@", "<"].map(|key| Route::new(key, Target::Handler(handler.clone())));
    let mut routes = match public {
        Some(public) => {
            let dangers = match ways.front {
                Front::Mongrel2 => public_files::dangers(public)?,
                Front::Kennel => Vec::new(),
            };
            for danger in dangers {
                warn!("asking for {} would stop mongrel2: it cannot be read as a file", danger.display());
            }
            let base = format!("{}/", public.canonicalize()?.display());
            let mut routes = public_files::routes(public, &Dir::new(&base), &handler)?;
            public_files::keep_for_handler(&mut routes, &handler, &SCRIPTS);
            routes
        }
        None => vec![Route::new("/", Target::Handler(handler))],
    };
    routes.extend(sockets);
    let server = Server {
        uuid: UUID.into(),
        name: "kennel".into(),
        access_log: format!("{folder}/access.log"),
        // It gets a line for every connection that asks for a file, and is never cut. What keeps the
        // server from starting is on its standard error.
        error_log: "/dev/null".into(),
        pid_file: format!("{folder}/mongrel2.pid"),
        control_port: format!("ipc://{folder}/control"),
        default_host: "localhost".into(),
        bind_addr: address.ip().to_string(),
        port: address.port(),
        hosts: vec![Host::new("localhost", routes)],
        ..Server::default()
    };
    let mut settings = fixed_settings();
    settings.push(("download.flow_control".to_owned(), u8::from(ways.flow_control).to_string()));
    settings.push(("upload.stream".to_owned(), u8::from(ways.stream_uploads).to_string()));
    settings.push(("no_clobber_xff".to_owned(), u8::from(ways.keep_forwarded).to_string()));
    settings.push(("upload.temp_store".to_owned(), format!("{folder}/{UPLOADS}/XXXXXX")));
    // With more connections than `max_fd / hot_dividend` every reply stalls for half a second (docs/deploying.md). Mongrel2
    // does not start with a divisor of 1.
    let places = Places::own(Front::Mongrel2);
    settings.push(("superpoll.max_fd".to_owned(), places.max_fd.to_string()));
    settings.push(("superpoll.hot_dividend".to_owned(), places.dividend.to_string()));
    allow_descriptors();
    let config = Config { servers: vec![server], settings, mimetypes: mimetypes::defaults() };
    let database = Path::new(folder).join(DATABASE);
    store::write(&config, &database)?;
    // It keeps the mode of the file that it replaces; there was none.
    fs::set_permissions(&database, Permissions::from_mode(0o600))?;
    Ok(())
}

/// The settings that every server has.
fn fixed_settings() -> Vec<(String, String)> {
    SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The bounds of Kennel's front as it is started here: names, values and what they mean.
pub(crate) fn front_limits() -> Vec<(&'static str, LimitValue, &'static str)> {
    let config = Config { settings: fixed_settings(), ..Config::default() };
    let ours = |amount| match amount {
        Amount::Time(time) => LimitValue::Time(time),
        Amount::Bytes(bytes) => LimitValue::Size(bytes as usize),
        Amount::Count(count) => LimitValue::Count(count as usize),
    };
    mongrel2_front::limits(&config)
        .into_iter()
        .map(|(name, amount, means)| (name, ours(amount), means))
        .collect()
}

/// Raises this process's soft limit of descriptors, which workers inherit. Mongrel2 raises its own.
fn allow_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
