//! What differs between two configurations, as a person would say it.
//!
//! Servers are the same by their uuid, hosts by their name, routes by their path, settings by
//! their key. Row numbers and which routes share a row mean nothing to Mongrel2, so they count for
//! nothing here; neither does the order of rows, except where the server goes by it: hosts, filters
//! and the routes of one prefix.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

use crate::model::{Config, Host, Module, Route, Server, Target, Value};

/// What Mongrel2 1.13 takes where nothing is said, and 1.12 always.
const ERROR_LOG_LEVEL: u32 = 2;

/// One thing that is in one configuration only, or that is not alike in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where, from the outside in: a server, perhaps its host, perhaps a route of that; or a
    /// setting or a mimetype.
    pub place: Vec<Part>,
    /// Which attribute differs; `None` when the whole thing is in one configuration only, and for
    /// what is but a value.
    pub field: Option<&'static str>,
    /// The value in the first configuration, or what is there in short. `None`: not there.
    pub left: Option<String>,
    /// The same in the second one.
    pub right: Option<String>,
}

/// A step to a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    /// `server`, `host`, `route`, `filter`, `xrequest`, `setting` or `mimetype`.
    pub kind: &'static str,
    /// Uuid, name, path, key or extension.
    pub name: String,
}

/// All differences: servers in the order of `left`, then settings, then mimetypes.
pub fn diff(left: &Config, right: &Config) -> Vec<Difference> {
    let mut found = Found::default();
    found.each("server", (&left.servers, &right.servers), |s| &s.uuid, about_server, Found::servers);
    let value = |(_, value): &(String, String)| value.clone();
    let same = |found: &mut Found, left: &(String, String), right: &(String, String)| {
        found.field(None, &left.1, &right.1);
    };
    found.each("setting", (&left.settings, &right.settings), |s| &s.0, value, same);
    found.each("mimetype", (&left.mimetypes, &right.mimetypes), |m| &m.0, value, same);
    found.all
}

#[derive(Default)]
struct Found {
    place: Vec<Part>,
    all: Vec<Difference>,
}

impl Found {
    fn add(&mut self, field: Option<&'static str>, left: Option<String>, right: Option<String>) {
        self.all.push(Difference { place: self.place.clone(), field, left, right });
    }

    fn field(&mut self, field: Option<&'static str>, left: &str, right: &str) {
        if left != right {
            self.add(field, Some(left.to_owned()), Some(right.to_owned()));
        }
    }

