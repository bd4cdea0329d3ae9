//! Query strings: `a=1&b=2`, decoded pair by pair.

use super::percent;
use std::borrow::Cow;

/// A decoded name and its decoded value.
pub type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The pairs of a query string in order, percent-decoded, `+` as a blank. A pair without `=` has an
/// empty value; empty pairs are skipped.
pub fn pairs(query: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    query.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        (percent::decode(name, true), percent::decode(value, true))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_decoded_and_in_order() {
        let found: Vec<_> = pairs(b"a=1&b=x+y%26&&c&a=2&=e&d==")
            .map(|(n, v)| {
                (String::from_utf8_lossy(&n).into_owned(), String::from_utf8_lossy(&v).into_owned())
            })
            .collect();
        let expected = [("a", "1"), ("b", "x y&"), ("c", ""), ("a", "2"), ("", "e"), ("d", "=")];
        assert_eq!(found, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }
}
