//! What Mongrel2 punishes, found before it is written.
//!
//! Mongrel2 notices few mistakes, and most of these late: an ident that it cannot parse in
//! replies stalls a handler, a route key that shares its prefix with patterns makes it read
//! foreign memory, a missing host stops it at the start. So [`Config::check`] is stricter than
//! the server and than m2sh; [`crate::store::write`] calls it.

use std::collections::HashSet;

use crate::invalid::Invalid;
use crate::model::{Config, Dir, Handler, Host, Proxy, Route, Server, Target};

/// Longest path of an `ipc://` address in bytes: `sockaddr_un` has 108 with the closing NUL.
const MAX_IPC_PATH: usize = 107;
/// `limits.dir_max_path` when the setting is absent; a base must be shorter.
const DIR_MAX_PATH: usize = 256;
/// `limits.mime_ext_len` when the setting is absent; an extension must be shorter.
const MIME_EXT_LEN: usize = 128;

impl Config {
    /// Finds the first thing that Mongrel2 would punish.
    ///
    /// # Errors
    ///
    /// [`Invalid`] names the place; each variant says what Mongrel2 would have done.
    pub fn check(&self) -> Result<(), Invalid> {
        let mut uuids = HashSet::new();
        for server in &self.servers {
            self.check_server(server)?;
            if !uuids.insert(&server.uuid) {
                return Err(Invalid::SameUuid { uuid: server.uuid.clone() });
            }
        }
        self.check_settings()?;
        self.check_mimetypes()
    }

    fn check_server(&self, server: &Server) -> Result<(), Invalid> {
        filled("a server's uuid", &server.uuid)?;
        let uuid = &server.uuid;
        let of_server = |field: &str| format!("{field} of server `{uuid}`");
        filled(&of_server("access_log"), &server.access_log)?;
        filled(&of_server("error_log"), &server.error_log)?;
        filled(&of_server("pid_file"), &server.pid_file)?;
        filled(&of_server("bind_addr"), &server.bind_addr)?;
        clean(&of_server("chroot"), &server.chroot)?;
        clean(&of_server("control_port"), &server.control_port)?;
        clean(&of_server("name"), &server.name)?;
        if server.port == 0 {
            return Err(Invalid::NoPort { what: format!("server `{uuid}`") });
        }
        if server.use_ssl && !self.setting("certdir").is_some_and(|dir| dir.ends_with('/')) {
            return Err(Invalid::NoCertdir { server: uuid.clone() });
        }
        if !server.hosts.iter().any(|host| host.name == server.default_host) {
            let default_host = server.default_host.clone();
            return Err(Invalid::NoDefaultHost { server: uuid.clone(), default_host });
        }
        let mut matchings = HashSet::new();
        for host in &server.hosts {
            self.check_host(host)?;
            if !matchings.insert(&host.matching) {
                let matching = host.matching.clone();
                return Err(Invalid::SameHost { server: uuid.clone(), matching });
            }
        }
        check_sharing(server)
    }

    fn check_host(&self, host: &Host) -> Result<(), Invalid> {
        filled("a host's name", &host.name)?;
        filled(&format!("matching of host `{}`", host.name), &host.matching)?;
        for (at, route) in host.routes.iter().enumerate() {
            let (name, path) = (|| host.name.clone(), || route.path.clone());
            clean(&format!("a route of host `{}`", host.name), &route.path)?;
            if !route.path.starts_with(['/', '@', '<']) {
                return Err(Invalid::RouteStart { host: name(), path: path() });
            }
            match &*route.target {
                Target::Handler(handler) => check_handler(handler)?,
                _ if !route.path.starts_with('/') => {
                    return Err(Invalid::SocketRoute { host: name(), path: path() });
                }
                Target::Dir(dir) => self.check_dir(dir)?,
                Target::Proxy(proxy) => check_proxy(proxy)?,
            }
            for earlier in &host.routes[..at] {
                check_neighbours(&host.name, earlier, route)?;
            }
        }
        Ok(())
    }

