//! Replies as Mongrel2 reads them, `UUID LEN:IDS, PAYLOAD`, and the HTTP responses inside.

use memchr::{memchr, memmem};

use crate::ledger::{ConnId, Token};
use crate::request::{IDENT, TOKEN_BYTES};

/// One message from the handler.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) conn_id: ConnId,
    /// `X`: for Mongrel2, not for the client.
    pub(crate) extended: bool,
    pub(crate) payload: &'a [u8],
}

/// One HTTP response of a payload; a handler may merge those to pipelined requests.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl<'a> Reply<'a> {
    /// Takes a message apart; `None` for what Mongrel2 would refuse, or what no benchmark asks for (several targets).
    pub(crate) fn parse(message: &'a [u8]) -> Option<Reply<'a>> {
        let rest = message.strip_prefix(IDENT.as_bytes())?.strip_prefix(b" ")?;
        let colon = memchr(b':', rest)?;
        let length = usize::try_from(decimal(&rest[..colon])?).ok()?;
        let ids = rest.get(colon + 1..colon + 1 + length)?;
        let payload = rest[colon + 1 + length..].strip_prefix(b", ")?;
        let (extended, ids) = match ids.strip_prefix(b"X ") {
            // Keep-alives may have many targets; nobody asks which.
            Some(_) => (true, &b"0"[..]),
            None => (false, ids),
        };
        let conn_id = ConnId(u32::try_from(decimal(ids)?).ok()?);
        Some(Reply { conn_id, extended, payload })
    }
}

impl<'a> Response<'a> {
    /// Splits the first response off `payload` and returns it with what follows; `None` if it is no whole response.
    pub(crate) fn parse(payload: &'a [u8]) -> Option<(Response<'a>, &'a [u8])> {
        let head_end = memmem::find(payload, b"\r\n\r\n")? + 4;
        let (head, rest) = payload.split_at(head_end);
        let status = decimal(head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?)?;
        let length = usize::try_from(content_length(head)?).ok()?;
        let body = rest.get(..length)?;
        Some((Response { status: u16::try_from(status).ok()?, body }, &rest[length..]))
    }

    /// Splits a WebSocket's text frame off `payload`, which counts as a response of status 200.
    pub(crate) fn parse_frame(payload: &'a [u8]) -> Option<(Response<'a>, &'a [u8])> {
        let [0x81, size @ ..=125, rest @ ..] = payload else { return None };
        let (body, rest) = rest.split_at_checked(usize::from(*size))?;
        Some((Response { status: 200, body }, rest))
    }

    /// Splits a WebSocket's ping off `payload`; its own payload comes first.
    pub(crate) fn parse_ping(payload: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let [0x89, size @ ..=125, rest @ ..] = payload else { return None };
        rest.split_at_checked(usize::from(*size))
    }

    /// The token that the handler echoed.
    pub(crate) fn token(&self) -> Option<Token> {
        (self.body.len() == TOKEN_BYTES).then(|| decimal(self.body).map(Token)).flatten()
    }
}

fn content_length(head: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"content-length: ";
    // In whatever case: the header's name begins a line.
    let mut rest = head;
    loop {
        let line_end = memmem::find(rest, b"\r\n")?;
        let (name, value) = rest[..line_end].split_at(line_end.min(NAME.len()));
        if name.eq_ignore_ascii_case(NAME) {
            return decimal(value);
        }
        rest = &rest[line_end + 2..];
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits
        .iter()
        .try_fold(0, |number, &digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}
