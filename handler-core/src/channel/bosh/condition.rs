//! Why a session is ended, or none begins (XEP-0124, 17).

use super::NAMESPACE;
use super::element::escape;
use std::fmt::Write;
use std::sync::Arc;

/// The content type of answers, unless a session asks for another.
pub const CONTENT_TYPE: &str = "text/xml; charset=utf-8";

/// A terminal binding condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// What the client sent is not as this protocol has it.
    BadRequest,
    /// The domain of `to` is no longer served here.
    HostGone,
    /// The domain of `to` was never served here.
    HostUnknown,
    /// `to` or `route` is needed here and missing.
    ImproperAddressing,
    /// We failed.
    InternalServerError,
    /// No such session, no such number, no longer an answer to repeat, or a key that does not fit.
    ItemNotFound,
    /// Another request that was answered at the same time ended the session.
    OtherRequest,
    /// Too many requests, or too often.
    PolicyViolation,
    /// The server behind could not be reached.
    RemoteConnectionFailed,
    /// What is transported failed; the messages before say how.
    RemoteStreamError,
    /// Not at this address; [`Refusal::see_other_uri`] says where.
    SeeOtherUri,
    /// We stop.
    SystemShutdown,
    /// None of these; the messages before say what.
    UndefinedCondition,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::BadRequest,
        Self::HostGone,
        Self::HostUnknown,
        Self::ImproperAddressing,
        Self::InternalServerError,
        Self::ItemNotFound,
        Self::OtherRequest,
        Self::PolicyViolation,
        Self::RemoteConnectionFailed,
        Self::RemoteStreamError,
        Self::SeeOtherUri,
        Self::SystemShutdown,
        Self::UndefinedCondition,
    ];

    /// The value of the `condition` attribute.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::HostGone => "host-gone",
            Self::HostUnknown => "host-unknown",
            Self::ImproperAddressing => "improper-addressing",
            Self::InternalServerError => "internal-server-error",
            Self::ItemNotFound => "item-not-found",
            Self::OtherRequest => "other-request",
            Self::PolicyViolation => "policy-violation",
            Self::RemoteConnectionFailed => "remote-connection-failed",
            Self::RemoteStreamError => "remote-stream-error",
            Self::SeeOtherUri => "see-other-uri",
            Self::SystemShutdown => "system-shutdown",
            Self::UndefinedCondition => "undefined-condition",
        }
    }

    /// The HTTP status that stands for it with clients of before version 1.6, which name no `ver`. Only three had one.
    pub fn legacy_status(self) -> Option<u16> {
        match self {
            Self::BadRequest => Some(400),
            Self::PolicyViolation => Some(403),
            Self::ItemNotFound => Some(404),
            _ => None,
        }
    }

    /// The answer to a request that has this condition. `versioned` is whether the client named a `ver` when it
    /// opened its session; for a request of a session that is unknown, say yes.
    pub fn refusal(self, versioned: bool) -> Refusal {
        match self.legacy_status() {
            Some(status) if !versioned => Refusal { status, body: Vec::new() },
            _ => Refusal { status: 200, body: terminate(Some(self), &[]) },
        }
    }
}

/// An answer that ends a session, or says that there is none. Its content type is [`CONTENT_TYPE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Of HTTP.
    pub status: u16,
    /// The `<body/>`; nothing beside another status than 200.
    pub body: Vec<u8>,
}

impl Refusal {
    /// The answer to a request that is no body at all, of whose client nothing is known: `bad-request` for those who
    /// read bodies, 400 for those who read the status.
    pub fn unreadable() -> Self {
        Self { status: 400, body: terminate(Some(Condition::BadRequest), &[]) }
    }

    /// Sends a client to another address.
    pub fn see_other_uri(uri: &str) -> Self {
        let mut element = String::from("<uri>");
        escape(uri, &mut element);
        element.push_str("</uri>");
        let body = terminate(Some(Condition::SeeOtherUri), &[element.into_bytes().into()]);
        Self { status: 200, body }
    }
}

/// The body that ends a session, with the last messages.
pub(super) fn terminate(condition: Option<Condition>, messages: &[Arc<[u8]>]) -> Vec<u8> {
    let mut tag = String::from("<body type=\"terminate\"");
    if let Some(condition) = condition {
        let _ = write!(tag, " condition=\"{}\"", condition.name());
    }
    finish(tag, messages)
}

/// The body that asks the client to repeat what was not answered.
pub(super) fn recoverable() -> Vec<u8> {
    finish(String::from("<body type=\"error\""), &[])
}

/// Finishes a start tag whose attributes are there by the namespace, the messages and the end tag.
pub(super) fn finish(mut tag: String, messages: &[Arc<[u8]>]) -> Vec<u8> {
    let _ = write!(tag, " xmlns=\"{NAMESPACE}\"");
    if messages.is_empty() {
        tag.push_str("/>");
        return tag.into_bytes();
    }
    tag.push('>');
    let mut body = tag.into_bytes();
    messages.iter().for_each(|message| body.extend_from_slice(message));
    body.extend_from_slice(b"</body>");
    body
}