    fn check_dir(&self, dir: &Dir) -> Result<(), Invalid> {
        clean("the base of a Dir", &dir.base)?;
        filled("the index_file of a Dir", &dir.index_file)?;
        filled("the default_ctype of a Dir", &dir.default_ctype)?;
        let base = || dir.base.clone();
        if !dir.base.ends_with('/') {
            return Err(Invalid::DirBaseEnd { base: base() });
        }
        let (bytes, limit) = (dir.base.len(), self.limit("limits.dir_max_path", DIR_MAX_PATH));
        if bytes >= limit {
            return Err(Invalid::DirBaseLength { base: base(), bytes, limit });
        }
        let escape =
            |three: &[u8]| three[0] == b'%' && three[1].is_ascii_hexdigit() && three[2].is_ascii_hexdigit();
        if dir.base.as_bytes().windows(3).any(escape) {
            return Err(Invalid::DirBasePercent { base: base() });
        }
        if i32::try_from(dir.cache_ttl).is_err() {
            return Err(Invalid::CacheTtl { seconds: dir.cache_ttl });
        }
        Ok(())
    }

    fn check_settings(&self) -> Result<(), Invalid> {
        let mut keys = HashSet::new();
        for (key, value) in &self.settings {
            filled("a setting's key", key)?;
            clean(&format!("setting `{key}`"), value)?;
            if !keys.insert(key) {
                return Err(Invalid::SameSetting { key: key.clone() });
            }
        }
        Ok(())
    }

    fn check_mimetypes(&self) -> Result<(), Invalid> {
        let limit = self.limit("limits.mime_ext_len", MIME_EXT_LEN);
        let mut extensions = HashSet::new();
        for (extension, kind) in &self.mimetypes {
            clean("a mimetype extension", extension)?;
            filled(&format!("the mimetype of `{extension}`"), kind)?;
            let lower = !extension.bytes().any(|byte| byte.is_ascii_uppercase());
            if !extension.starts_with('.') || !lower || extension.len() >= limit {
                return Err(Invalid::Extension { extension: extension.clone(), limit });
            }
            if !extensions.insert(extension) {
                return Err(Invalid::SameExtension { extension: extension.clone() });
            }
        }
        Ok(())
    }

    fn limit(&self, key: &str, default: usize) -> usize {
        self.setting(key).and_then(|value| value.parse().ok()).unwrap_or(default)
    }
}

fn check_handler(handler: &Handler) -> Result<(), Invalid> {
    for (what, spec) in [("send_spec", &handler.send_spec), ("recv_spec", &handler.recv_spec)] {
        filled(&format!("{what} of handler `{}`", handler.send_ident), spec)?;
        let bytes = spec.strip_prefix("ipc://").map_or(0, str::len);
        if bytes > MAX_IPC_PATH {
            return Err(Invalid::LongIpcPath { spec: spec.clone(), bytes, limit: MAX_IPC_PATH });
        }
    }
    let ident = &handler.send_ident;
    if ident.is_empty() || !ident.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Invalid::SendIdent { ident: ident.clone() });
    }
    if !ident.starts_with(&handler.recv_ident) {
        let recv_ident = handler.recv_ident.clone();
        return Err(Invalid::RecvIdent { recv_ident, send_ident: ident.clone() });
    }
    Ok(())
}

fn check_proxy(proxy: &Proxy) -> Result<(), Invalid> {
    filled("the addr of a Proxy", &proxy.addr)?;
    if proxy.port == 0 {
        return Err(Invalid::NoPort { what: format!("proxy `{}`", proxy.addr) });
    }
    Ok(())
}

/// Mongrel2 keeps the routes of one prefix in a list, and takes the first as the rule for all.
fn check_neighbours(host: &str, one: &Route, other: &Route) -> Result<(), Invalid> {
    if one.path == other.path {
        return Err(Invalid::SameRoute { host: host.into(), path: one.path.clone() });
    }
    if one.prefix() == other.prefix() {
        for (plain, pattern) in [(one, other), (other, one)] {
            if !plain.has_pattern() {
                return Err(Invalid::PlainAmongPatterns {
                    host: host.into(),
                    path: plain.path.clone(),
                    pattern: pattern.path.clone(),
                });
            }
        }
    }
    Ok(())
}

