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

/// Brings a path into the one form by which routes are compared: escapes of letters, digits and
/// `-._~` are decoded, other escapes have upper-case digits, bytes beyond ASCII are escaped
/// (RFC 3986, 6.2.2). So `/caf%c3%a9` and a route written `/café` meet. Slashes stay what they are.
pub fn normal_path(path: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(path)
        && text.is_ascii()
        && !text.contains('%')
    {
        return Cow::Borrowed(text);
    }
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(path.len() + 16);
    let mut at = 0;
    while at < path.len() {
        let (byte, escaped) = match hex_pair(&path[at..]).filter(|_| path[at] == b'%') {
            Some(byte) => (byte, true),
            None => (path[at], false),
        };
        at += if escaped { 3 } else { 1 };
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if unreserved || (!escaped && byte.is_ascii()) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    Cow::Owned(out)
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
        assert_eq!(normal_path(b"/100%"), "/100%");
    }
}
