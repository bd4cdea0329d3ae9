//! The headers of one part of a `multipart/form-data` body (RFC 7578): what it is called, and whether it is a file.
//!
//! Names are written as the WHATWG's rules for forms have it: a quote is `%22`, a line's end `%0D%0A`; no other escape is
//! undone, for browsers write none. `filename*` is not looked at, since RFC 7578 (4.2) forbids it and browsers send none.

use super::parameters;
use std::borrow::Cow;
use thiserror::Error;

/// What the headers of a part say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// The field's name, as bytes in the form's charset.
    pub name: Vec<u8>,
    /// The name of the file as it was sent, for a part that is one: for eyes only. [`base_name`] makes it safe.
    pub filename: Option<Vec<u8>>,
    /// The part's Content-Type, empty when it has none.
    pub content_type: Vec<u8>,
}

/// Why the headers of a part cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PartError {
    /// A line that is not a header: without colon, or with a control byte.
    #[error("a part of the form has a header that is none: `{0}`")]
    BadHeader(String),
    /// No Content-Disposition, one that is not `form-data`, or one that cannot be read.
    #[error("a part of the form does not say in one Content-Disposition that it is form-data")]
    NoFormData,
    /// It does not say which field it is.
    #[error("a part of the form has no name")]
    NoName,
}

impl Part {
    /// Reads a block of headers: lines that end in CRLF, without the empty one behind them.
    ///
    /// # Errors
    ///
    /// [`PartError`].
    pub fn parse(block: &[u8]) -> Result<Self, PartError> {
        let mut disposition: Option<&[u8]> = None;
        let mut part = Self::default();
        let block = unfolded(block);
        let mut rest = &*block;
        while !rest.is_empty() {
            let end = memchr::memmem::find(rest, b"\r\n").unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 2..).unwrap_or_default();
            let (name, value) = header(line).ok_or_else(|| {
                let shown = &line[..line.len().min(80)];
                PartError::BadHeader(shown.escape_ascii().to_string())
            })?;
            if name.eq_ignore_ascii_case(b"content-disposition") && disposition.replace(value).is_some() {
                return Err(PartError::NoFormData);
            }
            if name.eq_ignore_ascii_case(b"content-type") {
                part.content_type = value.to_vec();
            }
        }
        let (kind, parameters) = parameters::split(disposition.ok_or(PartError::NoFormData)?);
        if !kind.eq_ignore_ascii_case(b"form-data") {
            return Err(PartError::NoFormData);
        }
        let only = |name| parameters.clone().only(name).map_err(|_| PartError::NoFormData);
        part.name = unescape(&only(b"name")?.ok_or(PartError::NoName)?);
        part.filename = only(b"filename")?.map(|name| unescape(&name));
        Ok(part)
    }
}

/// Headers each in one line: a line that begins with a blank goes on with the one before (RFC 5322, 2.2.3).
fn unfolded(block: &[u8]) -> Cow<'_, [u8]> {
    let is_fold = |bytes: &[u8]| matches!(bytes, [b'\r', b'\n', b' ' | b'\t', ..]);
    if !block.windows(3).any(is_fold) {
        return Cow::Borrowed(block);
    }
    let mut out = Vec::with_capacity(block.len());
    let mut rest = block;
    while let Some(first) = rest.first() {
        let size = if is_fold(rest) { 2 } else { 1 };
        out.extend((size == 1).then_some(*first));
        rest = &rest[size..];
    }
    Cow::Owned(out)
}

/// Name and value of a line, if it is a header.
fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b':', line)?;
    let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
    let fits = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    // A lone CR or LF would be a line's end to other readers.
    let is_text = value.iter().all(|b| *b >= b' ' && *b != 0x7f || *b == b'\t');
    (fits && is_text).then_some((name, value))
}

/// Undoes what browsers do to names.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let escapes =
            [(&b"%22"[..], b'"'), (b"%0D", b'\r'), (b"%0d", b'\r'), (b"%0A", b'\n'), (b"%0a", b'\n')];
        let found = escapes.into_iter().find(|(escape, _)| rest.starts_with(escape));
        let (size, byte) = found.map_or((1, b'%'), |(escape, byte)| (escape.len(), byte));
        out.push(byte);
        rest = &rest[size..];
    }
    out.extend_from_slice(rest);
    out
}

