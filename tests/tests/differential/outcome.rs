//! What a case led to, without what differs between any two servers: ids, temporary names, the order of a hash.

use mongrel2_wire::{Envelope, Values};
use std::fmt;

/// All that a client and its handlers saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// In the order in which they came to each handler.
    pub(crate) messages: Vec<Message>,
    /// What the client was sent.
    pub(crate) answer: Vec<u8>,
    /// The server closed the connection.
    pub(crate) closed: bool,
}

/// One message for a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// One that can be read.
    Whole { sender: String, path: String, headers: Vec<(String, Vec<String>)>, body: Vec<u8> },
    /// One that cannot.
    Broken(String),
}

impl Message {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let Ok(envelope) = Envelope::parse(bytes) else {
            return Self::Broken(bytes.escape_ascii().to_string());
        };
        let mut headers = Vec::new();
        for header in envelope.headers.iter() {
            let Ok((name, values)) = header else { return Self::Broken(bytes.escape_ascii().to_string()) };
            let name = name.escape_ascii().to_string();
            headers.push((name.clone(), texts(&name, values)));
        }
        // Mongrel2 writes its own headers and those of the client in the order of a hash.
        headers.sort();
        Self::Whole {
            sender: envelope.sender.to_owned(),
            path: envelope.path.escape_ascii().to_string(),
            headers,
            body: envelope.body.to_vec(),
        }
    }
}

impl Message {
    /// Changes each value of a header.
    pub(crate) fn each_value(&mut self, change: impl Fn(&mut String)) {
        if let Self::Whole { headers, .. } = self {
            headers.iter_mut().flat_map(|(_, values)| values).for_each(change);
        }
    }

    /// Removes a header.
    pub(crate) fn forget_header(&mut self, name: &str) {
        if let Self::Whole { headers, .. } = self {
            headers.retain(|(other, _)| other != name);
        }
    }

    /// Removes to which route the request belongs.
    pub(crate) fn forget_route(&mut self) {
        self.forget_header("PATTERN");
        if let Self::Whole { sender, .. } = self {
            sender.clear();
        }
    }
}

fn texts(name: &str, values: Values<'_>) -> Vec<String> {
    if name.starts_with("x-mongrel2-upload-") {
        return values.iter().map(|_| "TEMPORARY".to_owned()).collect();
    }
    values.iter().map(|text| text.as_sent().escape_ascii().to_string()).collect()
}

impl Outcome {
    /// The status of the last response that the server made by itself; `None` when the last one came from a handler.
    pub(crate) fn last_status(&self) -> Option<u16> {
        let at =
            self.answer.windows(9).rposition(|window| window == b"HTTP/1.1 " || window == b"HTTP/1.0 ")?;
        std::str::from_utf8(self.answer.get(at + 9..at + 12)?).ok()?.parse().ok()
    }

    /// The answer without its last response.
    pub(crate) fn before_last(&self) -> &[u8] {
        let starts = |window: &[u8]| window == b"HTTP/1.1 " || window == b"HTTP/1.0 ";
        let at = self.answer.windows(9).rposition(starts).unwrap_or(0);
        &self.answer[..at]
    }

    /// Whether the server refused with 400 and closed.
    pub(crate) fn is_refusal(&self) -> bool {
        self.closed && self.last_status() == Some(400)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = if self.closed { "closed" } else { "open" };
        let shown = &self.answer[..self.answer.len().min(600)];
        write!(f, "{closed}, {} bytes `{}`", self.answer.len(), shown.escape_ascii())?;
        for message in &self.messages {
            match message {
                Message::Whole { sender, path, headers, body } => {
                    let shown = body[..body.len().min(100)].escape_ascii();
                    write!(f, "\n    {sender} {path} {headers:?} {} bytes `{shown}`", body.len())?;
                }
                Message::Broken(text) => write!(f, "\n    broken: {text}")?,
            }
        }
        Ok(())
    }
}
