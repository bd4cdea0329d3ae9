//! The head of a request: read strictly (RFC 9112), kept as it came.

mod end;
mod framing;
mod target;

pub(crate) use end::{Search, find_end};
pub(crate) use framing::{Framing, framing};

use std::ops::Range;
use target::Target;

/// Why a head is refused: the status of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) u16);

/// The head of a request.
#[derive(Debug)]
pub(crate) struct Head {
    /// The head as sent, with header names in lower case.
    bytes: Box<[u8]>,
    method: Span,
    target: Target,
    is_http_11: bool,
    /// Sorted by name; those of one name are in the order in which they came.
    fields: Box<[(Span, Span)]>,
}

/// A part of the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// What a head is checked against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The most header lines.
    pub(crate) header_count: usize,
    /// `{`, `}` and `^` may stand in the target.
    pub(crate) relaxed: bool,
}

impl Head {
    /// Header lines for which no memory is asked.
    const FEW: usize = 64;

    /// Reads a whole head, with the blank line that ends it.
    pub(crate) fn parse(head: &[u8], rules: Rules) -> Result<Self, Refusal> {
        let mut few = [httparse::EMPTY_HEADER; Self::FEW];
        match Self::parse_with(head, rules, &mut few) {
            Err(Problem::TooManyHeaders) if rules.header_count > Self::FEW => {
                let mut many = vec![httparse::EMPTY_HEADER; rules.header_count];
                Self::parse_with(head, rules, &mut many).map_err(|_| Refusal(400))
            }
            read => read.map_err(|problem| match problem {
                Problem::Refused(refusal) => refusal,
                Problem::TooManyHeaders => Refusal(400),
            }),
        }
    }

    fn parse_with<'a>(
        head: &'a [u8],
        rules: Rules,
        lines: &mut [httparse::Header<'a>],
    ) -> Result<Self, Problem> {
        let mut request = httparse::Request::new(lines);
        match request.parse(head) {
            Ok(httparse::Status::Complete(size)) if size == head.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Problem::TooManyHeaders),
            _ => return Err(Problem::Refused(Refusal(400))),
        }
        let span = |part: &[u8]| {
            let start = (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
            // An empty value may point anywhere.
            let start = if start <= head.len() { start } else { 0 };
            Span { start: start as u32, end: (start + part.len()) as u32 }
        };
        let (Some(method), Some(path), Some(version)) = (request.method, request.path, request.version)
        else {
            return Err(Problem::Refused(Refusal(400)));
        };
        let is_method = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        if method.len() > 20 || !method.bytes().all(is_method) {
            return Err(Problem::Refused(Refusal(400)));
        }
        let target = Target::parse(path.as_bytes(), span(path.as_bytes()).start, rules.relaxed)?;
        let (method, is_http_11) = (span(method.as_bytes()), version == 1);
        let mut bytes: Box<[u8]> = head.into();
        let field = |line: &httparse::Header<'_>| (span(line.name.as_bytes()), span(line.value));
        let mut fields: Box<[_]> = request.headers.iter().map(field).collect();
        for (name, _) in &fields {
            bytes[name.range()].make_ascii_lowercase();
        }
        fields.sort_by(|(a, _), (b, _)| bytes[a.range()].cmp(&bytes[b.range()]));
        let head = Self { bytes, method, target, is_http_11, fields };
        let mut hosts = head.values(b"host");
        // Which of two hosts is meant, or what a broken one means, is not for us to say (RFC 9112, 3.2).
        if hosts.next().is_some_and(|host| !host.iter().all(is_in_host)) || hosts.next().is_some() {
            return Err(Problem::Refused(Refusal(400)));
        }
        drop(hosts);
        Ok(head)
    }

    fn part(&self, span: Span) -> &[u8] {
        &self.bytes[span.range()]
    }

    pub(crate) fn method(&self) -> &[u8] {
        self.part(self.method)
    }

    /// The path, undecoded.
    pub(crate) fn path(&self) -> &[u8] {
        self.part(self.target.path)
    }

    /// Path and query.
    pub(crate) fn uri(&self) -> &[u8] {
        self.part(self.target.uri)
    }

    /// What follows the first `?`.
    pub(crate) fn query(&self) -> Option<&[u8]> {
        self.target.query.map(|query| self.part(query))
    }

    /// What follows the first `#`.
    pub(crate) fn fragment(&self) -> Option<&[u8]> {
        self.target.fragment.map(|fragment| self.part(fragment))
    }

    pub(crate) fn is_http_11(&self) -> bool {
        self.is_http_11
    }

