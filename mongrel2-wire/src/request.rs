//! What kind of message this is, and the fields that decide how it is treated.
//!
//! **Only Mongrel2 speaks for Mongrel2**: it writes its own header names in upper case and lower
//! cases all of a client's, so an upper-case name cannot be forged; its notices alone come at path
//! `@*` without a route's PATTERN; a method of its own (`WEBSOCKET_HANDSHAKE`) holds a byte that no
//! HTTP method may. The two exceptions are `x-mongrel2-upload-start` and `-done`, which any client
//! can send: [`Kind::UploadStart`] and [`Kind::UploadDone`] follow from what Mongrel2 does with a
//! body, not from the names.

use crate::envelope::Envelope;
use crate::faults::{Fault, Framing};
use crate::headers::{HeaderError, Text, Values};
use crate::kind::{Kind, Refusal, Version};

/// What one walk over the headers finds: everything that the hub decides by.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The kind of message.
    pub kind: Kind,
    /// METHOD, empty when there is none.
    pub method: Text<'a>,
    /// VERSION, for HTTP and WebSockets.
    pub version: Option<Version>,
    /// PATTERN: the route key that Mongrel2 matched.
    pub pattern: Option<Text<'a>>,
    /// The client's only `host` header.
    pub host: Option<Text<'a>>,
    /// Why the request is answered with 400.
    pub fault: Option<Fault>,
    /// The client's `connection` header.
    pub connection: Option<Values<'a>>,
    /// The allowance that comes with a connection's first request under flow control, bytes.
    pub first_credits: Option<u64>,
    /// Whether the client sent an upload header that means nothing here.
    pub spoofed_upload: bool,
    /// The spool file's name, for uploads into files.
    pub spool_file: Option<Text<'a>>,
    /// How long the body of an upload will be, if the client has said so, bytes.
    pub spool_size: Option<u32>,
    /// Where in a streamed body the message's own body belongs.
    pub part: Option<Part>,
}

/// What a message carries of a body that comes by `upload.stream`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// How many bytes of the body came before it. `u64::MAX` for a number that is none.
    pub offset: u64,
    /// The body ends with it.
    pub last: bool,
}

/// The headers that say what a message is, as found.
#[derive(Default)]
struct Found<'a> {
    method: Option<Text<'a>>,
    version: Option<Text<'a>>,
    flags: Option<Text<'a>>,
    pattern: Option<Text<'a>>,
    connection: Option<Values<'a>>,
    host: Option<Values<'a>>,
    download_credits: Option<Text<'a>>,
    upload_stream: Option<Text<'a>>,
    upload_stream_done: bool,
    upload_start: Option<Values<'a>>,
    upload_done: Option<Values<'a>>,
    content_length: Option<Values<'a>>,
    transfer_encoding: Option<Values<'a>>,
}

impl<'a> Head<'a> {
    /// Reads all headers of a message once.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] when the header block breaks its form anywhere.
    pub fn read(envelope: &Envelope<'a>) -> Result<Self, HeaderError> {
        let mut found = Found::default();
        if !envelope.headers.each_plain(|name, values| found.note(name, values)) {
            found = Found::default();
            for header in envelope.headers.iter() {
                let (name, values) = header?;
                found.note(name, values);
            }
        }
        Ok(found.judge(envelope))
    }
}

impl<'a> Found<'a> {
    #[inline]
    fn note(&mut self, name: &[u8], values: Values<'a>) {
        match name {
            b"METHOD" => self.method = values.first(),
            b"VERSION" => self.version = values.first(),
            b"FLAGS" => self.flags = values.first(),
            b"PATTERN" => self.pattern = values.first(),
            b"DOWNLOAD_CREDITS" => self.download_credits = values.first(),
            b"UPLOAD_STREAM" => self.upload_stream = values.first(),
            b"UPLOAD_STREAM_DONE" => self.upload_stream_done = true,
            b"host" => self.host = Some(values),
            b"connection" => self.connection = Some(values),
            b"content-length" => self.content_length = Some(values),
            b"transfer-encoding" => self.transfer_encoding = Some(values),
            b"x-mongrel2-upload-start" => self.upload_start = Some(values),
            b"x-mongrel2-upload-done" => self.upload_done = Some(values),
            _ => {}
        }
    }

