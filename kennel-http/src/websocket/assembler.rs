//! Messages from fragments, with control frames between them (RFC 6455, 5.4). Mongrel2 does this
//! itself; what comes out here is what it would deliver.

use super::close::{CloseCode, Violation};
use super::frame::{FIN, Frame, Opcode};

/// Puts one side's messages together.
#[derive(Debug)]
pub struct Assembler {
    max_message: usize,
    open: Option<Frame>,
}

impl Assembler {
    /// An assembler that refuses messages above `max_message` bytes, before they are inflated.
    pub fn new(max_message: usize) -> Self {
        Self { max_message, open: None }
    }

    /// Takes the next frame. A whole message comes back, with the first byte of its first fragment and
    /// FIN; so does a control frame at once.
    ///
    /// # Errors
    ///
    /// [`Violation`] when fragments are out of order, or too many.
    pub fn push(&mut self, frame: Frame) -> Result<Option<Frame>, Violation> {
        let opcode = frame.opcode();
        if opcode.is_control() {
            return Ok(Some(frame));
        }
        let held = self.open.as_ref().map_or(0, |open| open.payload.len());
        if frame.payload.len() > self.max_message - held.min(self.max_message) {
            return Err(Violation { code: CloseCode::TOO_BIG, reason: "message too big" });
        }
        let fail = |reason| Err(Violation { code: CloseCode::PROTOCOL, reason });
        let is_final = frame.is_final();
        let mut message = match (self.open.take(), opcode) {
            (Some(mut open), Opcode::Continuation) => {
                open.payload.extend_from_slice(&frame.payload);
                open
            }
            (Some(_), _) => return fail("a message began inside another"),
            (None, Opcode::Continuation) => return fail("a continuation of nothing"),
            (None, _) => frame,
        };
        if is_final {
            message.head |= FIN;
            return Ok(Some(message));
        }
        self.open = Some(message);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(head: u8, payload: &[u8]) -> Frame {
        Frame { head, payload: payload.to_vec() }
    }

    #[test]
    fn fragments_become_one_message_around_control_frames() {
        let mut assembler = Assembler::new(100);
        assert_eq!(assembler.push(frame(0x41, b"Hel")), Ok(None));
        assert_eq!(assembler.push(frame(0x89, b"p")), Ok(Some(frame(0x89, b"p"))));
        assert_eq!(assembler.push(frame(0x00, b"")), Ok(None));
        assert_eq!(assembler.push(frame(0x80, b"lo")), Ok(Some(frame(0xc1, b"Hello"))));
        assert_eq!(assembler.push(frame(0x82, b"x")), Ok(Some(frame(0x82, b"x"))));
    }

    #[test]
    fn disorder_is_a_violation() {
        let mut assembler = Assembler::new(100);
        assert_eq!(assembler.push(frame(0x80, b"")).unwrap_err().code, CloseCode::PROTOCOL);
        assert_eq!(assembler.push(frame(0x01, b"")), Ok(None));
        assert_eq!(assembler.push(frame(0x81, b"")).unwrap_err().code, CloseCode::PROTOCOL);
    }

    #[test]
    fn many_fragments_are_no_way_around_the_limit() {
        let mut assembler = Assembler::new(10);
        assert_eq!(assembler.push(frame(0x01, b"12345")), Ok(None));
        assert_eq!(assembler.push(frame(0x00, b"12345")), Ok(None));
        assert_eq!(assembler.push(frame(0x80, b"6")).unwrap_err().code, CloseCode::TOO_BIG);
    }
}
