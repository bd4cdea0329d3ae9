//! The client's side of a connection that stays: a WebSocket, or a JSON or XML socket.

use super::answer::Answer;
use kennel_http::websocket::{Assembler, CloseCode, Decoder, Masking, Opcode, close};
use std::collections::VecDeque;

/// A client, as the made-up server counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// A message that the app sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// It is bytes, not text.
    pub binary: bool,
    /// Text is UTF-8.
    pub payload: Vec<u8>,
}

/// How a conversation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// As in a close frame; 1005 where the wire tells none, 1006 where it broke off.
    pub code: u16,
    /// Perhaps empty.
    pub reason: String,
}

/// The largest message that a client takes.
const LARGEST: usize = 256 << 20;

/// What a client of this kind has heard so far.
#[derive(Debug)]
pub(super) struct Socket {
    kind: Kind,
    pub(super) inbox: VecDeque<Message>,
    pub(super) ended: Option<Ended>,
}

#[derive(Debug)]
enum Kind {
    /// A WebSocket whose handshake is not answered: the bytes of the answer so far.
    Asking(Vec<u8>),
    /// One whose handshake was refused, with these bytes.
    Refused(Vec<u8>),
    WebSocket {
        decoder: Decoder,
        assembler: Assembler,
        head: Answer,
    },
    /// Messages with a NUL behind each: the beginning of one.
    Plain(Vec<u8>),
}

/// What a client says on its own: the flags of a frame, and its payload.
pub(super) type Frame = (u8, Vec<u8>);

impl Socket {
    /// A WebSocket that has sent its handshake.
    pub(super) fn asking() -> Self {
        Self { kind: Kind::Asking(Vec::new()), inbox: VecDeque::new(), ended: None }
    }

    /// A JSON or XML socket.
    pub(super) fn plain() -> Self {
        Self { kind: Kind::Plain(Vec::new()), inbox: VecDeque::new(), ended: None }
    }

    pub(super) fn is_websocket(&self) -> bool {
        !matches!(self.kind, Kind::Plain(_))
    }

    /// Whether it may send and receive messages.
    pub(super) fn is_open(&self) -> bool {
        self.ended.is_none() && matches!(self.kind, Kind::WebSocket { .. } | Kind::Plain(_))
    }

    /// The answer to its handshake, once there is one: 101 or a refusal.
    pub(super) fn answer(&self, closed: bool) -> Option<Answer> {
        match &self.kind {
            Kind::WebSocket { head, .. } => Some(head.clone()),
            Kind::Refused(bytes) => Answer::read(bytes, false, closed),
            Kind::Asking(_) | Kind::Plain(_) => None,
        }
    }

