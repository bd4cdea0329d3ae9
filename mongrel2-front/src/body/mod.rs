//! The body of a request: its bytes, taken out of what arrives.

mod chunks;

use crate::head::{Framing, Refusal};
use chunks::Chunks;

/// Takes a body apart.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// Bytes that have not arrived.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
}

/// A step of a decoder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Step<'a> {
    /// How many bytes of the input it took.
    pub(crate) used: usize,
    /// Bytes of the body, at most as many as were wanted.
    pub(crate) data: &'a [u8],
    /// That was all of the body.
    pub(crate) is_last: bool,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunks::default()),
        }
    }

    /// Takes the next bytes of the body, at most `most`. A step that took nothing and is not the last waits for input.
    pub(crate) fn step<'a>(&mut self, input: &'a [u8], most: usize) -> Result<Step<'a>, Refusal> {
        match self {
            Self::Length(left) => {
                let size = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len()).min(most);
                *left -= size as u64;
                Ok(Step { used: size, data: &input[..size], is_last: *left == 0 })
            }
            Self::Chunked(chunks) => chunks.step(input, most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_known_length_ends_there() {
        let mut decoder = Decoder::new(Framing::Length(5));
        assert_eq!(decoder.step(b"abc", 2), Ok(Step { used: 2, data: b"ab", is_last: false }));
        assert_eq!(decoder.step(b"cdeGET", 100), Ok(Step { used: 3, data: b"cde", is_last: true }));
        assert_eq!(
            Decoder::new(Framing::Length(0)).step(b"", 9),
            Ok(Step { used: 0, data: b"", is_last: true })
        );
    }
}
