//! From the model back to a configuration file, which loads to the same database.
//!
//! Targets that routes share become variables, others stand in place. Two lines at the top are
//! written when they are needed, since the rows of a database may be what no plain file makes:
//!
//! * `keep_order = 1`: rows are written in the order of the file, not in that of m2sh's tree.
//! * `default_mimetypes = 0`: there are no content types but the file's own.
//!
//! For m2sh both are variables that nothing uses.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

use crate::mimetypes;
use crate::model::{Config, Host, Module, Protocol, Server, Target, Value};
use crate::tree::Tree;

/// The variable that says that rows are in the order of the file.
pub(crate) const KEEP_ORDER: &str = "keep_order";
/// The variable that says whether there are content types beyond the file's own.
pub(crate) const DEFAULT_MIMETYPES: &str = "default_mimetypes";

/// Where a server takes requests from unless told.
const ANY_ADDRESS: &str = "0.0.0.0";

/// A configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// The file.
    pub text: String,
    /// What the language has no words for; the text says something near it instead.
    pub lost: Vec<String>,
}

/// Writes the file that loads to `config`.
///
/// ```
/// use mongrel2_conf::model::{Config, Dir, Host, Route, Server, Target};
/// use mongrel2_conf::{language, print};
///
/// let routes = vec![Route::new("/", Target::Dir(Dir::new("public/")))];
/// let hosts = vec![Host::new("localhost", routes)];
/// let config = Config {
///     servers: vec![Server { uuid: "main".into(), port: 6767, hosts, ..Server::default() }],
///     ..Config::default()
/// };
/// let printed = print::print(&config);
/// let loaded = language::load_text("site.conf".as_ref(), printed.text.as_bytes()).unwrap();
/// assert_eq!(loaded.config, config);
/// ```
pub fn print(config: &Config) -> Printed {
    let mut printer = Printer::new(config);
    let own = own_mimetypes(config);
    let types = own.as_deref().unwrap_or(&config.mimetypes);
    printer.head(config, types, own.is_some());
    printer.shared_targets(config);
    let servers: Vec<_> = config.servers.iter().map(|server| printer.server(server)).collect();
    printer.pairs("settings", &config.settings);
    printer.pairs("mimetypes", types);
    let _ = writeln!(printer.text, "servers = [{}]", servers.join(", "));
    Printed { text: printer.text, lost: printer.lost }
}

/// The types to write, if the others are those that every load adds.
fn own_mimetypes(config: &Config) -> Option<Vec<(String, String)>> {
    let defaults = mimetypes::of_m2sh();
    let defaults: HashSet<_> = defaults.iter().collect();
    let own: Vec<_> = config.mimetypes.iter().filter(|pair| !defaults.contains(pair)).cloned().collect();
    (mimetypes::of_m2sh_with(&own) == config.mimetypes).then_some(own)
}

/// Whether a hash with these keys becomes rows in just this order.
fn stays_in_order<'a>(keys: impl Iterator<Item = &'a str>) -> bool {
    let mut tree = Tree::default();
    let mut count = 0;
    for key in keys {
        tree.insert(key.as_bytes(), count);
        count += 1;
    }
    tree.level_order().into_iter().eq(0..count)
}

/// Types that replace a default have its row, so their order in the file means nothing.
fn mimetypes_stay(config: &Config, types: &[(String, String)]) -> bool {
    let mut tree = Tree::default();
    for (number, (extension, _)) in types.iter().enumerate() {
        tree.insert(extension.as_bytes(), number);
    }
    let ordered: Vec<_> = tree.level_order().into_iter().map(|number| types[number].clone()).collect();
    mimetypes::of_m2sh_with(&ordered) == config.mimetypes
}

fn module_stays_in_order(settings: &[(String, Value)]) -> bool {
    let values = settings.iter().all(|(_, value)| value_stays_in_order(value));
    values && stays_in_order(settings.iter().map(|(key, _)| key.as_str()))
}

fn value_stays_in_order(value: &Value) -> bool {
    match value {
        Value::Text(_) | Value::Number(_) => true,
        Value::List(items) => items.iter().all(value_stays_in_order),
        Value::Hash(pairs) => module_stays_in_order(pairs),
    }
}

