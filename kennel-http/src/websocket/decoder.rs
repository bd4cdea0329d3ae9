//! Frames from a byte stream, for use without Mongrel2: it reads its clients' frames itself.

use super::close::{CloseCode, Violation};
use super::frame::{CONTROL_MAX, FIN, Frame, MASKED, Opcode, RSV1, RSV23};
use super::mask;

/// Which frames are masked (RFC 6455, 5.1: a client's are, a server's are not).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masking {
    /// This is a server: all of them.
    Required,
    /// This is a client: none.
    Forbidden,
    /// Any, for tools that look on.
    Either,
}

/// Reads one side's frames, however the bytes are cut.
#[derive(Debug)]
pub struct Decoder {
    masking: Masking,
    deflate: bool,
    max_payload: usize,
    /// A frame's bytes before its payload: 2 to 14.
    head: [u8; 14],
    head_size: usize,
    payload: Option<Payload>,
    failed: Option<Violation>,
}

/// A payload that is still arriving.
#[derive(Debug)]
struct Payload {
    bytes: Vec<u8>,
    missing: usize,
}

impl Decoder {
    /// A decoder that refuses payloads above `max_payload`, and RSV1 unless `deflate` was agreed upon.
    pub fn new(masking: Masking, max_payload: usize, deflate: bool) -> Self {
        let (head, head_size) = ([0; 14], 0);
        Self { masking, deflate, max_payload, head, head_size, payload: None, failed: None }
    }

