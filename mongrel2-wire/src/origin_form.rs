//! Requests whose target is a whole address, `GET http://host/path` (RFC 9112, 3.2.2).
//!
//! Mongrel2 removes the scheme and hands over `//host/path` as PATH and URI. A path that begins with two slashes looks
//! the same, so only one that names the request's own Host counts as an address: clients must send both alike.

use crate::envelope::Envelope;
use crate::request::Head;
use crate::{host, rewrite};

/// The message as it would be for the path alone. `None`: its target is a path already, as nearly every one is.
#[inline]
pub fn origin_form(envelope: &Envelope<'_>, head: &Head<'_>) -> Option<Vec<u8>> {
    let target = envelope.path.strip_prefix(b"//")?;
    let (authority, path) = split(target);
    is_same(authority, &head.host?.bytes()).then(|| rewrite(envelope, path)).flatten()
}

/// Authority and path of what follows the two slashes.
fn split(target: &[u8]) -> (&[u8], &[u8]) {
    let end = target.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(target.len());
    target.split_at(end)
}

fn is_same(authority: &[u8], host: &[u8]) -> bool {
    let (Some(asked), Some(named)) = (host::split(authority), host::split(host)) else { return false };
    // The scheme is gone, and with it the port that is not named.
    let port = |port: Option<u16>| port.filter(|port| !matches!(port, 80 | 443));
    asked.0.eq_ignore_ascii_case(named.0) && port(asked.1) == port(named.1)
}

fn rewrite(envelope: &Envelope<'_>, path: &[u8]) -> Option<Vec<u8>> {
    let path: &[u8] = if path.is_empty() { b"/" } else { path };
    let uri = envelope.headers.get(b"URI").and_then(|values| values.first()).map(|uri| uri.bytes());
    let rest =
        uri.as_deref().and_then(|uri| uri.strip_prefix(b"//")).map_or(&b"/"[..], |target| split(target).1);
    let rest = if rest.starts_with(b"/") { rest.to_vec() } else { [b"/", rest].concat() };
    rewrite::with_path(envelope, path, &[(b"PATH", Some(path)), (b"URI", Some(&rest))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(target: &str, host: &str) -> Option<(String, String)> {
        let path = target.split('?').next().unwrap();
        let headers = format!(
            r#"{{"PATH":"{path}","x-a":["1","2"],"host":"{host}","METHOD":"POST","VERSION":"HTTP/1.1","URI":"{target}"}}"#
        );
        let message = format!("m2 7 {path} {}:{headers},2:hi,", headers.len());
        let envelope = Envelope::parse(message.as_bytes()).unwrap();
        let found = origin_form(&envelope, &Head::read(&envelope).unwrap())?;
        let plain = Envelope::parse(&found).unwrap();
        let value = |name: &[u8]| {
            let value = plain.headers.get(name).unwrap().first().unwrap().bytes().into_owned();
            String::from_utf8(value).unwrap()
        };
        assert_eq!((plain.sender, plain.conn_id, plain.body), ("m2", 7, &b"hi"[..]));
        assert_eq!(plain.headers.get(b"x-a").unwrap().iter().count(), 2);
        assert_eq!(value(b"PATH").as_bytes(), plain.path);
        assert_eq!(value(b"host"), host);
        Some((value(b"PATH"), value(b"URI")))
    }

    #[test]
    fn a_whole_address_becomes_its_path() {
        for (target, host, path, uri) in [
            ("//a.example/x/y?q=1", "a.example", "/x/y", "/x/y?q=1"),
            ("//A.Example:80/x", "a.example", "/x", "/x"),
            ("//a.example:8080", "a.example:8080", "/", "/"),
            ("//a.example?q", "a.example", "/", "/?q"),
            ("//[::1]:81/", "[::1]:81", "/", "/"),
        ] {
            assert_eq!(rewritten(target, host), Some((path.to_owned(), uri.to_owned())), "{target}");
        }
    }

    #[test]
    fn a_path_that_begins_with_two_slashes_stays() {
        for (target, host) in [
            ("//x/y", "a.example"),
            ("//a.example:81/", "a.example"),
            ("//", "a"),
            ("/a/x", "a"),
            ("//a@b/", "b"),
        ] {
            assert_eq!(rewritten(target, host), None, "{target}");
        }
    }
}
