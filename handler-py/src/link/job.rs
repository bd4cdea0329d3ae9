//! A job as the hub sent it: kept whole, and read where something is asked for.

use crate::link::Link;
use handler_core::worker::body::{self, BodyError};
use handler_core::worker::protocol::{Handler, Order, Params};
use mongrel2_wire::{Envelope, Text, Values};
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// One job, shared by the request and the views of it that a script holds.
pub(crate) struct Job {
    pub(crate) link: Arc<Link>,
    pub(crate) serial: u64,
    /// The payload of the order.
    frame: Box<[u8]>,
}

impl Job {
    pub(crate) fn new(link: Arc<Link>, serial: u64, frame: &[u8]) -> Self {
        Self { link, serial, frame: frame.into() }
    }

    /// The name of its connection, the path's values, and Mongrel2's message.
    fn parts(&self) -> (&[u8], Params<'_>, &[u8]) {
        match Order::read_job(&self.frame) {
            Ok(Order::Job { conn, params, message, .. }) => (conn, params, message),
            _ => (b"", Params::EMPTY, b""),
        }
    }

    /// The payload of the order.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.frame
    }

    pub(crate) fn conn(&self) -> &[u8] {
        self.parts().0
    }

    pub(crate) fn params(&self) -> Params<'_> {
        self.parts().1
    }

    pub(crate) fn handler(&self) -> Handler {
        match Order::read_job(&self.frame) {
            Ok(Order::Job { handler, .. }) => handler,
            _ => Handler::NotFound,
        }
    }

    /// The message. The hub has parsed it before, so it is one.
    pub(crate) fn envelope(&self) -> Option<Envelope<'_>> {
        Envelope::parse(self.parts().2).ok()
    }

    /// All values of a header by its exact name.
    pub(crate) fn values(&self, name: &[u8]) -> Option<Values<'_>> {
        self.envelope()?.headers.get(name)
    }

    /// The first value of a header by its exact name.
    pub(crate) fn first(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.values(name)?.first().map(Text::bytes)
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.envelope().map_or(b"", |envelope| envelope.body)
    }

    /// Whether the message has all of the body.
    pub(crate) fn has_small_body(&self) -> bool {
        matches!(Order::read_job(&self.frame), Ok(Order::Job { spool: b"", .. }))
    }

    /// The body, wherever it is, if it fits into so much memory (0: any).
    ///
    /// # Errors
    ///
    /// When it does not, or the file that has it cannot be read.
    pub(crate) fn whole_body(&self, memory: usize) -> Result<Cow<'_, [u8]>, BodyError> {
        body::read(&self.frame, memory)
    }

    /// The file that has the body, and the body's size.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(crate) fn open_spool(&self) -> io::Result<Option<(File, u64)>> {
        body::open_spool(&self.frame)
    }

    /// `GET /path?query`, for messages.
    pub(crate) fn title(&self) -> String {
        let method = self.first(b"METHOD").unwrap_or_default();
        let uri = self.first(b"URI").unwrap_or_default();
        format!("{} {}", method.escape_ascii(), uri.escape_ascii())
    }
}

/// Whether a header is the client's own: Mongrel2 writes its names in upper case, and the two of uploads are its
/// business too.
pub(crate) fn is_clients(name: &[u8]) -> bool {
    !name.first().is_some_and(u8::is_ascii_uppercase) && !name.starts_with(b"x-mongrel2-upload-")
}
