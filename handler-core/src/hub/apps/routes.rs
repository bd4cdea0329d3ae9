//! Which handler answers a path: a tree for each app, made of what its script registered.

use crate::mount;
use crate::worker::protocol::RouteSpec;
use kennel_http::percent::normal_path;
use matchit::Router;
use thiserror::Error;

/// Why routes cannot be served together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RouteError {
    /// A path that does not begin with a slash.
    #[error("route `{path}` must begin with `/`")]
    NoSlash {
        /// The path as written.
        path: String,
    },
    /// A parameter that is not written as it should be.
    #[error(
        "route `{path}`: {reason}; write `{{name}}` for one segment, `{{*rest}}` at the end for the rest"
    )]
    BadPattern {
        /// The path as written.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two routes that would match the same paths under different names.
    #[error("route `{path}` conflicts with `{other}` ({place}): one path would match both")]
    Conflict {
        /// The path as written.
        path: String,
        /// The route that was there first.
        other: String,
        /// Where that was registered.
        place: String,
    },
    /// The same method and path twice.
    #[error("{method} `{path}` is taken already ({place})")]
    Duplicate {
        /// The method.
        method: String,
        /// The path as written.
        path: String,
        /// Where it was registered first.
        place: String,
    },
}

/// The handlers of one path, by method.
#[derive(Debug, Clone, Default)]
struct Methods {
    path: String,
    place: String,
    handlers: Vec<(String, u32)>,
}

impl Methods {
    fn get(&self, method: &[u8]) -> Option<u32> {
        self.handlers.iter().find(|(name, _)| name.as_bytes() == method).map(|(_, handler)| *handler)
    }

    /// What an Allow header says: HEAD comes with GET, OPTIONS always.
    fn allow(&self) -> String {
        let mut names: Vec<&str> = self.handlers.iter().map(|(name, _)| name.as_str()).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        if !names.contains(&"OPTIONS") {
            names.push("OPTIONS");
        }
        names.sort_unstable();
        names.join(", ")
    }

    fn target<'p>(&self, method: &[u8], values: impl FnOnce() -> Vec<&'p str>) -> Target<'p> {
        match self.get(method).or_else(|| self.get(b"GET").filter(|_| method == b"HEAD")) {
            Some(handler) => Target::Handler(handler, values()),
            None if method == b"OPTIONS" => Target::Options(self.allow()),
            None => Target::MethodNotAllowed(self.allow()),
        }
    }
}

/// What a path and a method lead to.
#[derive(Debug, PartialEq, Eq)]
pub enum Target<'p> {
    /// A handler and the path's values, not percent-decoded.
    Handler(u32, Vec<&'p str>),
    /// The path is known; the method is OPTIONS, which nobody claimed. The Allow list.
    Options(String),
    /// The path is known, the method is not. The Allow list.
    MethodNotAllowed(String),
    /// No route has this path.
    NotFound,
}

/// The routes of one app.
#[derive(Debug, Default, Clone)]
pub struct Routes {
    tree: Router<Methods>,
    mount: String,
}

impl Routes {
    /// No routes yet, below `mount`, in any spelling; `/` means none.
    pub fn below(mount: &str) -> Self {
        Self { tree: Router::new(), mount: normal_path(mount::prefix(mount).as_bytes()).into_owned() }
    }

    /// Builds the tree. `mount` is put before every path; `/` means none.
    ///
    /// # Errors
    ///
    /// [`RouteError`] for the first route that cannot be served.
    pub fn new(mount: &str, specs: &[RouteSpec]) -> Result<Self, RouteError> {
        let mut routes = Self::below(mount);
        for spec in specs {
            routes.add(spec)?;
        }
        Ok(routes)
    }

    /// Adds one route to those that are there.
    ///
    /// # Errors
    ///
    /// [`RouteError`]; the tree may then hold some of the route's methods.
    pub fn add(&mut self, spec: &RouteSpec) -> Result<(), RouteError> {
        let path = || spec.path.clone();
        if !spec.path.starts_with('/') {
            return Err(RouteError::NoSlash { path: path() });
        }
        if let Some(reason) = foreign_parameter(&spec.path) {
            return Err(RouteError::BadPattern { path: path(), reason });
        }
        let pattern = format!("{}{}", self.mount, normal_pattern(&spec.path));
        let fresh = Methods { path: path(), place: spec.place.clone(), handlers: Vec::new() };
        match self.tree.insert(pattern.clone(), fresh) {
            Ok(()) => {}
            // The same pattern once more is how a path gets its second method.
            Err(matchit::InsertError::Conflict { with }) if with == pattern => {}
            Err(matchit::InsertError::Conflict { with }) => {
                let (other, place) = match self.tree.at_mut(&with) {
                    Ok(found) => (found.value.path.clone(), found.value.place.clone()),
                    Err(_) => (with, "the same app".to_owned()),
                };
                return Err(RouteError::Conflict { path: path(), other, place });
            }
            Err(error) => {
                return Err(RouteError::BadPattern { path: path(), reason: error.to_string() });
            }
        }
        let methods = self.tree.at_mut(&pattern).map(|found| found.value);
        let Ok(methods) = methods else {
            let reason = "it does not match itself".to_owned();
            return Err(RouteError::BadPattern { path: path(), reason });
        };
        for method in &spec.methods {
            if methods.get(method.as_bytes()).is_some() {
                let place = methods.place.clone();
                return Err(RouteError::Duplicate { method: method.clone(), path: path(), place });
            }
            methods.handlers.push((method.clone(), spec.handler));
        }
        Ok(())
    }

