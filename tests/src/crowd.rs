//! Many WebSockets that only read, in one thread: each checks every byte that it gets.
//!
//! Message number N of the test consists of the byte N modulo 128 alone, so a crowd keeps nothing of what it has read.

use crate::websocket::{self, PONG};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// WebSockets that have been accepted.
#[derive(Debug)]
pub struct Crowd {
    poller: OwnedFd,
    members: Vec<Member>,
}

/// How the members of a crowd are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Those that have all messages, whole and in order.
    pub complete: usize,
    /// Those that still wait for some.
    pub waiting: usize,
    /// Those that got something else, and what.
    pub broken: Vec<String>,
}

#[derive(Debug)]
struct Member {
    stream: TcpStream,
    /// The head of the frame that is being read.
    head: Vec<u8>,
    /// Whether the frame belongs to a message, and how much of its payload is to come.
    frame: Option<(bool, u64)>,
    /// Payloads of control frames.
    control: Vec<u8>,
    /// How many messages it has.
    messages: usize,
    broken: Option<String>,
}

impl Crowd {
    /// Opens `count` WebSockets at this path, one after the other.
    ///
    /// # Panics
    ///
    /// When one is refused.
    pub fn open(port: u16, path: &str, count: usize) -> Self {
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).expect("there is an epoll");
        let open = |number: usize| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
            stream.write_all(&websocket::handshake(path, &[])).expect("a handshake can be sent");
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("the handshake is answered");
                answer.push(byte[0]);
            }
            assert!(answer.starts_with(b"HTTP/1.1 101"), "refused: {}", answer.escape_ascii());
            stream.set_nonblocking(true).expect("a socket need not block");
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&poller, &stream, data, epoll::EventFlags::IN).expect("a socket can be watched");
            Member { stream, head: vec![], frame: None, control: vec![], messages: 0, broken: None }
        };
        let members = (0..count).map(open).collect();
        Self { poller, members }
    }

    /// Reads until each member has messages of these sizes, one after the other, or time is up. Members begin to count anew
    /// with each call.
    ///
    /// # Panics
    ///
    /// When the system does not let it wait.
    pub fn read(&mut self, sizes: &[usize], patience: Duration) -> Report {
        let deadline = Instant::now() + patience;
        self.members.iter_mut().for_each(|member| member.messages = 0);
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let mut buffer = vec![0; 256 << 10];
        let mut missing = self.members.iter().filter(|member| member.broken.is_none()).count();
        while missing > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            events.clear();
            let left = Timespec::try_from(left).expect("patience is short");
            epoll::wait(&self.poller, spare_capacity(&mut events), Some(&left)).expect("one can wait");
            for event in &events {
                let member = &mut self.members[event.data.u64() as usize];
                let had_all = member.messages >= sizes.len() || member.broken.is_some();
                member.read(&mut buffer, sizes);
                if member.broken.is_some() {
                    let _ = epoll::delete(&self.poller, &member.stream);
                }
                let has_all = member.messages >= sizes.len() || member.broken.is_some();
                missing -= usize::from(has_all && !had_all);
            }
        }
        self.report(sizes.len())
    }

    fn report(&self, messages: usize) -> Report {
        let broken: Vec<_> = self.members.iter().filter_map(|member| member.broken.clone()).collect();
        let sound = self.members.iter().filter(|member| member.broken.is_none());
        let complete = sound.clone().filter(|member| member.messages == messages).count();
        Report { complete, waiting: sound.count() - complete, broken }
    }

    /// Lets one member send a text.
    ///
    /// # Panics
    ///
    /// When it cannot be sent.
    pub fn say(&mut self, member: usize, text: &str) {
        let bytes = websocket::frame(websocket::FIN | websocket::TEXT, text);
        self.members[member].stream.write_all(&bytes).expect("there is room for a small message");
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl Member {
    fn read(&mut self, buffer: &mut [u8], sizes: &[usize]) {
        let result = match self.stream.read(buffer) {
            Ok(0) => Err("closed".to_owned()),
            Ok(size) => self.take(&buffer[..size], sizes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        self.broken = result.err().map(|problem| format!("at message {}: {problem}", self.messages));
    }

    fn take(&mut self, mut bytes: &[u8], sizes: &[usize]) -> Result<(), String> {
        while !bytes.is_empty() {
            let Some((is_message, left)) = &mut self.frame else {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                self.begin_frame(sizes)?;
                continue;
            };
            let size = (*left).min(bytes.len() as u64) as usize;
            let (payload, rest) = bytes.split_at(size);
            if *is_message {
                let expected = (self.messages % 128) as u8;
                if let Some(other) = payload.iter().find(|byte| **byte != expected) {
                    return Err(format!("byte {other:#x} in it"));
                }
            } else {
                self.control.extend_from_slice(payload);
            }
            bytes = rest;
            *left -= size as u64;
            if *left == 0 {
                self.end_frame()?;
            }
        }
        Ok(())
    }

    /// Reads a frame's head, if it is whole.
    fn begin_frame(&mut self, sizes: &[usize]) -> Result<(), String> {
        let size = match *self.head {
            [_, small @ 0..126] => u64::from(small),
            [_, 126, a, b] => u64::from(u16::from_be_bytes([a, b])),
            [_, 127, a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            [_, masked, ..] if masked >= 128 => return Err(format!("length {masked:#x} in a frame's head")),
            _ => return Ok(()),
        };
        let is_message = match self.head[0] {
            0x81 | 0x82 => true,
            0x89 | 0x8a => false,
            first => return Err(format!("a frame of {size} bytes that begins with {first:#x}")),
        };
        let expected = sizes.get(self.messages).map(|size| *size as u64);
        if is_message && expected != Some(size) {
            return Err(format!("{size} bytes, expected {expected:?}"));
        }
        self.frame = Some((is_message, size));
        if size == 0 {
            self.end_frame()?;
        }
        Ok(())
    }

    fn end_frame(&mut self) -> Result<(), String> {
        if let Some((true, _)) = self.frame {
            self.messages += 1;
        } else if self.head[0] == 0x89 {
            let pong = websocket::frame(websocket::FIN | PONG, &self.control);
            self.stream.write_all(&pong).map_err(|error| error.to_string())?;
        }
        self.control.clear();
        self.head.clear();
        self.frame = None;
        Ok(())
    }
}
