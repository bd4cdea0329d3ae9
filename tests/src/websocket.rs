//! A WebSocket client that sends exactly the frames it is given and hides none of those that come back.
//!
//! The one thing that it does by itself is to answer pings while it reads, as all clients do, since a server may
//! ask at any time; [`WebSocket::answer_no_pings`] makes it show them instead.

use crate::client::{Client, Response};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

/// The last frame of a message.
pub const FIN: u8 = 0x80;
/// The bit of compressed messages.
pub const RSV1: u8 = 0x40;
/// Opcode of a message's further frames.
pub const CONTINUATION: u8 = 0x0;
/// Opcode of texts.
pub const TEXT: u8 = 0x1;
/// Opcode of everything else.
pub const BINARY: u8 = 0x2;
/// Opcode of the last frame.
pub const CLOSE: u8 = 0x8;
/// Opcode of a question whether one lives.
pub const PING: u8 = 0x9;
/// Opcode of its answer.
pub const PONG: u8 = 0xa;

/// The key of every handshake; that it is no secret harms no test.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server makes of [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// The header with which a client offers compression.
pub const DEFLATE: (&str, &str) = ("Sec-WebSocket-Extensions", "permessage-deflate");

/// The mask of all frames, since it has to be one.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The bytes of an opening handshake. A header of `headers` takes the place of the usual one of its name.
pub fn handshake(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        ("Host", "localhost"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    let is_replaced = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let mut text = format!("GET {path} HTTP/1.1\r\n");
    for (name, value) in usual.iter().filter(|(name, _)| !is_replaced(name)).chain(headers) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// The bytes of a client's frame with this first byte.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = frame_head(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The head of a client's frame that announces so many bytes.
pub fn frame_head(first: u8, size: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match size {
        0..=125 => bytes.push(0x80 | size as u8),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((size as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(size.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

/// The payload of a close frame.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// FIN, RSV bits and opcode.
    pub first: u8,
    /// Unmasked, as servers send.
    pub payload: Vec<u8>,
}

impl Frame {
    /// What kind it is.
    pub fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// Whether a bit like [`FIN`] or [`RSV1`] is set.
    pub fn has(&self, bit: u8) -> bool {
        self.first & bit != 0
    }
}

/// What a connection may bring: whole messages, control frames, its end.
#[derive(Clone, PartialEq, Eq)]
pub enum Received {
    /// A text, inflated if it was compressed.
    Text(String),
    /// Any other message.
    Binary(Vec<u8>),
    /// The server asks. Comes only after [`WebSocket::answer_no_pings`].
    Ping(Vec<u8>),
    /// The server answers.
    Pong(Vec<u8>),
    /// Code, if there is one, and reason.
    Close(Option<u16>, String),
    /// The connection is closed.
    End,
}

impl fmt::Debug for Received {
    /// Short, since messages may be of any size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |bytes: &[u8]| {
            let more = if bytes.len() > 100 { "..." } else { "" };
            format!("{} bytes `{}{more}`", bytes.len(), bytes[..bytes.len().min(100)].escape_ascii())
        };
        match self {
            Self::Text(text) => write!(f, "a text of {}", short(text.as_bytes())),
            Self::Binary(bytes) => write!(f, "a binary message of {}", short(bytes)),
            Self::Ping(bytes) => write!(f, "a ping of {}", short(bytes)),
            Self::Pong(bytes) => write!(f, "a pong of {}", short(bytes)),
            Self::Close(code, reason) => write!(f, "a close with {code:?} `{reason}`"),
            Self::End => f.write_str("the connection's end"),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct WebSocket {
    client: Client,
    response: Response,
    inflater: Option<Inflater>,
    shows_pings: bool,
}

impl WebSocket {
    /// Connects to a port of 127.0.0.1 and opens a path.
    ///
    /// # Panics
    ///
    /// When nobody listens, or it is refused.
    pub fn open(port: u16, path: &str) -> Self {
        Self::open_with(port, path, &[])
    }

    /// The same with headers; one takes the place of the usual one of its name.
    ///
    /// # Panics
    ///
    /// As [`open`](Self::open).
    pub fn open_with(port: u16, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::open_and_send(port, path, headers, &[])
    }

    /// The same, with bytes behind the handshake in the same write, before any response.
    ///
    /// # Panics
    ///
    /// As [`open`](Self::open).
    pub fn open_and_send(port: u16, path: &str, headers: &[(&str, &str)], more: &[u8]) -> Self {
        let mut client = Client::connect(port);
        client.send([&handshake(path, headers), more].concat());
        let response = client.read();
        let has = |name: &str, value: &str| {
            response.header(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        assert!(
            response.status == 101
                && has("upgrade", "websocket")
                && has("connection", "upgrade")
                && response.header("sec-websocket-accept") == Some(ACCEPT),
            "{path}: no WebSocket, but {response:?}"
        );
        let extension = response.header("sec-websocket-extensions").unwrap_or_default();
        let inflater = extension
            .starts_with("permessage-deflate")
            .then(|| Inflater::new(extension.contains("server_no_context_takeover")));
        Self { client, response, inflater, shows_pings: false }
    }

    /// The response to the handshake.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// Sends a text in one frame.
    ///
    /// # Panics
    ///
    /// When the connection is gone.
    pub fn send(&mut self, text: impl AsRef<str>) {
        self.send_frame(FIN | TEXT, text.as_ref());
    }

    /// Sends a binary message in one frame.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_binary(&mut self, bytes: impl AsRef<[u8]>) {
        self.send_frame(FIN | BINARY, bytes);
    }

    /// Sends a frame with this first byte.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_frame(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        self.send_bytes(frame(first, payload));
    }

    /// Sends a close frame.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_close(&mut self, code: u16, reason: &str) {
        self.send_frame(FIN | CLOSE, close_payload(code, reason));
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_bytes(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.send(bytes);
    }

    /// Reads one frame.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` or `ConnectionReset` when the connection is closed, `WouldBlock` when none comes in time.
    ///
    /// # Panics
    ///
    /// When it is masked, or its size is written longer than need be.
    pub fn try_read_frame(&mut self) -> io::Result<Frame> {
        let head = self.client.try_read_bytes(2)?;
        assert!(head[1] & 0x80 == 0, "a server's frame is not masked: {head:?}");
        let size = match head[1] {
            126 => {
                let size = self.client.try_read_bytes(2)?;
                let size = usize::from(u16::from_be_bytes([size[0], size[1]]));
                assert!(size > 125, "{size} would fit into the first length");
                size
            }
            127 => {
                let size = self.client.try_read_bytes(8)?;
                let size = size.iter().fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
                assert!(size > 0xffff, "{size} would fit into the second length");
                usize::try_from(size).expect("a machine of 64 bits")
            }
            size => usize::from(size),
        };
        Ok(Frame { first: head[0], payload: self.client.try_read_bytes(size)? })
    }

    /// Reads one frame.
    ///
    /// # Panics
    ///
    /// When none comes, and as [`try_read_frame`](Self::try_read_frame).
    pub fn read_frame(&mut self) -> Frame {
        self.try_read_frame().unwrap_or_else(|e| panic!("no frame: {e}"))
    }

    /// From now on the server's pings are left to the test.
    pub fn answer_no_pings(&mut self) {
        self.shows_pings = true;
    }

    /// Reads the next message, control frame or end. A ping is answered and passed over.
    ///
    /// # Panics
    ///
    /// When none comes in time, or what comes breaks the protocol. A control frame between the fragments of a
    /// message would be legal, but the server's messages have one frame each.
    pub fn read(&mut self) -> Received {
        loop {
            match self.read_next() {
                Received::Ping(payload) if !self.shows_pings => {
                    // Whoever asked may be gone.
                    let _ = self.client.try_send(frame(FIN | PONG, payload));
                }
                received => return received,
            }
        }
    }

    fn read_next(&mut self) -> Received {
        let frame = match self.try_read_frame() {
            Ok(frame) => frame,
            Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return Received::End;
            }
            Err(e) => panic!("nothing comes: {e}"),
        };
        assert!(frame.has(FIN), "a fragment: {:#x}", frame.first);
        assert!(frame.first & 0x30 == 0, "a reserved bit: {:#x}", frame.first);
        let mut payload = frame.payload;
        if frame.first & RSV1 != 0 {
            assert!(frame.first & 0x0f < CLOSE, "a compressed control frame: {:#x}", frame.first);
            let inflater = self.inflater.as_mut().expect("compression was agreed to");
            payload = inflater.inflate(&payload);
        }
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text is UTF-8");
        match frame.first & 0x0f {
            TEXT => Received::Text(text(payload)),
            BINARY => Received::Binary(payload),
            // By this one the hub asks what has arrived; every client answers it without a word to anybody.
            PING if payload == b"arrived?" => {
                self.send_frame(FIN | PONG, payload);
                self.read()
            }
            PING => Received::Ping(payload),
            PONG => Received::Pong(payload),
            CLOSE => {
                assert!(payload.len() != 1, "half a close code");
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                Received::Close(code, text(payload.split_off(payload.len().min(2))))
            }
            opcode => panic!("an unknown opcode: {opcode:#x}"),
        }
    }

    /// Reads a text.
    ///
    /// # Panics
    ///
    /// When anything else comes.
    pub fn read_text(&mut self) -> String {
        match self.read() {
            Received::Text(text) => text,
            other => panic!("no text, but {other:?}"),
        }
    }

    /// Reads a binary message.
    ///
    /// # Panics
    ///
    /// When anything else comes.
    pub fn read_binary(&mut self) -> Vec<u8> {
        match self.read() {
            Received::Binary(bytes) => bytes,
            other => panic!("no binary message, but {other:?}"),
        }
    }

    /// Sends a text and reads one.
    ///
    /// # Panics
    ///
    /// When anything else comes.
    pub fn ask(&mut self, text: impl AsRef<str>) -> String {
        self.send(text);
        self.read_text()
    }

    /// Reads the close frame, answers it, and waits for the connection's end.
    ///
    /// # Panics
    ///
    /// When anything else comes, before or after it.
    pub fn read_close(&mut self) -> (u16, String) {
        match self.read() {
            Received::Close(Some(code), reason) => {
                self.end_after_close(code);
                (code, reason)
            }
            other => panic!("no close with a code, but {other:?}"),
        }
    }

    /// The same, past all messages before it.
    ///
    /// # Panics
    ///
    /// When none comes, or something after it.
    pub fn skip_to_close(&mut self) -> (u16, String) {
        loop {
            match self.read() {
                Received::Close(Some(code), reason) => {
                    self.end_after_close(code);
                    return (code, reason);
                }
                Received::Close(None, _) | Received::End => panic!("an end without a code"),
                _ => {}
            }
        }
    }

    fn end_after_close(&mut self, code: u16) {
        // Whoever does not wait for the answer is gone already.
        let _ = self.client.try_send(frame(FIN | CLOSE, close_payload(code, "")));
        let rest = self.client.read_to_end();
        assert!(rest.is_empty(), "something after the close: {}", rest.escape_ascii());
    }

    /// Closes in good order: sends a close frame, and waits for the same code and the connection's end.
    ///
    /// # Panics
    ///
    /// When anything else comes.
    pub fn close(mut self, code: u16, reason: &str) {
        self.send_close(code, reason);
        match self.read() {
            Received::Close(answer, _) => assert_eq!(answer, Some(code), "the code comes back"),
            other => panic!("no close, but {other:?}"),
        }
        let rest = self.client.read_to_end();
        assert!(rest.is_empty(), "something after the close: {}", rest.escape_ascii());
    }

    /// Goes without a word; the server's system gets a reset.
    pub fn vanish(self) {
        self.client.vanish();
    }

    /// Whether nothing comes, and the connection stays open, for so long.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.client.is_silent_for(time)
    }

    /// How long reading may take.
    pub fn set_patience(&mut self, patience: Duration) {
        self.client.set_patience(patience);
    }

    /// Lets the system hold no more than some 100 KB for this client.
    pub fn hold_little(&self) {
        self.client.hold_little();
    }

    /// Another handle to the connection, to write while this one reads.
    pub fn writer(&self) -> TcpStream {
        self.client.writer()
    }
}

/// Compresses messages one after the other, as permessage-deflate has them.
#[derive(Debug)]
pub struct Deflater {
    state: Compress,
}

impl Default for Deflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Deflater {
    /// One that keeps what it has seen for later messages.
    pub fn new() -> Self {
        Self { state: Compress::new(Compression::best(), false) }
    }

    /// One message.
    ///
    /// # Panics
    ///
    /// Never, unless the library fails.
    pub fn deflate(&mut self, message: impl AsRef<[u8]>) -> Vec<u8> {
        let message = message.as_ref();
        let mut out = Vec::with_capacity(message.len() / 2 + 256);
        let begin = self.state.total_in();
        loop {
            let done = (self.state.total_in() - begin) as usize;
            self.state
                .compress_vec(&message[done..], &mut out, FlushCompress::Sync)
                .expect("compression does not fail");
            // With room to spare there is nothing more to come.
            if (self.state.total_in() - begin) as usize == message.len() && out.len() < out.capacity() {
                break;
            }
            out.reserve(out.capacity());
        }
        // A flush ends with an empty block, which the sender leaves out.
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]), "no end of a flush");
        out.truncate(out.len() - 4);
        out
    }
}

/// Reads what [`Deflater`]s write.
#[derive(Debug)]
pub struct Inflater {
    state: Decompress,
    forgets: bool,
}

impl Inflater {
    /// One that forgets, or keeps, what it has seen before each message.
    pub fn new(forgets: bool) -> Self {
        Self { state: Decompress::new(false), forgets }
    }

    /// One message.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    pub fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
        if self.forgets {
            self.state.reset(false);
        }
        let payload = [payload, &[0, 0, 0xff, 0xff]].concat();
        let mut out = Vec::with_capacity(payload.len() * 4 + 256);
        let begin = self.state.total_in();
        loop {
            let done = (self.state.total_in() - begin) as usize;
            self.state
                .decompress_vec(&payload[done..], &mut out, FlushDecompress::Sync)
                .expect("a compressed message that can be read");
            if (self.state.total_in() - begin) as usize == payload.len() && out.len() < out.capacity() {
                return out;
            }
            out.reserve(out.capacity());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_deflater_writes_an_inflater_reads() {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new(false));
        let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for message in [&b""[..], b"hello", b"hello", &[b'x'; 1_000_000], &noise, b"hello"] {
            let payload = deflater.deflate(message);
            assert!(inflater.inflate(&payload) == message, "{} bytes", message.len());
        }
        let again = deflater.deflate("hello");
        assert!(again.len() < 5, "it remembers: {again:?}");
    }

    #[test]
    fn frames_are_masked_and_of_the_shortest_form() {
        assert_eq!(frame(FIN | TEXT, "Hello"), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        assert_eq!(frame(FIN | BINARY, [0; 125])[1], 0x80 | 125);
        assert_eq!(frame(FIN | BINARY, [0; 126])[1..4], [0x80 | 126, 0, 126]);
        assert_eq!(frame_head(FIN | BINARY, 1 << 30)[..10], [0x82, 0x80 | 127, 0, 0, 0, 0, 0x40, 0, 0, 0]);
    }
}
