//! The configuration of one server, ready for requests: hosts, routes, and what they lead to.

mod prefixes;
mod routes;

use crate::files::{Folder, Types};
use crate::ids::HandlerId;
use crate::limits::Limits;
use crate::unsupported::{Unsupported, unsupported};
use mongrel2_conf::model::{Config, Handler, Server, Target};
use prefixes::Prefixes;
use routes::Routes;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// Why a server cannot be one of these.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum SiteError {
    /// The server has something that only Mongrel2 can do.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The key of a route does not read.
    #[error("server `{server}`, host `{host}`, route `{route}`: {problem}")]
    Pattern {
        /// The server's name.
        server: String,
        /// The host's name.
        host: String,
        /// The route's key, or the host's `matching`.
        route: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// What a route leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    Handler(HandlerId),
    /// The folder's place among [`Site::dirs`].
    Dir(usize),
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    pub(crate) goal: Goal,
    /// The route's key as configured.
    pub(crate) pattern: Arc<str>,
    /// Bytes of the key before a pattern.
    pub(crate) prefix: usize,
}

/// One server.
#[derive(Debug)]
pub(crate) struct Site {
    server: Server,
    limits: Limits,
    handlers: Vec<Handler>,
    dirs: Vec<Folder>,
    /// Routes by the end of the host's name, reversed.
    hosts: Prefixes<Arc<Routes>>,
    default: Option<Arc<Routes>>,
}

impl Site {
    /// Makes a server of the configuration ready. Folders count from `root`.
    pub(crate) fn new(config: &Config, server: &Server, root: &Path) -> Result<Self, SiteError> {
        Self::with_handlers(config, server, root, Vec::new())
    }

    /// The same after a change. Handlers keep their ids, and those that are not used any more stay among
    /// [`handlers`](Self::handlers).
    pub(crate) fn after(
        old: &Self,
        config: &Config,
        server: &Server,
        root: &Path,
    ) -> Result<Self, SiteError> {
        Self::with_handlers(config, server, root, old.handlers.clone())
    }

    fn with_handlers(
        config: &Config,
        server: &Server,
        root: &Path,
        handlers: Vec<Handler>,
    ) -> Result<Self, SiteError> {
        if let Some(first) = unsupported(server).into_iter().next() {
            return Err(first.into());
        }
        let types = Arc::new(Types::new(&config.mimetypes));
        let mut site = Self {
            server: server.clone(),
            limits: Limits::new(config),
            handlers,
            dirs: Vec::new(),
            hosts: Prefixes::default(),
            default: None,
        };
        for host in &server.hosts {
            let broken = |route: &str, problem: String| SiteError::Pattern {
                server: server.label().to_owned(),
                host: host.name.clone(),
                route: route.to_owned(),
                problem,
            };
            let mut routes = Routes::default();
            for route in &host.routes {
                let goal = match &*route.target {
                    Target::Handler(handler) => Goal::Handler(site.handler(handler)),
                    Target::Dir(dir) => {
                        site.dirs.push(Folder::new(dir, Arc::clone(&types), root));
                        Goal::Dir(site.dirs.len() - 1)
                    }
                    Target::Proxy(_) => continue,
                };
                routes.add(route, goal).map_err(|problem| broken(&route.path, problem))?;
            }
            let routes = Arc::new(routes);
            if host.name == server.default_host {
                site.default = Some(Arc::clone(&routes));
            }
            let (pattern, end) = match host.matching.rfind(')') {
                Some(at) => (&host.matching[..=at], &host.matching[at + 1..]),
                None => ("", &host.matching[..]),
            };
            let pattern = if pattern.is_empty() { String::new() } else { format!("{pattern}$") };
            let end: Vec<u8> = end.bytes().rev().collect();
            site.hosts.add(&end, &pattern, routes).map_err(|problem| broken(&host.matching, problem))?;
        }
        Ok(site)
    }

