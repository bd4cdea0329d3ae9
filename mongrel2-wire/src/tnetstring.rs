//! Tnetstrings: `SIZE:DATA` and one byte that tells the type.
//!
//! Mongrel2 uses them for headers (when the Handler says `protocol='tnetstring'`), for extended
//! replies and on its control port. Headers have a reader of their own that copies nothing
//! ([`Headers`](crate::Headers)); this is the general codec.

use crate::netstring::{self, NetstringError};
use thiserror::Error;

/// How deep lists and dicts may nest. Mongrel2's own go to three.
pub const MAX_DEPTH: usize = 16;

/// One tnetstring value. Bytes stay bytes; a dict keeps its order and its duplicates.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `,`
    Bytes(&'a [u8]),
    /// `#`
    Int(i64),
    /// `^`
    Float(f64),
    /// `!`
    Bool(bool),
    /// `~`
    Null,
    /// `]`
    List(Vec<Value<'a>>),
    /// `}`
    Dict(Vec<(&'a [u8], Value<'a>)>),
}

/// Why bytes are no tnetstring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TnetstringError {
    /// The frame around a value is wrong.
    #[error(transparent)]
    Frame(#[from] NetstringError),
    /// The byte after the data is no type.
    #[error("`{}` is no tnetstring type", mark.escape_ascii())]
    UnknownType {
        /// The byte found.
        mark: u8,
    },
    /// The data does not read as its type says.
    #[error("malformed {type_name}")]
    BadData {
        /// `integer`, `float`, `boolean` or `null`.
        type_name: &'static str,
    },
    /// A dict's key is no string, or its value is missing.
    #[error("a dict needs pairs of a string and a value")]
    BadPair,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

impl<'a> Value<'a> {
    /// Splits one value off the front of `input` and returns it with what follows.
    ///
    /// ```
    /// use mongrel2_wire::tnetstring::Value;
    ///
    /// let (value, rest) = Value::parse(b"8:1:a,1:2#]x").unwrap();
    /// assert_eq!(value, Value::List(vec![Value::Bytes(b"a"), Value::Int(2)]));
    /// assert_eq!(rest, b"x");
    /// ```
    ///
    /// # Errors
    ///
    /// [`TnetstringError`]; input that nests deeper than [`MAX_DEPTH`] is refused.
    pub fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), TnetstringError> {
        Self::parse_at(input, 0)
    }

    fn parse_at(input: &'a [u8], depth: usize) -> Result<(Self, &'a [u8]), TnetstringError> {
        if depth > MAX_DEPTH {
            return Err(TnetstringError::TooDeep);
        }
        let (data, mark, rest) = netstring::parse_marked(input)?;
        let bad = |type_name| TnetstringError::BadData { type_name };
        let text = || std::str::from_utf8(data).ok();
        let value = match mark {
            b',' => Value::Bytes(data),
            b'#' => Value::Int(text().and_then(|t| t.parse().ok()).ok_or(bad("integer"))?),
            b'^' => Value::Float(text().and_then(|t| t.parse().ok()).ok_or(bad("float"))?),
            b'!' => match data {
                b"true" => Value::Bool(true),
                b"false" => Value::Bool(false),
                _ => return Err(bad("boolean")),
            },
            b'~' if data.is_empty() => Value::Null,
            b'~' => return Err(bad("null")),
            b']' => {
                let (mut items, mut left) = (Vec::new(), data);
                while !left.is_empty() {
                    let (item, after) = Self::parse_at(left, depth + 1)?;
                    items.push(item);
                    left = after;
                }
                Value::List(items)
            }
            b'}' => {
                let (mut pairs, mut left) = (Vec::new(), data);
                while !left.is_empty() {
                    let (key, mark, after) = netstring::parse_marked(left)?;
                    if mark != b',' || after.is_empty() {
                        return Err(TnetstringError::BadPair);
                    }
                    let (item, after) = Self::parse_at(after, depth + 1)?;
                    pairs.push((key, item));
                    left = after;
                }
                Value::Dict(pairs)
            }
            mark => return Err(TnetstringError::UnknownType { mark }),
        };
        Ok((value, rest))
    }

    /// Appends the value's tnetstring to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut data = Vec::new();
        let mark = match self {
            Value::Bytes(bytes) => {
                data.extend_from_slice(bytes);
                b','
            }
            Value::Int(n) => {
                data.extend_from_slice(n.to_string().as_bytes());
                b'#'
            }
            Value::Float(x) => {
                data.extend_from_slice(x.to_string().as_bytes());
                b'^'
            }
            Value::Bool(yes) => {
                data.extend_from_slice(if *yes { b"true" } else { b"false" });
                b'!'
            }
            Value::Null => b'~',
            Value::List(items) => {
                items.iter().for_each(|item| item.encode(&mut data));
                b']'
            }
            Value::Dict(pairs) => {
                for (key, item) in pairs {
                    netstring::encode(&mut data, key);
                    item.encode(&mut data);
                }
                b'}'
            }
        };
        out.extend_from_slice(itoa::Buffer::new().format(data.len()).as_bytes());
        out.push(b':');
        out.extend_from_slice(&data);
        out.push(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_the_round_trip() {
        let value = Value::Dict(vec![
            (b"bytes", Value::Bytes(b"\0,\xff")),
            (b"int", Value::Int(-7)),
            (b"float", Value::Float(1.5)),
            (b"flags", Value::List(vec![Value::Bool(true), Value::Bool(false), Value::Null])),
            (b"empty", Value::Dict(vec![])),
        ]);
        let mut out = Vec::new();
        value.encode(&mut out);
        assert_eq!(Value::parse(&out), Ok((value, &b""[..])));
    }

    #[test]
    fn every_prefix_is_an_error_and_none_panics() {
        let whole = b"57:7:headers,7:4:time,]4:rows,18:14:10:1795290051,]]1:x,0:~}";
        for end in 0..whole.len() {
            let _ = Value::parse(&whole[..end]);
        }
        assert!(Value::parse(&whole[..20]).is_err());
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(Value::parse(b"1:x?").unwrap_err(), TnetstringError::UnknownType { mark: b'?' });
        assert_eq!(Value::parse(b"1:x#").unwrap_err(), TnetstringError::BadData { type_name: "integer" });
        assert_eq!(Value::parse(b"4:1:a,}").unwrap_err(), TnetstringError::BadPair);
        let mut deep = b"0:]".to_vec();
        for _ in 0..=MAX_DEPTH {
            deep = [deep.len().to_string().as_bytes(), b":", &deep, b"]"].concat();
        }
        assert_eq!(Value::parse(&deep).unwrap_err(), TnetstringError::TooDeep);
    }
}
