//! From the tree to the model: classes, attributes, types and variables.
//!
//! Every error is reported and worked around, so that all of a file are found at once. What has
//! an error is left out of the model or has a default there; its place is left out of
//! [`Places`], so that no rule complains about it again.

mod attributes;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::diagnostic::places::{ClassPlaces, HostPlaces, Places, ServerPlaces};
use crate::diagnostic::span::Span;
use crate::diagnostic::suggest::nearest;
use crate::diagnostic::{Diagnostic, Severity};
use crate::language::ast::{Assignment, Class, Entry, Expr, ExprKind, Text, Tree};
use crate::language::classes::{ClassKind, Holds};
use crate::language::print::{DEFAULT_MIMETYPES, KEEP_ORDER};
use crate::language::variables::{Follows, Variables};
use crate::model::{Config, Dir, Handler, Host, Module, Proxy, Route, Server, Target, Value};
use crate::routing::tree;

use attributes::Reader;

/// Makes the model of all trees together, as far as it can be made.
///
/// `start` is the first file's first byte, where the absence of `servers` is reported.
pub(crate) fn resolve(trees: &[Tree], start: Span, found: &mut Vec<Diagnostic>) -> Resolved {
    let reported = RefCell::new(Vec::new());
    let variables = Variables::new(trees, &reported);
    let mut resolver = Resolver {
        variables: &variables,
        found: &reported,
        targets: HashMap::new(),
        places: Places::default(),
        has_servers: false,
        keep_order: false,
        budget: Cell::new(MAX_VALUES),
    };
    resolver.keep_order = resolver.switch(
        KEEP_ORDER,
        false,
        "m2sh will write rows in another order: for it this is a variable that nothing uses",
    );
    let default_mimetypes = resolver.switch(
        DEFAULT_MIMETYPES,
        true,
        "m2sh will add its content types: for it this is a variable that nothing uses",
    );
    let config = resolver.config(start);
    let places = resolver.places;
    found.append(&mut reported.borrow_mut());
    Resolved { config, places, default_mimetypes }
}

/// What [`resolve`] makes.
pub(crate) struct Resolved {
    pub config: Config,
    pub places: Places,
    /// Whether there are content types beyond those of the file.
    pub default_mimetypes: bool,
}

struct Resolver<'a> {
    variables: &'a Variables<'a>,
    found: &'a RefCell<Vec<Diagnostic>>,
    /// By the class in the tree: m2sh makes one row of it, however many routes lead there.
    targets: HashMap<*const Class, (Arc<Target>, Rc<ClassPlaces>)>,
    places: Places,
    /// Whether there is a list of servers; without it nothing leads to anything.
    has_servers: bool,
    /// Whether the rows of hashes are in the order of the file.
    keep_order: bool,
    /// How many routes and values of modules there may still be: variables inside variables
    /// can make very many out of a short file.
    budget: Cell<usize>,
}

/// See [`Resolver::budget`].
const MAX_VALUES: usize = 2_000_000;

impl<'a> Resolver<'a> {
    /// A variable that m2sh does not know, and that is 0 or 1. `note` says what m2sh does instead when it is
    /// not as it would be without.
    fn switch(&self, name: &str, default: bool, note: &str) -> bool {
        let Some(assignment) = self.variables.get(name) else { return default };
        let Some(at) = self.variables.follow(&assignment.value, Follows::Once) else { return default };
        let value = match &at.kind {
            ExprKind::Number(digits) if digits == "0" => false,
            ExprKind::Number(digits) if digits == "1" => true,
            ExprKind::Number(digits) => {
                let message = format!("`{name}` is {digits}, and can be 0 or 1");
                self.report(Diagnostic::error("number-range", assignment.value.span, message));
                default
            }
            _ => {
                self.wrong_type(&format!("`{name}`"), "0 or 1", at, assignment.value.span);
                default
            }
        };
        if value != default {
            self.report(Diagnostic::new(Severity::Note, "extension", assignment.name.span, note));
        }
        value
    }

