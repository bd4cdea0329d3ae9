//! A client that leaves before it has its response.

use crate::socket::{Read, Socket};
use std::net::{Ipv4Addr, SocketAddrV4};
use tests::websocket;

/// How it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// With a reset.
    Reset,
    /// By `close`, with or without bytes that it has not read.
    Close,
    /// It says that it sends nothing more, and reads nothing more.
    HalfClose,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Reset, Self::Close, Self::HalfClose];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    /// A WebSocket's handshake is under way.
    Opening,
    Receiving,
    Left,
}

/// The client.
#[derive(Debug)]
pub(crate) struct Leaver {
    socket: Option<Socket>,
    state: State,
    way: Way,
    /// What it wants to have received before it leaves.
    appetite: usize,
    received: usize,
    request: Vec<u8>,
    /// What it says when its WebSocket is open.
    message: Option<Vec<u8>>,
}

impl Leaver {
    /// Connects. A path that begins with `/room` is that of a WebSocket.
    pub(crate) fn new(
        from: Ipv4Addr,
        to: SocketAddrV4,
        path: &str,
        room: &str,
        way: Way,
        appetite: usize,
    ) -> Self {
        let (request, message) = match path.starts_with("/room") {
            true => {
                let first = websocket::FIN | websocket::TEXT;
                (websocket::handshake(path, &[]), Some(websocket::frame(first, room)))
            }
            false => (format!("GET {path} HTTP/1.1\r\nHost: leavers\r\n\r\n").into_bytes(), None),
        };
        let socket = Socket::connect(from, to).ok();
        let state = if socket.is_some() { State::Connecting } else { State::Left };
        Self { socket, state, way, appetite, received: 0, request, message }
    }

    /// The socket to watch, and whether for writing.
    pub(crate) fn watched(&self) -> Option<(&Socket, bool)> {
        let socket = self.socket.as_ref()?;
        match self.state {
            State::Connecting => Some((socket, true)),
            State::Opening => Some((socket, false)),
            State::Receiving if self.received < self.appetite => Some((socket, false)),
            State::Receiving | State::Left => None,
        }
    }

    /// Does what can be done now that its socket is ready.
    pub(crate) fn advance(&mut self, buffer: &mut [u8]) {
        let Some(socket) = &self.socket else { return };
        match self.state {
            State::Connecting if socket.is_connected() && socket.send(&self.request) => {
                self.state = if self.message.is_some() { State::Opening } else { State::Receiving };
            }
            State::Connecting => self.give_up(),
            State::Opening => match socket.read(buffer) {
                // The response to a handshake is small and comes in one piece.
                Read::Bytes(size) if buffer[..size].starts_with(b"HTTP/1.1 101") => {
                    let is_sent = self.message.as_ref().is_some_and(|message| socket.send(message));
                    if is_sent { self.state = State::Receiving } else { self.give_up() }
                }
                Read::Nothing => {}
                Read::Bytes(_) | Read::End => self.give_up(),
            },
            State::Receiving => {
                let room = (self.appetite - self.received).min(buffer.len());
                match socket.read(&mut buffer[..room]) {
                    Read::Bytes(size) => self.received += size,
                    Read::Nothing => {}
                    Read::End => self.give_up(),
                }
            }
            State::Left => {}
        }
    }

    /// Whether it has received something and is still there.
    pub(crate) fn may_leave(&self) -> bool {
        self.state == State::Receiving && self.received > 0
    }

    /// Whether its request is under way, or never will be.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.state, State::Receiving | State::Left)
    }

    /// Whether it has received all that it wants, or will not.
    pub(crate) fn is_content(&self) -> bool {
        self.state == State::Left || (self.state == State::Receiving && self.received >= self.appetite)
    }

    /// Whether it has left, or could not stay.
    pub(crate) fn has_left(&self) -> bool {
        self.state == State::Left
    }

    /// Leaves. A socket that is only half closed stays until the client is dropped.
    pub(crate) fn leave(&mut self) {
        self.state = State::Left;
        match self.way {
            Way::Reset => {
                if let Some(socket) = self.socket.take() {
                    socket.reset();
                }
            }
            Way::Close => self.socket = None,
            Way::HalfClose => self.socket.iter().for_each(Socket::half_close),
        }
    }

    fn give_up(&mut self) {
        self.state = State::Left;
        self.socket = None;
    }
}
