//! BOSH: a conversation over plain HTTP requests, as XEP-0124 has it (version 1.11.2).
//!
//! The client keeps a request waiting at the server, which answers when there is something to say; both sides number
//! and repeat until everything has arrived once and in order. Here is all of it but the HTTP: bytes of bodies and the
//! time come in, answers and messages come out.
//!
//! * [`Body`]: the element that every request and answer is;
//! * [`element`]: what may be a message, and how anything else becomes one;
//! * [`Condition`]: why a session is ended, or none begins;
//! * [`Settings`]: what an operator allows, of which each session gets its terms;
//! * [`Session`]: one conversation.
//!
//! Several streams in one session (section 16) are not offered, which the protocol allows. `tests` has the sections and
//! what does not apply.

mod body;
mod condition;
pub mod element;
mod keys;
mod markup;
mod output;
mod queue;
mod session;
mod terms;
#[cfg(test)]
mod tests;
mod window;

pub use body::{Body, BodyError, MAX_RID, Unreadable};
pub use condition::{CONTENT_TYPE, Condition, Refusal};
pub use markup::Fault;
pub use output::{End, Output};
pub use session::Session;
pub use terms::Settings;

/// The namespace of `<body/>`.
pub const NAMESPACE: &str = "http://jabber.org/protocol/httpbind";
