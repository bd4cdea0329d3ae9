//! Paths below a mount: what is put before the paths of an app, and which paths are below it.

/// What is put before every path of an app with this mount: nothing for `/`.
pub fn prefix(mount: &str) -> &str {
    mount.trim_end_matches('/')
}

/// A path of an app, as clients write it. JSON and XML sockets, `@name` and `<name`, have no mount.
pub fn join(mount: &str, path: &str) -> String {
    match path.starts_with('/') {
        true => format!("{}{path}", prefix(mount)),
        false => path.to_owned(),
    }
}

/// What of a path is below a [prefix]: the rest of it, by whole segments. `None`: it is not below that.
pub fn below<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a path is below the route of a Mongrel2 that led to the handler: it begins with what the route's pattern says
/// literally. Mongrel2 also hands over paths that end inside of that.
pub fn is_below_route(pattern: &[u8], path: &[u8]) -> bool {
    path.starts_with(pattern.split(|byte| *byte == b'(').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_an_app_stand_behind_its_mount() {
        for (mount, path, whole) in [
            ("/", "/", "/"),
            ("/", "/a", "/a"),
            ("/shop", "/a", "/shop/a"),
            ("/shop/", "/a", "/shop/a"),
            ("/shop", "@chat", "@chat"),
            ("/shop", "<chat", "<chat"),
        ] {
            assert_eq!(join(mount, path), whole);
        }
    }

    #[test]
    fn what_is_below_a_mount_is_so_by_whole_segments() {
        for (mount, path, rest) in [
            ("/", "/a", Some("/a")),
            ("/shop", "/shop", Some("")),
            ("/shop/", "/shop/a", Some("/a")),
            ("/shop", "/shopping", None),
            ("/shop", "/", None),
        ] {
            assert_eq!(below(prefix(mount), path), rest, "{path} below {mount}");
        }
    }

    #[test]
    fn a_path_that_ends_inside_a_routes_key_is_not_below_the_route() {
        for (pattern, path, is_below) in [
            ("/a/(.*)", "/a/", true),
            ("/a/(.*)", "/a/b", true),
            ("/a/(.*)", "/a", false),
            ("/", "/a", true),
            ("/abc", "/ab", false),
        ] {
            assert_eq!(
                is_below_route(pattern.as_bytes(), path.as_bytes()),
                is_below,
                "{path} below {pattern}"
            );
        }
    }
}
