//! A client of server-sent events, which reads as a browser does.

use crate::client::{Client, Response, request};
use std::io;

/// A connection that gets events.
#[derive(Debug)]
pub struct Events {
    client: Client,
    head: Response,
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name, empty for a message.
    pub name: String,
    /// Its text.
    pub data: String,
    /// Its id, empty where it has none.
    pub id: String,
}

impl Events {
    /// Asks for events.
    pub fn open(port: u16, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut client = Client::connect(port);
        let headers: Vec<_> = [("Accept", "text/event-stream")].iter().chain(headers).copied().collect();
        client.send(request("GET", path, &headers, b""));
        let head = client.read_head();
        Self { client, head }
    }

    /// The answer's head, which has no body yet.
    pub fn head(&self) -> &Response {
        &self.head
    }

    /// The next event; comments are passed over.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub fn read(&mut self) -> Event {
        self.try_read().unwrap_or_else(|problem| panic!("no event: {problem}"))
    }

    /// The same, as a result.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the connection was closed, `WouldBlock` when nothing comes.
    pub fn try_read(&mut self) -> io::Result<Event> {
        let mut event = Event::default();
        let mut data: Option<String> = None;
        loop {
            let line = self.line()?;
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event.name),
                "id" => value.clone_into(&mut event.id),
                "data" => match &mut data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => data = Some(value.to_owned()),
                },
                "" if line.is_empty() => {
                    if let Some(data) = data.take() {
                        event.data = data;
                        return Ok(event);
                    }
                }
                _ => {}
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        loop {
            let byte = self.client.try_read_bytes(1)?;
            if byte == b"\n" {
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            line.extend(byte);
        }
    }

    /// Goes without a word.
    pub fn vanish(self) {
        self.client.vanish();
    }
}