struct Printer {
    text: String,
    lost: Vec<String>,
    names: BTreeSet<String>,
    /// The variables of targets that several routes share.
    shared: HashMap<*const Target, String>,
}

impl Printer {
    fn new(config: &Config) -> Self {
        let taken = ["servers", "settings", "mimetypes", "include", KEEP_ORDER, DEFAULT_MIMETYPES];
        let mut printer = Self {
            text: String::new(),
            lost: Vec::new(),
            names: taken.map(str::to_owned).into(),
            shared: HashMap::new(),
        };
        let mut seen = HashSet::new();
        for target in targets(config) {
            let key = Arc::as_ptr(target);
            if !seen.insert(key) && !printer.shared.contains_key(&key) {
                let name = match &**target {
                    Target::Handler(handler) => printer.name(&handler.send_ident, "handler"),
                    Target::Dir(dir) => printer.name(&dir.base, "dir"),
                    Target::Proxy(proxy) => printer.name(&proxy.addr, "proxy"),
                };
                printer.shared.insert(key, name);
            }
        }
        printer
    }

    fn head(&mut self, config: &Config, types: &[(String, String)], has_defaults: bool) {
        let mut hosts = config.servers.iter().flat_map(|server| &server.hosts);
        let mut modules =
            config.servers.iter().flat_map(|server| server.filters.iter().chain(&server.xrequests));
        let keys = |pairs: &[(String, String)]| stays_in_order(pairs.iter().map(|(key, _)| key.as_str()));
        let stays = hosts.all(|host| stays_in_order(host.routes.iter().map(|route| route.path.as_str())))
            && modules.all(|module| module_stays_in_order(&module.settings))
            && keys(&config.settings)
            && (keys(types) || has_defaults && mimetypes_stay(config, types));
        if !stays {
            let _ = writeln!(self.text, "# Rows in the order of this file, not in that of m2sh.");
            let _ = writeln!(self.text, "{KEEP_ORDER} = 1\n");
        }
        if !has_defaults {
            let _ = writeln!(self.text, "# No content types but those of this file.");
            let _ = writeln!(self.text, "{DEFAULT_MIMETYPES} = 0\n");
        }
    }

    fn shared_targets(&mut self, config: &Config) {
        let mut written = HashSet::new();
        for target in targets(config) {
            let key = Arc::as_ptr(target);
            if let Some(name) = self.shared.get(&key).cloned().filter(|_| written.insert(key)) {
                let value = self.target(target, 0);
                let _ = writeln!(self.text, "{name} = {value}\n");
            }
        }
    }

    /// Writes a server, and gives its variable.
    fn server(&mut self, server: &Server) -> String {
        let wanted = if server.name.is_empty() { &server.uuid } else { &server.name };
        let name = self.name(wanted, "server");
        let place = format!("server `{}`", server.uuid);
        let mut attributes = Vec::new();
        let mut text = |printer: &mut Self, name: &str, value: &str| {
            attributes.push(format!("{name}={}", printer.quoted(value, &place)));
        };
        text(self, "uuid", &server.uuid);
        text(self, "name", &server.name);
        text(self, "access_log", &server.access_log);
        text(self, "error_log", &server.error_log);
        for (name, value, default) in [
            ("chroot", &server.chroot, ""),
            ("control_port", &server.control_port, ""),
            ("bind_addr", &server.bind_addr, ANY_ADDRESS),
        ] {
            if value != default {
                text(self, name, value);
            }
        }
        text(self, "pid_file", &server.pid_file);
        text(self, "default_host", &server.default_host);
        attributes.push(format!("port={}", server.port));
        if server.use_ssl {
            attributes.push("use_ssl=1".to_owned());
        }
        attributes.extend(server.error_log_level.map(|level| format!("error_log_level={level}")));
        let hosts: Vec<_> = server.hosts.iter().map(|host| self.host(host)).collect();
        attributes.push(format!("hosts={}", list(&hosts, 1)));
        for (name, class, modules) in
            [("filters", "Filter", &server.filters), ("xrequests", "Xrequest", &server.xrequests)]
        {
            if !modules.is_empty() {
                let modules: Vec<_> = modules.iter().map(|module| self.module(class, module)).collect();
                attributes.push(format!("{name}={}", list(&modules, 1)));
            }
        }
        let _ = writeln!(self.text, "{name} = {}\n", class("Server", &attributes, 0));
        name
    }

