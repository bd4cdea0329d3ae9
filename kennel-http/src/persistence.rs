//! Whether a connection stays open after a response (RFC 9112, section 9.3).
//!
//! Mongrel2 leaves this to handlers entirely: it closes nothing for them, and delivers what a
//! client pipelines behind `Connection: close`.

use super::fields;
use mongrel2_wire::{Head, Values, Version};

/// What happens to the connection after the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// It stays open, as HTTP/1.1 does unless told otherwise.
    Open,
    /// It stays open because an HTTP/1.0 client asked for it, and has to be told.
    KeepAlive,
    /// It is closed.
    Close,
}

impl Persistence {
    /// What the request asks for. One that is refused for its [`Fault`](mongrel2_wire::Fault) is the last one.
    pub fn of(head: &Head<'_>) -> Self {
        let says = |token| head.connection.is_some_and(|values| has_token(values, token));
        match head.version {
            // What follows it may be its body.
            _ if head.fault.is_some() => Self::Close,
            Some(Version::Http11) if !says(b"close") => Self::Open,
            Some(Version::Http10) if says(b"keep-alive") && !says(b"close") => Self::KeepAlive,
            _ => Self::Close,
        }
    }
}

/// Whether a comma-separated header contains `token`, in any case.
fn has_token(values: Values<'_>, token: &[u8]) -> bool {
    values.iter().any(|value| fields::has_item(&value.bytes(), token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongrel2_wire::Envelope;

    fn persistence(version: &str, connection: &str) -> Persistence {
        let headers = format!(
            r#"{{"METHOD":"GET","VERSION":"HTTP/{version}","host":"a","connection":"{connection}"}}"#
        );
        let message = format!("m2 1 / {}:{headers},0:,", headers.len());
        Persistence::of(&Head::read(&Envelope::parse(message.as_bytes()).unwrap()).unwrap())
    }

    #[test]
    fn version_and_header_decide_together() {
        assert_eq!(persistence("1.1", ""), Persistence::Open);
        assert_eq!(persistence("1.1", "keep-alive"), Persistence::Open);
        assert_eq!(persistence("1.1", "TE, Close"), Persistence::Close);
        assert_eq!(persistence("1.0", ""), Persistence::Close);
        assert_eq!(persistence("1.0", "Keep-Alive"), Persistence::KeepAlive);
        assert_eq!(persistence("1.0", "keep-alive, close"), Persistence::Close);
    }
}