    /// What was in a hash, in the order of its rows; `keys` are unique.
    fn in_order<T>(&self, values: Vec<Option<T>>, keys: &[&[u8]]) -> Vec<T> {
        if self.keep_order { values.into_iter().flatten().collect() } else { in_tree_order(values, keys) }
    }

    fn config(&mut self, start: Span) -> Config {
        let servers = self.servers(start);
        let settings = self.pairs("settings", true);
        let mimetypes = self.pairs("mimetypes", false);
        let unzip = |pairs: Vec<(String, String, Span, Span)>| -> (Vec<_>, Vec<_>) {
            pairs.into_iter().map(|(key, value, at, of)| ((key, value), (at, of))).unzip()
        };
        let (settings, setting_places) = unzip(settings);
        let (mimetypes, mimetype_places) = unzip(mimetypes);
        self.places.settings = setting_places;
        self.places.mimetypes = mimetype_places;
        // After an error, what nothing leads to may have been meant where the error is.
        let sound = self.found.borrow().iter().all(|one| one.severity < Severity::Error);
        if self.has_servers && sound {
            self.variables.report_unused();
        }
        Config { servers, settings, mimetypes }
    }

    fn servers(&mut self, start: Span) -> Vec<Server> {
        let assignment = self.variables.get("servers").or_else(|| self.report_no_servers(start));
        let Some(assignment) = assignment else { return Vec::new() };
        let items = self.variables.follow(&assignment.value, Follows::Nothing);
        let Some(items) = items.and_then(|items| self.list("servers", items)) else { return Vec::new() };
        self.has_servers = true;
        // Of servers that cannot be read, nobody shall say that they are not there.
        self.places.list = items.is_empty().then_some(assignment.value.span);
        let classes = self.classes(items, &[ClassKind::Server]);
        classes.into_iter().map(|(_, class)| self.server(class)).collect()
    }

