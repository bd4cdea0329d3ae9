//! The cookies of a test's client, as a browser keeps them (RFC 6265, without domains: there is one site).

use super::message::Pairs;
use std::time::{Duration, Instant};

/// A client's cookies.
#[derive(Debug, Default)]
pub struct Jar {
    kept: Vec<Cookie>,
}

#[derive(Debug)]
struct Cookie {
    name: Vec<u8>,
    value: Vec<u8>,
    path: Vec<u8>,
    until: Option<Instant>,
}

impl Jar {
    /// Takes what a `Set-Cookie` line says, in an answer to a request for `path`.
    pub(super) fn take(&mut self, line: &[u8], path: &str, now: Instant) {
        let mut parts = line.split(|byte| *byte == b';');
        let Some(first) = parts.next() else { return };
        let Some(at) = memchr::memchr(b'=', first) else { return };
        let (name, value) = (first[..at].trim_ascii().to_vec(), first[at + 1..].trim_ascii().to_vec());
        let folder = path.rfind('/').map_or("/", |end| &path[..end.max(1)]);
        let mut cookie = Cookie { name, value, path: folder.as_bytes().to_vec(), until: None };
        let (mut aged, mut dead) = (false, false);
        for part in parts {
            let (key, value) = match memchr::memchr(b'=', part) {
                Some(at) => (part[..at].trim_ascii(), part[at + 1..].trim_ascii()),
                None => (part.trim_ascii(), &b""[..]),
            };
            match &key.to_ascii_lowercase()[..] {
                b"path" if value.starts_with(b"/") => cookie.path = value.to_vec(),
                b"max-age" => {
                    let Some(seconds) =
                        std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok())
                    else {
                        continue;
                    };
                    aged = true;
                    dead = seconds <= 0;
                    cookie.until =
                        u64::try_from(seconds).ok().and_then(|s| now.checked_add(Duration::from_secs(s)));
                }
                // Made-up time has no date, but every program deletes with one of these years.
                b"expires" if !aged => {
                    dead = [&b"1970"[..], b"1969"].iter().any(|y| memchr::memmem::find(value, y).is_some())
                }
                _ => {}
            }
        }
        self.kept.retain(|kept| (&kept.name, &kept.path) != (&cookie.name, &cookie.path));
        if !dead {
            self.kept.push(cookie);
        }
    }

    /// What a request for `path` brings along: the longest path first.
    pub(super) fn fitting(&mut self, path: &str, now: Instant) -> Pairs {
        self.kept.retain(|cookie| cookie.until.is_none_or(|until| now < until));
        let path = path.as_bytes();
        let fits = |cookie: &&Cookie| match path.strip_prefix(&cookie.path[..]) {
            Some(rest) => rest.is_empty() || rest.starts_with(b"/") || cookie.path.ends_with(b"/"),
            None => false,
        };
        let mut fitting: Vec<_> = self.kept.iter().filter(fits).collect();
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        fitting.into_iter().map(|cookie| (cookie.name.clone(), cookie.value.clone())).collect()
    }

    /// All names and values.
    pub(super) fn all(&mut self, now: Instant) -> Pairs {
        self.kept.retain(|cookie| cookie.until.is_none_or(|until| now < until));
        self.kept.iter().map(|cookie| (cookie.name.clone(), cookie.value.clone())).collect()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_come_back_to_their_path_until_they_expire() {
        let (mut jar, now) = (Jar::default(), Instant::now());
        jar.take(b"a=1; Path=/; HttpOnly", "/login", now);
        jar.take(b"b=2; path=/shop; Max-Age=10", "/login", now);
        jar.take(b"c=3", "/deep/page", now);
        let names = |pairs: Pairs| {
            pairs.into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect::<String>()
        };
        assert_eq!(names(jar.fitting("/", now)), "a");
        assert_eq!(names(jar.fitting("/shop/x", now)), "ba");
        assert_eq!(names(jar.fitting("/shopping", now)), "a");
        assert_eq!(names(jar.fitting("/deep/other", now)), "ca");
        assert_eq!(names(jar.fitting("/shop", now + Duration::from_secs(10))), "a");
        jar.take(b"a=; Path=/; Max-Age=0", "/", now);
        jar.take(b"c=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "/deep/page", now);
        assert_eq!(names(jar.all(now + Duration::from_secs(10))), "");
    }

    #[test]
    fn what_is_no_cookie_is_passed_over() {
        let (mut jar, now) = (Jar::default(), Instant::now());
        for line in [&b""[..], b";;;", b"no value", b"a=1; Max-Age=soon; Path=relative; =", b"\xff\0"] {
            jar.take(line, "", now);
        }
        assert_eq!(jar.all(now).len(), 1);
    }
}
