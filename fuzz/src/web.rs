//! Bodies and headers of requests that scripts ask about: forms, and files on certain conditions.

use crate::Target;
use kennel_http::file::{self, Facts};
use kennel_http::forms::{self, Form, FormError, FormLimits, MultipartReader};
use kennel_http::part::{Part, base_name};
use kennel_http::preconditions::{self, State};
use kennel_http::ranges::{self, Wanted};
use kennel_http::validators::{EntityTag, TagList, parse_tag};
use kennel_http::{compression, dates, events, media_types, parameters};
use mongrel2_wire::{Headers, Protocol};

const LIMITS: FormLimits = FormLimits { parts: 6, field: 60, header: 200, memory: 200 };

/// Forms of several parts, the same in whatever pieces they come. The first byte says in which.
pub(crate) const MULTIPART: Target = Target {
    name: "multipart",
    check: |bytes| {
        let Some((piece, body)) = bytes.split_first() else { return };
        check_form(body, &LIMITS, || usize::from(*piece) + 1);
        check_fields(body, &LIMITS);
    },
    seeds: || {
        vec![
            b"\x03--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--B\r\nContent-Disposition: form-data; name=f; \
              filename=\"a\\\\b%22.png\"\r\nContent-Type: image/png\r\n\r\n\x89\r\n--\r\n\r\n--B--\r\n"
                .to_vec(),
            b"\x01a=1&b=%C3%A9&c=+&&=".to_vec(),
            b"\x01multipart/form-data; boundary=\"a b\"; charset=x".to_vec(),
        ]
    },
};

/// A form of several parts, whole and in pieces of the given sizes. Returns whether it is one.
pub fn check_form(body: &[u8], limits: &FormLimits, piece: impl FnMut() -> usize) -> bool {
    let (whole, pieces) = (form(body, limits, || usize::MAX), form(body, limits, piece));
    match (&whole, &pieces) {
        // In pieces another limit may be hit first, but what is read is read.
        (Err(whole), Err(pieces)) => assert!([400, 413].contains(&pieces.status().min(whole.status()))),
        _ => assert_eq!(pieces, whole, "{}", body.escape_ascii()),
    }
    let Ok(form) = whole else { return false };
    assert!(form.fields.len() + form.files.len() <= limits.parts);
    for file in form.files {
        assert!(file.place.start <= file.place.end && file.place.end <= body.len() as u64);
        let bad = |byte: &u8| matches!(byte, b'/' | b'\\') || byte.is_ascii_control();
        assert!(!file.filename.iter().any(bad) && file.filename != b"..", "{:?}", file.filename);
    }
    true
}

/// A form that is read from such pieces, as a file is.
fn form(body: &[u8], limits: &FormLimits, mut piece: impl FnMut() -> usize) -> Result<Form, FormError> {
    let mut reader = MultipartReader::new(b"B", limits)?;
    let (mut held, mut rest) = (Vec::new(), body);
    while !reader.is_over() {
        let (now, later) = rest.split_at(piece().clamp(1, rest.len().max(1)).min(rest.len()));
        rest = later;
        held.extend_from_slice(now);
        let taken = reader.read(&held, rest.is_empty())?;
        held.drain(..taken);
        let most = MultipartReader::window(limits);
        assert!(reader.is_over() || held.len() <= most, "{} bytes are held", held.len());
    }
    reader.finish()
}

/// The other kind of form, and what is said of parts.
pub fn check_fields(bytes: &[u8], limits: &FormLimits) {
    let _ = (forms::kind(bytes), forms::kind(&[b"multipart/form-data;", bytes].concat()));
    assert!(parameters::split(bytes).1.count() <= bytes.len());
    let _ = Part::parse(bytes);
    let _ = Part::parse(&[b"Content-Disposition: form-data; name=", bytes].concat());
    assert!(!base_name(bytes).contains(&b'/'));
    let any = [b"application/x-www-form-urlencoded; charset=", bytes].concat();
    let utf_8 = b"application/x-www-form-urlencoded; charset=utf-8";
    for content_type in [&b"application/x-www-form-urlencoded"[..], utf_8, &any] {
        if let Ok(form) = forms::read_urlencoded(bytes, content_type, limits) {
            assert!(form.fields.len() <= limits.parts);
        }
    }
}

/// What clients ask about files: a block of headers, and a value of one.
pub(crate) const FILES: Target = Target {
    name: "files",
    check: |bytes| {
        check_value(bytes, 1000);
        let facts = Facts {
            size: 1000,
            modified: Some((784_111_777, 0)),
            now: 800_000_000,
            content_type: b"text/plain",
        };
        check_conditions(bytes, EntityTag { weak: false, opaque: b"a" }, true, &facts);
    },
    seeds: || {
        let texts = [
            "5:range,21:bytes=0-99, 200-, -5 ,8:if-range,29:Sun, 06 Nov 1994 08:49:37 GMT,",
            "13:if-none-match,11:W/\"a\", \"b\",13:if-match,1:*,17:if-modified-since,29:Sun, 06 Nov 1994 08:49:37 GMT,",
            "bytes=0-99, 200-,-5",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "gzip;q=0.5, br;q=1.0, *;q=0",
        ];
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    },
};

/// A value of any header that asks about a file of the given size, in bytes.
pub fn check_value(value: &[u8], size: u64) {
    if let Wanted::Spans(spans) = ranges::parse(value, size) {
        assert!(!spans.is_empty() && spans.len() <= ranges::MAX_RANGES);
        assert!(spans.iter().all(|span| span.length > 0 && span.last() < size));
        assert!(spans.iter().map(|span| u128::from(span.length)).sum::<u128>() <= u128::from(size));
    }
    if let Some(second) = dates::parse(value) {
        assert_eq!(dates::parse(dates::format(second).as_bytes()), Some(second));
    }
    let _ = (compression::takes_gzip(value), media_types::of_name(value), media_types::is_text(value));
    let (mut tags, first) = (0, parse_tag(value));
    TagList::parse(value).any(|tag| {
        tags += 1;
        first.as_ref().is_some_and(|(first, _)| first.is_strongly(tag) && first.weak)
    });
    assert!(tags <= value.len());
    let name = String::from_utf8_lossy(value);
    assert!(file::attachment(&name).bytes().all(|b| (b' '..0x7f).contains(&b)));
    let event = events::Event { event: Some(value), data: Some(value), id: None, retry: None };
    if let Ok(lines) = event.encode() {
        let text = String::from_utf8(lines).expect("UTF-8");
        assert!(text.ends_with("\n\n") && !text.trim_end_matches('\n').contains("\n\n"));
        assert!(
            text.trim_end_matches('\n').lines().all(|l| l.starts_with("data: ") || l.starts_with("event: "))
        );
    }
    let head = [b"Content-Type: text/plain\r\nx: ", value, b"\r\n"].concat();
    let _ = compression::apply(200, &head, &vec![b'x'; 2000], value);
}

/// A block of headers as tnetstrings, with conditions and ranges, for a file with this tag.
pub fn check_conditions(block: &[u8], tag: EntityTag<'_>, settled: bool, facts: &Facts<'_>) {
    let headers = Headers::new(Protocol::Tnetstring, block);
    let _ = preconditions::weigh(&headers, &State { tag, modified: Some(784_111_777), settled });
    let plan = file::plan(&headers, b"GET", true, facts, || "cut".into());
    assert_eq!(plan.parts.iter().map(file::Part::length).sum::<u64>(), plan.length);
}
