//! From the model back to a configuration file, one that loads to the same database.
//!
//! Handlers become variables, and so does every other target that routes share; the rest stays
//! where it is used. Attributes that have their default are left out.
//!
//! The rows of a database may be what no plain file makes; then [`print_database`] puts one or two
//! lines first, which are variables that nothing uses for m2sh:
//!
//! * `keep_order = 1`: rows are in the order of the file, not in that of m2sh's tree.
//! * `default_mimetypes = 0`: there are no content types but those of the file.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

use crate::language::file_order::file_order;
use crate::model::mimetypes;
use crate::model::{Config, Dir, Handler, Host, Module, Protocol, Proxy, Server, Target, Value};

/// The variable that says that rows are in the order of the file.
pub(crate) const KEEP_ORDER: &str = "keep_order";
/// The variable that says whether there are content types beyond those of the file.
pub(crate) const DEFAULT_MIMETYPES: &str = "default_mimetypes";

/// The text of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// The whole file.
    pub text: String,
    /// What will be otherwise in the database, in a sentence each: m2sh has an order of its own
    /// for rows, and not every order can be had. Empty for what m2sh or this crate has loaded.
    pub deviations: Vec<String>,
}

/// What the language has no words for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrintError {
    /// A backslash only keeps a quote from ending the text, and stays in it.
    #[error("the language cannot say the text {text:?}, with both kinds of quotes or a `\\` at its end")]
    Text {
        /// All of it.
        text: String,
    },
    /// Numbers are digits.
    #[error("the language cannot say the number {number} of a module's settings, which has a sign")]
    Number {
        /// The number.
        number: i64,
    },
}

/// Writes a configuration down.
///
/// All of it, so the default content types too if they are in `config`: take them out before.
///
/// # Errors
///
/// [`PrintError`] for values that only other programs can have put into a database.
///
/// ```
/// use mongrel2_conf::model::{Config, Dir, Host, Route, Server, Target};
/// use mongrel2_conf::{language, print::print};
///
/// let files = Route::new("/", Target::Dir(Dir::new("public/")));
/// let server = Server {
///     uuid: "main".into(),
///     name: "main".into(),
///     port: 6767,
///     hosts: vec![Host::new("localhost", vec![files])],
///     ..Server::default()
/// };
/// let config = Config { servers: vec![server], ..Config::default() };
/// let text = print(&config)?.text;
/// assert_eq!(language::load_text("printed.conf".as_ref(), text.as_bytes())?.config, config);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn print(config: &Config) -> Result<Printed, PrintError> {
    let mut printer = Printer::default();
    printer.config(config)?;
    Ok(Printed { text: printer.text, deviations: printer.deviations })
}

/// Writes down all that a database has, so that loading it gives the same rows in the same order,
/// content types too: those that every load adds are left out.
///
/// # Errors
///
/// As [`print()`]. There are no deviations.
pub fn print_database(config: &Config) -> Result<Printed, PrintError> {
    let own = own_mimetypes(config);
    let mut head = String::new();
    if own.is_none() {
        let _ = writeln!(head, "# No content types but those of this file.\n{DEFAULT_MIMETYPES} = 0\n");
    }
    let config = Config { mimetypes: own.unwrap_or_else(|| config.mimetypes.clone()), ..config.clone() };
    let mut printed = print(&config)?;
    if !printed.deviations.is_empty() {
        let mut printer = Printer { keep_order: true, ..Printer::default() };
        printer.config(&config)?;
        printed = Printed { text: printer.text, deviations: printer.deviations };
        let _ = writeln!(head, "# Rows in the order of this file, not in that of m2sh.\n{KEEP_ORDER} = 1\n");
    }
    printed.text.insert_str(0, &head);
    Ok(printed)
}

/// The types to write, if all others are those that every load adds.
fn own_mimetypes(config: &Config) -> Option<Vec<(String, String)>> {
    let defaults = mimetypes::of_m2sh();
    let defaults: HashSet<_> = defaults.iter().collect();
    let own: Vec<_> = config.mimetypes.iter().filter(|pair| !defaults.contains(pair)).cloned().collect();
    (mimetypes::of_m2sh_with(&own) == config.mimetypes).then_some(own)
}

#[derive(Default)]
struct Printer {
    text: String,
    /// Whether the order in the file is that of the rows.
    keep_order: bool,
    deviations: Vec<String>,
    /// Variables of targets, by address.
    names: HashMap<*const Target, String>,
    taken: HashSet<String>,
}

