//! Frames (RFC 6455, section 5.2): what they are made of, and how either side writes them.
//!
//! Through Mongrel2 a frame arrives as its first byte, with FIN set, and an unmasked payload that is
//! a whole message: [`Frame`] is the same two things.

use super::mask;

/// FIN in a frame's first byte: the last fragment, or the only one.
pub const FIN: u8 = 0x80;
/// RSV1 in a frame's first byte: the message is compressed (RFC 7692).
pub const RSV1: u8 = 0x40;
/// RSV2 and RSV3, which nobody has given a meaning.
pub const RSV23: u8 = 0x30;
/// The largest payload of a control frame.
pub const CONTROL_MAX: usize = 125;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// A further fragment.
    Continuation,
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
    /// The last frame of its side.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping, or says "alive" unasked.
    Pong,
    /// 3 to 7 and 11 to 15: without a meaning yet.
    Reserved(u8),
}

impl Opcode {
    /// The opcode in a frame's first byte.
    pub fn of(head: u8) -> Self {
        match head & 0x0f {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            other => Self::Reserved(other),
        }
    }

    /// Its four bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
            Self::Reserved(bits) => bits & 0x0f,
        }
    }

    /// Whether frames of this kind are small, never fragmented, and may come between fragments.
    pub fn is_control(self) -> bool {
        self.bits() >= 0x8
    }
}

/// A frame that was read, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// FIN, the reserved bits and the opcode, as Mongrel2's FLAGS has them.
    pub head: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// What the frame is for.
    pub fn opcode(&self) -> Opcode {
        Opcode::of(self.head)
    }

    /// Whether its message ends here.
    pub fn is_final(&self) -> bool {
        self.head & FIN != 0
    }

    /// Whether its message is compressed.
    pub fn is_compressed(&self) -> bool {
        self.head & RSV1 != 0
    }
}

/// Appends a whole frame as servers write them: unmasked. `rsv1` marks a compressed payload.
pub fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], rsv1: bool) {
    out.reserve(payload.len() + 10);
    head(out, FIN | bit(rsv1, RSV1) | opcode.bits(), payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends a frame as clients write them: masked with `key`, which must not be guessable.
pub fn encode_masked(out: &mut Vec<u8>, fin: bool, opcode: Opcode, rsv1: bool, payload: &[u8], key: [u8; 4]) {
    out.reserve(payload.len() + 14);
    head(out, bit(fin, FIN) | bit(rsv1, RSV1) | opcode.bits(), payload.len(), MASKED);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], key);
}

/// Appends a message in unmasked fragments of `size` bytes, at least one frame. `opcode` is that of a
/// data frame: a control frame may not be fragmented.
pub fn encode_fragments(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], size: usize) {
    let size = size.max(1);
    out.reserve(payload.len() + (payload.len() / size + 1) * 10);
    let mut left = payload;
    let mut opcode = opcode;
    loop {
        let (now, later) = left.split_at(size.min(left.len()));
        head(out, bit(later.is_empty(), FIN) | opcode.bits(), now.len(), 0);
        out.extend_from_slice(now);
        if later.is_empty() {
            return;
        }
        (left, opcode) = (later, Opcode::Continuation);
    }
}

/// MASK in a frame's second byte.
pub(super) const MASKED: u8 = 0x80;

fn bit(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

/// The first byte, and the length in its shortest form.
fn head(out: &mut Vec<u8>, first: u8, size: usize, mask_bit: u8) {
    out.push(first);
    match size {
        0..=125 => out.push(mask_bit | size as u8),
        126..=0xffff => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, opcode, payload, false);
        out
    }

    #[test]
    fn the_examples_of_the_rfc_are_written_as_they_stand_there() {
        assert_eq!(server(Opcode::Text, b"Hello"), b"\x81\x05Hello");
        assert_eq!(server(Opcode::Ping, b"Hello"), b"\x89\x05Hello");
        let mut out = Vec::new();
        encode_masked(&mut out, true, Opcode::Text, false, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        out.clear();
        encode_masked(&mut out, true, Opcode::Pong, false, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(out, [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        out.clear();
        encode_fragments(&mut out, Opcode::Text, b"Hello", 3);
        assert_eq!(out, b"\x01\x03Hel\x80\x02lo");
        assert_eq!(server(Opcode::Binary, &[0; 256])[..4], [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(server(Opcode::Binary, &[0; 65536])[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        for (size, head) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65535, &[0x82, 126, 0xff, 0xff]),
            (65536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = server(Opcode::Binary, &vec![b'x'; size]);
            assert_eq!(&frame[..head.len()], head);
            assert_eq!(frame.len(), head.len() + size);
        }
    }

    #[test]
    fn every_first_byte_has_an_opcode_and_back() {
        for head in 0..=u8::MAX {
            assert_eq!(Opcode::of(head).bits(), head & 0x0f);
            assert_eq!(Opcode::of(head).is_control(), head & 0x08 != 0);
        }
        let frame = Frame { head: 0xc1, payload: vec![] };
        assert!(frame.is_final() && frame.is_compressed() && frame.opcode() == Opcode::Text);
    }

    #[test]
    fn fragments_end_exactly_once() {
        let written = |payload: &[u8], size| {
            let mut out = Vec::new();
            encode_fragments(&mut out, Opcode::Binary, payload, size);
            out
        };
        assert_eq!(written(b"", 4), b"\x82\x00");
        assert_eq!(written(b"abcd", 4), b"\x82\x04abcd");
        assert_eq!(written(b"abcdef", 3), b"\x02\x03abc\x80\x03def");
        assert_eq!(written(b"ab", 0), b"\x02\x01a\x80\x01b");
    }
}