    /// Finds who answers. `path` is in its [normal form](normal_path). The mount point itself is the route `/`.
    pub fn find<'p>(&self, method: &[u8], path: &'p str) -> Target<'p> {
        if path == self.mount && !path.is_empty() {
            // It has no values: those are never empty.
            let root = self.tree.at(&format!("{path}/")).map(|found| found.value.target(method, Vec::new));
            return root.unwrap_or(Target::NotFound);
        }
        let Ok(found) = self.tree.at(path) else { return Target::NotFound };
        found.value.target(method, || found.params.iter().map(|(_, value)| value).collect())
    }

    /// What is put before every path; nothing for `/`.
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// Whether `path` lies below the mount point.
    pub fn is_under_mount(&self, path: &str) -> bool {
        mount::below(&self.mount, path).is_some()
    }
}

/// The names of a route's values, in path order.
pub fn parameter_names(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = path;
    while let Some(start) = rest.find('{') {
        rest = &rest[start + 1..];
        if let Some(escaped) = rest.strip_prefix('{') {
            rest = escaped;
            continue;
        }
        let Some(end) = rest.find('}') else { break };
        names.push(rest[..end].trim_start_matches('*'));
        rest = &rest[end + 1..];
    }
    names
}

/// A parameter that is written as other frameworks have it, which would be taken literally here.
fn foreign_parameter(path: &str) -> Option<String> {
    let is_word = |text: &str| {
        !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || "_-:".contains(letter))
    };
    let of_segment = |segment: &str| {
        let inside = |open, close| segment.strip_prefix(open)?.strip_suffix(close);
        if let Some(name) = segment.strip_prefix(':').filter(|name| is_word(name)) {
            return Some(format!("`:{name}` is not a parameter here"));
        }
        if let Some(name) = inside('<', '>').filter(|name| is_word(name)) {
            return Some(format!("`<{name}>` is not a parameter here"));
        }
        let (name, kind) = inside('{', '}')?.split_once(':')?;
        Some(format!("`{{{name}:{kind}}}`: parameters have no types, the handler gets text"))
    };
    path.split('/').find_map(of_segment)
}