    fn judge(self, envelope: &Envelope<'a>) -> Head<'a> {
        let upload = self.file_upload(envelope.body);
        let version = self.version.map(|v| v.bytes());
        let version = match version.as_deref() {
            Some(b"HTTP/1.1") => Some(Version::Http11),
            Some(b"HTTP/1.0") => Some(Version::Http10),
            _ => None,
        };
        let kind = self.kind(envelope, version, upload.map(|upload| upload.kind));
        let credits = self.download_credits.and_then(number);
        let told = self.upload_start.is_some() || self.upload_done.is_some();
        let part = self
            .upload_stream
            .map(|text| Part { offset: number(text).unwrap_or(u64::MAX), last: self.upload_stream_done });
        let streamed = part.and(self.content_length).and_then(|values| c_strtol(&values.first()?.bytes()));
        let fault = Framing {
            kind,
            version,
            host: self.host,
            content_length: self.content_length,
            transfer_encoding: self.transfer_encoding,
            body: envelope.body.len(),
            whole: kind == Kind::Http,
        }
        .fault();
        Head {
            kind,
            host: self.host.and_then(|values| values.single()),
            fault,
            method: self.method.unwrap_or(EMPTY),
            version,
            pattern: self.pattern,
            connection: self.connection,
            first_credits: credits,
            spoofed_upload: told && upload.is_none(),
            spool_file: upload.map(|upload| upload.file),
            spool_size: upload.and_then(|upload| upload.size).or(streamed),
            part,
        }
    }

    fn kind(&self, envelope: &Envelope<'_>, version: Option<Version>, upload: Option<Kind>) -> Kind {
        let Some(method) = self.method else {
            let is_part = self.upload_stream.is_some();
            return if is_part { Kind::UploadPart } else { Kind::Refused(Refusal::NoMethod) };
        };
        let method: &[u8] = &method.bytes();

        if envelope.path == b"@*" {
            // A client of a JSON socket may write `@*` too, but it comes by a route.
            if method != b"JSON" || self.pattern.is_some() {
                return Kind::Refused(Refusal::ForgedNotice);
            }
            return match (self.download_credits, envelope.body) {
                (Some(text), br#"{"type":"credits"}"#) => match number(text) {
                    Some(bytes) => Kind::Credits { bytes },
                    None => Kind::Refused(Refusal::ForgedNotice),
                },
                (None, br#"{"type":"disconnect"}"#) => Kind::Disconnect,
                _ => Kind::Refused(Refusal::ForgedNotice),
            };
        }
        if let Some(flags) = self.flags {
            return match (method, first_byte(&flags.bytes())) {
                (b"WEBSOCKET", Some(flags)) => Kind::Frame { flags },
                (b"WEBSOCKET", None) => Kind::Refused(Refusal::BadFlags),
                _ => Kind::Refused(Refusal::ForgedMethod),
            };
        }
        match (self.version, version, method) {
            (_, _, b"WEBSOCKET_HANDSHAKE") => Kind::Handshake,
            (Some(_), None, _) => Kind::Refused(Refusal::BadVersion),
            (Some(_), _, b"JSON" | b"XML" | b"WEBSOCKET") => Kind::Refused(Refusal::ForgedMethod),
            // One that had all of its body with it is like any other.
            (Some(_), _, _) if self.upload_stream.is_some() && !self.upload_stream_done => Kind::UploadStart,
            (Some(_), _, _) if self.upload_stream.is_some() => Kind::Http,
            (Some(_), _, _) => upload.unwrap_or(Kind::Http),
            (None, _, b"JSON") if envelope.path.starts_with(b"@") => Kind::Json,
            (None, _, b"XML") if envelope.path.starts_with(b"<") => Kind::Xml,
            (None, _, b"JSON" | b"XML") => Kind::Refused(Refusal::BadSocketPath),
            _ => Kind::Refused(Refusal::BadVersion),
        }
    }

    /// The test that a client cannot pass by sending the headers itself: a body that is announced
    /// but absent. Mongrel2 delivers such a request only when it spools the body, and then it has
    /// overwritten `start`.
    fn file_upload(&self, body: &[u8]) -> Option<Upload<'a>> {
        let start = self.upload_start?.single()?;
        if self.upload_stream.is_some() || !body.is_empty() {
            return None;
        }
        let size = match self.content_length {
            Some(values) => Some(c_strtol(&values.first()?.bytes()).filter(|n| *n >= 1)?),
            None if &*self.transfer_encoding?.first()?.bytes() == b"chunked" => None,
            None => return None,
        };
        let done = self.upload_done.and_then(|d| d.single());
        let complete = done.is_some_and(|done| done.bytes() == start.bytes());
        let kind = if complete { Kind::UploadDone } else { Kind::UploadStart };
        Some(Upload { kind, file: start, size })
    }
}

/// A body that goes to a file.
#[derive(Clone, Copy)]
struct Upload<'a> {
    kind: Kind,
    file: Text<'a>,
    size: Option<u32>,
}

