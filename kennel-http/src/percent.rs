//! Percent-encoding in paths and queries (RFC 3986, section 2.1).
//!
//! Mongrel2 decodes nothing. Routes are compared in a normal form ([`normal_path`]), values are
//! decoded for scripts ([`decode`]).

use std::borrow::Cow;

/// Decodes `%XX`; `plus` turns `+` into a blank as forms do. A `%` without two hex digits stays.
pub fn decode(text: &[u8], plus: bool) -> Cow<'_, [u8]> {
    if !text.iter().any(|b| *b == b'%' || (plus && *b == b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (text[at], hex_pair(&text[at..])) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
                continue;
            }
            (b'+', _) if plus => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    Cow::Owned(out)
}

/// The byte that `%XX` at the front of `text` stands for.
fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    Some((digit(1)? * 16 + digit(2)?) as u8)
}

/// Brings a path into the one form by which routes are compared: what a path's segment may have as it is (`pchar`) is
/// decoded, every other byte is escaped with upper-case digits, a `%` that escapes nothing too (RFC 3986, 3.3 and
/// 6.2.2). So a route written `/café au lait` has `/caf%c3%a9%20au%20lait`. Slashes stay what they are.
pub fn normal_path(path: &[u8]) -> Cow<'_, str> {
    if path.iter().all(|byte| *byte == b'/' || is_segment_byte(*byte)) {
        return String::from_utf8_lossy(path);
    }
    let mut out = Vec::with_capacity(path.len() + 16);
    let mut at = 0;
    while at < path.len() {
        let (byte, escaped) = match hex_pair(&path[at..]).filter(|_| path[at] == b'%') {
            Some(byte) => (byte, true),
            None => (path[at], false),
        };
        at += if escaped { 3 } else { 1 };
        if is_segment_byte(byte) || (byte == b'/' && !escaped) {
            out.push(byte);
        } else {
            escape(byte, &mut out);
        }
    }
    Cow::Owned(String::from_utf8(out).expect("all of it is ASCII"))
}

/// A URI reference of which each byte is one that a URI may have: others are escaped, a `%` that escapes nothing too
/// (RFC 3986, 2). Whitespace around it is removed.
pub fn reference(text: &[u8]) -> Cow<'_, [u8]> {
    let text = text.trim_ascii();
    let mut fits = true;
    for (at, byte) in text.iter().enumerate() {
        fits &= is_reference_byte(*byte) || (*byte == b'%' && hex_pair(&text[at..]).is_some());
    }
    if fits {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    for (at, byte) in text.iter().enumerate() {
        if is_reference_byte(*byte) || (*byte == b'%' && hex_pair(&text[at..]).is_some()) {
            out.push(*byte);
        } else {
            escape(*byte, &mut out);
        }
    }
    Cow::Owned(out)
}

/// Whether a path's segment may have it as it is (RFC 3986, 3.3).
fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=' | b':' | b'@')
}

fn is_reference_byte(byte: u8) -> bool {
    is_segment_byte(byte) || matches!(byte, b'/' | b'?' | b'#' | b'[' | b']')
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_bytes_and_broken_ones_stay() {
        assert_eq!(&*decode(b"a%20b+c", false), b"a b+c");
        assert_eq!(&*decode(b"a%20b+c", true), b"a b c");
        assert_eq!(&*decode(b"%00%fF%2", false), b"\0\xff%2");
        assert_eq!(&*decode(b"100%", false), b"100%");
        assert_eq!(&*decode(b"%+1%g0", false), b"%+1%g0");
    }

    #[test]
    fn paths_that_mean_the_same_have_one_form() {
        assert_eq!(normal_path(b"/a/b"), "/a/b");
        assert_eq!(normal_path(b"/%61%2fb"), "/a%2Fb");
        assert_eq!(normal_path("/caf\u{e9}".as_bytes()), normal_path(b"/caf%c3%a9"));
        assert_eq!(normal_path(b"/100%"), "/100%25");
        assert_eq!(normal_path(b"/100%25"), "/100%25");
        assert_eq!(normal_path(b"/%2541"), "/%2541", "what an escape means is not an escape");
        // What clients may write either way: `encodeURIComponent("@")` is `%40`.
        for mark in "-._~!$&'()*+,;=:@".chars() {
            let escaped = format!("/%{:02x}", mark as u32);
            assert_eq!(normal_path(escaped.as_bytes()), format!("/{mark}"));
        }
        for mark in " \"<>[\\]^`{|}?#".chars() {
            let escaped = format!("/%{:02x}", mark as u32);
            assert_eq!(normal_path(escaped.as_bytes()), normal_path(format!("/{mark}").as_bytes()));
            assert_eq!(normal_path(escaped.as_bytes()), escaped.to_uppercase());
        }
    }

    #[test]
    fn a_reference_keeps_what_a_uri_may_have() {
        for same in ["/a/b?c=%20d#e", "https://[::1]:8080/~x;y,z!$&'()*+=@", "", "?a", "//host/p"] {
            assert_eq!(&*reference(same.as_bytes()), same.as_bytes());
        }
        for (text, escaped) in [
            ("/a b", "/a%20b"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("http://b\u{fc}cher.example/", "http://b%C3%BCcher.example/"),
            ("/100%", "/100%25"),
            ("/%zz%2", "/%25zz%252"),
            ("/a\"<>\\^`{|}\t", "/a%22%3C%3E%5C%5E%60%7B%7C%7D"),
            (" /a ", "/a"),
        ] {
            assert_eq!(&*reference(text.as_bytes()), escaped.as_bytes());
        }
    }
}
