//! Which of the apps' paths a Mongrel2 sends to their handler.

use handler_core::serve::App;
use handler_core::worker::protocol::Registration;
use mongrel2_conf::deployed::{Deployment, RouteRow};

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
    let literal = path.path.split('{').next().unwrap_or_default();
    let has_parameter = literal.len() < path.path.len();
    let mut nearest = None;
    for route in &routes {
        let in_host = || routes.iter().filter(|other| other.host == route.host);
        let prefix = prefix(route);
        // A path with a parameter may reach a longer key too.
        if has_parameter && prefix.starts_with(literal) && is_ours(route) {
            return None;
        }
        // Mongrel2 takes the longest prefix, whoever it belongs to.
        let longest =
            in_host().filter(|other| literal.starts_with(self::prefix(other))).max_by_key(|other| {
                // Patterns of the same prefix are tried one after the other.
                (self::prefix(other).len(), is_ours(other))
            });
        match longest {
            Some(found) if is_ours(found) => return None,
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

/// What a path must begin with; a pattern follows.
fn prefix(route: &RouteRow) -> &str {
    route.path.split('(').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongrel2_conf::deployed::ServerRow;

    fn reached(path: &str, routes: &[(&str, bool)]) -> Option<String> {
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
            assert_eq!(reached(path, &routes), None, "{path}");
        }
        let text = reached("/static/x", &routes).unwrap();
        assert_eq!(text, "`/static/x` (app.lua:3): the route `/static/` of host `localhost` has it");
    }

    #[test]
    fn a_path_without_a_route_is_told() {
        let text = reached("/chat", &[("/shop", true)]).unwrap();
        assert_eq!(text, "`/chat` (app.lua:3): no route leads there, so mongrel2 answers 404");
        assert!(reached("@chat", &[("/", true)]).is_some());
        assert_eq!(reached("@chat", &[("@", true)]), None);
        assert_eq!(reached("/{page}", &[("/shop", true)]), None, "one page of them at least");
    }
}
