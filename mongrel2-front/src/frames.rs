//! WebSocket frames as Mongrel2 hands them on: unmasked, fragments joined, everything else left to the handler.

/// A whole message, or a control frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The first byte of its first frame, with FIN set: reserved bits and opcode.
    pub(crate) flags: u8,
    /// What it carries.
    pub(crate) payload: Vec<u8>,
}

/// The client broke the protocol; the connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// Joins the frames of one client.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// A message whose last fragment is missing.
    unfinished: Option<Frame>,
}

const FIN: u8 = 0x80;
const CONTROL: u8 = 0x08;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
/// The largest payload of a control frame (RFC 6455, 5.5).
const CONTROL_MAX: u64 = 125;

impl Frames {
    /// Takes the next frame off `input`: how many bytes were used, and a message if one is whole now. Nothing used means
    /// that more is to come. A message is at most `most` bytes.
    pub(crate) fn next(&mut self, input: &[u8], most: usize) -> Result<(usize, Option<Frame>), Broken> {
        let Some(header) = Header::parse(input)? else { return Ok((0, None)) };
        let begun = self.unfinished.as_ref().map_or(0, |frame| frame.payload.len());
        if header.is_control() {
            if !header.is_final() || header.length > CONTROL_MAX {
                return Err(Broken);
            }
        } else {
            let is_continuation = header.first & OPCODE == 0;
            let is_too_large = header.length > most.saturating_sub(begun) as u64;
            if is_continuation != self.unfinished.is_some() || is_too_large {
                return Err(Broken);
            }
        }
        let size = header.size + header.length as usize;
        let Some(masked) = input.get(header.size..size) else { return Ok((0, None)) };
        if header.is_control() {
            let payload = unmask(Vec::new(), masked, header.mask);
            return Ok((size, Some(Frame { flags: header.first | FIN, payload })));
        }
        let Frame { flags, payload } =
            self.unfinished.take().unwrap_or(Frame { flags: header.first | FIN, payload: Vec::new() });
        let frame = Frame { flags, payload: unmask(payload, masked, header.mask) };
        if header.is_final() {
            return Ok((size, Some(frame)));
        }
        self.unfinished = Some(frame);
        Ok((size, None))
    }
}

struct Header {
    first: u8,
    length: u64,
    mask: [u8; 4],
    /// Bytes of the header itself.
    size: usize,
}

impl Header {
    fn parse(input: &[u8]) -> Result<Option<Self>, Broken> {
        let [first, second, rest @ ..] = input else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(Broken);
        }
        let (length, rest) = match second & !MASKED {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            length => (u64::from(length), rest),
        };
        let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        if length >= 1 << 31 {
            return Err(Broken);
        }
        Ok(Some(Self { first: *first, length, mask: *mask, size: input.len() - rest.len() }))
    }

    fn is_final(&self) -> bool {
        self.first & FIN != 0
    }

    fn is_control(&self) -> bool {
        self.first & CONTROL != 0
    }
}

/// Appends `masked` without its mask.
fn unmask(mut out: Vec<u8>, masked: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let from = out.len();
    out.extend_from_slice(masked);
    let (words, rest) = out[from..].as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    rest.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first, MASKED | payload.len() as u8, 1, 2, 3, 4];
        assert!(payload.len() < 126);
        out.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    fn read(mut input: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, Broken> {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        loop {
            let (used, frame) = frames.next(input, 1000)?;
            input = &input[used..];
            found.extend(frame.map(|frame| (frame.flags, frame.payload)));
            if used == 0 {
                return Ok(found);
            }
        }
    }

    #[test]
    fn fragments_are_joined_and_control_frames_pass_between_them() {
        let input =
            [frame(0x41, b"ab"), frame(0x89, b"p"), frame(0, b"cde"), frame(0x80, b""), frame(0xf2, b"x")]
                .concat();
        let expected = [(0x89, b"p".to_vec()), (0xc1, b"abcde".to_vec()), (0xf2, b"x".to_vec())];
        assert_eq!(read(&input).unwrap(), expected);
        for size in 0..input.len() {
            assert!(read(&input[..size]).unwrap().len() < 3);
        }
    }

    #[test]
    fn long_lengths_are_read_however_many_bytes_they_take() {
        let input = [&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0][..], b"abc"].concat();
        assert_eq!(read(&input).unwrap(), [(0x81, b"abc".to_vec())]);
        let input = [&[0x82, 0xfe, 1, 0, 0, 0, 0, 0][..], &[7; 256]].concat();
        assert_eq!(read(&input).unwrap(), [(0x82, vec![7; 256])]);
    }

    #[test]
    fn broken_frames_end_the_connection() {
        for input in [
            vec![0x81, 1, b'x'],
            frame(0x80, b"stray"),
            [frame(1, b"a"), frame(0x81, b"b")].concat(),
            frame(0x09, b"fragment"),
            vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0],
            vec![0x81, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0],
            vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            vec![0x81, 0xfe, 3, 0xe9, 0, 0, 0, 0],
            [frame(1, &[0; 100]), vec![0x80, 0xfe, 3, 0xe8, 0, 0, 0, 0]].concat(),
        ] {
            assert_eq!(read(&input), Err(Broken), "{}", input.escape_ascii());
        }
    }
}
