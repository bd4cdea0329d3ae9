//! A client of the simulation that stays and speaks: what it said, and whether what it gets is what was
//! meant for it, whole and in order.

use super::super::mongrel2::split_response;
use super::wire::Wire;
use kennel_http::websocket::{Codec, Deflate};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A message that a script sent, to it or to a room that it was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meant {
    /// Unique in the simulation, and the payload's beginning.
    pub number: u64,
    pub size: usize,
    pub binary: bool,
}

#[derive(Debug)]
pub(super) struct Talker {
    pub path: &'static str,
    /// WebSocket frames are compressed now and then.
    pub deflate: bool,
    /// Another hub had said yes to it.
    pub adopted: bool,
    /// Its page may not connect.
    pub evil: bool,
    /// Messages to a socket are counted as base64.
    pub raw_payload: bool,
    pub greeted: bool,
    /// It got its 101, or needs none.
    pub open: bool,
    /// Messages said so far; each carries its number.
    pub said: u64,
    /// It said its last word, or broke a rule.
    pub done: bool,
    /// It got a close frame, and when.
    pub told: Option<Instant>,
    pub closed_at: Option<Instant>,
    pub gone_at: Option<Instant>,
    /// It died and nobody says so.
    pub mute: bool,
    /// It reads little.
    pub slow: bool,
    /// Payloads of pings that want an answer.
    pub to_pong: VecDeque<Vec<u8>>,
    /// Payloads of its own pings.
    pub pinged: VecDeque<Vec<u8>>,
    pub meant: VecDeque<Meant>,
    pub wire: Wire,
    stream: Vec<u8>,
    pub got: u64,
}

impl Talker {
    pub fn new(path: &'static str) -> Self {
        Self {
            path,
            deflate: false,
            adopted: false,
            evil: false,
            raw_payload: true,
            greeted: false,
            open: false,
            said: 0,
            done: false,
            told: None,
            closed_at: None,
            gone_at: None,
            mute: false,
            slow: false,
            to_pong: VecDeque::new(),
            pinged: VecDeque::new(),
            meant: VecDeque::new(),
            wire: Wire::default(),
            stream: Vec::new(),
            got: 0,
        }
    }

    pub fn is_socket(&self) -> bool {
        self.path.starts_with(['@', '<'])
    }

    /// What is too much for it may be left out.
    fn may_miss(&self) -> bool {
        self.path == "/drop"
    }

    pub fn is_there(&self) -> bool {
        self.closed_at.is_none() && self.gone_at.is_none() && !self.mute
    }

    pub fn may_speak(&self) -> bool {
        self.is_there() && self.open && !self.done
    }

    /// Nobody ended it.
    pub fn is_well(&self) -> bool {
        self.may_speak() && self.told.is_none()
    }

    pub fn expect(&mut self, meant: Meant) {
        self.meant.push_back(meant);
    }

    /// A message of the hub. `overflowed`: clients were cut off that did not read.
    pub fn receive(
        &mut self,
        payload: &[u8],
        flow_control: bool,
        overflowed: bool,
        codec: &mut Codec,
        now: Instant,
    ) {
        if let Some(at) = self.gone_at {
            // What went to a room in the same turn was written already when the notice came.
            assert!(at == now, "sent to a client that is gone");
            return;
        }
        assert!(self.closed_at.is_none(), "sent after the close: {}", payload.escape_ascii());
        let base64 = self.is_socket() && !self.raw_payload;
        // Mongrel2 takes one NUL off before it writes base64.
        let plain = payload.strip_suffix(b"\0").unwrap_or(payload);
        let size = if base64 { plain.len().div_ceil(3) * 4 } else { payload.len() };
        self.wire.take(size, flow_control, now);
        if payload.is_empty() {
            self.closed_at = Some(now);
            // Before it is taken it may get an answer in pieces.
            let answer = !self.open && self.stream.windows(13).any(|w| w == b"\r\nx-streams: ");
            let whole = self.stream.is_empty() || overflowed || answer;
            assert!(whole, "closed inside a frame: {}", self.stream.escape_ascii());
            return;
        }
        self.stream.extend_from_slice(payload);
        let stream = std::mem::take(&mut self.stream);
        let mut rest = &stream[..];
        if !self.is_socket() && !self.adopted {
            while !self.open
                && let Some((status, head, _, after)) = split_response(rest, false)
            {
                assert!(self.greeted, "an answer before the question");
                assert!(status != 101 || !self.evil, "{head}");
                self.open = status == 101;
                rest = after;
            }
        }
        while self.open
            && let Some(after) =
                if self.is_socket() { self.read_text(rest) } else { self.read_frame(rest, codec, now) }
        {
            rest = after;
        }
        self.stream = rest.to_vec();
    }

