//! What Mongrel2 punishes, found before it is written.
//!
//! Mongrel2 notices few mistakes, and most of these late: an ident that it cannot parse in
//! replies stalls a handler, a route key that shares its prefix with patterns makes it read
//! foreign memory, a missing host stops it at the start. So [`Config::problems`] is stricter than
//! the server and than m2sh. How routes get into each other's way is in [`crate::check::lint`].

pub mod invalid;
mod lint;
mod problems;
mod settings;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::diagnostic::Severity;
use crate::diagnostic::places::Place;
use crate::model::{Config, Dir, Handler, Host, Proxy, Route, Server, Target};
use invalid::{Invalid, Problem};
use problems::Problems;
use settings::Wrong;

/// Longest path of an `ipc://` address in bytes: `sockaddr_un` has 108 with the closing NUL.
const MAX_IPC_PATH: usize = 107;
/// `limits.dir_max_path` when the setting is absent; a base must be shorter.
const DIR_MAX_PATH: usize = 256;
/// `limits.mime_ext_len` when the setting is absent; an extension must be shorter.
const MIME_EXT_LEN: usize = 128;
/// `limits.host_name` when the setting is absent; names of hosts must be shorter.
const HOST_NAME: usize = 256;

impl Config {
    /// Finds the first thing that Mongrel2 would punish; warnings are none.
    ///
    /// # Errors
    ///
    /// [`Invalid`] names the place; each variant says what Mongrel2 would have done.
    pub fn check(&self) -> Result<(), Invalid> {
        let error = |problem: &Problem| problem.invalid.severity() == Severity::Error;
        match self.problems().into_iter().find(error) {
            Some(problem) => Err(problem.invalid),
            None => Ok(()),
        }
    }

    /// Finds everything that Mongrel2 would punish, and what it would do otherwise than meant.
    pub fn problems(&self) -> Vec<Problem> {
        let mut check = Check::of(self);
        check.servers();
        check.settings();
        check.mimetypes();
        check.problems.into_found()
    }
}

/// A walk through one configuration.
struct Check<'a> {
    config: &'a Config,
    problems: Problems,
    /// Targets that were looked at, by address: many routes may share one.
    seen: HashSet<*const Target>,
}

impl<'a> Check<'a> {
    fn of(config: &'a Config) -> Self {
        Self { config, problems: Problems::default(), seen: HashSet::new() }
    }

    fn servers(&mut self) {
        let config = self.config;
        if config.servers.is_empty() {
            self.problems.add(Place::Servers, Invalid::NoServer);
        }
        let mut uuids = HashMap::new();
        for (at, server) in config.servers.iter().enumerate() {
            self.server(at, server);
            let place = Place::Server { server: at, attribute: "uuid" };
            match uuids.get(&server.uuid) {
                Some(first) => {
                    self.problems.add_with(
                        place,
                        Invalid::SameUuid { uuid: server.uuid.clone() },
                        *first,
                        "the first one",
                    );
                }
                None => {
                    uuids.insert(&server.uuid, place);
                }
            }
        }
        self.servers_that_collide();
    }

