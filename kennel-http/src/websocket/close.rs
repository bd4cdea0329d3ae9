//! Why a conversation ends: codes (RFC 6455, 7.4) and the payload of close frames.

use super::frame::CONTROL_MAX;
use std::fmt;
use thiserror::Error;

/// The most bytes of a close's reason (RFC 6455, 5.5).
pub const MAX_REASON: usize = CONTROL_MAX - 2;

/// The number in a close frame, or what stands for its absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// All was said.
    pub const NORMAL: Self = Self(1000);
    /// The server stops, or the page was left.
    pub const GOING_AWAY: Self = Self(1001);
    /// A frame broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// Data of a kind that is not understood.
    pub const UNSUPPORTED: Self = Self(1003);
    /// A close frame without a code. Never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// The connection broke without a close frame. Never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// Text that is no UTF-8, or data that does not inflate.
    pub const BAD_DATA: Self = Self(1007);
    /// Something that is not tolerated here.
    pub const POLICY: Self = Self(1008);
    /// A message above the limit.
    pub const TOO_BIG: Self = Self(1009);
    /// The server's own failure.
    pub const FAILED: Self = Self(1011);
    /// The service restarts: come back.
    pub const RESTART: Self = Self(1012);
    /// Overload: come back later.
    pub const TRY_LATER: Self = Self(1013);

    /// Which codes [may be sent](Self::may_be_sent), in words.
    pub const SENDABLE: &str = "1000 to 1003, 1007 to 1014 but not 1010, or 3000 to 4999";

    /// Whether the code may stand in a frame that a server sends of its own accord. 1010 is a client's
    /// alone: "you did not accept my extension".
    pub fn may_be_sent(self) -> bool {
        self.0 != 1010 && self.may_be_received()
    }

    /// Whether the code may stand in a frame at all: one that is registered and not reserved for
    /// "there was none", or one of the two ranges for libraries and applications.
    pub fn may_be_received(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a peer broke a rule, and the code that tells it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{reason} ({code})")]
pub struct Violation {
    /// The code of the close frame.
    pub code: CloseCode,
    /// The reason in the close frame.
    pub reason: &'static str,
}

/// Reads a close frame's payload: code and reason.
///
/// # Errors
///
/// [`Violation`] when it is one byte, when the code may not be sent, or when the reason is no UTF-8.
pub fn parse(payload: &[u8]) -> Result<(CloseCode, &str), Violation> {
    let fail = |code, reason| Err(Violation { code, reason });
    let (code, reason) = match payload {
        [] => return Ok((CloseCode::NO_STATUS, "")),
        [_] => return fail(CloseCode::PROTOCOL, "a close code has two bytes"),
        [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
    };
    if !code.may_be_received() {
        return fail(CloseCode::PROTOCOL, "a close code that may not be sent");
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok((code, reason)),
        Err(_) => fail(CloseCode::BAD_DATA, "the reason of a close is not UTF-8"),
    }
}

/// A close frame's payload. The reason is cut to the 123 bytes that fit, between two characters. A
/// code that may not travel makes an empty payload: a close without code.
pub fn encode_payload(code: CloseCode, reason: &str) -> Vec<u8> {
    if !code.may_be_received() {
        return Vec::new();
    }
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.0.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_judged_as_the_registry_says() {
        let registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
        for number in 0..=u16::MAX {
            let legal = registered.contains(&number) || number / 1000 == 3 || number / 1000 == 4;
            let code = CloseCode(number);
            assert_eq!(code.may_be_received(), legal, "{number}");
            assert_eq!(code.may_be_sent(), legal && number != 1010, "{number}");
            let payload = number.to_be_bytes();
            let parsed = parse(&payload).map_err(|v| v.code);
            assert_eq!(parsed, if legal { Ok((code, "")) } else { Err(CloseCode::PROTOCOL) });
            assert_eq!(encode_payload(code, "").is_empty(), !legal);
        }
    }

    #[test]
    fn payloads_of_every_shape_are_judged() {
        assert_eq!(parse(b""), Ok((CloseCode::NO_STATUS, "")));
        assert_eq!(parse(b"\x03").unwrap_err().code, CloseCode::PROTOCOL);
        assert_eq!(parse(b"\x03\xe8bye"), Ok((CloseCode::NORMAL, "bye")));
        assert_eq!(parse(b"\x03\xe8\xff").unwrap_err().code, CloseCode::BAD_DATA);
        assert_eq!(parse(b"\x03\xe8\xed\xa0\x80").unwrap_err().code, CloseCode::BAD_DATA);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(encode_payload(CloseCode::NORMAL, &"x".repeat(200)).len(), 125);
        // 122 bytes, then two bytes that would end at 124.
        let payload = encode_payload(CloseCode::NORMAL, &format!("{}é", "x".repeat(122)));
        assert_eq!(payload.len(), 124);
        let snow = encode_payload(CloseCode::NORMAL, &"☃".repeat(50));
        assert_eq!(parse(&snow), Ok((CloseCode::NORMAL, "☃".repeat(41).as_str())));
    }
}