    /// Returns the variable that was probably meant, to find mistakes in it too.
    fn report_no_servers(&self, start: Span) -> Option<&'a Assignment> {
        let problem = Diagnostic::error("no-servers", start, "there is no variable `servers`")
            .help("it says which servers there are: servers = [main]");
        let near = nearest("servers", self.variables.names()).and_then(|near| self.variables.get(near));
        self.report(match near {
            Some(near) => Diagnostic { span: near.name.span, ..problem.meant(Some("servers")) },
            None => problem,
        });
        near
    }

    fn server(&mut self, class: &'a Class) -> Server {
        let mut reader = Reader::new(self, class, ClassKind::Server);
        let defaults = Server::default();
        let mut server = Server {
            uuid: reader.text("uuid").unwrap_or_default(),
            name: reader.text("name").unwrap_or_default(),
            access_log: reader.text("access_log").unwrap_or_default(),
            error_log: reader.text("error_log").unwrap_or_default(),
            pid_file: reader.text("pid_file").unwrap_or_default(),
            default_host: reader.text("default_host").unwrap_or_default(),
            port: reader.number("port", u16::MAX).unwrap_or(1),
            bind_addr: reader.text("bind_addr").unwrap_or_else(|| "0.0.0.0".into()),
            chroot: reader.text("chroot").unwrap_or_default(),
            control_port: reader.text("control_port").unwrap_or_default(),
            use_ssl: reader.flag("use_ssl"),
            error_log_level: reader.number("error_log_level", u32::MAX),
            ..defaults
        };
        let mut list = |name| reader.value(name, Holds::List).map(items_of);
        let (hosts, filters, xrequests) = (list("hosts"), list("filters"), list("xrequests"));
        let (filters, xrequests) = (filters.unwrap_or_default(), xrequests.unwrap_or_default());
        let mut places = reader.places;

        let classes = self.classes(hosts.unwrap_or_default(), &[ClassKind::Host]);
        if hosts.is_none_or(|hosts| classes.len() < hosts.len()) {
            // The host that is missed may be the one that cannot be read, or is not there.
            places.attributes.retain(|(name, _)| *name != "default_host");
        }
        let (hosts, host_places) = classes.into_iter().map(|(_, class)| self.host(class)).unzip();
        server.hosts = hosts;
        let (filters, filter_places) = self.modules(filters, ClassKind::Filter);
        server.filters = filters;
        let (xrequests, xrequest_places) = self.modules(xrequests, ClassKind::Xrequest);
        server.xrequests = xrequests;
        self.places.servers.push(ServerPlaces {
            class: places,
            hosts: host_places,
            filters: filter_places,
            xrequests: xrequest_places,
        });
        server
    }

    fn host(&mut self, class: &'a Class) -> (Host, HostPlaces) {
        let mut reader = Reader::new(self, class, ClassKind::Host);
        let name = reader.text("name").unwrap_or_default();
        let matching = reader.text("matching");
        let routes = reader.value("routes", Holds::Hash).map_or(&[][..], entries_of);
        let mut places = reader.places;
        if matching.is_none() {
            let name = places.attributes.iter().find(|(name, _)| *name == "name").map(|(_, span)| *span);
            places.attributes.extend(name.map(|span| ("matching", span)));
        }
        let mut found = Vec::new();
        let mut keys = Vec::new();
        for entry in self.unique(routes) {
            if !self.spend(entry.key.span) {
                break;
            }
            if let Some((target, place)) = self.target(&entry.value) {
                found.push(Some((Route::new(entry.key.text.clone(), target), (entry.key.span, place))));
                keys.push(entry.key.text.as_bytes());
            }
        }
        if found.is_empty() && !routes.is_empty() {
            // Nobody shall say that there are none.
            places.attributes.retain(|(name, _)| *name != "routes");
        }
        let (routes, route_places) = self.in_order(found, &keys).into_iter().unzip();
        let matching = matching.unwrap_or_else(|| name.clone());
        (Host { name, matching, routes }, HostPlaces { class: places, routes: route_places })
    }

    fn target(&mut self, expr: &'a Expr) -> Option<(Arc<Target>, Rc<ClassPlaces>)> {
        let (kind, class) = self.class(expr, &ClassKind::TARGETS)?;
        if let Some(known) = self.targets.get(&std::ptr::from_ref(class)) {
            return Some(known.clone());
        }
        let mut reader = Reader::new(self, class, kind);
        let target = match kind {
            ClassKind::Handler => Target::Handler(Handler {
                send_spec: reader.text("send_spec").unwrap_or_default(),
                send_ident: reader.text("send_ident").unwrap_or_default(),
                recv_spec: reader.text("recv_spec").unwrap_or_default(),
                recv_ident: reader.text("recv_ident").unwrap_or_default(),
                raw_payload: reader.flag("raw_payload"),
                protocol: reader.protocol(),
            }),
            ClassKind::Dir => Target::Dir(Dir {
                base: reader.text("base").unwrap_or_default(),
                index_file: reader.text("index_file").unwrap_or_default(),
                default_ctype: reader.text("default_ctype").unwrap_or_default(),
                cache_ttl: reader.cache_ttl(),
            }),
            _ => Target::Proxy(Proxy {
                addr: reader.text("addr").unwrap_or_default(),
                port: reader.number("port", u16::MAX).unwrap_or(1),
            }),
        };
        let made = (Arc::new(target), Rc::new(reader.places));
        self.targets.insert(class, made.clone());
        Some(made)
    }

    fn modules(&mut self, items: &'a [Expr], kind: ClassKind) -> (Vec<Module>, Vec<ClassPlaces>) {
        let classes = self.classes(items, &[kind]);
        classes
            .into_iter()
            .map(|(kind, class)| {
                let mut reader = Reader::new(self, class, kind);
                let name = reader.text("name").unwrap_or_default();
                let settings = reader.value("settings", Holds::Hash).map_or(&[][..], entries_of);
                let places = reader.places;
                (Module { name, settings: self.module_hash(settings, 0) }, places)
            })
            .unzip()
    }

    fn module_hash(&self, entries: &'a [Entry], depth: usize) -> Vec<(String, Value)> {
        let mut found = Vec::new();
        let mut keys = Vec::new();
        for entry in self.unique(entries) {
            if let Some(value) = self.module_value(&entry.value, depth) {
                found.push(Some((entry.key.text.clone(), value)));
                keys.push(entry.key.text.as_bytes());
            }
        }
        self.in_order(found, &keys)
    }

    /// `depth` bounds what variables put into each other, which the parser cannot see.
    fn module_value(&self, expr: &'a Expr, depth: usize) -> Option<Value> {
        const MAX_DEPTH: usize = 100;
        if !self.spend(expr.span) {
            return None;
        }
        if depth > MAX_DEPTH {
            let message = "these variables are inside each other, or deeper than anything needs";
            self.report(Diagnostic::error("reference-cycle", expr.span, message));
            return None;
        }
        let expr = self.variables.follow(expr, Follows::Always)?;
        match &expr.kind {
            ExprKind::Text(text) => Some(Value::Text(text.clone())),
            ExprKind::Number(digits) => match digits.parse() {
                Ok(number) => Some(Value::Number(number)),
                Err(_) => {
                    let message = format!("{digits} is more than {}", i64::MAX);
                    self.report(Diagnostic::error("number-range", expr.span, message));
                    None
                }
            },
            ExprKind::List(values) => Some(Value::List(
                values.iter().filter_map(|value| self.module_value(value, depth + 1)).collect(),
            )),
            ExprKind::Hash(entries) => Some(Value::Hash(self.module_hash(entries, depth + 1))),
            kind => {
                let message = format!("{} among the settings of a module", kind.describe());
                let problem = Diagnostic::error("wrong-type", expr.span, message);
                self.report(problem.help("they are texts, numbers, lists and hashes"));
                None
            }
        }
    }

    /// Whether one more route or value is allowed.
    fn spend(&self, span: Span) -> bool {
        match self.budget.get() {
            0 => return false,
            1 => {
                let message = format!("the variables make more than {MAX_VALUES} routes and values");
                self.report(Diagnostic::error("too-large", span, message));
            }
            _ => {}
        }
        self.budget.set(self.budget.get() - 1);
        true
    }

    /// A hash of texts at the top level, in m2sh's order: key, value and their places.
    fn pairs(&self, name: &str, numbers: bool) -> Vec<(String, String, Span, Span)> {
        let Some(assignment) = self.variables.get(name) else { return Vec::new() };
        let Some(hash) = self.variables.follow(&assignment.value, Follows::Once) else { return Vec::new() };
        let ExprKind::Hash(entries) = &hash.kind else {
            self.wrong_type(&format!("`{name}`"), "a hash", hash, assignment.value.span);
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut keys = Vec::new();
        for Entry { key, value } in self.unique(entries) {
            let Some(at) = self.variables.follow(value, Follows::Once) else { continue };
            match &at.kind {
                ExprKind::Text(text) => {
                    found.push(Some((key.text.clone(), text.clone(), key.span, value.span)));
                    keys.push(key.text.as_bytes());
                }
                ExprKind::Number(text) if numbers => {
                    found.push(Some((key.text.clone(), text.clone(), key.span, value.span)));
                    keys.push(key.text.as_bytes());
                }
                _ => {
                    let wanted = if numbers { "a text or a number" } else { "a text" };
                    self.wrong_type(&format!("`{}` of `{name}`", key.text), wanted, at, value.span);
                }
            }
        }
        self.in_order(found, &keys)
    }

    /// The entries without those whose key was there before; m2sh would take the last.
    fn unique(&self, entries: &'a [Entry]) -> Vec<&'a Entry> {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        let mut unique = Vec::with_capacity(entries.len());
        for entry in entries {
            let Text { text, span } = &entry.key;
            match seen.get(text.as_str()) {
                Some(first) => {
                    let message = format!("the key `{text}` is there twice");
                    let problem = Diagnostic::error("duplicate-key", *span, message)
                        .help("m2sh would silently take the last one")
                        .related(*first, "the first one");
                    self.report(problem);
                }
                None => {
                    seen.insert(text, *span);
                    unique.push(entry);
                }
            }
        }
        unique
    }

    fn list(&self, what: &str, expr: &'a Expr) -> Option<&'a [Expr]> {
        match &expr.kind {
            ExprKind::List(items) => Some(items),
            _ => {
                self.wrong_type(&format!("`{what}`"), "a list", expr, expr.span);
                None
            }
        }
    }

    fn classes(&self, items: &'a [Expr], wanted: &[ClassKind]) -> Vec<(ClassKind, &'a Class)> {
        items.iter().filter_map(|item| self.class(item, wanted)).collect()
    }

    /// The class that an expression stands for, if it is one of those wanted.
    fn class(&self, expr: &'a Expr, wanted: &[ClassKind]) -> Option<(ClassKind, &'a Class)> {
        let at = self.variables.follow(expr, Follows::Once)?;
        let names = match wanted {
            [one] => one.a().to_owned(),
            _ => "a Handler, a Dir or a Proxy".to_owned(),
        };
        let ExprKind::Class(class) = &at.kind else {
            self.wrong_type("this", &names, at, expr.span);
            return None;
        };
        let word = &class.name.text;
        match ClassKind::named(word) {
            Some(kind) if wanted.contains(&kind) => Some((kind, class)),
            Some(kind) => {
                let message = format!("{} where {names} should be", kind.a());
                let mut problem = Diagnostic::error("wrong-class", expr.span, message);
                if at.span != expr.span {
                    problem = problem.related(class.name.span, "made here");
                }
                self.report(problem);
                None
            }
            None => {
                let message = format!("there is no class `{word}`");
                let near = nearest(word, wanted.iter().map(|kind| kind.name()));
                let near = near.or_else(|| nearest(word, ClassKind::ALL.iter().map(|kind| kind.name())));
                let problem = Diagnostic::error("unknown-class", class.name.span, message).meant(near);
                self.report(problem.help(format!("here it can be {names}")));
                // To find mistakes in it too.
                let kind = near.and_then(ClassKind::named).filter(|kind| wanted.contains(kind));
                kind.map(|kind| (kind, class))
            }
        }
    }

    fn wrong_type(&self, what: &str, wanted: &str, value: &Expr, span: Span) {
        let message = format!("{what} must be {wanted}, and is {}", value.kind.describe());
        let mut problem = Diagnostic::error("wrong-type", span, message);
        if value.span != span {
            problem = problem.related(value.span, "set here");
        }
        self.report(problem);
    }

    fn report(&self, problem: Diagnostic) {
        self.found.borrow_mut().push(problem);
    }
}

fn items_of(expr: &Expr) -> &[Expr] {
    match &expr.kind {
        ExprKind::List(items) => items,
        _ => &[],
    }
}

fn entries_of(expr: &Expr) -> &[Entry] {
    match &expr.kind {
        ExprKind::Hash(entries) => entries,
        _ => &[],
    }
}

/// m2sh writes what was in a hash in the order of its tree; `keys` are unique.
fn in_tree_order<T>(mut values: Vec<Option<T>>, keys: &[&[u8]]) -> Vec<T> {
    let mut tree = tree::Tree::default();
    for (at, key) in keys.iter().enumerate() {
        tree.insert(key, at);
    }
    tree.level_order().into_iter().filter_map(|at| values[at].take()).collect()
}