fn check_sharing(server: &Server) -> Result<(), Invalid> {
    let mut bound = HashSet::new();
    let mut seen = HashSet::new();
    let routes = server.hosts.iter().flat_map(|host| &host.routes);
    for route in routes {
        let Target::Handler(handler) = &*route.target else { continue };
        if seen.insert(handler) {
            for spec in [&handler.send_spec, &handler.recv_spec] {
                if !bound.insert(spec) {
                    let server = server.uuid.clone();
                    return Err(Invalid::SharedSpec { server, spec: spec.clone() });
                }
            }
        }
    }
    Ok(())
}

fn filled(what: &str, text: &str) -> Result<(), Invalid> {
    if text.is_empty() { Err(Invalid::Empty { what: what.into() }) } else { clean(what, text) }
}

fn clean(what: &str, text: &str) -> Result<(), Invalid> {
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Invalid::ControlCharacter { what: what.into(), text: text.into() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    fn handler() -> Handler {
        Handler {
            send_spec: "ipc://run/requests".into(),
            send_ident: "app-1".into(),
            recv_spec: "ipc://run/replies".into(),
            recv_ident: "app-".into(),
            raw_payload: true,
            protocol: Protocol::Tnetstring,
        }
    }

    fn with_routes(routes: Vec<Route>) -> Config {
        let hosts = vec![Host::new("localhost", routes)];
        let server = Server { uuid: "main".into(), port: 6767, hosts, ..Server::default() };
        Config { servers: vec![server], ..Config::default() }
    }

    fn with_handler(change: impl FnOnce(&mut Handler)) -> Config {
        let mut handler = handler();
        change(&mut handler);
        with_routes(vec![Route::new("/", Target::Handler(handler))])
    }

    fn with_dir(change: impl FnOnce(&mut Dir)) -> Config {
        let mut dir = Dir::new("public/");
        change(&mut dir);
        with_routes(vec![Route::new("/", Target::Dir(dir))])
    }

    fn complaint(config: &Config) -> String {
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn a_sound_configuration_passes() {
        assert_eq!(with_handler(|_| {}).check(), Ok(()));
        assert_eq!(with_dir(|_| {}).check(), Ok(()));
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn idents_must_be_what_the_reply_grammar_accepts() {
        for bad in ["", "a b", "a_b", "caf\u{e9}", "a."] {
            let config = with_handler(|handler| {
                handler.send_ident = bad.into();
                handler.recv_ident = String::new();
            });
            assert_eq!(config.check(), Err(Invalid::SendIdent { ident: bad.into() }));
        }
        assert_eq!(
            complaint(&with_handler(|handler| handler.recv_ident = "app-2".into())),
            "recv_ident `app-2` is no prefix of send_ident `app-1`"
        );
        assert_eq!(with_handler(|handler| handler.recv_ident = String::new()).check(), Ok(()));
    }

    #[test]
    fn an_address_is_bound_by_one_handler_only() {
        let other = Handler { send_ident: "app-2".into(), ..handler() };
        let routes = |second: Handler| {
            with_routes(vec![
                Route::new("/a", Target::Handler(handler())),
                Route::new("/b", Target::Handler(second)),
            ])
        };
        assert_eq!(routes(handler()).check(), Ok(()));
        assert_eq!(
            complaint(&routes(other)),
            "two different handlers of server `main` use the address `ipc://run/requests`"
        );
        let twice = with_handler(|handler| handler.recv_spec = handler.send_spec.clone());
        assert!(matches!(twice.check(), Err(Invalid::SharedSpec { .. })));
    }

    #[test]
    fn a_socket_path_must_fit_the_operating_system() {
        let fits = with_handler(|handler| handler.send_spec = format!("ipc://{}", "x".repeat(107)));
        assert_eq!(fits.check(), Ok(()));
        let long = with_handler(|handler| handler.send_spec = format!("ipc://{}", "x".repeat(108)));
        assert!(matches!(long.check(), Err(Invalid::LongIpcPath { bytes: 108, limit: 107, .. })));
    }

    #[test]
    fn dir_bases_are_folders_that_mongrel2_can_use() {
        let base = |text: &str| with_dir(|dir| dir.base = text.into()).check();
        assert_eq!(base("public"), Err(Invalid::DirBaseEnd { base: "public".into() }));
        assert_eq!(base("a%20b/"), Err(Invalid::DirBasePercent { base: "a%20b/".into() }));
        assert_eq!(base("100%/"), Ok(()));
        let long = format!("{}/", "x".repeat(255));
        assert!(matches!(base(&long), Err(Invalid::DirBaseLength { bytes: 256, .. })));
        let mut config = with_dir(|dir| dir.base = long);
        config.settings.push(("limits.dir_max_path".into(), "1000".into()));
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn a_cache_ttl_must_stay_positive_in_the_database() {
        let ttl = |seconds| with_dir(|dir| dir.cache_ttl = seconds).check();
        assert_eq!(ttl(2_147_483_647), Ok(()));
        assert_eq!(ttl(2_147_483_648), Err(Invalid::CacheTtl { seconds: 2_147_483_648 }));
    }

    #[test]
    fn header_values_cannot_be_split() {
        let config = with_dir(|dir| dir.default_ctype = "text/plain\r\nX: y".into());
        assert!(matches!(config.check(), Err(Invalid::ControlCharacter { .. })));
    }

    #[test]
    fn routes_must_be_reachable() {
        let dir = || Target::Dir(Dir::new("public/"));
        let routes =
            |paths: &[&str]| with_routes(paths.iter().map(|path| Route::new(*path, dir())).collect()).check();
        assert!(matches!(routes(&["static/"]), Err(Invalid::RouteStart { .. })));
        assert!(matches!(routes(&["(.*)"]), Err(Invalid::RouteStart { .. })));
        assert!(matches!(routes(&["@chat"]), Err(Invalid::SocketRoute { .. })));
        assert!(matches!(routes(&["/a", "/a"]), Err(Invalid::SameRoute { .. })));
        for mixed in [["/", "/(x)"], ["/(x)", "/"]] {
            assert!(matches!(routes(&mixed), Err(Invalid::PlainAmongPatterns { .. })));
        }
        assert_eq!(routes(&["/()", "/(x)", "/a", "/a/b"]), Ok(()));
    }

    #[test]
    fn a_server_needs_its_default_host_and_a_port() {
        let mut config = with_handler(|_| {});
        config.servers[0].default_host = "example.org".into();
        assert_eq!(complaint(&config), "server `main` has no host named `example.org`, its default_host");
        let mut config = with_handler(|_| {});
        config.servers[0].port = 0;
        assert_eq!(complaint(&config), "server `main` has port 0");
        let mut config = with_handler(|_| {});
        config.servers[0].pid_file = String::new();
        assert_eq!(complaint(&config), "pid_file of server `main` is empty");
        let mut config = with_handler(|_| {});
        config.servers[0].use_ssl = true;
        assert!(matches!(config.check(), Err(Invalid::NoCertdir { .. })));
        config.settings.push(("certdir".into(), "certs/".into()));
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn nothing_that_must_be_unique_is_there_twice() {
        let mut config = with_handler(|_| {});
        config.servers.push(config.servers[0].clone());
        assert_eq!(config.check(), Err(Invalid::SameUuid { uuid: "main".into() }));

        let mut config = with_handler(|_| {});
        let host = config.servers[0].hosts[0].clone();
        config.servers[0].hosts.push(host);
        assert!(matches!(config.check(), Err(Invalid::SameHost { .. })));

        let pair = |key: &str| (key.to_owned(), "1".to_owned());
        let settings = vec![pair("zeromq.threads"), pair("zeromq.threads")];
        let config = Config { settings, ..Config::default() };
        assert_eq!(complaint(&config), "setting `zeromq.threads` is there twice");

        let config = Config { mimetypes: vec![pair(".a"), pair(".a")], ..Config::default() };
        assert_eq!(complaint(&config), "mimetype extension `.a` is there twice");
    }

    #[test]
    fn extensions_are_dotted_and_lower_case() {
        for bad in ["html", ".HTML", "", &format!(".{}", "x".repeat(127))] {
            let mimetypes = vec![(bad.to_owned(), "text/html".to_owned())];
            let config = Config { mimetypes, ..Config::default() };
            assert!(matches!(config.check(), Err(Invalid::Extension { .. })), "{bad}");
        }
    }
}
