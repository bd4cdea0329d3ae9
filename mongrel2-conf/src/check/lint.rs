//! How the routes of a host get into each other's way.
//!
//! Mongrel2 keeps them in a tree by what is before their first `(`. It looks for the longest of
//! these prefixes that a path begins with, and tries the patterns behind that one only. A path
//! that ends inside a prefix goes to the route of that prefix, whatever else there is.

use std::collections::HashMap;

use crate::check::invalid::Invalid;
use crate::check::problems::Problems;
use crate::diagnostic::places::Place;
use crate::model::{Host, Route};
use crate::routing::pattern::Pattern;
use crate::routing::tree::Tree;

/// Characters that are patterns elsewhere, and that hardly any path has.
const ODD_IN_PREFIX: &[char] = &['*', '\\', '[', '{', '^', '|'];

/// Finds everything that only the routes of a host together can have, and what is wrong with their patterns. The numbers
/// say which server and which of its hosts this is.
pub(crate) fn routes_together(problems: &mut Problems, server: usize, at: usize, host: &Host) {
    Lint { problems, server, at, host }.routes_together();
}

/// The routes of one host.
struct Lint<'a> {
    problems: &'a mut Problems,
    server: usize,
    at: usize,
    host: &'a Host,
}

impl Lint<'_> {
    fn routes_together(&mut self) {
        let (server, at, host) = (self.server, self.at, self.host);
        if host.routes.is_empty() {
            self.problems.add(
                Place::Host { server, host: at, attribute: "routes" },
                Invalid::NoRoutes { host: host.name.clone() },
            );
        }
        self.matching();
        let patterns: Vec<_> = (host.routes.iter().enumerate())
            .map(|(number, route)| self.pattern(self.place(number), route))
            .collect();

        // In the order of the database, by prefix.
        let mut prefixes: Vec<&str> = Vec::new();
        let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
        for (number, route) in host.routes.iter().enumerate() {
            let group = groups.entry(route.prefix()).or_default();
            if group.is_empty() {
                prefixes.push(route.prefix());
            }
            group.push(number);
        }
        let mut tree = Tree::default();
        for prefix in &prefixes {
            let group = &groups[prefix];
            tree.insert(prefix.as_bytes(), group[0]);
            self.one_prefix(group, &patterns);
        }

        let open = |number: usize| {
            let group = &groups[host.routes[number].prefix()];
            group.iter().any(|&route| {
                let fits = patterns[route].as_ref().is_none_or(Pattern::fits_everything);
                !host.routes[route].has_pattern() || fits
            })
        };
        let closed: Vec<_> = tree.parents().into_iter().filter(|(number, _)| !open(*number)).collect();
        if let Some((number, shorter)) = closed.iter().min().copied() {
            let invalid = Invalid::NoFallback {
                prefix: host.routes[number].prefix().into(),
                path: host.routes[number].path.clone(),
                shorter: host.routes[shorter].path.clone(),
                others: closed.len() - 1,
            };
            self.problems.add(self.place(number), invalid);
        }
        let taken = tree.taken();
        if let Some(first) = taken.iter().min_by_key(|taken| taken.by) {
            let invalid = Invalid::PartialPath {
                example: String::from_utf8_lossy(&first.path).into_owned(),
                path: host.routes[first.by].path.clone(),
                shorter: host.routes[first.from].path.clone(),
                others: taken.len() - 1,
            };
            self.problems.add(self.place(first.by), invalid);
        }
    }

    fn place(&self, route: usize) -> Place {
        Place::Route { server: self.server, host: self.at, route }
    }

    /// `None` for a route without a pattern, or with one that cannot be used.
    fn pattern(&mut self, place: Place, route: &Route) -> Option<Pattern> {
        let prefix = route.prefix();
        // An XML socket's key begins with `<`, and its tag may have anything; a path hardly.
        if let Some(at) = prefix.find(ODD_IN_PREFIX).filter(|_| prefix.starts_with('/')) {
            let character = prefix[at..].chars().next().unwrap_or_default();
            self.problems.add_at(place, at, Invalid::OddPrefix { path: route.path.clone(), character });
        }
        if !route.has_pattern() {
            return None;
        }
        self.pattern_text(place, &route.path, prefix.len(), &route.path[prefix.len()..])
    }

    fn pattern_text(&mut self, place: Place, text: &str, start: usize, pattern: &str) -> Option<Pattern> {
        match Pattern::parse(pattern) {
            Ok(parsed) => {
                for odd in Pattern::oddities(pattern) {
                    self.problems.add_at(
                        place,
                        start + odd.at,
                        Invalid::OddPattern { text: text.into(), odd },
                    );
                }
                Some(parsed)
            }
            Err(problem) => {
                let at = start + problem.at();
                self.problems.add_at(place, at, Invalid::Pattern { text: text.into(), problem });
                None
            }
        }
    }

    /// The pattern of a host goes to its last `)`, and must fit all before what is behind.
    fn matching(&mut self) {
        let Self { server, at, host, .. } = *self;
        if let Some(end) = host.matching.rfind(')') {
            let place = Place::Host { server, host: at, attribute: "matching" };
            self.pattern_text(place, &host.matching, 0, &host.matching[..=end]);
        }
    }

    /// Mongrel2 keeps the routes of one prefix in a list, and takes the first as the rule for
    /// all. It tries the first, then the last, and so on down to the second.
    fn one_prefix(&mut self, group: &[usize], patterns: &[Option<Pattern>]) {
        let Self { server, at, host, .. } = *self;
        let place = |route| Place::Route { server, host: at, route };
        let path = |number: usize| host.routes[number].path.clone();
        let mut paths = HashMap::new();
        for &number in group {
            if let Some(first) = paths.insert(&host.routes[number].path, number) {
                let invalid = Invalid::SameRoute { host: host.name.clone(), path: path(number) };
                self.problems.add_with(place(number), invalid, place(first), "the first one");
            }
        }
        let plain = group.iter().copied().find(|&number| !host.routes[number].has_pattern());
        let pattern = group.iter().copied().find(|&number| host.routes[number].has_pattern());
        if let (Some(plain), Some(pattern)) = (plain, pattern) {
            let fits_all = |number: usize| patterns[number].as_ref().is_some_and(Pattern::fits_everything);
            let is_same = |number: usize| host.routes[number].target == host.routes[plain].target;
            let mut others = group.iter().copied().filter(|number| host.routes[*number].has_pattern());
            let is_served = match group[0] == plain {
                true => others.all(|number| fits_all(number) || is_same(number)),
                false => fits_all(group[0]),
            };
            let invalid = Invalid::PlainAmongPatterns {
                host: host.name.clone(),
                path: path(plain),
                pattern: path(pattern),
                is_served,
            };
            self.problems.add_with(place(plain), invalid, place(pattern), "the pattern");
            return;
        }
        let tried = group.iter().take(1).chain(group.iter().skip(1).rev());
        let mut everything = None;
        for &number in tried {
            if let Some(by) = everything {
                let invalid =
                    Invalid::ShadowedRoute { host: host.name.clone(), path: path(number), by: path(by) };
                self.problems.add_with(place(number), invalid, place(by), "this one fits everything");
            } else if patterns[number].as_ref().is_some_and(Pattern::fits_everything) {
                everything = Some(number);
            }
        }
    }
}
