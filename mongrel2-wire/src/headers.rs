//! The header block of a message, read in place.
//!
//! **Tnetstring** is a dict of strings and lists of strings, any bytes inside.
//!
//! **JSON** is Mongrel2's own idea of it: values escape `"` and `\` with a backslash and nothing
//! else, keys escape nothing, control bytes and bytes that are no UTF-8 pass as they came. So a
//! JSON parser fails on what any client can send. The exact decoder is: between quotes, a
//! backslash means "the next byte as it is"; everything else is itself.
//!
//! [`Headers`] is a slice and the knowledge of its form; iterating costs two length reads a
//! header, and nothing is unescaped before somebody asks for the value.

use crate::netstring;
use std::borrow::Cow;
use thiserror::Error;

/// How a Handler's headers are written, its `protocol` in Mongrel2's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// JSON as Mongrel2 writes it: a backslash escapes the next byte, and nothing else is escaped.
    Json,
    /// A tnetstring dict.
    Tnetstring,
}

impl Protocol {
    /// `json` or `tnetstring`, as in Mongrel2's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Tnetstring => "tnetstring",
        }
    }
}

/// A header block that nobody has read yet.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    protocol: Protocol,
    block: &'a [u8],
}

/// Why a header block cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{problem} (byte {offset} of the headers)")]
pub struct HeaderError {
    /// Offset in the header block.
    pub offset: usize,
    /// What was expected there.
    pub problem: &'static str,
}

/// One header value, perhaps still with Mongrel2's backslashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl Text<'static> {
    /// The empty value.
    pub(crate) const fn empty() -> Self {
        Self { raw: b"", escaped: false }
    }
}

impl<'a> Text<'a> {
    /// The value's bytes as the client sent them, without spaces and tabs around them: those are not part of a field
    /// value (RFC 9110, 5.5), and Mongrel2 removes only the leading ones.
    #[inline]
    pub fn bytes(self) -> Cow<'a, [u8]> {
        Self { raw: without_blanks(self.raw), ..self }.as_sent()
    }

    /// The same with the spaces and tabs at its end, for people who look at the message.
    #[inline]
    pub fn as_sent(self) -> Cow<'a, [u8]> {
        let raw = self.raw;
        if !self.escaped {
            return Cow::Borrowed(raw);
        }
        let mut out = Vec::with_capacity(raw.len());
        let mut bytes = raw.iter();
        while let Some(&byte) = bytes.next() {
            out.push(if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
        }
        Cow::Owned(out)
    }
}

/// A field value without the spaces and tabs around it.
#[inline]
fn without_blanks(mut raw: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = raw {
        raw = rest;
    }
    raw
}

/// The values of one header: one, or a list of two to five (Mongrel2 drops the sixth).
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// A header that came once.
    One(Text<'a>),
    /// A header that came several times.
    Many(List<'a>),
}

/// Several values of one header, checked when the header was read.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    protocol: Protocol,
    items: &'a [u8],
}

impl<'a> Values<'a> {
    /// The first value; an empty list has none.
    #[inline]
    pub fn first(&self) -> Option<Text<'a>> {
        self.iter().next()
    }

    /// All values, in order.
    #[inline]
    pub fn iter(&self) -> ValueIter<'a> {
        match *self {
            Values::One(text) => ValueIter { one: Some(text), list: None },
            Values::Many(list) => ValueIter { one: None, list: Some(list) },
        }
    }

    /// The value, when there is exactly one.
    pub fn single(&self) -> Option<Text<'a>> {
        let mut all = self.iter();
        all.next().filter(|_| all.next().is_none())
    }
}

/// The values of one header, in order.
#[derive(Debug, Clone)]
pub struct ValueIter<'a> {
    one: Option<Text<'a>>,
    list: Option<List<'a>>,
}

impl<'a> Iterator for ValueIter<'a> {
    type Item = Text<'a>;

