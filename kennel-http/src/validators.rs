//! What names one state of a resource: entity tags and dates, and how they are compared (RFC 9110, 8.8).

use std::fmt;

/// An entity tag: quotes and what is between them, and whether it is a weak one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// `W/` is before it: it says that two bodies mean the same, not that they are the same bytes.
    pub weak: bool,
    /// Between the quotes.
    pub opaque: &'a [u8],
}

impl EntityTag<'_> {
    /// Whether both name the same bytes.
    pub fn is_strongly(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Whether both name the same meaning.
    pub fn is_weakly(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

impl fmt::Display for EntityTag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\"{}\"", if self.weak { "W/" } else { "" }, self.opaque.escape_ascii())
    }
}

/// Splits one tag off the front of `input`; `None`: there is none.
pub fn parse_tag(input: &[u8]) -> Option<(EntityTag<'_>, &[u8])> {
    let (weak, rest) = match input.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, input),
    };
    let rest = rest.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', rest)?;
    let (opaque, rest) = rest.split_at(end);
    let allowed = |b: &u8| *b == b'!' || (b'#'..=b'~').contains(b) || *b >= 0x80;
    opaque.iter().all(allowed).then_some((EntityTag { weak, opaque }, &rest[1..]))
}

/// What `If-Match` or `If-None-Match` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagList<'a> {
    /// `*`: any state, so long as there is one.
    Any,
    /// Tags, as they were written.
    Listed(&'a [u8]),
}

impl<'a> TagList<'a> {
    /// Takes the value of the header.
    pub fn parse(value: &'a [u8]) -> Self {
        match value.trim_ascii() {
            b"*" => Self::Any,
            listed => Self::Listed(listed),
        }
    }

    /// Whether one of them passes. What follows something that is no tag is not looked at.
    pub fn any(&self, mut passes: impl FnMut(&EntityTag<'_>) -> bool) -> bool {
        let mut rest = match self {
            Self::Any => return true,
            Self::Listed(listed) => *listed,
        };
        loop {
            let gap = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b',')).count();
            let Some((tag, after)) = parse_tag(&rest[gap..]) else { return false };
            if passes(&tag) {
                return true;
            }
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> EntityTag<'_> {
        let (tag, rest) = parse_tag(text.as_bytes()).unwrap();
        assert!(rest.is_empty());
        tag
    }

    #[test]
    fn tags_are_compared_as_the_rfcs_table_says() {
        for (one, other, strongly, weakly) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            let (one, other) = (tag(one), tag(other));
            assert_eq!((one.is_strongly(&other), one.is_weakly(&other)), (strongly, weakly), "{one} {other}");
        }
    }

    #[test]
    fn a_list_is_read_up_to_what_is_no_tag() {
        let has = |list: &str, wanted: &str| {
            TagList::parse(list.as_bytes()).any(|found| found.is_weakly(&tag(wanted)))
        };
        assert!(has("\"a\", W/\"b\" ,,\"c,d\"", "\"b\""));
        assert!(has("\"a\",\"c,d\"", "\"c,d\""));
        assert!(has(" * ", "\"anything\""));
        assert!(!has("a, \"b\"", "\"b\""));
        assert!(!has("\"b", "\"b\""));
        assert!(!has("w/\"b\"", "\"b\""), "a weak tag has a capital W");
        assert!(!has("", "\"\""));
        assert!(has("\"\"", "\"\""));
    }
}