    fn host(&mut self, host: &Host) -> String {
        let place = format!("host `{}`", host.name);
        let mut attributes = vec![format!("name={}", self.quoted(&host.name, &place))];
        if host.matching != host.name {
            attributes.push(format!("matching={}", self.quoted(&host.matching, &place)));
        }
        let mut routes = Vec::new();
        for route in &host.routes {
            let key = self.quoted(&route.path, &place);
            let target = match self.shared.get(&Arc::as_ptr(&route.target)) {
                Some(name) => name.clone(),
                None => self.target(&route.target, 3),
            };
            routes.push(format!("{key}: {target}"));
        }
        let routes = match routes.is_empty() {
            true => "{}".to_owned(),
            false => enclosed("{", &routes, 2, "}"),
        };
        attributes.push(format!("routes={routes}"));
        format!("Host({})", attributes.join(", "))
    }

    fn target(&mut self, target: &Target, depth: usize) -> String {
        let place = "a route's target";
        match target {
            Target::Handler(handler) => {
                let texts = [
                    ("send_spec", &handler.send_spec),
                    ("send_ident", &handler.send_ident),
                    ("recv_spec", &handler.recv_spec),
                    ("recv_ident", &handler.recv_ident),
                ];
                let mut attributes: Vec<_> = texts
                    .iter()
                    .map(|(name, value)| format!("{name}={}", self.quoted(value, place)))
                    .collect();
                if handler.raw_payload {
                    attributes.push("raw_payload=1".to_owned());
                }
                if handler.protocol != Protocol::default() {
                    attributes.push(format!("protocol={}", self.quoted(handler.protocol.as_str(), place)));
                }
                class("Handler", &attributes, depth)
            }
            Target::Dir(dir) => {
                let texts = [
                    ("base", &dir.base),
                    ("index_file", &dir.index_file),
                    ("default_ctype", &dir.default_ctype),
                ];
                let mut attributes: Vec<_> = texts
                    .iter()
                    .map(|(name, value)| format!("{name}={}", self.quoted(value, place)))
                    .collect();
                if dir.cache_ttl != 0 {
                    attributes.push(format!("cache_ttl={}", dir.cache_ttl));
                }
                format!("Dir({})", attributes.join(", "))
            }
            Target::Proxy(proxy) => {
                format!("Proxy(addr={}, port={})", self.quoted(&proxy.addr, place), proxy.port)
            }
        }
    }

    fn module(&mut self, class: &str, module: &Module) -> String {
        let place = format!("{class} `{}`", module.name);
        let name = self.quoted(&module.name, &place);
        let settings = self.hash(&module.settings, &place);
        format!("{class}(name={name}, settings={settings})")
    }

    fn hash(&mut self, pairs: &[(String, Value)], place: &str) -> String {
        let mut items = Vec::new();
        for (key, value) in pairs {
            let key = self.quoted(key, place);
            items.push(format!("{key}: {}", self.value(value, place)));
        }
        format!("{{{}}}", items.join(", "))
    }

    fn value(&mut self, value: &Value, place: &str) -> String {
        match value {
            Value::Text(text) => self.quoted(text, place),
            Value::Number(number) => {
                if *number < 0 {
                    self.lost.push(format!("{place}: there are no negative numbers, so {number} is a text"));
                    return format!("\"{number}\"");
                }
                number.to_string()
            }
            Value::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.value(item, place)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Hash(pairs) => self.hash(pairs, place),
        }
    }