    fn fields<const N: usize>(
        &mut self,
        left: [(&'static str, String); N],
        right: [(&'static str, String); N],
    ) {
        for ((name, left), (_, right)) in left.into_iter().zip(right) {
            self.field(Some(name), &left, &right);
        }
    }

    /// Compares what has the same name; what has not is in one of the lists only.
    fn each<T>(
        &mut self,
        kind: &'static str,
        (left, right): (&[T], &[T]),
        name: impl Fn(&T) -> &str,
        about: impl Fn(&T) -> String,
        mut compare: impl FnMut(&mut Self, &T, &T),
    ) {
        // The second of a name is another thing than the first.
        let mut theirs: HashMap<(&str, usize), &T> = HashMap::new();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for thing in right {
            let count = counts.entry(name(thing)).or_default();
            theirs.insert((name(thing), *count), thing);
            *count += 1;
        }
        counts.clear();
        for thing in left {
            let count = counts.entry(name(thing)).or_default();
            self.place.push(Part { kind, name: name(thing).to_owned() });
            match theirs.remove(&(name(thing), *count)) {
                Some(other) => compare(self, thing, other),
                None => self.add(None, Some(about(thing)), None),
            }
            self.place.pop();
            *count += 1;
        }
        counts.clear();
        for thing in right {
            let count = counts.entry(name(thing)).or_default();
            if theirs.contains_key(&(name(thing), *count)) {
                self.place.push(Part { kind, name: name(thing).to_owned() });
                self.add(None, None, Some(about(thing)));
                self.place.pop();
            }
            *count += 1;
        }
    }

    /// Says so when what both lists have comes in another order.
    fn order(&mut self, field: &'static str, left: &[&str], right: &[&str]) {
        let common = |list: &[&str], other: &[&str]| {
            let other: HashSet<_> = other.iter().copied().collect();
            let mut seen = HashSet::new();
            let kept: Vec<_> =
                list.iter().copied().filter(|name| other.contains(name) && seen.insert(*name)).collect();
            kept.join(", ")
        };
        let (left, right) = (common(left, right), common(right, left));
        self.field(Some(field), &left, &right);
    }

    fn servers(&mut self, left: &Server, right: &Server) {
        self.fields(server_fields(left), server_fields(right));
        self.each("host", (&left.hosts, &right.hosts), |h| &h.name, about_host, Self::hosts);
        self.order("order of hosts", &names(&left.hosts, |h| &h.name), &names(&right.hosts, |h| &h.name));
        for (kind, order, left, right) in [
            ("filter", "order of filters", &left.filters, &right.filters),
            ("xrequest", "order of xrequests", &left.xrequests, &right.xrequests),
        ] {
            self.each(
                kind,
                (left, right),
                |m| &m.name,
                about_module,
                |found, left, right| {
                    found.field(Some("settings"), &about_module(left), &about_module(right));
                },
            );
            self.order(order, &names(left, |m| &m.name), &names(right, |m| &m.name));
        }
    }

    fn hosts(&mut self, left: &Host, right: &Host) {
        self.field(Some("matching"), &left.matching, &right.matching);
        self.each(
            "route",
            (&left.routes, &right.routes),
            |r| &r.path,
            |r| about(&r.target),
            |found, l, r| {
                found.targets(&l.target, &r.target);
            },
        );
        let (left, right) = (by_prefix(left), by_prefix(right));
        for (prefix, paths) in left {
            if let Some(others) = right.get(prefix) {
                self.order("order of routes with one prefix", &paths, others);
            }
        }
    }

    fn targets(&mut self, left: &Target, right: &Target) {
        match (left, right) {
            (Target::Handler(left), Target::Handler(right)) => {
                let fields = |h: &crate::model::Handler| {
                    [
                        ("send_spec", h.send_spec.clone()),
                        ("send_ident", h.send_ident.clone()),
                        ("recv_spec", h.recv_spec.clone()),
                        ("recv_ident", h.recv_ident.clone()),
                        ("raw_payload", u8::from(h.raw_payload).to_string()),
                        ("protocol", h.protocol.as_str().to_owned()),
                    ]
                };
                self.fields(fields(left), fields(right));
            }
            (Target::Dir(left), Target::Dir(right)) => {
                let fields = |d: &crate::model::Dir| {
                    [
                        ("base", d.base.clone()),
                        ("index_file", d.index_file.clone()),
                        ("default_ctype", d.default_ctype.clone()),
                        ("cache_ttl", d.cache_ttl.to_string()),
                    ]
                };
                self.fields(fields(left), fields(right));
            }
            (Target::Proxy(left), Target::Proxy(right)) => {
                let fields =
                    |p: &crate::model::Proxy| [("addr", p.addr.clone()), ("port", p.port.to_string())];
                self.fields(fields(left), fields(right));
            }
            _ => self.field(Some("target"), &about(left), &about(right)),
        }
    }
}

fn server_fields(server: &Server) -> [(&'static str, String); 11] {
    let level = server.error_log_level.unwrap_or(ERROR_LOG_LEVEL);
    [
        ("name", server.name.clone()),
        ("bind_addr", server.bind_addr.clone()),
        ("port", server.port.to_string()),
        ("use_ssl", u8::from(server.use_ssl).to_string()),
        ("default_host", server.default_host.clone()),
        ("chroot", server.chroot.clone()),
        ("access_log", server.access_log.clone()),
        ("error_log", server.error_log.clone()),
        ("error_log_level", level.to_string()),
        ("pid_file", server.pid_file.clone()),
        ("control_port", server.control_port.clone()),
    ]
}

fn names<T>(things: &[T], name: impl Fn(&T) -> &String) -> Vec<&str> {
    things.iter().map(|thing| name(thing).as_str()).collect()
}

/// The routes that Mongrel2 tries one after the other.
fn by_prefix(host: &Host) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for route in &host.routes {
        groups.entry(Route::prefix(route)).or_default().push(&route.path);
    }
    groups
}

fn about_server(server: &Server) -> String {
    let hosts = server.hosts.len();
    format!("{}:{}, {hosts} host{}", server.bind_addr, server.port, if hosts == 1 { "" } else { "s" })
}

fn about_host(host: &Host) -> String {
    let routes = host.routes.len();
    format!("{routes} route{}", if routes == 1 { "" } else { "s" })
}

/// A target in short: `Handler app-1 at tcp://127.0.0.1:9999`, `Dir public/`, `Proxy 127.0.0.1:8080`.
pub fn about(target: &Target) -> String {
    match target {
        Target::Handler(handler) => format!("Handler {} at {}", handler.send_ident, handler.send_spec),
        Target::Dir(dir) => format!("Dir {}", dir.base),
        Target::Proxy(proxy) => format!("Proxy {}:{}", proxy.addr, proxy.port),
    }
}

/// The settings of a filter or xrequest in short, sorted, since their order means nothing.
fn about_module(module: &Module) -> String {
    let mut text = String::new();
    write_hash(&mut text, &module.settings);
    text
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Text(value) => {
            let _ = write!(text, "{value:?}");
        }
        Value::Number(number) => {
            let _ = write!(text, "{number}");
        }
        Value::List(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                write_value(text, item);
            }
            text.push(']');
        }
        Value::Hash(pairs) => write_hash(text, pairs),
    }
}

fn write_hash(text: &mut String, pairs: &[(String, Value)]) {
    let mut pairs: Vec<_> = pairs.iter().collect();
    pairs.sort_by_key(|(key, _)| key);
    text.push('{');
    for (at, (key, value)) in pairs.into_iter().enumerate() {
        let _ = write!(text, "{}{key:?}: ", if at > 0 { ", " } else { "" });
        write_value(text, value);
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Dir, Proxy};

    fn config() -> Config {
        let proxy = Target::Proxy(Proxy { addr: "127.0.0.1".into(), port: 8080 });
        let routes = vec![
            Route::new("/", Target::Dir(Dir::new("public/"))),
            Route::new("/a/(x)", proxy.clone()),
            Route::new("/a/(y)", proxy),
        ];
        let hosts = vec![Host::new("localhost", routes)];
        let server = Server { uuid: "main".into(), port: 6767, hosts, ..Server::default() };
        Config { servers: vec![server], settings: vec![("a".into(), "1".into())], mimetypes: Vec::new() }
    }

    /// `place field: left -> right`, as one line each.
    fn lines(left: &Config, right: &Config) -> Vec<String> {
        let line = |difference: Difference| {
            let place: Vec<_> =
                difference.place.iter().map(|part| format!("{} {}", part.kind, part.name)).collect();
            let side = |side: Option<String>| side.unwrap_or("nothing".into());
            let field = difference.field.map(|field| format!(" {field}")).unwrap_or_default();
            format!("{}{field}: {} -> {}", place.join("/"), side(difference.left), side(difference.right))
        };
        diff(left, right).into_iter().map(line).collect()
    }

    #[test]
    fn what_is_alike_has_no_differences() {
        assert!(diff(&config(), &config()).is_empty());
        let mut other = config();
        other.servers[0].error_log_level = Some(2);
        assert!(diff(&config(), &other).is_empty(), "2 is what it is without");
        other.servers[0].hosts[0].routes.rotate_left(1);
        assert!(diff(&config(), &other).is_empty(), "the order of prefixes means nothing");
    }

    #[test]
    fn changes_are_named_with_their_place() {
        let mut other = config();
        other.servers[0].port = 80;
        other.servers[0].hosts[0].routes[0] = Route::new("/", Target::Dir(Dir::new("static/")));
        other.settings[0].1 = "2".into();
        assert_eq!(
            lines(&config(), &other),
            [
                "server main port: 6767 -> 80",
                "server main/host localhost/route / base: public/ -> static/",
                "setting a: 1 -> 2",
            ]
        );
    }

    #[test]
    fn what_is_in_one_only_is_told_in_short() {
        let mut other = config();
        other.servers[0].hosts[0].routes.remove(0);
        other.servers[0].hosts.push(Host::new("new", Vec::new()));
        assert_eq!(
            lines(&config(), &other),
            [
                "server main/host localhost/route /: Dir public/ -> nothing",
                "server main/host new: nothing -> 0 routes",
            ]
        );
        assert_eq!(lines(&Config::default(), &config())[0], "server main: nothing -> 127.0.0.1:6767, 1 host");
    }

    #[test]
    fn the_order_counts_where_mongrel2_goes_by_it() {
        let mut other = config();
        other.servers[0].hosts[0].routes.swap(1, 2);
        assert_eq!(
            lines(&config(), &other),
            ["server main/host localhost order of routes with one prefix: /a/(x), /a/(y) -> /a/(y), /a/(x)"]
        );
    }

    #[test]
    fn a_target_of_another_kind_is_one_difference() {
        let mut other = config();
        other.servers[0].hosts[0].routes[1].target = Target::Dir(Dir::new("x/")).into();
        assert_eq!(
            lines(&config(), &other),
            ["server main/host localhost/route /a/(x) target: Proxy 127.0.0.1:8080 -> Dir x/"]
        );
    }

    #[test]
    fn settings_of_modules_compare_without_their_order() {
        let module = |pairs: [(&str, i64); 2]| Module {
            name: "f.so".into(),
            settings: pairs.map(|(key, number)| (key.to_owned(), Value::Number(number))).into(),
        };
        let (mut one, mut two) = (config(), config());
        one.servers[0].filters = vec![module([("a", 1), ("b", 2)])];
        two.servers[0].filters = vec![module([("b", 2), ("a", 1)])];
        assert!(diff(&one, &two).is_empty());
        two.servers[0].filters = vec![module([("b", 2), ("a", 3)])];
        assert_eq!(
            lines(&one, &two),
            [r#"server main/filter f.so settings: {"a": 1, "b": 2} -> {"a": 3, "b": 2}"#]
        );
    }

    #[test]
    fn the_second_of_a_name_is_another_thing() {
        let (mut one, two) = (config(), config());
        let again = one.servers[0].hosts[0].routes[0].clone();
        one.servers[0].hosts[0].routes.push(again);
        assert_eq!(lines(&one, &two), ["server main/host localhost/route /: Dir public/ -> nothing"]);
    }
}