    #[inline]
    fn next(&mut self) -> Option<Text<'a>> {
        if let Some(text) = self.one.take() {
            return Some(text);
        }
        let list = self.list.as_mut()?;
        match list.protocol {
            Protocol::Tnetstring => {
                let (raw, rest) = netstring::parse(list.items).ok()?;
                list.items = rest;
                Some(Text { raw, escaped: false })
            }
            Protocol::Json => {
                let (text, rest) = json_string(list.items).ok()?;
                list.items = rest.strip_prefix(b",").unwrap_or(rest);
                Some(text)
            }
        }
    }
}

impl<'a> Headers<'a> {
    /// Wraps the inside of a header block: without its length, colon and type.
    pub fn new(protocol: Protocol, block: &'a [u8]) -> Self {
        Self { protocol, block }
    }

    /// Which form the block has.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// All headers in wire order, each with its name's bytes. Stops after the first error.
    #[inline]
    pub fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { protocol: self.protocol, block: self.block, at: 0, done: false }
    }

    /// The values of `name`, compared byte by byte: client headers are in lower case, Mongrel2's
    /// own in upper case. `None` when it is absent or the block breaks before it.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<Values<'a>> {
        if self.protocol == Protocol::Tnetstring {
            return self.get_tnetstring(name);
        }
        self.iter().map_while(Result::ok).find(|(key, _)| *key == name).map(|(_, values)| values)
    }
}

impl<'a> Headers<'a> {
    /// Hands every header to `sink`, as [`iter`](Self::iter) would, without its bookkeeping: the way of
    /// every request through the hub. `false`: something is wrong, and `iter` says what and where.
    #[inline]
    pub(crate) fn each_plain(&self, mut sink: impl FnMut(&'a [u8], Values<'a>)) -> bool {
        if self.protocol != Protocol::Tnetstring {
            return false;
        }
        let mut left = self.block;
        while !left.is_empty() {
            let Ok((name, b',', rest)) = netstring::parse_marked(left) else { return false };
            let Ok((raw, mark, rest)) = netstring::parse_marked(rest) else { return false };
            left = rest;
            match mark {
                b',' => sink(name, Values::One(Text { raw, escaped: false })),
                b']' => {
                    let mut items = raw;
                    while !items.is_empty() {
                        let Ok((_, after)) = netstring::parse(items) else { return false };
                        items = after;
                    }
                    sink(name, Values::Many(List { protocol: self.protocol, items: raw }));
                }
                _ => return false,
            }
        }
        true
    }

    /// Skips from header to header by their sizes, and looks at nothing but names of the right size.
    fn get_tnetstring(&self, name: &[u8]) -> Option<Values<'a>> {
        let mut left = self.block;
        while !left.is_empty() {
            let (key, _, rest) = netstring::parse_marked(left).ok()?;
            if key.len() == name.len() && key == name {
                let found = HeaderIter { protocol: self.protocol, block: left, at: 0, done: false };
                return found.map_while(Result::ok).next().map(|(_, values)| values);
            }
            let (_, _, rest) = netstring::parse_marked(rest).ok()?;
            left = rest;
        }
        None
    }
}

/// Walks a header block.
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    protocol: Protocol,
    block: &'a [u8],
    at: usize,
    done: bool,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Result<(&'a [u8], Values<'a>), HeaderError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = match self.protocol {
            Protocol::Tnetstring => self.next_tnetstring(),
            Protocol::Json => self.next_json(),
        };
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

type Item<'a> = Result<(&'a [u8], Values<'a>), HeaderError>;