    fn handler(&mut self, handler: &Handler) -> HandlerId {
        // Mongrel2 takes two for one if their sockets are the same.
        let is_same =
            |other: &Handler| other.send_spec == handler.send_spec && other.recv_spec == handler.recv_spec;
        let known = self.handlers.iter().position(is_same);
        HandlerId(known.unwrap_or_else(|| {
            self.handlers.push(handler.clone());
            self.handlers.len() - 1
        }))
    }

    /// Finds the route of a request. `host` is without its port.
    pub(crate) fn reach(&self, host: &[u8], path: &[u8]) -> Option<Reached> {
        let reversed: Vec<u8> = host.iter().rev().copied().collect();
        // A host's pattern is for all that is before its end, read forwards.
        let found = self.hosts.find(&reversed, |rest| rest.iter().rev().copied().collect());
        let routes = found.flatten().or(self.default.as_ref())?;
        routes.reach(path)
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The handlers of all routes, each once.
    pub(crate) fn handlers(&self) -> &[Handler] {
        &self.handlers
    }

    /// The folders of all routes.
    pub(crate) fn dirs(&self) -> &[Folder] {
        &self.dirs
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use mongrel2_conf::model::{Dir, Host, Proxy, Route};

    pub(crate) fn handler(name: &str) -> Target {
        Target::Handler(Handler {
            send_spec: format!("ipc://{name}-send"),
            send_ident: name.into(),
            recv_spec: format!("ipc://{name}-recv"),
            recv_ident: String::new(),
            raw_payload: false,
            protocol: Default::default(),
        })
    }

    fn site(hosts: Vec<Host>) -> Result<Site, SiteError> {
        let server =
            Server { name: "main".into(), default_host: "localhost".into(), hosts, ..Server::default() };
        Site::new(&Config::default(), &server, Path::new("/"))
    }

    fn goal(site: &Site, host: &str, path: &str) -> Option<Goal> {
        site.reach(host.as_bytes(), path.as_bytes()).map(|reached| reached.goal)
    }

    #[test]
    fn hosts_match_from_their_end_and_the_default_takes_the_rest() {
        let with = |name: &str| Host::new(name, vec![Route::new("/", handler(name))]);
        let site = site(["localhost", "example.org", "(.+).testing.org"].map(with).to_vec()).unwrap();
        let goal = |host| goal(&site, host, "/x");
        assert_eq!(goal("www.example.org"), Some(Goal::Handler(HandlerId(1))));
        assert_eq!(goal("a.testing.org"), Some(Goal::Handler(HandlerId(2))));
        // Mongrel2 takes a name that ends inside a host's for that host.
        assert_eq!(["org", "", ".testing.org"].map(goal), [Some(Goal::Handler(HandlerId(0))); 3]);
    }

    #[test]
    fn one_handler_with_several_routes_has_one_id_and_keeps_it() {
        let routes = vec![
            Route::new("/", handler("a")),
            Route::new("@chat", handler("a")),
            Route::new("/b", handler("b")),
        ];
        let old = site(vec![Host::new("localhost", routes)]).unwrap();
        assert_eq!(old.handlers().len(), 2);
        let hosts =
            vec![Host::new("localhost", vec![Route::new("/", handler("c")), Route::new("/b", handler("b"))])];
        let server = Server { default_host: "localhost".into(), hosts, ..Server::default() };
        let new = Site::after(&old, &Config::default(), &server, Path::new("/")).unwrap();
        assert_eq!(goal(&new, "", "/b"), Some(Goal::Handler(HandlerId(1))));
        assert_eq!(goal(&new, "", "/"), Some(Goal::Handler(HandlerId(2))));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let proxy = Target::Proxy(Proxy { addr: "127.0.0.1".into(), port: 80 });
        let error = site(vec![Host::new("localhost", vec![Route::new("/p", proxy)])]).unwrap_err();
        assert!(matches!(error, SiteError::Unsupported(Unsupported::Proxy { .. })), "{error}");
        let dir = || Target::Dir(Dir::new("public/"));
        let error =
            site(vec![Host::new("localhost", vec![Route::new("/(a", dir()), Route::new("/([", dir())])])
                .unwrap_err();
        assert!(matches!(error, SiteError::Pattern { .. }), "{error}");
    }
}
