//! ZMTP 3.0, ZeroMQ's wire protocol (rfc.zeromq.org/spec/23), as far as a PULL, an XPUB and a REQ need it:
//! greeting, the NULL mechanism, frames. Bytes only; sockets are `connection`'s, and those of who else speaks it.
//!
//! We announce version 3.0, so that a newer peer sends subscriptions as messages, not as commands.

use thiserror::Error;

/// The greeting's size, bytes: signature 10, version 2, mechanism 20, as-server 1, filler 31.
const GREETING: usize = 64;
/// The largest message that is accepted, bytes. Mongrel2 holds a whole body in memory too.
const MAX_MESSAGE: u64 = 512 << 20;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What a peer did that ZMTP does not allow, or that we cannot deal with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ZmtpError {
    /// Another protocol is spoken at this address.
    #[error("no ZeroMQ socket answers there")]
    NotZmtp,
    /// libzmq before version 4.
    #[error("the peer speaks ZMTP {major}, at least 3 (libzmq 4) is needed")]
    TooOld {
        /// Its version.
        major: u8,
    },
    /// A peer with passwords or keys.
    #[error("the peer wants the security mechanism `{mechanism}`, Mongrel2 knows none")]
    Mechanism {
        /// What it asked for.
        mechanism: String,
    },
    /// A socket of another type: probably the two addresses are swapped.
    #[error("the socket there is a {found}, expected a {expected}; are send_spec and recv_spec swapped?")]
    SocketType {
        /// What it says it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The peer refused us.
    #[error("the peer refused: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
    /// Bytes that are no frame.
    #[error("the peer sent a malformed frame")]
    BadFrame,
    /// A frame beyond the bound.
    #[error("a message of {size} bytes, at most {MAX_MESSAGE} are accepted")]
    TooLarge {
        /// The size announced.
        size: u64,
    },
}

/// What we are, and so what the peer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes messages from a PUSH.
    Pull,
    /// Sends messages to a SUB and hears its subscriptions.
    Xpub,
    /// Asks a REP, one question at a time. Each message is an empty part, then the content.
    Req,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Pull => "PULL",
            Self::Xpub => "XPUB",
            Self::Req => "REQ",
        }
    }

    fn peer(self) -> &'static str {
        match self {
            Self::Pull => "PUSH",
            Self::Xpub => "SUB",
            Self::Req => "REP",
        }
    }
}

/// How far the conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ready,
    Open,
}

/// One conversation, from our side.
#[derive(Debug)]
pub struct Conversation {
    role: Role,
    stage: Stage,
}

impl Conversation {
    /// Begins a conversation; the bytes are to be sent first.
    pub fn begin(role: Role) -> (Self, Vec<u8>) {
        let mut out = vec![0; GREETING];
        out[0] = 0xff;
        out[9] = 0x7f;
        out[10] = 3;
        out[12..16].copy_from_slice(b"NULL");
        let mut ready = b"\x05READY\x0bSocket-Type".to_vec();
        ready.extend_from_slice(&(role.name().len() as u32).to_be_bytes());
        ready.extend_from_slice(role.name().as_bytes());
        out.push(COMMAND);
        out.push(ready.len() as u8);
        out.extend_from_slice(&ready);
        (Self { role, stage: Stage::Greeting }, out)
    }

    /// Whether messages flow.
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Reads what has come in, hands each message to `sink`, and returns how many bytes are used up.
    /// The parts of a message in several parts are messages of their own: Mongrel2 sends none to handlers.
    ///
    /// # Errors
    ///
    /// [`ZmtpError`]; the connection is of no use any more.
    #[inline]
    pub fn read(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, ZmtpError> {
        let mut rest = input;
        if self.stage == Stage::Greeting {
            check_greeting(rest)?;
            let Some(after) = rest.get(GREETING..) else { return Ok(0) };
            rest = after;
            self.stage = Stage::Ready;
        }
        while let Some((flags, body, after)) = split_frame(rest)? {
            rest = after;
            match (self.stage, flags & COMMAND != 0) {
                (Stage::Open, false) => sink(body),
                (Stage::Ready, true) => self.check_ready(body)?,
                // Commands that came with later versions: heartbeats and the like.
                (Stage::Open, true) => {}
                _ => return Err(ZmtpError::BadFrame),
            }
        }
        Ok(input.len() - rest.len())
    }

    fn check_ready(&mut self, body: &[u8]) -> Result<(), ZmtpError> {
        if let Some(reason) = body.strip_prefix(b"\x05ERROR") {
            let reason = String::from_utf8_lossy(reason.get(1..).unwrap_or_default()).into_owned();
            return Err(ZmtpError::Refused { reason });
        }
        let mut properties = body.strip_prefix(b"\x05READY").ok_or(ZmtpError::BadFrame)?;
        while let Some((name, value, rest)) = split_property(properties) {
            properties = rest;
            let fits = value == self.role.peer().as_bytes()
                || matches!((self.role, value), (Role::Xpub, b"XSUB") | (Role::Req, b"ROUTER"));
            if name.eq_ignore_ascii_case(b"Socket-Type") && !fits {
                let found = String::from_utf8_lossy(value).into_owned();
                return Err(ZmtpError::SocketType { found, expected: self.role.peer() });
            }
        }
        self.stage = Stage::Open;
        Ok(())
    }
}

/// Checks as much of a greeting as is there.
fn check_greeting(input: &[u8]) -> Result<(), ZmtpError> {
    let is = |at: usize, value: u8| input.get(at).is_none_or(|byte| *byte == value);
    if !is(0, 0xff) || input.get(9).is_some_and(|byte| byte & 1 == 0) {
        return Err(ZmtpError::NotZmtp);
    }
    if let Some(major) = input.get(10).copied().filter(|major| *major < 3) {
        return Err(ZmtpError::TooOld { major });
    }
    if let Some(mechanism) = input.get(12..32)
        && mechanism != b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    {
        let mechanism = String::from_utf8_lossy(mechanism).trim_end_matches('\0').to_owned();
        return Err(ZmtpError::Mechanism { mechanism });
    }
    Ok(())
}

/// A frame's flags and body, and what follows it.
type Frame<'a> = (u8, &'a [u8], &'a [u8]);

/// Splits a whole frame off. `None`: more is to come.
#[inline]
fn split_frame(input: &[u8]) -> Result<Option<Frame<'_>>, ZmtpError> {
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
pub fn frame_size(input: &[u8]) -> Option<usize> {
    let (&flags, rest) = input.split_first()?;
    match flags & LONG != 0 {
        true => rest.first_chunk().map(|size| 9 + u64::from_be_bytes(*size).min(MAX_MESSAGE) as usize),
        false => rest.first().map(|size| 2 + usize::from(*size)),
    }
}

fn split_property(input: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&size, rest) = input.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(size))?;
    let (size, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*size) as usize)?;
    Some((name, value, rest))
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

