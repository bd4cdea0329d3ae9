//! Writes messages as Mongrel2 writes them to its handlers: the opposite of [`Envelope`](crate::Envelope).
//!
//! A [`Writer`] appends to one buffer and allocates nothing itself. The size of the header block comes before the block,
//! so the block is moved by the width of its size when it is complete.

use crate::headers::Protocol;
use crate::netstring;

/// Writes one message. Nothing is checked: the caller has made sure that the sender is `[A-Za-z0-9-]+`, that the path has
/// no space and that no header name needs an escape.
///
/// ```
/// use mongrel2_wire::{Protocol, compose};
///
/// let mut out = Vec::new();
/// let mut message = compose::Writer::begin(&mut out, "m2", 7, b"/hi", Protocol::Json);
/// message.header(b"METHOD", b"GET");
/// message.headers(b"cookie", [b"a=\"1\"", b"b=234"]);
/// message.finish(b"ok");
/// assert_eq!(out, br#"m2 7 /hi 45:{"METHOD":"GET","cookie":["a=\"1\"","b=234"]},2:ok,"#);
/// ```
#[derive(Debug)]
#[must_use = "a message is complete when `finish` has written its body"]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
    /// Where the header block begins.
    block: usize,
}

impl<'a> Writer<'a> {
    /// Appends the beginning of a message: `SENDER CONN_ID PATH `.
    #[inline]
    pub fn begin(out: &'a mut Vec<u8>, sender: &str, conn_id: i64, path: &[u8], protocol: Protocol) -> Self {
        out.extend_from_slice(sender.as_bytes());
        out.push(b' ');
        out.extend_from_slice(itoa::Buffer::new().format(conn_id).as_bytes());
        out.push(b' ');
        out.extend_from_slice(path);
        out.push(b' ');
        let block = out.len();
        Self { out, protocol, block }
    }

    /// Appends a header with one value.
    #[inline]
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        self.name(name);
        self.value(value);
    }

    /// Appends a header with all its values: a string for one value, a list for any other number.
    pub fn headers<V: AsRef<[u8]>>(&mut self, name: &[u8], values: impl IntoIterator<Item = V>) {
        let mut values = values.into_iter();
        let (first, second) = (values.next(), values.next());
        if let (Some(only), None) = (&first, &second) {
            return self.header(name, only.as_ref());
        }
        self.name(name);
        let list = self.out.len();
        if self.protocol == Protocol::Json {
            self.out.push(b'[');
        }
        for (at, value) in first.into_iter().chain(second).chain(values).enumerate() {
            if at > 0 && self.protocol == Protocol::Json {
                self.out.push(b',');
            }
            self.value(value.as_ref());
        }
        match self.protocol {
            Protocol::Json => self.out.push(b']'),
            Protocol::Tnetstring => netstring::enclose(self.out, list, b']'),
        }
    }

    /// Appends the end of the header block and the body. The message is complete.
    pub fn finish(self, body: &[u8]) {
        self.finish_parts(&[body]);
    }

    /// The same for a body that lies in several pieces.
    pub fn finish_parts(self, body: &[&[u8]]) {
        let Self { out, protocol, block } = self;
        match protocol {
            Protocol::Json => {
                out.extend_from_slice(if out.len() == block { b"{}" } else { b"}" });
                netstring::enclose(out, block, b',');
            }
            Protocol::Tnetstring => netstring::enclose(out, block, b'}'),
        }
        let size: usize = body.iter().map(|piece| piece.len()).sum();
        out.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
        out.push(b':');
        body.iter().for_each(|piece| out.extend_from_slice(piece));
        out.push(b',');
    }

    #[inline]
    fn name(&mut self, name: &[u8]) {
        match self.protocol {
            Protocol::Tnetstring => netstring::encode(self.out, name),
            Protocol::Json => {
                let is_first = self.out.len() == self.block;
                self.out.extend_from_slice(if is_first { b"{\"" } else { b",\"" });
                self.out.extend_from_slice(name);
                self.out.extend_from_slice(b"\":");
            }
        }
    }

    #[inline]
    fn value(&mut self, value: &[u8]) {
        match self.protocol {
            Protocol::Tnetstring => netstring::encode(self.out, value),
            Protocol::Json => {
                self.out.push(b'"');
                let mut from = 0;
                for at in memchr::memchr2_iter(b'"', b'\\', value) {
                    self.out.extend_from_slice(&value[from..at]);
                    self.out.push(b'\\');
                    from = at;
                }
                self.out.extend_from_slice(&value[from..]);
                self.out.push(b'"');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Envelope;

    fn written(protocol: Protocol, write: impl FnOnce(Writer<'_>)) -> Vec<u8> {
        let mut out = b"before".to_vec();
        write(Writer::begin(&mut out, "m2", -1, b"@*", protocol));
        out.split_off(6)
    }

    #[test]
    fn a_message_without_headers_has_an_empty_block() {
        assert_eq!(written(Protocol::Json, |message| message.finish(b"")), b"m2 -1 @* 2:{},0:,");
        assert_eq!(written(Protocol::Tnetstring, |message| message.finish(b"")), b"m2 -1 @* 0:}0:,");
    }

    #[test]
    fn any_bytes_of_a_value_come_back() {
        let all: Vec<u8> = (1..=255).collect();
        for protocol in [Protocol::Json, Protocol::Tnetstring] {
            let message = written(protocol, |mut message| {
                message.header(b"one", &all);
                message.headers(b"many", [&b"\\"[..], b"\"\"", b""]);
                message.headers(b"none", [b""; 0]);
                message.finish_parts(&[b"a,", b"", b"b\0"]);
            });
            let got = Envelope::parse(&message).unwrap();
            let values = |name: &[u8]| -> Vec<Vec<u8>> {
                got.headers.get(name).unwrap().iter().map(|value| value.as_sent().into_owned()).collect()
            };
            assert_eq!((values(b"one"), got.body), (vec![all.clone()], &b"a,b\0"[..]));
            assert_eq!(values(b"many"), [&b"\\"[..], b"\"\"", b""]);
            assert!(values(b"none").is_empty());
        }
    }
}
