//! TLS: certificates as Mongrel2 configures them, and sessions that take bytes and return bytes.
//!
//! * `error`: what can be wrong with files, and with what a client sends.
//! * `x509`: the few facts that we read from a certificate ourselves.
//! * `digests`: what names a client's certificate.
//! * `pair`: one certificate with its key, from PEM.
//! * `folder`: which files there are, read whole, and whether they changed.
//! * `clients`: which certificates of clients count.
//! * `certificates`: all of a server's certificates, loaded and loaded again.
//! * [`inspect`]: what there is to say about one certificate before a server uses it.
//! * `session`: one client's TLS session.

mod certificates;
mod clients;
mod digests;
mod error;
mod folder;
mod inspect;
mod pair;
mod session;
mod x509;

pub(crate) use certificates::Certificates;
pub(crate) use digests::CertDigests;
pub(crate) use error::{SessionError, TlsError};
pub use inspect::{Certificate, inspect};
pub(crate) use session::Session;

#[cfg(test)]
mod tests;
