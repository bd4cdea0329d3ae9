//! Bodies and headers of requests that scripts ask about: forms, and files on certain conditions.

use crate::Target;
use kennel_http::file::{Facts, Part, plan};
use kennel_http::forms::{self, FormError, FormLimits, MultipartReader};
use kennel_http::ranges::{self, Wanted};
use kennel_http::{compression, dates, media_types, parameters};
use mongrel2_wire::{Headers, Protocol};

const LIMITS: FormLimits = FormLimits { parts: 6, field: 60, header: 200, memory: 200 };

/// Forms of several parts, the same in whatever pieces they come. The first byte says in which.
pub(crate) const MULTIPART: Target = Target {
    name: "multipart",
    check: |bytes| {
        let Some((piece, body)) = bytes.split_first() else { return };
        let (whole, pieces) = (read(body, usize::MAX), read(body, usize::from(*piece) + 1));
        match (whole, pieces) {
            (Ok(whole), Ok(pieces)) => {
                assert_eq!(whole, pieces);
                for file in whole.files {
                    assert!(file.place.start <= file.place.end && file.place.end <= body.len() as u64);
                    assert!(!file.filename.contains(&b'/') && !file.filename.contains(&0));
                }
            }
            // In pieces another limit may be hit first, but what is read is read.
            (whole, pieces) => assert!(whole.is_err() && pieces.is_err()),
        }
        let _ = forms::read_urlencoded(body, b"application/x-www-form-urlencoded; charset=utf-8", &LIMITS);
        let _ = (forms::kind(body), parameters::split(body).1.count());
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

fn read(body: &[u8], piece: usize) -> Result<forms::Form, FormError> {
    let mut reader = MultipartReader::new(b"B", &LIMITS)?;
    let (mut held, mut rest) = (Vec::new(), body);
    while !reader.is_over() {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        rest = later;
        held.extend_from_slice(now);
        let taken = reader.read(&held, rest.is_empty())?;
        held.drain(..taken);
        assert!(reader.is_over() || held.len() <= MultipartReader::window(&LIMITS));
    }
    reader.finish()
}

/// What clients ask about files: a block of headers, and a value of one.
pub(crate) const FILES: Target = Target {
    name: "files",
    check: |bytes| {
        if let Wanted::Spans(spans) = ranges::parse(bytes, 1000) {
            assert!(!spans.is_empty() && spans.len() <= ranges::MAX_RANGES);
            assert!(spans.iter().all(|span| span.length > 0 && span.last() < 1000));
        }
        if let Some(second) = dates::parse(bytes) {
            assert_eq!(dates::parse(dates::format(second).as_bytes()), Some(second));
        }
        let _ = (compression::takes_gzip(bytes), media_types::of_name(bytes));
        let headers = Headers::new(Protocol::Tnetstring, bytes);
        let facts = Facts {
            size: 1000,
            modified: Some((784_111_777, 0)),
            now: 800_000_000,
            content_type: b"text/plain",
        };
        let plan = plan(&headers, b"GET", true, &facts, || "cut".into());
        assert_eq!(plan.parts.iter().map(Part::length).sum::<u64>(), plan.length);
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
