//! Conditional requests: whether the client has what it asks for already (RFC 9110, section 13).

use super::dates;
use super::validators::{EntityTag, TagList, parse_tag};
use mongrel2_wire::{Headers, Text, Values};
use std::borrow::Cow;

/// The state of what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State<'a> {
    /// Its tag.
    pub tag: EntityTag<'a>,
    /// When it was last changed, seconds since 1970, if that is known.
    pub modified: Option<u64>,
    /// That time is long enough ago that a change after it would have another one: the date names these very bytes.
    pub settled: bool,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The request is carried out. `ranges`: and a Range in it counts.
    Perform {
        /// Whether a Range counts.
        ranges: bool,
    },
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client takes it for.
    Failed,
}

/// Weighs the conditions of a GET or HEAD, in the order of RFC 9110, 13.2.2.
pub fn weigh(headers: &Headers<'_>, state: &State<'_>) -> Verdict {
    let whole = |name: &[u8]| headers.get(name).map(joined);
    let date = |name: &[u8]| dates::parse(&headers.get(name)?.single()?.bytes());
    if let Some(list) = whole(b"if-match") {
        if !TagList::parse(&list).any(|tag| tag.is_strongly(&state.tag)) {
            return Verdict::Failed;
        }
    } else if let (Some(since), Some(modified)) = (date(b"if-unmodified-since"), state.modified)
        && modified > since
    {
        return Verdict::Failed;
    }
    if let Some(list) = whole(b"if-none-match") {
        if TagList::parse(&list).any(|tag| tag.is_weakly(&state.tag)) {
            return Verdict::NotModified;
        }
    } else if let (Some(since), Some(modified)) = (date(b"if-modified-since"), state.modified)
        && modified <= since
    {
        return Verdict::NotModified;
    }
    let ranges = match headers.get(b"if-range") {
        None => true,
        Some(values) => values.single().is_some_and(|value| is_same(value, state)),
    };
    Verdict::Perform { ranges }
}

/// Whether `If-Range` names just these bytes: a tag strongly, or the very date if that can be trusted.
fn is_same(value: Text<'_>, state: &State<'_>) -> bool {
    let value = value.bytes();
    let value = value.trim_ascii();
    match parse_tag(value) {
        Some((tag, rest)) => rest.is_empty() && tag.is_strongly(&state.tag),
        None => state.settled && state.modified.is_some() && dates::parse(value) == state.modified,
    }
}

/// All values of a list in one.
fn joined(values: Values<'_>) -> Cow<'_, [u8]> {
    match values.single() {
        Some(value) => value.bytes(),
        None => values.iter().map(|value| value.bytes().into_owned()).collect::<Vec<_>>().join(&b',').into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongrel2_wire::Envelope;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const PERFORM: Verdict = Verdict::Perform { ranges: true };
    const WHOLE: Verdict = Verdict::Perform { ranges: false };

    fn weighed_as(settled: bool, headers: &[(&str, &str)]) -> Verdict {
        let pairs = headers.iter().map(|(name, value)| {
            let value = value.replace('"', "\\\"");
            match value.split_once(" | ") {
                Some((one, other)) => format!(r#""{name}":["{one}","{other}"]"#),
                None => format!(r#""{name}":"{value}""#),
            }
        });
        let block = format!("{{{}}}", pairs.collect::<Vec<_>>().join(","));
        let message = format!("m2 1 / {}:{block},0:,", block.len());
        let envelope = Envelope::parse(message.as_bytes()).unwrap();
        let tag = EntityTag { weak: !settled, opaque: b"now" };
        weigh(&envelope.headers, &State { tag, modified: Some(784_111_777), settled })
    }

    fn weighed(headers: &[(&str, &str)]) -> Verdict {
        weighed_as(true, headers)
    }

    #[test]
    fn each_condition_by_itself() {
        for (name, value, verdict) in [
            ("if-match", "\"now\"", PERFORM),
            ("if-match", "\"old\", \"now\"", PERFORM),
            ("if-match", "*", PERFORM),
            ("if-match", "\"old\"", Verdict::Failed),
            ("if-match", "W/\"now\"", Verdict::Failed),
            ("if-match", "", Verdict::Failed),
            ("if-unmodified-since", THEN, PERFORM),
            ("if-unmodified-since", BEFORE, Verdict::Failed),
            ("if-unmodified-since", "yesterday", PERFORM),
            ("if-none-match", "\"now\"", Verdict::NotModified),
            ("if-none-match", "W/\"now\"", Verdict::NotModified),
            ("if-none-match", "*", Verdict::NotModified),
            ("if-none-match", "\"old\" | \"now\"", Verdict::NotModified),
            ("if-none-match", "\"old\"", PERFORM),
            ("if-modified-since", THEN, Verdict::NotModified),
            ("if-modified-since", AFTER, Verdict::NotModified),
            ("if-modified-since", BEFORE, PERFORM),
            ("if-modified-since", "yesterday", PERFORM),
            ("if-range", "\"now\"", PERFORM),
            ("if-range", "\"old\"", WHOLE),
            ("if-range", "W/\"now\"", WHOLE),
            ("if-range", THEN, PERFORM),
            ("if-range", AFTER, WHOLE),
            ("if-range", "", WHOLE),
        ] {
            assert_eq!(weighed(&[(name, value)]), verdict, "{name}: {value}");
        }
        assert_eq!(weighed(&[]), PERFORM);
    }

    #[test]
    fn the_order_is_that_of_the_rfc() {
        // A tag is looked at in place of a date, on both sides.
        assert_eq!(weighed(&[("if-match", "\"now\""), ("if-unmodified-since", BEFORE)]), PERFORM);
        assert_eq!(weighed(&[("if-none-match", "\"old\""), ("if-modified-since", AFTER)]), PERFORM);
        // 412 goes before 304, and 304 before ranges.
        assert_eq!(weighed(&[("if-match", "\"old\""), ("if-none-match", "\"now\"")]), Verdict::Failed);
        assert_eq!(weighed(&[("if-match", "\"now\""), ("if-none-match", "\"now\"")]), Verdict::NotModified);
        assert_eq!(
            weighed(&[("if-unmodified-since", BEFORE), ("if-modified-since", AFTER)]),
            Verdict::Failed
        );
        assert_eq!(weighed(&[("if-none-match", "\"now\""), ("if-range", "\"now\"")]), Verdict::NotModified);
        assert_eq!(weighed(&[("if-match", "\"now\""), ("if-range", "\"old\"")]), WHOLE);
    }

    #[test]
    fn what_has_just_been_written_is_resumed_by_nobody() {
        assert_eq!(weighed_as(false, &[("if-range", THEN)]), WHOLE);
        assert_eq!(weighed_as(false, &[("if-range", "\"now\"")]), WHOLE);
        assert_eq!(weighed_as(false, &[("if-none-match", "W/\"now\"")]), Verdict::NotModified);
    }
}
