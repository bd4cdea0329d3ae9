//! Which of the apps' paths a Mongrel2 sends to their handler.

use handler_core::serve::App;
use handler_core::worker::protocol::Registration;
use mongrel2_conf::deployed::{Deployment, RouteRow};
use mongrel2_conf::model::{Dir, Host, Route, Target};
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
        let mount = app.spec.mount.trim_end_matches('/');
        let routes = registration.routes.iter().map(|route| (&route.path, &route.place));
        let channels = registration.channels.iter().map(|channel| (&channel.path, &channel.place));
        for (path, place) in routes.chain(channels) {
            // JSON and XML sockets, `@name` and `<name`, have no mount.
            let path = if path.starts_with('/') { format!("{mount}{path}") } else { path.clone() };
            paths.push(AppPath { path, place: place.clone() });
        }
    }
    paths
}

/// What to say of a path that no route of the server leads to this handler; `is_ours` knows its routes.
pub(super) fn unreached(
    path: &AppPath,
    deployment: &Deployment,
    server: usize,
    is_ours: impl Fn(&RouteRow) -> bool,
) -> Option<String> {
    let routes: Vec<_> = deployment.routes.iter().filter(|route| route.server == server).collect();
    let mut hosts: Vec<&str> = routes.iter().map(|route| route.host.as_str()).collect();
    hosts.dedup();
    let mut nearest = None;
    for host in hosts {
        let routes: Vec<_> = routes.iter().filter(|route| route.host == host).copied().collect();
        let found = match path.path.split_once('{') {
            Some((literal, _)) => reached_below(literal, &routes, &is_ours),
            None => reached(&path.path, &routes),
        };
        match found {
            Some(route) if is_ours(route) => return None,
            found => nearest = nearest.or(found),
        }
    }
    let AppPath { path, place } = path;
    Some(match nearest {
        Some(route) => {
            format!("`{path}` ({place}): the route `{}` of host `{}` has it", route.path, route.host)
        }
        None => format!("`{path}` ({place}): no route leads there, so mongrel2 answers 404"),
    })
}

/// The route that has a path, as Mongrel2 finds it.
fn reached<'a>(path: &str, routes: &[&'a RouteRow]) -> Option<&'a RouteRow> {
    // Whom a route leads to does not matter here.
    let target = Target::Dir(Dir::new("./"));
    let keys = routes.iter().map(|route| Route::new(route.path.clone(), target.clone()));
    match Router::new(&Host::new("host", keys.collect())).reach(path.as_bytes()) {
        // A path that ends inside a route's key has it by mistake only.
        Reached::Route { route, partial: false } => Some(routes[route]),
        _ => None,
    }
}

/// The route that has some of the paths that begin like this: patterns are not looked at.
fn reached_below<'a>(
    literal: &str,
    routes: &[&'a RouteRow],
    is_ours: &impl Fn(&RouteRow) -> bool,
) -> Option<&'a RouteRow> {
    let deeper = routes.iter().find(|route| prefix(route).starts_with(literal) && is_ours(route));
    // Mongrel2 takes the longest prefix, and of several routes with that the first whose pattern fits.
    let longest = || {
        let before = routes.iter().filter(|route| literal.starts_with(prefix(route)));
        before.max_by_key(|route| (prefix(route).len(), is_ours(route)))
    };
    deeper.or_else(longest).copied()
}

/// What a path must begin with; a pattern follows.
fn prefix(route: &RouteRow) -> &str {
    route.path.split('(').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongrel2_conf::deployed::ServerRow;

    fn complaint(path: &str, routes: &[(&str, bool)]) -> Option<String> {
        let route = |(path, ours): &(&str, bool)| RouteRow {
            server: 0,
            host: "localhost".into(),
            path: (*path).into(),
            handler: ours.then_some(0),
        };
        let deployment = Deployment {
            database: "config.sqlite".into(),
            folder: "/srv".into(),
            servers: vec![ServerRow::default()],
            handlers: vec![],
            routes: routes.iter().map(route).collect(),
            settings: vec![],
        };
        let path = AppPath { path: path.into(), place: "app.lua:3".into() };
        unreached(&path, &deployment, 0, |route| route.handler == Some(0))
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
