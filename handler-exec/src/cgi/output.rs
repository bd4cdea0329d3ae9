//! What a CGI script writes, as an answer (RFC 3875, section 6).

use kennel_http::HeadLines;
use memchr::memchr;
use thiserror::Error;

/// An answer.
#[derive(Debug)]
pub(super) struct Output<'a> {
    /// 200 to 599.
    pub status: u16,
    pub head: HeadLines,
    pub body: &'a [u8],
}

/// Why what a script wrote is no answer.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum OutputError {
    /// It ended before an empty line.
    #[error("its header has no end: an empty line comes before the body")]
    NoEnd,
    /// A line that is none of a header.
    #[error("`{0}` is no header line; a script writes `Content-Type: ...` and an empty line before its text")]
    NoHeader(String),
    /// A header that would break the answer.
    #[error("{0}")]
    BadHeader(String),
    /// A status that is none.
    #[error("`Status: {0}` is no status from 200 to 599")]
    BadStatus(String),
    /// A body of unknown type.
    #[error("it has a body and no Content-Type")]
    NoType,
    /// Neither body nor type nor place to go to.
    #[error("its header has none of Content-Type, Status and Location")]
    Nothing,
}

/// Reads all that a script wrote.
///
/// # Errors
///
/// [`OutputError`].
pub(super) fn read(output: &[u8]) -> Result<Output<'_>, OutputError> {
    let (mut status, mut has_location, mut has_type) = (None, false, false);
    let mut head = HeadLines::default();
    let mut rest = output;
    loop {
        let Some(end) = memchr(b'\n', rest) else { return Err(OutputError::NoEnd) };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        let Some(colon) = memchr(b':', line).filter(|colon| *colon > 0) else {
            return Err(OutputError::NoHeader(shown(line)));
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match &*name.to_ascii_lowercase() {
            b"status" => status = Some(read_status(value)?),
            // Kennel says what becomes of the connection.
            b"connection" | b"keep-alive" => {}
            lower => {
                has_location |= lower == b"location";
                has_type |= lower == b"content-type";
                head.push(name, value).map_err(|problem| OutputError::BadHeader(problem.to_string()))?;
            }
        }
    }
    if !has_type && !rest.is_empty() {
        return Err(OutputError::NoType);
    }
    if !has_type && !has_location && status.is_none() {
        return Err(OutputError::Nothing);
    }
    let usual = if has_location { 302 } else { 200 };
    Ok(Output { status: status.unwrap_or(usual), head, body: rest })
}

/// `404 Not Found` or `404`.
fn read_status(value: &[u8]) -> Result<u16, OutputError> {
    let number = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    let status = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
    status
        .filter(|status| number.len() == 3 && (200..=599).contains(status))
        .ok_or_else(|| OutputError::BadStatus(shown(value)))
}

fn shown(line: &[u8]) -> String {
    line[..line.len().min(80)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(output: &str) -> Result<(u16, String, String), OutputError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        read(output.as_bytes()).map(|found| (found.status, text(found.head.as_bytes()), text(found.body)))
    }

    fn fine(status: u16, head: &str, body: &str) -> Result<(u16, String, String), OutputError> {
        Ok((status, head.into(), body.into()))
    }

    #[test]
    fn headers_end_at_an_empty_line_of_either_kind() {
        let head = "Content-Type: text/plain\r\n";
        assert_eq!(all("Content-Type: text/plain\n\nhello\n\n"), fine(200, head, "hello\n\n"));
        assert_eq!(all("Content-Type:text/plain\r\n\r\nhello"), fine(200, head, "hello"));
        assert_eq!(all("Status: 404 Not Found\nContent-Type: text/plain\n\n"), fine(404, head, ""));
        assert_eq!(
            all("Content-Type: text/plain\nContent-Length: 9\nConnection: x\n\nab"),
            fine(200, head, "ab")
        );
    }

    #[test]
    fn a_location_is_a_redirect_unless_the_script_says_otherwise() {
        assert_eq!(all("Location: /there\n\n"), fine(302, "Location: /there\r\n", ""));
        assert_eq!(all("Status: 301\nLocation: http://x/\n\n"), fine(301, "Location: http://x/\r\n", ""));
        assert_eq!(all("Status: 204\n\n"), fine(204, "", ""));
    }

    #[test]
    fn what_is_no_answer_is_refused_with_the_reason() {
        for (output, problem) in [
            ("", "no end"),
            ("Content-Type: a/b", "no end"),
            ("Content-Type: a/b\nhello", "no end"),
            ("hello\n\n", "`hello` is no header line"),
            (": x\n\n", "is no header line"),
            ("a b: x\n\n", "no header name"),
            ("a: x\ry\n\n", "carriage return"),
            ("Status: 99\n\n", "no status"),
            ("Status: ok\n\n", "no status"),
            ("Status: 100\n\n", "no status"),
            ("Status: 200\n\nbody", "no Content-Type"),
            ("X: y\n\n", "none of"),
            ("\nbody", "no Content-Type"),
        ] {
            let found = all(output).unwrap_err().to_string();
            assert!(found.contains(problem), "{output:?}: {found}");
        }
    }
}
