//! The messages that handlers get, with their headers in Mongrel2's order.

use crate::head::Head;
use crate::peer::Peer;
use mongrel2_conf::model::{self, Handler};
use mongrel2_wire::Protocol;
use mongrel2_wire::compose::Writer;

/// The name in front of headers that only servers of this kind may set.
const OURS: &[u8] = b"x-mongrel2-";
const FORWARDED_FOR: &[u8] = b"x-forwarded-for";
/// The path of messages about a connection.
const ABOUT: &[u8] = b"@*";

/// Where a message goes: the handler, and the id of the client's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct To<'a> {
    pub(crate) handler: &'a Handler,
    pub(crate) id: i64,
}

impl To<'_> {
    fn protocol(&self) -> Protocol {
        match self.handler.protocol {
            model::Protocol::Json => Protocol::Json,
            model::Protocol::Tnetstring => Protocol::Tnetstring,
        }
    }

    fn write(&self, path: &[u8], headers: impl FnOnce(&mut Writer<'_>), body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + body.len());
        let mut writer = Writer::begin(&mut out, &self.handler.send_ident, self.id, path, self.protocol());
        headers(&mut writer);
        writer.finish(body);
        out
    }

    /// A message with headers that no order is known for.
    fn write_pairs(&self, path: &[u8], pairs: &[(&[u8], &[u8])], body: &[u8]) -> Vec<u8> {
        let is_json = self.protocol() == Protocol::Json;
        let headers = |writer: &mut Writer<'_>| match is_json {
            true => pairs.iter().for_each(|(name, value)| writer.header(name, value)),
            false => pairs.iter().rev().for_each(|(name, value)| writer.header(name, value)),
        };
        self.write(path, headers, body)
    }

    /// The connection is gone.
    pub(crate) fn disconnect(&self) -> Vec<u8> {
        self.write_pairs(ABOUT, &[(b"METHOD", b"JSON")], br#"{"type":"disconnect"}"#)
    }

    /// Tells how many bytes of a reply were written.
    pub(crate) fn credits(&self, bytes: u64) -> Vec<u8> {
        let bytes = bytes.to_string();
        let pairs: [(&[u8], &[u8]); 2] = [(b"METHOD", b"JSON"), (b"DOWNLOAD_CREDITS", bytes.as_bytes())];
        self.write_pairs(ABOUT, &pairs, br#"{"type":"credits"}"#)
    }

    /// A part of a streamed body that begins at `offset`.
    pub(crate) fn part(&self, path: &[u8], offset: u64, is_last: bool, data: &[u8]) -> Vec<u8> {
        let offset = offset.to_string();
        let pairs: [(&[u8], &[u8]); 2] =
            [(b"UPLOAD_STREAM", offset.as_bytes()), (b"UPLOAD_STREAM_DONE", b"1")];
        self.write_pairs(path, &pairs[..1 + usize::from(is_last)], data)
    }

    /// A message of a JSON or XML socket.
    pub(crate) fn socket(&self, about: &About<'_>, path: &[u8], body: &[u8]) -> Vec<u8> {
        let address = about.peer.address.as_bytes();
        let mut pairs: Vec<(&[u8], &[u8])> = vec![
            (b"PATH", path),
            (FORWARDED_FOR, address),
            (b"METHOD", about.method),
            (b"PATTERN", about.pattern),
            (b"URL_SCHEME", about.peer.scheme()),
            (b"REMOTE_ADDR", address),
        ];
        if self.protocol() == Protocol::Tnetstring {
            pairs = [5, 2, 4, 3, 0, 1].map(|at| pairs[at]).to_vec();
            pairs.reverse();
        }
        self.write_pairs(path, &pairs, body)
    }

    /// A request, a handshake or a frame.
    pub(crate) fn request(&self, about: &About<'_>, head: &Head, body: &[u8]) -> Vec<u8> {
        let write = match self.protocol() {
            Protocol::Json => write_json,
            Protocol::Tnetstring => write_tnetstring,
        };
        self.write(head.path(), |writer| write(writer, about, head), body)
    }
}

/// What a message says besides the head of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) peer: &'a Peer,
    /// The key of the route.
    pub(crate) pattern: &'a [u8],
    /// The request's method, or what Mongrel2 writes in its place.
    pub(crate) method: &'a [u8],
    /// Headers of our own.
    pub(crate) more: &'a [(&'a [u8], &'a [u8])],
    /// `X-Forwarded-For` stays as the client sent it.
    pub(crate) keeps_forwarded_for: bool,
}