    fn read_text<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let at = bytes.iter().position(|byte| *byte == 0)?;
        self.hear(&bytes[..at], None);
        Some(&bytes[at + 1..])
    }

    fn read_frame<'a>(&mut self, bytes: &'a [u8], codec: &mut Codec, now: Instant) -> Option<&'a [u8]> {
        let (first, size, rest) = match bytes {
            [first, 126, a, b, rest @ ..] => (first, usize::from(u16::from_be_bytes([*a, *b])), rest),
            [first, 127, rest @ ..] => (first, u64::from_be_bytes(*rest.first_chunk()?) as usize, &rest[8..]),
            [_, 126, ..] => return None,
            [first, size, rest @ ..] => {
                assert!(*size < 126, "a server masks nothing");
                (first, usize::from(*size), rest)
            }
            _ => return None,
        };
        let (payload, rest) = rest.split_at_checked(size)?;
        match first {
            0x81 | 0x82 => self.hear(payload, Some(*first == 0x82)),
            0xc1 | 0xc2 => {
                assert!(self.deflate, "compressed without being asked");
                let payload = codec.inflate(payload, 1 << 20).unwrap();
                self.hear(&payload, Some(*first == 0xc2));
            }
            0x88 => {
                assert!(self.told.is_none(), "two closes");
                self.told = Some(now);
            }
            0x89 => self.to_pong.push_back(payload.to_vec()),
            0x8a => {
                while let Some(ping) = self.pinged.pop_front() {
                    if ping == payload {
                        return Some(rest);
                    }
                    assert!(self.may_miss(), "a ping without its pong");
                }
                panic!("a pong for no ping: {}", payload.escape_ascii());
            }
            other => panic!("a frame {other:#x}"),
        }
        Some(rest)
    }

    fn hear(&mut self, payload: &[u8], binary: Option<bool>) {
        assert!(self.told.is_none(), "a message after the close frame: {:.40}", payload.escape_ascii());
        let end = payload.iter().position(|byte| *byte == b':').expect("a message of the simulation");
        let number: u64 = std::str::from_utf8(&payload[..end]).unwrap().parse().unwrap();
        self.got += 1;
        while let Some(meant) = self.meant.pop_front() {
            if meant.number == number {
                assert!(meant.size == payload.len(), "a part of a message");
                assert!(binary.is_none_or(|binary| binary == meant.binary));
                return;
            }
            assert!(self.may_miss(), "{number} came before {} to {}", meant.number, self.path);
        }
        panic!("{number} was not meant for this client");
    }

    /// A payload in the form in which it goes out, and its first byte.
    pub fn compressed(payload: &[u8], codec: &mut Codec) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(codec.compress(payload, Deflate::default(), &mut out));
        out
    }

    /// After a while in which nobody did anything strange.
    pub fn check_quiet(&self) {
        if self.is_well() {
            assert!(self.meant.is_empty() || self.may_miss(), "did not arrive: {:?}", self.meant);
            assert!(self.stream.is_empty(), "half a frame");
            assert!(self.pinged.is_empty() || self.may_miss(), "no pong came");
        }
    }

    pub fn was_closed_lately(&self, now: Instant) -> bool {
        self.gone_at.is_none() && self.closed_at.is_some_and(|at| now - at < Duration::from_secs(1))
    }
}
