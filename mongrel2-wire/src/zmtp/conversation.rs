//! What the two sides of a connection say to each other: greeting, READY, then messages.

use super::error::ZmtpError;
use super::frame::{COMMAND, MORE, encode_frame, split_frame};
use super::role::Role;

/// The greeting's size, bytes: signature 10, version 2, mechanism 20, as-server 1, filler 31.
const GREETING: usize = 64;

/// How far the conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ready,
    Open,
}

/// What has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A message, or a part of one.
    Part {
        /// Its bytes.
        bytes: &'a [u8],
        /// No further part of this message follows.
        is_last: bool,
    },
    /// A heartbeat. A peer that sends them ends the connection when [`encode_pong`](super::encode_pong) does not answer.
    Ping {
        /// What the answer has to repeat.
        context: &'a [u8],
    },
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
        Self::begin_with(role, &[])
    }

    /// The same with further properties of ours, `Identity` for example. ZeroMQ's own have names without `X-`; peers
    /// ignore properties that they do not know. A name has at most 255 bytes.
    pub fn begin_with(role: Role, properties: &[(&str, &[u8])]) -> (Self, Vec<u8>) {
        let mut out = vec![0; GREETING];
        out[0] = 0xff;
        out[9] = 0x7f;
        out[10] = 3;
        out[12..16].copy_from_slice(b"NULL");
        let mut ready = b"\x05READY".to_vec();
        for (name, value) in [("Socket-Type", role.name().as_bytes())].iter().chain(properties) {
            ready.push(name.len() as u8);
            ready.extend_from_slice(name.as_bytes());
            ready.extend_from_slice(&(value.len() as u32).to_be_bytes());
            ready.extend_from_slice(value);
        }
        encode_frame(&mut out, COMMAND, &ready);
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
        self.read_all(input, |incoming| {
            if let Incoming::Part { bytes, .. } = incoming {
                sink(bytes);
            }
        })
    }

    /// The same with all that a side that listens has to know: which part of a message is its last, and heartbeats.
    ///
    /// # Errors
    ///
    /// [`ZmtpError`]; the connection is of no use any more.
    #[inline]
    pub fn read_all(&mut self, input: &[u8], mut sink: impl FnMut(Incoming<'_>)) -> Result<usize, ZmtpError> {
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
                (Stage::Open, false) => sink(Incoming::Part { bytes: body, is_last: flags & MORE == 0 }),
                (Stage::Ready, true) => self.check_ready(body)?,
                // Other commands came with later versions.
                (Stage::Open, true) => {
                    if let Some(context) = body.strip_prefix(b"\x04PING").and_then(|body| body.get(2..)) {
                        sink(Incoming::Ping { context });
                    }
                }
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
            if name.eq_ignore_ascii_case(b"Socket-Type") && !self.role.fits(value) {
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

fn split_property(input: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&size, rest) = input.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(size))?;
    let (size, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*size) as usize)?;
    Some((name, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zmtp::{encode, encode_part, encode_pong, is_command};

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
        let huge = [&[2][..], &u64::MAX.to_be_bytes()].concat();
        assert_eq!(with(&huge), Err(ZmtpError::TooLarge { size: u64::MAX }));
        assert_eq!(with(&[COMMAND, 5, 4, b'P', b'I', b'N', b'G']).unwrap().0.len(), 0);
    }

    /// What both sides of a connection say, one after the other, until nothing is left to say.
    fn meet(one: Role, other: Role) -> Result<(), ZmtpError> {
        let (mut here, opening) = Conversation::begin_with(one, &[("Identity", &[b'i'; 255])]);
        let (mut there, answer) = Conversation::begin(other);
        assert_eq!(there.read(&opening, |_| panic!("no message yet")), Ok(opening.len()));
        assert_eq!(here.read(&answer, |_| panic!("no message yet"))?, answer.len());
        assert!(here.is_open() && there.is_open());
        Ok(())
    }

    #[test]
    fn the_sides_that_fit_understand_each_other() {
        for (one, other) in [(Role::Push, Role::Pull), (Role::Sub, Role::Xpub), (Role::Rep, Role::Req)] {
            meet(one, other).unwrap();
            meet(other, one).unwrap();
        }
    }

    #[test]
    fn a_server_names_the_peer_that_it_does_not_expect() {
        let (_, pull) = Conversation::begin(Role::Pull);
        for (role, expected) in [(Role::Sub, "PUB"), (Role::Rep, "REQ")] {
            let problem = read_all(&pull, role).unwrap_err();
            assert_eq!(problem, ZmtpError::SocketType { found: "PULL".into(), expected });
        }
        let swapped = read_all(&Conversation::begin(Role::Xpub).1, Role::Push).unwrap_err();
        assert_eq!(swapped, ZmtpError::SocketType { found: "XPUB".into(), expected: "PULL" });
    }

    #[test]
    fn parts_and_heartbeats_are_told_apart() {
        let (mut server, _) = Conversation::begin(Role::Rep);
        let (_, mut bytes) = Conversation::begin(Role::Req);
        encode_part(&mut bytes, b"");
        encode(&mut bytes, b"question");
        encode_frame(&mut bytes, COMMAND, b"\x04PING\0\x0acontext");
        encode_frame(&mut bytes, COMMAND, b"\x04PING\0");
        let mut found = Vec::new();
        let used = server.read_all(&bytes, |incoming| found.push(format!("{incoming:?}"))).unwrap();
        assert_eq!(used, bytes.len());
        let expected = [
            Incoming::Part { bytes: b"", is_last: false },
            Incoming::Part { bytes: b"question", is_last: true },
            Incoming::Ping { context: b"context" },
        ];
        assert_eq!(found, expected.map(|incoming| format!("{incoming:?}")));
        let mut pong = Vec::new();
        encode_pong(&mut pong, b"context");
        assert_eq!(pong, b"\x04\x0c\x04PONGcontext");
        assert!(is_command(&pong));
    }
}
