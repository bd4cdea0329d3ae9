//! A client of Mongrel2's JSON and XML sockets: `@route {json}` and `<tag ...>`, each ended by a NUL.

use crate::client::Client;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::io;
use std::time::Duration;

/// One connection.
#[derive(Debug)]
pub struct Socket {
    client: Client,
}

impl Socket {
    /// Connects to a port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When nobody listens.
    pub fn connect(port: u16) -> Self {
        Self { client: Client::connect(port) }
    }

    /// Sends JSON to a route like `@chat`.
    ///
    /// # Panics
    ///
    /// When the connection is gone.
    pub fn send_json(&mut self, route: &str, value: &Value) {
        self.send(format!("{route} {value}\0"));
    }

    /// Sends an XML document.
    ///
    /// # Panics
    ///
    /// As [`send_json`](Self::send_json).
    pub fn send_xml(&mut self, document: &str) {
        self.send(format!("{document}\0"));
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    ///
    /// As [`send_json`](Self::send_json).
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.send(bytes);
    }

    /// Reads a message up to its NUL.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    pub fn read(&mut self) -> String {
        let bytes = self.try_read().unwrap_or_else(|e| panic!("no message up to a NUL: {e}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The same, as a result.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the connection was closed, `WouldBlock` when nothing comes in time.
    pub fn try_read(&mut self) -> io::Result<Vec<u8>> {
        self.client.try_read_to_nul()
    }

    /// Reads a message up to its NUL as JSON.
    ///
    /// # Panics
    ///
    /// When none comes, or it is none.
    pub fn read_json(&mut self) -> Value {
        let text = self.read();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// Reads a message of so many bytes that Mongrel2 wrote as base64, as it does without
    /// `raw_payload`: nothing ends it.
    ///
    /// # Panics
    ///
    /// When it does not come, or is no base64.
    pub fn read_base64(&mut self, size: usize) -> Vec<u8> {
        let text = self.client.read_bytes(size.div_ceil(3) * 4);
        let bytes = STANDARD.decode(&text).unwrap_or_else(|e| panic!("{e}: {}", text.escape_ascii()));
        assert_eq!(bytes.len(), size, "{}", text.escape_ascii());
        bytes
    }

    /// Waits until the other side has closed the connection, and returns the bytes that came before.
    ///
    /// # Panics
    ///
    /// When it stays open.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        self.client.read_to_end()
    }

    /// Whether nothing comes, and the connection stays open, for so long.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.client.is_silent_for(time)
    }
}