impl Printer {
    fn config(&mut self, config: &Config) -> Result<(), PrintError> {
        self.taken = ["servers", "settings", "mimetypes", "include", KEEP_ORDER, DEFAULT_MIMETYPES]
            .map(String::from)
            .into();
        self.targets(config)?;
        let mut names = Vec::new();
        for server in &config.servers {
            let word = if server.name.is_empty() { &server.uuid } else { &server.name };
            let name = self.free_name(word, "server");
            self.server(&name, server)?;
            names.push(name);
        }
        let _ = writeln!(self.text, "servers = [{}]", names.join(", "));
        self.pairs("settings", &config.settings)?;
        self.pairs("mimetypes", &config.mimetypes)
    }

    /// The variables of targets, in the order of their first routes.
    fn targets(&mut self, config: &Config) -> Result<(), PrintError> {
        let routes = || config.servers.iter().flat_map(|server| &server.hosts).flat_map(|host| &host.routes);
        let mut uses: HashMap<*const Target, usize> = HashMap::new();
        for route in routes() {
            *uses.entry(Arc::as_ptr(&route.target)).or_default() += 1;
        }
        for route in routes() {
            let address = Arc::as_ptr(&route.target);
            let handler = matches!(*route.target, Target::Handler(_));
            if self.names.contains_key(&address) || (uses[&address] == 1 && !handler) {
                continue;
            }
            let (word, kind) = match &*route.target {
                Target::Handler(handler) => (handler.send_ident.as_str(), "handler"),
                Target::Dir(dir) => {
                    (dir.base.trim_end_matches('/').rsplit('/').next().unwrap_or(""), "files")
                }
                Target::Proxy(_) => ("", "proxy"),
            };
            let name = self.free_name(word, kind);
            let made = target(&route.target)?;
            let _ = writeln!(self.text, "{name} = {made}\n");
            self.names.insert(address, name);
        }
        Ok(())
    }

    fn server(&mut self, name: &str, server: &Server) -> Result<(), PrintError> {
        let mut lines = vec![
            format!("uuid={}", quoted(&server.uuid)?),
            format!("name={}", quoted(&server.name)?),
            format!("port={}", server.port),
        ];
        for (attribute, text, default) in [
            ("bind_addr", &server.bind_addr, Some("0.0.0.0")),
            ("default_host", &server.default_host, None),
            ("access_log", &server.access_log, None),
            ("error_log", &server.error_log, None),
            ("pid_file", &server.pid_file, None),
            ("chroot", &server.chroot, Some("")),
            ("control_port", &server.control_port, Some("")),
        ] {
            if default != Some(text) {
                lines.push(format!("{attribute}={}", quoted(text)?));
            }
        }
        if server.use_ssl {
            lines.push("use_ssl=1".into());
        }
        lines.extend(server.error_log_level.map(|level| format!("error_log_level={level}")));
        for (attribute, class, modules) in
            [("filters", "Filter", &server.filters), ("xrequests", "Xrequest", &server.xrequests)]
        {
            if !modules.is_empty() {
                let made: Result<Vec<_>, _> = modules.iter().map(|one| self.module(class, one)).collect();
                lines.push(format!("{attribute}=[\n        {}\n    ]", made?.join(",\n        ")));
            }
        }
        let hosts: Result<Vec<_>, _> =
            server.hosts.iter().map(|host| self.host(&server.uuid, host)).collect();
        let hosts = hosts?.join(",\n        ");
        lines.push(if hosts.is_empty() {
            "hosts=[]".into()
        } else {
            format!("hosts=[\n        {hosts}\n    ]")
        });
        let _ = writeln!(self.text, "{name} = Server(\n    {}\n)\n", lines.join(",\n    "));
        Ok(())
    }

    fn host(&mut self, server: &str, host: &Host) -> Result<String, PrintError> {
        let mut made = format!("Host(name={}, ", quoted(&host.name)?);
        if host.matching != host.name {
            let _ = write!(made, "matching={}, ", quoted(&host.matching)?);
        }
        let mut pairs = Vec::new();
        for route in &host.routes {
            let key = quoted(&route.path)?;
            pairs.push(match self.names.get(&Arc::as_ptr(&route.target)) {
                Some(name) => format!("{key}: {name}"),
                None => format!("{key}: {}", target(&route.target)?),
            });
        }
        let keys: Vec<_> = host.routes.iter().map(|route| route.path.as_bytes()).collect();
        let place = format!("the routes of host `{}` of server `{server}`", host.name);
        let pairs = self.in_file_order(&keys, pairs, &place);
        if pairs.is_empty() {
            made.push_str("routes={})");
        } else {
            let _ = write!(made, "routes={{\n            {}\n        }})", pairs.join(",\n            "));
        }
        Ok(made)
    }

    fn module(&mut self, class: &str, module: &Module) -> Result<String, PrintError> {
        let name = quoted(&module.name)?;
        Ok(format!("{class}(name={name}, settings={})", hash(&module.settings, self.keep_order)?))
    }

