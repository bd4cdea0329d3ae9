//! A Mongrel2 configuration as values: what the rows of its database say, without the ids.
//!
//! The types hold whatever a person may write, wrong things too; [`Config::check`] says what
//! Mongrel2 would do with it. Paths are text as Mongrel2 sees them: relative ones count from
//! its working directory, and inside its chroot if it has one.

pub mod diff;
pub mod mimetypes;

use std::sync::Arc;

/// Everything in one database: servers, and the settings and content types that they share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Each is one process; Mongrel2 is told the uuid of the one to be.
    pub servers: Vec<Server>,
    /// `(key, value)`. Mongrel2 reads numbers with `atoi`: what is none counts as 0.
    pub settings: Vec<(String, String)>,
    /// `(extension, type)`; the extension has its dot. See [`crate::model::mimetypes::defaults`].
    pub mimetypes: Vec<(String, String)>,
}

impl Config {
    /// The value of a setting, if the configuration has one.
    pub fn setting(&self, key: &str) -> Option<&str> {
        let (_, value) = self.settings.iter().find(|(name, _)| name == key)?;
        Some(value)
    }
}

/// One listening port and its hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Which server Mongrel2 is to be: its second argument. Any text.
    pub uuid: String,
    /// What people call it.
    pub name: String,
    /// One tnetstring a request. Its folder must exist.
    pub access_log: String,
    /// Grows by a line or more for each connection of some kinds. Its folder must exist.
    pub error_log: String,
    /// Where to chroot when started as root; empty for none.
    pub chroot: String,
    /// Mongrel2 refuses to start while the process named in this file lives, whatever process
    /// that is by now; its folder must exist.
    pub pid_file: String,
    /// ZeroMQ address of the control port; empty for the setting `control_port`, or
    /// `ipc://run/control` without that.
    pub control_port: String,
    /// Name of the host that serves requests which fit no other.
    pub default_host: String,
    /// Address to listen on.
    pub bind_addr: String,
    /// Port to listen on.
    pub port: u16,
    /// TLS: needs the setting `certdir`.
    pub use_ssl: bool,
    /// How much goes to the error log, of which more is a higher number. Mongrel2 1.13 only, which
    /// takes 2 without; 1.12 has no such column.
    pub error_log_level: Option<u32>,
    /// See every request before its route does, in this order.
    pub filters: Vec<Module>,
    /// Make the bodies of extended replies, each for the reply's first word.
    pub xrequests: Vec<Module>,
    /// Tried by the end of the request's Host header.
    pub hosts: Vec<Host>,
}

impl Server {
    /// What to call it: its name, or its uuid if it has none.
    pub fn label(&self) -> &str {
        if self.name.is_empty() { &self.uuid } else { &self.name }
    }

    /// The handlers that its routes lead to, once for each route. Mongrel2 binds the addresses of these.
    pub fn handlers(&self) -> impl Iterator<Item = &Handler> {
        let routes = self.hosts.iter().flat_map(|host| &host.routes);
        routes.filter_map(|route| match &*route.target {
            Target::Handler(handler) => Some(handler),
            _ => None,
        })
    }
}

impl Default for Server {
    /// Listens on the loopback address only; has no uuid, port or hosts yet.
    fn default() -> Self {
        Self {
            uuid: String::new(),
            name: String::new(),
            access_log: "logs/access.log".into(),
            error_log: "logs/error.log".into(),
            chroot: String::new(),
            pid_file: "run/mongrel2.pid".into(),
            control_port: String::new(),
            default_host: "localhost".into(),
            bind_addr: "127.0.0.1".into(),
            port: 0,
            use_ssl: false,
            error_log_level: None,
            filters: Vec::new(),
            xrequests: Vec::new(),
            hosts: Vec::new(),
        }
    }
}

/// A site: the routes for requests whose Host header ends in `matching`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// What `default_host` refers to.
    pub name: String,
    /// End of the Host header, without port; may begin with a pattern in parentheses.
    pub matching: String,
    /// In the order of the database, which decides between patterns of the same prefix.
    pub routes: Vec<Route>,
}

impl Host {
    /// A host that matches its own name.
    pub fn new(name: &str, routes: Vec<Route>) -> Self {
        Self { name: name.into(), matching: name.into(), routes }
    }
}

/// Which requests go where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// A literal prefix, then perhaps a pattern, from the first `(` on. Begins with `/` for
    /// HTTP, `@` for JSON sockets, `<` for XML sockets.
    pub path: String,
    /// Who serves it. Routes that hold the same allocation share one row of the database, as
    /// the routes do that name one variable of a configuration file; equality is by value.
    pub target: Arc<Target>,
}

impl Route {
    /// Sends the requests that fit `path` to `target`: a [`Target`] of its own, or an `Arc` of
    /// one that other routes have too.
    pub fn new(path: impl Into<String>, target: impl Into<Arc<Target>>) -> Self {
        Self { path: path.into(), target: target.into() }
    }

