//! Server-sent events: what is written for each of them (the HTML standard, 9.2).

use thiserror::Error;

/// The Content-Type of a stream of events.
pub const CONTENT_TYPE: &str = "text/event-stream";
/// A comment, which clients pass over: it shows that the connection is alive.
pub const COMMENT: &[u8] = b":\n\n";

/// Why an event cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventError {
    /// A line's end, or a NUL, where the format has no place for one.
    #[error("the {field} of an event must be one line without NUL")]
    NotOneLine {
        /// `event` or `id`.
        field: &'static str,
    },
    /// Data or another text that is not UTF-8.
    #[error("the {field} of an event must be UTF-8")]
    NotText {
        /// `event`, `data` or `id`.
        field: &'static str,
    },
    /// Nothing in it.
    #[error("an event has event, data, id or retry")]
    Empty,
}

/// One event. A client sees it only if it has data; `id` and `retry` count without it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its type, `message` when there is none: one line.
    pub event: Option<&'a [u8]>,
    /// Its text, of any number of lines.
    pub data: Option<&'a [u8]>,
    /// What the client says in `Last-Event-ID` when it comes back: one line.
    pub id: Option<&'a [u8]>,
    /// After how many milliseconds a client that lost its connection comes back.
    pub retry: Option<u64>,
}

impl Event<'_> {
    /// The lines of the event, with the empty one that ends it.
    ///
    /// # Errors
    ///
    /// [`EventError`].
    pub fn encode(&self) -> Result<Vec<u8>, EventError> {
        let mut out = Vec::with_capacity(self.data.map_or(0, <[u8]>::len) + 64);
        for (field, value) in [("event", self.event), ("id", self.id)] {
            let Some(value) = value else { continue };
            if value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
                return Err(EventError::NotOneLine { field });
            }
            line(&mut out, field, value)?;
        }
        if let Some(retry) = self.retry {
            line(&mut out, "retry", itoa::Buffer::new().format(retry).as_bytes())?;
        }
        let mut rest = self.data;
        while let Some(data) = rest {
            // Each of the three ends of lines is one to a client.
            match memchr::memchr2(b'\r', b'\n', data) {
                Some(at) => {
                    line(&mut out, "data", &data[..at])?;
                    let end = if data[at..].starts_with(b"\r\n") { 2 } else { 1 };
                    rest = Some(&data[at + end..]);
                }
                None => {
                    line(&mut out, "data", data)?;
                    rest = None;
                }
            }
        }
        if out.is_empty() {
            return Err(EventError::Empty);
        }
        out.push(b'\n');
        Ok(out)
    }
}

fn line(out: &mut Vec<u8>, field: &'static str, value: &[u8]) -> Result<(), EventError> {
    if std::str::from_utf8(value).is_err() {
        return Err(EventError::NotText { field });
    }
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(event: Event<'_>) -> String {
        String::from_utf8(event.encode().unwrap()).unwrap()
    }

    #[test]
    fn each_field_has_its_line_and_each_line_of_data_one_of_its_own() {
        let event =
            Event { event: Some(b"news"), data: Some(b"a\nb\r\nc\rd"), id: Some(b"7"), retry: Some(1500) };
        assert_eq!(written(event), "event: news\nid: 7\nretry: 1500\ndata: a\ndata: b\ndata: c\ndata: d\n\n");
        assert_eq!(written(Event { data: Some(b""), ..Event::default() }), "data: \n\n");
        assert_eq!(written(Event { data: Some(b"\n"), ..Event::default() }), "data: \ndata: \n\n");
        assert_eq!(written(Event { id: Some(b""), ..Event::default() }), "id: \n\n", "forgets the id");
    }

    #[test]
    fn nobody_writes_a_field_into_another() {
        for text in [&b"a\ndata: b"[..], b"a\r", b"a\0b"] {
            for field in ["event", "id"] {
                let event = match field {
                    "event" => Event { event: Some(text), ..Event::default() },
                    _ => Event { id: Some(text), ..Event::default() },
                };
                assert_eq!(event.encode(), Err(EventError::NotOneLine { field }));
            }
        }
        let event = Event { data: Some(b"\xff"), ..Event::default() };
        assert_eq!(event.encode(), Err(EventError::NotText { field: "data" }));
        assert_eq!(Event::default().encode(), Err(EventError::Empty));
    }
}