    fn pairs(&mut self, name: &str, pairs: &[(String, String)]) {
        if pairs.is_empty() {
            return;
        }
        let mut items = Vec::new();
        for (key, value) in pairs {
            // The database has text alone, so what reads as a number may be written as one.
            let is_number =
                !value.is_empty() && value.len() < 10 && value.bytes().all(|b| b.is_ascii_digit());
            let key_text = self.quoted(key, name);
            let value =
                if is_number { value.clone() } else { self.quoted(value, &format!("{name}, `{key}`")) };
            items.push(format!("{key_text}: {value}"));
        }
        let _ = writeln!(self.text, "{name} = {}\n", enclosed("{", &items, 0, "}"));
    }

    /// A text in quotes. The language has no escapes: a backslash stays, and keeps the next quote
    /// from ending the text.
    fn quoted(&mut self, text: &str, place: &str) -> String {
        let can_be_in = |quote: char| {
            let mut chars = text.chars();
            while let Some(c) = chars.next() {
                if c == quote || c == '\\' && chars.next().is_none() {
                    return false;
                }
            }
            true
        };
        if let Some(quote) = ['"', '\''].into_iter().find(|quote| can_be_in(*quote)) {
            return format!("{quote}{text}{quote}");
        }
        self.lost.push(format!("{place}: the text {text:?} cannot be written, so it has other quotes"));
        format!("\"{}\"", text.replace('"', "'").trim_end_matches('\\'))
    }

    /// A variable that is not taken yet, like `wanted`.
    fn name(&mut self, wanted: &str, otherwise: &str) -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        let mut name: String = wanted.chars().map(word).take(40).collect();
        name = name.trim_matches('_').to_owned();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            name = format!("{otherwise}_{name}").trim_end_matches('_').to_owned();
        }
        let mut free = name.clone();
        let mut count = 1;
        while !self.names.insert(free.clone()) {
            count += 1;
            free = format!("{name}_{count}");
        }
        free
    }
}

fn targets(config: &Config) -> impl Iterator<Item = &Arc<Target>> {
    let hosts = config.servers.iter().flat_map(|server| &server.hosts);
    hosts.flat_map(|host| host.routes.iter().map(|route| &route.target))
}

/// `Name(...)` with an attribute a line, `depth` levels in.
fn class(name: &str, attributes: &[String], depth: usize) -> String {
    enclosed(&format!("{name}("), attributes, depth, ")")
}

fn list(items: &[String], depth: usize) -> String {
    if items.is_empty() { "[]".to_owned() } else { enclosed("[", items, depth, "]") }
}

