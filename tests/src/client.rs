//! An HTTP client that sends exactly the bytes it is given and hides nothing of what comes back.

use crate::wait::PATIENCE;
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use serde_json::Value;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    inbox: Vec<u8>,
}

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// `HTTP/1.1`
    pub version: String,
    /// As a number.
    pub status: u16,
    /// The words after the status.
    pub reason: String,
    /// In the order of the wire, names as written.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).into_iter().next()
    }

    /// All values of a header.
    pub fn headers_named(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// The bytes of a GET.
pub fn get(path: &str) -> Vec<u8> {
    request("GET", path, &[], b"")
}

/// The bytes of a request of HTTP/1.1, with Host, and Content-Length if there is a body.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

impl Client {
    /// Connects to a port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When nobody listens.
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap_or_else(|e| panic!("cannot connect to port {port}: {e}"))
    }

    /// The same, as a result.
    ///
    /// # Errors
    ///
    /// When nobody listens.
    pub fn try_connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, inbox: Vec::new() })
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    ///
    /// When the connection is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the connection takes the request");
    }

    /// The same, as a result.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends a GET and reads its response.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub fn get(&mut self, path: &str) -> Response {
        self.send(get(path));
        self.read()
    }

    /// Reads one response.
    ///
    /// # Panics
    ///
    /// When none comes within [`PATIENCE`].
    pub fn read(&mut self) -> Response {
        self.try_read().unwrap_or_else(|e| panic!("no whole response ({e}), but {:?}", self.seen()))
    }

    /// Reads the response to a HEAD: headers only.
    ///
    /// # Panics
    ///
    /// As [`read`](Self::read).
    pub fn read_head(&mut self) -> Response {
        self.receive(true).unwrap_or_else(|e| panic!("no whole head ({e}), but {:?}", self.seen()))
    }

    /// Reads one response, or says how the connection ended.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when it was closed, `WouldBlock` after [`PATIENCE`].
    pub fn try_read(&mut self) -> io::Result<Response> {
        self.receive(false)
    }

    fn seen(&self) -> String {
        self.inbox[..self.inbox.len().min(300)].escape_ascii().to_string()
    }

    fn receive(&mut self, head_only: bool) -> io::Result<Response> {
        let head_size = loop {
            match self.inbox.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.fill()?,
            }
        };
        let head: Vec<u8> = self.inbox.drain(..head_size).collect();
        let wrong =
            |what: &str| io::Error::new(ErrorKind::InvalidData, format!("{what}: {}", head.escape_ascii()));
        let text = String::from_utf8_lossy(&head[..head_size - 4]).into_owned();
        let mut lines = text.split("\r\n");
        let mut status_line = lines.next().unwrap_or_default().splitn(3, ' ');
        let version = status_line.next().unwrap_or_default().to_owned();
        let status = status_line.next().and_then(|status| status.parse().ok());
        let status: u16 = status.ok_or_else(|| wrong("no status"))?;
        let reason = status_line.next().unwrap_or_default().to_owned();
        let headers: Option<Vec<_>> = lines
            .map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect();
        let headers = headers.ok_or_else(|| wrong("a line that is no header"))?;
        let mut response = Response { version, status, reason, headers, body: Vec::new() };
        if head_only || matches!(status, 101 | 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.try_read_chunk()?;
                if chunk.is_empty() {
                    return Ok(response);
                }
                response.body.extend_from_slice(&chunk);
            }
        }
        match response.header("content-length").map(|length| length.parse::<usize>()) {
            Some(Ok(length)) => {
                while self.inbox.len() < length {
                    self.fill()?;
                }
                response.body = self.inbox.drain(..length).collect();
            }
            Some(Err(_)) => return Err(wrong("a Content-Length that is no number")),
            None => {
                while self.fill().is_ok() {}
                response.body = std::mem::take(&mut self.inbox);
            }
        }
        Ok(response)
    }

    /// Reads one chunk of a chunked body, behind [`read_head`](Self::read_head); the last one is empty.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the connection was closed before, `WouldBlock` after [`PATIENCE`].
    pub fn try_read_chunk(&mut self) -> io::Result<Vec<u8>> {
        let line = loop {
            match self.inbox.windows(2).position(|window| window == b"\r\n") {
                Some(at) => break self.inbox.drain(..at + 2).collect::<Vec<u8>>(),
                None => self.fill()?,
            }
        };
        let size =
            std::str::from_utf8(&line).ok().and_then(|line| usize::from_str_radix(line.trim_end(), 16).ok());
        let wrong = || io::Error::new(ErrorKind::InvalidData, format!("no chunk: {}", line.escape_ascii()));
        let mut chunk = self.try_read_bytes(size.ok_or_else(wrong)? + 2)?;
        if !chunk.ends_with(b"\r\n") {
            return Err(wrong());
        }
        chunk.truncate(chunk.len() - 2);
        Ok(chunk)
    }

    /// Reads one chunk as text.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub fn read_chunk(&mut self) -> String {
        let chunk = self.try_read_chunk().unwrap_or_else(|e| panic!("no chunk ({e}), but {:?}", self.seen()));
        String::from_utf8_lossy(&chunk).into_owned()
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 64 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.inbox.extend_from_slice(&chunk[..count]);
                    return Ok(());
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads so many bytes, whatever they are.
    ///
    /// # Panics
    ///
    /// When fewer come.
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        self.try_read_bytes(count).unwrap_or_else(|e| panic!("no {count} bytes ({e}), but {:?}", self.seen()))
    }

    /// The same, as a result. What came of them stays and is read later.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the connection was closed, `WouldBlock` after [`PATIENCE`].
    pub fn try_read_bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.inbox.len() < count {
            self.fill()?;
        }
        Ok(self.inbox.drain(..count).collect())
    }

    /// Reads up to the next NUL, and returns what is before it.
    ///
    /// # Errors
    ///
    /// As [`try_read_bytes`](Self::try_read_bytes).
    pub fn try_read_to_nul(&mut self) -> io::Result<Vec<u8>> {
        let mut looked = 0;
        loop {
            if let Some(at) = memchr::memchr(0, &self.inbox[looked..]) {
                let mut bytes: Vec<u8> = self.inbox.drain(..=looked + at).collect();
                bytes.pop();
                return Ok(bytes);
            }
            looked = self.inbox.len();
            self.fill()?;
        }
    }

    /// Waits until the other side has closed the connection, and returns the bytes that came before.
    ///
    /// # Panics
    ///
    /// When it stays open for [`PATIENCE`].
    pub fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => break,
                Err(e) => panic!("the connection stays open ({e}); so far {:?}", self.seen()),
            }
        }
        std::mem::take(&mut self.inbox)
    }

    /// Whether nothing comes, and the connection stays open, for so long.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.set_patience(time);
        let silent = self.inbox.is_empty()
            && matches!(self.fill(), Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        self.set_patience(PATIENCE);
        silent
    }

    /// How long reading may take.
    pub fn set_patience(&mut self, patience: Duration) {
        // A time above zero is always taken.
        let _ = self.stream.set_read_timeout(Some(patience));
    }

    /// Lets the system hold no more than some 100 KB for this client, so that it is a slow reader when it
    /// does not read.
    pub fn hold_little(&self) {
        let _ = set_socket_recv_buffer_size(&self.stream, 50_000);
    }

    /// Goes without a word: what the other side gets is a reset, as from a machine that lost its memory.
    pub fn vanish(self) {
        let _ = set_socket_linger(&self.stream, Some(Duration::ZERO));
    }

    /// Another handle to the connection, to write while this one reads.
    ///
    /// # Panics
    ///
    /// When the system has no descriptor left.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor")
    }

    /// Closes its sending half.
    pub fn shut_down_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
