//! Compression of whole answers, as the client allows it (RFC 9110, 12.5.3).
//!
//! Whoever can put text of his own into a page that also holds a secret, and sees how long the answer is, can guess
//! the secret (BREACH). So answers that set cookies are left as they are, and so is whatever a script says
//! `compress = false` about.

use super::fields;
use super::media_types;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// A shorter body is left as it is: it fits one packet anyway.
pub const THRESHOLD: usize = 1024;
/// A larger one would hold up its worker for too long: at this level 1 MiB takes some 10 ms.
pub const LARGEST: usize = 8 << 20;
const LEVEL: u32 = 4;

/// Whether a client that sent this `Accept-Encoding` takes gzip, and prefers it to nothing.
pub fn takes_gzip(accept: &[u8]) -> bool {
    // Thousandths.
    let (mut gzip, mut any, mut identity) = (None, None, None);
    for item in accept.split(|b| *b == b',') {
        let mut parts = item.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let coding = parts.next().unwrap_or_default();
        let Some(weight) = parts.next().map_or(Some(1000), weight) else { continue };
        if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
            gzip = gzip.max(Some(weight));
        } else if coding.eq_ignore_ascii_case(b"identity") {
            identity = Some(weight);
        } else if coding == b"*" {
            any = Some(weight);
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// `q=0.5` as thousandths; `None`: it is no weight.
fn weight(text: &[u8]) -> Option<u16> {
    let value = text.strip_prefix(b"q=").or_else(|| text.strip_prefix(b"Q="))?;
    let (whole, digits) = match value {
        [whole, b'.', digits @ ..] => (*whole, digits),
        [whole] => (*whole, &b""[..]),
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || digits.len() > 3 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let fraction = (0..3).fold(0, |sum, at| sum * 10 + u16::from(digits.get(at).map_or(0, |b| b - b'0')));
    Some((u16::from(whole - b'0') * 1000 + fraction).min(1000))
}

/// Whether an answer of this kind is one to compress for whoever takes it: what a cache has to know of.
pub fn is_worth(status: u16, head: &[u8], size: usize) -> bool {
    (THRESHOLD..=LARGEST).contains(&size)
        && !matches!(status, 204 | 206 | 304)
        && fields::find(head, b"content-type").is_some_and(media_types::is_text)
        && fields::find(head, b"content-encoding").is_none()
        && fields::find(head, b"content-range").is_none()
        && fields::find(head, b"set-cookie").is_none()
        && !fields::lines(head).any(|line| {
            fields::is_named(line, b"cache-control") && fields::has_item(fields::value(line), b"no-transform")
        })
}

/// Changes the header lines `head` and the `body` of an answer for a client that sent `accept`. `None`: it goes out as
/// it is.
pub fn apply(status: u16, head: &[u8], body: &[u8], accept: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    if !is_worth(status, head, body.len()) {
        return None;
    }
    let compressed = takes_gzip(accept).then(|| gzip(body)).flatten();
    let mut lines = Vec::with_capacity(head.len() + 64);
    let mut varies = false;
    for line in fields::lines(head) {
        if fields::is_named(line, b"vary") {
            varies |= fields::has_item(fields::value(line), b"accept-encoding")
                || fields::has_item(fields::value(line), b"*");
        }
        if compressed.is_some() && fields::is_named(line, b"etag") {
            // These are other bytes with the same meaning.
            let value = fields::value(line);
            lines.extend_from_slice(b"ETag: ");
            lines.extend_from_slice(if value.starts_with(b"\"") { b"W/" } else { b"" });
            lines.extend_from_slice(value);
            lines.extend_from_slice(b"\r\n");
        } else if compressed.is_some() && fields::is_named(line, b"accept-ranges") {
            // Of the compressed bytes there are no ranges.
        } else {
            lines.extend_from_slice(line);
        }
    }
    if !varies {
        lines.extend_from_slice(b"Vary: Accept-Encoding\r\n");
    }
    if compressed.is_some() {
        lines.extend_from_slice(b"Content-Encoding: gzip\r\n");
    }
    Some((lines, compressed))
}

/// The bytes compressed; `None` when that makes them no smaller.
pub fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3 + 64), Compression::new(LEVEL));
    encoder.write_all(body).ok()?;
    encoder.finish().ok().filter(|compressed| compressed.len() < body.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_client_gets_what_it_says_it_takes() {
        for (accept, takes) in [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.2", true),
            ("x-gzip", true),
            ("*", true),
            ("*;q=0.1", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000, *", false),
            ("*;q=0", false),
            ("identity", false),
            ("identity;q=0.5, gzip;q=0.4", false),
            ("identity;q=0.5, gzip;q=0.5", true),
            ("identity;q=0", false),
            ("deflate", false),
            ("", false),
            ("gzip;q=2", false),
            ("gzip;q=0.1234", false),
            ("gzip;level=9", false),
            ("gzipped", false),
            ("gzip ; q=0.001", true),
        ] {
            assert_eq!(takes_gzip(accept.as_bytes()), takes, "{accept}");
        }
    }

    fn unzipped(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn text_is_compressed_and_says_so() {
        let body = "all work and no play ".repeat(100);
        let head = b"content-type: text/html\r\netag: \"1\"\r\naccept-ranges: bytes\r\nx-a: b\r\n";
        let (head, compressed) = apply(200, head, body.as_bytes(), b"gzip").unwrap();
        let compressed = compressed.unwrap();
        assert_eq!(unzipped(&compressed), body.as_bytes());
        assert!(compressed.len() < 200);
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "content-type: text/html\r\nETag: W/\"1\"\r\nx-a: b\r\nVary: Accept-Encoding\r\nContent-Encoding: gzip\r\n"
        );
    }

    #[test]
    fn who_takes_no_gzip_is_told_what_others_get() {
        let body = vec![b' '; 2000];
        let head = b"content-type: text/html\r\nvary: cookie, Accept-Encoding\r\n";
        assert_eq!(apply(200, head, &body, b""), Some((head.to_vec(), None)));
        let (head, compressed) =
            apply(200, b"content-type: text/html\r\nvary: cookie\r\n", &body, b"").unwrap();
        assert!(compressed.is_none() && head.ends_with(b"vary: cookie\r\nVary: Accept-Encoding\r\n"));
    }

    #[test]
    fn what_is_short_or_compressed_or_secret_or_no_text_is_left_alone() {
        let body = vec![b' '; 2000];
        for (status, head) in [
            (200, "content-type: image/png\r\n"),
            (200, "x-a: b\r\n"),
            (200, "content-type: text/html\r\ncontent-encoding: br\r\n"),
            (200, "content-type: text/html\r\nset-cookie: a=b\r\n"),
            (200, "content-type: text/html\r\nCache-Control: private, No-Transform\r\n"),
            (200, "content-type: text/event-stream\r\n"),
            (206, "content-type: text/html\r\n"),
        ] {
            assert_eq!(apply(status, head.as_bytes(), &body, b"gzip"), None, "{status} {head}");
        }
        let text = b"content-type: text/html\r\n";
        assert_eq!(apply(200, text, &body[..THRESHOLD - 1], b"gzip"), None);
        assert!(apply(404, text, &body, b"gzip").is_some());
    }

    #[test]
    fn what_gets_no_smaller_stays_as_it_is() {
        let mut rng = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = (0..2000).map(|_| rng.u8(..)).collect();
        let (head, compressed) = apply(200, b"content-type: text/plain\r\n", &noise, b"gzip").unwrap();
        assert!(compressed.is_none() && head.ends_with(b"Vary: Accept-Encoding\r\n"));
    }
}