    /// What a request's path must begin with before a pattern is looked at.
    pub fn prefix(&self) -> &str {
        self.path.find('(').map_or(&self.path, |paren| &self.path[..paren])
    }

    /// Whether there is more to match than the prefix.
    pub fn has_pattern(&self) -> bool {
        self.path.contains('(')
    }
}

/// Who serves a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A program behind ZeroMQ sockets.
    Handler(Handler),
    /// Files, served by Mongrel2 itself.
    Dir(Dir),
    /// Another HTTP server.
    Proxy(Proxy),
}

/// A pair of ZeroMQ sockets that Mongrel2 binds: requests go out, replies come in.
///
/// Mongrel2 takes two for the same one if both specs are equal, so equal handlers become one
/// row of the database however many routes use them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handler {
    /// Address of the PUSH socket for requests.
    pub send_spec: String,
    /// First word of every request, and name of the sender in replies: letters, digits, `-`.
    pub send_ident: String,
    /// Address of the SUB socket for replies.
    pub recv_spec: String,
    /// What a reply must begin with to be received: a prefix of `send_ident`, empty for all.
    pub recv_ident: String,
    /// Send replies to JSON and XML sockets as they are, rather than in base64.
    pub raw_payload: bool,
    /// How headers are written.
    pub protocol: Protocol,
}

/// How Mongrel2 writes the headers of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A JSON object, badly escaped by Mongrel2.
    #[default]
    Json,
    /// A tnetstring dictionary, exact for all bytes.
    Tnetstring,
}

impl Protocol {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Tnetstring => "tnetstring",
        }
    }

    /// Reads the word as Mongrel2 does: whatever is not `tnetstring` means JSON.
    pub fn from_word(word: &str) -> Self {
        if word == Self::Tnetstring.as_str() { Self::Tnetstring } else { Self::Json }
    }
}

/// A folder. A request's path, less the route's prefix, is looked up below `base`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dir {
    /// The folder, with a `/` at its end.
    pub base: String,
    /// Served for paths that end in `/`.
    pub index_file: String,
    /// Content type of files whose extension is not known.
    pub default_ctype: String,
    /// Seconds for which Mongrel2 does not look whether a file has changed. With 0 it looks
    /// once a second: a file that changes sooner is cut to its old length.
    pub cache_ttl: u32,
}

impl Dir {
    /// A folder with `index.html`, unknown files as binary, and changes seen after a second.
    pub fn new(base: &str) -> Self {
        Self {
            base: base.into(),
            index_file: "index.html".into(),
            default_ctype: "application/octet-stream".into(),
            cache_ttl: 0,
        }
    }
}

/// Another HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// Host name or address.
    pub addr: String,
    /// Port.
    pub port: u16,
}

/// A shared library that Mongrel2 loads at the start: a Filter or an Xrequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Path of the `.so` file.
    pub name: String,
    /// What it is given, as a tnetstring dictionary in the database.
    pub settings: Vec<(String, Value)>,
}

/// A value among the settings of a [`Module`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A tnetstring string.
    Text(String),
    /// A tnetstring integer.
    Number(i64),
    /// A tnetstring list.
    List(Vec<Value>),
    /// A tnetstring dictionary, in the order in which it is written.
    Hash(Vec<(String, Value)>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_key_is_a_prefix_up_to_the_first_parenthesis() {
        let route = |path: &str| Route::new(path, Target::Dir(Dir::new("public/")));
        assert_eq!(route("/app").prefix(), "/app");
        assert!(!route("/app").has_pattern());
        assert_eq!(route("/app/([0-9]+)(x)").prefix(), "/app/");
        assert!(route("/app/([0-9]+)(x)").has_pattern());
    }

    #[test]
    fn routes_share_a_target_or_have_equal_ones() {
        let dir = Arc::new(Target::Dir(Dir::new("public/")));
        let shared = [Route::new("/a", Arc::clone(&dir)), Route::new("/b", dir)];
        assert!(Arc::ptr_eq(&shared[0].target, &shared[1].target));
        let own = Route::new("/a", Target::Dir(Dir::new("public/")));
        assert_eq!(own, shared[0]);
        assert!(!Arc::ptr_eq(&own.target, &shared[0].target));
    }

    #[test]
    fn a_setting_is_found_by_its_whole_key() {
        let settings = vec![("limits.min_ping".to_owned(), "30".to_owned())];
        let config = Config { settings, ..Config::default() };
        assert_eq!(config.setting("limits.min_ping"), Some("30"));
        assert_eq!(config.setting("limits.min"), None);
    }

    #[test]
    fn an_unknown_protocol_means_json_as_it_does_to_mongrel2() {
        assert_eq!(Protocol::from_word("tnetstring"), Protocol::Tnetstring);
        assert_eq!(Protocol::from_word("json"), Protocol::Json);
        assert_eq!(Protocol::from_word("TNETSTRING"), Protocol::Json);
    }
}
