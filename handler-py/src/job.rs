//! A job as the hub sent it: kept whole, and read where something is asked for.

use crate::link::Link;
use handler_core::protocol::{Envelope, Text, Values};
use handler_core::worker::protocol::{Handler, Order, Params};
use rustix::fs::{Mode, OFlags};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
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

    /// The path of the file that holds the body, or nothing.
    pub(crate) fn spool(&self) -> &[u8] {
        match Order::read_job(&self.frame) {
            Ok(Order::Job { spool, .. }) => spool,
            _ => b"",
        }
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.envelope().map_or(b"", |envelope| envelope.body)
    }

    /// The body, wherever it is.
    ///
    /// # Errors
    ///
    /// When the file that holds it cannot be read.
    pub(crate) fn whole_body(&self) -> io::Result<Cow<'_, [u8]>> {
        let spool = self.spool();
        if spool.is_empty() {
            return Ok(self.body().into());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(spool, flags, Mode::empty())?);
        let size = self.spooled_size(file.metadata()?.len());
        let mut body = Vec::with_capacity(size as usize);
        file.take(size).read_to_end(&mut body)?;
        Ok(body.into())
    }

    /// How many bytes of the file, which has so many, are the body: what a client sends behind it may have got there too.
    pub(crate) fn spooled_size(&self, file: u64) -> u64 {
        let said = self.first(b"content-length");
        let said = said.and_then(|value| std::str::from_utf8(&value).ok()?.trim().parse().ok());
        said.map_or(file, |said: u64| said.min(file))
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
