//! A body as text, by the charset that its sender declared.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};
use std::borrow::Cow;
use thiserror::Error;

/// Why a body is no text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CharsetError {
    /// A charset that the WHATWG Encoding Standard does not know.
    #[error("the charset `{0}` of the body is not known")]
    Unknown(String),
    /// Bytes that are no text of that charset.
    #[error("the body is not {0}")]
    Malformed(&'static str),
}

/// Decodes a body by the `charset` of its Content-Type, UTF-8 unless told otherwise.
///
/// # Errors
///
/// [`CharsetError`]; nothing is replaced.
///
/// ```
/// use kennel_http::charset::decode;
/// assert_eq!(decode(b"\xe9", b"text/plain; charset=ISO-8859-1").unwrap(), "é");
/// ```
pub fn decode<'a>(body: &'a [u8], content_type: &[u8]) -> Result<Cow<'a, str>, CharsetError> {
    let charset = content_type.split(|b| *b == b';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.trim_ascii().split_at_checked(8)?;
        name.eq_ignore_ascii_case(b"charset=").then(|| unquoted(value.trim_ascii()))
    });
    let label = charset.unwrap_or(b"utf-8");
    let Some(encoding) = Encoding::for_label(label) else {
        return Err(CharsetError::Unknown(label.escape_ascii().to_string()));
    };
    // A byte order mark of UTF-16 says how the bytes are to be read and is not part of the text (RFC 2781, 3.2). UTF-8
    // needs none.
    let (encoding, body) = match encoding == UTF_16LE || encoding == UTF_16BE {
        true => match Encoding::for_bom(body) {
            Some((marked, size)) if marked == UTF_16LE || marked == UTF_16BE => (marked, &body[size..]),
            _ => (encoding, body),
        },
        false => (encoding, body),
    };
    encoding
        .decode_without_bom_handling_and_without_replacement(body)
        .ok_or(CharsetError::Malformed(encoding.name()))
}

/// Bytes of the charset of this name as UTF-8; `None` when they are to stay as they are, since that is UTF-8 itself.
///
/// # Errors
///
/// [`CharsetError`]; nothing is replaced.
pub fn to_utf8(bytes: &[u8], label: &[u8]) -> Result<Option<String>, CharsetError> {
    let Some(encoding) = Encoding::for_label(label) else {
        let shown = &label[..label.len().min(40)];
        return Err(CharsetError::Unknown(shown.escape_ascii().to_string()));
    };
    if encoding == encoding_rs::UTF_8 {
        return Ok(None);
    }
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
    text.map(|text| Some(text.into_owned())).ok_or(CharsetError::Malformed(encoding.name()))
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_follows_the_declared_charset() {
        assert_eq!(decode("é".as_bytes(), b"").unwrap(), "é");
        assert_eq!(decode(b"\xe9", b"text/plain; Charset=\"ISO-8859-1\"").unwrap(), "é");
        assert_eq!(decode(b"\xe9", b"text/plain").unwrap_err().to_string(), "the body is not UTF-8");
        for (body, label) in [
            (&b"\xff\xfea\0\xe9\0"[..], &b"text/plain; charset=utf-16"[..]),
            (b"\xfe\xff\0a\0\xe9", b"text/plain; charset=utf-16"),
            (b"a\0\xe9\0", b"text/plain; charset=utf-16le"),
            (b"\xfe\xff\0a\0\xe9", b"text/plain; charset=utf-16be"),
        ] {
            assert_eq!(decode(body, label).unwrap(), "a\u{e9}", "the mark is not text");
        }
        let unknown = decode(b"x", b"text/plain; charset=klingon").unwrap_err();
        assert_eq!(unknown.to_string(), "the charset `klingon` of the body is not known");
    }
}