/// The name of a file as it may be used in a path: what follows its last slash or backslash, without control
/// characters. Empty when nothing is left, or only dots that name a folder.
///
/// ```
/// use kennel_http::part::base_name;
/// assert_eq!(base_name(b"C:\\Users\\me\\cat.png"), &b"cat.png"[..]);
/// assert_eq!(base_name(b"../../etc/passwd"), &b"passwd"[..]);
/// assert_eq!(base_name(b"x/.."), &b""[..]);
/// ```
pub fn base_name(sent: &[u8]) -> Cow<'_, [u8]> {
    let start = memchr::memrchr2(b'/', b'\\', sent).map_or(0, |at| at + 1);
    let name = sent[start..].trim_ascii();
    let name = match name.iter().any(u8::is_ascii_control) {
        true => Cow::Owned(name.iter().copied().filter(|b| !b.is_ascii_control()).collect::<Vec<_>>()),
        false => Cow::Borrowed(name),
    };
    match &*name {
        b"." | b".." => Cow::Borrowed(b""),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(block: &[u8]) -> Result<(String, Option<String>), PartError> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Part::parse(block).map(|part| (text(part.name), part.filename.map(text)))
    }

    #[test]
    fn a_part_is_called_what_browsers_and_curl_call_it() {
        for (disposition, name, filename) in [
            ("form-data; name=\"a\"", "a", None),
            ("form-data; name=a", "a", None),
            ("Form-Data; Name=\"a\"; FileName=\"b.txt\"", "a", Some("b.txt")),
            ("form-data; name=\"\"; filename=\"\"", "", Some("")),
            ("form-data; name=\"grün\"; filename=\"日本.png\"", "grün", Some("日本.png")),
            // Chrome and Firefox.
            ("form-data; name=\"a%22b%0D%0Ac%41\"; filename=\"x%22y\"", "a\"b\r\nc%41", Some("x\"y")),
            // curl before 7.81.
            ("form-data; name=\"a\\\"b\"; filename=\"x\\\\y\"", "a\"b", Some("x\\y")),
            // Old Internet Explorers.
            ("form-data; name=\"a\"; filename=\"C:\\dir\\b.txt\"", "a", Some("C:\\dir\\b.txt")),
            ("form-data; name=\"a\"; filename*=UTF-8''b.txt", "a", None),
        ] {
            let block = format!("Content-Disposition: {disposition}\r\nContent-Type: text/plain\r\n");
            let expected = (name.to_owned(), filename.map(str::to_owned));
            assert_eq!(names(block.as_bytes()), Ok(expected), "{disposition}");
        }
        let folded = b"Content-Disposition: form-data;\r\n name=\"a\";\r\n\tfilename=\"b.txt\"\r\nX: y\r\n";
        assert_eq!(names(folded), Ok(("a".to_owned(), Some("b.txt".to_owned()))));
        let block = b"content-type: image/png\r\nX-Else: 1\r\nCONTENT-DISPOSITION:form-data;name=a";
        assert_eq!(Part::parse(block).unwrap().content_type, b"image/png");
    }

    #[test]
    fn headers_that_two_programs_might_read_differently_are_refused() {
        let disposition = "Content-Disposition: form-data; name=\"a\"\r\n";
        for (block, problem) in [
            ("", PartError::NoFormData),
            ("Content-Type: text/plain\r\n", PartError::NoFormData),
            ("Content-Disposition: attachment; name=\"a\"\r\n", PartError::NoFormData),
            ("Content-Disposition: form-data; name=\"a\r\n", PartError::NoFormData),
            ("Content-Disposition: form-data; name=\"a\"; name=\"b\"\r\n", PartError::NoFormData),
            (&disposition.repeat(2), PartError::NoFormData),
            ("Content-Disposition: form-data\r\n", PartError::NoName),
            ("Content-Disposition: form-data; filename=\"b\"\r\n", PartError::NoName),
            ("junk\r\n", PartError::BadHeader("junk".into())),
            (" folded: x\r\n", PartError::BadHeader(" folded: x".into())),
            ("a: b\nc: d\r\n", PartError::BadHeader("a: b\\nc: d".into())),
            ("a: b\0\r\n", PartError::BadHeader("a: b\\x00".into())),
            (": x\r\n", PartError::BadHeader(": x".into())),
        ] {
            assert_eq!(names(block.as_bytes()), Err(problem), "{block:?}");
        }
    }

    #[test]
    fn a_file_name_never_leads_out_of_a_folder() {
        for (sent, safe) in [
            ("cat.png", "cat.png"),
            ("/etc/passwd", "passwd"),
            ("..\\..\\x", "x"),
            ("a/b\\c/d", "d"),
            ("..", ""),
            (".", ""),
            ("dir/", ""),
            ("a\0b\r\n.txt\x7f", "ab.txt"),
            (".\0.", ""),
            (" \t.. ", ""),
            (".htaccess", ".htaccess"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&base_name(sent.as_bytes())), safe, "{sent:?}");
        }
    }
}
