//! From a request's path to a name below a folder. Whether the name leads out of it is for `open` to see.

use kennel_http::percent;

/// What a path names below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Relative to the folder, decoded, without NUL; never empty.
    pub(super) name: Vec<u8>,
    /// The path ends in `/`, so it can only mean the index.
    pub(super) is_index: bool,
}

/// Finds the place of `path`, of which the route's literal prefix has `prefix` bytes. `None`: it cannot be one.
///
/// A path that is the route's whole key, with no `/` at its end, is looked up as it is: a route `/favicon.ico` serves
/// that file of its folder.
pub(super) fn locate(path: &[u8], prefix: usize, index: &str) -> Option<Place> {
    let is_index = path.ends_with(b"/");
    let rest = match path.len().checked_sub(prefix)? {
        0 if !is_index => path,
        _ => path.get(prefix..)?,
    };
    let decoded = percent::decode(rest, false);
    if decoded.contains(&0) {
        return None;
    }
    let slashes = decoded.iter().take_while(|byte| **byte == b'/').count();
    let mut name = decoded[slashes..].to_vec();
    if is_index {
        name.extend_from_slice(index.as_bytes());
    }
    if name.is_empty() {
        name.push(b'.');
    }
    Some(Place { name, is_index })
}

/// Where a folder is that was asked for without a `/` at its end. It stays on this server whatever the path: a
/// reference that began with `//` would name another one.
pub(super) fn with_slash(path: &[u8], query: Option<&[u8]>) -> Vec<u8> {
    let slashes = path.iter().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
    let mut location = vec![b'/'];
    location.extend_from_slice(&percent::reference(&path[slashes..]));
    location.push(b'/');
    if let Some(query) = query {
        location.push(b'?');
        location.extend_from_slice(&percent::reference(query));
    }
    location
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str, prefix: &str) -> Option<(String, bool)> {
        let place = locate(path.as_bytes(), prefix.len(), "index.html")?;
        Some((String::from_utf8(place.name).unwrap(), place.is_index))
    }

    #[test]
    fn what_follows_the_prefix_is_decoded_once() {
        for (path, prefix, name) in [
            ("/a.txt", "/", "a.txt"),
            ("/static/a%20b.txt", "/static/", "a b.txt"),
            ("/static/a%2520b.txt", "/static/", "a%20b.txt"),
            ("/static/a+b.txt", "/static/", "a+b.txt"),
            ("/static/d%2fe", "/static/", "d/e"),
            ("/static//a.txt", "/static/", "a.txt"),
            ("/static%2f%2Fa", "/static", "a"),
            ("/favicon.ico", "/favicon.ico", "favicon.ico"),
            ("/100%", "/", "100%"),
        ] {
            assert_eq!(named(path, prefix), Some((name.to_owned(), false)), "{path}");
        }
    }

    #[test]
    fn a_slash_at_the_end_means_the_index() {
        assert_eq!(named("/", "/"), Some(("index.html".into(), true)));
        assert_eq!(named("/static/", "/static/"), Some(("index.html".into(), true)));
        assert_eq!(named("/d/", "/"), Some(("d/index.html".into(), true)));
        assert_eq!(locate(b"/", 1, "").unwrap().name, b".");
    }

    #[test]
    fn a_path_shorter_than_the_prefix_or_with_a_nul_has_no_place() {
        assert_eq!(named("/static", "/static/"), None);
        assert_eq!(named("/a%00.txt", "/"), None);
        assert_eq!(named("/a\0", "/"), None);
    }

    #[test]
    fn a_redirect_stays_on_this_server_and_keeps_the_query() {
        assert_eq!(with_slash(b"/d", Some(b"x=1")), b"/d/?x=1");
        assert_eq!(with_slash(b"//evil.example/d", None), b"/evil.example/d/");
        assert_eq!(with_slash(b"/\\evil", None), b"/evil/");
        assert_eq!(with_slash(b"/a\r\nb", Some(b"\r\nx")), b"/a%0D%0Ab/?x");
    }
}
