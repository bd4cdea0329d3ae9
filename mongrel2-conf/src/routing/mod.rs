//! Which host and which route a request reaches, found as Mongrel2 finds them, with its mistakes.
//!
//! For `kennel conf route`, and for whoever wants to know before a client does.

pub mod pattern;
pub(crate) mod tree;

use crate::model::{Host, Server};
use pattern::Pattern;
use tree::Tree;

/// The routes of one host, ready for questions.
#[derive(Debug, Clone)]
pub struct Router<'a> {
    host: &'a Host,
    tree: Tree,
    /// By the first route of a prefix: all of that prefix, in the order of the host.
    groups: Vec<Vec<usize>>,
}

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// To the route of this number in [`Host::routes`].
    Route {
        /// Its number.
        route: usize,
        /// The path ends inside the route's key, so that the route should not have had it.
        partial: bool,
    },
    /// Nowhere, 404: this route, or several of its prefix, is where Mongrel2 looks, and no
    /// pattern there fits.
    Misfit {
        /// The number of the first one.
        route: usize,
    },
    /// Nowhere, 404: no route has a prefix that the path begins with.
    Nothing,
}

impl<'a> Router<'a> {
    /// Sorts the routes of a host as Mongrel2 does at its start.
    pub fn new(host: &'a Host) -> Self {
        let mut tree = Tree::default();
        let mut groups = vec![Vec::new(); host.routes.len()];
        for (number, route) in host.routes.iter().enumerate() {
            let first = tree.insert(route.prefix().as_bytes(), number).unwrap_or(number);
            groups[first].push(number);
        }
        Self { host, tree, groups }
    }

    /// Finds the route of a request's path, without its query.
    ///
    /// For JSON sockets that is `@` and the name, for XML sockets `<` and the tag.
    ///
    /// ```
    /// use mongrel2_conf::model::{Dir, Host, Route, Target};
    /// use mongrel2_conf::routing::{Reached, Router};
    ///
    /// let dir = |path: &str| Route::new(path, Target::Dir(Dir::new("public/")));
    /// let host = Host::new("localhost", vec![dir("/"), dir("/static/")]);
    /// let router = Router::new(&host);
    /// assert_eq!(router.reach(b"/about"), Reached::Route { route: 0, partial: false });
    /// assert_eq!(router.reach(b"/st"), Reached::Route { route: 1, partial: true });
    /// ```
    pub fn reach(&self, path: &[u8]) -> Reached {
        let Some(first) = self.tree.reach(path) else { return Reached::Nothing };
        let group = &self.groups[first];
        let prefix = self.host.routes[first].prefix().as_bytes();
        let partial = !path.starts_with(prefix);
        if !self.host.routes[first].has_pattern() {
            return Reached::Route { route: first, partial };
        }
        // The first, then the last, down to the second: each new one is put behind the first.
        let tried = group.iter().take(1).chain(group.iter().skip(1).rev());
        // A path that is shorter than the prefix fits no pattern.
        let rest = path.get(prefix.len()..);
        let fits = |number: &&usize| {
            let route = &self.host.routes[**number];
            let pattern = Pattern::parse(&route.path[prefix.len()..]);
            rest.is_some_and(|rest| pattern.is_ok_and(|pattern| pattern.matches(rest)))
        };
        match tried.into_iter().find(fits) {
            Some(&route) => Reached::Route { route, partial },
            None => Reached::Misfit { route: first },
        }
    }
}

/// Finds the host of a request by its Host header without port: the number in
/// [`Server::hosts`], of the default host if no other fits. `None` if there is none either: 404.
///
/// ```
/// use mongrel2_conf::model::{Host, Server};
/// use mongrel2_conf::routing::host_for;
///
/// let hosts = vec![Host::new("localhost", vec![]), Host::new("example.org", vec![])];
/// let server = Server { default_host: "localhost".into(), hosts, ..Server::default() };
/// assert_eq!(host_for(&server, b"www.example.org"), Some(1));
/// assert_eq!(host_for(&server, b"other"), Some(0));
/// ```
pub fn host_for(server: &Server, name: &[u8]) -> Option<usize> {
    let mut tree = Tree::default();
    for (number, host) in server.hosts.iter().enumerate() {
        let (_, mut end) = pattern_and_end(&host.matching);
        end.reverse();
        tree.insert(&end, number);
    }
    let reversed: Vec<u8> = name.iter().rev().copied().collect();
    let found = tree.reach(&reversed).filter(|&number| {
        let (pattern, end) = pattern_and_end(&server.hosts[number].matching);
        let Some(pattern) = pattern else { return true };
        // The pattern is for all that is before the end.
        let rest = name.len().checked_sub(end.len()).map(|length| &name[..length]);
        let pattern = Pattern::parse(&format!("{pattern}$"));
        rest.is_some_and(|rest| pattern.is_ok_and(|pattern| pattern.matches(rest)))
    });
    // Mongrel2 takes the last of several hosts with that name.
    found.or_else(|| server.hosts.iter().rposition(|host| host.name == server.default_host))
}

/// What a host matches: a pattern up to the last `)`, then the end of the name.
fn pattern_and_end(matching: &str) -> (Option<&str>, Vec<u8>) {
    match matching.rfind(')') {
        Some(end) => (Some(&matching[..=end]), matching.as_bytes()[end + 1..].to_vec()),
        None => (None, matching.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Dir, Route, Target};

    fn host(paths: &[&str]) -> Host {
        let route = |path: &&str| Route::new(*path, Target::Dir(Dir::new("public/")));
        Host::new("localhost", paths.iter().map(route).collect())
    }

    fn reach(paths: &[&str], path: &str) -> Reached {
        Router::new(&host(paths)).reach(path.as_bytes())
    }

    #[test]
    fn there_is_no_way_back_from_a_pattern_that_does_not_fit() {
        let paths = ["/", "/pat/([0-9]+)"];
        assert_eq!(reach(&paths, "/pat/12a"), Reached::Route { route: 1, partial: false });
        assert_eq!(reach(&paths, "/pat/x"), Reached::Misfit { route: 1 });
        assert_eq!(reach(&paths, "/pa"), Reached::Misfit { route: 1 });
        assert_eq!(reach(&paths, "/x"), Reached::Route { route: 0, partial: false });
        assert_eq!(reach(&["/a"], "/b"), Reached::Nothing);
    }

    #[test]
    fn patterns_of_one_prefix_are_tried_from_the_first_to_the_last_and_back_to_the_second() {
        let paths = ["/(a)", "/()", "/(b)", "/(ab)"];
        assert_eq!(reach(&paths, "/ab"), Reached::Route { route: 0, partial: false });
        assert_eq!(reach(&paths, "/b"), Reached::Route { route: 2, partial: false });
        assert_eq!(reach(&paths, "/c"), Reached::Route { route: 1, partial: false });
    }

    #[test]
    fn hosts_match_from_the_end() {
        let named = |names: &[&str]| Server {
            hosts: names.iter().map(|name| Host::new(name, Vec::new())).collect(),
            default_host: names[0].into(),
            ..Server::default()
        };
        let server = named(&["localhost", "(.+).testing.org", "example.org"]);
        assert_eq!(host_for(&server, b"a.testing.org"), Some(1));
        assert_eq!(host_for(&server, b".testing.org"), Some(0));
        assert_eq!(host_for(&server, b"www.example.org"), Some(2));
        assert_eq!(host_for(&server, b"elsewhere"), Some(0));
        // A name that ends inside another one has the same looseness as a path.
        assert_eq!(host_for(&named(&["localhost", "example.org"]), b"org"), Some(1));
    }
}
