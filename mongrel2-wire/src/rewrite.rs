//! Writes a message again with other values for some of its headers, or for another path.

use crate::envelope::Envelope;
use crate::headers::{Protocol, Values};
use crate::netstring;
use std::io::Write;

/// Another value for a header; `None` leaves the header out.
pub type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// The message of `envelope` with these changes. A header that the message does not have is added. Each name stands in
/// `changes` once. `None`: there are no changes, or the header block cannot be read to its end.
///
/// ```
/// use mongrel2_wire::{Envelope, rewrite};
///
/// let message = b"m2 7 /hi 35:{\"METHOD\":\"GET\",\"host\":\"a\",\"x\":\"1\"},0:,";
/// let envelope = Envelope::parse(message)?;
/// let changed = rewrite::with_headers(&envelope, &[(b"host", Some(b"b")), (b"x", None)]);
/// assert_eq!(changed.unwrap(), b"m2 7 /hi 27:{\"METHOD\":\"GET\",\"host\":\"b\"},0:,");
/// # Ok::<(), mongrel2_wire::EnvelopeError>(())
/// ```
pub fn with_headers(envelope: &Envelope<'_>, changes: &[Change<'_>]) -> Option<Vec<u8>> {
    if changes.is_empty() {
        return None;
    }
    with_path(envelope, envelope.path, changes)
}

/// The same for another path, which the message's PATH does not follow by itself.
pub(crate) fn with_path(envelope: &Envelope<'_>, path: &[u8], changes: &[Change<'_>]) -> Option<Vec<u8>> {
    let mut block = Block { protocol: envelope.headers.protocol(), bytes: Vec::new() };
    let mut is_added = vec![true; changes.len()];
    for header in envelope.headers.iter() {
        let (name, values) = header.ok()?;
        match changes.iter().position(|(changed, _)| *changed == name) {
            Some(at) => {
                let value = changes[at].1.filter(|_| std::mem::take(&mut is_added[at]));
                value.into_iter().for_each(|value| block.push(name, value));
            }
            None => block.copy(name, values),
        }
    }
    for ((name, value), is_added) in changes.iter().zip(is_added) {
        value.filter(|_| is_added).into_iter().for_each(|value| block.push(name, value));
    }

    let mut out = Vec::with_capacity(block.bytes.len() + envelope.body.len() + path.len() + 80);
    let written = write!(out, "{} {} ", envelope.sender, envelope.conn_id);
    written.expect("a Vec takes all that is written");
    out.extend_from_slice(path);
    out.push(b' ');
    block.finish(&mut out);
    netstring::encode(&mut out, envelope.body);
    Some(out)
}

/// The header block that is being written.
struct Block {
    protocol: Protocol,
    bytes: Vec<u8>,
}

impl Block {
    fn copy(&mut self, name: &[u8], values: Values<'_>) {
        let is_one = matches!(values, Values::One(_));
        let mut items: Vec<_> = values.iter().map(|text| text.bytes()).collect();
        if is_one && let Some(only) = items.pop() {
            return self.push(name, &only);
        }
        self.begin(name);
        match self.protocol {
            Protocol::Tnetstring => {
                let mut list = Vec::new();
                items.iter().for_each(|item| netstring::encode(&mut list, item));
                netstring::encode_marked(&mut self.bytes, &list, b']');
            }
            Protocol::Json => {
                for (at, item) in items.iter().enumerate() {
                    self.bytes.push(if at == 0 { b'[' } else { b',' });
                    self.push_quoted(item);
                }
                self.bytes.extend_from_slice(if items.is_empty() { b"[]" } else { b"]" });
            }
        }
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        self.begin(name);
        match self.protocol {
            Protocol::Tnetstring => netstring::encode(&mut self.bytes, value),
            Protocol::Json => self.push_quoted(value),
        }
    }

    fn begin(&mut self, name: &[u8]) {
        match self.protocol {
            Protocol::Tnetstring => netstring::encode(&mut self.bytes, name),
            Protocol::Json => {
                self.bytes.push(if self.bytes.is_empty() { b'{' } else { b',' });
                self.bytes.push(b'"');
                self.bytes.extend_from_slice(name);
                self.bytes.extend_from_slice(b"\":");
            }
        }
    }

    fn push_quoted(&mut self, value: &[u8]) {
        self.bytes.push(b'"');
        for byte in value {
            if matches!(byte, b'"' | b'\\') {
                self.bytes.push(b'\\');
            }
            self.bytes.push(*byte);
        }
        self.bytes.push(b'"');
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        match self.protocol {
            Protocol::Tnetstring => netstring::encode_marked(out, &self.bytes, b'}'),
            Protocol::Json => {
                self.bytes.extend_from_slice(if self.bytes.is_empty() { b"{}" } else { b"}" });
                netstring::encode(out, &self.bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restated(message: &[u8], changes: &[Change<'_>]) -> Vec<u8> {
        with_headers(&Envelope::parse(message).unwrap(), changes).unwrap()
    }

    /// A message around this header block.
    fn message(block: &str, mark: char) -> Vec<u8> {
        format!("m2 7 /a {}:{block}{mark}2:ok,", block.len()).into_bytes()
    }

    fn shown(message: &[u8]) -> String {
        message.escape_ascii().to_string()
    }

    #[test]
    fn what_is_not_changed_stays_as_it_is() {
        for message in [
            message("6:METHOD,3:GET,1:x,8:1:a,1:b,]4:host,5:a\"b\\c,", '}'),
            message("", '}'),
            message(r#"{"METHOD":"GET","x":["a","b\"c"],"host":"a\"b\\c","y":[]}"#, ','),
            message("{}", ','),
        ] {
            let envelope = Envelope::parse(&message).unwrap();
            assert!(envelope.headers.iter().all(|header| header.is_ok()), "{}", shown(&message));
            assert_eq!(shown(&restated(&message, &[(b"absent", None)])), shown(&message));
            assert_eq!(with_headers(&envelope, &[]), None);
        }
    }

    #[test]
    fn a_header_block_that_breaks_off_is_left_to_others() {
        let message = message("6:METHOD,3:GET,4:host,9:", '}');
        let envelope = Envelope::parse(&message).unwrap();
        assert_eq!(with_headers(&envelope, &[(b"METHOD", Some(b"POST"))]), None);
    }

    #[test]
    fn headers_are_changed_added_and_left_out_in_both_forms() {
        let changes: [Change<'_>; 4] =
            [(b"host", Some(b"b")), (b"x", None), (b"URL_SCHEME", Some(b"https")), (b"absent", None)];
        let changed = restated(&message("6:METHOD,3:GET,1:x,8:1:a,1:b,]4:host,4:a\"bc,", '}'), &changes);
        assert_eq!(shown(&changed), shown(&message("6:METHOD,3:GET,4:host,1:b,10:URL_SCHEME,5:https,", '}')));
        let changed = restated(&message(r#"{"METHOD":"GET","x":["a","b"],"host":"a"}"#, ','), &changes);
        let expected = message(r#"{"METHOD":"GET","host":"b","URL_SCHEME":"https"}"#, ',');
        assert_eq!(shown(&changed), shown(&expected));
    }
}
