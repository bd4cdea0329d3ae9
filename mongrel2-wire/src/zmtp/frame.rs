//! Frames: a byte of flags, the size, and the bytes.

use super::error::{MAX_MESSAGE, ZmtpError};

pub(super) const MORE: u8 = 1;
const LONG: u8 = 2;
pub(super) const COMMAND: u8 = 4;

/// A frame's flags and body, and what follows it.
pub(super) type Frame<'a> = (u8, &'a [u8], &'a [u8]);

/// Splits a whole frame off. `None`: more is to come.
#[inline]
pub(super) fn split_frame(input: &[u8]) -> Result<Option<Frame<'_>>, ZmtpError> {
    let Some((&flags, rest)) = input.split_first() else { return Ok(None) };
    if flags > (MORE | LONG | COMMAND) {
        return Err(ZmtpError::BadFrame);
    }
    let (size, rest) = if flags & LONG != 0 {
        let Some((size, rest)) = rest.split_first_chunk() else { return Ok(None) };
        (u64::from_be_bytes(*size), rest)
    } else {
        let Some((&size, rest)) = rest.split_first() else { return Ok(None) };
        (u64::from(size), rest)
    };
    if size > MAX_MESSAGE {
        return Err(ZmtpError::TooLarge { size });
    }
    Ok(rest.split_at_checked(size as usize).map(|(body, rest)| (flags, body, rest)))
}

/// How many bytes the frame at the front of `input` has in all, as far as its head tells.
#[inline]
pub fn frame_size(input: &[u8]) -> Option<usize> {
    let (&flags, rest) = input.split_first()?;
    match flags & LONG != 0 {
        true => rest.first_chunk().map(|size| u64::from_be_bytes(*size).saturating_add(9) as usize),
        false => rest.first().map(|size| 2 + usize::from(*size)),
    }
}

/// Appends a message as a frame.
#[inline]
pub fn encode(out: &mut Vec<u8>, message: &[u8]) {
    encode_frame(out, 0, message);
}

/// Appends a part of a message that others follow.
pub fn encode_part(out: &mut Vec<u8>, part: &[u8]) {
    encode_frame(out, MORE, part);
}

/// Appends the answer to a [`Ping`](super::Incoming::Ping).
pub fn encode_pong(out: &mut Vec<u8>, context: &[u8]) {
    encode_frame(out, COMMAND, &[b"\x04PONG", context].concat());
}

/// Whether the frame at the front of `input` is a command, not a part of a message.
pub fn is_command(input: &[u8]) -> bool {
    input.first().is_some_and(|flags| flags & COMMAND != 0)
}

#[inline]
pub(super) fn encode_frame(out: &mut Vec<u8>, flags: u8, message: &[u8]) {
    match u8::try_from(message.len()) {
        Ok(size) => out.extend_from_slice(&[flags, size]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend_from_slice(&(message.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_frame_is_known_from_its_head() {
        let mut bytes = Vec::new();
        encode(&mut bytes, &[0; 1000]);
        assert_eq!(frame_size(&bytes), Some(bytes.len()));
        assert_eq!(frame_size(&bytes[..5]), None);
        assert_eq!(frame_size(&[LONG, 255, 255, 255, 255, 255, 255, 255, 255]), Some(usize::MAX));
    }
}
