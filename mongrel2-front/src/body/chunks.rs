//! Chunks (RFC 9112, section 7.1), read strictly: no extensions, and every line ends in CRLF.

use super::Step;
use crate::head::Refusal;

/// Where the decoder is.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    state: State,
    /// Bytes of trailers so far.
    trailers: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the line with a chunk's size.
    #[default]
    Size,
    /// Bytes of the chunk that have not arrived.
    Data(u64),
    /// Behind a chunk, at its CRLF.
    End,
    /// Behind the last chunk, at the lines before the blank one.
    Trailers,
    Done,
}

/// The longest line with a size: more digits than any size has.
const SIZE_LINE: usize = 18;
/// The most bytes of trailers, which are thrown away.
const TRAILERS: usize = 8 << 10;

impl Chunks {
    /// Takes the next bytes of the body, at most `most`.
    pub(super) fn step<'a>(&mut self, input: &'a [u8], most: usize) -> Result<Step<'a>, Refusal> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let waits = Step { used, data: b"", is_last: self.state == State::Done };
            match self.state {
                State::Done => return Ok(waits),
                State::Size => {
                    let Some((line, size)) = split_line(rest, SIZE_LINE)? else { return Ok(waits) };
                    used += size;
                    self.state = match read_size(line)? {
                        0 => State::Trailers,
                        size => State::Data(size),
                    };
                }
                State::Data(left) => {
                    let size = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len()).min(most);
                    if size == 0 {
                        return Ok(waits);
                    }
                    let left = left - size as u64;
                    self.state = if left == 0 { State::End } else { State::Data(left) };
                    return Ok(Step { used: used + size, data: &rest[..size], is_last: false });
                }
                State::End => match rest {
                    [] | [b'\r'] => return Ok(waits),
                    [b'\r', b'\n', ..] => {
                        used += 2;
                        self.state = State::Size;
                    }
                    _ => return Err(Refusal(400)),
                },
                State::Trailers => {
                    let Some((line, size)) = split_line(rest, TRAILERS)? else { return Ok(waits) };
                    used += size;
                    self.trailers += size;
                    if line.is_empty() {
                        self.state = State::Done;
                    } else if !is_field(line) {
                        return Err(Refusal(400));
                    } else if self.trailers > TRAILERS {
                        return Err(Refusal(431));
                    }
                }
            }
        }
    }
}

/// A line and its size with CRLF; `None`: more is to come.
fn split_line(input: &[u8], longest: usize) -> Result<Option<(&[u8], usize)>, Refusal> {
    match memchr::memchr(b'\n', input) {
        Some(end) if end <= longest + 1 => {
            let line = input[..end].strip_suffix(b"\r").filter(|line| !line.contains(&b'\r'));
            Ok(Some((line.ok_or(Refusal(400))?, end + 1)))
        }
        None if input.len() <= longest + 1 => Ok(None),
        _ => Err(Refusal(400)),
    }
}

/// Whether a line is one of a header: another request that follows without a blank line is not.
fn is_field(line: &[u8]) -> bool {
    let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let name = line.iter().take_while(|byte| is_in_name(byte)).count();
    name > 0 && line.get(name) == Some(&b':') && !line.contains(&0)
}

fn read_size(line: &[u8]) -> Result<u64, Refusal> {
    let is_hex = !line.is_empty() && line.len() <= 15 && line.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(line).ok().filter(|_| is_hex);
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(Refusal(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body that arrives in pieces of `piece` bytes: its bytes, and what follows it.
    fn read(input: &[u8], piece: usize) -> Result<Option<(Vec<u8>, usize)>, u16> {
        let (mut chunks, mut body, mut from) = (Chunks::default(), Vec::new(), 0);
        for end in (0..=input.len()).step_by(piece).chain([input.len()]) {
            loop {
                let step = chunks.step(&input[from..end], 3).map_err(|refusal| refusal.0)?;
                from += step.used;
                body.extend_from_slice(step.data);
                if step.is_last {
                    return Ok(Some((body, input.len() - from)));
                }
                if step.data.is_empty() {
                    break;
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_are_joined_however_they_are_cut() {
        let input = b"5\r\nhello\r\n00a\r\n, world!!!\r\n0\r\nX: y\r\n\r\nGET";
        for piece in 1..=input.len() {
            assert_eq!(read(input, piece), Ok(Some((b"hello, world!!!".to_vec(), 3))), "{piece}");
        }
        assert_eq!(read(b"5\r\nhel", 1), Ok(None));
        assert_eq!(read(b"0\r\n\r\n", 1), Ok(Some((Vec::new(), 0))));
    }

    #[test]
    fn what_is_not_exactly_chunks_is_refused() {
        for input in [
            &b"5;a=b\r\nhello\r\n0\r\n\r\n"[..],
            b"5\nhello\r\n",
            b"5 \r\nhello",
            b" 5\r\nhello",
            b"0x5\r\nhello",
            b"\r\n",
            b"-1\r\n",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"ffffffffffffffff\r\n",
            b"5\r\r\nhello",
            b"0\r\n\n",
            b"0\r\nX: y\n\r\n",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
            b"0\r\nX : y\r\n\r\n",
            b"0\r\n X: y\r\n\r\n",
            b"g\r\n",
        ] {
            assert_eq!(read(input, input.len()), Err(400), "{}", input.escape_ascii());
        }
        let trailers = [&b"0\r\n"[..], &b"X: yyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(400)].concat();
        assert_eq!(read(&trailers, 100), Err(431));
    }
}