impl<'a> HeaderIter<'a> {
    #[inline]
    fn next_tnetstring(&mut self) -> Option<Item<'a>> {
        if self.block.is_empty() {
            return None;
        }
        let size = self.block.len();
        let fail = |offset, problem| Some(Err(HeaderError { offset, problem }));
        let (name, rest) = match netstring::parse(self.block) {
            Ok(found) => found,
            Err(e) => return fail(self.at + e.offset(), "a header name must be a netstring"),
        };
        let value_at = self.at + size - rest.len();
        let (data, mark, rest) = match netstring::parse_marked(rest) {
            Ok(found) => found,
            Err(e) => return fail(value_at + e.offset(), "a header value must be a tnetstring"),
        };
        let values = match mark {
            b',' => Values::One(Text { raw: data, escaped: false }),
            b']' => {
                let mut left = data;
                while !left.is_empty() {
                    match netstring::parse(left) {
                        Ok((_, after)) => left = after,
                        Err(_) => return fail(value_at, "a header list must hold strings"),
                    }
                }
                Values::Many(List { protocol: self.protocol, items: data })
            }
            _ => return fail(value_at, "a header value must be a string or a list of strings"),
        };
        self.at += size - rest.len();
        self.block = rest;
        Some(Ok((name, values)))
    }

    fn next_json(&mut self) -> Option<Item<'a>> {
        let fail = |offset, problem| Some(Err(HeaderError { offset, problem }));
        // The block is `{"k":"v","k":["v","v"]}`; `at` counts from its first byte.
        let before = self.block;
        let rest = match (self.at, before) {
            (0, [b'{', rest @ ..]) => rest,
            (0, _) => return fail(0, "JSON headers must begin with `{`"),
            (_, [b',', rest @ ..]) => rest,
            (_, [b'}']) => return None,
            _ => return fail(self.at, "expected `,` or the final `}`"),
        };
        if self.at == 0 && rest == b"}" {
            return None;
        }
        let place = |rest: &[u8]| self.at + before.len() - rest.len();
        // Keys are written raw; the HTTP grammar keeps quotes and backslashes out of them.
        let Some(rest) = rest.strip_prefix(b"\"") else {
            return fail(place(rest), "a header name must begin with `\"`");
        };
        let Some(end) = memchr::memchr(b'"', rest) else {
            return fail(place(rest), "a header name must end with `\"`");
        };
        let (name, rest) = (&rest[..end], &rest[end + 1..]);
        let Some(rest) = rest.strip_prefix(b":") else {
            return fail(place(rest), "a header name must be followed by `:`");
        };
        let (values, rest) = match rest.first() {
            Some(b'[') => {
                let items = &rest[1..];
                match json_list_end(items) {
                    Some(size) => {
                        let list = List { protocol: self.protocol, items: &items[..size] };
                        (Values::Many(list), &items[size + 1..])
                    }
                    None => return fail(place(rest), "a header list must hold strings and end with `]`"),
                }
            }
            _ => match json_string(rest) {
                Ok((text, rest)) => (Values::One(text), rest),
                Err(problem) => return fail(place(rest), problem),
            },
        };
        self.at += before.len() - rest.len();
        self.block = rest;
        Some(Ok((name, values)))
    }
}

