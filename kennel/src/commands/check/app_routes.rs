//! Which of the apps' paths a Mongrel2 sends to their handler.

use handler_core::hub::routes::normal_pattern;
use handler_core::mount;
use handler_core::serve::App;
use handler_core::worker::protocol::Registration;
use mongrel2_conf::model::{Host, Route, Server, Target};
use mongrel2_conf::routing::{Reached, Router};

/// A path of an app, in full.
pub(super) struct AppPath {
    /// With the mount before it.
    path: String,
    /// Where the script says it.
    place: String,
}

/// All paths that the apps answer to.
pub(super) fn all(apps: &[(App, Registration)]) -> Vec<AppPath> {
    let mut paths = Vec::new();
    for (app, registration) in apps {
        let routes = registration.routes.iter().map(|route| (&route.path, &route.place));
        let channels = registration.channels.iter().map(|channel| (&channel.path, &channel.place));
        for (path, place) in routes.chain(channels) {
            // Mongrel2 compares what clients send.
            let path = match path.starts_with('/') {
                true => mount::join(&app.spec.mount, &normal_pattern(path)),
                false => path.clone(),
            };
            paths.push(AppPath { path, place: place.clone() });
        }
    }
    paths
}

/// What to say of a path that no route of the server leads to this handler; `is_ours` knows its targets.
pub(super) fn unreached(
    path: &AppPath,
    server: &Server,
    is_ours: impl Fn(&Target) -> bool,
) -> Option<String> {
    let mut nearest = None;
    for host in &server.hosts {
        let found = match path.path.split_once('{') {
            Some((literal, _)) => reached_below(literal, host, &is_ours),
            None => reached(&path.path, host),
        };
        match found {
            Some(route) if is_ours(&route.target) => return None,
            found => nearest = nearest.or(found.map(|route| (host, route))),
        }
    }
    let AppPath { path, place } = path;
    Some(match nearest {
        Some((host, route)) => {
            format!("`{path}` ({place}): the route `{}` of host `{}` has it", route.path, host.name)
        }
        None => format!("`{path}` ({place}): no route leads there, so mongrel2 answers 404"),
    })
}

/// The route that has a path, as Mongrel2 finds it.
fn reached<'a>(path: &str, host: &'a Host) -> Option<&'a Route> {
    match Router::new(host).reach(path.as_bytes()) {
        // A path that ends inside a route's key has it by mistake only.
        Reached::Route { route, partial: false } => Some(&host.routes[route]),
        _ => None,
    }
}

/// The route that has some of the paths that begin like this: patterns are not looked at.
fn reached_below<'a>(literal: &str, host: &'a Host, is_ours: &impl Fn(&Target) -> bool) -> Option<&'a Route> {
    let routes = &host.routes;
    let deeper = routes.iter().find(|route| route.prefix().starts_with(literal) && is_ours(&route.target));
    // Mongrel2 takes the longest prefix, and of several routes with that the first whose pattern fits.
    let longest = || {
        let before = routes.iter().filter(|route| literal.starts_with(route.prefix()));
        before.max_by_key(|route| (route.prefix().len(), is_ours(&route.target)))
    };
    deeper.or_else(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongrel2_conf::model::Dir;

    fn complaint(path: &str, routes: &[(&str, bool)]) -> Option<String> {
        let target = |base: &str| Target::Dir(Dir::new(base));
        let ours = target("ours/");
        let route = |&(path, is_ours): &(&str, bool)| match is_ours {
            true => Route::new(path, ours.clone()),
            false => Route::new(path, target("theirs/")),
        };
        let hosts = vec![Host::new("localhost", routes.iter().map(route).collect())];
        let server = Server { hosts, ..Server::default() };
        let path = AppPath { path: path.into(), place: "app.lua:3".into() };
        unreached(&path, &server, |target| *target == ours)
    }

    #[test]
    fn the_longest_prefix_has_the_path() {
        let routes = [("/", true), ("/static/", false), ("/shop/(.*)", true)];
        for path in ["/", "/users/{id}", "/shop/cart", "/{page}"] {
            assert_eq!(complaint(path, &routes), None, "{path}");
        }
        let text = complaint("/static/x", &routes).unwrap();
        assert_eq!(text, "`/static/x` (app.lua:3): the route `/static/` of host `localhost` has it");
    }

    #[test]
    fn a_path_without_a_route_is_told() {
        let text = complaint("/chat", &[("/shop", true)]).unwrap();
        assert_eq!(text, "`/chat` (app.lua:3): no route leads there, so mongrel2 answers 404");
        assert!(complaint("@chat", &[("/", true)]).is_some());
        assert!(complaint("/shop", &[("/shop/", true)]).is_some(), "it ends inside the key");
        assert!(complaint("/shop/x", &[("/", true), ("/shop/([0-9]+)", true)]).is_some(), "no pattern fits");
        assert_eq!(complaint("/shop/7", &[("/", false), ("/shop/([0-9]+)", true)]), None);
        assert_eq!(complaint("@chat", &[("@", true)]), None);
        assert_eq!(complaint("/{page}", &[("/shop", true)]), None, "one page of them at least");
    }
}