    /// Takes what the server wrote; gives what the client answers by itself, as browsers do.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Vec<Frame> {
        match &mut self.kind {
            Kind::Asking(so_far) => {
                so_far.extend_from_slice(bytes);
                let Some(end) = memchr::memmem::find(so_far, b"\r\n\r\n") else { return Vec::new() };
                let (all, head) = (std::mem::take(so_far), end + 4);
                if !all.starts_with(b"HTTP/1.1 101 ") {
                    self.kind = Kind::Refused(all);
                    return Vec::new();
                }
                self.kind = Kind::WebSocket {
                    decoder: Decoder::new(Masking::Forbidden, LARGEST, false),
                    assembler: Assembler::new(LARGEST),
                    head: Answer::read(&all[..head], true, false).unwrap_or_default(),
                };
                self.receive(&all[head..])
            }
            Kind::Refused(so_far) => {
                so_far.extend_from_slice(bytes);
                Vec::new()
            }
            Kind::WebSocket { .. } => self.read_frames(bytes),
            Kind::Plain(so_far) => {
                so_far.extend_from_slice(bytes);
                while let Some(end) = memchr::memchr(0, so_far) {
                    let payload = so_far[..end].to_vec();
                    so_far.drain(..=end);
                    self.inbox.push_back(Message { binary: false, payload });
                }
                Vec::new()
            }
        }
    }

    fn read_frames(&mut self, mut bytes: &[u8]) -> Vec<Frame> {
        let mut said = Vec::new();
        while self.ended.is_none()
            && let Kind::WebSocket { decoder, assembler, .. } = &mut self.kind
        {
            let frame = match decoder.read(&mut bytes) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(violation) => {
                    self.end(violation.code.0, violation.reason);
                    break;
                }
            };
            match frame.opcode() {
                Opcode::Ping => said.push((0x8a, frame.payload)),
                Opcode::Close => {
                    let (code, reason) = close::parse(&frame.payload).unwrap_or((CloseCode::PROTOCOL, ""));
                    let ended = Ended { code: code.0, reason: reason.to_owned() };
                    said.push((0x88, frame.payload));
                    self.ended = Some(ended);
                }
                _ => match assembler.push(frame) {
                    Ok(Some(whole)) if matches!(whole.opcode(), Opcode::Text | Opcode::Binary) => {
                        let binary = whole.opcode() == Opcode::Binary;
                        self.inbox.push_back(Message { binary, payload: whole.payload });
                    }
                    Ok(_) => {}
                    Err(violation) => self.end(violation.code.0, violation.reason),
                },
            }
        }
        said
    }

    /// It is over, unless it was before.
    pub(super) fn end(&mut self, code: u16, reason: &str) {
        self.ended.get_or_insert_with(|| Ended { code, reason: reason.to_owned() });
    }

    /// The server has closed the connection.
    pub(super) fn hung_up(&mut self) {
        match self.kind {
            Kind::Plain(_) => self.end(1005, ""),
            _ => self.end(1006, ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Socket {
        let mut socket = Socket::asking();
        assert!(
            socket.receive(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Protocol: a\r\n").is_empty()
        );
        assert!(!socket.is_open());
        assert!(socket.receive(b"\r\n\x81\x01").is_empty());
        assert!(socket.is_open());
        socket
    }

    #[test]
    fn frames_are_messages_however_they_are_cut() {
        let mut socket = open();
        socket.receive(b"x\x02\x01a\x80\x01");
        socket.receive(b"b");
        let message = |binary, text: &str| Message { binary, payload: text.into() };
        assert_eq!(socket.inbox, [message(false, "x"), message(true, "ab")]);
        assert_eq!(socket.answer(false).unwrap().header("sec-websocket-protocol"), Some(&b"a"[..]));
    }

    #[test]
    fn a_ping_is_answered_and_so_is_a_close() {
        let mut socket = open();
        assert_eq!(socket.receive(b"x\x89\x01p"), [(0x8a, b"p".to_vec())]);
        assert_eq!(socket.receive(b"\x88\x05\x0f\xa0bye"), [(0x88, b"\x0f\xa0bye".to_vec())]);
        assert_eq!(socket.ended, Some(Ended { code: 4000, reason: "bye".into() }));
        socket.hung_up();
        assert_eq!(socket.ended.as_ref().map(|ended| ended.code), Some(4000));
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let mut socket = Socket::asking();
        socket.receive(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        assert_eq!(
            socket.answer(false).map(|answer| (answer.status, answer.body)),
            Some((403, b"no".to_vec()))
        );
        assert!(!socket.is_open());
    }

    #[test]
    fn a_plain_socket_has_a_nul_behind_each_message() {
        let mut socket = Socket::plain();
        socket.receive(b"{}\0{\"a\"");
        socket.receive(b":1}\0");
        let texts: Vec<_> = socket.inbox.iter().map(|message| &message.payload[..]).collect();
        assert_eq!(texts, [&b"{}"[..], b"{\"a\":1}"]);
        socket.hung_up();
        assert_eq!(socket.ended.map(|ended| ended.code), Some(1005));
    }
}