/// An item a line; the brackets are `depth` levels in.
fn enclosed(open: &str, items: &[String], depth: usize, close: &str) -> String {
    let indent = "    ".repeat(depth);
    let items: Vec<_> = items.iter().map(|item| format!("\n{indent}    {item}")).collect();
    format!("{open}{}\n{indent}{close}", items.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language;
    use crate::model::{Dir, Handler, Proxy, Route};

    fn config() -> Config {
        let handler = |ident: &str| Handler {
            send_spec: format!("ipc://{ident}-send"),
            send_ident: ident.into(),
            recv_spec: format!("ipc://{ident}-recv"),
            recv_ident: String::new(),
            raw_payload: true,
            protocol: Protocol::Tnetstring,
        };
        let shared = Arc::new(Target::Handler(handler("app-1")));
        let routes = vec![
            Route::new("/", Arc::clone(&shared)),
            Route::new("@chat", shared),
            Route::new("/files/", Target::Dir(Dir { cache_ttl: 5, ..Dir::new("public/") })),
            Route::new("/old/", Target::Proxy(Proxy { addr: "127.0.0.1".into(), port: 8080 })),
        ];
        let settings = vec![
            ("a".to_owned(), Value::Number(1)),
            ("b".to_owned(), Value::List(vec![Value::Text("x".into()), Value::Hash(vec![])])),
        ];
        let filters = vec![Module { name: "null.so".into(), settings }];
        let host = Host { matching: "example.com".into(), ..Host::new("localhost", routes) };
        let server = Server {
            uuid: "main".into(),
            name: "My site".into(),
            port: 6767,
            use_ssl: true,
            error_log_level: Some(3),
            hosts: vec![host],
            filters,
            ..Server::default()
        };
        Config {
            servers: vec![server],
            settings: vec![("certdir".into(), "certs/".into()), ("limits.min_ping".into(), "0".into())],
            mimetypes: mimetypes::of_m2sh(),
        }
    }

    fn loaded(text: &str) -> Config {
        let loaded = language::load_text("printed.conf".as_ref(), text.as_bytes());
        let loaded = loaded.unwrap_or_else(|error| match error {
            language::LoadError::Wrong(found) => panic!("{text}\n{}", found.render(false)),
            other => panic!("{other}"),
        });
        loaded.with_default_mimetypes()
    }

    #[test]
    fn shared_targets_are_variables_and_others_stand_in_place() {
        let printed = print(&config());
        assert_eq!(printed.lost, [""; 0]);
        let expected = r#"app_1 = Handler(
    send_spec="ipc://app-1-send",
    send_ident="app-1",
    recv_spec="ipc://app-1-recv",
    recv_ident="",
    raw_payload=1,
    protocol="tnetstring"
)

my_site = Server(
    uuid="main",
    name="My site",
    access_log="logs/access.log",
    error_log="logs/error.log",
    bind_addr="127.0.0.1",
    pid_file="run/mongrel2.pid",
    default_host="localhost",
    port=6767,
    use_ssl=1,
    error_log_level=3,
    hosts=[
        Host(name="localhost", matching="example.com", routes={
            "/": app_1,
            "@chat": app_1,
            "/files/": Dir(base="public/", index_file="index.html", default_ctype="application/octet-stream", cache_ttl=5),
            "/old/": Proxy(addr="127.0.0.1", port=8080)
        })
    ],
    filters=[
        Filter(name="null.so", settings={"a": 1, "b": ["x", {}]})
    ]
)

settings = {
    "certdir": "certs/",
    "limits.min_ping": 0
}

servers = [my_site]
"#;
        assert!(printed.text.ends_with(expected), "{}", printed.text);
        assert_eq!(loaded(&printed.text), config());
    }

    #[test]
    fn any_order_of_routes_and_settings_survives() {
        let mut config = config();
        config.servers[0].hosts[0].routes.reverse();
        config.settings.reverse();
        let printed = print(&config);
        assert!(printed.text.contains("keep_order = 1\n"), "{}", printed.text);
        assert_eq!(loaded(&printed.text), config);
    }

    #[test]
    fn any_list_of_content_types_survives() {
        let mut config = config();
        let mut own =
            vec![(".mine".to_owned(), "x/mine".to_owned()), (".png".to_owned(), "x/png".to_owned())];
        config.mimetypes = mimetypes::of_m2sh_with(&own);
        let text = print(&config).text;
        assert!(text.contains("mimetypes = {\n"), "{text}");
        assert!(!text.contains("\".html\""), "{text}");
        assert_eq!(loaded(&text), config);
        own.reverse();
        config.mimetypes = own;
        let text = print(&config).text;
        assert!(text.contains("default_mimetypes = 0\n"), "{text}");
        assert_eq!(loaded(&text), config);
        config.mimetypes.clear();
        assert_eq!(loaded(&print(&config).text), config);
    }

    #[test]
    fn quotes_are_chosen_by_the_text() {
        let mut printer = Printer::new(&Config::default());
        assert_eq!(printer.quoted("it's", ""), "\"it's\"");
        assert_eq!(printer.quoted("\"", ""), "'\"'");
        assert_eq!(printer.quoted(r#"\"'\\"#, ""), r#""\"'\\""#);
        assert!(printer.lost.is_empty());
        assert_eq!(printer.quoted(r#"'""#, "setting"), r#""''""#);
        assert_eq!(printer.quoted(r"a\", "setting"), r#""a""#);
        assert_eq!(printer.lost.len(), 2);
        assert!(printer.lost[0].starts_with("setting: "));
    }

    #[test]
    fn variables_are_words_and_never_two_of_a_name() {
        let mut printer = Printer::new(&Config::default());
        assert_eq!(printer.name("54c6-a", "handler"), "handler_54c6_a");
        assert_eq!(printer.name("Settings", "server"), "settings_2");
        assert_eq!(printer.name("\u{e9}", "server"), "server");
        assert_eq!(printer.name("", "server"), "server_2");
    }
}