#[inline]
fn encode_frame(out: &mut Vec<u8>, flags: u8, message: &[u8]) {
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

    /// What a libzmq 4.3 PUSH with an identity sends: version 3.1, READY with two properties.
    fn push_opening() -> Vec<u8> {
        let (_, mut bytes) = Conversation::begin(Role::Pull);
        bytes[11] = 1;
        bytes.truncate(GREETING);
        let ready = b"\x05READY\x0bSocket-Type\0\0\0\x04PUSH\x08Identity\0\0\0\x02m2";
        bytes.extend_from_slice(&[COMMAND, ready.len() as u8]);
        bytes.extend_from_slice(ready);
        bytes
    }

    fn read_all(input: &[u8], role: Role) -> Result<(Vec<Vec<u8>>, usize), ZmtpError> {
        let (mut conversation, _) = Conversation::begin(role);
        let mut messages = Vec::new();
        let used = conversation.read(input, |message| messages.push(message.to_vec()))?;
        Ok((messages, used))
    }

    #[test]
    fn messages_of_every_size_arrive_however_they_are_cut() {
        let messages = [vec![], vec![1; 255], vec![2; 256], vec![3; 70_000]];
        let mut bytes = push_opening();
        messages.iter().for_each(|message| encode(&mut bytes, message));
        assert_eq!(read_all(&bytes, Role::Pull).unwrap(), (messages.to_vec(), bytes.len()));

        let (mut conversation, _) = Conversation::begin(Role::Pull);
        let (mut found, mut from) = (Vec::new(), 0);
        for end in 0..=bytes.len() {
            from += conversation.read(&bytes[from..end], |message| found.push(message.to_vec())).unwrap();
        }
        assert_eq!(found, messages);
    }

    #[test]
    fn wrong_peers_are_named() {
        let swapped = read_all(&push_opening(), Role::Xpub).unwrap_err();
        assert_eq!(swapped, ZmtpError::SocketType { found: "PUSH".into(), expected: "SUB" });
        assert_eq!(read_all(b"HTTP/1.1 400 Bad Request\r\n", Role::Pull), Err(ZmtpError::NotZmtp));
        let mut old = push_opening();
        old[10] = 1;
        assert_eq!(read_all(&old, Role::Pull), Err(ZmtpError::TooOld { major: 1 }));
        let mut curve = push_opening();
        curve[12..17].copy_from_slice(b"CURVE");
        assert!(matches!(read_all(&curve, Role::Pull), Err(ZmtpError::Mechanism { .. })));
    }

    #[test]
    fn nonsense_after_the_handshake_is_an_error_and_no_memory() {
        let with = |more: &[u8]| read_all(&[&push_opening(), more].concat(), Role::Pull);
        assert_eq!(with(&[0xff]), Err(ZmtpError::BadFrame));
        let huge = [&[LONG][..], &u64::MAX.to_be_bytes()].concat();
        assert_eq!(with(&huge), Err(ZmtpError::TooLarge { size: u64::MAX }));
        assert_eq!(with(&[COMMAND, 5, 4, b'P', b'I', b'N', b'G']).unwrap().0.len(), 0);
    }

    #[test]
    fn the_size_of_a_frame_is_known_from_its_head() {
        let mut bytes = Vec::new();
        encode(&mut bytes, &[0; 1000]);
        assert_eq!(frame_size(&bytes), Some(bytes.len()));
        assert_eq!(frame_size(&bytes[..5]), None);
    }
}