    fn server(&mut self, at: usize, server: &Server) {
        let uuid = &server.uuid;
        let place = |attribute| Place::Server { server: at, attribute };
        self.filled(place("uuid"), || "a server's uuid".into(), uuid);
        for (attribute, text, needed) in [
            ("access_log", &server.access_log, true),
            ("error_log", &server.error_log, true),
            ("pid_file", &server.pid_file, true),
            ("bind_addr", &server.bind_addr, true),
            ("chroot", &server.chroot, false),
            ("control_port", &server.control_port, false),
            ("name", &server.name, false),
        ] {
            let what = || format!("{attribute} of server `{uuid}`");
            match needed {
                true => self.filled(place(attribute), what, text),
                false => self.clean(place(attribute), what, text),
            }
        }
        if server.port == 0 {
            self.problems.add(place("port"), Invalid::NoPort { what: format!("server `{uuid}`") });
        }
        if server.use_ssl && !self.config.setting("certdir").is_some_and(|dir| dir.ends_with('/')) {
            self.problems.add(place("use_ssl"), Invalid::NoCertdir { server: uuid.clone() });
        }
        if !server.hosts.iter().any(|host| host.name == server.default_host) {
            let default_host = server.default_host.clone();
            self.problems
                .add(place("default_host"), Invalid::NoDefaultHost { server: uuid.clone(), default_host });
        }
        let mut matchings = HashMap::new();
        for (number, host) in server.hosts.iter().enumerate() {
            self.host(at, number, host);
            let place = Place::Host { server: at, host: number, attribute: "matching" };
            match matchings.get(&host.matching) {
                Some(first) => {
                    let matching = host.matching.clone();
                    let invalid = Invalid::SameHost { server: uuid.clone(), matching };
                    self.problems.add_with(place, invalid, *first, "the first one");
                }
                None => {
                    matchings.insert(&host.matching, place);
                }
            }
        }
        for (filter, module) in server.filters.iter().enumerate() {
            self.filled(Place::Filter { server: at, filter }, || "the name of a Filter".into(), &module.name);
        }
        for (xrequest, module) in server.xrequests.iter().enumerate() {
            let place = Place::Xrequest { server: at, xrequest };
            self.filled(place, || "the name of an Xrequest".into(), &module.name);
        }
        self.sharing(at, server);
    }

    fn host(&mut self, server: usize, at: usize, host: &Host) {
        let place = |attribute| Place::Host { server, host: at, attribute };
        self.filled(place("name"), || "a host's name".into(), &host.name);
        if host.matching != host.name {
            self.filled(place("matching"), || format!("matching of host `{}`", host.name), &host.matching);
        }
        let limit = self.limit("limits.host_name", HOST_NAME);
        let both = [("name", &host.name), ("matching", &host.matching)];
        // Without a matching of its own, the name is both.
        for (attribute, text) in both.into_iter().take(if host.matching == host.name { 1 } else { 2 }) {
            let bytes = text.len();
            if bytes >= limit {
                let what = format!("{attribute} of host `{}`", host.name);
                self.problems.add(place(attribute), Invalid::HostLength { what, bytes, limit });
            }
        }
        for (number, route) in host.routes.iter().enumerate() {
            self.route(server, at, number, host, route);
        }
        lint::routes_together(&mut self.problems, server, at, host);
    }

    fn route(&mut self, server: usize, host_at: usize, at: usize, host: &Host, route: &Route) {
        let place = Place::Route { server, host: host_at, route: at };
        let (name, path) = (|| host.name.clone(), || route.path.clone());
        self.clean(place, || format!("a route of host `{}`", host.name), &route.path);
        if !route.path.starts_with(['/', '@', '<']) {
            self.problems.add(place, Invalid::RouteStart { host: name(), path: path() });
        } else if !route.path.starts_with('/') && !matches!(*route.target, Target::Handler(_)) {
            self.problems.add(place, Invalid::SocketRoute { host: name(), path: path() });
        }
        if self.seen.insert(Arc::as_ptr(&route.target)) {
            let place = |attribute| Place::Target { server, host: host_at, route: at, attribute };
            match &*route.target {
                Target::Handler(handler) => self.handler(place, handler),
                Target::Dir(dir) => self.dir(place, dir),
                Target::Proxy(proxy) => self.proxy(place, proxy),
            }
        }
    }

    fn handler(&mut self, place: impl Fn(&'static str) -> Place, handler: &Handler) {
        for (what, spec) in [("send_spec", &handler.send_spec), ("recv_spec", &handler.recv_spec)] {
            self.filled(place(what), || format!("{what} of handler `{}`", handler.send_ident), spec);
            let bytes = spec.strip_prefix("ipc://").map_or(0, str::len);
            if bytes > MAX_IPC_PATH {
                let invalid = Invalid::LongIpcPath { spec: spec.clone(), bytes, limit: MAX_IPC_PATH };
                self.problems.add(place(what), invalid);
            }
        }
        let ident = &handler.send_ident;
        if ident.is_empty() || !ident.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            self.problems.add(place("send_ident"), Invalid::SendIdent { ident: ident.clone() });
        }
        if !ident.starts_with(&handler.recv_ident) {
            let recv_ident = handler.recv_ident.clone();
            let invalid = Invalid::RecvIdent { recv_ident, send_ident: ident.clone() };
            self.problems.add_with(place("recv_ident"), invalid, place("send_ident"), "the send_ident");
        }
    }

