//! What carries a conversation.

mod bosh;
mod http;
mod line;

pub(super) use bosh::{ByBosh, element_of};
pub(super) use http::{Beat, ByHttp, Carried, Poll};
pub(super) use line::Line;

use kennel_http::websocket::Session;

/// What carries a conversation.
#[derive(Debug)]
pub(super) enum Carrier {
    /// A WebSocket, and how far its conversation is.
    WebSocket(Session),
    /// A JSON socket.
    Json,
    /// An XML socket.
    Xml,
    /// Requests, one after the other, and a connection of its own for none of them.
    Http(Box<ByHttp>),
    /// The same, by the rules of BOSH.
    Bosh(Box<ByBosh>),
}

impl Carrier {
    /// `conn.transport`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::WebSocket(_) => "websocket",
            Self::Json => "json",
            Self::Xml => "xml",
            Self::Http(session) => session.name(),
            Self::Bosh(_) => "bosh",
        }
    }
}
