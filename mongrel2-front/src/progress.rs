//! How far the responses to a client have come, told from their bytes: whether it waits for more.
//!
//! Handlers send bytes, and only they know when a response ends. The server looks at the heads that pass, so that a
//! client that shuts its side down gets what it asked for, and is not kept longer.

/// The responses of one connection.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Requests without a whole response.
    open: u32,
    /// The lowest bit is the oldest of them: it is a HEAD, whose response has no body.
    heads: u64,
    now: Now,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Now {
    /// Between responses.
    #[default]
    Between,
    /// Bytes of the body that have not been sent.
    Body(u64),
    /// In a body of chunks.
    Chunks(Chunks),
    /// In a response that cannot be followed: it ends with the connection.
    Unknown,
}

impl Progress {
    /// A request went to a handler.
    pub(crate) fn asked(&mut self, method: &[u8]) {
        let at = self.open.min(63);
        self.heads = self.heads & !(1 << at) | u64::from(method == b"HEAD") << at;
        self.open = self.open.saturating_add(1);
    }

    /// The last request is answered by the server. `false`: its response has begun.
    pub(crate) fn withdraw(&mut self) -> bool {
        let has_begun = self.open == 0 || (self.open == 1 && self.now != Now::Between);
        self.open -= u32::from(!has_begun);
        !has_begun
    }

    /// Whether every request has its response.
    pub(crate) fn is_done(&self) -> bool {
        self.open == 0 && self.now == Now::Between
    }

    /// Bytes of responses go out.
    pub(crate) fn sent(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.now {
                Now::Unknown => return,
                Now::Body(left) => {
                    let size = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[size..];
                    match left - size as u64 {
                        0 => self.finish(),
                        left => self.now = Now::Body(left),
                    }
                }
                Now::Chunks(mut chunks) => match chunks.find_end(bytes) {
                    Some(end) => {
                        bytes = &bytes[end..];
                        self.finish();
                    }
                    None => return self.now = Now::Chunks(chunks),
                },
                Now::Between => match Response::parse(bytes) {
                    Some(response) => bytes = self.begin(response, bytes),
                    None => return self.now = Now::Unknown,
                },
            }
        }
    }

    fn begin<'a>(&mut self, response: Response, bytes: &'a [u8]) -> &'a [u8] {
        if response.status / 100 != 1 || response.status == 101 {
            let has_body = self.heads & 1 == 0 && !matches!(response.status, 204 | 304);
            match response.length {
                _ if response.status == 101 => self.now = Now::Unknown,
                Some(length) if has_body && length > 0 => self.now = Now::Body(length),
                None if has_body && response.is_chunked => self.now = Now::Chunks(Chunks::default()),
                None if has_body => self.now = Now::Unknown,
                _ => self.finish(),
            }
        }
        &bytes[response.size..]
    }

    fn finish(&mut self) {
        self.now = Now::Between;
        self.open = self.open.saturating_sub(1);
        self.heads >>= 1;
    }
}

/// Chunks of a response, which handlers may cut anywhere.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Chunks {
    place: Place,
    /// Bytes of the chunk that are missing.
    left: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the digits of a chunk's size.
    #[default]
    Size,
    /// Behind them, in their line.
    Extension,
    Data,
    /// Behind a chunk, before its line feed.
    End,
    /// In a line behind the last chunk.
    Trailer {
        is_blank: bool,
    },
}

impl Chunks {
    /// Where the body ends in these bytes, if it does.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            self.place = match (self.place, byte) {
                (Place::Size | Place::Extension, b'\n') if self.left == 0 => {
                    Place::Trailer { is_blank: true }
                }
                (Place::Size | Place::Extension, b'\n') => Place::Data,
                (Place::Size, byte) => match char::from(byte).to_digit(16) {
                    Some(digit) => {
                        self.left = self.left.saturating_mul(16).saturating_add(digit.into());
                        Place::Size
                    }
                    None => Place::Extension,
                },
                (Place::Data, _) => {
                    let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() + 1 - at);
                    at += size - 1;
                    self.left -= size as u64;
                    if self.left == 0 { Place::End } else { Place::Data }
                }
                (Place::End, b'\n') => Place::Size,
                (Place::Trailer { is_blank: true }, b'\n') => return Some(at),
                (Place::Trailer { .. }, b'\n') => Place::Trailer { is_blank: true },
                (Place::Trailer { is_blank }, byte) => Place::Trailer { is_blank: is_blank && byte == b'\r' },
                (place, _) => place,
            };
        }
        None
    }
}

struct Response {
    status: u16,
    length: Option<u64>,
    is_chunked: bool,
    /// Bytes of the head.
    size: usize,
}

impl Response {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut lines);
        let Ok(httparse::Status::Complete(size)) = response.parse(bytes) else { return None };
        let value = |name: &str| {
            let line = response.headers.iter().find(|line| line.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(line.value).ok()
        };
        Some(Self {
            status: response.code?,
            length: value("content-length").and_then(|value| value.trim().parse().ok()),
            is_chunked: value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")),
            size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(methods: &[&str], replies: &[&str]) -> bool {
        let mut progress = Progress::default();
        methods.iter().for_each(|method| progress.asked(method.as_bytes()));
        replies.iter().for_each(|reply| progress.sent(reply.as_bytes()));
        progress.is_done()
    }

    #[test]
    fn a_response_ends_where_its_head_says() {
        let reply = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert!(done(&[], &[]));
        assert!(!done(&["GET"], &[]));
        assert!(done(&["GET"], &[reply]));
        assert!(done(&["GET"], &[&reply[..40], &reply[40..]]));
        assert!(!done(&["GET"], &[&reply[..40]]));
        assert!(!done(&["GET", "GET"], &[reply]));
        assert!(done(&["GET", "GET"], &[&[reply, reply].concat()]));
    }

    #[test]
    fn some_responses_have_no_body() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        assert!(done(&["HEAD"], &[head]));
        assert!(!done(&["GET", "HEAD"], &[head]));
        assert!(done(&["GET", "HEAD", "GET"], &[head, "abc", head, head, "abc"]));
        assert!(done(&["GET"], &["HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n"]));
        assert!(!done(&["GET"], &["HTTP/1.1 103 Early Hints\r\n\r\n"]));
    }

    #[test]
    fn chunks_end_with_the_last_one_and_other_bodies_with_the_connection() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!done(&["GET"], &[head, "3\r\nabc\r\n"]));
        assert!(done(&["GET"], &[head, "3\r\nabc\r\n", "0\r\n\r\n"]));
        // Wherever they are cut, and whatever is in them.
        let whole = [head, "8;x=0\r\nabc0\r\n\r\n\r\n0\r\nX: y\r\n\r\n"].concat();
        for size in head.len()..=whole.len() {
            assert_eq!(done(&["GET"], &[&whole[..size]]), size == whole.len(), "{size}");
            assert!(done(&["GET", "GET"], &[&whole[..size], &whole[size..], &whole]), "{size}");
        }
        assert!(!done(&["GET"], &["HTTP/1.1 200 OK\r\n\r\n", "abc"]));
        assert!(!done(&["GET"], &["no response at all"]));
    }
}