    pub(crate) fn version(&self) -> &'static [u8] {
        if self.is_http_11 { b"HTTP/1.1" } else { b"HTTP/1.0" }
    }

    /// Header lines by name; those of one name follow each other.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.fields.iter().map(|(name, value)| (self.part(*name), self.part(*value)))
    }

    /// The values of a header, by its name in lower case.
    pub(crate) fn values(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
        let start = self.fields.partition_point(|(other, _)| self.part(*other) < name);
        let same = self.fields[start..].iter().take_while(move |(other, _)| self.part(*other) == name);
        same.map(|(_, value)| self.part(*value))
    }

    /// The first value of a header.
    pub(crate) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The host that the client asked for, without its port.
    pub(crate) fn host(&self) -> &[u8] {
        let host = self.value(b"host").unwrap_or_default();
        let digits = host.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let rest = &host[..host.len() - digits];
        rest.strip_suffix(b":").unwrap_or(host)
    }

    /// Whether a header is a list with this word, in any case.
    pub(crate) fn lists(&self, name: &[u8], word: &[u8]) -> bool {
        let mut items = self.values(name).flat_map(|value| value.split(|byte| *byte == b','));
        items.any(|item| item.trim_ascii().eq_ignore_ascii_case(word))
    }

    /// Whether the client expects the connection to stay open behind the answer.
    pub(crate) fn keeps_alive(&self) -> bool {
        match self.is_http_11 {
            true => !self.lists(b"connection", b"close"),
            false => self.lists(b"connection", b"keep-alive"),
        }
    }

    /// Whether this is a handshake by which a WebSocket begins.
    pub(crate) fn is_websocket(&self) -> bool {
        let contains = |value: &[u8]| value.to_ascii_lowercase().windows(7).any(|part| part == b"upgrade");
        self.value(b"upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
            && self.values(b"connection").any(contains)
            && self.value(b"host").is_some()
            && self.value(b"sec-websocket-key").is_some()
            && self.value(b"sec-websocket-version").is_some()
    }
}

/// The characters of names, addresses and ports (RFC 3986, 3.2).
fn is_in_host(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte)
}

enum Problem {
    TooManyHeaders,
    Refused(Refusal),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const RULES: Rules = Rules { header_count: 1280, relaxed: false };

    pub(crate) fn head(text: &str) -> Result<Head, Refusal> {
        Head::parse(text.as_bytes(), RULES)
    }

    #[test]
    fn a_head_is_kept_as_it_came_but_for_the_case_of_names() {
        let head =
            head("GET /a?b=c#d HTTP/1.1\r\nHost: A:80\r\nX-Y: 1\r\nAccept: */*\r\nx-y:  2\r\nE:\r\n\r\n")
                .unwrap();
        let fields: Vec<_> = head.fields().collect();
        let expected: [(&[u8], &[u8]); 5] =
            [(b"accept", b"*/*"), (b"e", b""), (b"host", b"A:80"), (b"x-y", b"1"), (b"x-y", b"2")];
        assert_eq!(fields, expected);
        assert_eq!((head.method(), head.path(), head.uri()), (&b"GET"[..], &b"/a"[..], &b"/a?b=c"[..]));
        assert_eq!((head.query(), head.fragment()), (Some(&b"b=c"[..]), Some(&b"d"[..])));
        assert_eq!((head.host(), head.version()), (&b"A"[..], &b"HTTP/1.1"[..]));
        assert_eq!(head.values(b"x-y").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!((head.value(b"absent"), head.value(b"e")), (None, Some(&b""[..])));
    }

    #[test]
    fn a_host_loses_its_port_only() {
        let host =
            |host: &str| head(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap().host().to_vec();
        assert_eq!(host("[::1]:80"), b"[::1]");
        assert_eq!(host("[::1]"), b"[::1]");
        assert_eq!(host("10.0.0.1"), b"10.0.0.1");
        assert_eq!(head("GET / HTTP/1.0\r\n\r\n").unwrap().host(), b"");
    }

    #[test]
    fn what_rfc_9112_forbids_is_refused() {
        let long = format!("{} / HTTP/1.1\r\n\r\n", "M".repeat(21));
        for text in [
            "get / HTTP/1.1\r\n\r\n",
            "GE-T / HTTP/1.1\r\n\r\n",
            &long,
            "GET / HTTP/2.0\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nA : b\r\n\r\n",
            "GET / HTTP/1.1\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET / HTTP/1.1\r\nA\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: b@a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        ] {
            assert_eq!(head(text).err(), Some(Refusal(400)), "{text:?}");
        }
    }

    #[test]
    fn header_lines_are_bounded() {
        let with = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert_eq!(head(&with(1280)).unwrap().fields().count(), 1280);
        assert_eq!(head(&with(1281)).err(), Some(Refusal(400)));
    }

    #[test]
    fn connections_stay_as_the_client_says() {
        let keeps = |text: &str| head(text).unwrap().keeps_alive();
        assert!(keeps("GET / HTTP/1.1\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
    }

    #[test]
    fn a_websocket_needs_all_its_headers() {
        let lines = [
            "Host: a",
            "Upgrade: WebSocket",
            "Connection: keep-alive, Upgrade",
            "Sec-WebSocket-Key: k",
            "Sec-WebSocket-Version: 13",
        ];
        let without = |left_out: usize| {
            let lines = lines.iter().enumerate().filter(|(at, _)| *at != left_out);
            let lines: String = lines.map(|(_, line)| format!("{line}\r\n")).collect();
            head(&format!("GET / HTTP/1.1\r\n{lines}\r\n")).unwrap().is_websocket()
        };
        assert!(without(5));
        assert!((0..5).all(|line| !without(line)));
    }
}