/// Brings the literal parts of a pattern into the normal form of paths, keeps the parameters. `{{` and `}}` stand for
/// the brace itself.
pub fn normal_pattern(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(start) = rest.find(['{', '}']) {
        out.push_str(&normal_path(&rest.as_bytes()[..start]));
        rest = &rest[start..];
        let (written, size) = match rest.as_bytes() {
            [b'{', b'{', ..] => ("%7B", 2),
            [b'}', b'}', ..] => ("%7D", 2),
            [b'{', ..] => {
                let end = rest.find('}').map_or(rest.len(), |at| at + 1);
                (&rest[..end], end)
            }
            // Nothing opened it, as the tree will say.
            _ => ("}", 1),
        };
        out.push_str(written);
        rest = &rest[size..];
    }
    out.push_str(&normal_path(rest.as_bytes()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_as_other_frameworks_write_them_are_refused() {
        for (path, said) in [
            ("/users/:id", "`:id` is not a parameter here"),
            ("/users/<id>/x", "`<id>` is not a parameter here"),
            ("/users/<int:id>", "`<int:id>` is not a parameter here"),
            ("/users/{id:int}", "`{id:int}`: parameters have no types, the handler gets text"),
        ] {
            let problem = Routes::new("/", &[spec(&["GET"], path, 1)]).unwrap_err().to_string();
            let expected = format!("route `{path}`: {said}; write `{{name}}` for one segment");
            assert!(problem.starts_with(&expected), "{problem}");
        }
        for path in ["/a:b", "/:", "/a/{id}", "/<", "/at:{time}"] {
            assert!(Routes::new("/", &[spec(&["GET"], path, 1)]).is_ok(), "{path}");
        }
    }

    fn spec(methods: &[&str], path: &str, handler: u32) -> RouteSpec {
        let methods = methods.iter().map(|m| (*m).to_owned()).collect();
        RouteSpec {
            methods,
            path: path.to_owned(),
            handler,
            place: format!("app.lua:{handler}"),
            streams: false,
        }
    }

    fn routes() -> Routes {
        let specs = [
            spec(&["GET"], "/", 1),
            spec(&["GET"], "/users/{id}", 2),
            spec(&["POST", "PUT"], "/users/{id}", 3),
            spec(&["GET"], "/users/me", 4),
            spec(&["GET"], "/files/{*rest}", 5),
            spec(&["GET"], "/café", 6),
        ];
        Routes::new("/", &specs).unwrap()
    }

    #[test]
    fn paths_lead_to_handlers_with_their_values() {
        let routes = routes();
        assert_eq!(routes.find(b"GET", "/"), Target::Handler(1, vec![]));
        assert_eq!(routes.find(b"GET", "/users/7"), Target::Handler(2, vec!["7"]));
        assert_eq!(routes.find(b"PUT", "/users/7"), Target::Handler(3, vec!["7"]));
        assert_eq!(routes.find(b"GET", "/users/me"), Target::Handler(4, vec![]));
        assert_eq!(routes.find(b"GET", "/files/a/b"), Target::Handler(5, vec!["a/b"]));
        assert_eq!(routes.find(b"GET", &normal_path(b"/caf%c3%a9")), Target::Handler(6, vec![]));
        assert_eq!(routes.find(b"GET", "/users/"), Target::NotFound);
    }

    #[test]
    fn head_comes_with_get_and_the_rest_is_told_what_is_allowed() {
        let routes = routes();
        assert_eq!(routes.find(b"HEAD", "/"), Target::Handler(1, vec![]));
        let allow = "GET, HEAD, OPTIONS, POST, PUT".to_owned();
        assert_eq!(routes.find(b"DELETE", "/users/7"), Target::MethodNotAllowed(allow.clone()));
        assert_eq!(routes.find(b"OPTIONS", "/users/7"), Target::Options(allow));
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_its_neighbour() {
        let new = |specs: &[RouteSpec]| Routes::new("/", specs).unwrap_err().to_string();
        assert_eq!(new(&[spec(&["GET"], "users", 1)]), "route `users` must begin with `/`");
        assert_eq!(
            new(&[spec(&["GET"], "/a/{x}", 1), spec(&["GET"], "/a/{y}", 2)]),
            "route `/a/{y}` conflicts with `/a/{x}` (app.lua:1): one path would match both"
        );
        assert_eq!(
            new(&[spec(&["GET"], "/a", 1), spec(&["GET"], "/a", 2)]),
            "GET `/a` is taken already (app.lua:1)"
        );
        for bad in ["/{", "/{}", "/{*a}/b", "/}"] {
            assert!(Routes::new("/", &[spec(&["GET"], bad, 1)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mount_point_is_put_before_every_path() {
        let routes = Routes::new("/shop/", &[spec(&["GET"], "/{id}", 1)]).unwrap();
        assert_eq!(routes.find(b"GET", "/shop/7"), Target::Handler(1, vec!["7"]));
        assert!(routes.is_under_mount("/shop/x") && !routes.is_under_mount("/shopping"));
    }

    #[test]
    fn every_spelling_of_a_path_finds_its_route() {
        let specs = [
            spec(&["GET"], "/sp ace/caf\u{e9}", 1),
            spec(&["GET"], "/a@b/{id}", 2),
            spec(&["GET"], "/100%", 3),
            spec(&["GET"], "/{{x}}", 4),
            spec(&["GET"], "/\"<>^`|\\[?#", 5),
            spec(&["GET"], "/x%20y", 6),
            spec(&["GET"], "/%7ename", 7),
        ];
        for mount in ["/", "/m n/\u{e9}", "/m%20n/%c3%a9"] {
            let routes = Routes::new(mount, &specs).unwrap();
            let prefix = if mount == "/" { "" } else { "/m%20n/%C3%a9" };
            for (path, handler) in [
                ("/sp%20ace/caf%c3%a9", 1),
                ("/a%40b/7", 2),
                ("/a@b/7", 2),
                ("/100%25", 3),
                ("/%7bx%7D", 4),
                ("/%22%3C%3e%5E%60%7c%5c%5b%3F%23", 5),
                ("/x%20y", 6),
                ("/~name", 7),
            ] {
                let path = format!("{prefix}{path}");
                let path = normal_path(path.as_bytes());
                assert!(routes.is_under_mount(&path), "{mount} {path}");
                assert!(
                    matches!(routes.find(b"GET", &path), Target::Handler(found, _) if found == handler),
                    "{mount} {path}"
                );
            }
        }
    }

    #[test]
    fn the_mount_point_itself_is_the_route_of_the_root() {
        let routes = Routes::new("/shop", &[spec(&["GET"], "/", 1), spec(&["GET"], "/{id}", 2)]).unwrap();
        for path in ["/shop", "/shop/"] {
            assert_eq!(routes.find(b"GET", path), Target::Handler(1, vec![]), "{path}");
            assert!(matches!(routes.find(b"PUT", path), Target::MethodNotAllowed(_)), "{path}");
        }
        let rootless = Routes::new("/shop", &[spec(&["GET"], "/{*rest}", 1)]).unwrap();
        assert_eq!(rootless.find(b"GET", "/shop"), Target::NotFound);
        let empty = Routes::below("/shop");
        assert_eq!(empty.find(b"GET", "/shop"), Target::NotFound);
        assert!(empty.is_under_mount("/shop/x") && !empty.is_under_mount("/"));
    }

    #[test]
    fn parameters_are_named_in_path_order() {
        assert_eq!(parameter_names("/a/{x}/{*rest}"), ["x", "rest"]);
        assert_eq!(parameter_names("/{{no}}"), Vec::<&str>::new());
    }
}