    fn pairs(&mut self, name: &str, pairs: &[(String, String)]) -> Result<(), PrintError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let mut made = Vec::new();
        for (key, value) in pairs {
            let digits = name == "settings" && !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let value = if digits { value.clone() } else { quoted(value)? };
            made.push(format!("{}: {value}", quoted(key)?));
        }
        let keys: Vec<_> = pairs.iter().map(|(key, _)| key.as_bytes()).collect();
        let made = self.in_file_order(&keys, made, &format!("the {name}"));
        let _ = writeln!(self.text, "\n{name} = {{\n    {}\n}}", made.join(",\n    "));
        Ok(())
    }

    /// As the rows are, if no order of the file leads to theirs.
    fn in_file_order(&mut self, keys: &[&[u8]], made: Vec<String>, place: &str) -> Vec<String> {
        if self.keep_order {
            return made;
        }
        let Some(order) = file_order(keys) else {
            self.deviations.push(format!("{place} will be in another order"));
            return made;
        };
        let mut made: Vec<_> = made.into_iter().map(Some).collect();
        order.into_iter().filter_map(|at| made[at].take()).collect()
    }

    /// A name for a variable after a word, or else after a kind.
    fn free_name(&mut self, word: &str, kind: &str) -> String {
        let fits = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        let mut name: String = word.chars().map(fits).collect();
        name = name.trim_matches('_').to_owned();
        // An ident is often a UUID, which says nothing.
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 30 {
            name = kind.into();
        }
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !self.taken.contains(name));
        let name = free.unwrap_or(name);
        self.taken.insert(name.clone());
        name
    }
}

fn target(target: &Target) -> Result<String, PrintError> {
    Ok(match target {
        Target::Handler(handler) => {
            let Handler { send_spec, send_ident, recv_spec, recv_ident, raw_payload, protocol } = handler;
            let mut made = format!(
                "Handler(\n    send_spec={},\n    send_ident={},\n    recv_spec={},\n    recv_ident={}",
                quoted(send_spec)?,
                quoted(send_ident)?,
                quoted(recv_spec)?,
                quoted(recv_ident)?
            );
            if *raw_payload {
                made.push_str(",\n    raw_payload=1");
            }
            if *protocol != Protocol::default() {
                let _ = write!(made, ",\n    protocol=\"{}\"", protocol.as_str());
            }
            made + "\n)"
        }
        Target::Dir(Dir { base, index_file, default_ctype, cache_ttl }) => {
            let (base, index_file) = (quoted(base)?, quoted(index_file)?);
            let mut made =
                format!("Dir(base={base}, index_file={index_file}, default_ctype={}", quoted(default_ctype)?);
            if *cache_ttl > 0 {
                let _ = write!(made, ", cache_ttl={cache_ttl}");
            }
            made + ")"
        }
        Target::Proxy(Proxy { addr, port }) => format!("Proxy(addr={}, port={port})", quoted(addr)?),
    })
}

fn value(value: &Value, keep_order: bool) -> Result<String, PrintError> {
    match value {
        Value::Text(text) => quoted(text),
        Value::Number(number) if *number < 0 => Err(PrintError::Number { number: *number }),
        Value::Number(number) => Ok(number.to_string()),
        Value::List(values) => {
            let made: Result<Vec<_>, _> = values.iter().map(|one| self::value(one, keep_order)).collect();
            Ok(format!("[{}]", made?.join(", ")))
        }
        Value::Hash(entries) => hash(entries, keep_order),
    }
}

fn hash(entries: &[(String, Value)], keep_order: bool) -> Result<String, PrintError> {
    let pair = |(key, of): &(String, Value)| Ok(format!("{}: {}", quoted(key)?, value(of, keep_order)?));
    let mut made = entries.iter().map(|entry| pair(entry).map(Some)).collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<_> = entries.iter().map(|(key, _)| key.as_bytes()).collect();
    let order = if keep_order { None } else { file_order(&keys) };
    let order = order.unwrap_or_else(|| (0..keys.len()).collect());
    let made: Vec<_> = order.into_iter().filter_map(|at| made[at].take()).collect();
    Ok(format!("{{{}}}", made.join(", ")))
}

/// A text with quotes that it does not end itself.
fn quoted(text: &str) -> Result<String, PrintError> {
    let fits = |quote: char| {
        let mut escaped = false;
        let inside = text.chars().all(|c| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            !ends
        });
        inside && !escaped
    };
    match ['"', '\''].into_iter().find(|quote| fits(*quote)) {
        Some(quote) => Ok(format!("{quote}{text}{quote}")),
        None => Err(PrintError::Text { text: text.into() }),
    }
}

#[cfg(test)]
mod tests;
