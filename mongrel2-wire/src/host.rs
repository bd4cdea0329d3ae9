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

/// The bytes that a host's name may have (RFC 3986, 3.2.2), but for the comma: lists are made with it.
const NAME: [bool; 256] = {
    let mut allowed = [false; 256];
    let (marks, mut at) = (b"-._~%!$&'()*+;=", 0);
    while at < marks.len() {
        allowed[marks[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0;
    while byte < 128 {
        allowed[byte] |= (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    allowed
};

/// Takes an authority apart: `host`, `host:port`, `[v6]` or `[v6]:port`; an empty port is none.
pub fn split(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_end = match authority.first()? {
        b'[' => memchr::memchr(b']', authority)? + 1,
        _ => memchr::memchr(b':', authority).unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(host_end);
    let strange = |byte: &u8| !NAME[usize::from(*byte)];
    let name = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let is_address = |inside: &[u8]| inside.iter().all(|b| *b == b':' || NAME[usize::from(*b)]);
    let is_strange = name.map_or_else(|| host.iter().any(strange), |inside| !is_address(inside));
    if host.is_empty() || is_strange {
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
        for strange in
            ["", ":80", "a b", "a/b", "a:x", "a:65536", "[::1", "[::1]x", "\"><x>", "b\u{fc}cher", "[/]"]
        {
            assert_eq!(split(strange.as_bytes()), None, "{strange}");
        }
    }
}