/// Reads `"..."` off the front, where a backslash hides the next byte.
fn json_string(input: &[u8]) -> Result<(Text<'_>, &[u8]), &'static str> {
    let inside = input.strip_prefix(b"\"").ok_or("a header value must begin with `\"` or `[`")?;
    let mut escaped = false;
    let mut at = 0;
    loop {
        let stop = memchr::memchr2(b'"', b'\\', &inside[at..]).ok_or("a header value must end with `\"`")?;
        at += stop;
        if inside[at] == b'"' {
            return Ok((Text { raw: &inside[..at], escaped }, &inside[at + 1..]));
        }
        escaped = true;
        at += 2;
        if at > inside.len() {
            return Err("a header value must end with `\"`");
        }
    }
}

/// The offset of the `]` that ends a list of strings.
fn json_list_end(items: &[u8]) -> Option<usize> {
    let mut left = items;
    if left.first() == Some(&b']') {
        return Some(0);
    }
    loop {
        let (_, rest) = json_string(left).ok()?;
        match rest.first()? {
            b',' => left = &rest[1..],
            b']' => return Some(items.len() - rest.len()),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(block: &[u8]) -> Vec<(String, Vec<String>)> {
        all(Headers::new(Protocol::Json, block)).unwrap()
    }

    fn all(headers: Headers<'_>) -> Result<Vec<(String, Vec<String>)>, HeaderError> {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        headers
            .iter()
            .map(|header| {
                header.map(|(name, values)| (text(name), values.iter().map(|v| text(&v.bytes())).collect()))
            })
            .collect()
    }

    fn pair(name: &str, values: &[&str]) -> (String, Vec<String>) {
        (name.to_owned(), values.iter().map(|v| (*v).to_owned()).collect())
    }

    #[test]
    fn a_backslash_means_the_next_byte_as_it_is() {
        let block = br#"{"a":"x\"y\\","b":["\\u0041","}]"],"c":""}"#;
        let expected = [pair("a", &[r#"x\"y\\"#]), pair("b", &[r"\\u0041", "}]"]), pair("c", &[""])];
        assert_eq!(json(block), expected);
    }

    #[test]
    fn blanks_around_a_value_are_not_part_of_it() {
        let expected = [pair("a", &["x\\ty", ""]), pair("b", &["z"]), pair("c", &[""])];
        assert_eq!(json(b"{\"a\":[\"x\ty \t\",\" \"],\"b\":\"\tz\",\"c\":\"  \"}"), expected);
        let block = b"1:a,10:4:x\ty ,0:,]1:b,3:\tz ,1:c,2: \t,";
        assert_eq!(all(Headers::new(Protocol::Tnetstring, block)).unwrap(), expected);
        assert_eq!(json(br#"{"a":"x\\ "}"#), [pair("a", &[r"x\\"])], "an escaped backslash stays whole");
    }

    #[test]
    fn an_empty_block_has_no_headers() {
        assert!(json(b"{}").is_empty());
        assert!(all(Headers::new(Protocol::Tnetstring, b"")).unwrap().is_empty());
    }

    #[test]
    fn no_prefix_of_a_block_panics_or_loops() {
        let whole = br#"{"a":"x\"y","bb":["1","2\\"],"c":"d"}"#;
        for end in 0..whole.len() {
            assert!(all(Headers::new(Protocol::Json, &whole[..end])).is_err(), "{end} bytes");
        }
        let whole = b"1:a,3:x,y,2:bb,8:1:1,1:2,]1:c,0:,";
        assert_eq!(all(Headers::new(Protocol::Tnetstring, whole)).unwrap().len(), 3);
        for end in 0..whole.len() {
            let _ = all(Headers::new(Protocol::Tnetstring, &whole[..end]));
        }
    }

    #[test]
    fn values_of_other_types_are_refused() {
        for block in [&b"1:a,1:1#"[..], b"1:a,4:1:x#]", b"1:a,0:~", b"1:a,"] {
            assert!(all(Headers::new(Protocol::Tnetstring, block)).is_err());
        }
        for block in [&br#"{"a":1}"#[..], br#"{"a":[1]}"#, br#"{"a" : "b"}"#, br#"{"a":"b"}x"#, b"[]"] {
            assert!(all(Headers::new(Protocol::Json, block)).is_err());
        }
    }

    #[test]
    fn one_name_is_found_among_others() {
        let headers = Headers::new(Protocol::Tnetstring, b"1:a,1:1,1:b,8:1:2,1:3,]");
        let bytes = |name: &[u8]| headers.get(name).and_then(|v| v.first()).map(|t| t.bytes().into_owned());
        assert_eq!(bytes(b"b"), Some(b"2".to_vec()));
        assert_eq!(bytes(b"B"), None);
        assert!(headers.get(b"b").unwrap().single().is_none());
        assert!(headers.get(b"a").unwrap().single().is_some());
    }
}
