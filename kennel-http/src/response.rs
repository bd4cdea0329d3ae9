//! A response to bytes: status line, the hub's own headers, the script's, the body.

#[cfg(doc)]
use super::HeadLines;
use super::fields;
use super::persistence::Persistence;
use super::status::reason;

/// A response about to be written.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// 200 to 999.
    pub status: u16,
    /// Header lines, each ended by CR LF. A [reason](HeadLines::with_reason) of the script's own may come first.
    pub head: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// What the request demands of the way a response is written.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    /// HEAD: the headers of the GET, no body.
    pub head_only: bool,
    /// What happens to the connection.
    pub persistence: Persistence,
    /// The Date header's value (RFC 9110, 6.6.1).
    pub date: &'a str,
}

impl Response<'_> {
    /// Appends the response to `out` and says what then happens to the connection: a script that
    /// sends `connection: close` has the last word.
    pub fn encode(&self, out: &mut Vec<u8>, form: Form<'_>) -> Persistence {
        out.reserve(self.head.len() + self.body.len() + 160);
        let head = begin(out, self.status, self.head, form.date);
        out.extend_from_slice(head);
        // RFC 9110, 8.6: neither has a body, and a 304 may not claim a length it does not know.
        let bodiless = matches!(self.status, 204 | 304);
        if !bodiless {
            out.extend_from_slice(b"Content-Length: ");
            out.extend_from_slice(itoa::Buffer::new().format(self.body.len()).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        let persistence = end(out, head, form.persistence);
        if !bodiless && !form.head_only {
            out.extend_from_slice(self.body);
        }
        persistence
    }
}

/// Appends the status line, and a date unless the script has one. Returns the script's header lines.
pub(super) fn begin<'a>(out: &mut Vec<u8>, status: u16, head: &'a [u8], date: &str) -> &'a [u8] {
    let (own_reason, head) = fields::split_reason(head);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(own_reason.unwrap_or_else(|| reason(status).as_bytes()));
    out.extend_from_slice(b"\r\n");
    if fields::find(head, b"date").is_none() {
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(date.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    head
}

/// Appends what the client is to know of its connection, and the line that ends the head. Says what then happens
/// to the connection.
pub(super) fn end(out: &mut Vec<u8>, head: &[u8], persistence: Persistence) -> Persistence {
    let says_close = fields::find(head, b"connection").map(|v| v.eq_ignore_ascii_case(b"close"));
    let persistence = if says_close == Some(true) { Persistence::Close } else { persistence };
    match (persistence, says_close) {
        (Persistence::KeepAlive, None) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (Persistence::Close, None) => out.extend_from_slice(b"Connection: close\r\n"),
        _ => {}
    }
    out.extend_from_slice(b"\r\n");
    persistence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeadLines;

    fn written(status: u16, head: &str, body: &str, head_only: bool, persistence: Persistence) -> String {
        let mut out = Vec::new();
        let form = Form { head_only, persistence, date: "D" };
        Response { status, head: head.as_bytes(), body: body.as_bytes() }.encode(&mut out, form);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_response_has_length_and_date() {
        assert_eq!(
            written(200, "x: y\r\n", "hi", false, Persistence::Open),
            "HTTP/1.1 200 OK\r\nDate: D\r\nx: y\r\nContent-Length: 2\r\n\r\nhi"
        );
    }

    #[test]
    fn a_reason_of_the_scripts_own_stands_in_the_status_line() {
        let reason = |reason: &[u8]| {
            let mut lines = HeadLines::with_reason(404, reason).unwrap();
            lines.push(b"x", b"y").unwrap();
            let head = String::from_utf8_lossy(lines.as_bytes()).into_owned();
            let text = written(404, &head, "", false, Persistence::Open);
            text.split("Content-Length").next().unwrap().to_owned()
        };
        assert_eq!(reason(b"NOT HERE"), "HTTP/1.1 404 NOT HERE\r\nDate: D\r\nx: y\r\n");
        for usual in [&b"Not Found"[..], b""] {
            assert_eq!(reason(usual), "HTTP/1.1 404 Not Found\r\nDate: D\r\nx: y\r\n");
        }
        for bad in ["a\r\nSet-Cookie: x", "a\nb", "a\0", "a\tb", "a\u{7f}"] {
            let problem = HeadLines::with_reason(404, bad.as_bytes()).unwrap_err().to_string();
            assert!(problem.starts_with("the reason phrase `a"), "{problem}");
        }
        // What a worker of another make sends.
        let text = written(404, ":reason a\u{1b}b\r\nx: y\r\n", "", false, Persistence::Open);
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\nDate: D\r\nx: y\r\n"), "{text}");
    }

    #[test]
    fn a_date_of_the_scripts_own_is_the_only_one() {
        let text = written(200, "date: D2\r\n", "", false, Persistence::Open);
        assert_eq!(text.to_lowercase().matches("date:").count(), 1);
    }

    #[test]
    fn head_has_the_length_of_get_and_no_body() {
        let text = written(200, "", "hello", true, Persistence::Open);
        assert!(text.ends_with("Content-Length: 5\r\n\r\n"));
    }

    #[test]
    fn no_content_has_neither_length_nor_body() {
        for status in [204, 304] {
            let text = written(status, "", "ignored", false, Persistence::Open);
            assert!(text.ends_with("Date: D\r\n\r\n"), "{text}");
        }
    }

    #[test]
    fn the_connection_header_tells_what_will_happen() {
        assert!(written(200, "", "", false, Persistence::Close).contains("Connection: close\r\n"));
        assert!(written(200, "", "", false, Persistence::KeepAlive).contains("Connection: keep-alive\r\n"));
        let mut out = Vec::new();
        let form = Form { head_only: false, persistence: Persistence::Open, date: "D" };
        let response = Response { status: 200, head: b"Connection: Close\r\n", body: b"" };
        assert_eq!(response.encode(&mut out, form), Persistence::Close);
    }
}