const EMPTY: Text<'static> = Text::empty();

/// A decimal number without sign.
fn number(text: Text<'_>) -> Option<u64> {
    std::str::from_utf8(&text.bytes()).ok()?.parse().ok()
}

/// `0x81` as a byte; Mongrel2 writes it with `0x%X`.
fn first_byte(flags: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(flags.strip_prefix(b"0x")?).ok()?;
    u8::from_str_radix(digits, 16).ok()
}

/// A Content-Length as Mongrel2 reads it, with C's `strtol`: leading blanks, a sign, junk after
/// the digits. What does not fit 0..=2147483647 counts as absent.
fn c_strtol(text: &[u8]) -> Option<u32> {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[..digits]).ok()?.parse::<u32>().ok()?;
    (number <= i32::MAX as u32).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_at(path: &str, headers: &[(&str, &str)], body: &str) -> Kind {
        let mut block = Vec::new();
        for (name, value) in headers {
            crate::netstring::encode(&mut block, name.as_bytes());
            crate::netstring::encode(&mut block, value.as_bytes());
        }
        let mut message = format!("m2 1 {path} {}:", block.len()).into_bytes();
        message.extend_from_slice(&block);
        message.extend_from_slice(format!("}}{}:{body},", body.len()).as_bytes());
        Head::read(&Envelope::parse(&message).unwrap()).unwrap().kind
    }

    #[test]
    fn an_http_method_of_mongrel2s_own_name_is_refused() {
        for method in ["JSON", "XML", "WEBSOCKET"] {
            let headers = [("METHOD", method), ("VERSION", "HTTP/1.1"), ("PATTERN", "/")];
            assert_eq!(kind_at("/", &headers, ""), Kind::Refused(Refusal::ForgedMethod));
        }
    }

    #[test]
    fn a_notice_that_came_by_a_route_is_forged() {
        let body = r#"{"type":"disconnect"}"#;
        assert_eq!(kind_at("@*", &[("METHOD", "JSON")], body), Kind::Disconnect);
        let forged = [("METHOD", "JSON"), ("PATTERN", "@")];
        assert_eq!(kind_at("@*", &forged, body), Kind::Refused(Refusal::ForgedNotice));
    }

    #[test]
    fn upload_headers_count_only_where_mongrel2_spools_a_body() {
        let http = [("METHOD", "POST"), ("VERSION", "HTTP/1.1")];
        let with =
            |more: &[(&'static str, &'static str)], body| kind_at("/", &[&http[..], more].concat(), body);
        let start = ("x-mongrel2-upload-start", "tmp/a");
        let done = ("x-mongrel2-upload-done", "tmp/a");
        assert_eq!(with(&[start, done], ""), Kind::Http);
        assert_eq!(with(&[start, done, ("content-length", "3")], "abc"), Kind::Http);
        assert_eq!(with(&[start, done, ("content-length", "0")], ""), Kind::Http);
        assert_eq!(with(&[done, ("content-length", "9")], ""), Kind::Http);
        assert_eq!(with(&[start, ("content-length", " +9x")], ""), Kind::UploadStart);
        assert_eq!(with(&[start, done, ("content-length", "9")], ""), Kind::UploadDone);
        assert_eq!(with(&[start, ("transfer-encoding", "chunked")], ""), Kind::UploadStart);
        assert_eq!(with(&[start, ("transfer-encoding", "Chunked")], ""), Kind::Http);
    }

    #[test]
    fn content_length_is_read_like_c_does() {
        assert_eq!(c_strtol(b" \t+12abc"), Some(12));
        assert_eq!(c_strtol(b"2147483648"), None);
        assert_eq!(c_strtol(b"-1"), None);
        assert_eq!(c_strtol(b"x"), None);
    }
}