    fn dir(&mut self, place: impl Fn(&'static str) -> Place, dir: &Dir) {
        self.clean(place("base"), || "the base of a Dir".into(), &dir.base);
        for (attribute, text) in [("index_file", &dir.index_file), ("default_ctype", &dir.default_ctype)] {
            match text.is_empty() {
                true => self.problems.add(place(attribute), Invalid::EmptyInDir { attribute }),
                false => self.clean(place(attribute), || format!("the {attribute} of a Dir"), text),
            }
        }
        let base = || dir.base.clone();
        if !dir.base.ends_with('/') {
            self.problems.add(place("base"), Invalid::DirBaseEnd { base: base() });
        }
        let (bytes, limit) = (dir.base.len(), self.limit("limits.dir_max_path", DIR_MAX_PATH));
        if bytes >= limit {
            self.problems.add(place("base"), Invalid::DirBaseLength { base: base(), bytes, limit });
        }
        let escape =
            |three: &[u8]| three[0] == b'%' && three[1].is_ascii_hexdigit() && three[2].is_ascii_hexdigit();
        if dir.base.as_bytes().windows(3).any(escape) {
            self.problems.add(place("base"), Invalid::DirBasePercent { base: base() });
        }
        if i32::try_from(dir.cache_ttl).is_err() {
            self.problems.add(place("cache_ttl"), Invalid::CacheTtl { seconds: dir.cache_ttl });
        }
    }

    fn proxy(&mut self, place: impl Fn(&'static str) -> Place, proxy: &Proxy) {
        self.filled(place("addr"), || "the addr of a Proxy".into(), &proxy.addr);
        if proxy.port == 0 {
            self.problems.add(place("port"), Invalid::NoPort { what: format!("proxy `{}`", proxy.addr) });
        }
    }

    /// Two handlers of one server must not share an address, unless they are the same.
    fn sharing(&mut self, at: usize, server: &Server) {
        let mut bound: HashMap<&str, Place> = HashMap::new();
        let mut seen = HashSet::new();
        for (host, routes) in server.hosts.iter().enumerate() {
            for (route, target) in routes.routes.iter().enumerate() {
                let Target::Handler(handler) = &*target.target else { continue };
                if !seen.insert(handler) {
                    continue;
                }
                for (attribute, spec) in
                    [("send_spec", &handler.send_spec), ("recv_spec", &handler.recv_spec)]
                {
                    let place = Place::Target { server: at, host, route, attribute };
                    if attribute == "recv_spec" && handler.send_spec == handler.recv_spec {
                        let (handler, spec) = (handler.send_ident.clone(), spec.clone());
                        let other = Place::Target { server: at, host, route, attribute: "send_spec" };
                        self.problems.add_with(
                            place,
                            Invalid::OneSpec { handler, spec },
                            other,
                            "the send_spec",
                        );
                        continue;
                    }
                    match bound.get(spec.as_str()) {
                        Some(first) => {
                            let invalid =
                                Invalid::SharedSpec { server: server.uuid.clone(), spec: spec.clone() };
                            self.problems.add_with(place, invalid, *first, "the first one");
                        }
                        None => {
                            bound.insert(spec, place);
                        }
                    }
                }
            }
        }
    }

    fn servers_that_collide(&mut self) {
        let (mut ports, mut pid_files, mut specs) = (HashMap::new(), HashMap::new(), HashMap::new());
        let config = self.config;
        for (at, server) in config.servers.iter().enumerate() {
            let (one, place) = (
                |first: usize| config.servers[first].uuid.clone(),
                |attribute| Place::Server { server: at, attribute },
            );
            let other = || server.uuid.clone();
            let first = *ports.entry((&server.bind_addr, server.port)).or_insert(at);
            if first != at {
                let invalid = Invalid::SamePort { one: one(first), other: other(), port: server.port };
                let first = Place::Server { server: first, attribute: "port" };
                self.problems.add_with(place("port"), invalid, first, "the first one");
            }
            let first = *pid_files.entry((&server.chroot, &server.pid_file)).or_insert(at);
            if first != at {
                let pid_file = server.pid_file.clone();
                let invalid = Invalid::SamePidFile { one: one(first), other: other(), pid_file };
                let first = Place::Server { server: first, attribute: "pid_file" };
                self.problems.add_with(place("pid_file"), invalid, first, "the first one");
            }
            let targets = server.hosts.iter().flat_map(|host| &host.routes).map(|route| &*route.target);
            for target in targets {
                let Target::Handler(Handler { send_spec, recv_spec, .. }) = target else { continue };
                // One word for each pair of servers is enough.
                let shared = [send_spec, recv_spec].into_iter().find_map(|spec| {
                    let first = *specs.entry(spec).or_insert(at);
                    (first != at).then_some((first, spec))
                });
                if let Some((first, spec)) = shared {
                    let invalid = Invalid::SameSpec { one: one(first), other: other(), spec: spec.clone() };
                    let first = Place::Server { server: first, attribute: "uuid" };
                    self.problems.add_with(place("uuid"), invalid, first, "the first one");
                    break;
                }
            }
        }
    }

    fn settings(&mut self) {
        let config = self.config;
        let mut keys = HashMap::new();
        for (at, (key, value)) in config.settings.iter().enumerate() {
            self.filled(Place::SettingKey(at), || "a setting's key".into(), key);
            self.clean(Place::SettingValue(at), || format!("setting `{key}`"), value);
            if let Some(first) = keys.insert(key, at) {
                let invalid = Invalid::SameSetting { key: key.clone() };
                self.problems.add_with(
                    Place::SettingKey(at),
                    invalid,
                    Place::SettingKey(first),
                    "the first one",
                );
            }
            let (key, value) = (key.clone(), value.clone());
            match settings::look_at(&key, &value) {
                None => {}
                Some(Wrong::Unknown { near }) => {
                    self.problems.add(Place::SettingKey(at), Invalid::UnknownSetting { key, near });
                }
                Some(wrong) => {
                    let invalid = match wrong {
                        Wrong::Folder => Invalid::SettingFolder { key, value },
                        Wrong::Template => Invalid::SettingTemplate { key, value },
                        Wrong::Mode => Invalid::SettingMode { key, value },
                        _ => Invalid::SettingNumber { key, value },
                    };
                    self.problems.add(Place::SettingValue(at), invalid);
                }
            }
        }
    }

    fn mimetypes(&mut self) {
        let config = self.config;
        let limit = self.limit("limits.mime_ext_len", MIME_EXT_LEN);
        let mut extensions = HashMap::new();
        for (at, (extension, kind)) in config.mimetypes.iter().enumerate() {
            let place = Place::MimetypeKey(at);
            self.clean(place, || "a mimetype extension".into(), extension);
            self.filled(Place::MimetypeValue(at), || format!("the mimetype of `{extension}`"), kind);
            let lower = !extension.bytes().any(|byte| byte.is_ascii_uppercase());
            if !extension.starts_with('.') || !lower || extension.len() >= limit {
                self.problems.add(place, Invalid::Extension { extension: extension.clone(), limit });
            }
            if let Some(first) = extensions.insert(extension, at) {
                let invalid = Invalid::SameExtension { extension: extension.clone() };
                self.problems.add_with(place, invalid, Place::MimetypeKey(first), "the first one");
            }
        }
    }

    fn limit(&self, key: &str, default: usize) -> usize {
        self.config.setting(key).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    fn filled(&mut self, place: Place, what: impl Fn() -> String, text: &str) {
        if text.is_empty() {
            self.problems.add(place, Invalid::Empty { what: what() });
        } else {
            self.clean(place, what, text);
        }
    }

    fn clean(&mut self, place: Place, what: impl Fn() -> String, text: &str) {
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            self.problems.add(place, Invalid::ControlCharacter { what: what(), text: text.into() });
        }
    }
}

#[cfg(test)]
mod tests;