fn write_json(writer: &mut Writer<'_>, about: &About<'_>, head: &Head) {
    let address = about.peer.address.as_bytes();
    writer.header(b"PATH", head.path());
    if !about.keeps_forwarded_for {
        writer.header(FORWARDED_FOR, address);
    }
    write_fields(writer, about, head);
    write_more(writer, about);
    writer.header(b"METHOD", about.method);
    writer.header(b"VERSION", head.version());
    writer.header(b"URI", head.uri());
    head.query().into_iter().for_each(|query| writer.header(b"QUERY", query));
    head.fragment().into_iter().for_each(|fragment| writer.header(b"FRAGMENT", fragment));
    writer.header(b"PATTERN", about.pattern);
    writer.header(b"URL_SCHEME", about.peer.scheme());
    writer.header(b"REMOTE_ADDR", address);
}

fn write_tnetstring(writer: &mut Writer<'_>, about: &About<'_>, head: &Head) {
    let address = about.peer.address.as_bytes();
    writer.header(b"REMOTE_ADDR", address);
    writer.header(b"METHOD", about.method);
    writer.header(b"URL_SCHEME", about.peer.scheme());
    writer.header(b"PATTERN", about.pattern);
    head.fragment().into_iter().for_each(|fragment| writer.header(b"FRAGMENT", fragment));
    head.query().into_iter().for_each(|query| writer.header(b"QUERY", query));
    writer.header(b"URI", head.uri());
    writer.header(b"VERSION", head.version());
    writer.header(b"PATH", head.path());
    write_fields(writer, about, head);
    write_more(writer, about);
    if !about.keeps_forwarded_for {
        writer.header(FORWARDED_FOR, address);
    }
}

/// All headers of a head and its QUERY, as a message in tnetstrings has them.
pub(crate) fn header_block(head: &Head) -> Vec<u8> {
    let mut message = Vec::new();
    let mut writer = Writer::begin(&mut message, "", 0, b"", Protocol::Tnetstring);
    head.query().into_iter().for_each(|query| writer.header(b"QUERY", query));
    write_grouped(&mut writer, head.fields());
    writer.finish(b"");
    // `SENDER ID PATH SIZE:BLOCK}0:,`
    let block = memchr::memchr(b':', &message).map_or(0, |colon| colon + 1);
    message[block..message.len() - b"}0:,".len()].to_vec()
}

/// The client's headers: those that it may set.
fn write_fields(writer: &mut Writer<'_>, about: &About<'_>, head: &Head) {
    let is_allowed = |(name, _): &(&[u8], &[u8])| {
        !name.starts_with(OURS) && (about.keeps_forwarded_for || *name != FORWARDED_FOR)
    };
    write_grouped(writer, head.fields().filter(is_allowed));
}

/// Headers, of which those with one name follow each other.
fn write_grouped<'a>(writer: &mut Writer<'_>, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    let mut fields = fields.peekable();
    while let Some((name, value)) = fields.next() {
        if fields.peek().is_none_or(|(next, _)| *next != name) {
            writer.header(name, value);
            continue;
        }
        let mut values = vec![value];
        while let Some((_, value)) = fields.next_if(|(next, _)| *next == name) {
            values.push(value);
        }
        writer.headers(name, values);
    }
}

fn write_more(writer: &mut Writer<'_>, about: &About<'_>) {
    about.more.iter().for_each(|(name, value)| writer.header(name, value));
    if let Some(certificate) = &about.peer.certificate {
        writer.header(b"PEER_CERT_SHA1", certificate.sha1.as_bytes());
        writer.header(b"PEER_CERT_SHA256", certificate.sha256.as_bytes());
    }
}
