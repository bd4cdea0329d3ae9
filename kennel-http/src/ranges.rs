//! `Range`: the parts of a body that a client asks for (RFC 9110, section 14).

/// More ranges than this in one request, and it gets the whole.
pub const MAX_RANGES: usize = 16;

/// A part of a body: at least one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first byte, from 0.
    pub start: u64,
    /// How many bytes, at least 1.
    pub length: u64,
}

impl Span {
    /// Its last byte.
    pub fn last(self) -> u64 {
        self.start + self.length - 1
    }
}

/// What a `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All: the header is malformed, of another unit, or asks for more than there is in all.
    Whole,
    /// These, in the order in which they were asked for.
    Spans(Vec<Span>),
    /// Nothing that there is.
    Nothing,
}

/// Reads the value of the header for a body of `size` bytes. More than [`MAX_RANGES`] of them, or ranges that
/// are longer in all than the body itself, are answered with the whole: they would cost more than they save.
pub fn parse(value: &[u8], size: u64) -> Wanted {
    let Some(equals) = memchr::memchr(b'=', value) else { return Wanted::Whole };
    if !value[..equals].trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return Wanted::Whole;
    }
    let (mut spans, mut count, mut total) = (Vec::new(), 0, 0_u64);
    for item in value[equals + 1..].split(|b| *b == b',').map(<[u8]>::trim_ascii) {
        if item.is_empty() {
            continue;
        }
        count += 1;
        let Some(span) = span(item, size) else { return Wanted::Whole };
        let Some(span) = span else { continue };
        total = total.saturating_add(span.length);
        if count > MAX_RANGES || total > size {
            return Wanted::Whole;
        }
        spans.push(span);
    }
    match (count, spans.is_empty()) {
        (0, _) => Wanted::Whole,
        (_, true) => Wanted::Nothing,
        (_, false) => Wanted::Spans(spans),
    }
}

/// `FIRST-LAST`, `FIRST-` or `-LENGTH`. `None`: none of them; `Some(None)`: nothing of it is there.
fn span(item: &[u8], size: u64) -> Option<Option<Span>> {
    let dash = memchr::memchr(b'-', item)?;
    let (first, last) = (&item[..dash], &item[dash + 1..]);
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Some((length > 0).then_some(Span { start: size - length, length }));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some((first < size).then(|| Span { start: first, length: last.min(size - 1) - first + 1 }))
}

/// Decimal digits; more than fit are as many as there can be.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(value: &str, size: u64) -> Vec<(u64, u64)> {
        match parse(value.as_bytes(), size) {
            Wanted::Spans(spans) => spans.iter().map(|span| (span.start, span.last())).collect(),
            other => panic!("{value} of {size}: {other:?}"),
        }
    }

    #[test]
    fn the_examples_of_the_rfc_mean_what_it_says() {
        assert_eq!(spans("bytes=0-499", 10_000), [(0, 499)]);
        assert_eq!(spans("bytes=500-999", 10_000), [(500, 999)]);
        assert_eq!(spans("bytes=-500", 10_000), [(9500, 9999)]);
        assert_eq!(spans("bytes=9500-", 10_000), [(9500, 9999)]);
        assert_eq!(spans("bytes=0-0,-1", 10_000), [(0, 0), (9999, 9999)]);
        assert_eq!(spans("bytes= 0-999, 4500-5499, -1000", 10_000), [(0, 999), (4500, 5499), (9000, 9999)]);
        assert_eq!(spans("bytes=500-600,601-999", 10_000), [(500, 600), (601, 999)]);
        assert_eq!(spans("bytes=500-700,601-999", 10_000), [(500, 700), (601, 999)]);
    }

    #[test]
    fn what_reaches_beyond_the_end_is_cut_there() {
        assert_eq!(spans("bytes=5-1000", 10), [(5, 9)]);
        assert_eq!(spans("bytes=-1000", 10), [(0, 9)]);
        assert_eq!(spans("BYTES=9-99999999999999999999999999", 10), [(9, 9)]);
        assert_eq!(spans("bytes=20-30,5-6", 10), [(5, 6)]);
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        for value in ["bytes=10-", "bytes=-0", "bytes=10-20,30-40", "bytes=99999999999999999999-"] {
            assert_eq!(parse(value.as_bytes(), 10), Wanted::Nothing, "{value}");
        }
        assert_eq!(parse(b"bytes=0-", 0), Wanted::Nothing);
        assert_eq!(parse(b"bytes=-1", 0), Wanted::Nothing);
    }

    #[test]
    fn what_is_malformed_is_not_there() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,,",
            "bytes=-",
            "bytes=5",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=1-2-3",
            "bytes=--1",
            "bytes=+1-2",
            "lines=1-2",
            "bytes=0x1-2",
            "bytes=1 -2",
            "bytes=0-1,x",
        ] {
            assert_eq!(parse(value.as_bytes(), 10), Wanted::Whole, "{value}");
        }
    }

    #[test]
    fn ranges_that_cost_more_than_the_whole_are_the_whole() {
        assert_eq!(parse(b"bytes=0-,0-,0-", 10), Wanted::Whole);
        assert_eq!(parse(b"bytes=0-5,4-9", 10), Wanted::Whole);
        let many = |count: usize| format!("bytes={}", vec!["0-0"; count].join(","));
        assert_eq!(spans(&many(MAX_RANGES), 1000).len(), MAX_RANGES);
        assert_eq!(parse(many(MAX_RANGES + 1).as_bytes(), 1000), Wanted::Whole);
    }
}