    /// Takes one frame off the front of `input`. `None`: all of `input` is taken and the frame goes on.
    ///
    /// # Errors
    ///
    /// [`Violation`] at the first byte that breaks a rule; then always the same one.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Violation> {
        if let Some(violation) = self.failed {
            return Err(violation);
        }
        self.step(input).inspect_err(|violation| self.failed = Some(*violation))
    }

    fn step(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Violation> {
        let mut payload = match self.payload.take() {
            Some(payload) => payload,
            None => {
                while self.head_size < self.head_needed() {
                    let Some((byte, rest)) = input.split_first() else { return Ok(None) };
                    self.head[self.head_size] = *byte;
                    self.head_size += 1;
                    *input = rest;
                    if self.head_size == 2 {
                        self.check_start()?;
                    }
                }
                let size = self.size()?;
                // What a peer announces it need not send: memory follows what has arrived.
                Payload { bytes: Vec::with_capacity(size.min(64 << 10)), missing: size }
            }
        };
        let (now, later) = input.split_at(payload.missing.min(input.len()));
        payload.bytes.extend_from_slice(now);
        payload.missing -= now.len();
        *input = later;
        if payload.missing > 0 {
            self.payload = Some(payload);
            return Ok(None);
        }
        if self.head[1] & MASKED != 0 {
            let at = self.head_size;
            let key = [self.head[at - 4], self.head[at - 3], self.head[at - 2], self.head[at - 1]];
            mask::apply(&mut payload.bytes, key);
        }
        self.head_size = 0;
        Ok(Some(Frame { head: self.head[0], payload: payload.bytes }))
    }

    fn length_bytes(&self) -> usize {
        match self.head[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn head_needed(&self) -> usize {
        if self.head_size < 2 {
            return 2;
        }
        2 + self.length_bytes() + if self.head[1] & MASKED != 0 { 4 } else { 0 }
    }

    /// What the first two bytes can break.
    fn check_start(&self) -> Result<(), Violation> {
        let [first, second, ..] = self.head;
        let opcode = Opcode::of(first);
        let fail = |reason| Err(Violation { code: CloseCode::PROTOCOL, reason });
        if first & RSV23 != 0 || (first & RSV1 != 0 && !self.deflate) {
            return fail("a reserved bit is set");
        }
        if matches!(opcode, Opcode::Reserved(_)) {
            return fail("unknown opcode");
        }
        if first & RSV1 != 0 && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return fail("only a message's first frame may be marked compressed");
        }
        if opcode.is_control() && first & FIN == 0 {
            return fail("a control frame may not be fragmented");
        }
        if opcode.is_control() && usize::from(second & !MASKED) > CONTROL_MAX {
            return fail("a control frame holds at most 125 bytes");
        }
        match self.masking {
            Masking::Required if second & MASKED == 0 => fail("a client must mask its frames"),
            Masking::Forbidden if second & MASKED != 0 => fail("a server may not mask its frames"),
            _ => Ok(()),
        }
    }

    /// The payload's size, which must be in its shortest form and within bounds.
    fn size(&self) -> Result<usize, Violation> {
        let bytes = &self.head[2..2 + self.length_bytes()];
        let (size, least) = match bytes.len() {
            0 => (u64::from(self.head[1] & !MASKED), 0),
            size => {
                (bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)), if size == 2 { 126 } else { 65536 })
            }
        };
        if size < least {
            return Err(Violation {
                code: CloseCode::PROTOCOL,
                reason: "a length is not in its shortest form",
            });
        }
        if size >> 63 != 0 {
            return Err(Violation { code: CloseCode::PROTOCOL, reason: "a length has its top bit set" });
        }
        usize::try_from(size)
            .ok()
            .filter(|size| *size <= self.max_payload)
            .ok_or(Violation { code: CloseCode::TOO_BIG, reason: "message too big" })
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{encode, encode_masked};
    use super::super::tests::Random;
    use super::*;

    fn read_all(decoder: &mut Decoder, mut input: &[u8]) -> Result<Vec<Frame>, Violation> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.read(&mut input)? {
            frames.push(frame);
        }
        assert!(input.is_empty());
        Ok(frames)
    }

    fn either() -> Decoder {
        Decoder::new(Masking::Either, 1 << 20, true)
    }

    fn code(bytes: &[u8], decoder: &mut Decoder) -> u16 {
        read_all(decoder, bytes).unwrap_err().code.0
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let hello = |head| vec![Frame { head, payload: b"Hello".to_vec() }];
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read_all(&mut either(), &masked).unwrap(), hello(0x81));
        assert_eq!(read_all(&mut either(), b"\x81\x05Hello").unwrap(), hello(0x81));
        assert_eq!(read_all(&mut either(), b"\x89\x05Hello").unwrap(), hello(0x89));
        let two = read_all(&mut either(), b"\x01\x03Hel\x80\x02lo").unwrap();
        assert_eq!(two[0], Frame { head: 0x01, payload: b"Hel".to_vec() });
        assert_eq!(two[1], Frame { head: 0x80, payload: b"lo".to_vec() });
    }

    #[test]
    fn any_length_survives_any_cut() {
        let mut random = Random(1);
        for size in [0, 1, 125, 126, 127, 65535, 65536, 70000] {
            let payload: Vec<u8> = (0..size).map(|_| random.byte()).collect();
            let mut stream = Vec::new();
            encode(&mut stream, Opcode::Binary, &payload, true);
            encode_masked(&mut stream, false, Opcode::Text, false, &payload, [1, 2, 3, 4]);
            for _ in 0..20 {
                let mut decoder = either();
                let mut frames = Vec::new();
                let mut left = &stream[..];
                while !left.is_empty() {
                    let most = if random.below(2) == 0 { 7 } else { left.len() };
                    let (now, later) = left.split_at(1 + random.below(most.min(left.len())));
                    frames.extend(read_all(&mut decoder, now).unwrap());
                    left = later;
                }
                assert_eq!(frames.len(), 2);
                assert_eq!((frames[0].head, frames[1].head), (0xc2, 0x01));
                assert!(frames.iter().all(|frame| frame.payload == payload));
            }
        }
    }

    #[test]
    fn broken_frames_are_refused_with_the_right_code() {
        for bytes in [
            &b"\x91\x00"[..],                            // RSV3
            b"\xa1\x00",                                 // RSV2
            b"\x83\x00",                                 // opcode 3
            b"\x8f\x00",                                 // opcode 15
            b"\x09\x00",                                 // a ping's fragment
            b"\x89\x7e",                                 // a long ping
            b"\xc9\x00",                                 // a compressed ping
            b"\xc0\x00",                                 // a compressed continuation
            b"\x81\x7e\x00\x7d",                         // 125 in two bytes
            b"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", // 65535 in eight
            b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", // the top bit
        ] {
            assert_eq!(code(bytes, &mut either()), 1002, "{bytes:x?}");
        }
        assert_eq!(code(b"\xc1\x00", &mut Decoder::new(Masking::Either, 9, false)), 1002);
        assert_eq!(code(b"\x81\x00", &mut Decoder::new(Masking::Required, 9, false)), 1002);
        assert_eq!(code(b"\x81\x80", &mut Decoder::new(Masking::Forbidden, 9, false)), 1002);
        assert_eq!(code(b"\x81\x0a", &mut Decoder::new(Masking::Either, 9, false)), 1009);
        assert_eq!(code(b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", &mut either()), 1009);
    }

    #[test]
    fn a_violation_is_final() {
        let mut decoder = either();
        assert_eq!(code(b"\x83\x00", &mut decoder), 1002);
        assert_eq!(code(b"\x81\x00", &mut decoder), 1002);
    }

    #[test]
    fn an_announced_size_takes_no_memory() {
        let mut decoder = Decoder::new(Masking::Either, usize::MAX, false);
        assert!(read_all(&mut decoder, b"\x81\x7f\x00\xff\xff\xff\xff\xff\xff\xffx").unwrap().is_empty());
        assert!(decoder.payload.unwrap().bytes.capacity() <= 64 << 10);
    }

    #[test]
    fn no_bytes_panic() {
        let mut random = Random(2);
        for _ in 0..5000 {
            let bytes: Vec<u8> = (0..random.below(40)).map(|_| random.byte()).collect();
            let _ = read_all(&mut either(), &bytes);
        }
    }
}
