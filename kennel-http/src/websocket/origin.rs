//! Whose page may connect. A browser lets any page open a WebSocket to any server, with the user's
//! cookies, and only tells in `Origin` which page it was: checking it is the server's part.

use crate::host::{default_port, split};

/// An origin taken apart (RFC 6454).
#[derive(Debug, Clone, Copy)]
struct Origin<'a> {
    scheme: &'a [u8],
    host: &'a [u8],
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    fn parse(origin: &'a [u8]) -> Option<Self> {
        let at = memchr::memmem::find(origin, b"://")?;
        let (scheme, authority) = (&origin[..at], &origin[at + 3..]);
        let (host, port) = split(authority)?;
        (!scheme.is_empty()).then_some(Self { scheme, host, port: port.or(default_port(scheme)) })
    }
}

/// Whether a page of `origin` came from the server that `host`, a Host header, names: the same host in
/// any case, and the same port, where a missing one is the default of the origin's scheme. Only pages
/// that came by HTTP have such an origin; `null` has none.
pub fn is_same(origin: &[u8], host: &[u8]) -> bool {
    let (Some(origin), Some((host, port))) = (Origin::parse(origin), split(host)) else {
        return false;
    };
    let Some(default) = default_port(origin.scheme) else { return false };
    origin.host.eq_ignore_ascii_case(host) && origin.port == Some(port.unwrap_or(default))
}

/// Whether `origin` is in `list`: the same scheme, host and port, or the same text where it is no
/// `scheme://host` (such as `null`). `*` stands for every origin.
pub fn is_listed(origin: &[u8], list: &[String]) -> bool {
    list.iter().any(|entry| entry == "*" || is_equal(origin, entry.as_bytes()))
}

fn is_equal(a: &[u8], b: &[u8]) -> bool {
    match (Origin::parse(a), Origin::parse(b)) {
        (Some(a), Some(b)) => {
            a.scheme.eq_ignore_ascii_case(b.scheme) && a.host.eq_ignore_ascii_case(b.host) && a.port == b.port
        }
        (None, None) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_the_same_host_is_at_home() {
        for (origin, host) in [
            ("http://a.example", "a.example"),
            ("http://a.example", "a.example:80"),
            ("http://a.example:80", "a.example"),
            ("https://a.example", "a.example"),
            ("https://a.example", "a.example:443"),
            ("HTTPS://A.Example", "a.eXample"),
            ("http://a.example:8080", "a.example:8080"),
            ("http://[::1]:6767", "[::1]:6767"),
            ("http://[::1]", "[::1]"),
            ("http://a.example", "a.example:"),
        ] {
            assert!(is_same(origin.as_bytes(), host.as_bytes()), "{origin} {host}");
        }
    }

    #[test]
    fn any_other_page_is_not() {
        for (origin, host) in [
            ("http://b.example", "a.example"),
            ("http://a.example.evil", "a.example"),
            ("http://evil/a.example", "a.example"),
            ("http://x@a.example", "a.example"),
            ("http://a.example@evil", "a.example"),
            ("http://a.example:8080", "a.example"),
            ("http://a.example", "a.example:8080"),
            ("https://a.example:80", "a.example"),
            ("http://a.example:99999", "a.example:99999"),
            ("http://a.example:+80", "a.example"),
            ("http://a.example, http://b.example", "a.example"),
            ("capacitor://a.example", "a.example"),
            ("file://", "a.example"),
            ("://a.example", "a.example"),
            ("null", "null"),
            ("a.example", "a.example"),
            ("", ""),
            ("http://", ""),
            ("http://[::1", "[::1"),
        ] {
            assert!(!is_same(origin.as_bytes(), host.as_bytes()), "{origin} {host}");
        }
    }

    #[test]
    fn a_list_names_origins_exactly() {
        let list = |entries: &[&str]| entries.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>();
        let two = list(&["https://a.example", "capacitor://localhost"]);
        assert!(is_listed(b"https://A.example", &two));
        assert!(is_listed(b"https://a.example:443", &two));
        assert!(is_listed(b"capacitor://localhost", &two));
        for origin in
            [&b"http://a.example"[..], b"https://a.example:444", b"https://b.a.example", b"null", b""]
        {
            assert!(!is_listed(origin, &two), "{}", origin.escape_ascii());
        }
        assert!(is_listed(b"null", &list(&["null"])));
        assert!(is_listed(b"anything", &list(&["*"])));
    }
}
