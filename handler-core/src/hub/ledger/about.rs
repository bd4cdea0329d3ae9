//! What the log says about a request: the app and its worker, the connection, the request's number, method and path.
//!
//! Nothing is kept for that: the job of a request is kept until its response, and has Mongrel2's message in it.

use crate::hub::ids::ConnKey;
use crate::worker::protocol::{Order, split_frame};
use mongrel2_wire::{Envelope, Text};

/// The longest method or path in a log line, bytes.
const SHOWN: usize = 256;

/// A request, or a live connection, as a log line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hub) struct About {
    pub app: Option<String>,
    pub worker: Option<u32>,
    pub link: u16,
    pub conn: u32,
    pub request: Option<u64>,
    pub method: Option<String>,
    pub path: Option<String>,
}

/// Logs a line about an [`About`], with fields of its own before the text.
macro_rules! log_about {
    ($level:ident, $about:expr, $($rest:tt)+) => {{
        let about = &$about;
        tracing::$level!(
            app = about.app.as_deref(),
            worker = about.worker,
            link = about.link,
            conn = about.conn,
            request = about.request,
            method = about.method.as_deref(),
            path = about.path.as_deref(),
            $($rest)+
        )
    }};
}
pub(in crate::hub) use log_about;

impl About {
    /// A connection of which nothing else is known.
    pub fn connection(key: ConnKey) -> Self {
        Self {
            app: None,
            worker: None,
            link: key.link.0,
            conn: key.id.get(),
            request: None,
            method: None,
            path: None,
        }
    }

    /// The same, with method and path of a message of it.
    pub fn message(key: ConnKey, envelope: &Envelope<'_>) -> Self {
        let method = envelope.headers.get(b"METHOD").and_then(|values| values.first()).map(Text::bytes);
        let method = method.map(|method| shown(&method));
        Self { method, path: Some(shown(envelope.path)), ..Self::connection(key) }
    }
}

/// What a log line shows of a method or a path.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
    if bytes.len() > SHOWN {
        text.push('…');
    }
    text
}

/// Mongrel2's message in the frame of a job.
pub(in crate::hub) fn message_of(job: &[u8]) -> Option<&[u8]> {
    let (_, payload, _) = split_frame(job)?;
    match Order::read_job(payload) {
        Ok(Order::Job { message, .. }) => Some(message),
        _ => None,
    }
}
