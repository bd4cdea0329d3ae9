//! Netstrings: `SIZE:DATA,` where SIZE is decimal ASCII and counts bytes, not characters.
//!
//! Mongrel2 frames headers, bodies and reply targets this way. The length comes first, so DATA
//! may hold any byte, commas and NULs included.

use thiserror::Error;

/// The most digits a size may have: nine always fit a `usize`, and a ZeroMQ frame of a gigabyte
/// is beyond anything that Mongrel2 sends.
const MAX_SIZE_DIGITS: usize = 9;

/// Why bytes are no netstring. Offsets count from the netstring's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetstringError {
    /// No digit, or more than nine.
    #[error("a size needs 1 to 9 digits, found {digits}")]
    BadSize {
        /// How many digits there were.
        digits: usize,
    },
    /// Something else than `:` after the size.
    #[error("no `:` after the size, at byte {at}")]
    NoColon {
        /// Where it should have been.
        at: usize,
    },
    /// The data is not followed by the byte that ends it.
    #[error("no `,` after the data, at byte {at}")]
    NoComma {
        /// Where it should have been.
        at: usize,
    },
    /// The size promises more than there is.
    #[error("size says {size} bytes, the input has {have}")]
    Truncated {
        /// The size as written.
        size: usize,
        /// The bytes after the colon.
        have: usize,
    },
}

impl NetstringError {
    /// The offset of the byte that broke the rule.
    pub fn offset(&self) -> usize {
        match *self {
            Self::BadSize { digits } => digits.min(MAX_SIZE_DIGITS),
            Self::NoColon { at } | Self::NoComma { at } => at,
            Self::Truncated { size, .. } => size.to_string().len() + 1,
        }
    }
}

/// Splits `SIZE:DATA` and the one byte after it off the front of `input`: `(data, mark, rest)`.
///
/// A netstring's mark is `,`; a tnetstring's tells the type. The caller judges it.
///
/// # Errors
///
/// [`NetstringError`], all but `NoComma`.
#[inline]
pub fn parse_marked(input: &[u8]) -> Result<(&[u8], u8, &[u8]), NetstringError> {
    // One to three digits and a colon begin nearly all that Mongrel2 sends.
    let digit =
        |at: usize| input.get(at).map(|byte| usize::from(byte.wrapping_sub(b'0'))).filter(|d| *d < 10);
    if let (Some(first), Some(second)) = (digit(0), input.get(1)) {
        let (size, start) = match (second, digit(1), input.get(2), digit(2), input.get(3)) {
            (b':', ..) => (first, 2),
            (_, Some(second), Some(b':'), ..) => (first * 10 + second, 3),
            (_, Some(second), _, Some(third), Some(b':')) => (first * 100 + second * 10 + third, 4),
            _ => return parse_long(input),
        };
        if let Some(&mark) = input.get(start + size) {
            return Ok((&input[start..start + size], mark, &input[start + size + 1..]));
        }
    }
    parse_long(input)
}

/// The same for any size, and for all that is wrong.
#[cold]
fn parse_long(input: &[u8]) -> Result<(&[u8], u8, &[u8]), NetstringError> {
    let mut size = 0;
    let mut digits = 0;
    while let Some(byte @ b'0'..=b'9') = input.get(digits) {
        digits += 1;
        if digits > MAX_SIZE_DIGITS {
            return Err(NetstringError::BadSize { digits });
        }
        size = size * 10 + usize::from(byte - b'0');
    }
    if digits == 0 {
        return Err(NetstringError::BadSize { digits });
    }
    if input.get(digits) != Some(&b':') {
        return Err(NetstringError::NoColon { at: digits });
    }
    let data = &input[digits + 1..];
    match data.get(size) {
        Some(&mark) => Ok((&data[..size], mark, &data[size + 1..])),
        None => Err(NetstringError::Truncated { size, have: data.len() }),
    }
}

/// Splits one netstring off the front of `input` and returns `(data, rest)`.
///
/// ZeroMQ delivers whole messages, so a short input is an error here, never "more, please".
///
/// ```
/// use mongrel2_wire::netstring;
///
/// assert_eq!(netstring::parse(b"5:hello,0:,"), Ok((&b"hello"[..], &b"0:,"[..])));
/// ```
///
/// # Errors
///
/// [`NetstringError`] gives the offset of the byte that broke the rule.
pub fn parse(input: &[u8]) -> Result<(&[u8], &[u8]), NetstringError> {
    match parse_marked(input)? {
        (data, b',', rest) => Ok((data, rest)),
        (_, _, rest) => Err(NetstringError::NoComma { at: input.len() - rest.len() - 1 }),
    }
}

/// Appends `data` as a netstring to `out`.
pub fn encode(out: &mut Vec<u8>, data: &[u8]) {
    encode_marked(out, data, b',');
}

/// Appends `SIZE:DATA` and the byte that ends it: a tnetstring's type.
pub fn encode_marked(out: &mut Vec<u8>, data: &[u8], mark: u8) {
    out.extend_from_slice(itoa::Buffer::new().format(data.len()).as_bytes());
    out.push(b':');
    out.extend_from_slice(data);
    out.push(mark);
}

/// Writes the size of what stands from `from` on before it, with a colon, and the byte that ends it behind it.
/// For data whose size is known only when it is written.
pub(crate) fn enclose(out: &mut Vec<u8>, from: usize, mark: u8) {
    let (end, mut number) = (out.len(), itoa::Buffer::new());
    let size = number.format(end - from).as_bytes();
    let data = from + size.len() + 1;
    out.extend_from_slice(size);
    out.extend_from_slice(&[b':', mark]);
    out.copy_within(from..end, data);
    out[from..data - 1].copy_from_slice(size);
    out[data - 1] = b':';
    let last = out.len() - 1;
    out[last] = mark;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_parses_back() {
        for data in [&b""[..], b"a", b"a,b:c\0", &[0xff; 1000]] {
            let mut out = Vec::new();
            encode(&mut out, data);
            out.extend_from_slice(b"rest");
            assert_eq!(parse(&out), Ok((data, &b"rest"[..])));
        }
    }

    #[test]
    fn data_of_any_size_is_enclosed_where_it_stands() {
        for size in [0, 1, 9, 10, 99, 100, 12_345] {
            let data: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let mut out = [b"before", &data[..]].concat();
            enclose(&mut out, 6, b']');
            let mut expected = b"before".to_vec();
            encode_marked(&mut expected, &data, b']');
            assert_eq!(out, expected, "{size}");
        }
    }

    #[test]
    fn every_prefix_of_a_netstring_is_an_error() {
        let whole = b"12:hello, world,";
        assert!(parse(whole).is_ok());
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn errors_say_where() {
        assert_eq!(parse(b":x,"), Err(NetstringError::BadSize { digits: 0 }));
        assert_eq!(parse(b"1234567890:x,"), Err(NetstringError::BadSize { digits: 10 }));
        assert_eq!(parse(b"3x:abc,"), Err(NetstringError::NoColon { at: 1 }));
        assert_eq!(parse(b"3:abcd,"), Err(NetstringError::NoComma { at: 5 }));
        assert_eq!(parse(b"9:abc,"), Err(NetstringError::Truncated { size: 9, have: 4 }));
        assert_eq!(parse(b"999999999:").unwrap_err().offset(), 10);
    }
}
