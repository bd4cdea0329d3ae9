//! A client that connects when another one leaves, and must receive exactly its own response.

use crate::LEAVER;
use crate::socket::{Read, Socket};
use std::net::{Ipv4Addr, SocketAddrV4};

/// What became of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has its own response and nothing else.
    Right,
    /// It has received bytes that were meant for another client; the first of them.
    Leak(String),
    /// It has received another thing than its response; the first of it.
    Wrong(String),
    /// It has received nothing, or not all.
    Unanswered(String),
}

/// The client.
#[derive(Debug)]
pub(crate) struct Newcomer {
    socket: Option<Socket>,
    is_connected: bool,
    tag: String,
    received: Vec<u8>,
    has_ended: bool,
}

impl Newcomer {
    /// How often the tag is repeated in the response.
    const REPETITIONS: usize = 40;

    /// Connects.
    pub(crate) fn new(from: Ipv4Addr, to: SocketAddrV4, tag: String) -> Self {
        let socket = Socket::connect(from, to).ok();
        Self { socket, is_connected: false, tag, received: Vec::new(), has_ended: false }
    }

    /// The socket to watch, and whether for writing.
    pub(crate) fn watched(&self) -> Option<(&Socket, bool)> {
        if self.is_done() {
            return None;
        }
        self.socket.as_ref().map(|socket| (socket, !self.is_connected))
    }

    /// Does what can be done now that its socket is ready. Returns whether the connection has come about just now.
    pub(crate) fn advance(&mut self, buffer: &mut [u8]) -> bool {
        let Some(socket) = &self.socket else { return false };
        if !self.is_connected {
            let request = format!("GET /own/{} HTTP/1.1\r\nHost: newcomer\r\n\r\n", self.tag);
            self.is_connected = socket.is_connected() && socket.send(request.as_bytes());
            self.has_ended = !self.is_connected;
            return self.is_connected;
        }
        match socket.read(buffer) {
            Read::Bytes(size) => self.received.extend_from_slice(&buffer[..size]),
            Read::Nothing => {}
            Read::End => self.has_ended = true,
        }
        false
    }

    /// Whether nothing more is to be expected.
    pub(crate) fn is_done(&self) -> bool {
        self.has_ended || self.socket.is_none() || self.judge(false) != Outcome::Unanswered(String::new())
    }

    /// Reads what came behind the response, and judges.
    pub(crate) fn finish(mut self, buffer: &mut [u8]) -> Outcome {
        if let Some(socket) = &self.socket
            && let Read::Bytes(size) = socket.read(buffer)
        {
            self.received.extend_from_slice(&buffer[..size]);
        }
        self.judge(true)
    }

    /// `at_end`: what is missing now will not come, and an explanation is wanted.
    fn judge(&self, at_end: bool) -> Outcome {
        if contains(&self.received, LEAVER.as_bytes()) {
            return Outcome::Leak(self.beginning());
        }
        // The beginning of another one's response may come without its text at first.
        let head_end = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4);
        let body = self.tag.repeat(Self::REPETITIONS);
        match head_end {
            Some(end) if self.received.starts_with(b"HTTP/1.1 200 OK\r\n") => {
                let rest = &self.received[end..];
                match rest == body.as_bytes() {
                    true => Outcome::Right,
                    false if body.as_bytes().starts_with(rest) => self.unanswered(at_end),
                    false => Outcome::Wrong(self.beginning()),
                }
            }
            None if self.received.len() < 4096 => self.unanswered(at_end),
            _ => Outcome::Wrong(self.beginning()),
        }
    }

    fn unanswered(&self, at_end: bool) -> Outcome {
        Outcome::Unanswered(match at_end {
            true => format!(
                "connected: {}, ended: {}, received {} bytes: {}",
                self.is_connected,
                self.has_ended,
                self.received.len(),
                self.beginning()
            ),
            false => String::new(),
        })
    }

    fn beginning(&self) -> String {
        self.received[..self.received.len().min(120)].escape_ascii().to_string()
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(text, word).is_some()
}
