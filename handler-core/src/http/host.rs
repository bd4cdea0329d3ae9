//! Whom a Host header, or the authority in an address, names: host and port (RFC 3986, section 3.2).

/// The port of a scheme when none is named.
pub fn default_port(scheme: &[u8]) -> Option<u16> {
    if scheme.eq_ignore_ascii_case(b"http") {
        Some(80)
    } else if scheme.eq_ignore_ascii_case(b"https") {
        Some(443)
    } else {
        None
    }
}

/// Takes an authority apart: `host`, `host:port`, `[v6]` or `[v6]:port`; an empty port is none.
pub fn split(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_end = match authority.first()? {
        b'[' => memchr::memchr(b']', authority)? + 1,
        _ => memchr::memchr(b':', authority).unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(host_end);
    let strange = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'/' | b'@' | b'?' | b'#' | b'\\' | b',');
    if host.is_empty() || host.iter().any(strange) {
        return None;
    }
    let port = match rest {
        [] | [b':'] => None,
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
            Some(std::str::from_utf8(digits).ok()?.parse().ok()?)
        }
        _ => return None,
    };
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_from_its_port() {
        for (authority, host, port) in [
            ("a.example", "a.example", None),
            ("a.example:80", "a.example", Some(80)),
            ("a.example:", "a.example", None),
            ("[::1]:8080", "[::1]", Some(8080)),
            ("[::1]", "[::1]", None),
        ] {
            assert_eq!(split(authority.as_bytes()), Some((host.as_bytes(), port)), "{authority}");
        }
        for strange in ["", ":80", "a b", "a/b", "a:x", "a:65536", "[::1", "[::1]x"] {
            assert_eq!(split(strange.as_bytes()), None, "{strange}");
        }
    }
}
